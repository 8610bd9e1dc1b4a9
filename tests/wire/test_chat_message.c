/* SPDX-License-Identifier: MIT */
/* Which problem of a sendMessage gives which code. */
#include "wire/chat_message.h"

#include "wire/frames.h"

TestSuite(chat_message, .timeout = 20);

#define ID "E621E1F8-C36C-495A-93FC-0C247A3E6E5F"
#define ALICE "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"
#define BOB "c2b5e6a8-1f4d-4b7a-8e21-5a9d3c7f6b02"

static const uint8_t key[CHAT_KEY_LEN] = { 1, 255, 3 };

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

Test(chat_message, reads_the_good_message_that_the_next_tests_bend)
{
	struct client_frame frame;

	cr_assert(decode_bent(&good, &frame) == ERROR_NONE);
	cr_assert(wire_slice_is(frame.message_id, ID) &&
	          wire_slice_is(frame.send.content, "QUJD"));
	cr_assert(memcmp(frame.send.key, key, sizeof(key)) == 0);
	cr_assert(frame.send.message_number == 7 && frame.send.timestamp == 7);
}

Test(chat_message, send_message_without_a_field_is_invalid_format_and_keeps_its_id)
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

Test(chat_message, send_message_without_its_id_is_invalid_format_without_one)
{
	struct client_frame frame;
	struct bent b = good;

	b.id = NULL;
	cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_FORMAT);
	cr_assert(frame.type == CLIENT_SEND_MESSAGE && frame.message_id.at == NULL);
}

Test(chat_message, an_id_that_is_no_uuid_is_invalid_message_id_whatever_else_is_wrong)
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

Test(chat_message, an_id_of_any_length_is_echoed_when_it_is_utf8)
{
	char id[130] = { 0 };
	struct client_frame frame;
	struct bent b = good;

	memset(id, 'a', 129);
	b.id = id;
	cr_assert(decode_bent(&b, &frame) == ERROR_INVALID_MESSAGE_ID &&
	          frame.message_id.len == 129);
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

Test(chat_message, a_value_that_cannot_be_is_invalid_message_format)
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

Test(chat_message, a_value_of_another_type_is_invalid_format)
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
