/* SPDX-License-Identifier: MIT */
/* Echo: each connection keeps conf->inflight frames under way; the first eight bytes of a
 * frame are its number, the rest is the same in all. */
#include <string.h>

#include "roles/bench_memory.h"
#include "roles/bench_parts.h"

#define NUMBER_BYTES 8

struct echo_conn {
	struct bench_session session; /* first: the session is the connection */
	struct echo *echo;
	uint64_t sent, back; /* numbers; those between are under way */
	uint64_t *sent_ns;   /* ring of conf->inflight */
};

struct echo {
	struct bench_thread *thread;
	struct echo_conn *conns;
	uint32_t count;
	uint32_t ready;
	uint32_t lost;
	bool is_stopped;
	uint64_t under_way;
	uint8_t *frame;
	size_t frame_len;
};

static void send_frame(struct echo_conn *c, uint64_t now_ns)
{
	struct echo *echo = c->echo;

	memcpy(echo->frame, &c->sent, NUMBER_BYTES);
	c->sent_ns[c->sent % echo->thread->conf->inflight] = now_ns;
	c->sent++;
	echo->under_way++;
	echo->thread->stats.counts[BENCH_SENT]++;
	ws_client_send(c->session.conn, WS_CLIENT_BINARY, echo->frame, echo->frame_len);
}

static void on_ready(struct bench_session *s)
{
	struct echo_conn *c = (struct echo_conn *)s;

	c->echo->ready++;
}

static void on_frame(struct bench_session *s, const uint8_t *data, size_t len)
{
	struct echo_conn *c = (struct echo_conn *)s;
	struct echo *echo = c->echo;
	struct bench_thread *t = echo->thread;
	const uint64_t now_ns = bench_session_now(s);
	uint64_t number = 0;

	if (c->back == c->sent) {
		t->stats.counts[BENCH_STRAY]++;
		return;
	}
	if (len >= NUMBER_BYTES)
		memcpy(&number, data, NUMBER_BYTES);
	if (len != echo->frame_len ||
	    memcmp(data + NUMBER_BYTES, echo->frame + NUMBER_BYTES, len - NUMBER_BYTES) != 0)
		t->stats.counts[BENCH_CORRUPT]++;
	else if (number != c->back)
		t->stats.counts[number < c->back ? BENCH_REPEATED : BENCH_OUT_OF_ORDER]++;
	bench_record(t, BENCH_SERIES_ECHO, c->sent_ns[c->back % t->conf->inflight], now_ns);
	c->back++;
	echo->under_way--;
	t->stats.counts[BENCH_ECHOED]++;
	bench_done(t, now_ns);
	if (!echo->is_stopped)
		send_frame(c, now_ns);
}

static void on_end(struct bench_session *s, const struct ws_client_end *end)
{
	struct echo *echo = ((struct echo_conn *)s)->echo;

	bench_count_end(echo->thread, end);
	if (++echo->lost == echo->count)
		echo->thread->is_done = true;
}

static void on_failed(struct bench_session *s, const char *code, const char *text)
{
	struct bench_thread *t = ((struct echo_conn *)s)->echo->thread;

	bench_count_failed(t, code, text);
	bench_run_fail(t->run, "a connection could not be set up: %s", text);
}

static const struct bench_session_ops session_ops = {
	.on_ready = on_ready,
	.on_frame = on_frame,
	.on_end = on_end,
	.on_failed = on_failed,
};

static void start(void *state)
{
	struct echo *echo = state;

	for (uint32_t i = 0; i < echo->count; i++) {
		struct echo_conn *c = &echo->conns[i];

		c->echo = echo;
		c->session.ops = &session_ops;
		c->session.auth = BENCH_AUTH_NONE;
		c->sent_ns = bench_alloc(echo->thread->conf->inflight, sizeof(*c->sent_ns));
		bench_dial(&echo->thread->dialer, &c->session);
	}
}

static bool is_ready(const void *state)
{
	const struct echo *echo = state;

	return echo->ready == echo->count;
}

static void begin(void *state)
{
	struct echo *echo = state;
	const uint64_t now_ns = ws_client_now_ns();

	for (uint32_t i = 0; i < echo->count; i++)
		for (uint32_t k = 0; k < echo->thread->conf->inflight; k++)
			if (echo->conns[i].session.conn)
				send_frame(&echo->conns[i], now_ns);
}

static uint64_t tick(void *state, uint64_t now_ns)
{
	(void)state;
	(void)now_ns;
	return UINT64_MAX;
}

static void stop(void *state)
{
	((struct echo *)state)->is_stopped = true;
}

static bool is_idle(const void *state)
{
	const struct echo *echo = state;

	for (uint32_t i = 0; i < echo->count; i++)
		if (echo->conns[i].session.conn && echo->conns[i].sent != echo->conns[i].back)
			return false;
	return true;
}

static void finish(void *state)
{
	const struct echo *echo = state;

	echo->thread->stats.counts[BENCH_LOST] += echo->under_way;
}

static uint64_t open_now(const void *state)
{
	return ((const struct echo *)state)->under_way;
}

static void release(void *state)
{
	struct echo *echo = state;

	for (uint32_t i = 0; i < echo->count; i++)
		free(echo->conns[i].sent_ns);
	free(echo->conns);
	free(echo->frame);
	free(echo);
}

static const struct bench_part_ops part_ops = {
	.name = "echo",
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

void bench_echo_add(struct bench_thread *thread)
{
	struct echo *echo = bench_alloc(1, sizeof(*echo));
	uint32_t first;

	echo->thread = thread;
	echo->count = bench_share(thread, thread->conf->connections, &first);
	echo->conns = bench_alloc(echo->count, sizeof(*echo->conns));
	echo->frame_len = thread->conf->size_bytes;
	echo->frame = bench_alloc(echo->frame_len, 1);
	for (size_t i = 0; i < echo->frame_len; i++)
		echo->frame[i] = (uint8_t)(thread->seed >> (i % 7 * 8));
	bench_thread_add(thread, &part_ops, echo);
}
