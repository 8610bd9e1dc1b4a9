/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <time.h>

#include "roles/bench_memory.h"
#include "roles/bench_message.h"
#include "roles/bench_pair.h"
#include "roles/bench_parts.h"

#define WAKE_GRAIN_NS 100000 /* messages due so close together leave together */

static struct bench_pair *pair_of_sender(struct bench_session *s)
{
	return (struct bench_pair *)(void *)((char *)s - offsetof(struct bench_pair, sender));
}

static struct bench_pair *pair_of_recipient(struct bench_session *s)
{
	return (struct bench_pair *)(void *)((char *)s -
	                                     offsetof(struct bench_pair, recipient));
}

static void on_sender_frame(struct bench_session *s, const uint8_t *data, size_t len)
{
	struct bench_pair *p = pair_of_sender(s);
	const uint64_t now_ns = bench_session_now(s);
	struct bench_frame f;

	if (!bench_frame_read(data, len, &f))
		p->relay->thread->stats.counts[BENCH_CORRUPT]++;
	else if (f.type == BENCH_FRAME_ACK)
		bench_pair_on_ack(p, &f, now_ns);
	else if (f.type == BENCH_FRAME_ERROR)
		bench_pair_on_error(p, &f, now_ns);
	else
		p->relay->thread->stats.counts[BENCH_STRAY]++;
	bench_pair_pump(p, now_ns);
}

static void on_recipient_frame(struct bench_session *s, const uint8_t *data, size_t len)
{
	struct bench_pair *p = pair_of_recipient(s);
	struct bench_stats *stats = &p->relay->thread->stats;
	struct bench_frame f;
	uint32_t number;

	if (!bench_frame_read(data, len, &f)) {
		stats->counts[BENCH_CORRUPT]++;
		return;
	}
	if (f.type == BENCH_FRAME_ERROR) {
		bench_stats_error(stats, f.code, f.text);
		return;
	}
	if (f.type != BENCH_FRAME_MESSAGE || f.message_id.len != BENCH_ID_CHARS) {
		stats->counts[BENCH_STRAY]++;
		return;
	}
	bench_message_patch_ack(&p->message, f.message_id);
	ws_client_send(s->conn, WS_CLIENT_BINARY, p->message.ack, p->message.ack_len);
	if (!bench_message_number(&p->message, f.message_id, &number))
		return; /* left in the inbox by an earlier run: acknowledged, not counted */
	bench_pair_on_message(p, &f, number, bench_session_now(s));
}

static void on_ready(struct bench_session *s)
{
	struct bench_pair *p = pair_of_sender(s);

	p->relay->ready++;
}

static void on_recipient_ready(struct bench_session *s)
{
	pair_of_recipient(s)->relay->ready++;
}

static void lose(struct bench_pair *p, const struct ws_client_end *end)
{
	if (!p->is_lost && ++p->relay->lost == p->relay->count)
		p->relay->thread->is_done = true;
	p->is_lost = true;
	bench_count_end(p->relay->thread, end);
}

static void on_sender_end(struct bench_session *s, const struct ws_client_end *end)
{
	lose(pair_of_sender(s), end);
}

static void on_recipient_end(struct bench_session *s, const struct ws_client_end *end)
{
	lose(pair_of_recipient(s), end);
}

static void on_failed(struct bench_session *s, const char *code, const char *text)
{
	struct bench_thread *t = pair_of_sender(s)->relay->thread;

	bench_count_failed(t, code, text);
	bench_run_fail(t->run, "a sender could not be connected: %s %s", code, text);
}

static void on_recipient_failed(struct bench_session *s, const char *code, const char *text)
{
	struct bench_relay *r = pair_of_recipient(s)->relay;

	bench_count_failed(r->thread, code, text);
	if (!r->is_draining)
		bench_run_fail(r->thread->run, "a recipient could not be connected: %s %s",
		               code, text);
}

static const struct bench_session_ops sender_ops = {
	.on_ready = on_ready,
	.on_frame = on_sender_frame,
	.on_end = on_sender_end,
	.on_failed = on_failed,
};

static const struct bench_session_ops recipient_ops = {
	.on_ready = on_recipient_ready,
	.on_frame = on_recipient_frame,
	.on_end = on_recipient_end,
	.on_failed = on_recipient_failed,
};

static uint32_t ring_size(uint32_t inflight)
{
	uint32_t size = 4;

	while (size < 4 * inflight)
		size *= 2;
	return size;
}

/* Every hundredth pair belongs to one percent, spread over the numbers. */
static bool is_offline(const struct bench_conf *conf, uint32_t number)
{
	return (number * UINT64_C(61)) % 100 < conf->offline_percent;
}

static void start_pair(struct bench_relay *r, struct bench_pair *p)
{
	struct bench_thread *t = r->thread;
	const uint32_t number = r->first + p->index;
	struct bench_user *users = &t->run->users[r->first_user + 2 * number];

	p->relay = r;
	p->is_offline = is_offline(t->conf, number);
	p->ring_mask = ring_size(t->conf->inflight) - 1;
	p->ring = bench_alloc(p->ring_mask + 1, sizeof(*p->ring));
	bench_message_init(&p->message, users[0].id, users[1].id, t->conf->size_bytes,
	                   t->seed + p->index * UINT64_C(0x9E3779B97F4A7C15));
	p->sender.ops = &sender_ops;
	p->recipient.ops = &recipient_ops;
	p->sender.auth = p->recipient.auth = BENCH_AUTH_TOKEN;
	p->sender.user = &users[0];
	p->recipient.user = &users[1];
	r->expected += p->is_offline ? 1 : 2;
	bench_dial(&t->dialer, &p->sender);
	if (!p->is_offline)
		bench_dial(&t->dialer, &p->recipient);
}

