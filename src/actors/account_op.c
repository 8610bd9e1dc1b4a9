/* SPDX-License-Identifier: MIT */
#include "actors/account_op.h"

#include <stdlib.h>
#include <string.h>

#include "actors/hub.h"
#include "wire/secret.h"
#include "wire/server_frame.h"

#define STORE_TIMEOUT_MS 10000
#define ENTER_MS 8000 /* then some time is left for the rest */
#define AGAINS_MAX 3

/* ---- answering ---- */

void op_end(struct account *a, struct account_op *op)
{
	struct account_op **at = &a->ops;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	a->count--;
	secret_wipe(cx_buf_data(op->frame), cx_buf_len(op->frame)); /* inv. 3 */
	cx_buf_unref(op->frame);
	secret_wipe(op, sizeof(*op));
	free(op);
}

void op_finish(struct cx_ctx *ctx, struct account *a, struct account_op *op,
               struct cx_buf *frame, enum account_effect effect)
{
	struct account_answer *m = CX_MSG_NEW(ctx, ACCOUNT_ANSWER, struct account_answer);

	m->hdr.buf = frame;
	m->effect = effect;
	m->user = op->subject;
	m->jti = op->session;
	cx_answer(ctx, op->caller, &m->hdr);
	if (op->has_entered)
		hash_gate_leave(ctx, a->relay, op->id);
	op_end(a, op);
}

