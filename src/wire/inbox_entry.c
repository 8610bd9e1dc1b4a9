/* SPDX-License-Identifier: MIT */
#include "wire/inbox_entry.h"

#include <endian.h>

static void put_le(uint8_t *at, uint64_t value, size_t width)
{
	const uint64_t little = htole64(value);

	memcpy(at, &little, width);
}

static uint64_t get_le(const uint8_t *at, size_t width)
{
	uint64_t little = 0;

	memcpy(&little, at, width);
	return le64toh(little);
}

size_t inbox_entry_write(uint8_t *out, size_t room, const struct inbox_entry *e)
{
	const size_t need = INBOX_ENTRY_HEAD_LEN + e->frame.len;

	if (need > room)
		return need;
	out[0] = INBOX_ENTRY_VERSION;
	out[1] = e->kind;
	put_le(out + 2, e->partition, 2);
	put_le(out + 4, e->key_case, 4);
	put_le(out + 8, (uint64_t)e->wall_ms, 8);
	put_le(out + 16, e->offset, 8);
	memcpy(out + 24, e->peer.b, sizeof(e->peer.b));
	memcpy(out + 40, e->key.b, sizeof(e->key.b));
	if (e->frame.len > 0)
		memcpy(out + INBOX_ENTRY_HEAD_LEN, e->frame.at, e->frame.len);
	return need;
}

bool inbox_entry_read(struct wire_slice bytes, struct inbox_entry *out)
{
	const uint8_t *at = bytes.at;

	if (bytes.len <= INBOX_ENTRY_HEAD_LEN || at[0] != INBOX_ENTRY_VERSION ||
	    (at[1] != RECORD_MESSAGE && at[1] != RECORD_RECEIPT))
		return false;
	out->kind = at[1];
	out->partition = (uint16_t)get_le(at + 2, 2);
	out->key_case = (uint32_t)get_le(at + 4, 4);
	out->wall_ms = (int64_t)get_le(at + 8, 8);
	out->offset = get_le(at + 16, 8);
	memcpy(out->peer.b, at + 24, sizeof(out->peer.b));
	memcpy(out->key.b, at + 40, sizeof(out->key.b));
	out->frame = wire_slice(at + INBOX_ENTRY_HEAD_LEN, bytes.len - INBOX_ENTRY_HEAD_LEN);
	return true;
}

/* ---- places ---- */

/* A decimal number below 2^bits at the beginning of *text, which moves past it. */
static bool take_number(struct wire_slice *text, unsigned bits, uint64_t *out)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < text->len && text->at[i] >= '0' && text->at[i] <= '9'; i++) {
		n = n * 10 + (uint64_t)(text->at[i] - '0');
		if (n >> bits != 0)
			return false;
	}
	if (i == 0 || (text->at[0] == '0' && i > 1))
		return false;
	*text = wire_slice(text->at + i, text->len - i);
	*out = n;
	return true;
}

bool inbox_id_parse(struct wire_slice text, uint64_t *id)
{
	uint64_t ms, seq;

	if (!take_number(&text, INBOX_ID_MS_BITS, &ms) || text.len == 0 || text.at[0] != '-')
		return false;
	text = wire_slice(text.at + 1, text.len - 1);
	if (!take_number(&text, INBOX_ID_SEQ_BITS, &seq) || text.len != 0)
		return false;
	*id = inbox_id(ms, seq);
	return true;
}

static size_t put_number(char *out, uint64_t n)
{
	char digits[20];
	size_t len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	for (size_t i = 0; i < len; i++)
		out[i] = digits[len - 1 - i];
	return len;
}

size_t inbox_id_format(uint64_t id, char out[INBOX_ID_TEXT_MAX])
{
	size_t len = put_number(out, inbox_id_ms(id));

	out[len++] = '-';
	len += put_number(out + len, inbox_id_seq(id));
	out[len] = '\0';
	return len;
}
