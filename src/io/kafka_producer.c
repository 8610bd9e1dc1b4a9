/* SPDX-License-Identifier: MIT */
/* 1. Each accepted record stands in the outbox until its answer; the library borrows its bytes.
 * 2. Records of one topic and key are handed over in the outbox's order, so the library's order is
 *    ours; those of different partitions, and of topics that are spread, in any.
 * 3. The library's pointer to an entry ends with its report or with its client, whichever is first;
 *    so an entry that was handed over is removed nowhere else.
 * 4. The library has records for no more batches than it may have requests on their way to one
 *    broker (kafka_outbox.h says why; with several brokers it could have as many to each, but then
 *    we would have to follow who leads which partition).  A partition gathers its next batch while
 *    its last one is on its way, so batches grow with the load. */
#include "io/kafka_producer.h"

#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#include <cx/io.h>
#include <cx/log.h>

#include "io/kafka_linger.h"
#include "io/kafka_outbox.h"
#include "io/kafka_record.h"
#include "io/kafka_wake.h"

#define LOOK_MS 1000     /* between looks whether a broker answers */
#define LOOK_WAIT_MS 300 /* for its answer */
#define MAILBOX_CAP 65536
#define BATCH_MAX 1024
#define BY_KEY_EVERY 1024 /* batches */
#define TICK_MS 200
#define REBUILD_EVERY_MS 1000
#define PURGE_MS 2000 /* for the reports of what is taken back from the library */

struct producer {
	struct kafka_opaque opaque; /* first */
	const struct kafka_producer_conf *conf;
	rd_kafka_t *rk; /* NULL: none for now */
	rd_kafka_queue_t *queue;
	rd_kafka_topic_t *topics[KAFKA_TOPICS_MAX];
	int32_t partitions[KAFKA_TOPICS_MAX]; /* written by the library's threads: relaxed */
	int32_t lanes[KAFKA_TOPICS_MAX];      /* partitions when its entries got their lanes */
	uint32_t turn[KAFKA_TOPICS_MAX];      /* of those that are spread: this batch's */
	struct kafka_wake wake;
	struct kafka_outbox outbox;
	struct kafka_linger linger;
	uint64_t handed_ms; /* the last batch */
	uint64_t looked_ms; /* when figures.is_connected was last made sure of */
	struct kafka_producer_figures figures;
	struct cx_timer timer;
	uint64_t built_ms;
	bool is_fatal; /* rk is of no use any more */
	bool is_closed;
};

static void answer(struct cx_ctx *ctx, struct producer *p, struct cx_caller who,
                   enum kafka_outcome outcome, const rd_kafka_message_t *report)
{
	struct kafka_produced *const m = CX_MSG_NEW(ctx, KAFKA_PRODUCED, struct kafka_produced);
	uint64_t *const counters[] = { [KAFKA_OK] = &p->figures.written,
		                       [KAFKA_NOT_WRITTEN] = &p->figures.not_written,
		                       [KAFKA_UNKNOWN] = &p->figures.unknown,
		                       [KAFKA_BUSY] = &p->figures.busy };

	++*counters[outcome];
	m->outcome = outcome;
	m->partition = outcome == KAFKA_OK ? report->partition : -1;
	m->offset = outcome == KAFKA_OK ? report->offset : -1;
	cx_answer(ctx, who, &m->hdr);
}

static void finish(struct cx_ctx *ctx, struct producer *p, struct kafka_entry *e,
                   enum kafka_outcome outcome, const rd_kafka_message_t *report)
{
	answer(ctx, p, e->who, outcome, report);
	kafka_outbox_remove(&p->outbox, e);
}

/* ---- what comes from the library ---- */

static void note_fatal(struct producer *p)
{
	if (!p->is_fatal && p->rk != NULL && rd_kafka_fatal_error(p->rk, NULL, 0) != 0)
		p->is_fatal = true;
}

static void on_report(struct cx_ctx *ctx, struct producer *p, const rd_kafka_message_t *m)
{
	struct kafka_entry *const e = m->_private;
	const rd_kafka_msg_status_t status = rd_kafka_message_status(m);

	cx_assert(e->state == KAFKA_ENTRY_HANDED);
	if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR || status == RD_KAFKA_MSG_STATUS_PERSISTED) {
		p->figures.is_connected = true;
		finish(ctx, p, e, KAFKA_OK, m);
		return;
	}
	note_fatal(p); /* its event may stand behind this report */
	if (status == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED)
		finish(ctx, p, e, KAFKA_UNKNOWN, m);
	else if (p->is_fatal && !p->is_closed)
		kafka_outbox_returned(&p->outbox, e);
	else
		finish(ctx, p, e, KAFKA_NOT_WRITTEN, m);
}

