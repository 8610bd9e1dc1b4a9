/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io/stack_store_internal.h"
#include "wire/hash.h"

/* user_id and the like are found out by the server from the column: parameters are binary. */
const struct postgres_statement stack_store_statements[STACK_STORE_STATEMENT_COUNT] = {
	[STACK_SQL_USER_PUT] = { "user_put", "INSERT INTO users (id, username, password_hash)"
	                                     " VALUES ($1::uuid, $2::text, $3::text)"
	                                     " ON CONFLICT (username) DO NOTHING" },
	/* One statement, so that a taken name leaves no bundle. */
	[STACK_SQL_USER_AND_BUNDLE_PUT] = { "user_and_bundle_put",
	                                    "WITH made AS (INSERT INTO users"
	                                    " (id, username, password_hash)"
	                                    " VALUES ($1::uuid, $2::text, $3::text)"
	                                    " ON CONFLICT (username) DO NOTHING RETURNING id)"
	                                    " INSERT INTO key_bundles (user_id,"
	                                    " master_identity_key, bundle_data, signature)"
	                                    " SELECT id, $4::bytea, $5::bytea, $6::bytea"
	                                    " FROM made" },
	[STACK_SQL_BY_NAME] = { "by_name", "SELECT id, username, password_hash FROM users"
	                                   " WHERE username = $1::text" },
	[STACK_SQL_BY_ID] = { "by_id", "SELECT id, username, password_hash FROM users"
	                               " WHERE id = $1::uuid" },
	[STACK_SQL_EXISTS] = { "exists", "SELECT id FROM users WHERE id = $1::uuid" },
	/* Bundle and device tokens go by foreign key. */
	[STACK_SQL_HAS_HASH] = { "has_hash", "SELECT id FROM users WHERE id = $1::uuid"
	                                     " AND ($2::text = '' OR password_hash = $2)" },
	/* With the hash that was checked: '' is any. */
	[STACK_SQL_USER_DELETE] = { "user_delete",
	                            "DELETE FROM users WHERE id = $1::uuid"
	                            " AND ($2::text = '' OR password_hash = $2)" },
	[STACK_SQL_PASSWORD_SET] = { "password_set",
	                             "UPDATE users SET password_hash = $2::text"
	                             " WHERE id = $1::uuid"
	                             " AND ($3::text = '' OR password_hash = $3)" },
	[STACK_SQL_BUNDLE_GET] = { "bundle_get",
	                           "SELECT u.id, u.username, b.master_identity_key,"
	                           " b.bundle_data, b.signature FROM key_bundles b"
	                           " JOIN users u ON u.id = b.user_id"
	                           " WHERE b.user_id = $1::uuid" },
	[STACK_SQL_BUNDLE_PUT] = { "bundle_put",
	                           "INSERT INTO key_bundles (user_id, master_identity_key,"
	                           " bundle_data, signature) SELECT id, $2::bytea, $3::bytea,"
	                           " $4::bytea FROM users WHERE id = $1::uuid"
	                           " ON CONFLICT (user_id) DO UPDATE SET"
	                           " master_identity_key = excluded.master_identity_key,"
	                           " bundle_data = excluded.bundle_data,"
	                           " signature = excluded.signature, updated_at = now()" },
	[STACK_SQL_DEVICE_PUT] = { "device_put",
	                           "INSERT INTO device_tokens (id, user_id, device_token_hash,"
	                           " device_token_encrypted, device_name_encrypted,"
	                           " notification_filter, enabled, created_date)"
	                           " SELECT gen_random_uuid(), id, $2::bytea, $3::bytea,"
	                           " $4::bytea, $5::text, true,"
	                           " (now() AT TIME ZONE 'UTC')::date"
	                           " FROM users WHERE id = $1::uuid"
	                           " ON CONFLICT (user_id, device_token_hash) DO UPDATE SET"
	                           " device_token_encrypted = excluded.device_token_encrypted,"
	                           " device_name_encrypted = excluded.device_name_encrypted,"
	                           " notification_filter = excluded.notification_filter,"
	                           " enabled = true, created_date = excluded.created_date" },
	[STACK_SQL_DEVICES_TRIM] = { "devices_trim",
	                             "DELETE FROM device_tokens WHERE id IN"
	                             " (SELECT id FROM device_tokens WHERE user_id = $1::uuid"
	                             " AND device_token_hash <> $2::bytea"
	                             " ORDER BY created_date DESC, id OFFSET $3::bigint)" },
	[STACK_SQL_DEVICE_UPDATE] = { "device_update",
	                              "UPDATE device_tokens SET notification_filter = $3::text,"
	                              " enabled = $4::boolean WHERE user_id = $1::uuid"
	                              " AND device_token_hash = $2::bytea" },
	[STACK_SQL_DEVICE_DELETE] = { "device_delete",
	                              "DELETE FROM device_tokens WHERE user_id = $1::uuid"
	                              " AND device_token_hash = $2::bytea" },
	/* A standby answers, but cannot be written to. */
	[STACK_SQL_PING] = { "ping", "SELECT 1 WHERE NOT pg_is_in_recovery()" },
};

/* ---- keys and parameters ---- */

struct stack_key stack_key_uuid(const char *prefix, const struct uuid *id)
{
	struct stack_key key;

