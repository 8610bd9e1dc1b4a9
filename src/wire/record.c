/* SPDX-License-Identifier: MIT */
#include "wire/record.h"

#include <string.h>

const struct record *record_next(const uint8_t **at, const uint8_t *end, bool *torn)
{
	const size_t left = (size_t)(end - *at);
	const struct record *r = (const struct record *)(const void *)*at;

	*torn = false;
	if (left == 0)
		return NULL;
	if (left < sizeof(*r) || r->size > left || r->size < sizeof(*r) || r->size % 8 != 0 ||
	    record_size(r->frame_len) != r->size) {
		*torn = true;
		return NULL;
	}
	*at += r->size;
	return r;
}

size_t record_write(uint8_t *at, const struct record *head, const void *frame, size_t frame_len)
{
	const size_t size = record_size(frame_len);
	struct record *r = (struct record *)(void *)at;

	*r = *head;
	r->size = (uint32_t)size;
	r->frame_len = (uint32_t)frame_len;
	if (frame_len > 0)
		memcpy(r->frame, frame, frame_len);
	memset(r->frame + frame_len, 0, size - sizeof(*r) - frame_len);
	return size;
}
