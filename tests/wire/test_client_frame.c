/* SPDX-License-Identifier: MIT */
#include "wire/client_frame.h"

#include "wire/pack.h"
#include "wire/vectors.h"

TestSuite(client_frame, .timeout = 20);

#define VECTORS "tests/vectors/client_frames.json"
#define ID "E621E1F8-C36C-495A-93FC-0C247A3E6E5F"
#define ALICE "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"
#define BOB "c2b5e6a8-1f4d-4b7a-8e21-5a9d3c7f6b02"

static const uint8_t key[CHAT_KEY_LEN] = { 1, 255, 3 };

/* Decodes a copy of exactly the frame's size, so that a read beyond it is seen. */
static enum error_code decode(const struct pack *p, struct client_frame *out)
{
	static uint8_t *copy;

	cr_assert(p->len <= p->room);
	free(copy);
	copy = malloc(p->len > 0 ? p->len : 1);
	memcpy(copy, p->out, p->len);
	return client_frame_decode(copy, p->len, out);
}

/* ---- A sendMessage to bend: each value can be left out (NULL) or be anything ---- */

struct bent {
	const char *id, *from, *to, *content;
	void (*put_key)(struct pack *p);
	void (*put_number)(struct pack *p);
	void (*put_timestamp)(struct pack *p);
};

static void good_key(struct pack *p)
{
	pack_bin(p, key, sizeof(key));
}

static void seven(struct pack *p)
{
	pack_uint(p, 7);
}

static const struct bent good = { ID, ALICE, BOB, "QUJD", good_key, seven, seven };

static enum error_code decode_bent(const struct bent *b, struct client_frame *out)
{
	static uint8_t room[2048];
	struct pack p = { room, sizeof(room), 0 };
	const char *const texts[][2] = {
		{ "id", b->id }, { "from", b->from }, { "to", b->to }, { "content", b->content }
	};
	unsigned entries = 0;

	entries += b->put_key != NULL;
	entries += b->put_number != NULL;
	entries += b->put_timestamp != NULL;
	for (size_t i = 0; i < 4; i++)
		entries += texts[i][1] != NULL;
	pack_frame_head(&p, "sendMessage", entries);
	for (size_t i = 0; i < 4; i++) {
		if (texts[i][1] != NULL)
			pack_entry(&p, texts[i][0], wire_text(texts[i][1]));
	}
	if (b->put_key != NULL) {
		pack_literal(&p, "ephemeralPublicKey");
		b->put_key(&p);
	}
	if (b->put_number != NULL) {
		pack_literal(&p, "messageNumber");
		b->put_number(&p);
	}
	if (b->put_timestamp != NULL) {
		pack_literal(&p, "timestamp");
		b->put_timestamp(&p);
	}
	return decode(&p, out);
}

/* ---- Vectors ---- */

static json_t *valid_vector(json_t *root, const char *name)
{
	json_t *frame;
	size_t i;

	json_array_foreach(json_object_get(root, "frames"), i, frame)
	{
		if (strcmp(name_of(frame), name) == 0)
			return frame;
	}
	cr_assert_fail("no vector %s", name);
	return NULL;
}

static struct wire_slice decode_vector(json_t *root, const char *name, struct client_frame *out)
{
	const struct wire_slice bytes = hex_at(valid_vector(root, name), "hex");

	cr_assert(client_frame_decode(bytes.at, bytes.len, out) == ERROR_NONE, "%s", name);
	return bytes;
}

static void check_chat(const json_t *payload, const struct chat_message *m)
{
	char text[UUID_TEXT_LEN], address[USER_ADDRESS_BYTES_MAX];

	uuid_format_case(&m->id, m->id_case, text);
	cr_assert(wire_slice_equal(wire_slice(text, sizeof(text)), text_at(payload, "id")));
	cr_assert(wire_slice_equal(wire_slice(address, user_address_format(&m->from, address)),
	                           text_at(payload, "from")));
	cr_assert(wire_slice_equal(wire_slice(address, user_address_format(&m->to, address)),
	                           text_at(payload, "to")));
	cr_assert(wire_slice_equal(m->content, text_at(payload, "content")));
	cr_assert(m->message_number ==
	          json_integer_value(json_object_get(payload, "messageNumber")));
	cr_assert(m->timestamp == json_integer_value(json_object_get(payload, "timestamp")));
	cr_assert(m->key[0] == 0x7d && m->key[1] == 0xfb && m->key[31] == 0xe9);
}

