/* SPDX-License-Identifier: MIT */
/* Invariants
 * 1. pg exists exactly in CONNECTING and UP.
 * 2. The loop watches a duplicate of the library's descriptor: the library closes its own whenever
 *    it likes, also while connecting, where the next may have the same number.
 * 3. The timer is armed in all states but UP and STOPPED: nothing waits without a limit. */
#include "io/postgres_conn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include <cx/io.h>
#include <cx/log.h>

#include "io/postgres_answer.h"
#include "io/postgres_figures.h"
#include "io/postgres_request.h"

#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000
#define STEADY_MS 1000 /* a connection that lived so long was a good one */
#define WHY_LEN 160

/* ---- the descriptor ---- */

static void unwatch(struct postgres_conn *c)
{
	enum cx_err err;

	if (c->watch.fd < 0)
		return;
	err = loop_uv_watch(c->shared->loop, &c->watch, 0);
	cx_assert(err == CX_OK); /* taking away needs no memory */
	close(c->watch.fd);
	c->watch.fd = -1;
}

static bool watch(struct postgres_conn *c, unsigned events)
{
	if (c->watch.fd < 0)
		c->watch.fd = fcntl(PQsocket(c->pg), F_DUPFD_CLOEXEC, 0);
	return c->watch.fd >= 0 && loop_uv_watch(c->shared->loop, &c->watch, events) == CX_OK;
}

/* ---- the end of a connection ---- */

/* Full jitter: clients that lost one server together come back apart. */
static uint32_t retry_delay_ms(struct cx_ctx *ctx, unsigned failures)
{
	const uint64_t window_ms = (uint64_t)RETRY_MIN_MS << (failures < 7 ? failures : 7);

	return (uint32_t)(1 + cx_random(ctx) %
	                              (window_ms < RETRY_MAX_MS ? window_ms : RETRY_MAX_MS));
}

/* The first line, fit for a quoted value.  The library's texts name host and user of the database,
 * never the password. */
static void copy_why(char out[WHY_LEN], const char *text)
{
	size_t n = 0;

	while (text[n] != '\0' && text[n] != '\n' && n < WHY_LEN - 1) {
		out[n] = text[n] == '"' ? '\'' : text[n];
		n++;
	}
	out[n] = '\0';
}

static void lose(struct cx_ctx *ctx, struct postgres_conn *c)
{
	while (postgres_ring_used(&c->sent) > 0) {
		struct postgres_entry e = postgres_ring_pop(&c->sent);
		struct postgres_result *m;

		if (e.buf == NULL)
			continue;
		postgres_count(&c->shared->figures->unknown, 1);
		m = CX_MSG_NEW(ctx, POSTGRES_RESULT, struct postgres_result);
		m->outcome = POSTGRES_UNKNOWN;
		cx_answer(ctx, e.caller, &m->hdr);
		postgres_load_drop(&c->shared->load, &e);
	}
	c->answer_len = 0;
	c->is_readonly = false;
}

static void release(struct postgres_conn *c)
{
	unwatch(c);
	cx_io_flush();
	PQfinish(c->pg);
	c->pg = NULL;
}

/* NULL: the library knows why. */
static void fail(struct cx_ctx *ctx, struct postgres_conn *c, const char *why)
{
	const bool was_up = c->state == POSTGRES_CONN_UP;
	char text[WHY_LEN];
	uint32_t delay_ms;

	copy_why(text, why != NULL ? why : PQerrorMessage(c->pg));
	if (was_up && cx_now_ms(ctx) - c->up_ms >= STEADY_MS)
		c->failures = 0;
	delay_ms = retry_delay_ms(ctx, c->failures++);
	cx_log(CX_WARN, "postgres.lost", "was_up=%d why=\"%s\" retry_ms=%u", (int)was_up, text,
	       delay_ms);
	c->state = POSTGRES_CONN_WAITING;
	release(c);
	postgres_count(&c->shared->figures->failures, 1);
	if (was_up)
		postgres_count(&c->shared->figures->connected, UINT64_MAX);
	cx_timer_arm(ctx, &c->timer, delay_ms, TIMER_A); /* inv. 3 */
	lose(ctx, c);
}

/* ---- asks and their answers ---- */

bool postgres_conn_has_room(const struct postgres_conn *c)
{
	return c->state == POSTGRES_CONN_UP &&
	       postgres_ring_used(&c->sent) < c->shared->pipeline_max;
}

