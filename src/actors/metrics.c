/* SPDX-License-Identifier: MIT */
#include "actors/metrics_out.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "io/grpc_server.h"
#include "io/sqlite.h"
#include "io/websocket.h"

#define KINDS 64
#define WORKERS 96

void metrics_add(struct metrics_out *t, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->at + t->len, METRICS_TEXT_MAX - t->len, fmt, args);
	va_end(args);
	if (n > 0 && (size_t)n < METRICS_TEXT_MAX - t->len)
		t->len += (size_t)n;
}

void metrics_head(struct metrics_out *t, const char *name, const char *type, const char *help)
{
	metrics_add(t, "# HELP construct_%s %s\n# TYPE construct_%s %s\n", name, help, name,
	            type);
}

void metrics_one(struct metrics_out *t, const char *name, const char *type, const char *help,
                 uint64_t value)
{
	metrics_head(t, name, type, help);
	metrics_add(t, "construct_%s %" PRIu64 "\n", name, value);
}

struct kind_field {
	const char *name, *type, *help;
	size_t offset;
};

#define KIND(field, name, type, help)                                   \
	{                                                               \
		name, type, help, offsetof(struct cx_kind_stats, field) \
	}

static const struct kind_field kind_fields[] = {
	KIND(live, "actors", "gauge", "Actors alive, by kind."),
	KIND(spawned, "actors_spawned_total", "counter", "Actors started, by kind."),
	KIND(messages, "actor_messages_total", "counter", "Messages handled, by kind."),
	KIND(turns, "actor_turns_total", "counter", "Turns run, by kind."),
	KIND(busy_ns, "actor_busy_nanoseconds_total", "counter", "Time in turns, by kind."),
	KIND(refused, "actor_refused_total", "counter",
	     "Sends refused by a full mailbox, by kind."),
	KIND(dead_letters, "actor_dead_letters_total", "counter",
	     "Messages to ended actors, by kind."),
	KIND(late_replies, "actor_late_replies_total", "counter",
	     "Answers after their deadline, by kind."),
	KIND(slow, "actor_slow_handlers_total", "counter",
	     "Handlers that ran over the watchdog's limit, by kind."),
	KIND(restarts, "actor_restarts_total", "counter", "Restarts by a supervisor, by kind."),
	KIND(depth, "actor_mailbox", "gauge", "Messages in mailboxes now, by kind."),
};

static void add_handlers(struct metrics_out *t, const struct cx_kind_stats *kinds, size_t count)
{
	static const char name[] = "construct_actor_handler_nanoseconds";

	metrics_head(t, "actor_handler_nanoseconds", "summary",
	             "Time of a handler, the mean of its turn, by kind.");
	for (size_t k = 0; k < count; k++) {
		metrics_add(t, "%s{kind=\"%s\",quantile=\"0.5\"} %" PRIu64 "\n", name,
		            kinds[k].name, kinds[k].handler_p50_ns);
		metrics_add(t, "%s{kind=\"%s\",quantile=\"0.99\"} %" PRIu64 "\n", name,
		            kinds[k].name, kinds[k].handler_p99_ns);
		metrics_add(t, "%s_sum{kind=\"%s\"} %" PRIu64 "\n", name, kinds[k].name,
		            kinds[k].busy_ns);
		metrics_add(t, "%s_count{kind=\"%s\"} %" PRIu64 "\n", name, kinds[k].name,
		            kinds[k].messages);
	}
}

static void add_kinds(struct metrics_out *t, struct cx_runtime *rt)
{
	struct cx_kind_stats kinds[KINDS];
	size_t count = cx_runtime_kinds(rt, kinds, KINDS);

	count = count < KINDS ? count : KINDS;
	for (size_t f = 0; f < CX_COUNTOF(kind_fields); f++) {
		const struct kind_field *field = &kind_fields[f];

		metrics_head(t, field->name, field->type, field->help);
		for (size_t k = 0; k < count; k++)
			metrics_add(t, "construct_%s{kind=\"%s\"} %" PRIu64 "\n", field->name,
			            kinds[k].name,
			            *(const uint64_t *)(const void *)((const char *)&kinds[k] +
			                                              field->offset));
	}
	metrics_head(t, "actor_mailbox_max", "gauge", "Deepest mailbox seen, by kind.");
	for (size_t k = 0; k < count; k++)
		metrics_add(t, "construct_actor_mailbox_max{kind=\"%s\"} %u\n", kinds[k].name,
		            kinds[k].depth_max);
	add_handlers(t, kinds, count);
}

