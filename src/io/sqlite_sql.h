/* SPDX-License-Identifier: MIT */
/* Every statement, prepared once: X(name, text). */
#ifndef IO_SQLITE_SQL_H
#define IO_SQLITE_SQL_H

#define SQLITE_WRITER_SQL(X)                                                                   \
	X(BEGIN, "BEGIN IMMEDIATE")                                                            \
	X(COMMIT, "COMMIT")                                                                    \
	X(ROLLBACK, "ROLLBACK")                                                                \
	X(SAVEPOINT, "SAVEPOINT op")                                                           \
	X(RELEASE, "RELEASE op")                                                               \
	X(ROLLBACK_TO, "ROLLBACK TO op")                                                       \
	X(META_PUT, "INSERT INTO meta(name, value) VALUES(?1, ?2)"                             \
	            " ON CONFLICT(name) DO UPDATE SET value = excluded.value")                 \
	X(META_GET, "SELECT value FROM meta WHERE name = ?1")                                  \
	X(SEGMENT_PUT, "INSERT INTO segment(id, data) VALUES(?1, ?2)")                         \
	X(SEGMENT_GET, "SELECT data FROM segment WHERE id = ?1")                               \
	X(SEGMENT_LIST, "SELECT id FROM segment ORDER BY id")                                  \
	X(SEGMENT_DELETE, "DELETE FROM segment WHERE id <= ?1")                                \
	X(SEGMENT_DAMAGED, "INSERT INTO segment_damaged(id, found_ms, data)"                   \
	                   " SELECT id, ?2, data FROM segment WHERE id = ?1")                  \
	X(DAMAGED_SWEEP, "DELETE FROM segment_damaged WHERE found_ms < ?1")                    \
	X(ROW_PUT,                                                                             \
	  "INSERT INTO inbox(id, owner, kind, peer, key, key_case, wall_ms, frame_len,"        \
	  " frame) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")                                \
	X(ROW_SETTLE, "DELETE FROM inbox WHERE id = ?1 AND owner = ?2 AND kind = 1"            \
	              " RETURNING frame_len")                                                  \
	X(ROW_RECEIPTS_DONE, "DELETE FROM inbox WHERE owner = ?1 AND id <= ?2 AND kind = 2")   \
	X(ROW_RECEIPTS_DROP, "DELETE FROM inbox WHERE id IN (SELECT id FROM inbox"             \
	                     " WHERE owner = ?1 AND kind = 2 ORDER BY id LIMIT ?2)"            \
	                     " RETURNING id")                                                  \
	X(ROW_USER_GONE, "DELETE FROM inbox WHERE owner = ?1")                                 \
	X(ROW_OLDEST, "SELECT id, owner, kind, frame_len, wall_ms FROM inbox"                  \
	              " ORDER BY id LIMIT ?1")                                                 \
	X(ROW_DELETE, "DELETE FROM inbox WHERE id = ?1")                                       \
	X(ROW_LAST, "SELECT max(id) FROM inbox")                                               \
	X(ROW_SUMS, "SELECT owner, sum(kind = 1), sum(iif(kind = 1, frame_len, 0)),"           \
	            " sum(kind = 2) FROM inbox INDEXED BY inbox_by_owner GROUP BY owner")      \
	X(DEDUP_PUT, "INSERT INTO dedup(hour, hashes) VALUES(?1, ?2)")                         \
	X(DEDUP_ALL, "SELECT hour, hashes FROM dedup ORDER BY id")                             \
	X(DEDUP_OLDEST, "SELECT id, hour FROM dedup ORDER BY id LIMIT 64")                     \
	X(DEDUP_DELETE, "DELETE FROM dedup WHERE id <= ?1")                                    \
	X(USER_PUT, "INSERT INTO users(id, username, password_hash) VALUES(?1, ?2, ?3)")       \
	X(USER_NAMED, "SELECT 1 FROM users WHERE username = ?1")                               \
	X(USER_DELETE, "DELETE FROM users WHERE id = ?1"                                       \
	               " AND (?2 IS NULL OR password_hash = ?2)")                              \
	X(USER_PASSWORD, "UPDATE users SET password_hash = ?2 WHERE id = ?1"                   \
	                 " AND (?3 IS NULL OR password_hash = ?3)")                            \
	X(BUNDLE_PUT, "INSERT INTO key_bundles(user_id, master_identity_key, bundle_data,"     \
	              " signature, registered_at, updated_at) SELECT id, ?2, ?3, ?4, ?5, ?5"   \
	              " FROM users WHERE id = ?1 ON CONFLICT(user_id) DO UPDATE SET"           \
	              " master_identity_key = excluded.master_identity_key,"                   \
	              " bundle_data = excluded.bundle_data, signature = excluded.signature,"   \
	              " updated_at = excluded.updated_at")                                     \
	X(SESSION_PUT, "INSERT INTO sessions(jti, user_id, expires_ms)"                        \
	               " SELECT ?1, id, ?3 FROM users WHERE id = ?2"                           \
	               " AND (?4 IS NULL OR password_hash = ?4) ON CONFLICT(jti) DO UPDATE"    \
	               " SET expires_ms = excluded.expires_ms"                                 \
	               " WHERE user_id = excluded.user_id")                                    \
	X(SESSION_DELETE, "DELETE FROM sessions WHERE jti = ?1")                               \
	X(SESSIONS_KEEP_ONE, "DELETE FROM sessions WHERE user_id = ?1 AND jti <> ?2")          \
	X(SESSIONS_SWEEP, "DELETE FROM sessions WHERE jti IN"                                  \
	                  " (SELECT jti FROM sessions WHERE expires_ms < ?1 LIMIT 256)")       \
	X(DEVICE_PUT, "INSERT INTO device_tokens(id, user_id, device_token_hash,"              \
	              " device_token_encrypted, device_name_encrypted, notification_filter,"   \
	              " enabled, created_date) SELECT randomblob(16), id, ?2, ?3, ?4, ?5, 1,"  \
	              " date(?6, 'unixepoch') FROM users WHERE id = ?1"                        \
	              " ON CONFLICT(user_id, device_token_hash) DO UPDATE SET"                 \
	              " device_token_encrypted = excluded.device_token_encrypted,"             \
	              " device_name_encrypted = excluded.device_name_encrypted,"               \
	              " notification_filter = excluded.notification_filter, enabled = 1,"      \
	              " created_date = excluded.created_date")                                 \
	X(DEVICES_TRIM, "DELETE FROM device_tokens WHERE id IN (SELECT id FROM device_tokens"  \
	                " WHERE user_id = ?1 AND device_token_hash <> ?2"                      \
	                " ORDER BY created_date DESC, id LIMIT -1 OFFSET ?3)")                 \
	X(DEVICE_UPDATE, "UPDATE device_tokens SET notification_filter = ?3, enabled = ?4"     \
	                 " WHERE user_id = ?1 AND device_token_hash = ?2")                     \
	X(DEVICE_DELETE, "DELETE FROM device_tokens"                                           \
	                 " WHERE user_id = ?1 AND device_token_hash = ?2")                     \
	X(LIMIT_GET, "SELECT level, since_ms FROM limits WHERE key = ?1")                      \
	X(LIMIT_PUT, "INSERT INTO limits(key, level, since_ms, expires_ms)"                    \
	             " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(key) DO UPDATE SET"                  \
	             " level = excluded.level, since_ms = excluded.since_ms,"                  \
	             " expires_ms = excluded.expires_ms")                                      \
	X(LIMIT_DELETE, "DELETE FROM limits WHERE key = ?1")                                   \
	X(LIMITS_NEXT, "SELECT max(key) FROM (SELECT key FROM limits WHERE key > ?1"           \
	               " ORDER BY key LIMIT 256)")                                             \
	X(LIMITS_SWEEP, "DELETE FROM limits WHERE key > ?1 AND key <= ?2 AND expires_ms < ?3") \
	X(BLOCK_PUT, "INSERT INTO blocks(key, set_ms, until_ms) VALUES(?1, ?2, ?3)"            \
	             " ON CONFLICT(key) DO UPDATE SET set_ms = excluded.set_ms,"               \
	             " until_ms = excluded.until_ms")                                          \
	X(BLOCK_DELETE, "DELETE FROM blocks WHERE key = ?1")                                   \
	X(BLOCKS_SWEEP, "DELETE FROM blocks WHERE until_ms < ?1")