Test(client_frame, reads_every_send_message_of_the_vectors)
{
	static const char *const names[] = { "sendMessage, key as bin",
		                             "sendMessage, key as array of integers",
		                             "sendMessage, upper-case id" };
	json_t *root = vectors_load(VECTORS);

	for (size_t i = 0; i < 3; i++) {
		const json_t *payload = json_object_get(
			json_object_get(valid_vector(root, names[i]), "json"), "payload");
		struct client_frame frame;
		const struct wire_slice bytes = decode_vector(root, names[i], &frame);

		cr_assert(frame.type == CLIENT_SEND_MESSAGE);
		cr_assert(wire_slice_equal(frame.message_id, text_at(payload, "id")));
		check_chat(payload, &frame.send);
		bytes_free(bytes);
	}
	json_decref(root);
}

Test(client_frame, reads_register_login_and_acknowledgement_of_the_vectors)
{
	json_t *root = vectors_load(VECTORS);
	struct client_frame frame;
	struct wire_slice bytes = decode_vector(root, "register", &frame);

	cr_assert(frame.type == CLIENT_REGISTER && frame.message_id.at == NULL);
	cr_assert(wire_slice_is(frame.reg.username, "alice"));
	cr_assert(wire_slice_is(frame.reg.password, "Correct-Horse1"));
	cr_assert(wire_slice_is(frame.reg.bundle.master_identity_key,
	                        "4hPGN9VFgGJuBYYZu+Ke73qql0g0v5hnIUUmJkLPxXU="));
	cr_assert(frame.reg.bundle.bundle_data.len == 324 &&
	          frame.reg.bundle.signature.len == 88);
	bytes_free(bytes);
	bytes = decode_vector(root, "login", &frame);
	cr_assert(frame.type == CLIENT_LOGIN && wire_slice_is(frame.login.username, "alice"));
	cr_assert(wire_slice_is(frame.login.password, "Correct-Horse1"));
	bytes_free(bytes);
	bytes = decode_vector(root, "acknowledgeMessage", &frame);
	cr_assert(frame.type == CLIENT_ACKNOWLEDGE_MESSAGE && frame.acknowledge.is_delivered);
	cr_assert(!frame.acknowledge.has_from);
	cr_assert(wire_slice_is(frame.message_id, "3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33"));
	cr_assert(wire_slice_equal(frame.acknowledge.message_id, frame.message_id));
	bytes_free(bytes);
	json_decref(root);
}

Test(client_frame, refuses_the_servers_own_types)
{
	static const char *const names[] = { "ack", "error with messageId",
		                             "sessionExpired, no payload" };
	json_t *root = vectors_load(VECTORS);

	for (size_t i = 0; i < 3; i++) {
		const struct wire_slice bytes = hex_at(valid_vector(root, names[i]), "hex");
		struct client_frame frame;

		cr_assert(client_frame_decode(bytes.at, bytes.len, &frame) ==
		          ERROR_INVALID_FORMAT);
		cr_assert(frame.type == CLIENT_UNKNOWN);
		bytes_free(bytes);
	}
	json_decref(root);
}

Test(client_frame, refuses_every_invalid_vector)
{
	json_t *root = vectors_load(VECTORS);
	json_t *vector;
	size_t i;

	json_array_foreach(json_object_get(root, "invalid"), i, vector)
	{
		const struct wire_slice bytes = hex_at(vector, "hex");
		struct client_frame frame;

		cr_assert(client_frame_decode(bytes.at, bytes.len, &frame) ==
		                  ERROR_INVALID_FORMAT,
		          "%s", name_of(vector));
		bytes_free(bytes);
	}
	cr_assert(i == 11);
	json_decref(root);
}

Test(client_frame, refuses_every_vector_cut_short_anywhere)
{
	json_t *root = vectors_load(VECTORS);
	json_t *vector;
	size_t i;

	json_array_foreach(json_object_get(root, "frames"), i, vector)
	{
		const struct wire_slice bytes = hex_at(vector, "hex");

		for (size_t len = 0; len < bytes.len; len++) {
			uint8_t *cut = malloc(len > 0 ? len : 1);
			struct client_frame frame;

			memcpy(cut, bytes.at, len);
			cr_assert(client_frame_decode(cut, len, &frame) ==
			          ERROR_INVALID_FORMAT);
			free(cut);
		}
		bytes_free(bytes);
	}
	json_decref(root);
}

