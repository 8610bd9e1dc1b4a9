/* SPDX-License-Identifier: MIT */
/* The byte vectors of tests/vectors, read from the project's root. */
#ifndef TESTS_WIRE_VECTORS_H
#define TESTS_WIRE_VECTORS_H

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <jansson.h>

#include "wire/slice.h"

static inline json_t *vectors_load(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	cr_assert(root != NULL, "%s: %s", path, error.text);
	return root;
}

static inline struct wire_slice text_at(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	cr_assert(json_is_string(value), "no text under %s", key);
	return wire_slice(json_string_value(value), json_string_length(value));
}

static inline const char *name_of(const json_t *vector)
{
	return json_string_value(json_object_get(vector, "name"));
}

static inline unsigned hex_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* The bytes in memory of exactly their size, so that a read beyond them is seen. */
static inline struct wire_slice bytes_of_hex(const char *hex)
{
	const size_t len = strlen(hex) / 2;
	uint8_t *bytes = malloc(len > 0 ? len : 1);

	cr_assert(bytes != NULL);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	return wire_slice(bytes, len);
}

static inline struct wire_slice hex_at(const json_t *object, const char *key)
{
	return bytes_of_hex((const char *)text_at(object, key).at);
}

static inline void bytes_free(struct wire_slice bytes)
{
	free((void *)(uintptr_t)bytes.at);
}

#endif
