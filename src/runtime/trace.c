/* SPDX-License-Identifier: MIT */
/* Events of traced messages, gathered by all workers in one bounded array.  Each takes a place by
 * counting on and fills it alone; the array is read when the workers have ended.
 *
 * A traced message carries CX__TRACED and the number of its flow.  When these run out, nothing more is
 * marked: 65535 arrows are more than any viewer shows. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include <cx/trace.h>

#include "runtime/internal.h"

enum event_type { EVENT_HANDLED, EVENT_BATCH_END, EVENT_SENT };

struct event {
	uint64_t at_ns, took_ns;
	uint32_t flow; /* 0: none */
	uint32_t msg_type;
	uint16_t kind, worker;
	enum event_type type;
};

struct cx__trace {
	_Atomic uint32_t ways_left;
	_Atomic uint32_t flows;
	_Atomic uint32_t count; /* places given out; may be more than cap */
	uint32_t cap;
	struct event events[];
};

enum cx_err cx_runtime_trace(struct cx_runtime *rt, unsigned ways, unsigned events)
{
	struct cx__trace *trace;

	cx_assert(!rt->started && rt->trace == NULL);
	if (ways == 0 || events == 0)
		return CX_EINVAL;
	trace = calloc(1, sizeof(*trace) + events * sizeof(trace->events[0]));
	if (trace == NULL)
		return CX_ENOMEM;
	trace->cap = events;
	atomic_init(&trace->ways_left, ways);
	rt->trace = trace;
	return CX_OK;
}

void cx_trace_mark(struct cx_ctx *ctx)
{
	struct cx_worker *w = ctx->worker;
	struct cx__trace *trace = w->rt->trace;
	uint32_t left;

	if (trace == NULL || w->is_tracing)
		return;
	/* relaxed: only who counts it down from 1 or more begins, nothing else hangs on it */
	left = atomic_load_explicit(&trace->ways_left, memory_order_relaxed);
	while (left > 0 && !atomic_compare_exchange_weak_explicit(
				   &trace->ways_left, &left, left - 1, memory_order_relaxed,
				   memory_order_relaxed))
		;
	w->is_tracing = left > 0;
}

static void record(struct cx_worker *w, const struct event *event)
{
	struct cx__trace *trace = w->rt->trace;
	/* relaxed: places differ, and the reader has joined the writers */
	const uint32_t n = atomic_fetch_add_explicit(&trace->count, 1, memory_order_relaxed);

	if (n < trace->cap)
		trace->events[n] = *event;
	else
		atomic_store_explicit(&trace->count, trace->cap, memory_order_relaxed);
}

void cx__trace_sent(struct cx_worker *w, struct cx_msg *msg)
{
	struct event event = {
		.at_ns = cx__clock_ns(),
		.msg_type = msg->type,
		.kind = (uint16_t)atomic_load(&cx__front(w->ctx.actor)->kind)->index,
		.worker = w->index,
		.type = EVENT_SENT,
	};

	if (msg->flags & CX__TIMER)
		return;
	/* relaxed: only the numbers must differ */
	event.flow =
		atomic_fetch_add_explicit(&w->rt->trace->flows, 1, memory_order_relaxed) + 1;
	if (event.flow > UINT16_MAX) {
		atomic_store_explicit(&w->rt->trace->flows, UINT16_MAX, memory_order_relaxed);
		return;
	}
	msg->flags |= CX__TRACED;
	msg->flow = (uint16_t)event.flow;
	record(w, &event);
}

void cx__trace_handled(struct cx_worker *w, unsigned kind, uint32_t msg_type, uint32_t flow,
                       uint64_t began_ns)
{
	const struct event event = {
		.at_ns = began_ns,
		.took_ns = cx__clock_ns() - began_ns,
		.flow = flow,
		.msg_type = msg_type,
		.kind = (uint16_t)kind,
		.worker = w->index,
		.type = msg_type == CX_MSG_NONE ? EVENT_BATCH_END : EVENT_HANDLED,
	};

	record(w, &event);
}

/* ---- to JSON ---- */

static double us(uint64_t ns)
{
	return (double)ns / 1000;
}

static void write_event(struct cx_runtime *rt, const struct event *e, uint64_t base_ns,
                        FILE *out)
{
	const char *kind = atomic_load(&rt->kinds[e->kind])->type->name;
	const char *name =
		e->type == EVENT_BATCH_END ? "batch_end" : cx__msg_name(rt, e->msg_type);
	const double at_us = us(e->at_ns - base_ns);
	const int pid = (int)getpid();

	if (e->type != EVENT_SENT)
		fprintf(out,
		        ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"ts\":%.3f,"
		        "\"dur\":%.3f,\"pid\":%d,\"tid\":%u}",
		        name, kind, at_us, us(e->took_ns), pid, e->worker);
	if (e->flow != 0)
		fprintf(out,
		        ",\n{\"name\":\"%s\",\"cat\":\"message\",\"ph\":\"%s\",\"id\":%" PRIu32
		        ",\"ts\":%.3f,\"pid\":%d,\"tid\":%u%s}",
		        name, e->type == EVENT_SENT ? "s" : "f", e->flow, at_us, pid, e->worker,
		        e->type == EVENT_SENT ? "" : ",\"bp\":\"e\"");
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return (x->at_ns > y->at_ns) - (x->at_ns < y->at_ns);
}

enum cx_err cx_runtime_trace_write(struct cx_runtime *rt, FILE *out)
{
	struct cx__trace *trace = rt->trace;
	const uint32_t given = trace != NULL ? atomic_load(&trace->count) : 0;
	const uint32_t count = given == 0 || given < trace->cap ? given : trace->cap;

	cx_assert(!rt->started || rt->stopping);
	fputc('[', out);
	if (count > 0)
		qsort(trace->events, count, sizeof(trace->events[0]), by_time);
	for (unsigned i = 0; i < rt->all_workers && count > 0; i++)
		fprintf(out,
		        "%s\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":%u,"
		        "\"args\":{\"name\":\"%s\"}}",
		        i > 0 ? "," : "", (int)getpid(), i, rt->worker[i]->name);
	for (uint32_t i = 0; i < count; i++)
		write_event(rt, &trace->events[i], trace->events[0].at_ns, out);
	fputs("\n]\n", out);
	return fflush(out) == 0 && !ferror(out) ? CX_OK : CX_EIO;
}
