/* SPDX-License-Identifier: MIT */
#include "actors/metrics_out.h"

#include "actors/ack_batcher.h"
#include "actors/gateway_link.h"
#include "actors/instance.h"
#include "io/kafka_log.h"
#include "io/postgres.h"
#include "io/redis.h"
#include "io/stack_partition.h"
#include "io/stack_rebuild.h"
#include "io/stack_receipts.h"
#include "io/stack_routes.h"
#include "io/stack_store.h"

static void add_redis(struct metrics_out *t)
{
	struct redis_figures f;

	redis_figures(&f);
	metrics_one(t, "redis_connections", "gauge", "Connections to Redis.", f.connected);
	metrics_one(t, "redis_failures_total", "counter",
	            "Connections to Redis that were lost or did not come up.", f.failures);
	metrics_one(t, "redis_in_flight", "gauge", "Commands without an answer.", f.in_flight);
	metrics_one(t, "redis_commands_total", "counter", "Commands answered.", f.commands);
	metrics_one(t, "redis_errors_total", "counter", "Commands answered with an error.",
	            f.errors);
	metrics_one(t, "redis_lost_total", "counter", "Commands whose connection broke.",
	            f.lost);
	metrics_one(t, "redis_refused_total", "counter",
	            "Commands refused: too many in flight.", f.refused);
	metrics_one(t, "redis_latency_nanoseconds_total", "counter",
	            "Time to the answer, by message.", f.latency_ns_sum);
	metrics_one(t, "redis_pushes_total", "counter", "Messages published to this process.",
	            f.pushes);
	metrics_one(t, "redis_pushes_dropped_total", "counter", "Of them, dropped: no room.",
	            f.pushes_dropped);
}

static void add_postgres(struct metrics_out *t)
{
	struct postgres_figures f;
	struct stack_store_figures s;

	postgres_figures(&f);
	stack_store_figures(&s);
	metrics_one(t, "postgres_connections", "gauge", "Connections to PostgreSQL.",
	            f.connected);
	metrics_one(t, "postgres_failures_total", "counter",
	            "Connections to PostgreSQL that were lost or did not come up.", f.failures);
	metrics_one(t, "postgres_in_flight", "gauge", "Questions without an answer.",
	            f.in_flight);
	metrics_one(t, "postgres_queries_total", "counter", "Statements answered.", f.queries);
	metrics_one(t, "postgres_errors_total", "counter", "Questions that the server refused.",
	            f.errors);
	metrics_one(t, "postgres_refused_total", "counter", "Questions refused: busy.",
	            f.refused);
	metrics_one(t, "store_operations_total", "counter", "Operations of the store.",
	            s.asked);
	metrics_one(t, "store_failures_total", "counter", "Of them, failed.", s.failed);
}

static void add_producer(struct metrics_out *t, const struct kafka_producer_figures *f)
{
	metrics_one(t, "kafka_producer_connected", "gauge", "1: the brokers answer.",
	            f->is_connected);
	metrics_one(t, "kafka_producer_queued", "gauge", "Records accepted and not answered.",
	            f->queued);
	metrics_one(t, "kafka_producer_oldest_milliseconds", "gauge",
	            "How long the oldest waits.", f->oldest_ms);
	metrics_one(t, "kafka_written_total", "counter", "Records written.", f->written);
	metrics_one(t, "kafka_batches_total", "counter", "Requests that they made.",
	            f->batches);
	metrics_one(t, "kafka_not_written_total", "counter", "Records surely not written.",
	            f->not_written);
	metrics_one(t, "kafka_unknown_total", "counter", "Records perhaps written.",
	            f->unknown);
	metrics_one(t, "kafka_busy_total", "counter", "Records refused: too much waits.",
	            f->busy);
	metrics_one(t, "kafka_producer_rebuilt_total", "counter",
	            "Clients ended by a fatal error.", f->rebuilt);
}

static void add_consumer(struct metrics_out *t, const struct kafka_consumer_figures *f)
{
	metrics_one(t, "kafka_consumer_joined", "gauge", "1: has an assignment.", f->is_joined);
	metrics_one(t, "kafka_partitions", "gauge", "Partitions assigned.", f->partitions);
	metrics_one(t, "kafka_partitions_paused", "gauge", "Of them, paused.", f->paused);
	metrics_one(t, "kafka_lag_records", "gauge",
	            "Records behind the ends of the partitions.", f->lag);
	metrics_one(t, "kafka_records_total", "counter", "Records read.", f->records);
	metrics_one(t, "kafka_commits_total", "counter", "Commits.", f->commits);
	metrics_one(t, "kafka_commit_errors_total", "counter", "Commits that failed.",
	            f->commit_errors);
	metrics_one(t, "kafka_assignments_total", "counter", "Assignments.", f->assignments);
	metrics_one(t, "kafka_seeks_total", "counter", "Partitions set back.", f->seeks);
	metrics_one(t, "kafka_consumer_rebuilt_total", "counter",
	            "Clients ended by the watchdog.", f->rebuilt);
}

