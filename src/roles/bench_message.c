/* SPDX-License-Identifier: MIT */
#include "roles/bench_message.h"

#include <stdio.h>
#include <string.h>

#include "roles/bench_memory.h"

#define NUMBER_DIGITS 8
#define ID_PREFIX_CHARS (BENCH_ID_CHARS - NUMBER_DIGITS)
#define KEY_BYTES 32
#define FRAME_OVERHEAD 512

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Base64 of len random bytes: any digits will do, but the last one before padding, whose low
 * bits must be zero. */
static size_t make_content(char *to, size_t len, uint64_t *random)
{
	const size_t chars = (len + 2) / 3 * 4;
	const size_t rest = len % 3;

	for (size_t i = 0; i < chars; i++)
		to[i] = base64_digits[next_random(random) >> 20 & 63];
	if (rest == 1)
		memcpy(to + chars - 3, "A==", 3);
	else if (rest == 2)
		memcpy(to + chars - 2, "A=", 2);
	return chars;
}

static void put_hex(uint8_t *to, uint32_t value)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = NUMBER_DIGITS - 1; i >= 0; i--, value >>= 4)
		to[i] = (uint8_t)digits[value & 15];
}

static bool get_hex(const char *from, uint32_t *value)
{
	uint32_t v = 0;

	for (int i = 0; i < NUMBER_DIGITS; i++) {
		const char c = from[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*value = v;
	return true;
}

static void put_be32(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 24);
	to[1] = (uint8_t)(value >> 16);
	to[2] = (uint8_t)(value >> 8);
	to[3] = (uint8_t)value;
}

/* A version 4 UUID with room for the number in its last digits. */
static void make_id(char *id, uint64_t *random)
{
	const uint64_t a = next_random(random);
	const uint64_t b = next_random(random);

	snprintf(id, BENCH_ID_CHARS + 1, "%08x-%04x-4%03x-%04x-%04x00000000", (uint32_t)a,
	         (uint32_t)(a >> 32) & 0xffff, (uint32_t)(a >> 48) & 0xfff,
	         0x8000U | ((uint32_t)b & 0x3fff), (uint32_t)(b >> 16) & 0xffff);
}

static void make_send(struct bench_message *m, const char *id, const char *from, const char *to,
                      size_t content_bytes, uint64_t *random)
{
	struct bench_writer w = { .at = m->send };
	char *content = bench_alloc(content_bytes * 4 / 3 + 8, 1);
	uint8_t key[KEY_BYTES];

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(next_random(random) >> 20);
	m->content_len = make_content(content, content_bytes, random);
	bench_put_head(&w, "sendMessage", 7);
	bench_put_text(&w, "id");
	bench_put_text(&w, id);
	m->id = w.at + w.len - BENCH_ID_CHARS;
	bench_put_text(&w, "from");
	bench_put_text(&w, from);
	bench_put_text(&w, "to");
	bench_put_text(&w, to);
	bench_put_text(&w, "ephemeralPublicKey");
	bench_put_bin(&w, key, sizeof(key));
	bench_put_text(&w, "messageNumber");
	bench_put_u32(&w, 0);
	m->number = w.at + w.len - 4;
	bench_put_text(&w, "content");
	bench_put_text_len(&w, content, m->content_len);
	m->content = w.at + w.len - m->content_len;
	bench_put_text(&w, "timestamp");
	bench_put_u32(&w, 0);
	m->time = w.at + w.len - 4;
	m->send_len = w.len;
	free(content);
}

static void make_ack(struct bench_message *m, const char *id)
{
	struct bench_writer w = { .at = m->ack };

	bench_put_head(&w, "acknowledgeMessage", 2);
	bench_put_text(&w, "messageId");
	bench_put_text(&w, id);
	m->ack_id = w.at + w.len - BENCH_ID_CHARS;
	bench_put_text(&w, "status");
	bench_put_text(&w, "delivered");
	m->ack_len = w.len;
}

void bench_message_init(struct bench_message *m, const char *from, const char *to,
                        size_t content_bytes, uint64_t seed)
{
	uint64_t random = seed | 1;
	char id[BENCH_ID_CHARS + 1];

	make_id(id, &random);
	m->send = bench_alloc(content_bytes * 4 / 3 + FRAME_OVERHEAD, 1);
	m->ack = bench_alloc(FRAME_OVERHEAD, 1);
	make_send(m, id, from, to, content_bytes, &random);
	make_ack(m, id);
}

void bench_message_free(struct bench_message *m)
{
	free(m->send);
	free(m->ack);
}

void bench_message_patch(struct bench_message *m, uint32_t number, uint32_t unix_s)
{
	put_hex(m->id + ID_PREFIX_CHARS, number);
	put_hex(m->content, number);
	put_be32(m->number, number);
	put_be32(m->time, unix_s);
}

void bench_message_patch_ack(struct bench_message *m, struct bench_slice id)
{
	memcpy(m->ack_id, id.at, BENCH_ID_CHARS);
}

bool bench_message_number(const struct bench_message *m, struct bench_slice id,
                          uint32_t *number)
{
	return id.len == BENCH_ID_CHARS && memcmp(id.at, m->id, ID_PREFIX_CHARS) == 0 &&
	       get_hex(id.at + ID_PREFIX_CHARS, number);
}

bool bench_message_is_intact(const struct bench_message *m, const struct bench_frame *f,
                             uint32_t number)
{
	uint32_t in_content;

	return f->message_number == number && f->content.len == m->content_len &&
	       get_hex(f->content.at, &in_content) && in_content == number &&
	       memcmp(f->content.at + NUMBER_DIGITS, m->content + NUMBER_DIGITS,
	              m->content_len - NUMBER_DIGITS) == 0;
}
