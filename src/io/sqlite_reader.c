/* SPDX-License-Identifier: MIT */
/* The reader: questions about what is committed, on a connection and thread of its own, so that
 * they wait for no sync. */
#include <stdlib.h>
#include <string.h>

#include "io/sqlite_db.h"
#include "io/sqlite_shared.h"
#include "io/sqlite_stats.h"

#define MAILBOX_CAP 65536

struct reader {
	sqlite3 *db;
	sqlite3_stmt **sql;
	uint8_t *room; /* where an answer of unknown length grows */
	size_t used, cap;
};

/* ---- users, sessions, blocks ---- */

/* Columns: user id, user name (when there are two), password hash or what a session has left (three). */
static void fill_user(sqlite3_stmt *s, struct store_result *result)
{
	result->user = sqlite_column_uuid(s, 0);
	if (sqlite3_column_count(s) > 1)
		sqlite_column_name(s, 1, result->text, sizeof(result->text));
	if (result->what == STORE_SESSION_GET)
		result->ttl_ms = sqlite3_column_int64(s, 2);
	else if (sqlite3_column_count(s) == 3)
		sqlite_column_name(s, 2, result->hash, sizeof(result->hash));
}

static void fill_bundle(sqlite3_stmt *s, struct store_result *result)
{
	struct store_bundle b;

	result->user = sqlite_column_uuid(s, 0);
	sqlite_column_name(s, 1, result->text, sizeof(result->text));
	b.master_key = sqlite3_column_blob(s, 2);
	b.master_key_len = (uint32_t)sqlite3_column_bytes(s, 2);
	b.data = sqlite3_column_blob(s, 3);
	b.data_len = (uint32_t)sqlite3_column_bytes(s, 3);
	b.signature = sqlite3_column_blob(s, 4);
	b.signature_len = (uint32_t)sqlite3_column_bytes(s, 4);
	result->hdr.buf = store_bundle_pack(&b);
}

/* Binds what the question asks for; NULL: not a question for the reader. */
static sqlite3_stmt *question(const struct cx_ctx *ctx, const struct reader *r,
                              const struct store_op *op)
{
	sqlite3_stmt *s = NULL;

	switch (op->what) {
	case STORE_USER_BY_NAME:
		s = r->sql[SQLITE_R_BY_NAME];
		sqlite3_bind_text(s, 1, op->text, -1, SQLITE_STATIC);
		break;
	case STORE_USER_BY_ID:
		s = r->sql[SQLITE_R_BY_ID];
		sqlite_bind_uuid(s, 1, &op->user);
		break;
	case STORE_USER_EXISTS:
		s = r->sql[SQLITE_R_EXISTS];
		sqlite_bind_uuid(s, 1, &op->user);
		break;
	case STORE_BUNDLE_GET:
		s = r->sql[SQLITE_R_BUNDLE];
		sqlite_bind_uuid(s, 1, &op->user);
		break;
	case STORE_SESSION_GET:
		s = r->sql[SQLITE_R_SESSION];
		sqlite_bind_uuid(s, 1, &op->jti);
		sqlite3_bind_int64(s, 2, cx_wall_ms(ctx));
		break;
	case STORE_BLOCK_GET:
		s = r->sql[SQLITE_R_BLOCK];
		sqlite3_bind_blob(s, 1, op->key, sizeof(op->key), SQLITE_STATIC);
		sqlite3_bind_int64(s, 2, cx_wall_ms(ctx));
		break;
	case STORE_PING:
		s = r->sql[SQLITE_R_PING];
		break;
	default:
		break;
	}
	return s;
}

static void fill(sqlite3_stmt *s, struct store_result *result)
{
	result->outcome = STORE_OK;
	if (result->what == STORE_BUNDLE_GET)
		fill_bundle(s, result);
	else if (result->what == STORE_BLOCK_GET)
		result->until_wall_ms = sqlite3_column_int64(s, 0);
	else if (result->what == STORE_PING)
		result->outcome =
			sqlite_is_healthy() && sqlite_file_is_there(&sqlite_shared.engine.file)
				? STORE_OK
				: STORE_FAILED;
	else
		fill_user(s, result);
}

static void on_store_op(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct reader *const r = state;
	const struct store_op *const op = CX_MSG_AS(struct store_op, msg);
	struct store_result *const result = CX_MSG_NEW(ctx, STORE_RESULT, struct store_result);
	sqlite3_stmt *const s = question(ctx, r, op);
	int rc;

	result->what = op->what;
	result->user = op->user;
	result->outcome = STORE_FAILED;
	if (s != NULL) {
		rc = sqlite3_step(s);
		if (rc == SQLITE_ROW)
			fill(s, result);
		else if (rc != SQLITE_DONE)
			sqlite_db_log(r->db, "read");
		else /* no block set is an answer too */
			result->outcome =
				op->what == STORE_BLOCK_GET ? STORE_OK : STORE_NOT_FOUND;
		/* a statement left open would hold back the checkpoint */
		sqlite3_reset(s);
		sqlite3_clear_bindings(s);
	}
	cx_reply(ctx, msg, &result->hdr);
}

