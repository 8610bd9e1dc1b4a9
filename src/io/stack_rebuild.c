/* SPDX-License-Identifier: MIT */
/* 1. All who ask are answered by one read that begins early enough for each of them.
 * 2. The read ends where the topic ended settle_ms after the last ask or later: by then servers have
 *    produced the acknowledgements that they took before.
 * 3. A read that fails begins anew: adding a hash twice is adding it once. */
#include "io/stack_rebuild.h"

#include <inttypes.h>

#include <cx/log.h>

#include "io/kafka_reader.h"
#include "wire/delivery_event.h"

#define ASKERS_MAX 64 /* one a worker thread */
#define TURN_RECORDS 5000
#define TURN_WAIT_MS 50
#define RETRY_MS 1000
#define LOG_MS 10000

struct asker {
	struct cx_ref ref;
	uint32_t asks;
};

struct stack_rebuild {
	const struct stack_rebuild_conf *conf;
	struct kafka_reader *reader; /* NULL: nobody asks, or the next try makes one */
	struct asker askers[ASKERS_MAX];
	uint32_t asker_count;
	int64_t since_ms;
	uint64_t began_ms, settled_ms, logged_ms;
	bool is_extended; /* the ends are those of settled_ms or later (inv. 2) */
	uint64_t added;
	bool is_full;
	struct cx_timer timer;
};

static struct stack_rebuild_figures all; /* one actor a process writes */

static void count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure of one writer, pairs with the loads in stack_rebuild_figures */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

void stack_rebuild_figures(struct stack_rebuild_figures *out)
{
	out->rebuilds = __atomic_load_n(&all.rebuilds, __ATOMIC_RELAXED);
	out->hashes = __atomic_load_n(&all.hashes, __ATOMIC_RELAXED);
	out->failures = __atomic_load_n(&all.failures, __ATOMIC_RELAXED);
}

/* ---- reading ---- */

static void take(void *arg, struct wire_slice value)
{
	struct stack_rebuild *const s = arg;
	struct delivery_event e;
	uint8_t hash[HASH_LEN];

	if (value.at == NULL ||
	    delivery_event_read(s->conf->settings->key, value, &e) != DELIVERY_OK)
		return; /* stack_receipts made a dead letter of it */
	delivery_event_pair(&e, hash);
	if (stack_acked_add(s->conf->settings->acked, hash))
		s->added++;
	else
		s->is_full = true;
}

static void drop_reader(struct stack_rebuild *s)
{
	kafka_reader_free(s->reader);
	s->reader = NULL;
	s->is_extended = false;
	s->added = 0;
}

static void answer(struct cx_ctx *ctx, struct stack_rebuild *s)
{
	cx_log(s->is_full ? CX_WARN : CX_INFO, "stack.rebuilt",
	       "acknowledged=%" PRIu64 " full=%d ms=%" PRIu64, s->added, s->is_full,
	       cx_now_ms(ctx) - s->began_ms);
	count(&all.rebuilds, 1);
	count(&all.hashes, s->added);
	for (uint32_t i = 0; i < s->asker_count; i++)
		for (uint32_t n = 0; n < s->askers[i].asks; n++) {
			struct stack_rebuilt *const m =
				CX_MSG_NEW(ctx, STACK_REBUILT, struct stack_rebuilt);
			enum cx_err err;

			m->added = s->added;
			m->is_full = s->is_full;
			err = cx_send_reserved(ctx, s->askers[i].ref, &m->hdr);
			(void)err; /* nobody waits any more */
		}
	s->asker_count = 0;
	drop_reader(s);
}

static void try_later(struct cx_ctx *ctx, struct stack_rebuild *s, const char *why)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	drop_reader(s);
	count(&all.failures, 1);
	if (s->logged_ms == 0 || now_ms - s->logged_ms >= LOG_MS) {
		s->logged_ms = now_ms;
		cx_log(CX_WARN, "stack.rebuild_waits", "why=\"%s\"", why);
	}
	cx_timer_arm(ctx, &s->timer, RETRY_MS, TIMER_A);
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct stack_rebuild *const s = state;
	char why[256] = "";
	enum kafka_read read;

	(void)msg;
	if (s->asker_count == 0)
		return;
	if (s->reader == NULL)
		s->reader = kafka_reader_new(s->conf->kafka, s->conf->settings->ack_topic,
		                             s->since_ms, why, sizeof(why));
	if (s->reader == NULL) {
		try_later(ctx, s, why);
		return;
	}
	read = kafka_reader_turn(s->reader, TURN_RECORDS, TURN_WAIT_MS, take, s);
	if (read == KAFKA_READ_BROKEN) {
		try_later(ctx, s, "the client is broken");
		return;
	}
	if (read == KAFKA_READ_END && s->is_extended) {
		answer(ctx, s);
		return;
	}
	if (read == KAFKA_READ_END && cx_now_ms(ctx) >= s->settled_ms)
		s->is_extended = kafka_reader_extend(s->reader);
	cx_timer_arm(ctx, &s->timer, 0, TIMER_A); /* the turn waits by itself */
}

/* ---- asks ---- */

static void on_rebuild(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct stack_rebuild_msg *const m = CX_MSG_AS(struct stack_rebuild_msg, msg);
	struct stack_rebuild *const s = state;
	uint32_t i = 0;

	if (s->asker_count == 0) {
		s->began_ms = cx_now_ms(ctx);
		s->since_ms = m->since_ms;
		s->is_full = false;
	} else if (m->since_ms < s->since_ms) {
		s->since_ms = m->since_ms;
		drop_reader(s);
	}
	while (i < s->asker_count && !cx_ref_is(s->askers[i].ref, msg->from))
		i++;
	cx_assert(i < ASKERS_MAX);
	if (i == s->asker_count)
		s->askers[s->asker_count++] = (struct asker){ .ref = msg->from };
	s->askers[i].asks++;
	s->settled_ms = cx_now_ms(ctx) + s->conf->settle_ms;
	s->is_extended = false;
	cx_timer_arm(ctx, &s->timer, 0, TIMER_A);
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct stack_rebuild *const s = state;

	(void)ctx;
	s->conf = *(const struct stack_rebuild_conf *const *)conf;
	return s->conf->settings->acked != NULL && s->conf->settings->key != NULL ? CX_OK
	                                                                          : CX_EINVAL;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct stack_rebuild *const s = state;

	(void)ctx;
	drop_reader(s);
}

static const struct cx_handler handlers[] = {
	CX_ON(STACK_REBUILD, struct stack_rebuild_msg, on_rebuild),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
};

const struct cx_actor_type stack_rebuild_type = {
	.name = "stack_rebuild",
	.state_size = sizeof(struct stack_rebuild),
	.conf_size = sizeof(struct stack_rebuild_conf *),
	.mailbox_cap = 1024,
	.placement = CX_PLACE_THREAD,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

enum cx_err stack_rebuild(struct cx_ctx *ctx, struct cx_ref rebuild, int64_t since_ms)
{
	struct stack_rebuild_msg *const m =
		CX_MSG_NEW(ctx, STACK_REBUILD, struct stack_rebuild_msg);

	m->since_ms = since_ms;
	return cx_send_reserved(ctx, rebuild, &m->hdr);
}
