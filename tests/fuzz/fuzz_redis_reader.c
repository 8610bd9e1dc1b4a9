/* SPDX-License-Identifier: MIT */
/* Replies of a Redis server: however the bytes are cut, the same values come out, and a walk over
 * them ends where they end. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "io/redis_reader.h"
#include "io/redis_value.h"

#define ROOM 65536

struct taken {
	uint8_t bytes[ROOM];
	size_t len;
	unsigned replies;
};

static bool take(void *arg, const uint8_t *bytes, size_t len)
{
	struct taken *t = arg;
	struct redis_walk walk = redis_walk_bytes(bytes, len), one = walk;
	struct redis_value value;

	CHECK(len > 0 && redis_walk_skip(&one) && one.at == one.end);
	while (walk.at != walk.end) {
		CHECK(redis_walk_next(&walk, &value));
		CHECK(value.kind <= REDIS_ARRAY);
		check_inside(value.text, bytes, len);
	}
	CHECK(!redis_walk_next(&walk, &value));
	t->replies++;
	if (t->len + len <= ROOM) {
		memcpy(t->bytes + t->len, bytes, len);
		t->len += len;
	}
	return true;
}

static enum cx_err feed(struct taken *t, const uint8_t *data, size_t size, size_t step)
{
	struct redis_reader *reader = redis_reader_new();
	enum cx_err err = CX_OK;

	memset(t, 0, sizeof(*t));
	for (size_t at = 0; at < size && err == CX_OK; at += step)
		err = redis_reader_feed(reader, data + at, size - at < step ? size - at : step,
		                        take, t);
	redis_reader_free(reader);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct taken whole, cut;
	enum cx_err err;

	if (size < 1)
		return 0;
	err = feed(&whole, data + 1, size - 1, size);
	CHECK(feed(&cut, data + 1, size - 1, data[0] % 16 + 1) == err);
	CHECK(cut.replies == whole.replies && cut.len == whole.len);
	CHECK(memcmp(cut.bytes, whole.bytes, whole.len) == 0);
	return 0;
}