static void on_error(struct producer *p, rd_kafka_event_t *event)
{
	const rd_kafka_resp_err_t err = rd_kafka_event_error(event);

	p->figures.errors++;
	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		p->figures.is_connected = false;
	note_fatal(p);
	cx_log(CX_WARN, "kafka.producer_error", "err=%s fatal=%d", rd_kafka_err2name(err),
	       p->is_fatal);
}

/* Returns false: nothing came in wait_ms. */
static bool take_event(struct cx_ctx *ctx, struct producer *p, int wait_ms)
{
	rd_kafka_event_t *const event = rd_kafka_queue_poll(p->queue, wait_ms);
	const rd_kafka_message_t *m;

	if (event == NULL)
		return false;
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
		while ((m = rd_kafka_event_message_next(event)) != NULL)
			on_report(ctx, p, m);
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
		on_error(p, event);
	rd_kafka_event_destroy(event);
	return true;
}

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Wait for reports until the library has none of ours, at most for_ms. */
static void await_reports(struct cx_ctx *ctx, struct producer *p, uint64_t for_ms)
{
	const uint64_t until_ms = clock_ms() + for_ms;

	while (rd_kafka_outq_len(p->rk) > 0 && clock_ms() < until_ms)
		take_event(ctx, p, 20);
	while (take_event(ctx, p, 0))
		;
}

/* ---- the client ---- */

/* As the setting "partitioner" says, and a note of how many there are: nothing else tells that
 * without a question to the broker. */
static int32_t partition_of(const rd_kafka_topic_t *rkt, const void *key, size_t len,
                            int32_t count, void *partitions, void *entry)
{
	__atomic_store_n((int32_t *)partitions, count,
	                 __ATOMIC_RELAXED); /* pairs: follow_partitions */
	return rd_kafka_msg_partitioner_murmur2_random(rkt, key, len, count, partitions, entry);
}

static rd_kafka_topic_t *topic_new(struct producer *p, uint32_t topic)
{
	rd_kafka_topic_conf_t *const conf = rd_kafka_default_topic_conf_dup(p->rk);

	rd_kafka_topic_conf_set_partitioner_cb(conf, partition_of);
	rd_kafka_topic_conf_set_opaque(conf, &p->partitions[topic]);
	return rd_kafka_topic_new(p->rk, p->conf->topics[topic], conf);
}

static bool build(struct cx_ctx *ctx, struct producer *p)
{
	char why[256] = "";
	rd_kafka_conf_t *const conf = kafka_conf_producer(&p->opaque, why, sizeof(why));

	p->built_ms = cx_now_ms(ctx);
	if (conf != NULL)
		p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (p->rk == NULL) {
		if (conf != NULL)
			rd_kafka_conf_destroy(conf);
		cx_log(CX_ERROR, "kafka.producer_refused", "why=\"%s\"", why);
		return false;
	}
	for (uint32_t i = 0; i < p->conf->topic_count; i++) {
		p->topics[i] = topic_new(p, i);
		cx_assert(p->topics[i] != NULL);
	}
	p->queue = rd_kafka_queue_get_main(p->rk);
	kafka_wake_on(p->queue, &p->wake);
	return true;
}

/* Everything handed over comes back first: written, not written or unknown. */
static void dismantle(struct cx_ctx *ctx, struct producer *p)
{
	struct kafka_entry *next;

	if (p->rk == NULL)
		return;
	rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	await_reports(ctx, p, PURGE_MS);
	kafka_wake_off(p->queue);
	rd_kafka_queue_destroy(p->queue);
	for (uint32_t i = 0; i < p->conf->topic_count; i++)
		rd_kafka_topic_destroy(p->topics[i]);
	rd_kafka_destroy(p->rk);
	p->rk = NULL;
	for (struct kafka_entry *e = p->outbox.first; e != NULL; e = next) {
		next = e->next;
		if (e->state == KAFKA_ENTRY_HANDED) /* its report did not come in time */
			finish(ctx, p, e, KAFKA_UNKNOWN, NULL);
	}
	p->figures.replayed += p->outbox.count - p->outbox.waiting;
	kafka_outbox_rewind(&p->outbox);
}

/* The next client after a fatal error; again a while later when that fails too. */
static void rebuild(struct cx_ctx *ctx, struct producer *p)
{
	if (cx_now_ms(ctx) - p->built_ms < REBUILD_EVERY_MS)
		return;
	dismantle(ctx, p);
	p->is_fatal = !build(ctx, p);
	p->figures.rebuilt++;
}

