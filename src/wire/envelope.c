/* SPDX-License-Identifier: MIT */
#include "wire/envelope.h"

#include <stdlib.h>

#include "wire/base64.h"
#include "wire/json_view.h"
#include "wire/user_address.h"

/* In the order in which they are written, here and by older servers. */
enum field {
	MESSAGE_ID,
	SENDER_ID,
	RECIPIENT_ID,
	TIMESTAMP,
	MESSAGE_TYPE,
	EPHEMERAL_KEY,
	MESSAGE_NUMBER,
	PAYLOAD,
	CONTENT_HASH,
	SUITE_ID,
	ORIGIN_SERVER,
	FEDERATED,
	FIELDS,
};
static const struct json_field fields[FIELDS] = {
	[MESSAGE_ID] = JSON_FIELD("messageId"),
	[SENDER_ID] = JSON_FIELD("senderId"),
	[RECIPIENT_ID] = JSON_FIELD("recipientId"),
	[TIMESTAMP] = JSON_FIELD("timestamp"),
	[MESSAGE_TYPE] = JSON_FIELD("messageType"),
	[EPHEMERAL_KEY] = JSON_FIELD("ephemeralPublicKey"),
	[MESSAGE_NUMBER] = JSON_FIELD("messageNumber"),
	[PAYLOAD] = JSON_FIELD("encryptedPayload"),
	[CONTENT_HASH] = JSON_FIELD("contentHash"),
	[SUITE_ID] = JSON_FIELD("suiteId"),
	[ORIGIN_SERVER] = JSON_FIELD("originServer"),
	[FEDERATED] = JSON_FIELD("federated"),
};

/* What each must be; the others may be absent. */
static const uint8_t kind_of[FIELDS] = {
	[MESSAGE_ID] = JSON_TEXT,       [SENDER_ID] = JSON_TEXT,
	[RECIPIENT_ID] = JSON_TEXT,     [TIMESTAMP] = JSON_NUMBER,
	[MESSAGE_TYPE] = JSON_TEXT,     [EPHEMERAL_KEY] = JSON_TEXT,
	[MESSAGE_NUMBER] = JSON_NUMBER, [PAYLOAD] = JSON_TEXT,
	[CONTENT_HASH] = JSON_TEXT,     [SUITE_ID] = JSON_NUMBER,
	[ORIGIN_SERVER] = JSON_TEXT,    [FEDERATED] = JSON_BOOL,
};

static bool is_needed(size_t field)
{
	return field != SUITE_ID && field != ORIGIN_SERVER && field != FEDERATED;
}

/* ---- reading ---- */

/* Texts of the known fields become what they stand for.  All of them fit in scratch, because no
 * text is longer than its spelling. */
static bool resolve_escapes(struct json_view *values, size_t room, struct envelope *out)
{
	size_t used = 0;

	for (size_t i = 0; i < FIELDS; i++) {
		struct json_view *v = &values[i];
		uint8_t *at;

		if (v->kind != JSON_TEXT || !v->has_escapes)
			continue;
		if (out->scratch == NULL && (out->scratch = malloc(room)) == NULL)
			return false;
		at = (uint8_t *)out->scratch + used;
		v->raw = wire_slice(at, json_view_unescape(v, at));
		v->has_escapes = false;
		used += v->raw.len;
	}
	return true;
}

static enum envelope_fault judge_kinds(const struct json_view *values)
{
	if (values[MESSAGE_TYPE].kind == JSON_TEXT &&
	    !wire_slice_is(values[MESSAGE_TYPE].raw, "directMessage"))
		return ENVELOPE_NOT_FOR_US; /* and other types need other fields */
	for (size_t i = 0; i < FIELDS; i++) {
		if (values[i].kind == JSON_ABSENT && is_needed(i))
			return ENVELOPE_FIELD_MISSING;
		if (values[i].kind != JSON_ABSENT && values[i].kind != kind_of[i])
			return ENVELOPE_FIELD_INVALID;
	}
	return ENVELOPE_OK;
}

