/* SPDX-License-Identifier: MIT */
/* Users and their devices: PostgreSQL, and what of them lies in Redis. */
#include "io/stack_store_internal.h"

#define EXISTS_TIMEOUT_MS 1000
#define EXISTS_PAUSE_MS 3000

/* An operation that needs both backends writes nothing while Redis is known to be gone. */
static void probe_redis(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        stack_step_fn *then)
{
	static const struct redis_arg ping[] = { REDIS_TEXT("PING") };

	redis_batch_add(&s->redis, ping, 1);
	stack_ask_redis(ctx, s, op, then);
}

/* ---- create ---- */

static void on_created(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       const struct stack_answer *a)
{
	if (!a->is_ok)
		stack_end(ctx, s, op, STORE_FAILED);
	else if (stack_affected(a) == 0)
		stack_end(ctx, s, op, STORE_TAKEN);
	else if (uuid_is_zero(&op->ask.jti))
		stack_end(ctx, s, op, STORE_OK);
	else
		stack_session_write(ctx, s, op);
}

static void insert(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                   const struct stack_answer *a)
{
	struct store_bundle b = { 0 };
	const bool has_bundle = store_bundle_unpack(op->ask.hdr.buf, &b);
	const struct postgres_param params[] = {
		stack_uuid(&op->ask.user), stack_text(op->ask.text),
		stack_text(op->ask.hash),  { b.master_key, b.master_key_len },
		{ b.data, b.data_len },    { b.signature, b.signature_len },
	};

	if (!a->is_ok)
		stack_end(ctx, s, op, STORE_FAILED);
	else if (has_bundle)
		stack_ask_sql(ctx, s, op, STACK_SQL_USER_AND_BUNDLE_PUT, params, 6, on_created);
	else
		stack_ask_sql(ctx, s, op, STACK_SQL_USER_PUT, params, 3, on_created);
}

void stack_user_create(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	static const struct stack_answer yes = { true, NULL };
	struct store_bundle ignored;

	if (op->ask.hdr.buf != NULL && !store_bundle_unpack(op->ask.hdr.buf, &ignored))
		stack_end(ctx, s, op, STORE_FAILED);
	else if (uuid_is_zero(&op->ask.jti))
		insert(ctx, s, op, &yes);
	else
		probe_redis(ctx, s, op, insert);
}

/* ---- find ---- */

static void on_found(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                     const struct stack_answer *a)
{
	if (a->is_ok && stack_affected(a) == 0)
		stack_end(ctx, s, op, STORE_NOT_FOUND);
	else if (a->is_ok && stack_fill_user(a, &op->result))
		stack_end(ctx, s, op, STORE_OK);
	else
		stack_end(ctx, s, op, STORE_FAILED);
}

/* Messages wait for this answer, and PostgreSQL is not on their way (protocol.md 2, 6): when it gives
 * none, those who ask next are told so at once. */
static void on_exists(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                      const struct stack_answer *a)
{
	if (!a->is_ok)
		s->exists_from_ms = cx_now_ms(ctx) + EXISTS_PAUSE_MS;
	on_found(ctx, s, op, a);
}

void stack_user_exists(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct postgres_param param = stack_uuid(&op->ask.user);
	const uint32_t timeout_ms =
		s->conf.timeout_ms < EXISTS_TIMEOUT_MS ? s->conf.timeout_ms : EXISTS_TIMEOUT_MS;

	if (cx_now_ms(ctx) < s->exists_from_ms)
		stack_end(ctx, s, op, STORE_FAILED);
	else
		stack_ask_sql_for(ctx, s, op, STACK_SQL_EXISTS, &param, 1, timeout_ms,
		                  on_exists);
}

void stack_user_find(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const bool is_by_name = op->ask.what == STORE_USER_BY_NAME;
	const struct postgres_param param =
		is_by_name ? stack_text(op->ask.text) : stack_uuid(&op->ask.user);

	stack_ask_sql(ctx, s, op, is_by_name ? STACK_SQL_BY_NAME : STACK_SQL_BY_ID, &param, 1,
	              on_found);
}

/* ---- delete ---- */

static void on_keys_gone(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                         const struct stack_answer *a)
{
	stack_end(ctx, s, op, a->is_ok ? op->outcome : STORE_FAILED);
}

static void delete_keys(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        const struct stack_answer *a)
{
	const struct stack_key keys[] = {
		stack_key_hash("limit:", op->ask.user.b),
		stack_key_hash("limit:", op->ask.key),
		stack_key_hash("block:", op->ask.user.b),
		stack_key_hash("block:", op->ask.key),
	};

	if (!a->is_ok) {
		stack_end(ctx, s, op, STORE_FAILED);
		return;
	}
	/* one command each: they are in different slots */
	for (size_t i = 0; i < CX_COUNTOF(keys); i++) {
		const struct redis_arg del[] = { REDIS_TEXT("DEL"), stack_arg(&keys[i]) };

		redis_batch_add(&s->redis, del, 2);
	}
	stack_ask_redis(ctx, s, op, on_keys_gone);
}