/* ---- rows of an inbox ---- */

static void *room_for(struct reader *r, size_t bytes)
{
	void *at;

	if (r->used + bytes > r->cap) {
		r->cap = (r->used + bytes) * 2;
		r->room = realloc(r->room, r->cap);
		cx_assert(r->room != NULL);
	}
	at = r->room + r->used;
	r->used += bytes;
	return at;
}

static void add_index_entry(struct reader *r, sqlite3_stmt *s)
{
	struct log_index_entry *const entry = room_for(r, sizeof(*entry));

	memset(entry, 0, sizeof(*entry));
	entry->id = (uint64_t)sqlite3_column_int64(s, 0);
	entry->wall_ms = sqlite3_column_int64(s, 1);
	entry->peer = sqlite_column_uuid(s, 2);
	entry->key = sqlite_column_uuid(s, 3);
	entry->key_case = (uint32_t)sqlite3_column_int64(s, 4);
	entry->frame_len = (uint32_t)sqlite3_column_int64(s, 5);
	entry->kind = (uint8_t)sqlite3_column_int(s, 6);
}

static void on_index(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct reader *const r = state;
	const struct log_index_msg *const m = CX_MSG_AS(struct log_index_msg, msg);
	struct log_indexed *const answer = CX_MSG_NEW(ctx, LOG_INDEXED, struct log_indexed);
	sqlite3_stmt *const s = r->sql[SQLITE_R_INDEX];
	int rc;

	r->used = 0;
	sqlite_bind_uuid(s, 1, &m->owner);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		add_index_entry(r, s);
		answer->count++;
	}
	if (rc != SQLITE_DONE) {
		sqlite_db_log(r->db, "index");
		answer->outcome = LOG_FAILED;
		answer->count = 0;
	}
	sqlite3_reset(s);
	if (answer->count > 0)
		answer->hdr.buf = cx_buf_copy(r->room, r->used);
	cx_reply(ctx, msg, &answer->hdr);
}

static void add_record(struct reader *r, sqlite3_stmt *s, const struct uuid *owner,
                       size_t frame_len)
{
	const struct record head = {
		.kind = (uint8_t)sqlite3_column_int(s, 5),
		.id = (uint64_t)sqlite3_column_int64(s, 0),
		.wall_ms = sqlite3_column_int64(s, 1),
		.owner = *owner,
		.peer = sqlite_column_uuid(s, 2),
		.key = sqlite_column_uuid(s, 3),
		.key_case = (uint32_t)sqlite3_column_int64(s, 4),
	};

	record_write(room_for(r, record_size(frame_len)), &head, sqlite3_column_blob(s, 6),
	             frame_len);
}

static void on_fetch(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct reader *const r = state;
	const struct log_fetch_msg *const m = CX_MSG_AS(struct log_fetch_msg, msg);
	struct log_fetched *const answer = CX_MSG_NEW(ctx, LOG_FETCHED, struct log_fetched);
	sqlite3_stmt *const s = r->sql[SQLITE_R_FETCH];
	int rc;

	r->used = 0;
	sqlite_bind_uuid(s, 1, &m->owner);
	sqlite3_bind_int64(s, 2, (int64_t)m->after);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		const size_t len = (size_t)sqlite3_column_bytes(s, 6);

		if (answer->count > 0 && r->used + record_size(len) > m->max_bytes)
			break;
		add_record(r, s, &m->owner, len);
		answer->count++;
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
		sqlite_db_log(r->db, "fetch");
		answer->outcome = LOG_FAILED;
		answer->count = 0;
	}
	sqlite3_reset(s);
	if (answer->count > 0)
		answer->hdr.buf = cx_buf_copy(r->room, r->used);
	cx_reply(ctx, msg, &answer->hdr);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct reader *const r = state;

	(void)ctx;
	(void)conf;
	if (!sqlite_shared.is_open)
		return CX_EINVAL;
	r->db = sqlite_shared.reader;
	r->sql = sqlite_shared.reader_sql;
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct reader *const r = state;

	(void)ctx;
	free(r->room);
	r->room = NULL;
}

static const struct cx_handler handlers[] = {
	CX_ON(STORE_OP, struct store_op, on_store_op),
	CX_ON(LOG_INDEX, struct log_index_msg, on_index),
	CX_ON(LOG_FETCH, struct log_fetch_msg, on_fetch),
};

const struct cx_actor_type sqlite_reader_type = {
	.name = "sqlite_reader",
	.state_size = sizeof(struct reader),
	.conf_size = sizeof(struct sqlite_settings *),
	.mailbox_cap = MAILBOX_CAP,
	.placement = CX_PLACE_THREAD,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
