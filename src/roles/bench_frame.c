/* SPDX-License-Identifier: MIT */
#include "roles/bench_frame.h"

#include <stdarg.h>
#include <string.h>

enum kind { KIND_END, KIND_INT, KIND_BYTES, KIND_MAP, KIND_ARRAY, KIND_OTHER };

/* One MessagePack object; of a container its head. */
struct item {
	enum kind kind;
	uint64_t number;   /* of an integer; entries of a container */
	const char *bytes; /* of a str or bin */
	size_t len;
};

struct reader {
	const uint8_t *at;
	const uint8_t *end;
};

struct field {
	const char *name;
	size_t len;
	size_t offset; /* into struct bench_frame */
	bool is_number;
};

#define TEXT(name, field)                                                          \
	{                                                                          \
		name, sizeof(name) - 1, offsetof(struct bench_frame, field), false \
	}
#define NUMBER(name, field)                                                       \
	{                                                                         \
		name, sizeof(name) - 1, offsetof(struct bench_frame, field), true \
	}

static const struct field fields[] = {
	TEXT("messageId", message_id),
	TEXT("status", status),
	TEXT("id", message_id),
	TEXT("from", from),
	TEXT("to", to),
	TEXT("content", content),
	NUMBER("messageNumber", message_number),
	NUMBER("timestamp", timestamp),
	TEXT("ephemeralPublicKey", ephemeral_key),
	TEXT("code", code),
	TEXT("message", text),
	TEXT("userId", user_id),
	TEXT("username", username),
	TEXT("sessionToken", token),
	TEXT("identityPublic", identity),
};

static const char *const type_names[] = {
	[BENCH_FRAME_MESSAGE] = "message",
	[BENCH_FRAME_ACK] = "ack",
	[BENCH_FRAME_ERROR] = "error",
	[BENCH_FRAME_CONNECT_SUCCESS] = "connectSuccess",
	[BENCH_FRAME_LOGIN_SUCCESS] = "loginSuccess",
	[BENCH_FRAME_REGISTER_SUCCESS] = "registerSuccess",
	[BENCH_FRAME_SESSION_EXPIRED] = "sessionExpired",
	[BENCH_FRAME_PUBLIC_KEY_BUNDLE] = "publicKeyBundle",
	[BENCH_FRAME_DELETE_ACCOUNT_SUCCESS] = "deleteAccountSuccess",
};

static bool take_uint(struct reader *r, size_t width, uint64_t *out)
{
	if ((size_t)(r->end - r->at) < width)
		return false;
	*out = 0;
	for (size_t i = 0; i < width; i++)
		*out = *out << 8 | *r->at++;
	return true;
}

static bool take_bytes(struct reader *r, uint64_t len, struct item *item)
{
	if ((uint64_t)(r->end - r->at) < len)
		return false;
	item->kind = KIND_BYTES;
	item->bytes = (const char *)r->at;
	item->len = (size_t)len;
	r->at += len;
	return true;
}

static bool take_sized(struct reader *r, size_t width, enum kind kind, struct item *item)
{
	item->kind = kind;
	if (!take_uint(r, width, &item->number))
		return false;
	return kind != KIND_BYTES || take_bytes(r, item->number, item);
}

static bool take_plain(struct reader *r, size_t len, enum kind kind, struct item *item)
{
	if ((size_t)(r->end - r->at) < len)
		return false;
	item->kind = kind;
	r->at += len;
	return true;
}

