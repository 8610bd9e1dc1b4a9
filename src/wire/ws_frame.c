/* SPDX-License-Identifier: MIT */
#include "wire/ws_frame.h"

#include <endian.h>
#include <openssl/sha.h>
#include <string.h>

#include "wire/base64.h"
#include "wire/utf8.h"

#define FIN 0x80
#define RESERVED 0x70
#define MASKED 0x80

/* HEADER -> DATA | CONTROL -> HEADER; any -> DEAD, which stays. */
enum state { HEADER, DATA, CONTROL, DEAD };

/* ---- Masks ---- */

/* The mask as it falls on a payload that begins at offset, twice over. */
static uint64_t wide_mask(const uint8_t mask[4], size_t offset)
{
	uint8_t turned[8];
	uint64_t wide;

	for (size_t i = 0; i < sizeof(turned); i++)
		turned[i] = mask[(offset + i) % 4];
	memcpy(&wide, turned, sizeof(wide));
	return wide;
}

void ws_mask(uint8_t *at, size_t len, const uint8_t mask[4], size_t offset)
{
	ws_mask_copy(at, at, len, mask, offset);
}

void ws_mask_copy(uint8_t *dst, const uint8_t *src, size_t len, const uint8_t mask[4],
                  size_t offset)
{
	const uint64_t wide = wide_mask(mask, offset);
	size_t i = 0;

	for (; len - i >= 4 * sizeof(wide); i += 4 * sizeof(wide)) {
		uint64_t w[4];

		memcpy(w, src + i, sizeof(w));
		w[0] ^= wide;
		w[1] ^= wide;
		w[2] ^= wide;
		w[3] ^= wide;
		memcpy(dst + i, w, sizeof(w));
	}
	for (; i < len; i++)
		dst[i] = src[i] ^ mask[(offset + i) % 4];
}

/* ---- Parsing ---- */

void ws_parser_init(struct ws_parser *p, enum ws_role role, uint64_t message_bytes_max)
{
	*p = (struct ws_parser){
		.message_max = message_bytes_max,
		.state = HEADER,
		.role = (uint8_t)role,
		.header_need = 2,
	};
}

bool ws_parser_is_idle(const struct ws_parser *p)
{
	return p->state == HEADER && p->header_len == 0 && p->message_op == 0;
}

static void fail(struct ws_parser *p, struct ws_event *event, uint16_t code)
{
	p->state = DEAD;
	event->type = WS_EVENT_FAIL;
	event->code = code;
}

static bool is_control(uint8_t op)
{
	return (op & 8) != 0;
}

/* Judges the first two bytes: all rules that need no more. */
static bool is_head_allowed(const struct ws_parser *p)
{
	const uint8_t op = p->header[0] & 0x0f;
	const bool is_masked = (p->header[1] & MASKED) != 0;

	if ((p->header[0] & RESERVED) != 0 || is_masked != (p->role == WS_ROLE_SERVER))
		return false;
	if (is_control(op))
		return op <= WS_OP_PONG && (p->header[0] & FIN) != 0 &&
		       (p->header[1] & 0x7f) < 126;
	if (op == WS_OP_CONTINUATION)
		return p->message_op != 0;
	return op <= WS_OP_BINARY && p->message_op == 0;
}

static uint8_t header_need(const struct ws_parser *p)
{
	const uint8_t len = p->header[1] & 0x7f;

	return (uint8_t)(2 +
	                 (len == 126   ? 2
	                  : len == 127 ? 8
	                               : 0) +
	                 ((p->header[1] & MASKED) != 0 ? 4 : 0));
}

/* Returns false when the length is not written in the shortest form. */
static bool payload_len(const struct ws_parser *p, uint64_t *out)
{
	const uint8_t len = p->header[1] & 0x7f;
	uint16_t short_len;
	uint64_t long_len;

	if (len < 126) {
		*out = len;
		return true;
	}
	if (len == 126) {
		memcpy(&short_len, p->header + 2, sizeof(short_len));
		*out = be16toh(short_len);
		return *out >= 126;
	}
	memcpy(&long_len, p->header + 2, sizeof(long_len));
	*out = be64toh(long_len);
	return *out > 0xffff && *out >> 63 == 0;
}