struct field {
	const char *name, *type, *help;
	size_t offset; /* of a uint64_t */
};

#define FIELD(figures, member, name, type, help)            \
	{                                                   \
		name, type, help, offsetof(figures, member) \
	}

static const struct field log_fields[] = {
	FIELD(struct kafka_log_figures, appended, "kafka_log_appended_total", "counter",
	      "Messages made durable."),
	FIELD(struct kafka_log_figures, duplicates, "kafka_log_duplicates_total", "counter",
	      "Sends whose id was known."),
	FIELD(struct kafka_log_figures, inbox_full, "kafka_log_inbox_full_total", "counter",
	      "Sends refused by a full inbox."),
	FIELD(struct kafka_log_figures, failed, "kafka_log_failed_total", "counter",
	      "Sends that could not be made durable."),
	FIELD(struct kafka_log_figures, pending_waits, "kafka_log_pending_total", "counter",
	      "Sends that waited for another try of the same id."),
	FIELD(struct kafka_log_figures, unclaimed, "kafka_log_unclaimed_total", "counter",
	      "Sends written without a look at Redis."),
	FIELD(struct kafka_log_figures, in_flight, "kafka_log_in_flight", "gauge",
	      "Sends under way."),
};

static const struct field link_fields[] = {
	FIELD(struct gateway_link_figures, submitted, "gateway_submitted_total", "counter",
	      "Submissions to gateways."),
	FIELD(struct gateway_link_figures, calls, "gateway_calls_total", "counter",
	      "Calls of gateways, tries included."),
	FIELD(struct gateway_link_figures, lost, "gateway_calls_lost_total", "counter",
	      "Calls that ended without an outcome."),
	FIELD(struct gateway_link_figures, failed, "gateway_failed_total", "counter",
	      "Submissions without an outcome in time."),
	FIELD(struct gateway_link_figures, in_flight, "gateway_in_flight", "gauge",
	      "Calls under way."),
};

static const struct field routes_fields[] = {
	FIELD(struct stack_routes_figures, users, "routes_users", "gauge",
	      "Users present on this server."),
	FIELD(struct stack_routes_figures, written, "routes_written_total", "counter",
	      "Routes written."),
	FIELD(struct stack_routes_figures, failures, "routes_failures_total", "counter",
	      "Batches of routes that failed."),
	FIELD(struct stack_routes_figures, kicks_unconfirmed, "routes_kicks_unconfirmed_total",
	      "counter", "Kicks that some server did not confirm in time."),
	FIELD(struct stack_routes_figures, kicks_lost, "routes_kicks_lost_total", "counter",
	      "Kicks that found no room."),
	FIELD(struct stack_routes_figures, displaced, "routes_displaced_total", "counter",
	      "Connections displaced by younger ones."),
};

static const struct field batcher_fields[] = {
	FIELD(struct ack_batcher_figures, waiting, "delivery_events_waiting", "gauge",
	      "Delivery events that wait for their batch."),
	FIELD(struct ack_batcher_figures, written, "delivery_events_written_total", "counter",
	      "Delivery events written."),
	FIELD(struct ack_batcher_figures, retried, "delivery_events_retried_total", "counter",
	      "Delivery events written again."),
	FIELD(struct ack_batcher_figures, adopted, "outboxes_adopted_total", "counter",
	      "Outboxes of dead servers emptied."),
};

