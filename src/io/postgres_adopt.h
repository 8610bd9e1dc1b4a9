/* SPDX-License-Identifier: MIT */
/* Is this database one of the system before this one, at its last version, with the tables that
 * the first migration makes? */
#ifndef IO_POSTGRES_ADOPT_H
#define IO_POSTGRES_ADOPT_H

#include <libpq-fe.h>
#include <stdio.h>

#include <cx/err.h>

/* Ask within the caller's transaction; changes nothing.  The database has _sqlx_migrations.
 * Thread: main.  Blocks: for the answers.  Keeps: nothing.
 * Returns CX_OK: all is there; CX_EPROTO: something is not, each with a line to `err`; CX_EIO: it
 * could not be asked, PQerrorMessage says why. */
CX_NODISCARD enum cx_err postgres_adopt_check(PGconn *conn, FILE *err);

#endif
