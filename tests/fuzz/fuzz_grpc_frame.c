/* SPDX-License-Identifier: MIT */
/* gRPC messages, headers, health and reflection requests.  The first byte chooses what the rest is and,
 * for messages, the cut: parsed whole and in pieces it must come to the same. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/grpc_frame.h"
#include "wire/grpc_health.h"
#include "wire/grpc_reflection.h"

struct story {
	uint32_t messages, whole, bytes, hash, last_left;
};

static void mix(struct story *s, uint32_t value)
{
	s->hash = (s->hash ^ value) * 16777619u;
}

static struct story read_messages(const uint8_t *data, size_t size, size_t cut)
{
	struct grpc_reader r = { 0 };
	struct story s = { 0 };

	while (size > 0) {
		const size_t n = size < cut ? size : cut;
		uint8_t *copy = exact(n);
		struct wire_slice part;
		size_t used;
		enum grpc_read read;

		memcpy(copy, data, n);
		read = grpc_reader_next(&r, copy, n, &used, &part);
		CHECK(used > 0 && used <= n);
		check_inside(part, copy, n);
		if (read == GRPC_READ_START) {
			s.messages++;
			mix(&s, r.len + r.is_compressed);
			s.whole += r.left == 0;
		} else if (read == GRPC_READ_DATA) {
			CHECK(part.len > 0 && part.len <= r.len);
			s.bytes += (uint32_t)part.len;
			for (size_t i = 0; i < part.len; i++)
				mix(&s, part.at[i]);
			s.whole += r.left == 0;
		}
		free(copy);
		data += used;
		size -= used;
	}
	s.last_left = grpc_reader_is_idle(&r);
	return s;
}

static void check_messages(const uint8_t *data, size_t size, size_t cut)
{
	const struct story whole = read_messages(data, size, size + 1);
	const struct story pieces = read_messages(data, size, cut);

	CHECK(memcmp(&whole, &pieces, sizeof(whole)) == 0);
	CHECK(whole.messages - whole.whole <= 1);
}

static void check_headers(struct wire_slice text)
{
	char encoded[GRPC_MESSAGE_CHARS], decoded[GRPC_MESSAGE_CHARS];
	char timeout[GRPC_TIMEOUT_CHARS];
	enum grpc_status status;
	uint64_t ms, again;
	size_t n;

	if (grpc_timeout_parse(text, &ms)) {
		CHECK(grpc_timeout_write(timeout, ms) < sizeof(timeout));
		CHECK(grpc_timeout_parse(wire_text(timeout), &again));
		CHECK(again >= ms || again == UINT64_C(99999999000));
	}
	if (grpc_status_parse(text, &status))
		CHECK(status <= GRPC_UNAUTHENTICATED);
	CHECK(!grpc_content_type_is_grpc(text) || text.len >= 16);
	n = grpc_message_encode(encoded, text);
	CHECK(n < sizeof(encoded) && strlen(encoded) == n);
	n = grpc_message_decode(decoded, sizeof(decoded), wire_text(encoded));
	CHECK(n == (text.len < GRPC_MESSAGE_BYTES_MAX ? text.len : GRPC_MESSAGE_BYTES_MAX));
	CHECK(n == 0 || memcmp(decoded, text.at, n) == 0);
	CHECK(grpc_message_decode(decoded, 8, text) < 8);
}

static void check_requests(struct wire_slice bytes)
{
	static const char *const services[] = { "a.B" };
	const struct grpc_reflection ours = {
		.set = { grpc_descriptor_set, grpc_descriptor_set_len },
		.services = services,
		.service_count = 1,
	};
	char service[GRPC_HEALTH_SERVICE_CHARS];
	size_t len = 0;

	free(grpc_reflection_answer(&ours, bytes, &len));
	if (grpc_health_request(bytes, service))
		CHECK(strlen(service) < sizeof(service));
	/* A set that is none: read to its end and no further. */
	check_inside(grpc_reflection_symbol(bytes, wire_text("a.B.c")), bytes.at, bytes.len);
	check_inside(grpc_reflection_file(bytes, wire_text("f")), bytes.at, bytes.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > 1 << 14)
		return 0;
	switch (data[0] % 3) {
	case 0:
		check_messages(data + 1, size - 1, 1 + data[0] / 3);
		break;
	case 1:
		check_headers(wire_slice(data + 1, size - 1));
		break;
	default:
		check_requests(wire_slice(data + 1, size - 1));
		break;
	}
	return 0;
}
