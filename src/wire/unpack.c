/* SPDX-License-Identifier: MIT */
#include "wire/unpack.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "wire/utf8.h"

/* ---- Tokens ---- */

/* Reads a big-endian number of width bytes. */
static bool read_number(struct unpack *u, size_t width, uint64_t *out)
{
	uint64_t big = 0;

	if ((size_t)(u->end - u->at) < width)
		return false;
	memcpy((uint8_t *)&big + sizeof(big) - width, u->at, width);
	u->at += width;
	*out = be64toh(big);
	return true;
}

static bool take_bytes(struct unpack *u, enum unpack_kind kind, uint64_t len,
                       struct unpack_token *out)
{
	if ((uint64_t)(u->end - u->at) < len)
		return false;
	out->kind = kind;
	out->bytes = wire_slice(u->at, (size_t)len);
	u->at += len;
	return true;
}

/* An entry takes a byte at least, so the count cannot be more than what is left. */
static bool take_container(struct unpack *u, enum unpack_kind kind, uint64_t entries,
                           struct unpack_token *out)
{
	const uint64_t left = (uint64_t)(u->end - u->at);

	if (entries > (kind == UNPACK_MAP ? left / 2 : left))
		return false;
	out->kind = kind;
	out->value = entries;
	out->bytes = wire_slice(u->at, (size_t)left);
	return true;
}

static bool take_int(struct unpack *u, size_t width, struct unpack_token *out)
{
	const unsigned unused = (unsigned)(64 - width * 8);
	uint64_t n;

	if (!read_number(u, width, &n))
		return false;
	n = (uint64_t)((int64_t)(n << unused) >> unused);
	out->kind = (int64_t)n < 0 ? UNPACK_NEGATIVE : UNPACK_UINT;
	out->value = n;
	return true;
}

static bool take_uint(struct unpack *u, size_t width, struct unpack_token *out)
{
	out->kind = UNPACK_UINT;
	return read_number(u, width, &out->value);
}

static bool take_ext(struct unpack *u, uint64_t len, struct unpack_token *out)
{
	return read_number(u, 1, &out->value) && take_bytes(u, UNPACK_EXT, len, out);
}

/* Heads c0 to df, which all carry their length or value behind them. */
static bool take_long(struct unpack *u, uint8_t head, struct unpack_token *out)
{
	uint64_t n;

	switch (head) {
	case 0xc0:
		out->kind = UNPACK_NIL;
		return true;
	case 0xc2:
	case 0xc3:
		out->kind = UNPACK_BOOL;
		out->value = head & 1;
		return true;
	case 0xc4:
	case 0xc5:
	case 0xc6:
		return read_number(u, (size_t)1 << (head - 0xc4), &n) &&
		       take_bytes(u, UNPACK_BIN, n, out);
	case 0xc7:
	case 0xc8:
	case 0xc9:
		return read_number(u, (size_t)1 << (head - 0xc7), &n) && take_ext(u, n, out);
	case 0xca:
		return take_bytes(u, UNPACK_FLOAT, 4, out);
	case 0xcb:
		return take_bytes(u, UNPACK_FLOAT, 8, out);
	case 0xcc:
	case 0xcd:
	case 0xce:
	case 0xcf:
		return take_uint(u, (size_t)1 << (head - 0xcc), out);
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		return take_int(u, (size_t)1 << (head - 0xd0), out);
	case 0xd4:
	case 0xd5:
	case 0xd6:
	case 0xd7:
	case 0xd8:
		return take_ext(u, UINT64_C(1) << (head - 0xd4), out);
	case 0xd9:
	case 0xda:
	case 0xdb:
		return read_number(u, (size_t)1 << (head - 0xd9), &n) &&
		       take_bytes(u, UNPACK_TEXT, n, out);
	case 0xdc:
	case 0xdd:
		return read_number(u, (size_t)2 << (head - 0xdc), &n) &&
		       take_container(u, UNPACK_ARRAY, n, out);
	case 0xde:
	case 0xdf:
		return read_number(u, (size_t)2 << (head - 0xde), &n) &&
		       take_container(u, UNPACK_MAP, n, out);
	default: /* c1 is never used */
		return false;
	}
}

