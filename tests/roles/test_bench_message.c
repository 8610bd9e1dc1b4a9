/* SPDX-License-Identifier: MIT */
/* The generator's frames against the server's codec, which was written apart from them. */
#include "roles/bench_message.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "wire/client_frame.h"
#include "wire/server_frame.h"

#define FROM "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"
#define TO "c2b5e6a8-1f4d-4b7a-8e21-5a9d3c7f6b02"

TestSuite(bench_message, .timeout = 10);

Test(bench_message, the_server_reads_what_is_sent_for_every_size)
{
	for (size_t size = 12; size < 700; size += size < 20 ? 1 : 97) {
		struct bench_message m;
		struct client_frame f;

		bench_message_init(&m, FROM, TO, size, size);
		bench_message_patch(&m, 0xfedcba98, 1767225600);
		cr_assert(client_frame_decode(m.send, m.send_len, &f) == ERROR_NONE,
		          "%zu bytes", size);
		cr_assert(f.type == CLIENT_SEND_MESSAGE);
		cr_assert(eq(u32, f.send.message_number, 0xfedcba98));
		cr_assert(eq(i64, f.send.timestamp, 1767225600));
		cr_assert(eq(sz, f.send.content.len, (size + 2) / 3 * 4));
		bench_message_free(&m);
	}
}

Test(bench_message, the_server_reads_the_acknowledgement)
{
	const struct bench_slice id = { "3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33",
		                        BENCH_ID_CHARS };
	struct bench_message m;
	struct client_frame f;

	bench_message_init(&m, FROM, TO, 256, 1);
	bench_message_patch_ack(&m, id);
	cr_assert(client_frame_decode(m.ack, m.ack_len, &f) == ERROR_NONE);
	cr_assert(f.type == CLIENT_ACKNOWLEDGE_MESSAGE);
	cr_assert(f.acknowledge.is_delivered);
	cr_assert(wire_slice_is(f.acknowledge.message_id, id.at));
	bench_message_free(&m);
}

/* As the server passes it on: decoded by its codec and encoded for the recipient. */
static size_t relay(const struct bench_message *m, uint8_t *out, size_t room)
{
	struct client_frame f;

	cr_assert(client_frame_decode(m->send, m->send_len, &f) == ERROR_NONE);
	return server_frame_message(out, room, &f.send);
}

Test(bench_message, what_the_server_passes_on_is_intact_and_numbered)
{
	struct bench_message m;
	struct bench_message other;
	struct bench_frame f;
	uint8_t frame[2048];
	uint32_t number;
	size_t len;

	bench_message_init(&m, FROM, TO, 256, 1);
	bench_message_init(&other, FROM, TO, 256, 2);
	for (uint32_t n = 0; n < 100000; n += n < 300 ? 1 : 7919) {
		bench_message_patch(&m, n, 1767225600);
		len = relay(&m, frame, sizeof(frame));
		bench_message_patch(&m, n + 5, 1767225600); /* others have been sent since */
		cr_assert(bench_frame_read(frame, len, &f));
		cr_assert(f.type == BENCH_FRAME_MESSAGE);
		cr_assert(bench_message_number(&m, f.message_id, &number));
		cr_assert(eq(u32, number, n));
		cr_assert(bench_message_is_intact(&m, &f, n));
		cr_assert(not(bench_message_is_intact(&m, &f, n + 1)));
		cr_assert(not(bench_message_number(&other, f.message_id, &number)),
		          "another pair's");
	}
	cr_assert(bench_slice_is(f.from, FROM));
	cr_assert(bench_slice_is(f.to, TO));
	bench_message_free(&m);
	bench_message_free(&other);
}

Test(bench_message, one_changed_byte_of_the_content_is_seen)
{
	struct bench_message m;
	struct bench_frame f;
	uint8_t frame[2048];
	size_t len;

	bench_message_init(&m, FROM, TO, 64, 1);
	bench_message_patch(&m, 3, 1767225600);
	len = relay(&m, frame, sizeof(frame));
	cr_assert(bench_frame_read(frame, len, &f));
	for (size_t i = 0; i < f.content.len; i++) {
		uint8_t *byte = frame + ((const uint8_t *)f.content.at - frame) + i;

		*byte ^= 1;
		cr_assert(not(bench_message_is_intact(&m, &f, 3)), "byte %zu", i);
		*byte ^= 1;
	}
	cr_assert(bench_message_is_intact(&m, &f, 3));
	bench_message_free(&m);
}

Test(bench_message, reads_acks_and_errors_of_the_server)
{
	struct bench_message m;
	struct bench_frame f;
	struct client_frame sent;
	uint8_t frame[SERVER_FRAME_ERROR_MAX];
	uint32_t number;
	size_t len;

	bench_message_init(&m, FROM, TO, 256, 1);
	bench_message_patch(&m, 77, 1767225600);
	cr_assert(client_frame_decode(m.send, m.send_len, &sent) == ERROR_NONE);
	len = server_frame_ack(frame, sizeof(frame), &sent.send.id, sent.send.id_case,
	                       ACK_ACCEPTED);
	cr_assert(bench_frame_read(frame, len, &f));
	cr_assert(f.type == BENCH_FRAME_ACK);
	cr_assert(bench_slice_is(f.status, "accepted"));
	cr_assert(bench_message_number(&m, f.message_id, &number));
	cr_assert(eq(u32, number, 77));
	len = server_frame_error(frame, sizeof(frame), ERROR_INBOX_FULL, wire_text("no room"),
	                         sent.message_id);
	cr_assert(bench_frame_read(frame, len, &f));
	cr_assert(f.type == BENCH_FRAME_ERROR);
	cr_assert(bench_slice_is(f.code, "INBOX_FULL"));
	cr_assert(bench_slice_is(f.text, "no room"));
	cr_assert(bench_message_number(&m, f.message_id, &number));
	cr_assert(eq(u32, number, 77));
	bench_message_free(&m);
}

Test(bench_message, refuses_what_is_cut_short_or_followed_by_more)
{
	struct bench_message m;
	struct bench_frame f;
	uint8_t frame[2048];
	size_t len;

	bench_message_init(&m, FROM, TO, 256, 1);
	len = relay(&m, frame, sizeof(frame));
	for (size_t cut = 0; cut < len; cut++)
		cr_assert(not(bench_frame_read(frame, cut, &f)), "%zu of %zu bytes", cut, len);
	frame[len] = 0xc0;
	cr_assert(not(bench_frame_read(frame, len + 1, &f)));
	bench_message_free(&m);
}

Test(bench_message, skips_what_it_does_not_know)
{
	/* {"new": [1, {"a": [nil, 1.5]}], "type": "ack",
	 *  "payload": {"x": {"messageId": 1}, "status": "accepted"}} */
	static const uint8_t frame[] = "\x83\xa3new\x92\x01\x81\xa1"
				       "a\x92\xc0\xca\x3f\xc0\x00\x00"
				       "\xa4type\xa3"
				       "ack\xa7payload\x82\xa1x\x81\xa9messageId\x01"
				       "\xa6status\xa8"
				       "accepted";
	struct bench_frame f;

	cr_assert(bench_frame_read(frame, sizeof(frame) - 1, &f));
	cr_assert(f.type == BENCH_FRAME_ACK);
	cr_assert(bench_slice_is(f.status, "accepted"));
	cr_assert(eq(sz, f.message_id.len, 0));
}
