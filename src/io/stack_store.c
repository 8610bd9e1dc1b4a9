/* SPDX-License-Identifier: MIT */
#include "io/stack_store_internal.h"

#include <stdlib.h>

#include "io/figures.h"

#define TIMEOUT_MS 5000
#define CACHE_MS 600000
#define WAITING_MAX 8192 /* operations: about 1 KiB each */
#define FREE_MAX 256
#define WORKERS_MAX 64

struct line {
	_Alignas(64) struct stack_store_figures figures;
};

static struct line all[WORKERS_MAX];

void stack_store_figures(struct stack_store_figures *out)
{
	*out = (struct stack_store_figures){ 0 };
	for (unsigned w = 0; w < WORKERS_MAX; w++) /* pairs with stack_count */
		figures_add(out, &all[w].figures, sizeof(*out));
}

/* ---- operations under way ---- */

static struct stack_op *op_new(struct stack_store *s)
{
	struct stack_op *op = s->free;

	if (op != NULL) {
		s->free = op->next;
		s->free_count--;
	} else {
		op = malloc(sizeof(*op));
		cx_assert(op != NULL);
	}
	*op = (struct stack_op){ 0 };
	s->count++;
	stack_count(&s->figures->waiting, 1);
	return op;
}

static void op_free(struct stack_store *s, struct stack_op *op)
{
	cx_buf_unref(op->ask.hdr.buf);
	cx_buf_unref(op->found);
	s->count--;
	stack_count(&s->figures->waiting, UINT64_MAX);
	if (s->free_count >= FREE_MAX) {
		free(op);
		return;
	}
	op->next = s->free;
	s->free = op;
	s->free_count++;
}

static struct stack_op **bucket_of(struct stack_store *s, uint64_t corr)
{
	/* multiplicative hashing: Knuth, The Art of Computer Programming, 6.4 */
	return &s->waiting[(corr * UINT64_C(0x9e3779b97f4a7c15)) >> 54 & (STACK_BUCKETS - 1)];
}

static struct stack_op *op_take(struct stack_store *s, uint64_t corr)
{
	struct stack_op **at = bucket_of(s, corr);

	while (*at != NULL && (*at)->corr != corr)
		at = &(*at)->next;
	if (*at != NULL) {
		struct stack_op *const op = *at;

		*at = op->next;
		return op;
	}
	return NULL;
}

void stack_wait(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op, enum cx_err err,
                uint64_t corr, stack_step_fn *then)
{
	static const struct stack_answer none = { false, NULL };

	if (err != CX_OK) { /* not sent: full, or the adapter is gone */
		then(ctx, s, op, &none);
		return;
	}
	op->corr = corr;
	op->then = then;
	op->next = *bucket_of(s, corr);
	*bucket_of(s, corr) = op;
}

void stack_end(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
               enum store_outcome outcome)
{
	struct store_result *const m = CX_MSG_NEW(ctx, STORE_RESULT, struct store_result);
	const struct cx_msg hdr = m->hdr;

	*m = op->result;
	m->hdr = hdr;
	m->what = op->ask.what;
	m->outcome = outcome;
	m->hdr.buf = op->found;
	op->found = NULL;
	stack_count(&s->figures->failed, outcome == STORE_FAILED);
	cx_answer(ctx, op->caller, &m->hdr);
	op_free(s, op);
}

/* ---- messages ---- */

static void dispatch(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	typedef void operation_fn(struct cx_ctx *, struct stack_store *, struct stack_op *);
	static operation_fn *const operations[STORE_WHAT_COUNT] = {
		[STORE_USER_CREATE] = stack_user_create,
		[STORE_USER_BY_NAME] = stack_user_find,
		[STORE_USER_BY_ID] = stack_user_find,
		[STORE_USER_EXISTS] = stack_user_exists,
		[STORE_USER_DELETE] = stack_user_delete,
		[STORE_PASSWORD_SET] = stack_password_set,
		[STORE_BUNDLE_GET] = stack_bundle_get,
		[STORE_BUNDLE_PUT] = stack_bundle_put,
		[STORE_SESSION_PUT] = stack_session_put,
		[STORE_SESSION_GET] = stack_session_get,
		[STORE_SESSION_DELETE] = stack_session_delete,
		[STORE_LIMIT_TAKE] = stack_limit,
		[STORE_LIMIT_RESET] = stack_limit,
		[STORE_LIMIT_LEASE] = stack_limit,
		[STORE_BLOCK_SET] = stack_block_set,
		[STORE_BLOCK_GET] = stack_block_get,
		[STORE_DEVICE_PUT] = stack_device,
		[STORE_DEVICE_UPDATE] = stack_device,
		[STORE_DEVICE_DELETE] = stack_device,
		[STORE_PING] = stack_ping,
	};

	if (op->ask.what < STORE_WHAT_COUNT && operations[op->ask.what] != NULL)
		operations[op->ask.what](ctx, s, op);
	else
		stack_end(ctx, s, op, STORE_FAILED);
}