bool unpack_token(struct unpack *u, struct unpack_token *out)
{
	uint8_t head;

	*out = (struct unpack_token){ .kind = UNPACK_ABSENT };
	if (u->at == u->end)
		return false;
	head = *u->at++;
	if (head >= 0xa0 && head <= 0xbf)
		return take_bytes(u, UNPACK_TEXT, head & 0x1f, out);
	if (head < 0x80) {
		out->kind = UNPACK_UINT;
		out->value = head;
		return true;
	}
	if (head < 0x90)
		return take_container(u, UNPACK_MAP, head & 0x0f, out);
	if (head < 0xa0)
		return take_container(u, UNPACK_ARRAY, head & 0x0f, out);
	if (head >= 0xe0) {
		out->kind = UNPACK_NEGATIVE;
		out->value = (uint64_t)(int64_t)(int8_t)head;
		return true;
	}
	return take_long(u, head, out);
}

/* ---- Twins ---- */

static int compare_keys(const void *left, const void *right)
{
	const struct unpack_token *a = left, *b = right;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	if (a->bytes.len != b->bytes.len)
		return a->bytes.len < b->bytes.len ? -1 : 1;
	return a->bytes.len == 0 ? 0 : memcmp(a->bytes.at, b->bytes.at, a->bytes.len);
}

static bool keys_grow(struct unpack_keys *keys)
{
	const uint32_t room = keys->room * 4;
	struct unpack_token *grown = realloc(keys->many, room * sizeof(*grown));

	if (grown == NULL)
		return false;
	if (keys->many == NULL)
		memcpy(grown, keys->few, sizeof(keys->few));
	keys->many = grown;
	keys->room = room;
	return true;
}

bool unpack_keys_add(struct unpack_keys *keys, const struct unpack_token *key)
{
	if (key->kind == UNPACK_ARRAY || key->kind == UNPACK_MAP)
		return false;
	if (key->kind == UNPACK_TEXT && !utf8_is_valid(key->bytes))
		return false;
	if (keys->count == keys->room && !keys_grow(keys))
		return false;
	(keys->many != NULL ? keys->many : keys->few)[keys->count++] = *key;
	return true;
}

bool unpack_keys_are_unique(struct unpack_keys *keys)
{
	if (keys->many != NULL) { /* sorted: a hash would let the peer choose collisions */
		qsort(keys->many, keys->count, sizeof(*keys->many), compare_keys);
		for (uint32_t i = 1; i < keys->count; i++) {
			if (compare_keys(&keys->many[i - 1], &keys->many[i]) == 0)
				return false;
		}
		return true;
	}
	for (uint32_t i = 1; i < keys->count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (compare_keys(&keys->few[i], &keys->few[j]) == 0)
				return false;
		}
	}
	return true;
}

void unpack_keys_free(struct unpack_keys *keys)
{
	free(keys->many);
	keys->many = NULL;
}

/* ---- Whole values ---- */

struct level {
	uint64_t left; /* tokens: two for each entry of a map */
	bool is_map;
	struct unpack_keys keys;
};

static void level_open(struct level *l, const struct unpack_token *head)
{
	l->is_map = head->kind == UNPACK_MAP;
	l->left = l->is_map ? head->value * 2 : head->value;
	unpack_keys_init(&l->keys);
}

static bool is_container(const struct unpack_token *t)
{
	return t->kind == UNPACK_ARRAY || t->kind == UNPACK_MAP;
}

/* Reads on until all levels from levels[0] are closed; *open tells how many are left on failure. */
static bool walk(struct unpack *u, struct level *levels, unsigned max, unsigned *open)
{
	while (*open > 0) {
		struct level *l = &levels[*open - 1];
		struct unpack_token t;

		if (l->left == 0) {
			if (!unpack_keys_are_unique(&l->keys))
				return false;
			unpack_keys_free(&l->keys);
			--*open;
			continue;
		}
		if (!unpack_token(u, &t))
			return false;
		if (l->is_map && l->left-- % 2 == 0) {
			if (!unpack_keys_add(&l->keys, &t))
				return false;
			continue;
		}
		l->left -= !l->is_map;
		if (t.kind == UNPACK_TEXT && !utf8_is_valid(t.bytes))
			return false;
		if (is_container(&t)) {
			if (*open == max)
				return false;
			level_open(&levels[(*open)++], &t);
		}
	}
	return true;
}

static bool skip_container(struct unpack *u, unsigned depth, const struct unpack_token *head)
{
	struct level levels[UNPACK_DEPTH_MAX];
	unsigned open = 1;
	bool ok;

	if (depth >= UNPACK_DEPTH_MAX)
		return false;
	level_open(&levels[0], head);
	ok = walk(u, levels, UNPACK_DEPTH_MAX - depth, &open);
	while (open > 0)
		unpack_keys_free(&levels[--open].keys);
	return ok;
}

bool unpack_value(struct unpack *u, unsigned depth, struct unpack_token *out)
{
	return unpack_token(u, out) && (!is_container(out) || skip_container(u, depth, out));
}