/* False: the connection is of no use any more. */
static bool flush(struct postgres_conn *c)
{
	int rc;

	cx_io_flush();
	rc = PQflush(c->pg);
	return rc >= 0 && watch(c, LOOP_READABLE | (rc > 0 ? (unsigned)LOOP_WRITABLE : 0u));
}

static bool put_statements(struct postgres_conn *c, const struct cx_buf *buf)
{
	static const int binary[POSTGRES_PARAMS_MAX] = { 1, 1, 1, 1, 1, 1, 1, 1,
		                                         1, 1, 1, 1, 1, 1, 1, 1 };
	struct postgres_walk walk = postgres_walk_start(buf);
	struct postgres_call call;

	while (postgres_call_next(&walk, &call)) {
		const char *const sql = c->shared->statements[call.statement].sql;

		if (!PQsendQueryParams(c->pg, sql, (int)call.n, NULL, call.at, call.len, binary,
		                       1))
			return false;
	}
	return true;
}

void postgres_conn_send(struct cx_ctx *ctx, struct postgres_conn *c, struct postgres_entry *e)
{
	e->sent_ns = cx_now_ns(ctx);
	cx_io_flush(); /* the library writes when it has enough, too */
	postgres_ring_push(&c->sent, e);
	if ((e->buf != NULL && !put_statements(c, e->buf)) || !PQpipelineSync(c->pg) ||
	    !flush(c))
		fail(ctx, c, NULL);
}

static void on_readable(struct cx_ctx *ctx, struct postgres_conn *c)
{
	/* Of a record of TLS a part may stay in the library, where no poll sees it: ask again.
	 * What even this leaves, postgres_conn_check finds. */
	const unsigned rounds = PQsslInUse(c->pg) ? 4 : 1;

	c->rx_ms = cx_now_ms(ctx);
	for (unsigned i = 0; i < rounds; i++) {
		if (!PQconsumeInput(c->pg)) {
			fail(ctx, c, NULL);
			return;
		}
		if (!postgres_answer_read(ctx, c)) {
			fail(ctx, c, "an answer that does not fit the question");
			return;
		}
	}
	if (c->is_readonly)
		fail(ctx, c, "the server takes no writes any more");
	else if (!flush(c))
		fail(ctx, c, NULL);
}

/* ---- connecting ---- */

static void no_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

static void came_up(struct cx_ctx *ctx, struct postgres_conn *c)
{
	if (PQsetnonblocking(c->pg, 1) != 0 || !PQenterPipelineMode(c->pg) ||
	    !watch(c, LOOP_READABLE)) {
		fail(ctx, c, NULL);
		return;
	}
	c->state = POSTGRES_CONN_UP;
	c->up_ms = c->rx_ms = cx_now_ms(ctx);
	cx_timer_cancel(ctx, &c->timer);
	postgres_count(&c->shared->figures->connected, 1);
	postgres_count(&c->shared->figures->connects, 1);
	cx_log(CX_INFO, "postgres.connected", "connection=%u tls=%d version=%d", c->number,
	       PQsslInUse(c->pg), PQserverVersion(c->pg));
}

static void connect_step(struct cx_ctx *ctx, struct postgres_conn *c)
{
	unwatch(c); /* inv. 2 */
	switch (PQconnectPoll(c->pg)) {
	case PGRES_POLLING_OK:
		came_up(ctx, c);
		return;
	case PGRES_POLLING_READING:
		if (watch(c, LOOP_READABLE))
			return;
		break;
	case PGRES_POLLING_WRITING:
		if (watch(c, LOOP_WRITABLE))
			return;
		break;
	default:
		fail(ctx, c, NULL);
		return;
	}
	fail(ctx, c, "no memory for a watch");
}

static void on_event(struct loop_watch *w, unsigned events)
{
	struct postgres_conn *const c = (struct postgres_conn *)(void *)w;
	struct cx_ctx *ctx;

	loop_uv_end_turn(c->shared->loop); /* of an adapter that stays until the poll's end */
	ctx = cx_io_enter(c->shared->worker, c->shared->self);
	(void)events; /* both are tried: TLS may read to write and write to read */
	if (c->state == POSTGRES_CONN_CONNECTING)
		connect_step(ctx, c);
	else
		on_readable(ctx, c);
	cx_io_leave(ctx);
}

