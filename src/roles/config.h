/* SPDX-License-Identifier: MIT */
/* Configuration: the environment, read once, checked as a whole before anything is opened.
 * The variables, their limits and their meaning: include/construct/params.def. */
#ifndef CONSTRUCT_ROLES_CONFIG_H
#define CONSTRUCT_ROLES_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cx/err.h>

/* Values of ENUM fields, in the order of their choices in params.def. */
enum config_log_level { CONFIG_LOG_DEBUG, CONFIG_LOG_INFO, CONFIG_LOG_WARN, CONFIG_LOG_ERROR };
enum config_log_format { CONFIG_LOG_TEXT, CONFIG_LOG_JSON };
enum config_key_bundle_verify { CONFIG_VERIFY_STRICT, CONFIG_VERIFY_OFF };
enum config_ack_mode { CONFIG_ACK_EMBEDDED, CONFIG_ACK_KAFKA, CONFIG_ACK_OFF };

/* File descriptors that are not clients': listeners, files, loops, logs, handshakes. */
#define CONFIG_FD_RESERVE 512

typedef uint32_t config_int;
typedef uint64_t config_size;
typedef bool config_bool;
typedef unsigned config_enum;
typedef const char *config_str;

#define CONFIG_FIELD_INT config_int
#define CONFIG_FIELD_SIZE config_size
#define CONFIG_FIELD_BOOL config_bool
#define CONFIG_FIELD_ENUM config_enum
#define CONFIG_FIELD_STR config_str

/* Something the operator should know, though nothing is wrong: for the start log. */
struct config_note {
	const char *event; /* of the log line */
	char *name;        /* of the variable */
};

struct config {
#define PARAM_GROUP(title)
#define PARAM(kind, field, ...) CONFIG_FIELD_##kind field;
#include <construct/params.def>
#undef PARAM
#undef PARAM_GROUP

	/* Worked out from the above. */
	bool embedded;         /* every backend is the SQLite file */
	char *db_path;         /* of the SQLite file, or NULL */
	char *data_dir;        /* its folder, or NULL: holds generated secrets too */
	bool has_sasl;         /* KAFKA_SASL_MECHANISM was given */
	bool top_socket_given; /* somebody chose TOP_SOCKET: it must work */

	const char *trace_file; /* of the command line, or NULL; not ours to free */

	struct config_note *notes;
	size_t note_count;
};

/* Read and check the environment.  Prints one line for each error to `err`, all of them, each
 * naming its variable; opens nothing but NAME_FILE files and creates nothing.
 * Thread: main, before others run.  Keeps: nothing.
 * Returns how many errors there were; config_free is due in any case. */
CX_NODISCARD unsigned config_load(struct config *c, FILE *err);

/* The P_ bit (config_table.h) of "all", "server", "gateway" or "worker"; 0: no such role. */
unsigned config_role_flag(const char *role);

/* Can `role` ("all", "server", "gateway", "worker", "echo") run with this in this build?  Prints what cannot.
 * Returns how many variables stand in the way. */
CX_NODISCARD unsigned config_check_role(const struct config *c, const char *role, FILE *err);

/* Is there a variable of that name, ours or not, that is not empty? */
bool config_has_variable(const char *name);

/* The variable TERM: what the terminal understands; NULL: unset or empty.  Thread: main. */
const char *config_terminal(void);

/* Give back what config_load took; secrets are wiped. */
void config_free(struct config *c);

/* For people: the table as --help text, as docs/params.md, as .env.example; the effective
 * values of what `role` (a P_ bit) uses, secrets masked. */
void config_print_help(FILE *out);
void config_print_markdown(FILE *out);
void config_print_env_example(FILE *out);
void config_print_values(const struct config *c, unsigned role, FILE *out);

#endif