static void begin_message(struct ws_parser *p)
{
	p->message_op = p->op;
	p->message_len = 0;
	p->utf8 = UTF8_ACCEPT;
	p->is_begun = false;
}

/* The header is complete.  Returns 0, or the code to fail with. */
static uint16_t begin_frame(struct ws_parser *p)
{
	uint64_t len;

	if (!payload_len(p, &len))
		return WS_CLOSE_PROTOCOL;
	p->op = p->header[0] & 0x0f;
	p->is_fin = (p->header[0] & FIN) != 0;
	p->left = len;
	p->mask_at = 0;
	if (p->role == WS_ROLE_SERVER)
		memcpy(p->mask, p->header + p->header_len - sizeof(p->mask), sizeof(p->mask));
	p->header_len = 0;
	p->header_need = 2;
	if (is_control(p->op)) {
		p->control_len = 0;
		p->state = CONTROL;
		return 0;
	}
	if (p->op != WS_OP_CONTINUATION)
		begin_message(p);
	if (len > p->message_max - p->message_len)
		return WS_CLOSE_TOO_BIG;
	p->message_len += len;
	p->state = DATA;
	return 0;
}

/* Collects header bytes; the state or the event tell what became of them. */
static size_t take_header(struct ws_parser *p, const uint8_t *at, size_t len,
                          struct ws_event *event)
{
	size_t taken = 0;
	uint16_t code;

	while (taken < len && p->header_len < p->header_need) {
		p->header[p->header_len++] = at[taken++];
		if (p->header_len != 2)
			continue;
		if (!is_head_allowed(p)) {
			fail(p, event, WS_CLOSE_PROTOCOL);
			return taken;
		}
		p->header_need = header_need(p);
	}
	if (p->header_len == p->header_need) {
		code = begin_frame(p);
		if (code != 0)
			fail(p, event, code);
	}
	return taken;
}

static void unmask(struct ws_parser *p, uint8_t *at, size_t len)
{
	if (p->role == WS_ROLE_SERVER) {
		ws_mask(at, len, p->mask, p->mask_at);
		p->mask_at = (uint8_t)((p->mask_at + len) % 4);
	}
}

static size_t take_data(struct ws_parser *p, uint8_t *at, size_t len, struct ws_event *event)
{
	const size_t n = len < p->left ? len : (size_t)p->left;
	bool is_last;

	if (n == 0 && p->left > 0)
		return 0;
	unmask(p, at, n);
	p->left -= n;
	is_last = p->left == 0 && p->is_fin;
	if (p->message_op == WS_OP_TEXT) {
		p->utf8 = utf8_feed(p->utf8, at, n);
		if (p->utf8 == UTF8_REJECT || (is_last && p->utf8 != UTF8_ACCEPT)) {
			fail(p, event, WS_CLOSE_BAD_TEXT);
			return n;
		}
	}
	*event = (struct ws_event){
		.type = WS_EVENT_DATA,
		.is_text = p->message_op == WS_OP_TEXT,
		.is_first = !p->is_begun,
		.is_last = is_last,
		.at = at,
		.len = n,
	};
	p->is_begun = true;
	if (is_last)
		p->message_op = 0;
	if (p->left == 0)
		p->state = HEADER;
	return n;
}

bool ws_close_code_is_valid(uint16_t code)
{
	if (code < 3000)
		return code >= 1000 && code <= 1014 && code != 1004 &&
		       code != WS_CLOSE_NO_STATUS && code != WS_CLOSE_ABNORMAL;
	return code < 5000;
}

static void close_event(struct ws_parser *p, uint8_t *at, size_t len, struct ws_event *event)
{
	uint16_t code = 0;

	p->state = DEAD;
	if (len == 0) {
		*event =
			(struct ws_event){ .type = WS_EVENT_CLOSE, .code = WS_CLOSE_NO_STATUS };
		return;
	}
	if (len >= 2)
		code = (uint16_t)(at[0] << 8 | at[1]);
	if (!ws_close_code_is_valid(code))
		fail(p, event, WS_CLOSE_PROTOCOL);
	else if (!utf8_is_valid(wire_slice(at + 2, len - 2)))
		fail(p, event, WS_CLOSE_BAD_TEXT);
	else
		*event = (struct ws_event){
			.type = WS_EVENT_CLOSE, .code = code, .at = at + 2, .len = len - 2
		};
}

