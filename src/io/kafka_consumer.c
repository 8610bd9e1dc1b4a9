/* SPDX-License-Identifier: MIT */
/* 1. While a revocation is under way the library is not polled: no record and no other rebalance
 *    can come between KAFKA_REVOKED and its end.
 * 2. A revocation ends when each owner has answered or is late; then what is done is committed,
 *    and only then the partitions are given up. */
#include "io/kafka_consumer.h"

#include <stdlib.h>
#include <string.h>

#include <cx/io.h>
#include <cx/log.h>

#include "io/kafka_consumer_state.h"

#define LOOK_MS 1000     /* between looks whether a broker answers */
#define LOOK_WAIT_MS 300 /* for its answer */
#define MAILBOX_CAP 65536
#define TICK_MS 100
#define COMMITTED_MS 5000 /* to ask the group where to begin */
#define COMMIT_NOW_MS 5000

/* ---- callbacks, inside rd_kafka_consumer_poll and rd_kafka_consumer_close ---- */

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct kafka_consumer *const c = opaque;

	if (c->after == KAFKA_AFTER_CLOSE || c->rebalance != NULL) {
		rd_kafka_assign(rk, NULL);
		return;
	}
	c->rebalance = rd_kafka_topic_partition_list_copy(list);
	c->rebalance_err = err;
	c->is_lost = rd_kafka_assignment_lost(rk) != 0;
	rd_kafka_yield(rk); /* nothing else before it is looked at */
}

