/* SPDX-License-Identifier: MIT */
/* The writes of store.h but limits.  Each stands in a savepoint of the batch's transaction. */
#include <string.h>

#include "io/sqlite_db.h"
#include "io/sqlite_engine.h"

static bool is_zero(const struct uuid *id)
{
	static const struct uuid zero;

	return memcmp(id, &zero, sizeof(zero)) == 0;
}

static enum store_outcome outcome_of(struct sqlite_engine *e, bool ran, const char *what)
{
	if (!ran) {
		sqlite_trouble(e, what);
		return STORE_FAILED;
	}
	return sqlite3_changes(e->db) > 0 ? STORE_OK : STORE_NOT_FOUND;
}

/* The condition of store.h; the text stays bound until the operation has run. */
static void bind_was(sqlite3_stmt *s, int at, const struct store_op *op)
{
	if (op->was_hash[0] != '\0')
		sqlite3_bind_text(s, at, op->was_hash, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(s, at);
}

static enum store_outcome outcome_if(struct sqlite_engine *e, bool ran, const char *what,
                                     const struct store_op *op)
{
	const enum store_outcome outcome = outcome_of(e, ran, what);

	return outcome == STORE_NOT_FOUND && op->was_hash[0] != '\0' ? STORE_CHANGED : outcome;
}

static enum store_outcome put_bundle(struct sqlite_engine *e, const struct store_op *op)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_BUNDLE_PUT];
	struct store_bundle bundle;
	bool ran;

	if (!store_bundle_unpack(op->hdr.buf, &bundle))
		return STORE_FAILED;
	sqlite_bind_uuid(s, 1, &op->user);
	sqlite3_bind_blob(s, 2, bundle.master_key, (int)bundle.master_key_len, SQLITE_STATIC);
	sqlite3_bind_blob(s, 3, bundle.data, (int)bundle.data_len, SQLITE_STATIC);
	sqlite3_bind_blob(s, 4, bundle.signature, (int)bundle.signature_len, SQLITE_STATIC);
	sqlite3_bind_int64(s, 5, e->wall_ms);
	ran = sqlite_run(s);
	sqlite3_clear_bindings(s);
	return outcome_of(e, ran, "bundle_put");
}

static enum store_outcome put_session(struct sqlite_engine *e, const struct store_op *op)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_SESSION_PUT];

	sqlite_bind_uuid(s, 1, &op->jti);
	sqlite_bind_uuid(s, 2, &op->user);
	sqlite3_bind_int64(s, 3, e->wall_ms + op->ttl_ms);
	bind_was(s, 4, op);
	return outcome_if(e, sqlite_run(s), "session_put", op);
}

static enum store_outcome delete_session(struct sqlite_engine *e, const struct store_op *op)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_SESSION_DELETE];

	sqlite_bind_uuid(s, 1, &op->jti);
	return outcome_of(e, sqlite_run(s), "session_delete");
}

static enum store_outcome find_name(struct sqlite_engine *e, const char *name)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_USER_NAMED];
	int rc;

	sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
	rc = sqlite3_step(s);
	sqlite3_reset(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return outcome_of(e, false, "user_named");
	return rc == SQLITE_ROW ? STORE_TAKEN : STORE_OK;
}

static enum store_outcome create_user(struct sqlite_engine *e, const struct store_op *op)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_USER_PUT];
	enum store_outcome outcome = find_name(e, op->text);

	if (outcome != STORE_OK)
		return outcome;
	sqlite_bind_uuid(s, 1, &op->user);
	sqlite3_bind_text(s, 2, op->text, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 3, op->hash, -1, SQLITE_STATIC);
	outcome = outcome_of(e, sqlite_run(s), "user_put");
	if (outcome == STORE_OK && op->hdr.buf != NULL)
		outcome = put_bundle(e, op);
	if (outcome == STORE_OK && !is_zero(&op->jti))
		outcome = put_session(e, op);
	return outcome;
}

static enum store_outcome set_password(struct sqlite_engine *e, const struct store_op *op)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_USER_PASSWORD];
	sqlite3_stmt *const others = e->sql[SQLITE_W_SESSIONS_KEEP_ONE];
	enum store_outcome outcome;

	sqlite_bind_uuid(s, 1, &op->user);
	sqlite3_bind_text(s, 2, op->hash, -1, SQLITE_STATIC);
	bind_was(s, 3, op);
	outcome = outcome_if(e, sqlite_run(s), "password_set", op);
	if (outcome != STORE_OK || is_zero(&op->jti))
		return outcome;
	sqlite_bind_uuid(others, 1, &op->user);
	sqlite_bind_uuid(others, 2, &op->jti);
	if (!sqlite_run(others))
		return outcome_of(e, false, "sessions_keep_one");
	return STORE_OK;
}

static bool delete_by(struct sqlite_engine *e, enum sqlite_writer_sql which, const void *key)
{
	sqlite3_bind_blob(e->sql[which], 1, key, sizeof(struct uuid), SQLITE_STATIC);
	return sqlite_run(e->sql[which]);
}

