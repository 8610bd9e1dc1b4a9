/* SPDX-License-Identifier: MIT */
/* WebSocket streams.  The first byte chooses role and cut: the rest is parsed whole and in pieces
 * and must come to the same; what it held is written as frames and read back. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/utf8.h"
#include "wire/ws_frame.h"

#define LIMIT 4096

/* What came of a stream, without the places where data was cut. */
struct story {
	size_t len;
	uint16_t failed, closed;
	bool is_open, is_text;
	uint32_t utf8;
	size_t message_len;
	uint8_t bytes[1 << 17]; /* the last: what is not written is not cleared */
};

static void tell(struct story *s, uint8_t what, const uint8_t *at, size_t len)
{
	CHECK(s->len + len + 2 <= sizeof(s->bytes));
	if (what != 0)
		s->bytes[s->len++] = what;
	if (len > 0)
		memcpy(s->bytes + s->len, at, len);
	s->len += len;
}

static void on_data(struct story *s, const struct ws_event *e)
{
	CHECK(e->is_first == !s->is_open);
	if (e->is_first) {
		tell(s, e->is_text ? 'T' : 'B', NULL, 0);
		s->is_text = e->is_text;
		s->utf8 = UTF8_ACCEPT;
		s->message_len = 0;
	}
	CHECK(e->is_text == s->is_text);
	tell(s, 0, e->at, e->len);
	s->message_len += e->len;
	CHECK(s->message_len <= LIMIT);
	if (s->is_text) {
		s->utf8 = utf8_feed(s->utf8, e->at, e->len);
		CHECK(s->utf8 != UTF8_REJECT);
		CHECK(!e->is_last || s->utf8 == UTF8_ACCEPT);
	}
	s->is_open = !e->is_last;
	if (e->is_last)
		tell(s, '.', NULL, 0);
}

static void on_event(struct story *s, const struct ws_event *e)
{
	CHECK(s->failed == 0 && s->closed == 0);
	if (e->type == WS_EVENT_DATA) {
		on_data(s, e);
		return;
	}
	CHECK(e->len <= WS_CONTROL_MAX);
	if (e->type == WS_EVENT_FAIL) {
		CHECK(e->code == WS_CLOSE_PROTOCOL || e->code == WS_CLOSE_BAD_TEXT ||
		      e->code == WS_CLOSE_TOO_BIG);
		s->failed = e->code;
	} else if (e->type == WS_EVENT_CLOSE) {
		CHECK(e->code == WS_CLOSE_NO_STATUS || ws_close_code_is_valid(e->code));
		CHECK(utf8_is_valid(wire_slice(e->at, e->len)));
		s->closed = e->code;
		tell(s, 'C', e->at, e->len);
	} else {
		tell(s, e->type == WS_EVENT_PING ? 'P' : 'O', e->at, e->len);
	}
}

/* Bytes of a message that is not over are no part of the story: a failure may come before or after
 * them, as the cut falls. */
static void parse(const uint8_t *data, size_t size, enum ws_role role, size_t cut,
                  struct story *s)
{
	struct ws_parser parser;
	uint8_t *copy;
	size_t chunk;

	ws_parser_init(&parser, role, LIMIT);
	memset(s, 0, offsetof(struct story, bytes));
	chunk = cut != 0 && cut < size ? cut : size;
	copy = exact(chunk);
	while (size > 0) {
		size_t at = 0;

		if (size < chunk) { /* the last one: its end is watched too */
			free(copy);
			chunk = size;
			copy = exact(chunk);
		}
		memcpy(copy, data, chunk);
		while (at < chunk) {
			struct ws_event e;
			const size_t took = ws_parser_next(&parser, copy + at, chunk - at, &e);

			CHECK(took > 0 && took <= chunk - at);
			at += took;
			if (e.type != WS_EVENT_NONE)
				on_event(s, &e);
		}
		data += chunk;
		size -= chunk;
	}
	free(copy);
	CHECK(!s->is_open || !ws_parser_is_idle(&parser));
}

/* A copy of the payload as one frame, in fragments of `part` bytes, must be read back. */
static void check_round_trip(const uint8_t *payload, size_t len, enum ws_role role, size_t part)
{
	static uint8_t stream[1 << 17];
	static struct story s;
	const uint8_t mask[4] = { 1, 2, 3, 254 };
	size_t n = 0;

	for (size_t at = 0; at == 0 || at < len; at += part) {
		const size_t m = len - at < part ? len - at : part;
		const enum ws_fin fin = at + m == len ? WS_FIN : WS_MORE;
		const enum ws_op op = at == 0 ? WS_OP_BINARY : WS_OP_CONTINUATION;

		if (role == WS_ROLE_CLIENT) {
			n += ws_header_write_fragment(stream + n, op, fin, m);
			if (m > 0)
				memcpy(stream + n, payload + at, m);
		} else {
			const size_t head = ws_header_write_masked(stream + n, op, m, mask);

			stream[n] = (uint8_t)((fin == WS_FIN ? 0x80u : 0) | (unsigned)op);
			n += head;
			ws_mask_copy(stream + n, payload + at, m, mask, 0);
		}
		n += m;
	}
	parse(stream, n, role, 7, &s);
	CHECK(s.failed == 0 && s.closed == 0 && !s.is_open && s.len == len + 2);
	CHECK(len == 0 || memcmp(s.bytes + 1, payload, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct story whole, pieces, bytes;
	enum ws_role role;
	size_t cut;

	if (size == 0 || size > 1 << 14)
		return 0;
	role = (data[0] & 1) != 0 ? WS_ROLE_CLIENT : WS_ROLE_SERVER;
	cut = 1 + (data[0] >> 1) % 60;
	parse(data + 1, size - 1, role, 0, &whole);
	parse(data + 1, size - 1, role, cut, &pieces);
	parse(data + 1, size - 1, role, 1, &bytes);
	CHECK(whole.failed == pieces.failed && whole.failed == bytes.failed);
	CHECK(whole.closed == pieces.closed && whole.closed == bytes.closed);
	if (whole.failed == 0) {
		CHECK(whole.len == pieces.len &&
		      memcmp(whole.bytes, pieces.bytes, whole.len) == 0);
		CHECK(whole.len == bytes.len &&
		      memcmp(whole.bytes, bytes.bytes, whole.len) == 0);
	}
	if (size - 1 <= LIMIT)
		check_round_trip(data + 1, size - 1, role, cut);
	return 0;
}