/* ---- Maps with known keys ---- */

/* The number of the field, or count.  Peers mostly keep our order, so `guess` is tried first. */
static size_t find_field(const struct unpack_field *fields, size_t count, size_t guess,
                         const struct unpack_token *key)
{
	if (key->kind != UNPACK_TEXT)
		return count;
	for (size_t i = 0; i < count; i++) {
		const size_t n = guess + i < count ? guess + i : guess + i - count;

		if (fields[n].name_len == key->bytes.len &&
		    memcmp(fields[n].name, key->bytes.at, key->bytes.len) == 0)
			return n;
	}
	return count;
}

static bool read_fields(struct unpack *u, unsigned depth, uint64_t entries,
                        const struct unpack_field *fields, size_t count,
                        struct unpack_token *values, struct unpack_keys *others)
{
	size_t guess = 0;

	for (; entries > 0; entries--) {
		struct unpack_token key, ignored;
		size_t n;

		if (!unpack_token(u, &key))
			return false;
		n = find_field(fields, count, guess, &key);
		if (n == count) {
			if (!unpack_keys_add(others, &key) ||
			    !unpack_value(u, depth, &ignored) ||
			    (ignored.kind == UNPACK_TEXT && !utf8_is_valid(ignored.bytes)))
				return false;
			continue;
		}
		if (values[n].kind != UNPACK_ABSENT)
			return false; /* twice */
		if (!unpack_value(u, depth, &values[n])) {
			values[n].kind = UNPACK_ABSENT;
			return false;
		}
		guess = n + 1 < count ? n + 1 : 0;
	}
	return unpack_keys_are_unique(others);
}

bool unpack_fields(struct unpack *u, unsigned depth, uint64_t entries,
                   const struct unpack_field *fields, size_t count, struct unpack_token *values)
{
	struct unpack_keys others;
	bool ok;

	for (size_t i = 0; i < count; i++)
		values[i] = (struct unpack_token){ .kind = UNPACK_ABSENT };
	unpack_keys_init(&others);
	ok = read_fields(u, depth, entries, fields, count, values, &others);
	unpack_keys_free(&others);
	return ok;
}

static bool is_byte_array(const struct unpack_token *value)
{
	struct unpack u = { value->bytes.at, value->bytes.at + value->bytes.len };

	for (uint64_t i = 0; i < value->value; i++) {
		struct unpack_token t;

		if (!unpack_token(&u, &t) || t.kind != UNPACK_UINT || t.value > 0xff)
			return false;
	}
	return true;
}

static bool fits(const struct unpack_field *field, const struct unpack_token *value)
{
	switch ((enum unpack_want)field->want) {
	case WANT_TEXT:
		return value->kind == UNPACK_TEXT && utf8_is_valid(value->bytes);
	case WANT_CODE:
		return value->kind == UNPACK_TEXT;
	case WANT_U32:
		return value->kind == UNPACK_UINT && value->value <= UINT32_MAX;
	case WANT_INT:
		return value->kind == UNPACK_NEGATIVE ||
		       (value->kind == UNPACK_UINT && value->value <= INT64_MAX);
	case WANT_BOOL:
		return value->kind == UNPACK_BOOL;
	case WANT_BYTES:
		return value->kind == UNPACK_BIN ||
		       (value->kind == UNPACK_ARRAY && is_byte_array(value));
	case WANT_MAP:
		return value->kind == UNPACK_MAP;
	}
	return false;
}

bool unpack_fields_fit(const struct unpack_field *fields, size_t count,
                       const struct unpack_token *values)
{
	for (size_t i = 0; i < count; i++) {
		const bool is_missing =
			values[i].kind == UNPACK_ABSENT || values[i].kind == UNPACK_NIL;

		if (is_missing ? fields[i].need == NEED : !fits(&fields[i], &values[i]))
			return false;
	}
	return true;
}

size_t unpack_bytes_len(const struct unpack_token *value)
{
	return value->kind == UNPACK_BIN ? value->bytes.len : (size_t)value->value;
}

void unpack_bytes_copy(const struct unpack_token *value, uint8_t *out)
{
	struct unpack u = { value->bytes.at, value->bytes.at + value->bytes.len };

	if (value->kind == UNPACK_BIN) {
		memcpy(out, value->bytes.at, value->bytes.len);
		return;
	}
	for (uint64_t i = 0; i < value->value; i++) {
		struct unpack_token t;

		if (unpack_token(&u, &t))
			out[i] = (uint8_t)t.value;
	}
}