static const struct field partition_fields[] = {
	FIELD(struct stack_partition_figures, appended, "delivery_appended_total", "counter",
	      "Messages appended to inboxes."),
	FIELD(struct stack_partition_figures, repetitions, "delivery_repetitions_total",
	      "counter", "Records that were in already."),
	FIELD(struct stack_partition_figures, duplicates, "delivery_duplicates_total",
	      "counter", "Records of a message that was in already."),
	FIELD(struct stack_partition_figures, expired, "delivery_expired_total", "counter",
	      "Records older than their time."),
	FIELD(struct stack_partition_figures, dead_letters, "dead_letters_written_total",
	      "counter", "Records that could not be read."),
	FIELD(struct stack_partition_figures, failures, "delivery_failures_total", "counter",
	      "Batches that failed and are tried again."),
	FIELD(struct stack_partition_figures, pushes, "delivery_pushes_total", "counter",
	      "Entries pushed to servers."),
	FIELD(struct stack_partition_figures, lookups, "delivery_route_lookups_total",
	      "counter", "Routes read."),
	FIELD(struct stack_partition_figures, rewinds, "delivery_rewinds_total", "counter",
	      "Partitions set back: Redis had less than was done."),
	FIELD(struct stack_partition_figures, rewound, "delivery_rewound_total", "counter",
	      "Offsets that they were set back."),
	FIELD(struct stack_partition_figures, sweeps, "delivery_dedup_sweeps_total", "counter",
	      "Buckets of remembered ids, looked through for old ones."),
	FIELD(struct stack_partition_figures, acked, "delivery_acked_total", "counter",
	      "Records read again and passed over: acknowledged before."),
};

static const struct field rebuild_fields[] = {
	FIELD(struct stack_rebuild_figures, rebuilds, "acks_rebuilds_total", "counter",
	      "Times that the acknowledgements were read again."),
	FIELD(struct stack_rebuild_figures, hashes, "acks_rebuilt_total", "counter",
	      "Acknowledgements read again after Redis lost data."),
	FIELD(struct stack_rebuild_figures, failures, "acks_rebuild_failures_total", "counter",
	      "Tries to read them that found no broker."),
};

static const struct field receipt_fields[] = {
	FIELD(struct stack_receipts_figures, appended, "receipts_appended_total", "counter",
	      "Receipts appended to inboxes."),
	FIELD(struct stack_receipts_figures, senderless, "receipts_senderless_total", "counter",
	      "Delivery events whose sender is not known."),
	FIELD(struct stack_receipts_figures, dropped, "receipts_dropped_total", "counter",
	      "Entries of receipts that made room for younger ones."),
	FIELD(struct stack_receipts_figures, failures, "receipts_failures_total", "counter",
	      "Batches that failed and are tried again."),
};

static const struct field instance_fields[] = {
	FIELD(struct instance_figures, entries, "instance_entries_total", "counter",
	      "Entries pushed to this server."),
	FIELD(struct instance_figures, malformed, "instance_malformed_total", "counter",
	      "Pushes that were not understood."),
	FIELD(struct instance_figures, lost, "instance_lost_total", "counter",
	      "Pushes for which there was no room."),
};

static void add_fields(struct metrics_out *t, const struct field *fields, size_t count,
                       const void *figures)
{
	for (size_t i = 0; i < count; i++)
		metrics_one(t, fields[i].name, fields[i].type, fields[i].help,
		            *(const uint64_t *)(const void *)((const char *)figures +
		                                              fields[i].offset));
}

static void add_actors(struct metrics_out *t)
{
	struct kafka_log_figures log;
	struct gateway_link_figures link;
	struct stack_routes_figures routes;
	struct ack_batcher_figures batcher;
	struct stack_partition_figures partition;
	struct stack_receipts_figures receipts;
	struct stack_rebuild_figures rebuild;
	struct instance_figures instance;

	kafka_log_figures(&log);
	add_fields(t, log_fields, CX_COUNTOF(log_fields), &log);
	gateway_link_figures(&link);
	add_fields(t, link_fields, CX_COUNTOF(link_fields), &link);
	stack_routes_figures(&routes);
	add_fields(t, routes_fields, CX_COUNTOF(routes_fields), &routes);
	ack_batcher_figures(&batcher);
	add_fields(t, batcher_fields, CX_COUNTOF(batcher_fields), &batcher);
	stack_partition_figures(&partition);
	add_fields(t, partition_fields, CX_COUNTOF(partition_fields), &partition);
	stack_rebuild_figures(&rebuild);
	add_fields(t, rebuild_fields, CX_COUNTOF(rebuild_fields), &rebuild);
	stack_receipts_figures(&receipts);
	add_fields(t, receipt_fields, CX_COUNTOF(receipt_fields), &receipts);
	instance_figures(&instance);
	add_fields(t, instance_fields, CX_COUNTOF(instance_fields), &instance);
}

void metrics_add_stack(struct metrics_out *t, const struct metrics_kafka *kafka)
{
	add_redis(t);
	add_postgres(t);
	if (kafka->has_producer)
		add_producer(t, &kafka->producer);
	if (kafka->has_consumer)
		add_consumer(t, &kafka->consumer);
	add_actors(t);
}