/* ---- what goes to the library ---- */

static rd_kafka_headers_t *unpack_headers(const struct kafka_entry *e)
{
	const struct wire_slice packed = { cx_buf_bytes(e->buf), e->headers_len };
	rd_kafka_headers_t *const headers = rd_kafka_headers_new(4);
	struct wire_slice value;
	const char *name;
	size_t at = 0;

	while (kafka_header_next(packed, &at, &name, &value))
		rd_kafka_header_add(headers, name, -1, value.at, (ssize_t)value.len);
	return headers;
}

static bool is_spread(const struct producer *p, unsigned topic)
{
	return (p->conf->spread >> topic & 1) != 0;
}

/* Where the batch's records of that topic go.  Now and then by their keys: only so do we hear that a
 * topic has more partitions. */
static int32_t partition_for(const struct producer *p, unsigned topic)
{
	const int32_t count = p->lanes[topic];
	const uint32_t turn = p->turn[topic];

	if (!is_spread(p, topic) || count == 0 || turn % BY_KEY_EVERY == 0)
		return RD_KAFKA_PARTITION_UA; /* partition_of says */
	return (int32_t)(turn % (uint32_t)count);
}

static rd_kafka_resp_err_t hand_with_headers(struct producer *p, struct kafka_entry *e,
                                             void *value, size_t len)
{
	rd_kafka_headers_t *const headers = unpack_headers(e);
	const rd_kafka_vu_t vus[] = {
		{ .vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = p->topics[e->topic] },
		{ .vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition_for(p, e->topic) },
		{ .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { value, len } },
		{ .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { e->key, e->key_len } },
		{ .vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers },
		{ .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = e },
	};
	rd_kafka_error_t *const error = rd_kafka_produceva(p->rk, vus, CX_COUNTOF(vus));
	rd_kafka_resp_err_t err;

	if (error == NULL)
		return RD_KAFKA_RESP_ERR_NO_ERROR; /* the headers are the library's now */
	err = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	rd_kafka_headers_destroy(headers);
	return err;
}

static rd_kafka_resp_err_t hand(struct producer *p, struct kafka_entry *e)
{
	uint8_t *const value = cx_buf_data(e->buf) + e->headers_len; /* only read */
	const size_t len = cx_buf_len(e->buf) - e->headers_len;

	cx_io_flush();
	if (e->headers_len > 0)
		return hand_with_headers(p, e, value, len);
	if (rd_kafka_produce(p->topics[e->topic], partition_for(p, e->topic), 0, value, len,
	                     e->key_len > 0 ? e->key : NULL, e->key_len, e) == 0)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	return rd_kafka_last_error();
}

/* Returns false: it takes no more now. */
static bool hand_batch(struct cx_ctx *ctx, struct producer *p, struct kafka_lane *lane)
{
	const uint16_t batch = kafka_outbox_batch(&p->outbox, lane);
	const uint64_t max = kafka_batch_max(p->conf->settings);
	struct kafka_entry *e;
	uint64_t bytes = 0;

	if (is_spread(p, lane->first->topic))
		p->turn[lane->first->topic]++;
	while ((e = lane->first) != NULL &&
	       (bytes == 0 || bytes + kafka_entry_bytes(e) <= max)) {
		const rd_kafka_resp_err_t err = hand(p, e);

		if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
			bytes += kafka_entry_bytes(e);
			kafka_outbox_handed(&p->outbox, lane, batch);
		} else if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			return false; /* the next report makes room */
		} else if (rd_kafka_fatal_error(p->rk, NULL, 0) != 0) {
			p->is_fatal = true;
			return false;
		} else {
			p->figures.errors++;
			cx_log(CX_WARN, "kafka.produce_refused", "err=%s",
			       rd_kafka_err2name(err));
			finish(ctx, p, e, KAFKA_NOT_WRITTEN, NULL);
		}
	}
	p->figures.batches += bytes > 0;
	return true;
}

static void hand_over(struct cx_ctx *ctx, struct producer *p, bool is_ripe)
{
	const uint64_t full = kafka_batch_max(p->conf->settings);
	struct kafka_lane *lane;

	while (!p->is_fatal && (lane = kafka_outbox_next(&p->outbox, full, is_ripe)) != NULL) {
		if (!hand_batch(ctx, p, lane))
			return;
		p->handed_ms = cx_now_ms(ctx);
		is_ripe = is_ripe && kafka_linger_ms(&p->linger) == 0;
	}
}

