/* SPDX-License-Identifier: MIT */
/* The automaton: a byte has a class, a state and a class give the next state.  The states that
 * wait for a narrowed second byte (after E0, ED, F0, F4) are what keeps overlong forms,
 * surrogates and what lies beyond U+10FFFF out. */
#include "wire/utf8.h"

enum byte_class {
	ASCII,  /* 00..7f */
	TAIL_8, /* 80..8f */
	TAIL_9, /* 90..9f */
	TAIL_A, /* a0..bf */
	LEAD_2, /* c2..df */
	LEAD_E0,
	LEAD_3, /* e1..ec, ee, ef */
	LEAD_ED,
	LEAD_F0,
	LEAD_4, /* f1..f3 */
	LEAD_F4,
	NEVER, /* c0, c1, f5..ff */
	CLASSES,
};

enum state {
	ACCEPT = UTF8_ACCEPT,
	REJECT = UTF8_REJECT,
	ONE,   /* one more byte */
	TWO,   /* two more */
	THREE, /* three more */
	AFTER_E0,
	AFTER_ED,
	AFTER_F0,
	AFTER_F4,
	STATES,
};

static const uint8_t class_of_high[128] = {
	TAIL_8,  TAIL_8, TAIL_8, TAIL_8, TAIL_8,  TAIL_8,  TAIL_8, TAIL_8, /* 80 */
	TAIL_8,  TAIL_8, TAIL_8, TAIL_8, TAIL_8,  TAIL_8,  TAIL_8, TAIL_8,
	TAIL_9,  TAIL_9, TAIL_9, TAIL_9, TAIL_9,  TAIL_9,  TAIL_9, TAIL_9, /* 90 */
	TAIL_9,  TAIL_9, TAIL_9, TAIL_9, TAIL_9,  TAIL_9,  TAIL_9, TAIL_9,
	TAIL_A,  TAIL_A, TAIL_A, TAIL_A, TAIL_A,  TAIL_A,  TAIL_A, TAIL_A, /* a0 */
	TAIL_A,  TAIL_A, TAIL_A, TAIL_A, TAIL_A,  TAIL_A,  TAIL_A, TAIL_A,
	TAIL_A,  TAIL_A, TAIL_A, TAIL_A, TAIL_A,  TAIL_A,  TAIL_A, TAIL_A, /* b0 */
	TAIL_A,  TAIL_A, TAIL_A, TAIL_A, TAIL_A,  TAIL_A,  TAIL_A, TAIL_A,
	NEVER,   NEVER,  LEAD_2, LEAD_2, LEAD_2,  LEAD_2,  LEAD_2, LEAD_2, /* c0 */
	LEAD_2,  LEAD_2, LEAD_2, LEAD_2, LEAD_2,  LEAD_2,  LEAD_2, LEAD_2,
	LEAD_2,  LEAD_2, LEAD_2, LEAD_2, LEAD_2,  LEAD_2,  LEAD_2, LEAD_2, /* d0 */
	LEAD_2,  LEAD_2, LEAD_2, LEAD_2, LEAD_2,  LEAD_2,  LEAD_2, LEAD_2,
	LEAD_E0, LEAD_3, LEAD_3, LEAD_3, LEAD_3,  LEAD_3,  LEAD_3, LEAD_3, /* e0 */
	LEAD_3,  LEAD_3, LEAD_3, LEAD_3, LEAD_3,  LEAD_ED, LEAD_3, LEAD_3,
	LEAD_F0, LEAD_4, LEAD_4, LEAD_4, LEAD_F4, NEVER,   NEVER,  NEVER, /* f0 */
	NEVER,   NEVER,  NEVER,  NEVER,  NEVER,   NEVER,   NEVER,  NEVER,
};

/* What is not listed is 0; only ACCEPT may be reached that way, so REJECT is listed. */
static const uint8_t next_state[STATES][CLASSES] = {
	[ACCEPT] = { ACCEPT, REJECT, REJECT, REJECT, ONE, AFTER_E0, TWO, AFTER_ED, AFTER_F0,
	             THREE, AFTER_F4, REJECT },
	[REJECT] = { REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT,
	             REJECT, REJECT, REJECT },
	[ONE] = { REJECT, ACCEPT, ACCEPT, ACCEPT, REJECT, REJECT, REJECT, REJECT, REJECT,
	          REJECT, REJECT, REJECT },
	[TWO] = { REJECT, ONE, ONE, ONE, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT,
	          REJECT },
	[THREE] = { REJECT, TWO, TWO, TWO, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT,
	            REJECT, REJECT },
	[AFTER_E0] = { REJECT, REJECT, REJECT, ONE, REJECT, REJECT, REJECT, REJECT, REJECT,
	               REJECT, REJECT, REJECT },
	[AFTER_ED] = { REJECT, ONE, ONE, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT,
	               REJECT, REJECT },
	[AFTER_F0] = { REJECT, REJECT, TWO, TWO, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT,
	               REJECT, REJECT },
	[AFTER_F4] = { REJECT, TWO, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT, REJECT,
	               REJECT, REJECT, REJECT },
};

static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
	uint64_t words[2];

	for (; end - at >= (ptrdiff_t)sizeof(words); at += sizeof(words)) {
		memcpy(words, at, sizeof(words));
		if (((words[0] | words[1]) & UINT64_C(0x8080808080808080)) != 0)
			break;
	}
	while (at < end && *at < 0x80)
		at++;
	return at;
}

uint32_t utf8_feed(uint32_t state, const uint8_t *at, size_t len)
{
	const uint8_t *end;

	if (len == 0) /* at may be NULL */
		return state;
	end = at + len;
	while (at < end) {
		if (state == UTF8_ACCEPT) {
			at = skip_ascii(at, end);
			if (at == end)
				break;
		}
		state = next_state[state][*at < 0x80 ? ASCII : class_of_high[*at - 0x80]];
		at++;
		if (state == UTF8_REJECT)
			break;
	}
	return state;
}

bool utf8_is_valid(struct wire_slice text)
{
	return utf8_feed(UTF8_ACCEPT, text.at, text.len) == UTF8_ACCEPT;
}

uint32_t utf8_next(const uint8_t **at)
{
	const uint8_t *t = *at;
	const int more = t[0] < 0x80 ? 0 : t[0] < 0xe0 ? 1 : t[0] < 0xf0 ? 2 : 3;
	uint32_t c = more == 0 ? t[0] : t[0] & (0x3fu >> more);

	for (int i = 1; i <= more; i++)
		c = c << 6 | (t[i] & 0x3f);
	*at = t + 1 + more;
	return c;
}

size_t utf8_length(struct wire_slice text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++)
		n += (text.at[i] & 0xc0) != 0x80;
	return n;
}
