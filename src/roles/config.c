/* SPDX-License-Identifier: MIT */
#include "roles/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "roles/config_table.h"

#define SECRET_FILE_MAX 65536

const struct config_param config_params[] = {
#define PARAM_GROUP(title) { .kind = CONFIG_GROUP, .help = (title) },
#define PARAM(kind_, field_, name_, min_, max_, preset_, unit_, flags_, help_) \
	{ .kind = CONFIG_##kind_,                                              \
	  .flags = (flags_),                                                   \
	  .offset = offsetof(struct config, field_),                           \
	  .min = (min_),                                                       \
	  .max = (max_),                                                       \
	  .name = (name_),                                                     \
	  .preset = (preset_),                                                 \
	  .unit = (unit_),                                                     \
	  .help = (help_) },
#include <construct/params.def>
#undef PARAM
#undef PARAM_GROUP
};
const size_t config_param_count = sizeof(config_params) / sizeof(config_params[0]);

/* Variables of the system that this one replaces, which mean nothing here. */
static const char *const without_effect[] = {
	"DELIVERY_POLL_INTERVAL_MS", "SHADOW_READ_ENABLED", "KEY_BUNDLE_CACHE_HOURS",
	"PREKEY_TTL_DAYS",           "PREKEY_MIN_TTL_DAYS", "PREKEY_MAX_TTL_DAYS",
	"REFRESH_TOKEN_TTL_DAYS",
};

void *config_alloc(size_t size)
{
	void *p = calloc(1, size);

	if (!p) {
		fputs("construct: out of memory\n", stderr);
		abort();
	}
	return p;
}

char *config_copy(const char *text, size_t len)
{
	char *copy = config_alloc(len + 1);

	memcpy(copy, text, len);
	return copy;
}

const struct config_param *config_param_find(const char *name)
{
	for (size_t i = 0; i < config_param_count; i++) {
		if (config_params[i].name && strcmp(config_params[i].name, name) == 0)
			return &config_params[i];
	}
	abort(); /* a typing error in our own code */
}

void config_add_note(struct config *c, const char *event, const char *name)
{
	struct config_note *more = realloc(c->notes, (c->note_count + 1) * sizeof(*more));

	if (!more)
		abort();
	more[c->note_count].event = event;
	more[c->note_count].name = config_copy(name, strlen(name));
	c->notes = more;
	c->note_count++;
}

/* --- one value ------------------------------------------------------------------------- */

static void *field_of(struct config *c, const struct config_param *p)
{
	return (char *)c + p->offset;
}

/* Every string of struct config is a copy of our own. */
static void wipe(const char *text)
{
	char *own = (char *)text;

	if (own)
		explicit_bzero(own, strlen(own));
	free(own);
}

/* Digits only: strtoull alone would take signs, spaces and trailing text. */
static bool parse_number(const char *text, uint64_t *out, const char **rest)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	*rest = end;
	return errno == 0;
}

static bool parse_size(const char *text, uint64_t *out)
{
	static const char *const units[] = { "", "K", "M", "G", "KiB", "MiB", "GiB" };
	static const unsigned shifts[] = { 0, 10, 20, 30, 10, 20, 30 };
	const char *rest;

	if (!parse_number(text, out, &rest))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcasecmp(rest, units[i]) != 0)
			continue;
		if (*out > UINT64_MAX >> shifts[i])
			return false;
		*out <<= shifts[i];
		return true;
	}
	return false;
}

static bool set_number(struct config *c, const struct config_param *p, const char *text,
                       FILE *err)
{
	uint64_t value = 0;
	const char *rest = "";
	bool ok;

	if ((p->flags & P_MAX) && strcasecmp(text, "max") == 0) {
		value = p->max;
		ok = true;
	} else if (p->kind == CONFIG_SIZE) {
		ok = parse_size(text, &value);
	} else {
		ok = parse_number(text, &value, &rest) && *rest == '\0';
	}
	if (!ok || value < p->min || value > p->max) {
		fprintf(err, "%s: '%.40s' is not a %s from %llu to %llu\n", p->name, text,
		        p->kind == CONFIG_SIZE ? "size (bytes, or with K, M, G)" : "number",
		        (unsigned long long)p->min, (unsigned long long)p->max);
		return false;
	}
	if (p->kind == CONFIG_SIZE)
		*(uint64_t *)field_of(c, p) = value;
	else
		*(uint32_t *)field_of(c, p) = (uint32_t)value;
	return true;
}

static bool set_bool(struct config *c, const struct config_param *p, const char *text,
                     FILE *err)
{
	static const char *const words[] = {
		"false", "true", "0", "1", "no", "yes", "off", "on"
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*(bool *)field_of(c, p) = i & 1;
			return true;
		}
	}
	fprintf(err, "%s: '%.40s' is neither true nor false\n", p->name, text);
	return false;
}

static bool set_enum(struct config *c, const struct config_param *p, const char *text,
                     FILE *err)
{
	const char *choice = p->unit;

	for (unsigned i = 0;; i++) {
		const size_t len = strcspn(choice, "|");

		if (strlen(text) == len && strncasecmp(choice, text, len) == 0) {
			*(unsigned *)field_of(c, p) = i;
			return true;
		}
		if (choice[len] == '\0')
			break;
		choice += len + 1;
	}
	fprintf(err, "%s: '%.40s' is none of %s\n", p->name, text, p->unit);
	return false;
}

