/* SPDX-License-Identifier: MIT */
#include "wire/json_view.h"

#include "wire/vectors.h"

TestSuite(json_view, .timeout = 20);

enum { A, B, LONG, FIELDS };
static const struct json_field fields[FIELDS] = {
	[A] = JSON_FIELD("a"),
	[B] = JSON_FIELD("b"),
	[LONG] = JSON_FIELD("a_name_of_thirty_two_characters_"),
};

/* In memory of exactly its size, so that a read beyond it is seen. */
static bool reads(struct wire_slice text, struct json_view *values)
{
	static uint8_t *bytes;

	free(bytes);
	bytes = malloc(text.len > 0 ? text.len : 1);
	cr_assert(bytes != NULL);
	memcpy(bytes, text.at, text.len);
	return json_view_read(wire_slice(bytes, text.len), fields, FIELDS, values);
}

static bool reads_text(const char *text)
{
	struct json_view values[FIELDS];

	return reads(wire_text(text), values);
}

static void check_text(const char *json, const char *want)
{
	struct json_view v[FIELDS];
	uint8_t text[64];

	cr_assert(reads(wire_text(json), v) && v[A].kind == JSON_TEXT, "%s", json);
	cr_assert(v[A].raw.len <= sizeof(text));
	cr_assert(wire_slice_is(wire_slice(text, json_view_unescape(&v[A], text)), want), "%s",
	          json);
}

Test(json_view, fields_are_found_in_any_order_and_unknown_ones_ignored)
{
	struct json_view v[FIELDS];

	cr_assert(reads(wire_text(" { \"x\" : [1,{\"a\":2}] , \"b\":true,\"a\" : \"t\" }\r\n"),
	                v));
	cr_assert(v[A].kind == JSON_TEXT && wire_slice_is(v[A].raw, "t"));
	cr_assert(v[B].kind == JSON_BOOL && json_view_is_true(&v[B]));
	cr_assert(v[LONG].kind == JSON_ABSENT);
	cr_assert(reads(wire_text("{\"a\":null,\"b\":[],\"c\":1,\"c\":2}"), v));
	cr_assert(v[A].kind == JSON_ABSENT && v[B].kind == JSON_NESTED);
	cr_assert(reads(wire_text("{}"), v) && v[A].kind == JSON_ABSENT);
}

Test(json_view, name_with_escapes_is_the_same_name)
{
	struct json_view v[FIELDS];

	cr_assert(reads(wire_text("{\"\\u0061\":1}"), v) && v[A].kind == JSON_NUMBER);
	cr_assert(!reads_text("{\"\\u0061\":1,\"a\":2}"));
	cr_assert(!reads_text("{\"b\":null,\"b\":1}"));
	cr_assert(reads(wire_text("{\"\\u0061_name_of_thirty_two_characters_\":1}"), v));
	cr_assert(v[LONG].kind == JSON_NUMBER);
}

