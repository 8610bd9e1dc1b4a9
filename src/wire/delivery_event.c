/* SPDX-License-Identifier: MIT */
#include "wire/delivery_event.h"

#include <stdio.h>

#include "wire/json_view.h"
#include "wire/secret.h"

enum field {
	MESSAGE_ID,
	MESSAGE_HASH,
	SENDER_HASH,
	RECIPIENT_HASH,
	DELIVERED_AT,
	ROUTE,
	FIELDS,
};
static const struct json_field fields[FIELDS] = {
	[MESSAGE_ID] = JSON_FIELD("messageId"),
	[MESSAGE_HASH] = JSON_FIELD("messageHash"),
	[SENDER_HASH] = JSON_FIELD("senderIdHash"),
	[RECIPIENT_HASH] = JSON_FIELD("recipientIdHash"),
	[DELIVERED_AT] = JSON_FIELD("deliveredAt"),
	[ROUTE] = JSON_FIELD("route"),
};

void delivery_key_init(struct delivery_key *k, const uint8_t secret[HASH_KEY_LEN])
{
	hash_hmac_key_init(&k->hmac, secret);
	hash_route_key(secret, k->route);
}

void delivery_key_wipe(struct delivery_key *k)
{
	secret_wipe(k, sizeof(*k));
}

void delivery_message_hash(const struct delivery_key *k, const struct uuid *message,
                           uint32_t message_case, uint8_t out[HASH_LEN])
{
	char text[UUID_TEXT_LEN];

	uuid_format_case(message, message_case, text);
	hash_hmac_with(&k->hmac, wire_slice(text, sizeof(text)), out);
}

/* A user id is written in lower case, whatever a client wrote. */
static void user_hash(const struct delivery_key *k, const struct uuid *user,
                      uint8_t out[HASH_LEN])
{
	delivery_message_hash(k, user, 0, out);
}

static void join(const uint8_t a[HASH_LEN], const uint8_t b[HASH_LEN], uint8_t out[HASH_LEN])
{
	for (size_t i = 0; i < HASH_LEN; i++)
		out[i] = a[i] ^ b[i];
}

void delivery_event_pair(const struct delivery_event *event, uint8_t out[HASH_LEN])
{
	join(event->message_hash, event->sender_hash, out);
}

void delivery_pair_hash(const struct delivery_key *k, const struct uuid *sender,
                        const struct uuid *message, uint32_t message_case,
                        uint8_t out[HASH_LEN])
{
	uint8_t a[HASH_LEN], b[HASH_LEN];

	delivery_message_hash(k, message, message_case, a);
	user_hash(k, sender, b);
	join(a, b, out);
}

/* ---- writing ---- */

static char *put(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}
#define PUT_LITERAL(at, text) put(at, text, sizeof(text) - 1)

static char *put_hash(char *at, const uint8_t hash[HASH_LEN])
{
	hash_hex(hash, HASH_LEN, at);
	return at + HASH_HEX_LEN;
}

/* Random, 64 at a time from the system: one question for each was a syscall of each message.  They are no
 * secret, but none may come twice, so a process that has written one must not fork. */
static void next_nonce(uint8_t out[HASH_NONCE_LEN])
{
	static _Thread_local uint8_t made[64][HASH_NONCE_LEN];
	static _Thread_local size_t left;

	if (left == 0) {
		secret_random(made, sizeof(made));
		left = sizeof(made) / sizeof(made[0]);
	}
	memcpy(out, made[--left], HASH_NONCE_LEN);
}

size_t delivery_event_write(const struct delivery_key *k, const struct uuid *sender,
                            const struct uuid *recipient, const struct uuid *message,
                            uint32_t message_case, int64_t delivered_at, char *out, size_t room)
{
	char event[DELIVERY_EVENT_LEN_MAX], *at = event;
	uint8_t hash[HASH_LEN], nonce[HASH_NONCE_LEN];
	size_t len;

	delivery_message_hash(k, message, message_case, hash);
	at = PUT_LITERAL(at, "{\"messageHash\":\"");
	at = put_hash(at, hash);
	user_hash(k, sender, hash);
	at = PUT_LITERAL(at, "\",\"senderIdHash\":\"");
	at = put_hash(at, hash);
	user_hash(k, recipient, hash);
	at = PUT_LITERAL(at, "\",\"recipientIdHash\":\"");
	at = put_hash(at, hash);
	at += snprintf(at, 48, "\",\"deliveredAt\":%lld,\"route\":\"", (long long)delivered_at);
	next_nonce(nonce);
	hash_route_seal(k->route, nonce, sender, message, message_case, at);
	at += HASH_ROUTE_TEXT_LEN;
	at = PUT_LITERAL(at, "\"}");
	len = (size_t)(at - event);
	if (len <= room)
		memcpy(out, event, len);
	return len;
}