static void start(void *state)
{
	struct bench_relay *r = state;

	for (uint32_t i = 0; i < r->count; i++) {
		r->pairs[i].index = i;
		start_pair(r, &r->pairs[i]);
	}
}

static bool is_ready(const void *state)
{
	const struct bench_relay *r = state;

	return r->ready == r->expected;
}

static void begin(void *state)
{
	struct bench_relay *r = state;
	const struct bench_conf *conf = r->thread->conf;
	const uint64_t now_ns = ws_client_now_ns();

	r->is_running = true;
	r->unix_s = (uint32_t)time(NULL);
	r->begin_ns = r->thread->plan.begin_ns;
	if (conf->rate > 0 && r->count) {
		/* The threads' first messages are due one after the other. */
		r->gap_ns = 1e9 / conf->rate * conf->pairs / r->count;
		r->begin_ns += (uint64_t)(1e9 / conf->rate * r->thread->index);
		return;
	}
	for (uint32_t i = 0; i < r->count; i++)
		bench_pair_pump(&r->pairs[i], now_ns);
}

static void resume_paused(struct bench_relay *r, uint64_t now_ns)
{
	for (uint32_t i = 0; i < r->count; i++) {
		struct bench_pair *p = &r->pairs[i];

		if (p->paused_until_ns == 0 || p->paused_until_ns > now_ns)
			continue;
		p->paused_until_ns = 0;
		r->paused--;
		bench_pair_pump(p, now_ns);
	}
}

static uint64_t next_due_ns(const struct bench_relay *r)
{
	return r->begin_ns + (uint64_t)((double)r->tried * r->gap_ns);
}

static uint64_t send_due(struct bench_relay *r, uint64_t now_ns)
{
	while (next_due_ns(r) <= now_ns) {
		struct bench_pair *p = &r->pairs[r->tried++ % r->count];

		p->due++;
		bench_pair_pump(p, now_ns);
	}
	return next_due_ns(r) > now_ns + WAKE_GRAIN_NS ? next_due_ns(r)
	                                               : now_ns + WAKE_GRAIN_NS;
}

static uint64_t tick(void *state, uint64_t now_ns)
{
	struct bench_relay *r = state;

	if (!r->is_running)
		return UINT64_MAX;
	r->unix_s = (uint32_t)time(NULL);
	if (r->paused)
		resume_paused(r, now_ns);
	return r->gap_ns > 0 ? send_due(r, now_ns) : UINT64_MAX;
}

/* Messages that were due but could not leave: they have waited until now at least, and
 * would be missing from the percentiles. */
static void file_overdue(struct bench_relay *r)
{
	const uint64_t now_ns = ws_client_now_ns();
	struct bench_thread *t = r->thread;

	for (uint32_t i = 0; i < r->count; i++) {
		const struct bench_pair *p = &r->pairs[i];

		for (uint32_t k = p->next; k < p->due && !p->is_offline && !p->is_lost; k++) {
			const uint64_t due_ns = bench_pair_due_ns(p, k);

			t->stats.counts[BENCH_OVERDUE]++;
			bench_record(t, BENCH_SERIES_ACCEPTED, due_ns, now_ns);
			bench_record(t, BENCH_SERIES_RECEIPT, due_ns, now_ns);
			bench_record(t, BENCH_SERIES_DELIVERED, due_ns, now_ns);
		}
	}
}

/* Sends nothing more; those who were offline come now and take what waits for them. */
static void stop(void *state)
{
	struct bench_relay *r = state;

	file_overdue(r);
	r->is_running = false;
	r->is_draining = true;
	for (uint32_t i = 0; i < r->count; i++)
		if (r->pairs[i].is_offline)
			bench_dial(&r->thread->dialer, &r->pairs[i].recipient);
}

static bool is_idle(const void *state)
{
	const struct bench_relay *r = state;

	for (uint32_t i = 0; i < r->count; i++)
		if (!bench_pair_is_idle(&r->pairs[i]))
			return false;
	return true;
}

static void finish(void *state)
{
	const struct bench_relay *r = state;

	for (uint32_t i = 0; i < r->count; i++)
		bench_pair_finish(&r->pairs[i]);
}

static uint64_t open_now(const void *state)
{
	return ((const struct bench_relay *)state)->open;
}

static void release(void *state)
{
	struct bench_relay *r = state;

	for (uint32_t i = 0; i < r->count; i++) {
		free(r->pairs[i].ring);
		bench_message_free(&r->pairs[i].message);
	}
	free(r->pairs);
	free(r);
}

static const struct bench_part_ops part_ops = {
	.name = "relay",
	.start = start,
	.is_ready = is_ready,
	.begin = begin,
	.tick = tick,
	.stop = stop,
	.is_idle = is_idle,
	.finish = finish,
	.open_now = open_now,
	.free = release,
};

void bench_relay_add(struct bench_thread *thread, uint32_t first, uint32_t pairs)
{
	struct bench_relay *r = bench_alloc(1, sizeof(*r));

	r->thread = thread;
	r->first_user = first;
	r->count = bench_share(thread, pairs, &r->first);
	r->pairs = bench_alloc(r->count, sizeof(*r->pairs));
	bench_thread_add(thread, &part_ops, r);
}
