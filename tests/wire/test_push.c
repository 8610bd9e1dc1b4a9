/* SPDX-License-Identifier: MIT */
#include "wire/push.h"

#include <stdlib.h>

#include <criterion/criterion.h>

TestSuite(push, .timeout = 20);

#define N 3

/* One payload of each kind, in memory of exactly its size (8-aligned, as malloc's is). */
static uint8_t *of_kind(enum push_kind kind, size_t *len)
{
	struct push_look look[N] = { 0 };
	struct push_kick_connection connection[N] = { 0 };
	struct push_kick_session session[N] = { 0 };
	struct push_route route[N] = { 0 };
	struct push_user_gone gone[N] = { 0 };
	struct push_lost lost[N] = { 0 };
	static const struct record message = { .kind = RECORD_MESSAGE,
		                               .id = 9,
		                               .ref = UINT64_MAX };
	static const struct record receipt = { .kind = RECORD_RECEIPT, .id = 10, .ref = 9 };
	uint8_t *out = malloc(4096), *fit;

	cr_assert(out != NULL);
	for (uint8_t i = 0; i < N; i++) {
		const struct uuid user = { { i, 1, 2 } }, jti = { { 9, i } };

		look[i].user = connection[i].user = session[i].user = route[i].user =
			gone[i].user = user;
		lost[i].life = (struct uuid){ { i, [15] = 9 } };
		connection[i].number = UINT32_MAX - i;
		connection[i].code = i == 0 ? 1000 : 4999;
		session[i].jti = jti;
		session[i].from_instance = UINT64_MAX - i;
		session[i].code = 4401;
		session[i].what = i;
		route[i].instance = UINT64_C(0x0123456789abcdef) + i;
		route[i].is_joined = i & 1;
	}
	switch (kind) {
	case PUSH_ENTRIES:
		*len = push_entries_begin(out);
		*len += record_write(out + *len, &message, "frame", 5);
		*len += record_write(out + *len, &receipt, "r", 1);
		break;
	case PUSH_LOOK:
		*len = push_write_look(out, look, N);
		cr_assert(*len == PUSH_LOOK_LEN(N));
		break;
	case PUSH_KICK_CONNECTION:
		*len = push_write_kick_connection(out, connection, N);
		cr_assert(*len == PUSH_KICK_CONNECTION_LEN(N));
		break;
	case PUSH_KICK_SESSION:
		*len = push_write_kick_session(out, session, N);
		cr_assert(*len == PUSH_KICK_SESSION_LEN(N));
		break;
	case PUSH_KICKED:
		*len = push_write_kicked(out, session, N);
		cr_assert(*len == PUSH_KICKED_LEN(N));
		break;
	case PUSH_ROUTE:
		*len = push_write_route(out, route, N);
		cr_assert(*len == PUSH_ROUTE_LEN(N));
		break;
	case PUSH_USER_GONE:
		*len = push_write_user_gone(out, gone, N);
		cr_assert(*len == PUSH_USER_GONE_LEN(N));
		break;
	case PUSH_LIFE:
		*len = push_write_life(out, lost, N);
		cr_assert(*len == PUSH_LIFE_LEN(N));
		break;
	default:
		*len = push_write_lost(out, lost, N);
		cr_assert(*len == PUSH_LOST_LEN(N));
	}
	fit = malloc(*len);
	cr_assert(fit != NULL);
	memcpy(fit, out, *len);
	free(out);
	return fit;
}

static enum push_kind kind_of_part(const uint8_t *bytes, size_t len)
{
	uint8_t *part = malloc(len > 0 ? len : 1);
	enum push_kind kind;

	cr_assert(part != NULL);
	memcpy(part, bytes, len);
	kind = push_kind_of(wire_slice(part, len));
	free(part);
	return kind;
}

Test(push, every_kind_is_known_and_cut_anywhere_it_is_not_longer_than_whole_items)
{
	static const size_t size[PUSH_KINDS] = {
		[PUSH_LOOK] = 16,         [PUSH_KICK_CONNECTION] = 24,
		[PUSH_KICK_SESSION] = 48, [PUSH_ROUTE] = 32,
		[PUSH_USER_GONE] = 16,    [PUSH_LOST] = 16,
		[PUSH_KICKED] = 48,       [PUSH_LIFE] = 16,
	};

	for (enum push_kind kind = PUSH_ENTRIES; kind < PUSH_KINDS; kind++) {
		size_t len;
		uint8_t *bytes = of_kind(kind, &len);

		cr_assert(push_kind_of(wire_slice(bytes, len)) == kind, "%d", kind);
		for (size_t cut = 0; cut < len; cut++) {
			const bool is_whole =
				cut > PUSH_HEAD_LEN &&
				(kind == PUSH_ENTRIES
			                 ? cut == PUSH_HEAD_LEN + record_size(5)
			                 : (cut - PUSH_HEAD_LEN) % size[kind] == 0);

			cr_assert(kind_of_part(bytes, cut) == (is_whole ? kind : PUSH_NONE),
			          "%d cut to %zu", kind, cut);
		}
		free(bytes);
	}
}