/* ---- Which problem gives which code ---- */

Test(client_frame, reads_the_good_message_that_the_next_tests_bend)
{
	struct client_frame frame;

	cr_assert(decode_bent(&good, &frame) == ERROR_NONE);
	cr_assert(wire_slice_is(frame.message_id, ID) &&
	          wire_slice_is(frame.send.content, "QUJD"));
	cr_assert(memcmp(frame.send.key, key, sizeof(key)) == 0);
	cr_assert(frame.send.message_number == 7 && frame.send.timestamp == 7);
}

Test(client_frame, send_message_without_a_field_is_invalid_format_and_keeps_its_id)
{
	for (int missing = 1; missing <= 6; missing++) {
		struct client_frame frame;
		struct bent b = good;

		if (missing == 1)
			b.from = NULL;
		else if (missing == 2)
			b.to = NULL;
		else if (missing == 3)
			b.content = NULL;
		else if (missing == 4)
			b.put_key = NULL;
		else if (missing == 5)
			b.put_number = NULL;
		else
			b.put_timestamp = NULL;
		cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_FORMAT);
		cr_assert(frame.type == CLIENT_SEND_MESSAGE);
		cr_assert(wire_slice_is(frame.message_id, ID));
	}
}

Test(client_frame, send_message_without_its_id_is_invalid_format_without_one)
{
	struct client_frame frame;
	struct bent b = good;

	b.id = NULL;
	cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_FORMAT);
	cr_assert(frame.type == CLIENT_SEND_MESSAGE && frame.message_id.at == NULL);
}

Test(client_frame, an_id_that_is_no_uuid_is_invalid_message_id_whatever_else_is_wrong)
{
	static const char *const ids[] = { "", "x", "{E621E1F8-C36C-495A-93FC-0C247A3E6E5F}" };

	for (size_t i = 0; i < 3; i++) {
		struct client_frame frame;
		struct bent b = good;

		b.id = ids[i];
		b.content = "no base64";
		cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_MESSAGE_ID);
		cr_assert(wire_slice_is(frame.message_id, ids[i]) &&
		          frame.message_id.at != NULL);
	}
}

Test(client_frame, an_id_is_echoed_up_to_128_bytes_of_utf8)
{
	char id[130] = { 0 };
	struct client_frame frame;
	struct bent b = good;

	memset(id, 'a', 129);
	b.id = id;
	cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_MESSAGE_ID &&
	          frame.message_id.at == NULL);
	id[128] = '\0';
	cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_MESSAGE_ID &&
	          frame.message_id.len == 128);
	b.id = "\xff";
	cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_FORMAT &&
	          frame.message_id.at == NULL);
}

static void key_of_31(struct pack *p)
{
	pack_bin(p, key, 31);
}

static void key_of_33(struct pack *p)
{
	static const uint8_t long_key[33] = { 0 };

	pack_bin(p, long_key, 33);
}

static void empty_array(struct pack *p)
{
	pack_byte(p, 0x90);
}

static void array_of(struct pack *p, unsigned count, int64_t last)
{
	pack_sized(p, 0xdc, count, 2);
	for (unsigned i = 1; i < count; i++)
		pack_uint(p, 200);
	pack_int(p, last);
}

static void array_of_33(struct pack *p)
{
	array_of(p, 33, 1);
}

static void array_with_256(struct pack *p)
{
	array_of(p, 32, 256);
}

static void array_with_minus_1(struct pack *p)
{
	array_of(p, 32, -1);
}

static void key_as_text(struct pack *p)
{
	pack_text(p, wire_slice(ALICE, 32));
}

