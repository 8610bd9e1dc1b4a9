/* SPDX-License-Identifier: MIT */
#include "wire/client_frame.h"

#include "wire/frames.h"
#include "wire/vectors.h"

TestSuite(client_frame, .timeout = 20);

#define VECTORS "tests/vectors/client_frames.json"
#define ID "E621E1F8-C36C-495A-93FC-0C247A3E6E5F"

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

Test(client_frame, a_user_id_that_is_none_is_invalid_user_id)
{
	struct client_frame frame;

	cr_assert(DECODE("\x82\xa4type\xacgetPublicKey\xa7payload\x81\xa6userId\xa6nobody",
	                 &frame) == ERROR_INVALID_USER_ID);
	cr_assert(DECODE("\x82\xa4type\xacgetPublicKey\xa7payload\x81\xa6userId\x05", &frame) ==
	          ERROR_INVALID_FORMAT);
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

Test(client_frame, a_device_token_may_name_a_filter_and_only_a_known_one)
{
	struct client_frame f;

	cr_assert(DECODE("\x82\xa4type\xb3registerDeviceToken\xa7payload\x82\xab"
	                 "deviceToken\xa1x\xb2notificationFilter\xa4loud",
	                 &f) == ERROR_INVALID_FILTER);
	cr_assert(DECODE("\x82\xa4type\xb3registerDeviceToken\xa7payload\x81\xab"
	                 "deviceToken\xa1x",
	                 &f) == ERROR_NONE &&
	          f.device_token.filter == FILTER_SILENT && f.device_token.name.at == NULL);
}
