/* SPDX-License-Identifier: MIT */
#include "wire/server_frame.h"

#include "wire/vectors.h"

TestSuite(server_frame, .timeout = 20);

#define VECTORS "tests/vectors/client_frames.json"
#define ID "3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33"
#define ALICE "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"

static uint8_t room[1024];

static struct wire_slice vector(json_t *root, const char *name)
{
	json_t *frame;
	size_t i;

	json_array_foreach(json_object_get(root, "frames"), i, frame)
	{
		if (strcmp(name_of(frame), name) == 0)
			return hex_at(frame, "hex");
	}
	cr_assert_fail("no vector %s", name);
	return wire_slice(NULL, 0);
}

static void check_bytes(json_t *root, const char *name, size_t len)
{
	const struct wire_slice bytes = vector(root, name);

	cr_assert(wire_slice_equal(wire_slice(room, len), bytes), "%s", name);
	bytes_free(bytes);
}

Test(server_frame, is_byte_for_byte_what_the_vectors_say)
{
	json_t *root = vectors_load(VECTORS);
	struct uuid id;
	uint32_t id_case;

	cr_assert(uuid_parse(wire_text(ID), &id, &id_case));
	check_bytes(root, "ack",
	            server_frame_ack(room, sizeof(room), &id, id_case, ACK_ACCEPTED));
	check_bytes(root, "error with messageId",
	            server_frame_error(room, sizeof(room), ERROR_RATE_LIMIT_WARNING,
	                               wire_text("Slow down! (1001/1000)"), wire_text(ID)));
	check_bytes(root, "sessionExpired, no payload",
	            server_frame_plain(room, sizeof(room), SERVER_SESSION_EXPIRED));
	json_decref(root);
}

/* `message` is the chat message as sent: after the type the same bytes as the sendMessage. */
Test(server_frame, message_carries_the_payload_of_the_send)
{
	static const char *const names[] = { "sendMessage, key as bin",
		                             "sendMessage, upper-case id" };
	json_t *root = vectors_load(VECTORS);

	for (size_t i = 0; i < 2; i++) {
		const struct wire_slice sent = vector(root, names[i]);
		const size_t sent_head = 1 + 5 + 12, head = 1 + 5 + 8;
		struct server_frame frame;
		struct chat_message m;
		uint8_t as_message[1024];
		size_t len;

		memcpy(as_message, "\x82\xa4type\xa7message", head);
		memcpy(as_message + head, sent.at + sent_head, sent.len - sent_head);
		len = head + sent.len - sent_head;
		cr_assert(server_frame_decode(as_message, len, &frame));
		cr_assert(frame.type == SERVER_MESSAGE);
		m = frame.message;
		cr_assert(server_frame_message(room, sizeof(room), &m) == len);
		cr_assert(memcmp(room, as_message, len) == 0);
		bytes_free(sent);
	}
	json_decref(root);
}

Test(server_frame, addresses_in_a_message_are_in_lower_case)
{
	struct chat_message m = { .content = wire_text("QUJD"), .timestamp = -5 };
	struct server_frame frame;

	cr_assert(user_address_parse(
		wire_text("7D1F0A52-93C4-4C0E-9F3B-0B6A4F1E2C11@EU.Example"), &m.from));
	cr_assert(server_frame_decode(room, server_frame_message(room, sizeof(room), &m),
	                              &frame));
	cr_assert(memmem(room, sizeof(room), ALICE "@eu.example", 47) != NULL);
	cr_assert(frame.message.timestamp == -5);
}

Test(server_frame, acks_have_the_lengths_that_the_header_promises)
{
	const struct uuid id = { { 1 } };

	cr_assert(server_frame_ack(NULL, 0, &id, 0, ACK_ACCEPTED) == SERVER_FRAME_ACCEPTED_LEN);
	cr_assert(server_frame_ack(NULL, 0, &id, 0, ACK_DELIVERED) ==
	          SERVER_FRAME_DELIVERED_LEN);
}

Test(server_frame, errors_stay_in_the_bound_that_the_header_promises)
{
	char text[128];

	memset(text, 'x', sizeof(text));
	for (int code = ERROR_NONE + 1; code < ERROR_CODE_COUNT; code++) {
		cr_assert(server_frame_error(NULL, 0, (enum error_code)code,
		                             wire_slice(text, 128),
		                             wire_slice(text, 128)) <= SERVER_FRAME_ERROR_MAX);
		cr_assert(strlen(error_code_text((enum error_code)code)) <= 128);
	}
}

