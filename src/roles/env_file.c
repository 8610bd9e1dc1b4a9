/* SPDX-License-Identifier: MIT */
#include "roles/env_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "roles/config.h"

#define FILE_BYTES_MAX (1u << 20)

struct env_file {
	const char *path;
	FILE *err;
	char *text, *at; /* zero-terminated; `at` is where we read */
	unsigned line, errors;
	char **seen; /* names, to find one that comes twice */
	size_t seen_count;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static void *checked(void *p)
{
	if (!p)
		abort(); /* out of memory at the start of a process */
	return p;
}

static void bad(struct env_file *f, unsigned line, const char *name, const char *what)
{
	fprintf(f->err, "%s:%u: %s%s%s\n", f->path, line, name, *name ? ": " : "", what);
	f->errors++;
}

/* --- the file ---------------------------------------------------------------------------- */

static ssize_t read_all(int fd, char *out, size_t room)
{
	size_t len = 0;

	while (len < room) {
		const ssize_t n = read(fd, out + len, room - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static bool open_text(struct env_file *f)
{
	const int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	const char *problem = NULL;
	ssize_t len = -1;

	f->text = checked(calloc(1, FILE_BYTES_MAX + 1));
	if (fd >= 0)
		len = read_all(fd, f->text, FILE_BYTES_MAX + 1);
	if (len < 0)
		problem = strerror(errno);
	else if (len > (ssize_t)FILE_BYTES_MAX)
		problem = "is larger than 1 MiB";
	else if (memchr(f->text, 0, (size_t)len))
		problem = "holds a NUL byte";
	if (fd >= 0)
		close(fd);
	if (!problem) {
		f->at = f->text;
		return true;
	}
	fprintf(f->err, "%s: %s\n", f->path, problem);
	f->errors++;
	return false;
}

static void skip_blanks(struct env_file *f)
{
	while (is_blank(*f->at))
		f->at++;
}

static void skip_line(struct env_file *f)
{
	f->at += strcspn(f->at, "\n");
}

/* --- values: each writes over its own text, which only gets shorter ---------------------- */

static char *plain_value(struct env_file *f)
{
	char *value = f->at, *end;

	skip_line(f);
	end = f->at;
	for (char *c = value; c + 1 < end; c++)
		if (is_blank(c[0]) && c[1] == '#')
			end = c;
	if (end > value && end[-1] == '\r')
		end--;
	while (value < end && is_blank(*value))
		value++;
	while (end > value && is_blank(end[-1]))
		end--;
	if (*f->at == '\n') { /* gone over, since the zero may come in its place */
		f->at++;
		f->line++;
	}
	*end = '\0';
	return value;
}

static char escaped(char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case '"':
	case '\\':
	case '$':
	case '`':
		return c;
	default:
		return '\0';
	}
}

/* NULL when nothing closes it. */
static char *quoted_value(struct env_file *f)
{
	const char quote = *f->at++;
	char *value = f->at, *out = value;

	for (; *f->at && *f->at != quote; f->at++) {
		if (*f->at == '\n')
			f->line++;
		if (quote == '"' && *f->at == '\\' && escaped(f->at[1])) {
			*out++ = escaped(*++f->at);
			continue;
		}
		*out++ = *f->at;
	}
	if (!*f->at)
		return NULL;
	f->at++;
	*out = '\0';
	return value;
}

/* After a closing quote: nothing, or a comment.  Leaves `at` behind the line. */
static bool rest_is_empty(struct env_file *f)
{
	const char *rest = f->at;

	skip_line(f);
	if (is_blank(*rest)) {
		while (is_blank(*rest))
			rest++;
		if (*rest == '#')
			return true;
	}
	while (rest < f->at && isspace((unsigned char)*rest))
		rest++;
	return rest == f->at;
}

/* --- lines ------------------------------------------------------------------------------- */

static char *name_at(struct env_file *f)
{
	char *name = f->at;

	if (isdigit((unsigned char)*name))
		return NULL;
	while (is_name(*f->at))
		f->at++;
	return f->at > name ? name : NULL;
}

/* The name before the =, ended there; NULL: the line is something else. */
static char *take_name(struct env_file *f)
{
	char *name, *end;

	skip_blanks(f);
	name = name_at(f);
	if (!name)
		return NULL;
	end = f->at;
	skip_blanks(f);
	if (end - name == 6 && memcmp(name, "export", 6) == 0 && f->at > end &&
	    is_name(*f->at)) {
		name = name_at(f);
		end = f->at;
		skip_blanks(f);
	}
	if (!name || *f->at != '=')
		return NULL;
	f->at++;
	*end = '\0';
	return name;
}

static bool is_seen(struct env_file *f, char *name)
{
	for (size_t i = 0; i < f->seen_count; i++)
		if (strcmp(f->seen[i], name) == 0)
			return true;
	f->seen = checked(realloc(f->seen, (f->seen_count + 1) * sizeof(*f->seen)));
	f->seen[f->seen_count++] = name; /* lies in f->text */
	return false;
}

static void store(struct env_file *f, unsigned line, char *name, const char *value)
{
	if (is_seen(f, name))
		bad(f, line, name, "comes twice");
	else if (*value && !config_has_variable(name))
		if (setenv(name, value, 1) != 0)
			abort();
}

static void take_line(struct env_file *f)
{
	const unsigned line = f->line;
	char *start = f->at, *name = take_name(f), *value;

	if (!name) {
		bad(f, line, "", "is not NAME=value");
		f->at = start;
		skip_line(f);
		return;
	}
	value = f->at;
	skip_blanks(f);
	if (*f->at != '\'' && *f->at != '"') {
		f->at = value;
		store(f, line, name, plain_value(f));
		return;
	}
	value = quoted_value(f);
	if (!value) {
		bad(f, line, name, "no closing quote");
		return;
	}
	store(f, line, name, value);
	if (!rest_is_empty(f))
		bad(f, line, name, "text after the closing quote");
}

/* Nothing but white space, or a comment. */
static bool is_comment(const char *at)
{
	while (*at != '\n' && isspace((unsigned char)*at))
		at++;
	return *at == '\0' || *at == '\n' || *at == '#';
}

unsigned env_file_load(const char *path, FILE *err)
{
	struct env_file f = { .path = path, .err = err, .line = 1 };

	if (open_text(&f)) {
		while (*f.at) {
			if (*f.at == '\n') {
				f.line++;
				f.at++;
			} else if (is_comment(f.at)) {
				skip_line(&f);
			} else {
				take_line(&f);
			}
		}
	}
	explicit_bzero(f.text, FILE_BYTES_MAX + 1);
	free(f.text);
	free(f.seen);
	return f.errors;
}