static void on_op(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_store *const s = state;
	struct stack_op *const op = op_new(s);

	stack_count(&s->figures->asked, 1);
	op->caller = cx_caller_of(msg);
	op->ask = *CX_MSG_AS(struct store_op, msg);
	op->ask.hdr.buf = cx_buf_ref(msg->buf);
	op->result.user = op->ask.user;
	if (s->count <= WAITING_MAX) {
		dispatch(ctx, s, op);
	} else {
		stack_count(&s->figures->refused, 1);
		stack_end(ctx, s, op, STORE_FAILED);
	}
}

static void go_on(struct cx_ctx *ctx, struct stack_store *s, uint64_t corr,
                  const struct stack_answer *a)
{
	struct stack_op *const op = op_take(s, corr);

	if (op != NULL)
		op->then(ctx, s, op, a);
}

static void on_postgres(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct postgres_result *const m = CX_MSG_AS(struct postgres_result, msg);
	const struct stack_answer a = { m->outcome == POSTGRES_DONE, msg->buf };

	go_on(ctx, state, msg->corr, &a);
}

/* Whether the server did all that it was told: an error may stand anywhere in a batch, for example
 * when it is full or cannot save. */
static bool is_without_error(const struct cx_buf *buf)
{
	struct redis_walk walk = redis_walk_start(buf);
	struct redis_value v;

	while (redis_walk_next(&walk, &v))
		if (v.kind == REDIS_ERROR)
			return false;
	return true;
}

static void on_redis(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct redis_reply *const m = CX_MSG_AS(struct redis_reply, msg);
	const bool is_answered = m->outcome == REDIS_ANSWERED && msg->buf != NULL;
	const struct stack_answer a = { is_answered && is_without_error(msg->buf), msg->buf };

	go_on(ctx, state, msg->corr, &a);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	static const struct stack_answer none = { false, NULL };

	go_on(ctx, state, msg->corr, &none);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct stack_store *const s = state;

	s->conf = *(const struct stack_store_conf *)conf;
	if (s->conf.timeout_ms == 0)
		s->conf.timeout_ms = TIMEOUT_MS;
	if (s->conf.cache_ms == 0)
		s->conf.cache_ms = CACHE_MS;
	cx_assert(cx_worker_index(ctx) < WORKERS_MAX);
	s->figures = &all[cx_worker_index(ctx)].figures;
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct stack_store *const s = state;

	if (s->figures == NULL)
		return;
	for (size_t i = 0; i < STACK_BUCKETS; i++)
		while (s->waiting[i] != NULL) {
			struct stack_op *const op = s->waiting[i];

			s->waiting[i] = op->next;
			cx_answer_error(ctx, op->caller, CX_EGONE);
			op_free(s, op);
		}
	while (s->free != NULL) {
		struct stack_op *const op = s->free;

		s->free = op->next;
		free(op);
	}
	redis_batch_free(&s->redis);
	postgres_batch_free(&s->postgres);
}

static const struct cx_handler handlers[] = {
	CX_ON(STORE_OP, struct store_op, on_op),
	CX_ON(POSTGRES_RESULT, struct postgres_result, on_postgres),
	CX_ON(REDIS_REPLY, struct redis_reply, on_redis),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

const struct cx_actor_type stack_store_type = {
	.name = "stack_store",
	.state_size = sizeof(struct stack_store),
	.conf_size = sizeof(struct stack_store_conf),
	.mailbox_cap = 65536,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
