/* SPDX-License-Identifier: MIT */
#include "io/sqlite_schema.h"

/* Ids are 16 bytes, times are Unix milliseconds. */
static const char step_1[] =
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"

	/* accounts */
	"CREATE TABLE users(id BLOB PRIMARY KEY, username TEXT NOT NULL UNIQUE,"
	" password_hash TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE key_bundles(user_id BLOB PRIMARY KEY"
	" REFERENCES users(id) ON DELETE CASCADE,"
	" master_identity_key BLOB NOT NULL, bundle_data BLOB NOT NULL, signature BLOB NOT "
	"NULL,"
	" registered_at INTEGER NOT NULL, updated_at INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE device_tokens(id BLOB PRIMARY KEY,"
	" user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,"
	" device_token_hash BLOB NOT NULL, device_token_encrypted BLOB NOT NULL,"
	" device_name_encrypted BLOB, notification_filter TEXT NOT NULL DEFAULT 'silent',"
	" enabled INTEGER NOT NULL DEFAULT 1, created_date TEXT NOT NULL,"
	" UNIQUE(user_id, device_token_hash)) WITHOUT ROWID;"
	"CREATE TABLE sessions(jti BLOB PRIMARY KEY,"
	" user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,"
	" expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX sessions_by_user ON sessions(user_id);"
	"CREATE INDEX sessions_by_expiry ON sessions(expires_ms);"

	/* limits: `level` is a count (fixed window) or tokens missing times window (bucket) */
	"CREATE TABLE limits(key BLOB PRIMARY KEY, level INTEGER NOT NULL,"
	" since_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE blocks(key BLOB PRIMARY KEY, set_ms INTEGER NOT NULL,"
	" until_ms INTEGER NOT NULL) WITHOUT ROWID;"

	/* the log: a row for each committed batch, later one for each entry that waits for long */
	"CREATE TABLE segment(id INTEGER PRIMARY KEY, data BLOB NOT NULL);"
	"CREATE TABLE segment_damaged(id INTEGER, found_ms INTEGER NOT NULL, data BLOB);"
	"CREATE TABLE inbox(id INTEGER PRIMARY KEY, owner BLOB NOT NULL, kind INTEGER NOT NULL,"
	" peer BLOB NOT NULL, key BLOB NOT NULL, key_case INTEGER NOT NULL,"
	" wall_ms INTEGER NOT NULL, frame_len INTEGER NOT NULL, frame BLOB NOT NULL);"
	"CREATE INDEX inbox_by_owner ON inbox(owner, id, kind, frame_len);"
	"CREATE TABLE dedup(id INTEGER PRIMARY KEY, hour INTEGER NOT NULL, hashes BLOB NOT "
	"NULL);";

const char *const sqlite_schema_steps[SQLITE_SCHEMA_VERSION] = { step_1 };