Test(push, head_of_another_kind_or_not_zero_is_nothing_of_ours)
{
	size_t len;
	uint8_t *bytes = of_kind(PUSH_LOOK, &len);

	for (int kind = 0; kind < 256; kind++) {
		bytes[0] = (uint8_t)kind;
		if (kind == PUSH_NONE || kind >= PUSH_KINDS || kind == PUSH_ENTRIES)
			cr_assert(push_kind_of(wire_slice(bytes, len)) == PUSH_NONE, "%d",
			          kind);
	}
	bytes[0] = PUSH_LOOK;
	for (int at = 1; at < PUSH_HEAD_LEN; at++) {
		bytes[at] = 1;
		cr_assert(push_kind_of(wire_slice(bytes, len)) == PUSH_NONE);
		bytes[at] = 0;
	}
	cr_assert(push_kind_of(wire_slice(NULL, 0)) == PUSH_NONE);
	free(bytes);
}

Test(push, items_come_back_as_they_were)
{
	size_t len, at = 0;
	uint8_t *bytes = of_kind(PUSH_KICK_CONNECTION, &len);
	struct push_kick_connection connection;
	struct push_kick_session session;
	struct push_route route;
	struct push_look look;
	struct push_user_gone gone;
	struct push_lost lost;
	uint8_t i;

	for (i = 0; push_next_kick_connection(wire_slice(bytes, len), &at, &connection); i++)
		cr_assert(connection.user.b[0] == i && connection.number == UINT32_MAX - i &&
		          connection.code == (i == 0 ? 1000 : 4999));
	cr_assert(i == N && at == len);
	free(bytes);
	bytes = of_kind(PUSH_KICK_SESSION, &len);
	for (i = 0, at = 0; push_next_kick_session(wire_slice(bytes, len), &at, &session); i++)
		cr_assert(session.user.b[0] == i && session.jti.b[1] == i &&
		          session.from_instance == UINT64_MAX - i && session.code == 4401 &&
		          session.what == i);
	cr_assert(i == N && at == len);
	free(bytes);
	bytes = of_kind(PUSH_KICKED, &len);
	cr_assert(!push_next_kick_session(wire_slice(bytes, len), &(size_t){ 0 }, &session));
	for (i = 0, at = 0; push_next_kicked(wire_slice(bytes, len), &at, &session); i++)
		cr_assert(session.user.b[0] == i && session.jti.b[1] == i &&
		          session.from_instance == UINT64_MAX - i && session.code == 4401 &&
		          session.what == i);
	cr_assert(i == N && at == len);
	free(bytes);
	bytes = of_kind(PUSH_ROUTE, &len);
	for (i = 0, at = 0; push_next_route(wire_slice(bytes, len), &at, &route); i++)
		cr_assert(route.user.b[0] == i && route.is_joined == (i & 1) &&
		          route.instance == UINT64_C(0x0123456789abcdef) + i);
	cr_assert(i == N && at == len);
	free(bytes);
	bytes = of_kind(PUSH_LOOK, &len);
	for (i = 0, at = 0; push_next_look(wire_slice(bytes, len), &at, &look); i++)
		cr_assert(look.user.b[0] == i && look.user.b[1] == 1);
	cr_assert(i == N && at == len);
	cr_assert(!push_next_user_gone(wire_slice(bytes, len), &(size_t){ 0 }, &gone));
	free(bytes);
	bytes = of_kind(PUSH_USER_GONE, &len);
	for (i = 0, at = 0; push_next_user_gone(wire_slice(bytes, len), &at, &gone); i++)
		cr_assert(gone.user.b[0] == i);
	cr_assert(i == N && at == len);
	free(bytes);
	bytes = of_kind(PUSH_LOST, &len);
	for (i = 0, at = 0; push_next_lost(wire_slice(bytes, len), &at, &lost); i++)
		cr_assert(lost.life.b[0] == i && lost.life.b[15] == 9);
	cr_assert(i == N && at == len);
	free(bytes);
	bytes = of_kind(PUSH_LIFE, &len);
	cr_assert(!push_next_lost(wire_slice(bytes, len), &(size_t){ 0 }, &lost));
	for (i = 0, at = 0; push_next_life(wire_slice(bytes, len), &at, &lost); i++)
		cr_assert(lost.life.b[0] == i && lost.life.b[15] == 9);
	cr_assert(i == N && at == len);
	free(bytes);
}