static bool read_user(struct wire_slice text, struct uuid *user, struct wire_slice *domain)
{
	struct user_address address;

	if (!user_address_parse(text, &address))
		return false;
	*user = address.user;
	*domain = address.domain;
	return true;
}

static bool read_numbers(const struct json_view *values, struct envelope *out)
{
	int64_t number, suite = 0;

	if (!json_view_integer(&values[TIMESTAMP], INT64_MIN, INT64_MAX,
	                       &out->message.timestamp) ||
	    !json_view_integer(&values[MESSAGE_NUMBER], 0, UINT32_MAX, &number) ||
	    (values[SUITE_ID].kind != JSON_ABSENT &&
	     !json_view_integer(&values[SUITE_ID], 0, UINT32_MAX, &suite)))
		return false;
	out->message.message_number = (uint32_t)number;
	out->suite_id = (uint32_t)suite;
	return true;
}

static enum envelope_fault fill(const struct json_view *values, struct envelope *out)
{
	struct chat_message *m = &out->message;

	if (!uuid_parse(values[MESSAGE_ID].raw, &m->id, &m->id_case) ||
	    !read_user(values[SENDER_ID].raw, &out->sender, &out->sender_domain) ||
	    !read_user(values[RECIPIENT_ID].raw, &out->recipient, &out->recipient_domain))
		return ENVELOPE_BAD_ID;
	m->from = (struct user_address){ .user = out->sender };
	m->to = (struct user_address){ .user = out->recipient };
	if (!read_numbers(values, out))
		return ENVELOPE_FIELD_INVALID;
	if (!base64_decode_exact(values[EPHEMERAL_KEY].raw, m->key, sizeof(m->key)))
		return ENVELOPE_BAD_KEY;
	/* Only the form: whoever could write another content could write its hash. */
	if (!hash_key_parse(values[CONTENT_HASH].raw, out->content_hash))
		return ENVELOPE_BAD_HASH;
	m->content = values[PAYLOAD].raw;
	if (m->content.len == 0)
		return ENVELOPE_EMPTY;
	if (values[ORIGIN_SERVER].kind == JSON_TEXT)
		out->origin_server = values[ORIGIN_SERVER].raw;
	out->federated = json_view_is_true(&values[FEDERATED]);
	return ENVELOPE_OK;
}

enum envelope_fault envelope_read(struct wire_slice bytes, struct envelope *out)
{
	struct json_view values[FIELDS];
	enum envelope_fault fault;

	*out = (struct envelope){ .scratch = NULL };
	if (bytes.len > ENVELOPE_BYTES_MAX)
		return ENVELOPE_TOO_LARGE;
	if (!json_view_read(bytes, fields, FIELDS, values))
		return ENVELOPE_NOT_JSON;
	if (!resolve_escapes(values, bytes.len, out))
		return ENVELOPE_NO_MEMORY;
	fault = judge_kinds(values);
	return fault != ENVELOPE_OK ? fault : fill(values, out);
}

void envelope_free(struct envelope *e)
{
	free(e->scratch);
	e->scratch = NULL;
}

const char *envelope_fault_text(enum envelope_fault fault)
{
	static const char *const texts[ENVELOPE_FAULTS] = {
		[ENVELOPE_OK] = "no fault",
		[ENVELOPE_TOO_LARGE] = "record is too large",
		[ENVELOPE_NOT_JSON] = "not a JSON object",
		[ENVELOPE_FIELD_MISSING] = "a field is missing",
		[ENVELOPE_FIELD_INVALID] = "a field has another type or is out of range",
		[ENVELOPE_BAD_ID] = "messageId, senderId or recipientId is not an id",
		[ENVELOPE_BAD_KEY] = "ephemeralPublicKey is not 32 bytes in base64",
		[ENVELOPE_BAD_HASH] = "contentHash is not 64 hex digits",
		[ENVELOPE_EMPTY] = "encryptedPayload is empty",
		[ENVELOPE_NOT_FOR_US] = "messageType is not directMessage",
		[ENVELOPE_NO_MEMORY] = "no memory",
	};

	return (unsigned)fault < ENVELOPE_FAULTS ? texts[fault] : "unknown fault";
}

