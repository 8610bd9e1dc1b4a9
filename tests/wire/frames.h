/* SPDX-License-Identifier: MIT */
/* Client frames for the tests, decoded from memory of exactly their size. */
#ifndef TESTS_WIRE_FRAMES_H
#define TESTS_WIRE_FRAMES_H

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "wire/client_frame.h"
#include "wire/pack.h"

/* Decodes a copy of exactly the frame's size, so that a read beyond it is seen. */
static inline enum error_code decode(const struct pack *p, struct client_frame *out)
{
	static uint8_t *copy;

	cr_assert(p->len <= p->room);
	free(copy);
	copy = malloc(p->len > 0 ? p->len : 1);
	memcpy(copy, p->out, p->len);
	return client_frame_decode(copy, p->len, out);
}

#endif