#define SQLITE_READER_SQL(X)                                                                   \
	X(BY_NAME, "SELECT id, username, password_hash FROM users WHERE username = ?1")        \
	X(BY_ID, "SELECT id, username, password_hash FROM users WHERE id = ?1")                \
	X(EXISTS, "SELECT id FROM users WHERE id = ?1")                                        \
	X(BUNDLE, "SELECT u.id, u.username, b.master_identity_key, b.bundle_data, b.signature" \
	          " FROM key_bundles b JOIN users u ON u.id = b.user_id WHERE b.user_id = ?1") \
	X(SESSION, "SELECT u.id, u.username, s.expires_ms - ?2 FROM sessions s JOIN users u "  \
	           "ON u.id = s.user_id"                                                       \
	           " WHERE s.jti = ?1 AND s.expires_ms > ?2")                                  \
	X(BLOCK, "SELECT until_ms FROM blocks"                                                 \
	         " WHERE key = ?1 AND until_ms > ?2 AND set_ms <= ?2 + 60000")                 \
	X(PING, "SELECT count(*) FROM meta")                                                   \
	X(INDEX, "SELECT id, wall_ms, peer, key, key_case, frame_len, kind FROM inbox"         \
	         " WHERE owner = ?1 ORDER BY id")                                              \
	X(FETCH, "SELECT id, wall_ms, peer, key, key_case, kind, frame FROM inbox"             \
	         " WHERE owner = ?1 AND id > ?2 ORDER BY id")

enum sqlite_writer_sql {
#define X(name, text) SQLITE_W_##name,
	SQLITE_WRITER_SQL(X)
#undef X
		SQLITE_WRITER_SQL_COUNT
};

enum sqlite_reader_sql {
#define X(name, text) SQLITE_R_##name,
	SQLITE_READER_SQL(X)
#undef X
		SQLITE_READER_SQL_COUNT
};

#endif