Test(client_frame, a_value_that_cannot_be_is_invalid_message_format)
{
	static const struct bent bad[] = {
		{ ID, "nobody", BOB, "QUJD", good_key, seven, seven },
		{ ID, ALICE "@x", BOB, "QUJD", good_key, seven, seven },
		{ ID, ALICE, "", "QUJD", good_key, seven, seven },
		{ ID, ALICE, BOB, "", good_key, seven, seven },
		{ ID, ALICE, BOB, "QUJ", good_key, seven, seven },
		{ ID, ALICE, BOB, "QUJ ", good_key, seven, seven },
		{ ID, ALICE, BOB, "QU-_", good_key, seven, seven },
		{ ID, ALICE, BOB, "QUJD", key_of_31, seven, seven },
		{ ID, ALICE, BOB, "QUJD", key_of_33, seven, seven },
		{ ID, ALICE, BOB, "QUJD", empty_array, seven, seven },
		{ ID, ALICE, BOB, "QUJD", array_of_33, seven, seven },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct client_frame frame;

		cr_assert(decode_bent(&bad[i], &frame) == ERROR_INVALID_MESSAGE_FORMAT, "%zu",
		          i);
		cr_assert(wire_slice_is(frame.message_id, ID));
	}
}

static void too_big(struct pack *p)
{
	pack_uint(p, UINT64_C(1) << 32);
}

static void beyond_int64(struct pack *p)
{
	pack_uint(p, UINT64_MAX);
}

static void minus_1(struct pack *p)
{
	pack_int(p, -1);
}

static void seven_as_float(struct pack *p)
{
	pack_sized(p, 0xcb, UINT64_C(0x401c000000000000), 8);
}

static void seven_as_text(struct pack *p)
{
	pack_literal(p, "7");
}

Test(client_frame, a_value_of_another_type_is_invalid_format)
{
	static const struct bent bad[] = {
		{ ID, ALICE, BOB, "QUJD", key_as_text, seven, seven },
		{ ID, ALICE, BOB, "QUJD", array_with_256, seven, seven },
		{ ID, ALICE, BOB, "QUJD", array_with_minus_1, seven, seven },
		{ ID, ALICE, BOB, "QUJD", good_key, too_big, seven },
		{ ID, ALICE, BOB, "QUJD", good_key, minus_1, seven },
		{ ID, ALICE, BOB, "QUJD", good_key, seven_as_float, seven },
		{ ID, ALICE, BOB, "QUJD", good_key, seven_as_text, seven },
		{ ID, ALICE, BOB, "QUJD", good_key, seven, beyond_int64 },
		{ ID, ALICE, BOB, "QUJD", good_key, seven, seven_as_text },
		{ ID, ALICE, BOB, "\xff\xff\xff\xff", good_key, seven, seven },
		{ ID, "\xff", BOB, "QUJD", good_key, seven, seven },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct client_frame frame;

		cr_assert(decode_bent(&bad[i], &frame) == ERROR_INVALID_FORMAT, "%zu", i);
		cr_assert(frame.type == CLIENT_SEND_MESSAGE);
		cr_assert(wire_slice_is(frame.message_id, ID));
	}
}

/* ---- Shapes ---- */

Test(client_frame, keys_come_in_any_order_with_unknown_ones_between)
{
	uint8_t room[512];
	struct pack p = { room, sizeof(room), 0 };
	struct client_frame frame;

	pack_map(&p, 4);
	pack_literal(&p, "more");
	pack_bool(&p, true);
	pack_literal(&p, "payload");
	pack_map(&p, 4);
	pack_entry(&p, "password", wire_text("secret"));
	pack_literal(&p, "x");
	pack_map(&p, 1);
	pack_uint(&p, 5);
	pack_raw(&p, "\x92\xc0\xa1z", 4);
	pack_entry(&p, "username", wire_text("alice"));
	pack_uint(&p, 1);
	pack_uint(&p, 2);
	pack_entry(&p, "type", wire_text("login"));
	pack_raw(&p, "\xc0\xc0", 2); /* nil: nil */
	cr_assert(decode(&p, &frame) == ERROR_NONE);
	cr_assert(frame.type == CLIENT_LOGIN && wire_slice_is(frame.login.username, "alice"));
	cr_assert(wire_slice_is(frame.login.password, "secret"));
}

static enum error_code decode_raw(const char *bytes, size_t len, struct client_frame *out)
{
	const struct pack p = { (uint8_t *)(uintptr_t)bytes, len, len };

	return decode(&p, out);
}
#define DECODE(bytes, out) decode_raw(bytes, sizeof(bytes) - 1, out)

