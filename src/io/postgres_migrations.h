/* SPDX-License-Identifier: MIT */
/* The files of migrations/, built into the program by ops/embed-migrations.sh: the program and its
 * schema cannot part, and an image or a release command needs one file only. */
#ifndef IO_POSTGRES_MIGRATIONS_H
#define IO_POSTGRES_MIGRATIONS_H

#include "io/postgres_migrate.h"

extern const struct postgres_migration postgres_migrations[]; /* in order */
extern const size_t postgres_migration_count;

#endif