/* m NULL: the URL needs no look-up. */
static void begin(struct cx_ctx *ctx, struct postgres_conn *c,
                  const struct postgres_resolved_msg *m)
{
	const struct postgres_target *const t = &c->shared->target;
	const char *names[POSTGRES_TARGET_OPTIONS_MAX + 4];
	const char *values[POSTGRES_TARGET_OPTIONS_MAX + 4];
	unsigned n = t->count;

	memcpy(names, t->names, sizeof(t->names));
	memcpy(values, t->values, sizeof(t->values));
	if (m != NULL) { /* of a name given twice the library takes the last */
		const char *const added[][2] = { { "host", m->hosts },
			                         { "hostaddr", m->addresses },
			                         { "port", m->ports } };

		for (unsigned i = 0; i < CX_COUNTOF(added); i++, n++) {
			names[n] = added[i][0];
			values[n] = added[i][1];
		}
	}
	names[n] = values[n] = NULL;
	c->pg = PQconnectStartParams(names, values, 0);
	cx_assert(c->pg != NULL); /* no memory */
	c->state = POSTGRES_CONN_CONNECTING;
	PQsetNoticeReceiver(c->pg, no_notice, NULL); /* notices may quote rows */
	if (PQstatus(c->pg) == CONNECTION_BAD)
		fail(ctx, c, NULL);
	else if (!watch(c, LOOP_WRITABLE))
		fail(ctx, c, "no memory for a watch");
}

void postgres_conn_on_resolved(struct cx_ctx *ctx, struct postgres_conn *c,
                               const struct postgres_resolved_msg *m)
{
	if (c->state != POSTGRES_CONN_RESOLVING || m->turn != c->turn)
		return; /* its time was up */
	if (m->hosts[0] == '\0')
		fail(ctx, c, "the host has no address");
	else
		begin(ctx, c, m);
}

void postgres_conn_on_timer(struct cx_ctx *ctx, struct postgres_conn *c)
{
	if (c->state != POSTGRES_CONN_WAITING) {
		fail(ctx, c, "connecting took too long");
		return;
	}
	cx_timer_arm(ctx, &c->timer, c->shared->connect_ms, TIMER_A); /* inv. 3 */
	if (c->shared->target.hosts == NULL) {
		begin(ctx, c, NULL);
		return;
	}
	c->state = POSTGRES_CONN_RESOLVING;
	if (postgres_resolve(ctx, &c->shared->target, c->number, ++c->turn) != CX_OK)
		fail(ctx, c, "the offload pool is full");
}

void postgres_conn_check(struct cx_ctx *ctx, struct postgres_conn *c)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	const struct postgres_entry *head;
	struct postgres_entry ping = { 0 };
	uint64_t since_ms;

	if (c->state == POSTGRES_CONN_UP && PQsslInUse(c->pg) &&
	    postgres_ring_used(&c->sent) > 0 &&
	    (!PQconsumeInput(c->pg) || !postgres_answer_read(ctx, c)))
		fail(ctx, c, NULL); /* see on_readable */
	if (c->state != POSTGRES_CONN_UP)
		return;
	head = postgres_ring_head(&c->sent);
	if (head == NULL) {
		if (now_ms - c->rx_ms >= c->shared->ping_ms)
			postgres_conn_send(ctx, c, &ping);
		return;
	}
	since_ms = head->sent_ns / 1000000;
	since_ms = c->rx_ms > since_ms ? c->rx_ms : since_ms;
	if (now_ms > since_ms && now_ms - since_ms >= c->shared->dead_ms)
		fail(ctx, c, "the server does not answer");
}

/* ---- life ---- */

void postgres_conn_start(struct cx_ctx *ctx, struct postgres_conn *c,
                         struct postgres_shared *shared, uint32_t number)
{
	*c = (struct postgres_conn){ .watch = { .fd = -1, .fn = on_event },
		                     .shared = shared,
		                     .number = number,
		                     .turn = UINT32_MAX };
	postgres_ring_init(&c->sent, shared->pipeline_max + 1);
	postgres_conn_on_timer(ctx, c);
}

void postgres_conn_stop(struct cx_ctx *ctx, struct postgres_conn *c)
{
	if (c->state == POSTGRES_CONN_UP)
		postgres_count(&c->shared->figures->connected, UINT64_MAX);
	c->state = POSTGRES_CONN_STOPPED;
	cx_timer_cancel(ctx, &c->timer);
	release(c);
	lose(ctx, c);
	postgres_ring_free(&c->sent);
	free(c->answer);
	c->answer = NULL;
}