/* Formats 0xc0 to 0xdf. */
static bool take_tagged(struct reader *r, uint8_t tag, struct item *item)
{
	switch (tag) {
	case 0xc0: /* nil */
	case 0xc2: /* false */
	case 0xc3: /* true */
		return take_plain(r, 0, KIND_OTHER, item);
	case 0xc4: /* bin, str: 8, 16, 32 bits of length */
	case 0xc5:
	case 0xc6:
		return take_sized(r, (size_t)1 << (tag - 0xc4), KIND_BYTES, item);
	case 0xd9:
	case 0xda:
	case 0xdb:
		return take_sized(r, (size_t)1 << (tag - 0xd9), KIND_BYTES, item);
	case 0xca: /* float 32, 64 */
	case 0xcb:
		return take_plain(r, tag == 0xca ? 4 : 8, KIND_OTHER, item);
	case 0xcc: /* uint 8 to 64 */
	case 0xcd:
	case 0xce:
	case 0xcf:
		return take_sized(r, (size_t)1 << (tag - 0xcc), KIND_INT, item);
	case 0xd0: /* int 8 to 64: none of the known fields is negative */
	case 0xd1:
	case 0xd2:
	case 0xd3:
		return take_plain(r, (size_t)1 << (tag - 0xd0), KIND_OTHER, item);
	case 0xdc: /* array, map: 16, 32 */
	case 0xdd:
		return take_sized(r, tag == 0xdc ? 2 : 4, KIND_ARRAY, item);
	case 0xde:
	case 0xdf:
		return take_sized(r, tag == 0xde ? 2 : 4, KIND_MAP, item);
	default: /* extension types: a server never sends them */
		return false;
	}
}

static bool take(struct reader *r, struct item *item)
{
	uint8_t tag;

	if (r->at == r->end)
		return false;
	tag = *r->at++;
	item->number = tag;
	if (tag < 0x80 || tag >= 0xe0)
		return take_plain(r, 0, tag < 0x80 ? KIND_INT : KIND_OTHER, item);
	if (tag >= 0xa0 && tag < 0xc0)
		return take_bytes(r, tag & 0x1f, item);
	if (tag >= 0xc0)
		return take_tagged(r, tag, item);
	item->number = tag & 0x0f;
	item->kind = tag < 0x90 ? KIND_MAP : KIND_ARRAY;
	return true;
}

/* Skips what is inside a container whose head was taken. */
static bool skip_inside(struct reader *r, const struct item *head)
{
	uint64_t left = head->kind == KIND_MAP ? 2 * head->number : head->number;
	struct item item;

	if (head->kind != KIND_MAP && head->kind != KIND_ARRAY)
		return true;
	for (; left > 0; left--) {
		if (!take(r, &item))
			return false;
		if (item.kind == KIND_MAP || item.kind == KIND_ARRAY)
			left += item.kind == KIND_MAP ? 2 * item.number : item.number;
	}
	return true;
}

static void store(struct bench_frame *frame, const struct item *key, const struct item *value)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *f = &fields[i];
		char *to = (char *)frame + f->offset;

		if (f->len != key->len || memcmp(f->name, key->bytes, key->len) != 0)
			continue;
		if (f->is_number && value->kind == KIND_INT)
			*(uint32_t *)(void *)to = (uint32_t)value->number;
		else if (!f->is_number && value->kind == KIND_BYTES)
			*(struct bench_slice *)(void *)to =
				(struct bench_slice){ value->bytes, value->len };
		return;
	}
}

static bool read_payload(struct reader *r, const struct item *head, struct bench_frame *frame)
{
	struct item key;
	struct item value;

	if (head->kind != KIND_MAP)
		return false;
	for (uint64_t i = 0; i < head->number; i++) {
		if (!take(r, &key) || key.kind != KIND_BYTES || !take(r, &value))
			return false;
		store(frame, &key, &value);
		if (!skip_inside(r, &value))
			return false;
	}
	return true;
}

static enum bench_frame_type type_of(struct bench_slice name)
{
	for (size_t i = 1; i < sizeof(type_names) / sizeof(type_names[0]); i++)
		if (bench_slice_is(name, type_names[i]))
			return (enum bench_frame_type)i;
	return BENCH_FRAME_OTHER;
}

