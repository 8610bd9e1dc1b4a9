/* SPDX-License-Identifier: MIT */
/* A limiter between fakes of gateway, store and log, and what a test says in their place. */
#ifndef TESTS_ACTORS_LIMITER_FIXTURE_H
#define TESTS_ACTORS_LIMITER_FIXTURE_H

#include "actors/user_limiter.h"

#include "actors/fixture.h"

static struct cx_ref limiter, client;

static struct cx_ref spawn_limiter(void)
{
	const struct user_limiter_conf conf = { .relay = &relay,
		                                .user = uuid_of(1),
		                                .gateway = fake_gateway };

	return spawn_at(&user_limiter_type, &conf);
}

static void set_up(void)
{
	fixture_start();
	client = fake();
	limiter = spawn_limiter();
}

/* ---- the client's side ---- */

struct sends {
	uint32_t first, count, owner;
	enum error_code code;
};

/* All in one turn of the client; id and key tell the number. */
static void do_submit(struct cx_ctx *ctx, void *arg)
{
	const struct sends *sends = arg;

	for (uint32_t n = sends->first; n < sends->first + sends->count; n++) {
		struct gateway_submit_msg *m =
			CX_MSG_NEW(ctx, GATEWAY_SUBMIT, struct gateway_submit_msg);
		uint64_t corr;

		m->submit = (struct gateway_submit){ .sender = uuid_of(1),
			                             .owner = uuid_of(sends->owner),
			                             .key = uuid_of(n),
			                             .frame_bytes = n,
			                             .code = sends->code };
		m->hdr.buf = cx_buf_copy(&n, sizeof(n));
		/* what the gateway does, with the client as caller, needs an ask of the client */
		cx_assert(cx_ask(ctx, relay.gateways[0], &m->hdr, 600000, &corr) == CX_OK);
	}
}

static void do_forward(struct cx_ctx *ctx, void *arg)
{
	const struct got *g = arg;
	struct gateway_submit_msg *m =
		CX_MSG_NEW(ctx, GATEWAY_SUBMIT, struct gateway_submit_msg);

	m->submit = GOT(struct gateway_submit_msg, g)->submit;
	m->caller = g->caller;
	m->hdr.buf = cx_buf_ref(g->buf);
	cx_assert(cx_send_reserved(ctx, limiter, &m->hdr) == CX_OK);
}

static void submit_to(uint32_t first, uint32_t count, uint32_t owner, enum error_code code)
{
	struct sends sends = { first, count, owner, code };

	do_as(client, do_submit, &sends);
	for (uint32_t i = 0; i < count; i++)
		do_as(fake_gateway, do_forward, take(fake_gateway, GATEWAY_SUBMIT));
}

static void submit(uint32_t first, uint32_t count)
{
	submit_to(first, count, 2, ERROR_NONE);
}

/* The client's next answer is for send n and says so. */
static const struct gateway_outcome *outcome(uint32_t n, enum error_code code)
{
	struct got *g = take(client, GATEWAY_OUTCOME);
	const struct gateway_outcome *m = GOT(struct gateway_outcome, g);

	cr_assert(m->frame_bytes == n, "answer for %u came, not for %u", m->frame_bytes, n);
	cr_assert(m->code == code, "%u: %s, not %s", n, error_code_name(m->code),
	          error_code_name(code));
	cr_assert((g->buf != NULL) == false || code == ERROR_FORBIDDEN);
	return m;
}

static void no_more_outcomes(void)
{
	cr_assert(count_got(client, GATEWAY_OUTCOME) == 0);
	cr_assert(count_got(client, CX_MSG_ERROR) == 0);
}

/* ---- the store's side ---- */

static struct got *store_got(enum store_what what)
{
	const bool is_read = what == STORE_BLOCK_GET || what == STORE_USER_EXISTS;
	struct got *g = take(is_read ? fake_reader : fake_writer, STORE_OP);

	cr_assert(GOT(struct store_op, g)->what == what, "the store was asked %d",
	          (int)GOT(struct store_op, g)->what);
	return g;
}

static void store_says(enum store_what what, enum store_outcome said, int64_t value)
{
	const struct got *g = store_got(what);

	ANSWER(g, STORE_RESULT, struct store_result, NULL, .what = what, .outcome = said,
	       .granted = value, .retry_ms = said == STORE_LIMIT ? value : 0,
	       .until_wall_ms = value);
}

/* Not blocked, n tokens in both buckets, the recipient exists. */
UNUSED static void open_with(int64_t tokens)
{
	store_says(STORE_BLOCK_GET, STORE_OK, 0);
	store_says(STORE_LIMIT_LEASE, STORE_OK, tokens);
	store_says(STORE_LIMIT_LEASE, STORE_OK, tokens);
	store_says(STORE_USER_EXISTS, STORE_OK, 0);
}

/* ---- the log's side ---- */

static struct got *append_of(uint32_t n)
{
	struct got *g = take(fake_log, LOG_APPEND);
	const struct uuid key = uuid_of(n);

	cr_assert(uuid_equal(&GOT(struct log_append_msg, g)->key, &key),
	          "append %u is not the next", n);
	cr_assert(cx_buf_len(g->buf) == 4 && memcmp(cx_buf_bytes(g->buf), &n, 4) == 0);
	return g;
}

static void log_says(const struct got *g, enum log_outcome said)
{
	ANSWER(g, LOG_APPENDED, struct log_appended, NULL, .outcome = said, .id = 1);
}

#endif