/* Bundle, sessions and device tokens go by foreign key, what waits in segments by the record. */
static enum store_outcome delete_user(struct sqlite_engine *e, const struct store_op *op)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_USER_DELETE];
	enum store_outcome outcome;
	struct sqlite_plan *p;

	sqlite_bind_uuid(s, 1, &op->user);
	bind_was(s, 2, op);
	outcome = outcome_if(e, sqlite_run(s), "user_delete", op);
	if (outcome != STORE_OK)
		return outcome;
	if (!delete_by(e, SQLITE_W_ROW_USER_GONE, op->user.b) ||
	    !delete_by(e, SQLITE_W_LIMIT_DELETE, op->user.b) ||
	    !delete_by(e, SQLITE_W_LIMIT_DELETE, op->key) ||
	    !delete_by(e, SQLITE_W_BLOCK_DELETE, op->user.b) ||
	    !delete_by(e, SQLITE_W_BLOCK_DELETE, op->key))
		return outcome_of(e, false, "user_delete");
	p = sqlite_plan_add(e, RECORD_USER_GONE, &op->user, NULL);
	p->mark = sqlite_id_of(e->salt, &op->user, NULL);
	sqlite_ids_add(&e->gone, p->mark, sqlite_hour(e));
	return STORE_OK;
}

static void bind_device(sqlite3_stmt *s, const struct store_op *op,
                        const struct store_device *device)
{
	sqlite_bind_uuid(s, 1, &op->user);
	sqlite3_bind_blob(s, 2, device->hash, STORE_DEVICE_HASH_LEN, SQLITE_STATIC);
}

static enum store_outcome run_bound(struct sqlite_engine *e, sqlite3_stmt *s, const char *what)
{
	const bool ran = sqlite_run(s);

	sqlite3_clear_bindings(s); /* they point into the operation */
	return outcome_of(e, ran, what);
}

static enum store_outcome put_device(struct sqlite_engine *e, const struct store_op *op,
                                     const struct store_device *device)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_DEVICE_PUT];
	sqlite3_stmt *const trim = e->sql[SQLITE_W_DEVICES_TRIM];
	enum store_outcome outcome;

	bind_device(s, op, device);
	sqlite3_bind_blob(s, 3, device->token, (int)device->token_len, SQLITE_STATIC);
	if (device->name != NULL)
		sqlite3_bind_blob(s, 4, device->name, (int)device->name_len, SQLITE_STATIC);
	sqlite3_bind_text(s, 5, op->text, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 6, e->wall_ms / 1000); /* a date only: storage.md, section 2 */
	outcome = run_bound(e, s, "device_put");
	if (outcome != STORE_OK)
		return outcome;
	bind_device(trim, op, device);
	sqlite3_bind_int(trim, 3, STORE_DEVICES_MAX - 1);
	outcome = run_bound(e, trim, "devices_trim");
	return outcome == STORE_FAILED ? STORE_FAILED : STORE_OK;
}

static enum store_outcome write_device(struct sqlite_engine *e, const struct store_op *op)
{
	struct store_device device;
	sqlite3_stmt *s;

	if (!store_device_unpack(op->hdr.buf, &device))
		return STORE_FAILED;
	if (op->what == STORE_DEVICE_PUT)
		return put_device(e, op, &device);
	s = e->sql[op->what == STORE_DEVICE_UPDATE ? SQLITE_W_DEVICE_UPDATE
	                                           : SQLITE_W_DEVICE_DELETE];
	bind_device(s, op, &device);
	if (op->what == STORE_DEVICE_UPDATE) {
		sqlite3_bind_text(s, 3, op->text, -1, SQLITE_STATIC);
		sqlite3_bind_int64(s, 4, op->n);
	}
	return run_bound(e, s, "device_write");
}

static enum store_outcome set_block(struct sqlite_engine *e, const struct store_op *op)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_BLOCK_PUT];

	sqlite3_bind_blob(s, 1, op->key, sizeof(op->key), SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, e->wall_ms);
	sqlite3_bind_int64(s, 3, op->until_wall_ms);
	return outcome_of(e, sqlite_run(s), "block_put");
}

static enum store_outcome write_one(struct sqlite_engine *e, const struct store_op *op,
                                    struct store_result *result)
{
	switch (op->what) {
	case STORE_USER_CREATE:
		return create_user(e, op);
	case STORE_USER_DELETE:
		return delete_user(e, op);
	case STORE_PASSWORD_SET:
		return set_password(e, op);
	case STORE_BUNDLE_PUT:
		return put_bundle(e, op);
	case STORE_SESSION_PUT:
		return put_session(e, op);
	case STORE_SESSION_DELETE:
		return delete_session(e, op);
	case STORE_BLOCK_SET:
		return set_block(e, op);
	case STORE_DEVICE_PUT:
	case STORE_DEVICE_UPDATE:
	case STORE_DEVICE_DELETE:
		return write_device(e, op);
	case STORE_LIMIT_TAKE:
	case STORE_LIMIT_RESET:
	case STORE_LIMIT_LEASE:
		return sqlite_limit_write(e, op, result);
	default:
		return STORE_FAILED; /* a read: not for the writer */
	}
}

void sqlite_store_write(struct sqlite_engine *e, const struct store_op *op,
                        struct store_result *result)
{
	result->what = op->what;
	result->user = op->user;
	result->outcome = STORE_FAILED;
	if (!sqlite_begin(e))
		return;
	if (!sqlite_run(e->sql[SQLITE_W_SAVEPOINT])) {
		sqlite_trouble(e, "savepoint");
		return;
	}
	result->outcome = write_one(e, op, result);
	if (!e->in_transaction)
		return;
	if (result->outcome != STORE_OK && result->outcome != STORE_LIMIT &&
	    !sqlite_run(e->sql[SQLITE_W_ROLLBACK_TO]))
		sqlite_trouble(e, "rollback_to");
	if (!sqlite_run(e->sql[SQLITE_W_RELEASE]))
		sqlite_trouble(e, "release");
}