Test(client_frame, a_key_twice_is_refused_wherever_it_is)
{
	struct client_frame frame;

	/* in the payload, known and unknown; in the frame; in an ignored map; type last */
	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x81\xacsessionToken\xa1x",
	                 &frame) == ERROR_NONE);
	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x82\xacsessionToken\xa1x\xacsessionToken\xa1x",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x83\xacsessionToken\xa1x\xa1z\x01\xa1z\x01",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x83\xa4type\xa7"
	                 "connect\xa7payload\x81\xacsessionToken\xa1x\xa7payload\x80",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x84\xa4type\xa7"
	                 "connect\xa7payload\x81\xacsessionToken\xa1x\xa1z\x01\xa1z\x02",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x82\xacsessionToken\xa1x\xa1z\x91\x82\xa1k\x01\xa1"
	                 "k\x02",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa7payload\x82\xacsessionToken\xa1x\xacsessionToken\xa1x\xa4type"
	                 "\xa7"
	                 "connect",
	                 &frame) == ERROR_INVALID_FORMAT);
}

/* The same key written in another width is the same key. */
Test(client_frame, twins_are_found_by_value)
{
	struct client_frame frame;

	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x83\xacsessionToken\xa1x\xa1z\x01\xd9\x01z\x01",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x83\xacsessionToken\xa1x\x05\x01\xcd\x00\x05\x01",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x83\xacsessionToken\xa1x\xa1z\x01\xc4\x01z\x01",
	                 &frame) == ERROR_NONE); /* text and bytes are not the same */
}

static void put_many_keys(struct pack *p, uint32_t count, uint32_t twin)
{
	pack_map(p, 3);
	pack_entry(p, "type", wire_text("connect"));
	pack_literal(p, "payload");
	pack_map(p, 1);
	pack_entry(p, "sessionToken", wire_text("x"));
	pack_literal(p, "z");
	pack_sized(p, 0xdf, count, 4);
	for (uint32_t i = 0; i < count; i++) {
		pack_uint(p, i == count - 1 ? twin : i);
		pack_byte(p, 0xc0);
	}
}

Test(client_frame, a_twin_is_found_among_twenty_thousand_keys)
{
	static uint8_t room[CLIENT_FRAME_BYTES_MAX];
	struct pack p = { room, sizeof(room), 0 };
	struct client_frame frame;

	put_many_keys(&p, 20000, 19999);
	cr_assert(decode(&p, &frame) == ERROR_NONE);
	p.len = 0;
	put_many_keys(&p, 20000, 4711);
	cr_assert(decode(&p, &frame) == ERROR_INVALID_FORMAT);
}

static enum error_code decode_nested(unsigned depth, uint8_t opener)
{
	uint8_t room[256];
	struct pack p = { room, sizeof(room), 0 };
	struct client_frame frame;

	pack_frame_head(&p, "connect", 2);
	pack_entry(&p, "sessionToken", wire_text("x"));
	pack_literal(&p, "z");
	for (unsigned i = 2; i < depth; i++) {
		pack_byte(&p, opener);
		if (opener == 0x81)
			pack_literal(&p, "k");
	}
	pack_byte(&p, 0xc0);
	return decode(&p, &frame);
}

Test(client_frame, nesting_of_16_is_read_and_of_17_refused)
{
	cr_assert(decode_nested(16, 0x91) == ERROR_NONE);
	cr_assert(decode_nested(17, 0x91) == ERROR_INVALID_FORMAT);
	cr_assert(decode_nested(16, 0x81) == ERROR_NONE);
	cr_assert(decode_nested(17, 0x81) == ERROR_INVALID_FORMAT);
}

Test(client_frame, text_that_is_no_utf8_is_refused_also_where_nobody_reads_it)
{
	struct client_frame frame;

	cr_assert(DECODE("\x83\xa4type\xa7"
	                 "connect\xa7payload\x81\xacsessionToken\xa1x\xa1z\xa1\xff",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x83\xa4type\xa7"
	                 "connect\xa7payload\x81\xacsessionToken\xa1x\xa1z\x91\xa1\xff",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x83\xa4type\xa7"
	                 "connect\xa7payload\x81\xacsessionToken\xa1x\xa1\xff\x01",
	                 &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa7"
	                 "connect\xa7payload\x81\xacsessionToken\xa1\xff",
	                 &frame) == ERROR_INVALID_FORMAT);
}

