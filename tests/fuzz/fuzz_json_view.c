/* SPDX-License-Identifier: MIT */
/* What the reader without a tree takes, jansson takes, with the same values, and the other way
 * round, but for what is written here. */
#include <jansson.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/json_view.h"
#include "wire/utf8.h"

enum { A, ID, FIELDS };
static const struct json_field fields[FIELDS] = {
	[A] = JSON_FIELD("a"), [ID] = JSON_FIELD("messageId")
};

static void check_value(const struct json_view *v, const json_t *other)
{
	int64_t n;

	switch (v->kind) {
	case JSON_ABSENT:
		CHECK(other == NULL || json_is_null(other));
		return;
	case JSON_TEXT: {
		uint8_t *text = exact(v->raw.len);
		const size_t len = json_view_unescape(v, text);

		CHECK(json_is_string(other) && len == json_string_length(other));
		CHECK(memcmp(text, json_string_value(other), len) == 0);
		CHECK(v->has_escapes || len == v->raw.len);
		free(text);
		return;
	}
	case JSON_NUMBER:
		CHECK(json_is_number(other));
		if (json_view_integer(v, INT64_MIN, INT64_MAX, &n))
			CHECK(json_is_integer(other) && json_integer_value(other) == n);
		else
			CHECK(!json_is_integer(other) ||
			      json_integer_value(other) == INT64_MIN);
		return;
	case JSON_BOOL:
		CHECK(json_is_boolean(other) && json_is_true(other) == json_view_is_true(v));
		return;
	case JSON_NESTED:
		CHECK(json_is_object(other) || json_is_array(other));
	}
}

static bool is_deep(const uint8_t *data, size_t size)
{
	size_t brackets = 0;

	for (size_t i = 0; i < size; i++)
		brackets += data[i] == '{' || data[i] == '[';
	return brackets > JSON_DEPTH_MAX;
}

/* Any text, written with escapes, is read back by jansson when it is UTF-8. */
static void check_escape(const uint8_t *data, size_t size)
{
	char *text = (char *)exact(JSON_ESCAPED_LEN_MAX(size) + 8);
	const size_t len = json_text_escape(wire_slice(data, size), text + 6);
	json_t *root;

	CHECK(len == json_text_escape(wire_slice(data, size), NULL));
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + 6 + len, "\"}", 2);
	root = json_loadb(text, len + 8, JSON_ALLOW_NUL, NULL);
	CHECK((root != NULL) == utf8_is_valid(wire_slice(data, size)));
	if (root != NULL) {
		const json_t *a = json_object_get(root, "a");

		CHECK(json_string_length(a) == size);
		CHECK(memcmp(json_string_value(a), data, size) == 0);
	}
	json_decref(root);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_view v[FIELDS];
	json_error_t error;
	json_t *root;
	bool is_read;

	if (data == NULL)
		return 0;
	is_read = json_view_read(wire_slice(data, size), fields, FIELDS, v);
	root = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &error);
	if (is_read && root == NULL)
		/* A number beyond a double or an integer, or an unknown field twice. */
		CHECK(json_error_code(&error) == json_error_numeric_overflow ||
		      json_error_code(&error) == json_error_duplicate_key);
	if (!is_read && root != NULL)
		/* jansson takes a NUL behind a number for white space. */
		CHECK(json_is_array(root) || is_deep(data, size) ||
		      memchr(data, '\0', size) != NULL);
	if (is_read && root != NULL) {
		for (size_t i = 0; i < FIELDS; i++) {
			check_inside(v[i].raw, data, size);
			check_value(&v[i], json_object_get(root, fields[i].name));
		}
	}
	json_decref(root);
	check_escape(data, size);
	return 0;
}