/* ---- writing ---- */

/* Goes on counting when it is full. */
struct writer {
	char *out;
	size_t room, len;
};

static inline void put(struct writer *w, const void *text, size_t len)
{
	if (w->len <= w->room && len <= w->room - w->len && len > 0)
		memcpy(w->out + w->len, text, len);
	w->len += len;
}
#define PUT_LITERAL(w, text) put(w, text, sizeof(text) - 1)

static void put_number(struct writer *w, int64_t value)
{
	uint64_t n = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	char digits[24];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	if (value < 0)
		digits[--at] = '-';
	put(w, digits + at, sizeof(digits) - at);
}

static void put_text(struct writer *w, struct wire_slice text)
{
	size_t len;

	if (json_text_plain_len(text.at, text.len) == text.len) {
		put(w, text.at, text.len);
		return;
	}
	len = json_text_escape(text, NULL);
	if (w->len <= w->room && len <= w->room - w->len)
		json_text_escape(text, w->out + w->len);
	w->len += len;
}

static void put_user(struct writer *w, const struct uuid *user, struct wire_slice domain)
{
	char text[UUID_TEXT_LEN];

	uuid_format(user, text);
	put(w, text, sizeof(text));
	if (domain.len > 0) {
		PUT_LITERAL(w, "@");
		put_text(w, domain);
	}
}

static void put_content_hash(struct writer *w, struct wire_slice id,
                             const struct chat_message *m)
{
	uint8_t hash[HASH_LEN];
	char text[HASH_HEX_LEN];

	hash_content(id, wire_slice(m->key, sizeof(m->key)), m->content, hash);
	hash_hex(hash, sizeof(hash), text);
	put(w, text, sizeof(text));
}

static void put_key(struct writer *w, const uint8_t key[CHAT_KEY_LEN])
{
	char text[BASE64_TEXT_LEN(CHAT_KEY_LEN)];

	put(w, text, base64_encode(key, CHAT_KEY_LEN, text));
}

size_t envelope_write(char *out, size_t room, const struct envelope *e)
{
	struct writer w = { .out = out, .room = room };
	const struct chat_message *m = &e->message;
	char id[UUID_TEXT_LEN];

	uuid_format_case(&m->id, m->id_case, id);
	PUT_LITERAL(&w, "{\"messageId\":\"");
	put(&w, id, sizeof(id));
	PUT_LITERAL(&w, "\",\"senderId\":\"");
	put_user(&w, &e->sender, e->sender_domain);
	PUT_LITERAL(&w, "\",\"recipientId\":\"");
	put_user(&w, &e->recipient, e->recipient_domain);
	PUT_LITERAL(&w, "\",\"timestamp\":");
	put_number(&w, m->timestamp);
	PUT_LITERAL(&w, ",\"messageType\":\"directMessage\",\"ephemeralPublicKey\":\"");
	put_key(&w, m->key);
	PUT_LITERAL(&w, "\",\"messageNumber\":");
	put_number(&w, m->message_number);
	PUT_LITERAL(&w, ",\"encryptedPayload\":\"");
	put_text(&w, m->content);
	PUT_LITERAL(&w, "\",\"contentHash\":\"");
	put_content_hash(&w, wire_slice(id, sizeof(id)), m);
	PUT_LITERAL(&w, "\",\"suiteId\":");
	put_number(&w, e->suite_id);
	if (e->origin_server.len > 0) {
		PUT_LITERAL(&w, ",\"originServer\":\"");
		put_text(&w, e->origin_server);
		PUT_LITERAL(&w, "\"");
	}
	PUT_LITERAL(&w, ",\"federated\":");
	if (e->federated)
		PUT_LITERAL(&w, "true}");
	else
		PUT_LITERAL(&w, "false}");
	return w.len;
}