/* Not waited for: when it is lost the user has one attempt less. */
static void uncount(struct cx_ctx *ctx, const struct account *a, const struct account_op *op)
{
	struct store_op *s = store_op_new(ctx, STORE_LIMIT_TAKE);
	uint64_t corr;

	relay_limit_key("login", wire_text(op->username), s->key);
	s->max = a->relay->max_failed_logins;
	s->window_ms = LOGIN_WINDOW_MS;
	s->n = -1;
	if (store_ask(ctx, &a->relay->store, s, STORE_TIMEOUT_MS, &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}

void op_fail(struct cx_ctx *ctx, struct account *a, struct account_op *op, enum error_code code)
{
	if (op->is_attempt && code == ERROR_SERVER_ERROR)
		uncount(ctx, a, op);
	op_finish(ctx, a, op, relay_error_frame(code, NULL, wire_slice(NULL, 0)),
	          ACCOUNT_NOTHING);
}

struct cx_buf *op_plain_frame(enum server_type type)
{
	struct cx_buf *buf = cx_buf_new(64);

	cx_buf_trim(buf, server_frame_plain(cx_buf_data(buf), 64, type));
	return buf;
}

/* ---- asking ---- */

void op_ask(struct cx_ctx *ctx, struct account *a, struct account_op *op, struct store_op *s,
            step_fn *step)
{
	op->step = step;
	if (store_ask(ctx, &a->relay->store, s, STORE_TIMEOUT_MS, &op->corr) != CX_OK) {
		op->corr = 0;
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
	}
}

static void enter_failed(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                         const struct store_result *r)
{
	(void)r;
	op_fail(ctx, a, op, ERROR_SERVER_ERROR);
}

void op_enter(struct cx_ctx *ctx, struct account *a, struct account_op *op,
              enum hash_gate_for what, again_fn *entered)
{
	op->entered = entered;
	op->step = enter_failed; /* late, or no answer */
	op->has_entered = hash_gate_enter(ctx, a->relay, &op->origin, op->id, what, ENTER_MS,
	                                  &op->corr) == CX_OK;
	if (!op->has_entered) {
		op->corr = 0;
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
	}
}

void op_entered(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                enum hash_gate_verdict verdict)
{
	if (verdict == HASH_GATE_OPEN) {
		op->entered(ctx, a, op);
		return;
	}
	op->has_entered = false;
	op_fail(ctx, a, op,
	        verdict == HASH_GATE_LIMITED ? ERROR_RATE_LIMIT_EXCEEDED : ERROR_SERVER_ERROR);
}

static void run_hash(struct cx_msg *msg)
{
	struct account_hash_job *job = (struct account_hash_job *)(void *)msg;
	const struct wire_slice password = wire_slice(job->password, job->password_len);

	switch (job->what) {
	case HASH_MAKE:
		job->is_made = password_hash(password, job->hash);
		break;
	case HASH_VERIFY:
		job->verdict = password_verify(job->hash, password);
		break;
	case HASH_VERIFY_NOBODY:
		job->verdict = password_verify_nobody(password);
		break;
	}
	secret_wipe(job->password, sizeof(job->password));
}

void op_ask_hash(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                 enum hash_what what, struct wire_slice password, hashed_fn *hashed)
{
	struct account_hash_job *job = CX_MSG_NEW(ctx, ACCOUNT_HASHED, struct account_hash_job);

	cx_assert(password.len <= sizeof(job->password));
	job->op_id = op->id;
	job->what = what;
	job->password_len = password.len;
	if (password.len > 0)
		memcpy(job->password, password.at, password.len);
	memcpy(job->hash, op->hash, sizeof(job->hash));
	op->hashed = hashed;
	if (cx_offload(ctx, &job->hdr, run_hash) != CX_OK)
		op_fail(ctx, a, op, ERROR_SERVER_ERROR); /* too many at once: busy */
}

void op_ask_limit(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                  const char *name, struct wire_slice subject, uint32_t max, int64_t window_ms,
                  step_fn *step)
{
	static const struct store_result granted = { .outcome = STORE_OK };
	struct store_op *s;

	if (max == 0) {
		step(ctx, a, op, &granted);
		return;
	}
	s = store_op_new(ctx, STORE_LIMIT_TAKE);
	relay_limit_key(name, subject, s->key);
	s->user = op->subject;
	s->max = max;
	s->window_ms = window_ms;
	s->n = 1;
	op_ask(ctx, a, op, s, step);
}

struct wire_slice op_user(const struct account_op *op)
{
	return wire_slice(op->subject.b, sizeof(op->subject.b));
}

/* false: answered (over the limit, or the store cannot be asked: fail closed). */
bool op_is_granted(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                   const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		return true;
	op_fail(ctx, a, op,
	        r->outcome == STORE_LIMIT ? ERROR_RATE_LIMIT_EXCEEDED : ERROR_SERVER_ERROR);
	return false;
}
/* ---- what several requests share ---- */

struct wire_slice op_secret(const struct account *a)
{
	return wire_slice(a->relay->jwt_secret, a->relay->jwt_secret_len);
}

/* The session that a request names: verified token, then the store. */
enum jwt_verdict op_open_token(struct cx_ctx *ctx, const struct account *a,
                               struct account_op *op, struct wire_slice token)
{
	struct jwt_claims claims;
	const enum jwt_verdict verdict =
		jwt_verify(op_secret(a), wire_text(a->relay->jwt_issuer), token,
	                   cx_wall_ms(ctx) / 1000, &claims);

	if (verdict == JWT_INVALID)
		return verdict;
	op->subject = claims.user;
	op->session = claims.session;
	return verdict;
}

void op_ask_session(struct cx_ctx *ctx, struct account *a, struct account_op *op, step_fn *step)
{
	struct store_op *s = store_op_new(ctx, STORE_SESSION_GET);

	s->jti = op->session;
	op_ask(ctx, a, op, s, step);
}

/* false: answered. */
bool op_has_session(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                    const struct store_result *r)
{
	if (r->outcome == STORE_OK && uuid_equal(&r->user, &op->subject)) {
		memcpy(op->username, r->text, sizeof(op->username));
		return true;
	}
	op_fail(ctx, a, op,
	        r->outcome == STORE_OK || r->outcome == STORE_NOT_FOUND ? ERROR_INVALID_TOKEN
	                                                                : ERROR_SERVER_ERROR);
	return false;
}

bool op_again(struct cx_ctx *ctx, struct account *a, struct account_op *op,
              const struct store_result *r)
{
	if (r->outcome != STORE_CHANGED || op->agains == AGAINS_MAX)
		return false;
	op->agains++;
	op->again(ctx, a, op);
	return true;
}

struct cx_buf *op_pack_bundle(struct account *a, const struct key_bundle_texts *texts,
                              const struct uuid *owner, enum key_bundle_verdict *verdict)
{
	struct key_bundle bundle;
	struct cx_buf *buf;
	size_t len;

	*verdict = key_bundle_check(
		texts, a->relay->verify_bundles ? KEY_BUNDLE_STRICT : KEY_BUNDLE_OFF, owner,
		a->scratch, &bundle);
	if (*verdict != KEY_BUNDLE_VALID)
		return NULL;
	len = key_bundle_pack(&bundle, NULL, 0);
	buf = cx_buf_new(len);
	cx_assert(key_bundle_pack(&bundle, cx_buf_data(buf), len) == len);
	return buf;
}
void op_kick(struct cx_ctx *ctx, struct account *a, struct account_op *op,
             enum hub_kick_what what, step_fn *step)
{
	static const struct store_result nothing = { .outcome = STORE_OK };

	op->step = step;
	if (hub_kick(ctx, a->relay, &op->subject, &op->session, what, op->caller.ref, 4401,
	             &op->corr) == CX_OK)
		return;
	op->corr = 0;
	step(ctx, a, op, &nothing); /* too much at once to wait for it */
}
bool op_is_local(const struct account *a, const struct user_address *address)
{
	return user_address_is_local(address, a->relay->domain != NULL
	                                              ? wire_text(a->relay->domain)
	                                              : wire_slice(NULL, 0));
}
