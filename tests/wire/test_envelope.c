/* SPDX-License-Identifier: MIT */
#include "wire/envelope.h"

#include <stdio.h>

#include "wire/base64.h"
#include "wire/vectors.h"

TestSuite(envelope, .timeout = 20);

#define VECTORS "tests/vectors/log_records.json"
#define DOMAIN_63 "d23456789.d23456789.d23456789.d23456789.d23456789.d23456789.abc"

static struct wire_slice vector_value(json_t *root)
{
	return text_at(json_object_get(root, "envelope"), "value");
}

/* In memory of exactly its size. */
static enum envelope_fault read_text(struct wire_slice text, struct envelope *out)
{
	uint8_t *bytes = malloc(text.len > 0 ? text.len : 1);
	enum envelope_fault fault;

	cr_assert(bytes != NULL);
	memcpy(bytes, text.at, text.len);
	fault = envelope_read(wire_slice(bytes, text.len), out);
	/* What is looked at below lives on in the caller's text only by offset. */
	if (fault == ENVELOPE_OK && out->scratch == NULL)
		out->message.content = wire_slice(text.at + (out->message.content.at - bytes),
		                                  out->message.content.len);
	free(bytes);
	return fault;
}

/* The vector with one field set to (or, value NULL, without). */
static enum envelope_fault fault_with(const char *field, json_t *value)
{
	json_t *root = vectors_load(VECTORS);
	const struct wire_slice text = vector_value(root);
	json_t *object = json_loadb((const char *)text.at, text.len, 0, NULL);
	struct envelope e;
	enum envelope_fault fault;
	char *changed;

	cr_assert(object != NULL);
	if (value == NULL)
		cr_assert(json_object_del(object, field) == 0);
	else
		json_object_set_new(object, field, value);
	changed = json_dumps(object, JSON_COMPACT);
	fault = read_text(wire_text(changed), &e);
	envelope_free(&e);
	free(changed);
	json_decref(object);
	json_decref(root);
	return fault;
}

Test(envelope, that_of_an_older_server_is_read)
{
	json_t *root = vectors_load(VECTORS);
	struct envelope e;
	char text[UUID_TEXT_LEN];
	char key[BASE64_TEXT_LEN(CHAT_KEY_LEN)];

	cr_assert(read_text(vector_value(root), &e) == ENVELOPE_OK);
	uuid_format(&e.message.id, text);
	cr_assert(memcmp(text, "3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33", 36) == 0);
	uuid_format(&e.sender, text);
	cr_assert(memcmp(text, "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11", 36) == 0);
	uuid_format(&e.recipient, text);
	cr_assert(memcmp(text, "c2b5e6a8-1f4d-4b7a-8e21-5a9d3c7f6b02", 36) == 0);
	cr_assert(uuid_equal(&e.sender, &e.message.from.user) &&
	          e.message.from.domain.len == 0);
	cr_assert(uuid_equal(&e.recipient, &e.message.to.user) && e.message.to.domain.len == 0);
	cr_assert(e.message.id_case == 0 && e.message.timestamp == 1767225600);
	cr_assert(e.message.message_number == 7 && e.suite_id == 0 && !e.federated);
	base64_encode(e.message.key, sizeof(e.message.key), key);
	cr_assert(memcmp(key, "ffueRp7GHvKgKqzazAoZueMsbERnHfBL2BvEH7vERuk=", sizeof(key)) ==
	          0);
	cr_assert(e.message.content.len == 104 &&
	          memcmp(e.message.content.at, "Daz6aft", 7) == 0);
	cr_assert(e.scratch == NULL && e.origin_server.len == 0);
	envelope_free(&e);
	json_decref(root);
}

/* Byte for byte, contentHash included: both sides of a migration write the same. */
Test(envelope, what_is_written_is_what_an_older_server_writes)
{
	json_t *root = vectors_load(VECTORS);
	const struct wire_slice value = vector_value(root);
	struct envelope e;
	char out[1024];
	size_t len;

	cr_assert(read_text(value, &e) == ENVELOPE_OK);
	memset(e.content_hash, 0, sizeof(e.content_hash));
	len = envelope_write(out, sizeof(out), &e);
	cr_assert(wire_slice_equal(wire_slice(out, len), value), "%.*s", (int)len, out);
	json_decref(root);
}