/* Has the oldest of those that wait for company alone waited long enough?  *left_ms: until it has. */
static bool is_ripe(struct producer *p, uint64_t now_ms, uint32_t *left_ms)
{
	const struct kafka_lane *const lane = kafka_outbox_oldest(&p->outbox, true);
	uint32_t left;

	if (lane == NULL)
		return false; /* the report of a batch comes first */
	left = kafka_linger_left_ms(&p->linger, now_ms - lane->first->accepted_ms,
	                            kafka_outbox_is_out(&p->outbox), now_ms - p->handed_ms);
	if (left > 0)
		*left_ms = left;
	return left == 0;
}

static uint16_t lane_of(const struct producer *p, const struct kafka_entry *e)
{
	const int32_t count = p->lanes[e->topic];
	int32_t partition = 0; /* which one, the library or hand_batch chooses */

	if (e->key_len > 0 && count > 1 && !is_spread(p, e->topic))
		partition = rd_kafka_msg_partitioner_murmur2(NULL, e->key, e->key_len, count,
		                                             NULL, NULL);
	return (uint16_t)(((uint32_t)partition + e->topic * 7U) % KAFKA_LANES);
}

/* A topic has got more partitions, or is known only now. */
static void follow_partitions(struct producer *p)
{
	bool is_changed = false;

	for (uint32_t i = 0; i < p->conf->topic_count; i++) {
		const int32_t count = __atomic_load_n(&p->partitions[i], __ATOMIC_RELAXED);

		is_changed |= count != p->lanes[i];
		p->lanes[i] = count;
	}
	if (!is_changed)
		return;
	for (struct kafka_entry *e = p->outbox.first; e != NULL; e = e->next)
		if (e->state == KAFKA_ENTRY_WAITING)
			e->lane = lane_of(p, e);
	kafka_outbox_line_up(&p->outbox);
}

/* What the library does not have is not under its clock, so ours runs. */
static void expire(struct cx_ctx *ctx, struct producer *p)
{
	const uint64_t limit_ms = p->conf->settings->producer.delivery_timeout_ms;
	struct kafka_lane *lane;

	while ((lane = kafka_outbox_oldest(&p->outbox, false)) != NULL &&
	       cx_now_ms(ctx) - lane->first->accepted_ms >= limit_ms)
		finish(ctx, p, lane->first, KAFKA_NOT_WRITTEN, NULL);
}

static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct producer *const p = state;
	uint32_t wait_ms = TICK_MS;

	if (p->is_closed)
		return;
	while (p->rk != NULL && take_event(ctx, p, 0))
		;
	if (p->is_fatal)
		rebuild(ctx, p);
	expire(ctx, p);
	follow_partitions(p);
	if (!p->is_fatal)
		hand_over(ctx, p, is_ripe(p, cx_now_ms(ctx), &wait_ms));
	if (!cx_timer_is_armed(&p->timer) || wait_ms < TICK_MS)
		cx_timer_arm(ctx, &p->timer, wait_ms > 0 ? wait_ms - 1 : 0, TIMER_A);
}

/* ---- asks ---- */

static void on_produce(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_produce_msg *const m = CX_MSG_AS(struct kafka_produce_msg, msg);
	struct producer *const p = state;
	struct kafka_entry *e;

	if (m->topic >= p->conf->topic_count || m->key_len > sizeof(m->key) ||
	    msg->buf == NULL || m->headers_len > cx_buf_len(msg->buf)) {
		cx_reply_error(ctx, msg, CX_EINVAL);
		return;
	}
	if (p->is_closed || !kafka_outbox_has_room(&p->outbox, cx_buf_len(msg->buf))) {
		answer(ctx, p, cx_caller_of(msg), p->is_closed ? KAFKA_NOT_WRITTEN : KAFKA_BUSY,
		       NULL);
		return;
	}
	e = kafka_outbox_add(&p->outbox, msg->buf);
	e->who = cx_caller_of(msg);
	e->accepted_ms = cx_now_ms(ctx);
	e->headers_len = m->headers_len;
	e->topic = m->topic;
	e->key_len = m->key_len;
	memcpy(e->key, m->key, m->key_len);
	e->lane = lane_of(p, e);
	kafka_outbox_wait(&p->outbox, e);
	kafka_linger_note(&p->linger, cx_now_ms(ctx), 1);
}

