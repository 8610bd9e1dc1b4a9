/* SPDX-License-Identifier: MIT */
/* The records of partition_bench.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>

#include "io/kafka_record.h"
#include "support/partition_bench.h"
#include "wire/envelope.h"

struct uuid partition_uuid(unsigned number)
{
	struct uuid u = { { 0x10 } };

	memcpy(&u.b[12], &number, sizeof(number));
	return u;
}

static size_t envelope_of(const struct partition_record *r, char *out, size_t room)
{
	char text[32];
	struct envelope e = { 0 };
	size_t len;

	snprintf(text, sizeof(text), "text%08" PRId64, r->offset);
	e.sender = e.message.from.user = partition_uuid(r->from);
	e.recipient = e.message.to.user = partition_uuid(r->to);
	e.message.id = partition_uuid(r->id);
	e.message.content = wire_text(r->content != NULL ? r->content : text);
	e.message.timestamp = 1700000000;
	e.message.message_number = 7;
	len = envelope_write(out, room, &e);
	cr_assert_leq(len, room);
	return len;
}

struct cx_buf *partition_pack(const struct partition_record *records, uint32_t count)
{
	static char value[65536];
	struct timespec now;
	uint8_t *bytes = NULL;
	size_t len = 0, room = 0;
	struct cx_buf *buf;

	clock_gettime(CLOCK_REALTIME, &now);
	for (uint32_t i = 0; i < count; i++) {
		const struct partition_record *const r = &records[i];
		struct kafka_record k = { .offset = r->offset, .key = wire_text("key") };

		k.timestamp_ms = (int64_t)now.tv_sec * 1000 - r->age_ms;
		k.value = r->value != NULL
		                  ? wire_text(r->value)
		                  : wire_slice(value, envelope_of(r, value, sizeof(value)));
		if (len + kafka_record_size(&k) >
		    room) { /* a sanitizer copies at each growth */
			room = 2 * (len + kafka_record_size(&k));
			bytes = realloc(bytes, room);
		}
		kafka_record_write(bytes + len, &k);
		len += kafka_record_size(&k);
	}
	buf = cx_buf_copy(bytes, len);
	free(bytes);
	return buf;
}
