/* SPDX-License-Identifier: MIT */
#include "io/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cx/log.h>

#include "io/sqlite_schema.h"

#define APPLICATION_ID 0x436e7374 /* "Cnst" */
#define BUSY_MS 5000              /* only our own connections can hold us up */
#define LOG_BYTES (8 << 20)       /* of the write-ahead log's file from the start */

static char error_text[768];

const char *sqlite_db_error(void)
{
	return error_text;
}

enum cx_err sqlite_db_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error_text, sizeof(error_text), fmt, args);
	va_end(args);
	return CX_EIO;
}

void sqlite_db_log(sqlite3 *db, const char *what)
{
	cx_log(CX_ERROR, "sqlite.failed", "what=%s code=%d err=\"%s\"", what,
	       sqlite3_extended_errcode(db), sqlite3_errmsg(db));
}

static bool pragmas(sqlite3 *db, enum sqlite_db_role role)
{
	/* The page size acts on a new file only.  Deleted messages are overwritten where that
	 * costs no further write (FAST). */
	static const char *const writer = "PRAGMA page_size=8192;"
					  "PRAGMA auto_vacuum=NONE;"
					  "PRAGMA journal_mode=WAL;"
					  "PRAGMA synchronous=FULL;"
					  "PRAGMA wal_autocheckpoint=0;"
					  "PRAGMA cache_size=-65536;"
					  "PRAGMA foreign_keys=ON;"
					  "PRAGMA secure_delete=FAST;"
					  "PRAGMA temp_store=MEMORY;"
					  "PRAGMA mmap_size=0;";
	static const char *const reader = "PRAGMA query_only=ON;"
					  "PRAGMA wal_autocheckpoint=0;"
					  "PRAGMA cache_size=-8192;"
					  "PRAGMA temp_store=MEMORY;"
					  "PRAGMA mmap_size=0;";
	static const char *const checkpointer = "PRAGMA synchronous=FULL;"
						"PRAGMA wal_autocheckpoint=0;"
						"PRAGMA cache_size=-256;";
	const char *const text = role == SQLITE_DB_WRITER   ? writer
	                         : role == SQLITE_DB_READER ? reader
	                                                    : checkpointer;

	return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK;
}

/* SQLite makes files that everybody may read; -wal and -shm take over the mode of the database.
 * Before any connection: closing the file drops the locks that they hold on it. */
static bool make_private(const char *path)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	return fd >= 0 && close(fd) == 0;
}

enum cx_err sqlite_db_open(const char *path, enum sqlite_db_role role, sqlite3 **out)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
	int chunk =
		1 << 20; /* the file grows in steps, or each sync would store its new size */
	sqlite3 *db = NULL;

	if (role == SQLITE_DB_WRITER && !make_private(path))
		return sqlite_db_fail("cannot open the database %s: %s", path, strerror(errno));
	if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK) {
		sqlite_db_fail("cannot open the database %s: %s", path,
		               db == NULL ? "out of memory" : sqlite3_errmsg(db));
		sqlite3_close(db);
		return CX_EIO;
	}
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, BUSY_MS);
	sqlite3_file_control(db, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk);
	if (!pragmas(db, role)) {
		sqlite_db_fail("cannot use the database %s: %s", path, sqlite3_errmsg(db));
		sqlite3_close(db);
		return CX_EIO;
	}
	*out = db;
	return CX_OK;
}

