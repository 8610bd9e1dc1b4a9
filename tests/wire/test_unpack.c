/* SPDX-License-Identifier: MIT */
/* The reader held against msgpack-c: same numbers, same texts, same ends. */
#include "wire/unpack.h"

#include <criterion/criterion.h>
#include <msgpack.h>

#include "wire/pack.h"

TestSuite(unpack, .timeout = 20);

static struct unpack_token read_all(const uint8_t *bytes, size_t len)
{
	struct unpack u = { bytes, bytes + len };
	struct unpack_token t;

	cr_assert(unpack_value(&u, 0, &t) && u.at == u.end);
	return t;
}

Test(unpack, reads_the_integers_that_msgpack_c_writes)
{
	static const int64_t values[] = { 0,         1,      127,    128,       255,
		                          256,       65535,  65536,  INT32_MAX, UINT32_MAX,
		                          INT64_MAX, -1,     -32,    -33,       -128,
		                          -129,      -32768, -32769, INT32_MIN, INT64_MIN };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		msgpack_sbuffer theirs;
		msgpack_packer packer;
		uint8_t ours[16];
		struct pack p = { ours, sizeof(ours), 0 };
		struct unpack_token t;

		msgpack_sbuffer_init(&theirs);
		msgpack_packer_init(&packer, &theirs, msgpack_sbuffer_write);
		msgpack_pack_int64(&packer, values[i]);
		t = read_all((const uint8_t *)theirs.data, theirs.size);
		cr_assert(t.kind == (values[i] < 0 ? UNPACK_NEGATIVE : UNPACK_UINT));
		cr_assert((int64_t)t.value == values[i]);
		pack_int(&p, values[i]);
		cr_assert(p.len == theirs.size && memcmp(ours, theirs.data, p.len) == 0);
		msgpack_sbuffer_destroy(&theirs);
	}
}

Test(unpack, writes_texts_and_bytes_as_msgpack_c_does)
{
	static const size_t lengths[] = { 0, 1, 31, 32, 255, 256, 65535, 65536 };
	static char content[65536];
	static uint8_t ours[65536 + 8];

	memset(content, 'x', sizeof(content));
	for (size_t i = 0; i < 16; i++) {
		const size_t len = lengths[i / 2];
		struct pack p = { ours, sizeof(ours), 0 };
		msgpack_sbuffer theirs;
		msgpack_packer packer;

		msgpack_sbuffer_init(&theirs);
		msgpack_packer_init(&packer, &theirs, msgpack_sbuffer_write);
		if (i % 2 == 0) {
			msgpack_pack_str(&packer, len);
			msgpack_pack_str_body(&packer, content, len);
			pack_text(&p, wire_slice(content, len));
		} else {
			msgpack_pack_bin(&packer, len);
			msgpack_pack_bin_body(&packer, content, len);
			pack_bin(&p, (const uint8_t *)content, len);
		}
		cr_assert(p.len == theirs.size && memcmp(ours, theirs.data, p.len) == 0);
		cr_assert(read_all(ours, p.len).bytes.len == len);
		msgpack_sbuffer_destroy(&theirs);
	}
}

/* Each head byte, followed by zeros: an end where msgpack-c sees one, or none. */
Test(unpack, ends_each_kind_of_value_where_msgpack_c_does)
{
	for (unsigned head = 0; head < 256; head++) {
		uint8_t bytes[64] = { (uint8_t)head };
		struct unpack u = { bytes, bytes + sizeof(bytes) };
		struct unpack_token t;
		msgpack_unpacked theirs;
		size_t end = 0;
		bool ok;

		/* Maps of several zeros have a key twice: ours refuses them. */
		if ((head >= 0x82 && head <= 0x8f))
			continue;
		msgpack_unpacked_init(&theirs);
		ok = msgpack_unpack_next(&theirs, (const char *)bytes, sizeof(bytes), &end) ==
		     MSGPACK_UNPACK_SUCCESS;
		cr_assert(unpack_value(&u, 0, &t) == ok, "head %02x", head);
		cr_assert(!ok || (size_t)(u.at - bytes) == end, "head %02x", head);
		msgpack_unpacked_destroy(&theirs);
	}
}

Test(unpack, does_not_believe_a_count_that_the_rest_cannot_hold)
{
	static const char *const heads[] = { "\xdd\xff\xff\xff\xff", "\xdf\x00\x00\x00\x03",
		                             "\xdb\x00\x00\x00\x05", "\xc6\xff\xff\xff\xff",
		                             "\xc9\x00\x00\x00\x05" };

	for (size_t i = 0; i < 5; i++) {
		uint8_t bytes[9] = { 0 };
		struct unpack u = { bytes, bytes + sizeof(bytes) };
		struct unpack_token t;

		memcpy(bytes, heads[i], 5);
		cr_assert(!unpack_token(&u, &t), "%zu", i);
	}
}

Test(unpack, takes_scalars_only_as_keys)
{
	static const uint8_t array_key[] = { 0x81, 0x90, 0x01 };
	static const uint8_t map_key[] = { 0x81, 0x80, 0x01 };
	static const uint8_t bin_key[] = { 0x81, 0xc4, 0x00, 0x01 };
	struct unpack u = { array_key, array_key + sizeof(array_key) };
	struct unpack_token t;

	cr_assert(!unpack_value(&u, 0, &t));
	u = (struct unpack){ map_key, map_key + sizeof(map_key) };
	cr_assert(!unpack_value(&u, 0, &t));
	u = (struct unpack){ bin_key, bin_key + sizeof(bin_key) };
	cr_assert(unpack_value(&u, 0, &t));
}

/* Around the number of keys that fit without memory of their own. */
Test(unpack, finds_a_twin_at_every_place_of_small_and_large_maps)
{
	for (uint32_t count = 2; count < 70; count++) {
		for (uint32_t twin = 0; twin < count; twin++) {
			uint8_t bytes[256];
			struct pack p = { bytes, sizeof(bytes), 0 };
			struct unpack u;
			struct unpack_token t;

			pack_sized(&p, 0xde, count, 2);
			for (uint32_t i = 0; i < count; i++) {
				pack_uint(&p, i == count - 1 ? twin : i);
				pack_byte(&p, 0xc0);
			}
			u = (struct unpack){ bytes, bytes + p.len };
			cr_assert(unpack_value(&u, 0, &t) == (twin == count - 1), "%u of %u",
			          twin, count);
		}
	}
}