static bool set_text(struct config *c, const struct config_param *p, const char *text,
                     FILE *err)
{
	const size_t len = strlen(text);
	const char **field = field_of(c, p);

	if (len < p->min || len > p->max) {
		if (p->min == p->max)
			fprintf(err, "%s: has %zu characters, must have %llu\n", p->name, len,
			        (unsigned long long)p->min);
		else
			fprintf(err, "%s: has %zu characters, must have %llu to %llu\n",
			        p->name, len, (unsigned long long)p->min,
			        (unsigned long long)p->max);
		return false;
	}
	if (!config_text_is_sound(p, text, err))
		return false;
	wipe(*field);
	*field = config_copy(text, len);
	return true;
}

bool config_set(struct config *c, const struct config_param *p, const char *text, FILE *err)
{
	switch (p->kind) {
	case CONFIG_INT:
	case CONFIG_SIZE:
		return set_number(c, p, text, err);
	case CONFIG_BOOL:
		return set_bool(c, p, text, err);
	case CONFIG_ENUM:
		return set_enum(c, p, text, err);
	case CONFIG_STR:
		return set_text(c, p, text, err);
	case CONFIG_GROUP:
		break;
	}
	abort();
}

/* --- the environment: the only place that reads it ---------------------------------------- */

/* NULL when unset or empty: compose files and unit files set variables to nothing. */
static const char *given(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static void name_file(const char *name, char out[static 80])
{
	snprintf(out, 80, "%s_FILE", name);
}

bool config_has_variable(const char *name)
{
	return given(name) != NULL;
}

const char *config_terminal(void)
{
	return given("TERM");
}

bool config_is_given(const char *name)
{
	char file[80];

	name_file(name, file);
	return given(name) || ((config_param_find(name)->flags & P_SECRET) && given(file));
}

static char *trimmed(const char *text, size_t len)
{
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	while (len > 0 && isspace((unsigned char)*text)) {
		text++;
		len--;
	}
	return config_copy(text, len);
}

static char *read_secret_file(const char *name, const char *path, FILE *err)
{
	char *buf = config_alloc(SECRET_FILE_MAX + 1), *text = NULL;
	const char *problem = NULL;
	ssize_t len = -1;
	const int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		len = read(fd, buf, SECRET_FILE_MAX + 1);
	}
	if (len < 0)
		problem = strerror(errno);
	else if (len > SECRET_FILE_MAX)
		problem = "is larger than a secret can be";
	else if (memchr(buf, 0, (size_t)len))
		problem = "holds a zero byte";
	else
		text = trimmed(buf, (size_t)len);
	if (fd >= 0)
		close(fd);
	if (text && !*text) {
		free(text);
		text = NULL;
		problem = "is empty";
	}
	if (problem)
		fprintf(err, "%s_FILE: %s: %s\n", name, path, problem);
	explicit_bzero(buf, SECRET_FILE_MAX + 1);
	free(buf);
	return text;
}

/* The variable's text from the environment or its file; *errors grows on failure. */
static char *fetch(const struct config_param *p, unsigned *errors, FILE *err)
{
	const char *value = given(p->name), *path = NULL;
	char file[80], *text;

	if (p->flags & P_SECRET) {
		name_file(p->name, file);
		path = given(file);
	}
	if (value && path) {
		fprintf(err, "%s: both %s and %s are set\n", p->name, p->name, file);
		++*errors;
		return NULL;
	}
	if (!path)
		return value ? trimmed(value, strlen(value)) : NULL;
	text = read_secret_file(p->name, path, err);
	if (!text)
		++*errors;
	return text;
}

/* "info,hyper=warn" means info: the first part that is a level and not one module's. */
static const char *rust_log_level(void)
{
	static const char *const words[][2] = {
		{ "trace", "debug" }, { "debug", "debug" }, { "info", "info" },
		{ "warn", "warn" },   { "error", "error" }, { "off", "error" },
	};
	const char *at = given("RUST_LOG");

	while (at && *at) {
		const size_t len = strcspn(at, ",");

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			if (strlen(words[i][0]) == len &&
			    strncasecmp(at, words[i][0], len) == 0)
				return words[i][1];
		}
		at += len + (at[len] == ',');
	}
	return NULL;
}

static unsigned load_param(struct config *c, const struct config_param *p, FILE *err)
{
	unsigned errors = 0;
	char *text;

	if (*p->preset != '(' && !config_set(c, p, p->preset, err))
		abort(); /* the table contradicts itself */
	text = fetch(p, &errors, err);
	if (!text)
		return errors;
	if (*text && !config_set(c, p, text, err))
		errors++;
	if (*text && (p->flags & P_LATER))
		config_add_note(c, "config.not_in_this_build", p->name);
	wipe(text);
	return errors;
}

unsigned config_load(struct config *c, FILE *err)
{
	unsigned errors = 0;
	const char *level;

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < config_param_count; i++) {
		if (config_params[i].kind != CONFIG_GROUP)
			errors += load_param(c, &config_params[i], err);
	}
	level = given("LOG_LEVEL") ? NULL : rust_log_level();
	if (level && !config_set(c, config_param_find("LOG_LEVEL"), level, err))
		errors++;
	for (size_t i = 0; i < sizeof(without_effect) / sizeof(without_effect[0]); i++) {
		if (given(without_effect[i]))
			config_add_note(c, "config.without_effect", without_effect[i]);
	}
	return errors + config_derive(c, err);
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < config_param_count; i++) {
		if (config_params[i].kind == CONFIG_STR)
			wipe(*(const char **)field_of(c, &config_params[i]));
	}
	for (size_t i = 0; i < c->note_count; i++)
		free(c->notes[i].name);
	free(c->notes);
	free(c->db_path);
	free(c->data_dir);
	memset(c, 0, sizeof(*c));
}
