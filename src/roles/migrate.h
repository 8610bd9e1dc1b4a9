/* SPDX-License-Identifier: MIT */
/* construct migrate: the operator's command that brings PostgreSQL to this program's schema. */
#ifndef CONSTRUCT_ROLES_MIGRATE_H
#define CONSTRUCT_ROLES_MIGRATE_H

/* Takes the database from the environment (DATABASE_DIRECT_URL, else DATABASE_URL).
 * Returns the exit code: 0 done or nothing to do, 1 failed, 2 bad arguments, 78 bad settings. */
int migrate_main(int argc, char **argv);

#endif