Test(server_frame, sessions_and_keys_come_back_as_they_were_written)
{
	const struct server_public_keys keys = { wire_text("aWQ="), wire_text("cHJl"),
		                                 wire_text("c2ln"), wire_text("bWFz") };
	struct server_frame f;
	struct uuid user;

	cr_assert(uuid_parse(wire_text(ALICE), &user, NULL));
	cr_assert(server_frame_decode(
		room,
		server_frame_session(room, sizeof(room), SERVER_LOGIN_SUCCESS, &user,
	                             wire_text("\xc3\xa4nna"), wire_text("a.b.c"), 4102444800),
		&f));
	cr_assert(f.type == SERVER_LOGIN_SUCCESS && uuid_equal(&f.session.user, &user));
	cr_assert(wire_slice_is(f.session.username, "\xc3\xa4nna"));
	cr_assert(wire_slice_is(f.session.session_token, "a.b.c"));
	cr_assert(f.session.expires == 4102444800);
	cr_assert(server_frame_decode(
		room, server_frame_connected(room, sizeof(room), &user, wire_text("anna")),
		&f));
	cr_assert(f.type == SERVER_CONNECT_SUCCESS &&
	          wire_slice_is(f.session.username, "anna"));
	cr_assert(server_frame_decode(
		room,
		server_frame_public_keys(room, sizeof(room), &user, wire_text("anna"), &keys),
		&f));
	cr_assert(f.type == SERVER_PUBLIC_KEY_BUNDLE);
	cr_assert(wire_slice_is(f.public_keys.keys.identity_public, "aWQ="));
	cr_assert(wire_slice_is(f.public_keys.keys.signed_prekey_public, "cHJl"));
	cr_assert(wire_slice_is(f.public_keys.keys.signature, "c2ln"));
	cr_assert(wire_slice_is(f.public_keys.keys.verifying_key, "bWFz"));
}

Test(server_frame, every_error_code_comes_back_with_its_default_text)
{
	for (int code = ERROR_NONE + 1; code < ERROR_CODE_COUNT; code++) {
		const size_t len = server_frame_error(room, sizeof(room), (enum error_code)code,
		                                      wire_slice(NULL, 0), wire_slice(NULL, 0));
		struct server_frame f;

		cr_assert(server_frame_decode(room, len, &f) && f.type == SERVER_ERROR);
		cr_assert(f.error.code == (enum error_code)code &&
		          f.error.message_id.at == NULL);
		cr_assert(wire_slice_is(f.error.text, error_code_text((enum error_code)code)));
		cr_assert(f.error.text.len > 0);
	}
}

Test(server_frame, an_empty_message_id_is_still_one)
{
	struct server_frame f;

	cr_assert(server_frame_decode(room,
	                              server_frame_error(room, sizeof(room),
	                                                 ERROR_INVALID_MESSAGE_ID,
	                                                 wire_slice(NULL, 0), wire_text("")),
	                              &f));
	cr_assert(f.error.message_id.at != NULL && f.error.message_id.len == 0);
}

Test(server_frame, types_without_data_have_no_payload_key)
{
	for (int type = SERVER_SESSION_EXPIRED; type < SERVER_TYPE_COUNT; type++) {
		const size_t len =
			server_frame_plain(room, sizeof(room), (enum server_type)type);
		struct server_frame f;

		cr_assert(room[0] == 0x81 && memmem(room, len, "payload", 7) == NULL);
		cr_assert(server_frame_decode(room, len, &f) &&
		          f.type == (enum server_type)type);
	}
}

Test(server_frame, error_codes_are_found_by_name_and_only_then)
{
	cr_assert(error_code_by_name(wire_text("INBOX_FULL")) == ERROR_INBOX_FULL);
	cr_assert(error_code_by_name(wire_text("NONE")) == ERROR_NONE);
	cr_assert(error_code_by_name(wire_text("inbox_full")) == ERROR_NONE);
	cr_assert_str_eq(error_code_name((enum error_code)1000), "NONE");
	cr_assert_str_eq(error_code_text((enum error_code)1000), "");
	cr_assert(ERROR_CODE_COUNT == 31);
}