Test(json_view, escapes_become_what_they_stand_for)
{
	check_text("{\"a\":\"plain\"}", "plain");
	check_text("{\"a\":\"\"}", "");
	check_text("{\"a\":\"0123456789abcdef\\/+\\\\\\\"\\b\\f\\n\\r\\t\"}",
	           "0123456789abcdef/+\\\"\b\f\n\r\t");
	check_text("{\"a\":\"\\u00e9\\u20AC\\ud83d\\uDE00z\"}",
	           "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
	check_text("{\"a\":\"\xe2\x82\xac\"}", "\xe2\x82\xac");
}

Test(json_view, text_that_is_none_is_refused)
{
	static const char *const bad[] = {
		"{\"a\":\"\\u0000\"}",
		"{\"a\":\"\\ud800\"}",
		"{\"a\":\"\\udc00\"}",
		"{\"a\":\"\\x\"}",
		"{\"a\":\"\\ud800\\u0041\"}",
		"{\"a\":\"\\ud800x12345\"}",
		"{\"a\":\"\\u12g4\"}",
		"{\"a\":\"\\u12\"}",
		"{\"a\":\"\n\"}",
		"{\"a\":\"\x80\"}",
		"{\"a\":\"\xed\xa0\x80\"}",
		"{\"a\":\"",
		"{\"a\":\"\\",
		"{\"a\":\"\\u",
		"{\"a\":\"0123456789abcde\x01\"}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert(!reads_text(bad[i]), "%s", bad[i]);
	cr_assert(!reads_text("") && !json_view_read(wire_slice(NULL, 0), fields, 0, NULL));
}

/* Sixteen characters are looked at together, the rest one by one. */
Test(json_view, control_character_is_refused_wherever_it_stands)
{
	for (int c = 0; c <= 0x20; c++) {
		for (size_t at = 0; at < 40; at++) {
			char json[] = "{\"a\":\"........................................\"}";
			struct json_view values[FIELDS];

			json[6 + at] = (char)c;
			cr_assert(reads(wire_slice(json, sizeof(json) - 1), values) ==
			                  (c == 0x20),
			          "%d at %zu", c, at);
		}
	}
}

Test(json_view, grammar_is_strict)
{
	static const char *const bad[] = {
		"[]",
		"1",
		"{",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,}",
		"{,}",
		"{a:1}",
		"{\"a\" 1}",
		"{\"a\":1}x",
		"{\"a\":1}{}",
		"{\"a\":01}",
		"{\"a\":+1}",
		"{\"a\":.5}",
		"{\"a\":1.}",
		"{\"a\":1e}",
		"{\"a\":-}",
		"{\"a\":tru}",
		"{\"a\":True}",
		"{\"a\":nul}",
		"{\"a\":[1,]}",
		"{\"a\":[1}",
		"{\"a\":{1}}",
		"{\"a\":{\"b\":}}",
		"{\"a\":[,]}",
		"\xef\xbb\xbf{}",
		"{\"a\":1 2}",
		"{\"a\":1e+}",
		"{\"a\":[1 2]}",
		"{\"a\":'x'}",
		"{\"a\":NaN}",
	};
	static const char *const good[] = {
		"{\"a\":-0}",
		"{\"a\":1.5e+7}",
		"{\"a\":[[],{},\"\",null,false]}",
		"{\"a\":0E-1}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_assert(!reads_text(bad[i]), "%s", bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_assert(reads_text(good[i]), "%s", good[i]);
}

Test(json_view, nesting_has_a_limit)
{
	char text[64];

	for (int deep = 1; deep <= JSON_DEPTH_MAX; deep++) {
		/* deep arrays inside of the object, which is the first level */
		const int len = snprintf(text, sizeof(text), "{\"a\":%.*s%.*s}", deep,
		                         "[[[[[[[[[[[[[[[[[[", deep, "]]]]]]]]]]]]]]]]]]");

		cr_assert(len > 0);
		cr_assert(reads_text(text) == (deep < JSON_DEPTH_MAX), "%d", deep);
	}
}

static bool integer_of(const char *number, int64_t min, int64_t max, int64_t *out)
{
	char text[80];
	struct json_view v[FIELDS];

	snprintf(text, sizeof(text), "{\"a\":%s}", number);
	cr_assert(reads(wire_text(text), v));
	return json_view_integer(&v[A], min, max, out);
}

Test(json_view, integer_is_one_by_its_spelling_and_in_range)
{
	int64_t n = 5;

	cr_assert(integer_of("0", 0, 9, &n) && n == 0);
	cr_assert(integer_of("-12", -12, 9, &n) && n == -12);
	cr_assert(integer_of("9223372036854775807", 0, INT64_MAX, &n) && n == INT64_MAX);
	cr_assert(integer_of("-9223372036854775807", INT64_MIN, 0, &n) && n == -INT64_MAX);
	n = 5;
	cr_assert(!integer_of("9223372036854775808", 0, INT64_MAX, &n));
	cr_assert(!integer_of("92233720368547758070", 0, INT64_MAX, &n));
	cr_assert(!integer_of("18446744073709551617", 0, INT64_MAX, &n));
	cr_assert(!integer_of("10", 0, 9, &n) && !integer_of("-1", 0, 9, &n));
	cr_assert(!integer_of("1.0", 0, 9, &n) && !integer_of("1e0", 0, 9, &n));
	cr_assert(!integer_of("\"1\"", 0, 9, &n) && !integer_of("true", 0, 9, &n));
	cr_assert(!integer_of("null", 0, 9, &n) && n == 5);
}

/* jansson reads back what stood before. */
Test(json_view, escaped_text_is_read_back_by_others)
{
	char text[300], json[16 + JSON_ESCAPED_LEN_MAX(sizeof(text))];
	size_t len = 0;
	json_t *root, *a;

	for (int c = 1; c < 0x80; c++)
		text[len++] = (char)c;
	memcpy(text + len, "\xc3\xa9 0123456789abcdef\"", 20);
	len += 20;
	memcpy(json, "{\"a\":\"", 6);
	cr_assert(json_text_escape(wire_slice(text, len), NULL) <= JSON_ESCAPED_LEN_MAX(len));
	memcpy(json + 6 + json_text_escape(wire_slice(text, len), json + 6), "\"}", 3);
	root = json_loads(json, 0, NULL);
	cr_assert(root != NULL);
	a = json_object_get(root, "a");
	cr_assert(json_string_length(a) == len && memcmp(json_string_value(a), text, len) == 0);
	json_decref(root);
	cr_assert(json_text_escape(wire_slice(NULL, 0), json) == 0);
}
