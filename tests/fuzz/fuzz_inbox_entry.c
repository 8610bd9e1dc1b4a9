/* SPDX-License-Identifier: MIT */
/* Values and places of a stream: what is read, written again, is the same bytes. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/inbox_entry.h"

static void check_place(const uint8_t *data, size_t size)
{
	char text[INBOX_ID_TEXT_MAX];
	uint64_t id;

	if (inbox_id_parse(wire_slice(data, size), &id)) {
		CHECK(inbox_id_format(id, text) == size && memcmp(text, data, size) == 0);
		CHECK(inbox_id(inbox_id_ms(id), inbox_id_seq(id)) == id);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inbox_entry e;
	uint8_t *out;

	if (data == NULL)
		return 0;
	check_place(data, size);
	if (!inbox_entry_read(wire_slice(data, size), &e))
		return 0;
	CHECK(e.frame.len > 0);
	check_inside(e.frame, data, size);
	out = exact(size);
	CHECK(inbox_entry_write(out, size - 1, &e) == size);
	CHECK(inbox_entry_write(out, size, &e) == size && memcmp(out, data, size) == 0);
	free(out);
	return 0;
}