/* ---- reading ---- */

static enum delivery_fault judge_kinds(const struct json_view *values)
{
	if (values[ROUTE].kind == JSON_ABSENT && values[MESSAGE_ID].kind == JSON_ABSENT)
		return DELIVERY_FIELD_MISSING;
	for (size_t i = 0; i < FIELDS; i++) {
		if (values[i].kind == JSON_ABSENT && i != ROUTE && i != MESSAGE_ID)
			return DELIVERY_FIELD_MISSING;
		if (values[i].kind != JSON_ABSENT &&
		    values[i].kind != (i == DELIVERED_AT ? JSON_NUMBER : JSON_TEXT))
			return DELIVERY_FIELD_INVALID;
	}
	return DELIVERY_OK;
}

/* Texts become what they stand for; a route may be spelled "\/" by those who do so. */
static void resolve_escapes(struct json_view *values, uint8_t *scratch)
{
	for (size_t i = 0; i < FIELDS; i++) {
		struct json_view *v = &values[i];

		if (v->kind != JSON_TEXT || !v->has_escapes)
			continue;
		v->raw = wire_slice(scratch, json_view_unescape(v, scratch));
		scratch += v->raw.len;
		v->has_escapes = false;
	}
}

static enum delivery_fault open_route(const struct delivery_key *k, struct wire_slice route,
                                      struct delivery_event *out)
{
	uint8_t of_message[HASH_LEN], of_sender[HASH_LEN];

	if (!hash_route_open(k->route, route, &out->sender, &out->message, &out->message_case))
		return DELIVERY_SEALED;
	delivery_message_hash(k, &out->message, out->message_case, of_message);
	user_hash(k, &out->sender, of_sender);
	if (memcmp(of_message, out->message_hash, HASH_LEN) != 0 ||
	    memcmp(of_sender, out->sender_hash, HASH_LEN) != 0)
		return DELIVERY_CONTRADICTION;
	out->has_route = true;
	return DELIVERY_OK;
}

static enum delivery_fault fill(const struct delivery_key *k, const struct json_view *values,
                                struct delivery_event *out)
{
	if (!hash_key_parse(values[MESSAGE_HASH].raw, out->message_hash) ||
	    !hash_key_parse(values[SENDER_HASH].raw, out->sender_hash) ||
	    !hash_key_parse(values[RECIPIENT_HASH].raw, out->recipient_hash))
		return DELIVERY_BAD_HASH;
	if (!json_view_integer(&values[DELIVERED_AT], INT64_MIN, INT64_MAX, &out->delivered_at))
		return DELIVERY_FIELD_INVALID;
	if (values[ROUTE].kind == JSON_TEXT)
		return open_route(k, values[ROUTE].raw, out);
	if (!uuid_parse(values[MESSAGE_ID].raw, &out->message, &out->message_case))
		return DELIVERY_BAD_ID;
	out->has_message_id = true;
	return DELIVERY_OK;
}

enum delivery_fault delivery_event_read(const struct delivery_key *k, struct wire_slice bytes,
                                        struct delivery_event *out)
{
	struct json_view values[FIELDS];
	uint8_t scratch[DELIVERY_EVENT_BYTES_MAX];
	enum delivery_fault fault;

	*out = (struct delivery_event){ .has_route = false };
	if (bytes.len > sizeof(scratch))
		return DELIVERY_TOO_LARGE;
	if (!json_view_read(bytes, fields, FIELDS, values))
		return DELIVERY_NOT_JSON;
	fault = judge_kinds(values);
	if (fault != DELIVERY_OK)
		return fault;
	resolve_escapes(values, scratch);
	return fill(k, values, out);
}

const char *delivery_fault_text(enum delivery_fault fault)
{
	static const char *const texts[DELIVERY_FAULTS] = {
		[DELIVERY_OK] = "no fault",
		[DELIVERY_TOO_LARGE] = "record is too large",
		[DELIVERY_NOT_JSON] = "not a JSON object",
		[DELIVERY_FIELD_MISSING] = "a field is missing",
		[DELIVERY_FIELD_INVALID] = "a field has another type or is out of range",
		[DELIVERY_BAD_HASH] = "a hash is not 64 hex digits",
		[DELIVERY_BAD_ID] = "messageId is not an id",
		[DELIVERY_SEALED] = "route is sealed under another key or damaged",
		[DELIVERY_CONTRADICTION] = "route and hashes are not of the same ids",
	};

	return (unsigned)fault < DELIVERY_FAULTS ? texts[fault] : "unknown fault";
}