/* Also when there was no row: an earlier try may have come only so far. */
static void on_row_gone(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        const struct stack_answer *a)
{
	static const struct uuid none;

	if (!a->is_ok) {
		stack_end(ctx, s, op, STORE_FAILED);
		return;
	}
	op->outcome = stack_affected(a) > 0 ? STORE_OK : stack_none(op);
	if (op->outcome == STORE_CHANGED) { /* not this user: nothing of him is touched */
		stack_end(ctx, s, op, STORE_CHANGED);
		return;
	}
	op->ask.jti = none;
	stack_sessions_end(ctx, s, op, delete_keys);
}

static void delete_row(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       const struct stack_answer *a)
{
	const struct postgres_param params[] = { stack_uuid(&op->ask.user),
		                                 stack_text(op->ask.was_hash) };

	if (a->is_ok)
		stack_ask_sql(ctx, s, op, STACK_SQL_USER_DELETE, params, 2, on_row_gone);
	else
		stack_end(ctx, s, op, STORE_FAILED);
}

void stack_user_delete(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	stack_bundle_doubt(ctx, s, op, delete_row);
}

/* ---- password ---- */

static void on_others_ended(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                            const struct stack_answer *a)
{
	stack_end(ctx, s, op, a->is_ok ? STORE_OK : STORE_FAILED);
}

static void on_password(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        const struct stack_answer *a)
{
	if (!a->is_ok || stack_affected(a) == 0 || uuid_is_zero(&op->ask.jti))
		stack_end_affected(ctx, s, op, a);
	else
		stack_sessions_end(ctx, s, op, on_others_ended);
}

static void update_password(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                            const struct stack_answer *a)
{
	const struct postgres_param params[] = { stack_uuid(&op->ask.user),
		                                 stack_text(op->ask.hash),
		                                 stack_text(op->ask.was_hash) };

	if (a->is_ok)
		stack_ask_sql(ctx, s, op, STACK_SQL_PASSWORD_SET, params, 3, on_password);
	else
		stack_end(ctx, s, op, STORE_FAILED);
}

void stack_password_set(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	static const struct stack_answer yes = { true, NULL };

	if (uuid_is_zero(&op->ask.jti))
		update_password(ctx, s, op, &yes);
	else
		probe_redis(ctx, s, op, update_password);
}

/* ---- devices ---- */

static void on_device(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                      const struct stack_answer *a)
{
	stack_end_affected(ctx, s, op, a); /* of the first statement */
}

static void put_device(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       const struct store_device *d)
{
	uint8_t kept[8];
	const struct postgres_param put[] = {
		stack_uuid(&op->ask.user),  { d->hash, STORE_DEVICE_HASH_LEN },
		{ d->token, d->token_len }, { d->name, d->name_len },
		stack_text(op->ask.text),
	};
	const struct postgres_param trim[] = {
		put[0],
		put[1],
		{ postgres_int64(STORE_DEVICES_MAX - 1, kept), sizeof(kept) },
	};

	stack_sql_add(s, STACK_SQL_DEVICE_PUT, put, 5);
	stack_sql_add(s, STACK_SQL_DEVICES_TRIM, trim, 3);
	stack_ask_sql_batch(ctx, s, op, on_device);
}

void stack_device(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	struct store_device d;

	if (!store_device_unpack(op->ask.hdr.buf, &d)) {
		stack_end(ctx, s, op, STORE_FAILED);
	} else if (op->ask.what == STORE_DEVICE_PUT) {
		put_device(ctx, s, op, &d);
	} else {
		const uint8_t enabled = op->ask.n != 0;
		const struct postgres_param params[] = {
			stack_uuid(&op->ask.user),
			{ d.hash, STORE_DEVICE_HASH_LEN },
			stack_text(op->ask.text),
			{ &enabled, 1 },
		};

		if (op->ask.what == STORE_DEVICE_UPDATE)
			stack_ask_sql(ctx, s, op, STACK_SQL_DEVICE_UPDATE, params, 4,
			              on_device);
		else
			stack_ask_sql(ctx, s, op, STACK_SQL_DEVICE_DELETE, params, 2,
			              on_device);
	}
}

/* ---- health ---- */

static void on_pong(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                    const struct stack_answer *a)
{
	stack_end(ctx, s, op, a->is_ok ? STORE_OK : STORE_FAILED);
}

static void ping_redis(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       const struct stack_answer *a)
{
	/* a write: a server that is full or cannot save answers PING all the same */
	static const struct redis_arg set[] = { REDIS_TEXT("SET"), REDIS_TEXT("store_ping"),
		                                REDIS_TEXT("1"), REDIS_TEXT("PX"),
		                                REDIS_TEXT("10000") };

	if (!a->is_ok || stack_affected(a) != 1) {
		stack_end(ctx, s, op, STORE_FAILED);
		return;
	}
	redis_batch_add(&s->redis, set, 5);
	stack_ask_redis(ctx, s, op, on_pong);
}

void stack_ping(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	stack_ask_sql(ctx, s, op, STACK_SQL_PING, NULL, 0, ping_redis);
}
