/* SPDX-License-Identifier: MIT */
/* libcx alone: two actors, one asks, the other answers.
 *
 *   make ping_pong && ./ping_pong
 */
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>

#include <cx/actor.h>
#include <cx/runtime.h>

#define ROUNDS 100000
#define ASK_TIMEOUT_MS 1000

enum { PING = CX_MSG_USER, PONG };

struct number { /* PING and its answer PONG */
	struct cx_msg hdr;
	uint64_t value;
};

/* --- ponger: answers with the next number ------------------------------------------------ */

static void on_ping(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct number *pong = CX_MSG_NEW(ctx, PONG, struct number);

	(void)state;
	pong->value = CX_MSG_AS(struct number, msg)->value + 1;
	cx_reply(ctx, msg, &pong->hdr);
}

static const struct cx_handler ponger_handlers[] = {
	CX_ON(PING, struct number, on_ping),
};

static const struct cx_actor_type ponger_type = {
	.name = "ponger",
	.mailbox_cap = 64,
	.placement = CX_PLACE_HOME,
	.handlers = ponger_handlers,
	.handler_count = CX_COUNTOF(ponger_handlers),
};

/* --- pinger: asks until the number is high enough ------------------------------------------ */

struct result {
	sem_t done;
	uint64_t value;
	enum cx_err err;
};

struct pinger_conf {
	struct cx_ref ponger;
	struct result *result; /* outlives the runtime */
};

static void finish(struct cx_ctx *ctx, struct pinger_conf *self, uint64_t value,
                   enum cx_err err)
{
	self->result->value = value;
	self->result->err = err;
	sem_post(&self->result->done);
	cx_stop(ctx);
}

static void ask(struct cx_ctx *ctx, struct pinger_conf *self, uint64_t value)
{
	struct number *ping = CX_MSG_NEW(ctx, PING, struct number);
	uint64_t corr;
	enum cx_err err;

	ping->value = value;
	err = cx_ask(ctx, self->ponger, &ping->hdr, ASK_TIMEOUT_MS, &corr);
	if (err != CX_OK)
		finish(ctx, self, value, err);
}

static void on_pong(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t value = CX_MSG_AS(struct number, msg)->value;

	if (value == ROUNDS)
		finish(ctx, state, value, CX_OK);
	else
		ask(ctx, state, value);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	finish(ctx, state, 0, CX_MSG_AS(struct cx_msg_error, msg)->err);
}

static enum cx_err start_pinger(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct pinger_conf *self = state;

	*self = *(const struct pinger_conf *)conf;
	ask(ctx, self, 0);
	return CX_OK;
}

static const struct cx_handler pinger_handlers[] = {
	CX_ON(PONG, struct number, on_pong),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

static const struct cx_actor_type pinger_type = {
	.name = "pinger",
	.state_size = sizeof(struct pinger_conf),
	.conf_size = sizeof(struct pinger_conf),
	.mailbox_cap = 64,
	.placement = CX_PLACE_HOME,
	.start = start_pinger,
	.handlers = pinger_handlers,
	.handler_count = CX_COUNTOF(pinger_handlers),
};

/* --- main ---------------------------------------------------------------------------------- */

static enum cx_err play(struct cx_runtime *rt, struct result *result)
{
	struct pinger_conf conf = { .result = result };
	struct cx_ref pinger;
	enum cx_err err = cx_runtime_spawn(rt, &ponger_type, NULL, 1, &conf.ponger);

	if (err == CX_OK)
		err = cx_runtime_spawn(rt, &pinger_type, &conf, 2, &pinger);
	if (err == CX_OK)
		err = cx_runtime_start(rt);
	if (err != CX_OK)
		return err;
	while (sem_wait(&result->done) != 0)
		;
	cx_runtime_stop(rt);
	return result->err;
}

int main(void)
{
	const struct cx_runtime_conf conf = { .workers = 2 };
	struct result result = { .value = 0 };
	struct cx_runtime *rt;
	enum cx_err err;

	sem_init(&result.done, 0, 0);
	err = cx_runtime_new(&conf, &rt);
	if (err == CX_OK) {
		err = play(rt, &result);
		cx_runtime_free(rt);
	}
	printf("%" PRIu64 " answers: %s\n", result.value, cx_err_text(err));
	return err == CX_OK && result.value == ROUNDS ? 0 : 1;
}