bool bench_frame_read(const uint8_t *data, size_t len, struct bench_frame *frame)
{
	struct reader r = { .at = data, .end = data + len };
	const struct item type_key = { .bytes = "type", .len = 4 };
	struct item head;
	struct item key;
	struct item value;

	memset(frame, 0, sizeof(*frame));
	if (!take(&r, &head) || head.kind != KIND_MAP)
		return false;
	for (uint64_t i = 0; i < head.number; i++) {
		if (!take(&r, &key) || key.kind != KIND_BYTES || !take(&r, &value))
			return false;
		if (key.len == type_key.len && memcmp(key.bytes, type_key.bytes, 4) == 0) {
			if (value.kind != KIND_BYTES)
				return false;
			frame->type_name = (struct bench_slice){ value.bytes, value.len };
		} else if (key.len == 7 && memcmp(key.bytes, "payload", 7) == 0) {
			if (!read_payload(&r, &value, frame))
				return false;
		} else if (!skip_inside(&r, &value)) {
			return false;
		}
	}
	frame->type = type_of(frame->type_name);
	return r.at == r.end && frame->type_name.len > 0;
}

bool bench_slice_is(struct bench_slice slice, const char *text)
{
	return slice.len == strlen(text) && memcmp(slice.at, text, slice.len) == 0;
}

static void put_byte(struct bench_writer *w, uint8_t byte)
{
	w->at[w->len++] = byte;
}

static void put_bytes(struct bench_writer *w, const void *data, size_t len)
{
	memcpy(w->at + w->len, data, len);
	w->len += len;
}

void bench_put_map(struct bench_writer *w, uint32_t entries)
{
	put_byte(w, (uint8_t)(0x80 | entries));
}

void bench_put_text_len(struct bench_writer *w, const char *text, size_t len)
{
	if (len < 32) {
		put_byte(w, (uint8_t)(0xa0 | len));
	} else if (len < 256) {
		put_byte(w, 0xd9);
		put_byte(w, (uint8_t)len);
	} else if (len < 65536) {
		put_byte(w, 0xda);
		put_byte(w, (uint8_t)(len >> 8));
		put_byte(w, (uint8_t)len);
	} else {
		put_byte(w, 0xdb);
		for (int shift = 24; shift >= 0; shift -= 8)
			put_byte(w, (uint8_t)(len >> shift));
	}
	put_bytes(w, text, len);
}

void bench_put_text(struct bench_writer *w, const char *text)
{
	bench_put_text_len(w, text, strlen(text));
}

void bench_put_bin(struct bench_writer *w, const uint8_t *data, size_t len)
{
	put_byte(w, 0xc4); /* the only byte field has 32 */
	put_byte(w, (uint8_t)len);
	put_bytes(w, data, len);
}

void bench_put_u32(struct bench_writer *w, uint32_t value)
{
	put_byte(w, 0xce);
	for (int shift = 24; shift >= 0; shift -= 8)
		put_byte(w, (uint8_t)(value >> shift));
}

void bench_put_bundle(struct bench_writer *w, const char *master_key, const char *bundle,
                      const char *signature)
{
	bench_put_map(w, 3);
	bench_put_text(w, "masterIdentityKey");
	bench_put_text(w, master_key);
	bench_put_text(w, "bundleData");
	bench_put_text(w, bundle);
	bench_put_text(w, "signature");
	bench_put_text(w, signature);
}

void bench_put_head(struct bench_writer *w, const char *type, uint32_t entries)
{
	bench_put_map(w, 2);
	bench_put_text(w, "type");
	bench_put_text(w, type);
	bench_put_text(w, "payload");
	bench_put_map(w, entries);
}

static uint32_t count_pairs(va_list texts)
{
	uint32_t n = 0;

	while (va_arg(texts, const char *))
		n++;
	return n / 2;
}

size_t bench_frame_texts(uint8_t *to, const char *type, ...)
{
	struct bench_writer w = { .at = to };
	const char *text;
	va_list texts;

	va_start(texts, type);
	bench_put_head(&w, type, count_pairs(texts));
	va_end(texts);
	va_start(texts, type);
	while ((text = va_arg(texts, const char *)))
		bench_put_text(&w, text);
	va_end(texts);
	return w.len;
}
