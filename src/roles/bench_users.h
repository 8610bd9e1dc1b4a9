/* SPDX-License-Identifier: MIT */
/* The users of a run: registered before it, or taken from a file, deleted after it. */
#ifndef CONSTRUCT_ROLES_BENCH_USERS_H
#define CONSTRUCT_ROLES_BENCH_USERS_H

#include <stdbool.h>

#include "roles/bench_run.h"

/* Fills run->users with run->user_count users who have a session: those of the file first
 * (checked, renewed where the server does not know them), then new ones.  Blocks.
 * Returns false with run->failure set.  What was registered until then is in the table. */
bool bench_users_prepare(struct bench_run *run);

/* Deletes the accounts; says how many it could not.  Blocks. */
uint32_t bench_users_delete(struct bench_run *run);

void bench_users_free(struct bench_run *run);

#endif
