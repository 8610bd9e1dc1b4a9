/* SPDX-License-Identifier: MIT */
#include "wire/json_view.h"

#include "wire/utf8.h"

/* All of it is known to be UTF-8: bytes above 0x7f need no look inside texts, and outside of them they
 * are no grammar. */
struct reader {
	const uint8_t *at, *end;
};

static void skip_space(struct reader *r)
{
	while (r->at < r->end &&
	       (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool take(struct reader *r, uint8_t c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool take_word(struct reader *r, const char *word, size_t len)
{
	if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
		return false;
	r->at += len;
	return true;
}

static bool read_text(struct reader *r, struct json_view *v)
{
	if (!take(r, '"'))
		return false;
	v->kind = JSON_TEXT;
	return json_text_take(&r->at, r->end, &v->raw, &v->has_escapes);
}

/* ---- values ---- */

static bool take_digits(struct reader *r)
{
	const uint8_t *start = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > start;
}

static bool skip_number(struct reader *r)
{
	(void)take(r, '-');
	if (!take(r, '0') && !take_digits(r))
		return false;
	if (take(r, '.') && !take_digits(r))
		return false;
	if (take(r, 'e') || take(r, 'E')) {
		if (!take(r, '+'))
			(void)take(r, '-');
		return take_digits(r);
	}
	return true;
}

/* A text, number, true, false or null. */
static bool read_scalar(struct reader *r, struct json_view *v)
{
	const uint8_t *start = r->at;
	bool ok;

	if (start == r->end)
		return false;
	switch (*start) {
	case '"':
		return read_text(r, v);
	case 't':
		v->kind = JSON_BOOL;
		ok = take_word(r, "true", 4);
		break;
	case 'f':
		v->kind = JSON_BOOL;
		ok = take_word(r, "false", 5);
		break;
	case 'n':
		v->kind = JSON_ABSENT;
		ok = take_word(r, "null", 4);
		break;
	default:
		v->kind = JSON_NUMBER;
		ok = skip_number(r);
	}
	v->has_escapes = false;
	v->raw = wire_slice(start, (size_t)(r->at - start));
	return ok;
}

/* The name of a member and its colon. */
static bool read_name(struct reader *r, struct json_view *name)
{
	skip_space(r);
	if (!read_text(r, name))
		return false;
	skip_space(r);
	return take(r, ':');
}

/* Where a walk through nested values is. */
struct levels {
	int depth;
	uint32_t objects; /* bit 0: the innermost is an object; the next ones outside of it */
};

static uint8_t closing(const struct levels *l)
{
	return (l->objects & 1) != 0 ? '}' : ']';
}

/* Before the next value of the innermost level. */
static bool begin_value(struct reader *r, const struct levels *l)
{
	struct json_view ignored;

	return (l->objects & 1) == 0 || read_name(r, &ignored);
}

/* Behind a value: closes what ends here, down to the depth of the object, or comes before the next
 * value. */
static bool end_value(struct reader *r, struct levels *l)
{
	while (l->depth > 1) {
		skip_space(r);
		if (take(r, ','))
			return begin_value(r, l);
		if (!take(r, closing(l)))
			return false;
		l->objects >>= 1;
		l->depth--;
	}
	return true;
}

/* The object or array at r->at, a member of the object, with all that is in it.  No recursion: its
 * depth would be the peer's. */
static bool skip_nested(struct reader *r)
{
	struct levels l = { .depth = 1 };
	struct json_view ignored;

	do {
		skip_space(r);
		if (take(r, '{')) {
			l.objects = l.objects << 1 | 1;
		} else if (take(r, '[')) {
			l.objects <<= 1;
		} else {
			if (!read_scalar(r, &ignored) || !end_value(r, &l))
				return false;
			continue;
		}
		if (++l.depth > JSON_DEPTH_MAX)
			return false;
		skip_space(r);
		/* An empty level ends at once, another begins with a value. */
		if (r->at < r->end && *r->at == closing(&l) ? !end_value(r, &l)
		                                            : !begin_value(r, &l))
			return false;
	} while (l.depth > 1);
	return true;
}

/* One value of the object, with the space around it. */
static bool read_value(struct reader *r, struct json_view *v)
{
	const uint8_t *start;
	bool ok;

	skip_space(r);
	start = r->at;
	if (start < r->end && (*start == '{' || *start == '[')) {
		ok = skip_nested(r);
		v->kind = JSON_NESTED;
		v->has_escapes = false;
		v->raw = wire_slice(start, (size_t)(r->at - start));
	} else {
		ok = read_scalar(r, v);
	}
	skip_space(r);
	return ok;
}

/* ---- the object ---- */

static bool is_name(const struct json_view *key, const struct json_field *field)
{
	uint8_t name[6 * JSON_NAME_MAX]; /* "\u0061" is the longest way to write a character */
	struct wire_slice text = key->raw;

	if (key->has_escapes) {
		if (text.len > 6 * field->len)
			return false;
		text = wire_slice(name, json_view_unescape(key, name));
	}
	return text.len == field->len && memcmp(text.at, field->name, text.len) == 0;
}

/* The key's place in the table, or count.  *next is where the one after the last was. */
static size_t find(const struct json_view *key, const struct json_field *fields, size_t count,
                   size_t *next)
{
	size_t i = *next;

	for (size_t tried = 0; tried < count; tried++, i++) {
		if (i >= count)
			i = 0;
		if (is_name(key, &fields[i])) {
			*next = i + 1;
			return i;
		}
	}
	return count;
}

static bool read_members(struct reader *r, const struct json_field *fields, size_t count,
                         struct json_view *values)
{
	uint32_t seen = 0;
	size_t next = 0;

	do {
		struct json_view key, value;
		size_t i;

		if (!read_name(r, &key) || !read_value(r, &value))
			return false;
		i = find(&key, fields, count, &next);
		if (i == count)
			continue;
		if ((seen >> i & 1) != 0)
			return false;
		seen |= UINT32_C(1) << i;
		values[i] = value;
	} while (take(r, ','));
	return take(r, '}');
}

bool json_view_read(struct wire_slice text, const struct json_field *fields, size_t count,
                    struct json_view *values)
{
	struct reader r;

	if (text.len == 0 || !utf8_is_valid(text))
		return false;
	r = (struct reader){ .at = text.at, .end = text.at + text.len };
	memset(values, 0, count * sizeof(*values));
	skip_space(&r);
	if (!take(&r, '{'))
		return false;
	skip_space(&r);
	if (!take(&r, '}') && !read_members(&r, fields, count, values))
		return false;
	skip_space(&r);
	return r.at == r.end;
}

bool json_view_integer(const struct json_view *v, int64_t min, int64_t max, int64_t *out)
{
	const bool is_negative = v->raw.len > 0 && v->raw.at[0] == '-';
	uint64_t n = 0;
	int64_t value;

	if (v->kind != JSON_NUMBER)
		return false;
	for (size_t i = is_negative; i < v->raw.len; i++) {
		const uint8_t c = v->raw.at[i];

		if (c < '0' || c > '9' || n > (uint64_t)INT64_MAX / 10)
			return false;
		n = n * 10 + (uint64_t)(c - '0');
	}
	/* The least of all, -2^63, is not taken: nobody means it. */
	if (n > (uint64_t)INT64_MAX)
		return false;
	value = is_negative ? -(int64_t)n : (int64_t)n;
	if (value < min || value > max)
		return false;
	*out = value;
	return true;
}
