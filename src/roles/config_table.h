/* SPDX-License-Identifier: MIT */
/* params.def as a table; for the config files and secrets.c only. */
#ifndef CONSTRUCT_ROLES_CONFIG_TABLE_H
#define CONSTRUCT_ROLES_CONFIG_TABLE_H

#include "roles/config.h"

enum {
	P_SECRET = 1 << 0,
	P_HEX = 1 << 1,
	P_URL = 1 << 2,
	P_RELOAD = 1 << 3,
	P_MAX = 1 << 4,
	P_LATER = 1 << 5,
	P_RELAY = 1 << 6,
	P_SERVER = 1 << 7,
	P_GATEWAY = 1 << 8,
	P_WORKER = 1 << 9,
	P_MIGRATE = 1 << 10,
	P_NEED = 1 << 11,
	P_OWN = 1 << 12,
	P_STACK = P_SERVER | P_GATEWAY | P_WORKER,
	P_EVERY = P_STACK | P_RELAY,
};

enum config_kind {
	CONFIG_GROUP, /* a title: only `help` */
	CONFIG_INT,
	CONFIG_SIZE,
	CONFIG_BOOL,
	CONFIG_ENUM,
	CONFIG_STR,
};

struct config_param {
	enum config_kind kind;
	unsigned flags;
	size_t offset; /* in struct config */
	uint64_t min, max;
	const char *name;
	const char *preset; /* in parentheses: no literal value */
	const char *unit;   /* ENUM: the choices */
	const char *help;
};

extern const struct config_param config_params[];
extern const size_t config_param_count;

/* The entry of the variable `name`, which exists. */
const struct config_param *config_param_find(const char *name);

/* Was this variable given (not empty), itself or as NAME_FILE?  Thread: main. */
bool config_is_given(const char *name);

/* Check `text` against the entry and store it.  Strings are copied.
 * Returns true, or false after one line to `err`: the field is as before. */
CX_NODISCARD bool config_set(struct config *c, const struct config_param *p, const char *text,
                             FILE *err);

/* Rules that concern several variables, and values worked out from others (config_rules.c).
 * Returns the number of errors. */
CX_NODISCARD unsigned config_derive(struct config *c, FILE *err);

/* Remember something for the start log. */
void config_add_note(struct config *c, const char *event, const char *name);

/* Is this secret an example's text, or a pattern? */
bool config_secret_is_weak(const char *text);

/* May `text` be the value of the entry, as far as examples and secrets go?  Prints why not. */
CX_NODISCARD bool config_text_is_sound(const struct config_param *p, const char *text,
                                       FILE *err);

/* malloc that does not return NULL: without memory at boot there is nothing to save. */
void *config_alloc(size_t size);
char *config_copy(const char *text, size_t len);

#endif