/* Write what is there, in at most for_ms. */
static void flush(struct cx_ctx *ctx, struct producer *p, uint64_t for_ms)
{
	const uint64_t until_ms = clock_ms() + for_ms;

	hand_over(ctx, p, true);
	while (p->outbox.count > 0 && !p->is_fatal && clock_ms() < until_ms) {
		take_event(ctx, p, 20);
		hand_over(ctx, p, true);
	}
	while (take_event(ctx, p, 0))
		;
}

static void close_client(struct cx_ctx *ctx, struct producer *p, uint32_t flush_ms)
{
	if (p->is_closed)
		return;
	if (p->rk != NULL && !p->is_fatal)
		flush(ctx, p, flush_ms);
	p->is_closed = true;
	dismantle(ctx, p);
	while (p->outbox.first != NULL)
		finish(ctx, p, p->outbox.first, KAFKA_NOT_WRITTEN, NULL);
	cx_timer_cancel(ctx, &p->timer);
}

static void on_close(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct producer *const p = state;
	const struct kafka_producer_figures before = p->figures;
	struct kafka_producer_closed *m;

	close_client(ctx, p, CX_MSG_AS(struct kafka_producer_close_msg, msg)->flush_ms);
	m = CX_MSG_NEW(ctx, KAFKA_PRODUCER_CLOSED, struct kafka_producer_closed);
	m->not_written = (uint32_t)(p->figures.not_written - before.not_written);
	m->unknown = (uint32_t)(p->figures.unknown - before.unknown);
	cx_reply(ctx, msg, &m->hdr);
}

/* What came last was "all brokers are down", or nothing yet: an idle client says no more. */
static void look_again(struct cx_ctx *ctx, struct producer *p)
{
	const uint64_t now_ms = cx_now_ms(ctx);

	if (p->figures.is_connected || p->rk == NULL || now_ms - p->looked_ms < LOOK_MS)
		return;
	p->looked_ms = now_ms;
	p->figures.is_connected = kafka_answers(p->rk, LOOK_WAIT_MS);
}

static void on_figures(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct producer *const p = state;
	struct kafka_producer_figures *const m =
		CX_MSG_NEW(ctx, KAFKA_PRODUCER_FIGURES, struct kafka_producer_figures);
	const struct cx_msg hdr = m->hdr;

	look_again(ctx, p);
	*m = p->figures;
	m->hdr = hdr;
	m->queued = p->outbox.count;
	m->gathering = p->outbox.waiting;
	m->queued_bytes = p->outbox.bytes;
	m->oldest_ms =
		p->outbox.first == NULL ? 0 : cx_now_ms(ctx) - p->outbox.first->accepted_ms;
	m->linger_ms = kafka_linger_ms(&p->linger);
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
	struct producer *const p = state;
	const struct kafka_settings *s;

	p->conf = *(const struct kafka_producer_conf *const *)conf;
	p->opaque.settings = s = p->conf->settings;
	p->wake = (struct kafka_wake){ p->conf->rt, cx_self(ctx) };
	p->linger.max_ms = s->producer.linger_ms;
	for (unsigned i = 0; i < KAFKA_TOPICS_MAX; i++) /* processes begin at different ones */
		p->turn[i] = (uint32_t)cx_random(ctx);
	if (p->conf->topic_count > KAFKA_TOPICS_MAX || !build(ctx, p))
		return CX_EINVAL;
	p->built_ms = 0; /* the first fatal error need not wait */
	return kafka_outbox_open(&p->outbox, s->producer.queue_messages,
	                         s->producer.queue_bytes, s->producer.max_in_flight);
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct producer *const p = state;

	if (p->outbox.entries == NULL)
		return;
	close_client(ctx, p, 0);
	kafka_outbox_close(&p->outbox);
}

static const struct cx_handler handlers[] = {
	CX_ON(KAFKA_PRODUCE, struct kafka_produce_msg, on_produce),
	CX_ON(KAFKA_PRODUCER_CLOSE, struct kafka_producer_close_msg, on_close),
	CX_ON(KAFKA_PRODUCER_ASK_FIGURES, struct cx_msg, on_figures),
	CX_ON(KAFKA_EVENT, struct cx_msg, on_nothing),
	CX_ON(TIMER_A, struct cx_msg_timer, on_nothing),
};

const struct cx_actor_type kafka_producer_type = {
	.name = "kafka_producer",
	.state_size = sizeof(struct producer),
	.conf_size = sizeof(struct kafka_producer_conf *),
	.mailbox_cap = MAILBOX_CAP,
	.batch_max = BATCH_MAX,
	.placement = CX_PLACE_THREAD,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};
