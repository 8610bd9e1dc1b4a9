/* SPDX-License-Identifier: MIT */
/* The MessagePack reader against msgpack-c: what both accept is the same tree; what only ours
 * refuses breaks one of the rules that only ours has. */
#include <msgpack.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/unpack.h"
#include "wire/utf8.h"

/* Whether the bytes are one object, lengths and counts alone considered. */
static bool is_one_object(const uint8_t *data, size_t size)
{
	struct unpack u = { data, data + size };
	uint64_t pending = 1;

	while (pending > 0) {
		struct unpack_token t;

		if (!unpack_token(&u, &t))
			return false;
		pending--;
		if (t.kind == UNPACK_ARRAY)
			pending += t.value;
		if (t.kind == UNPACK_MAP)
			pending += 2 * t.value;
	}
	return u.at == u.end;
}

static bool is_same_bytes(struct wire_slice ours, const char *at, uint32_t len)
{
	return wire_slice_equal(ours, wire_slice(at, len));
}

static void check_scalar(const struct unpack_token *t, const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		CHECK(t->kind == UNPACK_NIL);
		return;
	case MSGPACK_OBJECT_BOOLEAN:
		CHECK(t->kind == UNPACK_BOOL && t->value == o->via.boolean);
		return;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		CHECK(t->kind == UNPACK_UINT && t->value == o->via.u64);
		return;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		CHECK(t->kind == UNPACK_NEGATIVE && (int64_t)t->value == o->via.i64);
		return;
	case MSGPACK_OBJECT_FLOAT32:
		CHECK(t->kind == UNPACK_FLOAT && t->bytes.len == 4);
		return;
	case MSGPACK_OBJECT_FLOAT64:
		CHECK(t->kind == UNPACK_FLOAT && t->bytes.len == 8);
		return;
	case MSGPACK_OBJECT_STR:
		CHECK(t->kind == UNPACK_TEXT &&
		      is_same_bytes(t->bytes, o->via.str.ptr, o->via.str.size));
		return;
	case MSGPACK_OBJECT_BIN:
		CHECK(t->kind == UNPACK_BIN &&
		      is_same_bytes(t->bytes, o->via.bin.ptr, o->via.bin.size));
		return;
	case MSGPACK_OBJECT_EXT:
		CHECK(t->kind == UNPACK_EXT && (uint8_t)t->value == (uint8_t)o->via.ext.type);
		CHECK(is_same_bytes(t->bytes, o->via.ext.ptr, o->via.ext.size));
		return;
	default:
		CHECK(false); /* a kind of value that we do not know */
	}
}

static void check_tree(struct unpack *u, const msgpack_object *o)
{
	struct unpack_token t;

	CHECK(unpack_token(u, &t));
	if (o->type == MSGPACK_OBJECT_ARRAY) {
		CHECK(t.kind == UNPACK_ARRAY && t.value == o->via.array.size);
		for (uint32_t i = 0; i < o->via.array.size; i++)
			check_tree(u, &o->via.array.ptr[i]);
	} else if (o->type == MSGPACK_OBJECT_MAP) {
		CHECK(t.kind == UNPACK_MAP && t.value == o->via.map.size);
		for (uint32_t i = 0; i < o->via.map.size; i++) {
			check_tree(u, &o->via.map.ptr[i].key);
			check_tree(u, &o->via.map.ptr[i].val);
		}
	} else {
		check_scalar(&t, o);
	}
}

static bool is_same_key(const msgpack_object *a, const msgpack_object *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == MSGPACK_OBJECT_FLOAT32 || a->type == MSGPACK_OBJECT_FLOAT64)
		return memcmp(&a->via.f64, &b->via.f64, sizeof(a->via.f64)) == 0;
	return msgpack_object_equal(*a, *b);
}

/* Ours alone: text is UTF-8 below the top, keys are scalars and no twins, depth is bounded. */
static bool breaks_a_rule(const msgpack_object *o, unsigned depth)
{
	if (o->type == MSGPACK_OBJECT_STR)
		return depth > 0 && !utf8_is_valid(wire_slice(o->via.str.ptr, o->via.str.size));
	if (o->type != MSGPACK_OBJECT_ARRAY && o->type != MSGPACK_OBJECT_MAP)
		return false;
	if (depth >= UNPACK_DEPTH_MAX)
		return true;
	if (o->type == MSGPACK_OBJECT_ARRAY) {
		for (uint32_t i = 0; i < o->via.array.size; i++) {
			if (breaks_a_rule(&o->via.array.ptr[i], depth + 1))
				return true;
		}
		return false;
	}
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *entry = &o->via.map.ptr[i];

		if (entry->key.type == MSGPACK_OBJECT_ARRAY ||
		    entry->key.type == MSGPACK_OBJECT_MAP ||
		    breaks_a_rule(&entry->key, depth + 1) ||
		    breaks_a_rule(&entry->val, depth + 1))
			return true;
		for (uint32_t k = 0; k < i; k++) {
			if (is_same_key(&entry->key, &o->via.map.ptr[k].key))
				return true;
		}
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unpack u = { data, data + size };
	struct unpack_token t;
	const bool is_ours = unpack_value(&u, 0, &t) && u.at == u.end;
	msgpack_unpacked theirs;
	size_t end = 0;

	if (!is_one_object(data, size)) {
		CHECK(!is_ours);
		return 0;
	}
	msgpack_unpacked_init(&theirs);
	if (msgpack_unpack_next(&theirs, (const char *)data, size, &end) ==
	    MSGPACK_UNPACK_SUCCESS) {
		CHECK(end == size);
		CHECK(is_ours != breaks_a_rule(&theirs.data, 0));
		u = (struct unpack){ data, data + size };
		if (is_ours)
			check_tree(&u, &theirs.data);
	} else {
		CHECK(!is_ours); /* it has a bound of its own for nesting */
	}
	msgpack_unpacked_destroy(&theirs);
	return 0;
}