static void on_error(rd_kafka_t *rk, int err, const char *why, void *opaque)
{
	struct kafka_consumer *const c = opaque;

	(void)why;
	c->figures.errors++;
	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		c->figures.is_connected = false;
	if (rd_kafka_fatal_error(rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
		c->is_broken = true;
	cx_log(CX_WARN, "kafka.consumer_error", "err=%s fatal=%d",
	       rd_kafka_err2name((rd_kafka_resp_err_t)err), c->is_broken);
}

/* ---- the client ---- */

static bool subscribe(struct kafka_consumer *c)
{
	rd_kafka_topic_partition_list_t *const list =
		rd_kafka_topic_partition_list_new((int)c->conf->topic_count);
	rd_kafka_resp_err_t err;

	for (uint32_t i = 0; i < c->conf->topic_count; i++)
		rd_kafka_topic_partition_list_add(list, c->conf->topics[i],
		                                  RD_KAFKA_PARTITION_UA);
	err = rd_kafka_subscribe(c->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool build(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	char why[256] = "";
	rd_kafka_conf_t *const conf = kafka_conf_consumer(&c->opaque, why, sizeof(why));

	c->joining_ms = cx_now_ms(ctx);
	c->is_joined = c->is_broken = c->is_committing = false;
	if (conf != NULL) {
		rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
		rd_kafka_conf_set_error_cb(conf, on_error);
		c->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	}
	if (c->rk == NULL) {
		if (conf != NULL)
			rd_kafka_conf_destroy(conf);
		cx_log(CX_ERROR, "kafka.consumer_refused", "why=\"%s\"", why);
		return false;
	}
	rd_kafka_poll_set_consumer(c->rk);
	c->queue = rd_kafka_queue_get_consumer(c->rk);
	c->commit_queue = rd_kafka_queue_new(c->rk);
	kafka_wake_on(c->queue, &c->wake);
	kafka_wake_on(c->commit_queue, &c->wake);
	return subscribe(c);
}

static void dismantle(struct kafka_consumer *c, int flags)
{
	if (c->rk == NULL)
		return;
	kafka_wake_off(c->queue);
	kafka_wake_off(c->commit_queue);
	rd_kafka_queue_destroy(c->queue);
	rd_kafka_queue_destroy(c->commit_queue);
	if (c->rebalance != NULL)
		rd_kafka_topic_partition_list_destroy(c->rebalance);
	c->rebalance = NULL;
	rd_kafka_destroy_flags(c->rk, flags);
	c->rk = NULL;
}

/* ---- revocation ---- */

static bool is_answered(const struct kafka_consumer *c)
{
	for (const struct kafka_partition *p = c->partitions; p != NULL; p = p->next)
		if (p->is_revoking)
			return false;
	return true;
}

static void drop_partitions(struct kafka_consumer *c)
{
	while (c->partitions != NULL) {
		struct kafka_partition *const p = c->partitions;

		c->partitions = p->next;
		c->figures.owners_late += p->is_revoking;
		c->figures.revocations++;
		kafka_partition_close(p);
		free(p);
	}
}

/* Whatever the group knows of us, commit what is done: at most as much as asked for. */
static bool commit_now(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	if (c->rk == NULL)
		return false;
	for (int tries = 0; tries < 3 && !kafka_fetch_is_committed(c); tries++) {
		kafka_fetch_committed(c, COMMIT_NOW_MS); /* one that is under way */
		kafka_fetch_commit(ctx, c);
		kafka_fetch_committed(c, COMMIT_NOW_MS);
	}
	return kafka_fetch_is_committed(c);
}

static void close_client(struct kafka_consumer *c)
{
	if (c->rk != NULL) {
		c->after = KAFKA_AFTER_CLOSE;
		cx_io_flush();
		rd_kafka_consumer_close(c->rk);
	}
	dismantle(c, 0);
	c->is_closed = true;
	c->is_joined = false;
}

static void finish_revoke(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	const enum kafka_after after = c->after;
	const bool is_committed = c->is_lost ? kafka_fetch_is_committed(c) : commit_now(ctx, c);
	struct kafka_consumer_closed *m;

	drop_partitions(c);
	c->after = KAFKA_AFTER_NONE;
	c->joining_ms = cx_now_ms(ctx);
	c->is_joined = false;
	if (after == KAFKA_AFTER_UNASSIGN) {
		rd_kafka_assign(c->rk, NULL);
	} else if (after == KAFKA_AFTER_REBUILD) {
		/* Leaving in order may be just what hangs. */
		dismantle(c, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
		c->figures.rebuilt++;
		build(ctx, c); /* failed: the watchdog tries again */
	} else {
		close_client(c);
		m = CX_MSG_NEW(ctx, KAFKA_CONSUMER_CLOSED, struct kafka_consumer_closed);
		m->is_committed = is_committed;
		cx_answer(ctx, c->closer, &m->hdr);
	}
}

static void begin_revoke(struct cx_ctx *ctx, struct kafka_consumer *c, enum kafka_after after)
{
	c->after = after;
	c->revoke_due_ms = cx_now_ms(ctx) + c->conf->revoke_ms;
	for (struct kafka_partition *p = c->partitions; p != NULL; p = p->next) {
		struct kafka_revoked *const m =
			CX_MSG_NEW(ctx, KAFKA_REVOKED, struct kafka_revoked);

		m->topic = p->topic;
		m->partition = p->number;
		m->epoch = p->epoch;
		m->is_lost = c->is_lost;
		p->is_revoking = cx_send_reserved(ctx, p->owner, &m->hdr) == CX_OK;
	}
}

/* ---- assignment ---- */

static void add_partition(struct cx_ctx *ctx, struct kafka_consumer *c,
                          const rd_kafka_topic_partition_t *at)
{
	struct kafka_partition *p;
	uint32_t topic = 0;

	while (topic < c->conf->topic_count && strcmp(c->conf->topics[topic], at->topic) != 0)
		topic++;
	if (topic == c->conf->topic_count)
		return;
	p = calloc(1, sizeof(*p));
	cx_assert(p != NULL);
	p->topic = topic;
	p->number = at->partition;
	p->owner = c->conf->owners[topic * c->conf->owner_count +
	                           (uint32_t)at->partition % c->conf->owner_count];
	p->epoch = ++c->epoch;
	p->position = p->committed = at->offset >= 0 ? at->offset : -1;
	p->done = p->seek_to = -1;
	p->moved_ms = cx_now_ms(ctx);
	p->next = c->partitions;
	c->partitions = p;
	c->figures.assignments++;
	kafka_fetch_tell_assigned(ctx, p, p->position);
}

static void assign(struct cx_ctx *ctx, struct kafka_consumer *c,
                   rd_kafka_topic_partition_list_t *list)
{
	/* Asked here so that the owner knows the place; without an answer the library asks again. */
	if (list->cnt > 0 && rd_kafka_committed(c->rk, list, COMMITTED_MS) != 0)
		for (int i = 0; i < list->cnt; i++)
			list->elems[i].offset = RD_KAFKA_OFFSET_INVALID;
	rd_kafka_assign(c->rk, list);
	for (int i = 0; i < list->cnt; i++)
		add_partition(ctx, c, &list->elems[i]);
	c->is_joined = true;
	c->figures.is_connected = true;
}

static void on_group(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	rd_kafka_topic_partition_list_t *const list = c->rebalance;

	c->rebalance = NULL;
	if (c->rebalance_err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		assign(ctx, c, list);
	else
		begin_revoke(ctx, c, KAFKA_AFTER_UNASSIGN);
	rd_kafka_topic_partition_list_destroy(list);
}

/* ---- watchdog ---- */

static bool is_stuck(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	const uint64_t now_ms = cx_now_ms(ctx), limit_ms = c->conf->stuck_ms;
	int64_t low, high;

	if (!c->is_joined || c->is_broken || c->rk == NULL)
		return now_ms - c->joining_ms >= limit_ms;
	for (struct kafka_partition *p = c->partitions; p != NULL; p = p->next) {
		if (p->is_paused ||
		    rd_kafka_get_watermark_offsets(c->rk, c->conf->topics[p->topic], p->number,
		                                   &low, &high) != 0 ||
		    high <= (p->position >= 0 ? p->position : low))
			p->moved_ms = now_ms;
		else if (now_ms - p->moved_ms >= limit_ms)
			return true;
	}
	return false;
}

static void tick(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	for (struct kafka_partition *p = c->partitions; p != NULL; p = p->next)
		if (p->seek_to >= 0)
			kafka_fetch_seek(ctx, c, p);
	if (now_ms >= c->commit_due_ms) {
		kafka_fetch_commit(ctx, c);
		c->commit_due_ms = now_ms + c->conf->commit_ms;
	}
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct kafka_consumer *const c = state;
	bool is_empty = true;

	if (c->is_closed)
		return;
	if (c->after == KAFKA_AFTER_NONE && is_stuck(ctx, c)) {
		cx_log(CX_WARN, "kafka.consumer_stuck", "joined=%d", c->is_joined);
		c->is_lost = false;
		begin_revoke(ctx, c, KAFKA_AFTER_REBUILD);
	}
	if (c->rk != NULL)
		kafka_fetch_committed(c, 0);
	if (c->after == KAFKA_AFTER_NONE && c->rk != NULL) {
		tick(ctx, c);
		is_empty = kafka_fetch_turn(ctx, c);
		if (c->rebalance != NULL)
			on_group(ctx, c);
	}
	if (c->after != KAFKA_AFTER_NONE &&
	    (is_answered(c) || cx_now_ms(ctx) >= c->revoke_due_ms)) {
		finish_revoke(ctx, c);
		is_empty = false; /* what came meanwhile made its wake-up already */
	}
	if (c->is_closed)
		cx_timer_cancel(ctx, &c->timer);
	else if (!is_empty || !cx_timer_is_armed(&c->timer))
		cx_timer_arm(ctx, &c->timer, is_empty ? TICK_MS : 0, TIMER_A);
}

/* ---- messages ---- */

static struct kafka_partition *find(const struct kafka_consumer *c, const struct cx_msg *msg)
{
	const struct kafka_place *const m = CX_MSG_AS(struct kafka_place, msg);
	struct kafka_partition *const p = kafka_fetch_find(c, m->topic, m->partition);

	return p != NULL && p->epoch == m->epoch ? p : NULL;
}

static void on_done(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct kafka_consumer *const c = state;
	struct kafka_partition *const p = find(c, msg);

	(void)ctx;
	if (p == NULL)
		return;
	kafka_fetch_done(c, p, CX_MSG_AS(struct kafka_place, msg)->next_offset);
	if (msg->type == KAFKA_REVOKED_DONE)
		p->is_revoking = false;
}

static void on_seek(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct kafka_consumer *const c = state;
	struct kafka_partition *const p = find(c, msg);
	const int64_t to = CX_MSG_AS(struct kafka_place, msg)->next_offset;

	(void)ctx; /* batch_end does it */
	if (p == NULL || c->after != KAFKA_AFTER_NONE)
		return;
	p->seek_to = to >= 0             ? to
	             : p->done >= 0      ? p->done
	             : p->committed >= 0 ? p->committed
	                                 : 0;
}

static void on_close(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct kafka_consumer *const c = state;

	if (c->is_closed || !cx_ref_none(c->closer.ref)) {
		cx_reply_error(ctx, msg, CX_EINVAL);
		return;
	}
	c->closer = cx_caller_of(msg);
	if (c->after == KAFKA_AFTER_NONE) {
		c->is_lost = false;
		begin_revoke(ctx, c, KAFKA_AFTER_CLOSE);
	} else {
		c->after = KAFKA_AFTER_CLOSE; /* the owners are being asked already */
	}
}

/* What came last was "all brokers are down", and an idle client says no more when they are back. */
static void look_again(struct cx_ctx *ctx, struct kafka_consumer *c)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	if (c->figures.is_connected || c->rk == NULL || now_ms - c->looked_ms < LOOK_MS)
		return;
	c->looked_ms = now_ms;
	c->figures.is_connected = kafka_answers(c->rk, LOOK_WAIT_MS);
}

static void on_figures(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct kafka_consumer *const c = state;
	struct kafka_consumer_figures *const m =
		CX_MSG_NEW(ctx, KAFKA_CONSUMER_FIGURES, struct kafka_consumer_figures);
	const struct cx_msg hdr = m->hdr;
	int64_t low, high;

	look_again(ctx, c);
	*m = c->figures;
	m->hdr = hdr;
	m->is_joined = c->is_joined;
	for (const struct kafka_partition *p = c->partitions; p != NULL; p = p->next) {
		m->partitions++;
		m->paused += p->is_paused;
		m->unpaid_bytes += p->unpaid_bytes;
		if (c->rk != NULL && p->position >= 0 &&
		    rd_kafka_get_watermark_offsets(c->rk, c->conf->topics[p->topic], p->number,
		                                   &low, &high) == 0 &&
		    high > p->position)
			m->lag += (uint64_t)(high - p->position);
	}
	cx_reply(ctx, msg, &m->hdr);
}

static void on_nothing(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg; /* the work is done by batch_end */
}

/* ---- life ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct kafka_consumer *const c = state;

	c->conf = *(const struct kafka_consumer_conf *const *)conf;
	c->opaque.settings = c->conf->settings;
	c->wake = (struct kafka_wake){ c->conf->rt, cx_self(ctx) };
	if (c->conf->topic_count > KAFKA_READ_TOPICS_MAX || !build(ctx, c)) {
		dismantle(c, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
		c->is_closed = true;
		return CX_EINVAL;
	}
	c->scratch = malloc(KAFKA_SCRATCH_BYTES);
	cx_assert(c->scratch != NULL);
	cx_timer_arm(ctx, &c->timer, TICK_MS, TIMER_A);
	return CX_OK;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct kafka_consumer *const c = state;

	if (!c->is_closed) {
		commit_now(ctx, c);
		close_client(c);
	}
	drop_partitions(c);
	free(c->scratch);
	c->scratch = NULL;
}

static const struct cx_handler handlers[] = {
	CX_ON(KAFKA_DONE, struct kafka_place, on_done),
	CX_ON(KAFKA_REVOKED_DONE, struct kafka_place, on_done),
	CX_ON(KAFKA_SEEK, struct kafka_place, on_seek),
	CX_ON(KAFKA_CONSUMER_CLOSE, struct cx_msg, on_close),
	CX_ON(KAFKA_CONSUMER_ASK_FIGURES, struct cx_msg, on_figures),
	CX_ON(KAFKA_EVENT, struct cx_msg, on_nothing),
	CX_ON(TIMER_A, struct cx_msg_timer, on_nothing),
};

const struct cx_actor_type kafka_consumer_type = {
	.name = "kafka_consumer",
	.state_size = sizeof(struct kafka_consumer),
	.conf_size = sizeof(struct kafka_consumer_conf *),
	.mailbox_cap = MAILBOX_CAP,
	.batch_max = 1024,
	.placement = CX_PLACE_THREAD,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