Test(client_frame, payload_that_is_missing_or_no_map_is_invalid_format)
{
	struct client_frame frame;

	cr_assert(DECODE("\x81\xa4type\xa5login", &frame) == ERROR_INVALID_FORMAT);
	cr_assert(frame.type == CLIENT_LOGIN);
	cr_assert(DECODE("\x82\xa4type\xa5login\xa7payload\xc0", &frame) ==
	          ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa5login\xa7payload\x90", &frame) ==
	          ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa5login\xa7payload\x80", &frame) ==
	          ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x81\xa7payload\x80", &frame) == ERROR_INVALID_FORMAT);
	cr_assert(DECODE("\x82\xa4type\xa5LOGIN\xa7payload\x80", &frame) ==
	          ERROR_INVALID_FORMAT);
	cr_assert(frame.type == CLIENT_UNKNOWN);
}

/* ---- Round trips: what our encoders write, the decoder reads ---- */

static const struct key_bundle_texts bundle = {
	.master_identity_key = { (const uint8_t *)"bWFz", 4 },
	.bundle_data = { (const uint8_t *)"ZGF0YQ==", 8 },
	.signature = { (const uint8_t *)"c2ln", 4 },
};

static void check_bundle(const struct key_bundle_texts *b)
{
	cr_assert(wire_slice_equal(b->master_identity_key, bundle.master_identity_key));
	cr_assert(wire_slice_equal(b->bundle_data, bundle.bundle_data));
	cr_assert(wire_slice_equal(b->signature, bundle.signature));
}

Test(client_frame, account_frames_come_back_as_they_were_written)
{
	const struct client_register reg = { wire_text("alice"), wire_text("pw"), bundle };
	const struct client_change_password change = { wire_text("t"), wire_text("old"),
		                                       wire_text("new"), wire_text("again") };
	const struct client_delete_account gone = { wire_text("t"), wire_text("pw") };
	uint8_t room[1024];
	struct client_frame f;

	cr_assert(client_frame_decode(room, client_frame_register(room, sizeof(room), &reg),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_REGISTER && wire_slice_is(f.reg.password, "pw"));
	check_bundle(&f.reg.bundle);
	cr_assert(client_frame_decode(room,
	                              client_frame_change_password(room, sizeof(room), &change),
	                              &f) == ERROR_NONE);
	cr_assert(wire_slice_is(f.change_password.session_token, "t"));
	cr_assert(wire_slice_is(f.change_password.old_password, "old"));
	cr_assert(wire_slice_is(f.change_password.new_password, "new"));
	cr_assert(wire_slice_is(f.change_password.new_password_confirm, "again"));
	cr_assert(client_frame_decode(room,
	                              client_frame_delete_account(room, sizeof(room), &gone),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_DELETE_ACCOUNT &&
	          wire_slice_is(f.delete_account.password, "pw"));
	cr_assert(client_frame_decode(room,
	                              client_frame_logout(room, sizeof(room), wire_text("t")),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_LOGOUT && wire_slice_is(f.session.session_token, "t"));
}

Test(client_frame, key_frames_come_back_as_they_were_written)
{
	struct client_rotate_prekey rotate = { .bundle = bundle };
	uint8_t room[1024];
	struct client_frame f;

	cr_assert(user_address_parse(wire_text(ALICE "@a.b"), &rotate.user));
	cr_assert(client_frame_decode(room,
	                              client_frame_rotate_prekey(room, sizeof(room), &rotate),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_ROTATE_PREKEY);
	cr_assert(uuid_equal(&f.rotate_prekey.user.user, &rotate.user.user));
	cr_assert(wire_slice_is(f.rotate_prekey.user.domain, "a.b"));
	check_bundle(&f.rotate_prekey.bundle);
	cr_assert(client_frame_decode(
			  room, client_frame_get_public_key(room, sizeof(room), &rotate.user),
			  &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_GET_PUBLIC_KEY &&
	          uuid_equal(&f.get_public_key.user.user, &rotate.user.user));
}

Test(client_frame, a_user_id_that_is_none_is_invalid_user_id)
{
	struct client_frame frame;

	cr_assert(DECODE("\x82\xa4type\xacgetPublicKey\xa7payload\x81\xa6userId\xa6nobody",
	                 &frame) == ERROR_INVALID_USER_ID);
	cr_assert(DECODE("\x82\xa4type\xacgetPublicKey\xa7payload\x81\xa6userId\x05", &frame) ==
	          ERROR_INVALID_FORMAT);
}

Test(client_frame, an_acknowledgement_may_name_the_sender)
{
	struct client_acknowledge a = { .id_case = 0,
		                        .has_from = true,
		                        .status = wire_text("read") };
	uint8_t room[512];
	struct client_frame f;

	cr_assert(uuid_parse(wire_text(ID), &a.id, &a.id_case));
	cr_assert(user_address_parse(wire_text(ALICE), &a.from));
	cr_assert(client_frame_decode(room, client_frame_acknowledge(room, sizeof(room), &a),
	                              &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_ACKNOWLEDGE_MESSAGE && !f.acknowledge.is_delivered);
	cr_assert(wire_slice_is(f.acknowledge.status, "read") && f.acknowledge.has_from);
	cr_assert(uuid_equal(&f.acknowledge.from.user, &a.from.user));
	cr_assert(wire_slice_is(f.message_id, ID) && uuid_equal(&f.acknowledge.id, &a.id));
}

Test(client_frame, an_acknowledgement_of_no_uuid_is_invalid_message_id)
{
	struct client_frame frame;

	cr_assert(
		DECODE("\x82\xa4type\xb2"
	               "acknowledgeMessage\xa7payload\x82\xa9messageId\xa7nothing\xa6status\xa9"
	               "delivered",
	               &frame) == ERROR_INVALID_MESSAGE_ID);
	cr_assert(wire_slice_is(frame.message_id, "nothing"));
}

Test(client_frame, device_token_frames_come_back_and_are_judged)
{
	struct client_device_token token = { wire_text("abc"), wire_text("phone"),
		                             FILTER_VISIBLE_DM, false };
	char long_token[129];
	uint8_t room[512];
	struct client_frame f;

	cr_assert(client_frame_decode(room,
	                              client_frame_device_token(room, sizeof(room),
	                                                        CLIENT_REGISTER_DEVICE_TOKEN,
	                                                        &token),
	                              &f) == ERROR_NONE);
	cr_assert(wire_slice_is(f.device_token.name, "phone") &&
	          f.device_token.filter == FILTER_VISIBLE_DM && f.device_token.enabled);
	cr_assert(client_frame_decode(room,
	                              client_frame_device_token(room, sizeof(room),
	                                                        CLIENT_UPDATE_DEVICE_TOKEN,
	                                                        &token),
	                              &f) == ERROR_NONE);
	cr_assert(!f.device_token.enabled && f.device_token.filter == FILTER_VISIBLE_DM);
	memset(long_token, 'x', sizeof(long_token));
	token.token = wire_slice(long_token, 129);
	cr_assert(client_frame_decode(room,
	                              client_frame_device_token(room, sizeof(room),
	                                                        CLIENT_UNREGISTER_DEVICE_TOKEN,
	                                                        &token),
	                              &f) == ERROR_INVALID_DEVICE_TOKEN);
	cr_assert(DECODE("\x82\xa4type\xb3registerDeviceToken\xa7payload\x82\xab"
	                 "deviceToken\xa1x\xb2notificationFilter\xa4loud",
	                 &f) == ERROR_INVALID_FILTER);
	cr_assert(DECODE("\x82\xa4type\xb3registerDeviceToken\xa7payload\x81\xab"
	                 "deviceToken\xa1x",
	                 &f) == ERROR_NONE &&
	          f.device_token.filter == FILTER_SILENT && f.device_token.name.at == NULL);
}

Test(client_frame, an_encoder_tells_the_length_it_needs_and_stays_in_its_room)
{
	struct chat_message m = { .message_number = 300, .content = wire_text("QUJD") };
	const size_t len = client_frame_send_message(NULL, 0, &m);
	uint8_t *room = malloc(len);

	for (size_t n = 0; n <= len; n++) {
		uint8_t *small = malloc(n > 0 ? n : 1); /* the sanitizer watches its end */

		cr_assert(client_frame_send_message(small, n, &m) == len);
		free(small);
	}
	cr_assert(client_frame_send_message(room, len, &m) == len);
	free(room);
}