static size_t take_control(struct ws_parser *p, uint8_t *at, size_t len, struct ws_event *event)
{
	const size_t n = len < p->left ? len : (size_t)p->left;
	uint8_t *payload = at;
	size_t payload_bytes = n;

	unmask(p, at, n);
	p->left -= n;
	if (p->left > 0 || p->control_len > 0) { /* in several chunks */
		memcpy(p->control + p->control_len, at, n);
		p->control_len = (uint8_t)(p->control_len + n);
		payload = p->control;
		payload_bytes = p->control_len;
	}
	if (p->left > 0)
		return n;
	p->state = HEADER;
	if (p->op == WS_OP_CLOSE)
		close_event(p, payload, payload_bytes, event);
	else
		*event = (struct ws_event){
			.type = p->op == WS_OP_PING ? WS_EVENT_PING : WS_EVENT_PONG,
			.at = payload,
			.len = payload_bytes,
		};
	return n;
}

size_t ws_parser_next(struct ws_parser *p, uint8_t *at, size_t len, struct ws_event *event)
{
	size_t taken = 0;

	*event = (struct ws_event){ .type = WS_EVENT_NONE };
	if (p->state == HEADER)
		taken = take_header(p, at, len, event);
	switch ((enum state)p->state) {
	case DATA:
		return taken + take_data(p, at + taken, len - taken, event);
	case CONTROL:
		return taken + take_control(p, at + taken, len - taken, event);
	case DEAD:
		return event->type == WS_EVENT_NONE ? len : taken;
	case HEADER:
		break;
	}
	return taken;
}

/* ---- Writing ---- */

size_t ws_header_write_fragment(uint8_t out[WS_SERVER_HEADER_MAX], enum ws_op op,
                                enum ws_fin fin, uint64_t len)
{
	const uint16_t short_len = htobe16((uint16_t)len);
	const uint64_t long_len = htobe64(len);

	out[0] = (uint8_t)((fin == WS_FIN ? FIN : 0) | (unsigned)op);
	if (len < 126) {
		out[1] = (uint8_t)len;
		return 2;
	}
	if (len <= 0xffff) {
		out[1] = 126;
		memcpy(out + 2, &short_len, sizeof(short_len));
		return 4;
	}
	out[1] = 127;
	memcpy(out + 2, &long_len, sizeof(long_len));
	return 10;
}

size_t ws_header_write(uint8_t out[WS_SERVER_HEADER_MAX], enum ws_op op, uint64_t len)
{
	return ws_header_write_fragment(out, op, WS_FIN, len);
}

size_t ws_header_write_masked(uint8_t out[WS_HEADER_MAX], enum ws_op op, uint64_t len,
                              const uint8_t mask[4])
{
	const size_t n = ws_header_write(out, op, len);

	out[1] |= MASKED;
	memcpy(out + n, mask, 4);
	return n + 4;
}

size_t ws_close_payload(uint8_t out[WS_CONTROL_MAX], uint16_t code, struct wire_slice reason)
{
	size_t len = reason.len < WS_REASON_MAX ? reason.len : WS_REASON_MAX;

	if (code == WS_CLOSE_NO_STATUS)
		return 0;
	while (len < reason.len && len > 0 && (reason.at[len] & 0xc0) == 0x80)
		len--;
	out[0] = (uint8_t)(code >> 8);
	out[1] = (uint8_t)code;
	if (len > 0)
		memcpy(out + 2, reason.at, len);
	return 2 + len;
}

bool ws_accept_key(struct wire_slice key, char out[WS_ACCEPT_LEN])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t nonce[16], hash[SHA_DIGEST_LENGTH];
	char text[24 + sizeof(guid)];

	if (!base64_decode_exact(key, nonce, sizeof(nonce)))
		return false;
	memcpy(text, key.at, key.len);
	memcpy(text + key.len, guid, sizeof(guid));
	SHA1((const uint8_t *)text, key.len + sizeof(guid) - 1, hash);
	base64_encode(hash, sizeof(hash), out);
	return true;
}
