/* SPDX-License-Identifier: MIT */
/* The schema, as steps from one version to the next (PRAGMA user_version).  A step that has been
 * released is never changed.  The tables are those of the PostgreSQL schema in SQLite's
 * dialect, and those of the log. */
#ifndef IO_SQLITE_SCHEMA_H
#define IO_SQLITE_SCHEMA_H

#define SQLITE_SCHEMA_VERSION 1

extern const char *const sqlite_schema_steps[SQLITE_SCHEMA_VERSION];

#endif