	key.len = strlen(prefix);
	cx_assert(key.len + UUID_TEXT_LEN < sizeof(key.text));
	memcpy(key.text, prefix, key.len);
	uuid_format(id, key.text + key.len);
	key.len += UUID_TEXT_LEN;
	key.text[key.len] = '\0';
	return key;
}

struct stack_key stack_key_hash(const char *prefix, const uint8_t hash[16])
{
	struct stack_key key;
	char hex[33];

	hash_hex(hash, 16, hex);
	hex[32] = '\0';
	key.len = (size_t)snprintf(key.text, sizeof(key.text), "%s{%s}", prefix, hex);
	return key;
}

struct redis_arg stack_arg(const struct stack_key *key)
{
	return (struct redis_arg){ key->text, key->len };
}

struct redis_arg stack_arg_number(int64_t n, struct stack_key *key)
{
	key->len = (size_t)snprintf(key->text, sizeof(key->text), "%" PRId64, n);
	return stack_arg(key);
}

struct postgres_param stack_uuid(const struct uuid *id)
{
	return (struct postgres_param){ id->b, sizeof(id->b) };
}

struct postgres_param stack_text(const char *text)
{
	return (struct postgres_param){ text, strlen(text) };
}

/* ---- asking ---- */

void stack_ask_sql_for(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       enum stack_sql statement, const struct postgres_param *params,
                       unsigned n, uint32_t timeout_ms, stack_step_fn *then)
{
	uint64_t corr = 0;
	const enum cx_err err =
		postgres_ask(ctx, s->conf.postgres, s->conf.statement_base + statement, params,
	                     n, timeout_ms, &corr);

	stack_wait(ctx, s, op, err, corr, then);
}

void stack_ask_sql(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                   enum stack_sql statement, const struct postgres_param *params, unsigned n,
                   stack_step_fn *then)
{
	stack_ask_sql_for(ctx, s, op, statement, params, n, s->conf.timeout_ms, then);
}

void stack_sql_add(struct stack_store *s, enum stack_sql statement,
                   const struct postgres_param *params, unsigned n)
{
	postgres_batch_add(&s->postgres, s->conf.statement_base + statement, params, n);
}

void stack_ask_sql_batch(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                         stack_step_fn *then)
{
	uint64_t corr = 0;
	const enum cx_err err = postgres_batch_send(ctx, s->conf.postgres, &s->postgres,
	                                            s->conf.timeout_ms, &corr);

	stack_wait(ctx, s, op, err, corr, then);
}

void stack_ask_redis(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                     stack_step_fn *then)
{
	uint64_t corr = 0;
	const enum cx_err err =
		redis_batch_send(ctx, s->conf.redis, &s->redis, s->conf.timeout_ms, &corr);

	stack_wait(ctx, s, op, err, corr, then);
}

void stack_ask_script(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                      enum stack_script script, const struct redis_arg *argv, unsigned n,
                      stack_step_fn *then)
{
	uint64_t corr = 0;
	const enum cx_err err =
		redis_call_script(ctx, s->conf.redis, s->conf.script_base + script, 1, argv, n,
	                          s->conf.timeout_ms, &corr);

	stack_wait(ctx, s, op, err, corr, then);
}

/* ---- answers ---- */

uint64_t stack_affected(const struct stack_answer *a)
{
	struct postgres_walk walk = postgres_walk_start(a->buf);
	struct postgres_answer answer;

	return postgres_walk_answer(&walk, &answer) ? answer.affected : 0;
}

static bool next_text(struct postgres_walk *walk, char *out, size_t size)
{
	struct postgres_value v;

	if (!postgres_walk_value(walk, &v) || v.at == NULL || v.len >= size)
		return false;
	memcpy(out, v.at, v.len);
	out[v.len] = '\0';
	return true;
}

bool stack_fill_user(const struct stack_answer *a, struct store_result *out)
{
	struct postgres_walk walk = postgres_walk_start(a->buf);
	struct postgres_answer answer;
	struct postgres_value id;

	if (!postgres_walk_answer(&walk, &answer) || answer.rows != 1 ||
	    !postgres_walk_value(&walk, &id) || id.len != sizeof(out->user.b))
		return false;
	memcpy(out->user.b, id.at, id.len);
	if (answer.columns > 1 && !next_text(&walk, out->text, sizeof(out->text)))
		return false;
	return answer.columns < 3 || next_text(&walk, out->hash, sizeof(out->hash));
}

bool stack_first_text(const struct stack_answer *a, char out[STACK_KEY_MAX])
{
	struct redis_walk walk = redis_walk_start(a->buf);
	struct redis_value v;

	if (!redis_walk_next(&walk, &v) || v.kind != REDIS_STRING ||
	    v.text.len >= STACK_KEY_MAX)
		return false;
	memcpy(out, v.text.at, v.text.len);
	out[v.text.len] = '\0';
	return true;
}

enum store_outcome stack_none(const struct stack_op *op)
{
	return op->ask.was_hash[0] != '\0' ? STORE_CHANGED : STORE_NOT_FOUND;
}

void stack_end_affected(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        const struct stack_answer *a)
{
	stack_end(ctx, s, op,
	          !a->is_ok                ? STORE_FAILED
	          : stack_affected(a) == 0 ? stack_none(op)
	                                   : STORE_OK);
}
