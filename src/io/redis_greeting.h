/* SPDX-License-Identifier: MIT */
/* What an adapter asks a server first on each connection: who it is (INFO), its scripts (SCRIPT
 * LOAD), and, for the doctor, whether it keeps what it holds (CONFIG GET; may be refused). */
#ifndef IO_REDIS_GREETING_H
#define IO_REDIS_GREETING_H

#include "io/redis_link.h"

#define REDIS_SHA_LEN 40

struct redis_greeting {
	const struct redis_script *scripts; /* borrowed */
	uint32_t script_count;
	bool is_doctor;
	struct cx_ref owner;           /* of REDIS_CHANGED */
	const struct cx_ref *owner_at; /* as in redis_conf */
	uint32_t asked, answered;
	uint64_t asked_ms;
	bool has_warned;
	char run_id[REDIS_RUN_ID_LEN + 1];              /* empty: not known yet */
	char sha[REDIS_SCRIPTS_MAX][REDIS_SHA_LEN + 1]; /* empty: not loaded, use EVAL */
};

/* Put the questions.  Returns how many replies there will be. */
void redis_greeting_put(struct cx_ctx *ctx, struct redis_greeting *greeting,
                        struct redis_link *link);
static inline bool redis_greeting_is_due(const struct redis_greeting *greeting)
{
	return greeting->answered < greeting->asked;
}
/* The next reply to them; nothing in it can be wrong enough to end the connection. */
void redis_greeting_take(struct cx_ctx *ctx, struct redis_greeting *greeting,
                         struct redis_walk walk);

#endif