static void add_slow(struct metrics_out *t, struct cx_runtime *rt)
{
	struct cx_slow_handler slow[CX_SLOW_HANDLERS];
	const size_t count = cx_runtime_slow_handlers(rt, slow, CX_SLOW_HANDLERS);

	metrics_head(t, "slow_handlers_total", "counter",
	             "Handlers that ran over the watchdog's limit, by name.");
	for (size_t i = 0; i < count; i++)
		metrics_add(t,
		            "construct_slow_handlers_total{kind=\"%s\",message=\"%s\"} %" PRIu64
		            "\n",
		            slow[i].kind, slow[i].message, slow[i].count);
	metrics_head(t, "slow_handler_max_milliseconds", "gauge",
	             "The longest of them, by name.");
	for (size_t i = 0; i < count; i++)
		metrics_add(
			t,
			"construct_slow_handler_max_milliseconds{kind=\"%s\",message=\"%s\"} "
			"%" PRIu64 "\n",
			slow[i].kind, slow[i].message, slow[i].longest_ms);
}

struct worker_field {
	const char *name, *type, *help;
	size_t offset;
};

#define WORKER(field, name, type, help)                                   \
	{                                                                 \
		name, type, help, offsetof(struct cx_worker_stats, field) \
	}

static const struct worker_field worker_fields[] = {
	WORKER(busy_ns, "worker_busy_nanoseconds_total", "counter",
	       "Time in turns, by worker."),
	WORKER(turns, "worker_turns_total", "counter", "Turns run, by worker."),
	WORKER(steals, "worker_steals_total", "counter", "Actors taken from other workers."),
	WORKER(sleeps, "worker_sleeps_total", "counter", "Polls that waited, by worker."),
	WORKER(wakeups, "worker_wakeups_total", "counter", "Wake-ups of a sleeping worker."),
	WORKER(pool_bytes, "worker_pool_bytes", "gauge", "Memory of a worker's pools."),
	WORKER(timers, "worker_timers", "gauge", "Timers armed, by worker."),
};

static void add_workers(struct metrics_out *t, struct cx_runtime *rt)
{
	struct cx_worker_stats workers[WORKERS];
	size_t count = cx_runtime_worker_stats(rt, workers, WORKERS);

	count = count < WORKERS ? count : WORKERS;
	for (size_t f = 0; f < CX_COUNTOF(worker_fields); f++) {
		const struct worker_field *field = &worker_fields[f];

		metrics_head(t, field->name, field->type, field->help);
		for (size_t i = 0; i < count; i++)
			metrics_add(
				t, "construct_%s{worker=\"%zu\"} %" PRIu64 "\n", field->name, i,
				*(const uint64_t *)(const void *)((const char *)&workers[i] +
			                                          field->offset));
	}
	metrics_head(t, "worker_run_queue", "gauge",
	             "Actors that wait for their turn, by worker.");
	for (size_t i = 0; i < count; i++)
		metrics_add(t, "construct_worker_run_queue{worker=\"%zu\"} %u\n", i,
		            workers[i].run_queue);
}

static void add_websocket(struct metrics_out *t)
{
	struct websocket_figures f;

	websocket_figures(&f);
	metrics_one(t, "connections", "gauge", "WebSocket connections open.", f.open);
	metrics_one(t, "handshakes", "gauge", "Sockets that are not yet a WebSocket.",
	            f.handshaking);
	metrics_one(t, "accepted_total", "counter", "Sockets accepted.", f.accepted);
	metrics_one(t, "established_total", "counter", "WebSocket connections established.",
	            f.established);
	metrics_one(t, "refused_connections_total", "counter",
	            "Sockets refused by MAX_CONNECTIONS.", f.refused_connections);
	metrics_one(t, "refused_handshakes_total", "counter",
	            "Sockets refused by MAX_HANDSHAKES.", f.refused_handshakes);
	metrics_one(t, "handshakes_failed_total", "counter", "Handshakes that failed.",
	            f.handshakes_failed);
	metrics_one(t, "frames_received_total", "counter", "Application frames received.",
	            f.frames_in);
	metrics_one(t, "frames_sent_total", "counter", "Application frames sent.",
	            f.frames_out);
	metrics_one(t, "received_bytes_total", "counter", "Bytes received on WebSockets.",
	            f.bytes_in);
	metrics_one(t, "sent_bytes_total", "counter", "Bytes sent on WebSockets.", f.bytes_out);
	metrics_one(t, "socket_writes_total", "counter", "Write system calls on WebSockets.",
	            f.sends);
	metrics_one(t, "socket_reads_total", "counter", "Read system calls on WebSockets.",
	            f.reads);
	metrics_one(t, "http_requests_total", "counter", "HTTP requests that were no upgrade.",
	            f.http_requests);
}