/* Instances of two versions talk to each other: the bytes are these. */
Test(push, layout_is_little_endian)
{
	static const uint8_t want[PUSH_ROUTE_LEN(1)] = {
		5, 0, 0, 0, 0, 0, 0, 0,    7,    0,    0,    0,    0,    0,    0,    0, 0,
		0, 0, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 1
	};
	const struct push_route route = { .user = { { 7 } },
		                          .instance = UINT64_C(0x1122334455667788),
		                          .is_joined = 1 };
	uint8_t out[PUSH_ROUTE_LEN(1)];

	push_write_route(out, &route, 1);
	cr_assert(memcmp(out, want, sizeof(out)) == 0);
}

/* The value at `offset` of the last item: of one more it must be refused, also when it is the
 * last. */
static void check_refused(enum push_kind kind, size_t back, uint8_t value)
{
	size_t len;
	uint8_t *bytes = of_kind(kind, &len);

	bytes[len - back] = value;
	cr_assert(push_kind_of(wire_slice(bytes, len)) == PUSH_NONE, "%d %zu %u", kind, back,
	          value);
	free(bytes);
}

Test(push, value_out_of_range_makes_the_whole_payload_nothing)
{
	check_refused(PUSH_KICK_CONNECTION, 4, 0x88); /* code 5000 */
	check_refused(PUSH_KICK_CONNECTION, 3, 0x03); /* below 1000 */
	check_refused(PUSH_KICK_CONNECTION, 2, 1);    /* beyond 16 bits */
	check_refused(PUSH_KICK_SESSION, 7, 0x03);    /* code */
	check_refused(PUSH_KICK_SESSION, 6, 3);       /* what */
	check_refused(PUSH_KICK_SESSION, 1, 1);       /* not zero */
	check_refused(PUSH_KICK_SESSION, 1 + 48, 1);  /* of the item before the last */
	check_refused(PUSH_KICKED, 6, 3);             /* what */
	check_refused(PUSH_ROUTE, 8, 2);              /* is_joined */
	check_refused(PUSH_ROUTE, 1, 1);
}

Test(push, entries_are_records_of_messages_and_receipts)
{
	size_t len, at = 0;
	uint8_t *bytes = of_kind(PUSH_ENTRIES, &len);
	const struct wire_slice payload = wire_slice(bytes, len);
	struct record *first = (struct record *)(void *)(bytes + PUSH_HEAD_LEN);
	const struct record *r;

	cr_assert(push_next_entry(payload, &at, &r) && r == first && r->id == 9);
	cr_assert(r->frame_len == 5 && memcmp(r->frame, "frame", 5) == 0);
	cr_assert(push_next_entry(payload, &at, &r) && r->kind == RECORD_RECEIPT &&
	          r->ref == 9);
	cr_assert(!push_next_entry(payload, &at, &r) && at == len);
	for (int kind = 0; kind < 256; kind++) {
		first->kind = (uint8_t)kind;
		cr_assert((push_kind_of(payload) == PUSH_ENTRIES) ==
		          (kind == RECORD_MESSAGE || kind == RECORD_RECEIPT));
	}
	first->kind = RECORD_MESSAGE;
	first->frame_len = UINT32_MAX;
	cr_assert(push_kind_of(payload) == PUSH_NONE);
	first->frame_len = 5;
	first->size = UINT32_MAX - 7;
	cr_assert(push_kind_of(payload) == PUSH_NONE);
	free(bytes);
}

Test(push, entries_that_are_not_aligned_are_refused)
{
	size_t len;
	uint8_t *bytes = of_kind(PUSH_ENTRIES, &len), *moved = malloc(len + 8);

	cr_assert(moved != NULL);
	for (size_t by = 0; by < 8; by++) {
		memcpy(moved + by, bytes, len);
		cr_assert((push_kind_of(wire_slice(moved + by, len)) == PUSH_ENTRIES) ==
		          (by == 0));
	}
	free(moved);
	free(bytes);
}

Test(push, channels_have_their_names)
{
	char name[PUSH_CHANNEL_MAX];

	cr_assert(push_channel_instance(name, sizeof(name), "user_online_notifications",
	                                0xabc) == strlen(name));
	cr_assert_str_eq(name, "user_online_notifications:instance:0000000000000abc");
	cr_assert(push_channel_servers(name, sizeof(name), "p") == 9);
	cr_assert_str_eq(name, "p:servers");
	cr_assert(push_channel_workers(name, sizeof(name), "p") == 9);
	cr_assert_str_eq(name, "p:workers");
	cr_assert(push_channel_gateways(name, sizeof(name), "p") == 10);
	cr_assert_str_eq(name, "p:gateways");
	cr_assert(push_channel_servers(name, 4, "p") == 9);
	cr_assert_str_eq(name, "p:s");
}