/* SQLite reads the log up to the first frame that is not one: zeros end it. */
void sqlite_db_extend_log(sqlite3 *db)
{
	static const char zeros[1 << 16];
	const char *const name = sqlite3_filename_wal(sqlite3_db_filename(db, "main"));
	struct stat st;
	off_t at;
	int fd;

	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size < LOG_BYTES) {
		for (at = st.st_size; at < LOG_BYTES; at += (off_t)sizeof(zeros))
			if (pwrite(fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
				break;
		if (at < LOG_BYTES && ftruncate(fd, st.st_size) != 0)
			cx_log(CX_WARN, "sqlite.log_not_extended", "file=\"%s\"", name);
		fdatasync(fd);
	}
	close(fd);
}

static bool query_number(sqlite3 *db, const char *text, int64_t *out)
{
	sqlite3_stmt *s;
	bool ok;

	if (sqlite3_prepare_v2(db, text, -1, &s, NULL) != SQLITE_OK)
		return false;
	ok = sqlite3_step(s) == SQLITE_ROW;
	if (ok)
		*out = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return ok;
}

uint32_t sqlite_db_page_bytes(sqlite3 *db)
{
	int64_t bytes;

	return query_number(db, "PRAGMA page_size", &bytes) ? (uint32_t)bytes : 0;
}

static enum cx_err migrate_one(sqlite3 *db, const char *path, unsigned version)
{
	char *const text =
		sqlite3_mprintf("BEGIN IMMEDIATE;%s"
	                        "PRAGMA application_id=%d;PRAGMA user_version=%u;"
	                        "COMMIT;",
	                        sqlite_schema_steps[version], APPLICATION_ID, version + 1);
	const int rc = text == NULL ? SQLITE_NOMEM : sqlite3_exec(db, text, NULL, NULL, NULL);

	sqlite3_free(text);
	if (rc == SQLITE_OK)
		return CX_OK;
	sqlite_db_fail("cannot bring the database %s to schema %u: %s", path, version + 1,
	               sqlite3_errmsg(db));
	if (!sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return CX_EIO;
}

enum cx_err sqlite_db_migrate(sqlite3 *db, const char *path)
{
	int64_t version, application, tables;
	enum cx_err err;

	if (!query_number(db, "PRAGMA user_version", &version) ||
	    !query_number(db, "PRAGMA application_id", &application) ||
	    !query_number(db, "SELECT count(*) FROM sqlite_schema", &tables))
		return sqlite_db_fail("cannot read the database %s: %s", path,
		                      sqlite3_errmsg(db));
	if (application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0))
		return sqlite_db_fail("the file %s is a database of another program", path);
	if (version > SQLITE_SCHEMA_VERSION)
		return sqlite_db_fail("the database %s was written by a newer version "
		                      "(schema %lld, this program knows %d)",
		                      path, (long long)version, SQLITE_SCHEMA_VERSION);
	for (; version < SQLITE_SCHEMA_VERSION; version++) {
		err = migrate_one(db, path, (unsigned)version);
		if (err != CX_OK)
			return err;
	}
	return CX_OK;
}

enum cx_err sqlite_db_prepare(sqlite3 *db, const char *const *texts, unsigned count,
                              sqlite3_stmt **out)
{
	unsigned i;

	for (i = 0; i < count; i++)
		if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &out[i],
		                       NULL) != SQLITE_OK)
			return sqlite_db_fail("the database does not understand \"%s\": %s",
			                      texts[i], sqlite3_errmsg(db));
	return CX_OK;
}

void sqlite_db_close(sqlite3 **db, sqlite3_stmt **statements, unsigned count)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		sqlite3_finalize(statements[i]);
		statements[i] = NULL;
	}
	sqlite3_close(*db);
	*db = NULL;
}

void sqlite_bind_uuid(sqlite3_stmt *s, int at, const struct uuid *id)
{
	sqlite3_bind_blob(s, at, id->b, sizeof(id->b), SQLITE_STATIC);
}

struct uuid sqlite_column_uuid(sqlite3_stmt *s, int at)
{
	const void *const bytes = sqlite3_column_blob(s, at);
	struct uuid id = { { 0 } };

	if (bytes != NULL && sqlite3_column_bytes(s, at) == (int)sizeof(id.b))
		memcpy(id.b, bytes, sizeof(id.b));
	return id;
}

void sqlite_column_name(sqlite3_stmt *s, int at, char *out, size_t room)
{
	const unsigned char *const text = sqlite3_column_text(s, at);

	snprintf(out, room, "%s", text == NULL ? "" : (const char *)text);
}

bool sqlite_run(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	while (rc == SQLITE_ROW)
		rc = sqlite3_step(s);
	sqlite3_reset(s);
	return rc == SQLITE_DONE;
}
