/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <cx/log.h>

#include "runtime/internal.h"

#define CHILDREN_MAX 32

struct charge {
	struct cx_timer timer; /* first: a timer message finds its charge */
	const struct cx_child *spec;
	struct cx_ref ref;
	uint32_t failures; /* in a row */
	uint64_t failed_ms;
};

struct supervisor {
	struct cx_supervisor_conf conf;
	uint64_t window_from_ms;
	uint32_t restarts; /* in this window */
	struct charge charges[CHILDREN_MAX];
};

enum { SUPERVISOR_RESTART = CX_MSG_SYSTEM_MAX - 8 }; /* the backoff ended */

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
	return value != 0 ? value : fallback;
}

static struct charge *charge_of(struct supervisor *s, struct cx_ref ref)
{
	for (size_t i = 0; i < s->conf.child_count; i++)
		if (cx_ref_is(s->charges[i].ref, ref))
			return &s->charges[i];
	return NULL;
}

static uint64_t backoff_ms(struct cx_ctx *ctx, const struct supervisor *s, uint32_t failures)
{
	uint64_t most = s->conf.backoff_min_ms;

	for (uint32_t i = 1; i < failures && most < s->conf.backoff_max_ms; i++)
		most *= 2;
	if (most > s->conf.backoff_max_ms)
		most = s->conf.backoff_max_ms;
	return cx_random(ctx) % (most + 1);
}

static void on_failed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct supervisor *s = state;
	const struct cx__failed *failed = CX_MSG_AS(struct cx__failed, msg);
	struct charge *charge = charge_of(s, failed->who);
	const uint64_t now_ms = cx_now_ms(ctx);

	if (charge == NULL)
		return;
	if (now_ms - s->window_from_ms > s->conf.window_ms) {
		s->window_from_ms = now_ms;
		s->restarts = 0;
	}
	if (s->restarts++ >= s->conf.max_restarts) {
		cx_log(CX_ERROR, "supervisor.gave_up", "kind=%s restarts=%u window_ms=%u",
		       charge->spec->type->name, s->conf.max_restarts, s->conf.window_ms);
		cx_fail(ctx, CX_EIO);
		return;
	}
	if (now_ms - charge->failed_ms > s->conf.window_ms)
		charge->failures = 0;
	charge->failures++;
	charge->failed_ms = now_ms;
	cx_timer_arm(ctx, &charge->timer, backoff_ms(ctx, s, charge->failures),
	             SUPERVISOR_RESTART);
}

static void on_restart(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct cx_timer *timer = CX_MSG_AS(struct cx_msg_timer, msg)->timer;
	const struct charge *charge = (const struct charge *)(const void *)timer;
	struct cx_worker *w = ctx->worker;
	enum cx_err err;

	(void)state;
	err = cx__deliver(w->rt, w, charge->ref,
	                  cx__start_msg(w, CX_MSG_RESTART, charge->spec->type,
	                                charge->spec->conf, cx_self(ctx)),
	                  CX__CONTROL);
	(void)err; /* it ended for good meanwhile */
}

static void check(const struct cx_supervisor_conf *conf)
{
	cx__demand(conf->child_count <= CHILDREN_MAX, "a supervisor has more than 32 children");
	cx__demand(conf->child_count == 0 || conf->children != NULL,
	           "a supervisor has a child_count, but its children are NULL");
	for (size_t i = 0; i < conf->child_count; i++) {
		const struct cx_actor_type *type = conf->children[i].type;

		cx__demand(type != NULL, "the type of a supervisor's child is NULL");
		cx__demand(type->placement != CX_PLACE_THREAD,
		           "a supervisor's child is CX_PLACE_THREAD, which is spawned at boot "
		           "only");
	}
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct supervisor *s = state;
	struct cx_worker *w = ctx->worker;

	s->conf = *(const struct cx_supervisor_conf *)conf;
	check(&s->conf);
	s->conf.max_restarts = or_default(s->conf.max_restarts, 10);
	s->conf.window_ms = or_default(s->conf.window_ms, 60000);
	s->conf.backoff_min_ms = or_default(s->conf.backoff_min_ms, 50);
	s->conf.backoff_max_ms = or_default(s->conf.backoff_max_ms, 5000);
	s->window_from_ms = cx_now_ms(ctx);
	for (size_t i = 0; i < s->conf.child_count; i++) {
		struct charge *charge = &s->charges[i];
		const struct cx_child *child = &s->conf.children[i];
		struct cx_ref *ref = child->ref != NULL ? child->ref : &charge->ref;
		const enum cx_err err = cx__spawn(w->rt, w, child->type, child->conf,
		                                  child->home_key, cx_self(ctx), ref);

		if (err != CX_OK)
			return err;
		charge->spec = child;
		charge->ref = *ref;
	}
	return CX_OK;
}

/* A supervisor's end is its children's end. */
static void stop(struct cx_ctx *ctx, void *state)
{
	struct supervisor *s = state;

	for (size_t i = 0; i < s->conf.child_count; i++) {
		struct cx_worker *w = ctx->worker;
		const enum cx_err err = cx__deliver(
			w->rt, w, s->charges[i].ref,
			cx__msg_new(w, CX_MSG_STOP, sizeof(struct cx_msg)), CX__CONTROL);

		(void)err; /* ended already */
	}
}

static const struct cx_handler handlers[] = {
	CX_ON(CX__MSG_FAILED, struct cx__failed, on_failed),
	CX_ON(SUPERVISOR_RESTART, struct cx_msg_timer, on_restart),
};

const struct cx_actor_type cx_supervisor_type = {
	.name = "supervisor",
	.state_size = sizeof(struct supervisor),
	.conf_size = sizeof(struct cx_supervisor_conf),
	.mailbox_cap = 1024,
	.placement = CX_PLACE_HOME,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