/* All 0 without GRPC_PORT. */
static void add_grpc(struct metrics_out *t)
{
	struct grpc_server_figures f;

	grpc_server_figures(&f);
	metrics_one(t, "grpc_connections", "gauge", "gRPC connections open.", f.open);
	metrics_one(t, "grpc_accepted_total", "counter", "gRPC sockets accepted.", f.accepted);
	metrics_one(t, "grpc_refused_total", "counter", "gRPC sockets refused.", f.refused);
	metrics_one(t, "grpc_calls_total", "counter", "gRPC calls begun.", f.calls);
	metrics_one(t, "grpc_replies_total", "counter", "gRPC calls answered.", f.replies);
	metrics_one(t, "grpc_errors_total", "counter",
	            "gRPC calls that ended with an error of gRPC.", f.errors);
	metrics_one(t, "grpc_many_total", "counter",
	            "gRPC calls that came on a stream of many.", f.many);
	metrics_one(t, "grpc_deadlines_total", "counter", "gRPC calls over their deadline.",
	            f.deadlines);
	metrics_one(t, "grpc_flooded_total", "counter", "gRPC peers sent away for flooding.",
	            f.flooded);
}

static void add_sqlite(struct metrics_out *t)
{
	struct sqlite_figures f;

	sqlite_figures(&f);
	metrics_one(t, "log_commits_total", "counter", "Synced commits of the embedded store.",
	            f.commits);
	metrics_one(t, "log_records_total", "counter", "Records written to the embedded log.",
	            f.records);
	metrics_one(t, "log_duplicates_total", "counter", "Sends whose id was known.",
	            f.duplicates);
	metrics_one(t, "log_failures_total", "counter", "Commits that failed.", f.failures);
	metrics_one(t, "log_spilled_total", "counter", "Entries moved to rows of their own.",
	            f.spilled);
	metrics_one(t, "log_receipts_dropped_total", "counter",
	            "Receipts that made room for younger ones of the same sender.",
	            f.receipts_dropped);
	metrics_one(t, "log_segments", "gauge", "Batches with waiting entries.", f.segments);
	metrics_one(t, "log_remembered_ids", "gauge", "Message ids remembered.",
	            f.remembered_ids);
	metrics_one(t, "log_wal_bytes", "gauge", "Size of the write-ahead log.", f.wal_bytes);
	metrics_one(t, "log_checkpoints_total", "counter", "Checkpoints.", f.checkpoints);
	metrics_one(t, "log_commit_nanoseconds_total", "counter", "Time in commits.",
	            f.commit_ns_sum);
}

static void add_process(struct metrics_out *t)
{
	unsigned long pages = 0, resident = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	if (statm != NULL) {
		if (fscanf(statm, "%lu %lu", &pages, &resident) != 2)
			resident = 0;
		fclose(statm);
	}
	metrics_one(t, "resident_bytes", "gauge", "Resident memory of the process.",
	            (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE));
}

struct cx_buf *metrics_text(struct cx_runtime *rt, const struct metrics_kafka *kafka)
{
	struct metrics_out t = { .at = malloc(METRICS_TEXT_MAX) };
	struct cx_buf *buf;

	cx_assert(t.at != NULL);
	add_process(&t);
	add_websocket(&t);
	add_grpc(&t);
	add_sqlite(&t);
	metrics_add_stack(&t, kafka);
	add_kinds(&t, rt);
	add_slow(&t, rt);
	add_workers(&t, rt);
	buf = cx_buf_copy(t.at, t.len);
	free(t.at);
	return buf;
}
