/* SPDX-License-Identifier: MIT */
/* What the fuzz targets share.  libFuzzer hands each input over in memory of exactly its size, so
 * a read beyond it is seen. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. */
#define CHECK(property)                                                                \
	do {                                                                           \
		if (!(property)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #property); \
			abort();                                                       \
		}                                                                      \
	} while (0)

/* Borrowed bytes must be borrowed from the input. */
static inline void check_inside(struct wire_slice s, const uint8_t *data, size_t size)
{
	CHECK(s.at == NULL ||
	      (s.at >= data && s.at <= data + size && s.len <= (size_t)(data + size - s.at)));
}

/* Memory of exactly len bytes. */
static inline uint8_t *exact(size_t len)
{
	uint8_t *at = malloc(len > 0 ? len : 1);

	CHECK(at != NULL);
	return at;
}

#endif
