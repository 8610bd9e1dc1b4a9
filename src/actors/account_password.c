/* SPDX-License-Identifier: MIT */
/* changePassword, deleteAccount: the session, then the password again. */
#include "actors/account_op.h"

#include <string.h>

#include "io/stack_routes.h"
#include "wire/credentials.h"
#include "wire/jwt.h"
#include "wire/server_frame.h"

#define DAY_MS INT64_C(86400000)
#define GUESS_WINDOW_MS INT64_C(900000)

static void ask_user(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                     step_fn *step)
{
	struct store_op *s = store_op_new(ctx, STORE_USER_BY_ID);

	s->user = op->subject;
	op_ask(ctx, a, op, s, step);
}

/* ---- changePassword ---- */

/* The token's session stays; the asking connection may have another one. */
static enum account_effect change_effect(const struct account_op *op)
{
	return uuid_equal(&op->user, &op->subject) && !uuid_equal(&op->jti, &op->session)
	               ? ACCOUNT_ENDED
	               : ACCOUNT_NOTHING;
}

static void change_told(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                        const struct store_result *r)
{
	(void)r;
	op_finish(ctx, a, op, op_plain_frame(SERVER_CHANGE_PASSWORD_SUCCESS),
	          change_effect(op));
}

static void password_set(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                         const struct store_result *r)
{
	if (op_again(ctx, a, op, r))
		return;
	if (r->outcome != STORE_OK) {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	op_kick(ctx, a, op, HUB_KICK_OTHERS, change_told);
}

static void change_hashed(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                          const struct account_hash_job *job)
{
	struct store_op *s;

	if (!job->is_made) {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	s = store_op_new(ctx, STORE_PASSWORD_SET);
	s->user = op->subject;
	s->jti = op->session;
	memcpy(s->hash, job->hash, sizeof(s->hash));
	memcpy(s->was_hash, op->hash, sizeof(s->was_hash));
	op_ask(ctx, a, op, s, password_set);
}

/* false: answered. */
static bool is_right(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                     const struct account_hash_job *job)
{
	if (job->verdict == PASSWORD_RIGHT)
		return true;
	op_fail(ctx, a, op,
	        job->verdict == PASSWORD_WRONG ? ERROR_INVALID_PASSWORD : ERROR_SERVER_ERROR);
	return false;
}

static void change_verified(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                            const struct account_hash_job *job)
{
	if (is_right(ctx, a, op, job))
		op_ask_hash(ctx, a, op, HASH_MAKE, op->f.change_password.new_password,
		            change_hashed);
}

/* false: answered. */
static bool has_user(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                     const struct store_result *r)
{
	if (r->outcome != STORE_OK) {
		op_fail(ctx, a, op,
		        r->outcome == STORE_NOT_FOUND ? ERROR_INVALID_TOKEN
		                                      : ERROR_SERVER_ERROR);
		return false;
	}
	memcpy(op->hash, r->hash, sizeof(op->hash));
	return true;
}

static void change_found(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                         const struct store_result *r)
{
	if (has_user(ctx, a, op, r))
		op_ask_hash(ctx, a, op, HASH_VERIFY, op->f.change_password.old_password,
		            change_verified);
}

static void find_for_change(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	op->again = find_for_change;
	ask_user(ctx, a, op, change_found);
}

static void change_granted(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                           const struct store_result *r)
{
	if (op_is_granted(ctx, a, op, r))
		find_for_change(ctx, a, op);
}

static void change_entered(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	op_ask_limit(ctx, a, op, "password", op_user(op),
	             a->relay->max_password_changes_per_day, DAY_MS, change_granted);
}

static void change_session(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                           const struct store_result *r)
{
	const struct client_change_password *f = &op->f.change_password;

	if (!op_has_session(ctx, a, op, r))
		return;
	if (!wire_slice_equal(f->new_password, f->new_password_confirm))
		op_fail(ctx, a, op, ERROR_PASSWORD_MISMATCH);
	else if (!password_is_strong(f->new_password))
		op_fail(ctx, a, op, ERROR_WEAK_PASSWORD);
	else if (wire_slice_equal(f->new_password, f->old_password))
		op_fail(ctx, a, op, ERROR_SAME_PASSWORD);
	else if (f->old_password.len > PASSWORD_BYTES_MAX)
		op_fail(ctx, a, op, ERROR_INVALID_PASSWORD);
	else
		op_enter(ctx, a, op, HASH_GATE_FOR_LOGIN, change_entered);
}

void op_change_password(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	if (op_open_token(ctx, a, op, op->f.change_password.session_token) == JWT_INVALID)
		op_fail(ctx, a, op, ERROR_INVALID_TOKEN);
	else
		op_ask_session(ctx, a, op, change_session);
}

/* ---- deleteAccount ---- */

static void delete_told(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                        const struct store_result *r)
{
	(void)r;
	op_finish(ctx, a, op, op_plain_frame(SERVER_DELETE_ACCOUNT_SUCCESS),
	          uuid_equal(&op->subject, &op->user) ? ACCOUNT_LEFT : ACCOUNT_NOTHING);
}

/* What is said of the inbox goes before the kick, so it is done when that is. */
static void account_deleted(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                            const struct store_result *r)
{
	enum cx_err err;

	if (op_again(ctx, a, op, r))
		return;
	if (r->outcome != STORE_OK) {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	err = routes_gone(ctx, a->relay->routes[relay_home(a->relay, &op->subject)],
	                  &op->subject);
	(void)err; /* only at the runtime's end */
	op_kick(ctx, a, op, HUB_KICK_ALL, delete_told);
}

static void delete_verified(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                            const struct account_hash_job *job)
{
	struct store_op *s;

	if (!is_right(ctx, a, op, job))
		return;
	s = store_op_new(ctx, STORE_USER_DELETE);
	s->user = op->subject;
	memcpy(s->was_hash, op->hash, sizeof(s->was_hash));
	op_ask(ctx, a, op, s, account_deleted);
}

static void delete_found(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                         const struct store_result *r)
{
	if (has_user(ctx, a, op, r))
		op_ask_hash(ctx, a, op, HASH_VERIFY, op->f.delete_account.password,
		            delete_verified);
}

static void find_for_delete(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	op->again = find_for_delete;
	ask_user(ctx, a, op, delete_found);
}

/* Guessing the password here is as limited as at login. */
static void delete_granted(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                           const struct store_result *r)
{
	if (op_is_granted(ctx, a, op, r))
		find_for_delete(ctx, a, op);
}

static void delete_entered(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	op_ask_limit(ctx, a, op, "delete", op_user(op), a->relay->max_failed_logins,
	             GUESS_WINDOW_MS, delete_granted);
}

static void delete_session(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                           const struct store_result *r)
{
	if (!op_has_session(ctx, a, op, r))
		return;
	if (op->f.delete_account.password.len > PASSWORD_BYTES_MAX)
		op_fail(ctx, a, op, ERROR_INVALID_PASSWORD);
	else
		op_enter(ctx, a, op, HASH_GATE_FOR_LOGIN, delete_entered);
}

void op_delete_account(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	if (op_open_token(ctx, a, op, op->f.delete_account.session_token) == JWT_INVALID)
		op_fail(ctx, a, op, ERROR_INVALID_TOKEN);
	else
		op_ask_session(ctx, a, op, delete_session);
}