Test(envelope, every_dead_letter_of_the_vectors_has_its_fault)
{
	static const enum envelope_fault faults[] = {
		ENVELOPE_NOT_JSON,      ENVELOPE_NOT_JSON,      ENVELOPE_FIELD_MISSING,
		ENVELOPE_NOT_JSON,      ENVELOPE_FIELD_INVALID, ENVELOPE_BAD_ID,
		ENVELOPE_FIELD_MISSING,
	};
	json_t *root = vectors_load(VECTORS);
	struct envelope e;
	json_t *text;
	size_t i;

	json_array_foreach(json_object_get(root, "dead_letters"), i, text)
	{
		enum envelope_fault fault = read_text(
			wire_slice(json_string_value(text), json_string_length(text)), &e);

		cr_assert(i < sizeof(faults) / sizeof(*faults) && fault == faults[i], "%zu: %s",
		          i, envelope_fault_text(fault));
		envelope_free(&e);
	}
	cr_assert(i == sizeof(faults) / sizeof(*faults));
	json_decref(root);
}

Test(envelope, each_field_has_its_type_and_range)
{
	static const char *const needed[] = { "messageId",     "senderId",
		                              "recipientId",   "timestamp",
		                              "messageType",   "ephemeralPublicKey",
		                              "messageNumber", "encryptedPayload",
		                              "contentHash" };
	static const char *const all[] = {
		"messageId",    "senderId",           "recipientId",
		"timestamp",    "ephemeralPublicKey", "messageNumber",
		"contentHash",  "encryptedPayload",   "suiteId",
		"originServer", "federated",          "messageType"
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
		cr_assert(fault_with(needed[i], NULL) == ENVELOPE_FIELD_MISSING, "%s",
		          needed[i]);
		cr_assert(fault_with(needed[i], json_null()) == ENVELOPE_FIELD_MISSING, "%s",
		          needed[i]);
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		cr_assert(fault_with(all[i], json_array()) == ENVELOPE_FIELD_INVALID, "%s",
		          all[i]);
	cr_assert(fault_with("suiteId", NULL) == ENVELOPE_OK);
	cr_assert(fault_with("federated", NULL) == ENVELOPE_OK);
	cr_assert(fault_with("originServer", json_null()) == ENVELOPE_OK);
	cr_assert(fault_with("serverSignature", json_array()) == ENVELOPE_OK);
	cr_assert(fault_with("messageNumber", json_integer(-1)) == ENVELOPE_FIELD_INVALID);
	cr_assert(fault_with("messageNumber", json_integer(INT64_C(4294967296))) ==
	          ENVELOPE_FIELD_INVALID);
	cr_assert(fault_with("messageNumber", json_integer(INT64_C(4294967295))) ==
	          ENVELOPE_OK);
	cr_assert(fault_with("timestamp", json_real(1.5)) == ENVELOPE_FIELD_INVALID);
	cr_assert(fault_with("timestamp", json_integer(-5)) == ENVELOPE_OK);
	cr_assert(fault_with("messageId", json_string("5")) == ENVELOPE_BAD_ID);
	cr_assert(
		fault_with("senderId", json_string("7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11@")) ==
		ENVELOPE_BAD_ID);
	cr_assert(fault_with("ephemeralPublicKey", json_string("AAAA")) == ENVELOPE_BAD_KEY);
	cr_assert(fault_with("contentHash", json_string("9a51")) == ENVELOPE_BAD_HASH);
	cr_assert(fault_with("encryptedPayload", json_string("")) == ENVELOPE_EMPTY);
}

Test(envelope, only_the_form_of_a_content_hash_is_judged)
{
	cr_assert(fault_with("contentHash",
	                     json_string("00000000000000000000000000000000000000000000000000"
	                                 "00000000000000")) == ENVELOPE_OK);
}

Test(envelope, other_types_are_not_for_us_whatever_they_hold)
{
	static const char *const types[] = { "mLSMessage", "mLSKeyPackage", "mLSWelcome",
		                             "mLSCommit",  "mLSProposal",   "federatedMessage",
		                             "",           "DirectMessage" };
	struct envelope e;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		cr_assert(fault_with("messageType", json_string(types[i])) ==
		          ENVELOPE_NOT_FOR_US);
	cr_assert(read_text(wire_text("{\"messageType\":\"mLSCommit\"}"), &e) ==
	          ENVELOPE_NOT_FOR_US);
}

static struct envelope sample(void)
{
	static const char content[] = "c2VhbGVk";
	struct envelope e = { .sender = { { 1 } }, .recipient = { { 2 } } };

	cr_assert(uuid_parse(wire_text("E621E1F8-C36C-495a-93FC-0C247A3E6E5F"), &e.message.id,
	                     &e.message.id_case));
	memset(e.message.key, 0xfe, sizeof(e.message.key));
	e.message.message_number = UINT32_MAX;
	e.message.timestamp = -1;
	e.message.content = wire_slice(content, 8);
	e.sender_domain = wire_text("example.org");
	e.recipient_domain = wire_text(DOMAIN_63);
	e.origin_server = wire_text("example.org");
	e.suite_id = 1;
	e.federated = true;
	return e;
}

Test(envelope, what_is_written_is_read_back)
{
	const struct envelope e = sample();
	struct envelope back;
	char out[2048];
	const size_t len = envelope_write(out, sizeof(out), &e);

	cr_assert(len <= ENVELOPE_LEN_MAX(e.message.content.len));
	cr_assert(envelope_read(wire_slice(out, len), &back) == ENVELOPE_OK);
	cr_assert(uuid_equal(&back.message.id, &e.message.id));
	cr_assert(back.message.id_case == e.message.id_case && e.message.id_case != 0);
	cr_assert(uuid_equal(&back.sender, &e.sender) &&
	          uuid_equal(&back.recipient, &e.recipient));
	cr_assert(wire_slice_equal(back.sender_domain, e.sender_domain));
	cr_assert(wire_slice_equal(back.recipient_domain, e.recipient_domain));
	cr_assert(wire_slice_equal(back.origin_server, e.origin_server));
	cr_assert(wire_slice_equal(back.message.content, e.message.content));
	cr_assert(memcmp(back.message.key, e.message.key, CHAT_KEY_LEN) == 0);
	cr_assert(back.message.message_number == UINT32_MAX && back.message.timestamp == -1);
	cr_assert(back.suite_id == 1 && back.federated);
}

Test(envelope, needs_the_bytes_that_it_says_and_no_room_is_overrun)
{
	const struct envelope e = sample();
	char whole[2048];
	const size_t len = envelope_write(whole, sizeof(whole), &e);

	for (size_t room = 0; room <= len; room++) {
		char *out = malloc(room > 0 ? room : 1);

		cr_assert(out != NULL);
		cr_assert(envelope_write(out, room, &e) == len);
		if (room == len)
			cr_assert(memcmp(out, whole, len) == 0);
		free(out);
	}
}

Test(envelope, texts_with_escapes_are_what_they_stand_for)
{
	static const char text[] =
		"{\"messageId\":\"\\u0045621E1F8-C36C-495a-93FC-0C247A3E6E5F\","
		"\"senderId\":\"7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11\","
		"\"recipientId\":\"c2b5e6a8-1f4d-4b7a-8e21-5a9d3c7f6b02@a\\u002eb\","
		"\"timestamp\":1,\"message\\u0054ype\":\"direct\\u004dessage\","
		"\"ephemeralPublicKey\":\"\\/\\/79\\/f38+\\/"
		"r5+Pf29fTz8vHw7+7t7Ovq6ejn5uXk4+I=\","
		"\"messageNumber\":1,\"encryptedPayload\":\"a\\/b=\\\"\\u00e9\","
		"\"contentHash\":"
		"\"9a513cb92df2f3c9b143ef2990d219c72782287e22ab179c8ba24617629eb86b\"}";
	struct envelope e, back;
	char out[2048];
	size_t len;

	cr_assert(envelope_read(wire_text(text), &e) == ENVELOPE_OK);
	cr_assert(e.scratch != NULL && e.message.id.b[0] == 0xe6 &&
	          (e.message.id_case & 1) != 0);
	cr_assert(wire_slice_is(e.message.content, "a/b=\"\xc3\xa9"));
	cr_assert(wire_slice_is(e.recipient_domain, "a.b") && e.message.key[2] == 0xfd);
	len = envelope_write(out, sizeof(out), &e);
	cr_assert(envelope_read(wire_slice(out, len), &back) == ENVELOPE_OK);
	cr_assert(wire_slice_equal(back.message.content, e.message.content));
	envelope_free(&back);
	envelope_free(&e);
	cr_assert(e.scratch == NULL);
}

Test(envelope, size_is_judged_before_anything_else)
{
	uint8_t *big = malloc(ENVELOPE_BYTES_MAX + 1);
	struct envelope e;

	cr_assert(big != NULL);
	memset(big, '{', ENVELOPE_BYTES_MAX + 1);
	cr_assert(envelope_read(wire_slice(big, ENVELOPE_BYTES_MAX + 1), &e) ==
	          ENVELOPE_TOO_LARGE);
	cr_assert(envelope_read(wire_slice(big, ENVELOPE_BYTES_MAX), &e) == ENVELOPE_NOT_JSON);
	free(big);
}

Test(envelope, a_field_twice_is_refused)
{
	struct envelope e;

	cr_assert(read_text(wire_text("{\"messageId\":\"a\",\"messageId\":\"a\"}"), &e) ==
	          ENVELOPE_NOT_JSON);
}

Test(envelope, every_fault_has_a_text)
{
	for (unsigned fault = 0; fault <= ENVELOPE_FAULTS; fault++)
		cr_assert(envelope_fault_text((enum envelope_fault)fault) != NULL);
}
