/* SPDX-License-Identifier: MIT */
/* Payloads from other instances: what is passed is read to its end, inside its bytes and its ranges;
 * an iterator on what is not passed reads nothing beyond it either. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/push.h"

static size_t walk_entries(struct wire_slice bytes, size_t *at)
{
	const struct record *r;
	size_t n = 0;

	for (; push_next_entry(bytes, at, &r); n++) {
		check_inside(wire_slice(r->frame, r->frame_len), bytes.at, bytes.len);
		CHECK(r->frame_len > 0);
		CHECK(r->kind == RECORD_MESSAGE || r->kind == RECORD_RECEIPT);
	}
	return n;
}

static size_t walk_kicks(struct wire_slice bytes, size_t *at, enum push_kind kind)
{
	struct push_kick_connection connection;
	struct push_kick_session session;
	size_t n = 0;

	if (kind != PUSH_KICK_CONNECTION) {
		for (; kind == PUSH_KICKED ? push_next_kicked(bytes, at, &session)
		                           : push_next_kick_session(bytes, at, &session);
		     n++)
			CHECK(session.code >= 1000 && session.code <= 4999 &&
			      session.what <= 2);
		return n;
	}
	for (; push_next_kick_connection(bytes, at, &connection); n++)
		CHECK(connection.code >= 1000 && connection.code <= 4999);
	return n;
}

static size_t walk_others(struct wire_slice bytes, size_t *at, enum push_kind kind)
{
	struct push_look look;
	struct push_user_gone gone;
	struct push_route route;
	struct push_lost lost;
	size_t n = 0;

	if (kind == PUSH_ROUTE) {
		for (; push_next_route(bytes, at, &route); n++)
			CHECK(route.is_joined <= 1);
		return n;
	}
	while (kind == PUSH_LOOK   ? push_next_look(bytes, at, &look)
	       : kind == PUSH_LOST ? push_next_lost(bytes, at, &lost)
	       : kind == PUSH_LIFE ? push_next_life(bytes, at, &lost)
	                           : push_next_user_gone(bytes, at, &gone))
		n++;
	return n;
}

static size_t walk(struct wire_slice bytes, size_t *at, enum push_kind kind)
{
	switch (kind) {
	case PUSH_ENTRIES:
		return walk_entries(bytes, at);
	case PUSH_KICK_CONNECTION:
	case PUSH_KICK_SESSION:
	case PUSH_KICKED:
		return walk_kicks(bytes, at, kind);
	default:
		return walk_others(bytes, at, kind);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct wire_slice bytes = wire_slice(data, size);
	const enum push_kind passed = push_kind_of(bytes);

	CHECK(passed < PUSH_KINDS);
	for (enum push_kind kind = PUSH_ENTRIES; kind < PUSH_KINDS; kind++) {
		size_t at = 0;
		const size_t items = walk(bytes, &at, kind);

		if (kind == passed)
			CHECK(items > 0 && at == size);
		else
			CHECK(passed == PUSH_NONE || items == 0);
	}
	return 0;
}
