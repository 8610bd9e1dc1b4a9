/* SPDX-License-Identifier: MIT */
/* Which file the database is: who else has it, and whether it is still where its name says.
 * Private to src/io/sqlite*.c. */
#ifndef IO_SQLITE_FILE_H
#define IO_SQLITE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include <sqlite3.h>

#include <cx/err.h>

struct sqlite_file_name {
	const char *path; /* SQLite's own copy, with links followed */
	dev_t device;
	ino_t inode;
};

/* The open database and its write-ahead log. */
struct sqlite_file {
	struct sqlite_file_name db, wal;
};

/* Makes the file, private, when there is none, and takes the lock that a second process finds by
 * whatever name it knows the file.  The lock ends when *fd is closed, which drops SQLite's own locks
 * too: after its connections, or never.
 * Returns CX_EIO with the text of sqlite_db_error. */
CX_NODISCARD enum cx_err sqlite_file_lock(const char *path, int *fd);

/* Remembers what `db` has open.  Thread: main. */
void sqlite_file_note(struct sqlite_file *file, sqlite3 *db);

/* false: under the names of the database there is nothing or something else, so what is written goes
 * to files that nobody will ever open again.  One not noted is there.
 * Thread: any. */
bool sqlite_file_is_there(const struct sqlite_file *file);

#endif
