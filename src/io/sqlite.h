/* SPDX-License-Identifier: MIT */
/* The embedded store: log, inbox rows, users, sessions and limits in one SQLite file.
 *
 * Two actors with a thread each: the writer (log.h, and the writes of store.h) groups what waits
 * in its mailbox into one transaction, syncs, then answers; the reader (reads of store.h, log_index,
 * log_fetch) sees what is committed. */
#ifndef IO_SQLITE_H
#define IO_SQLITE_H

#include <cx/actor.h>

#include "io/log.h"
#include "io/store.h"

struct sqlite_settings {
	const char *path; /* of the database file; its folder exists */
	int64_t message_ttl_ms;
	int64_t dedup_window_ms;
	uint32_t inbox_max_messages; /* for each user; four times as many receipts */
	uint64_t inbox_max_bytes;    /* sum of frame bytes */
	uint64_t
		spill_bytes; /* more than this in unsettled batches: oldest are moved to rows; 16 MiB */
	uint32_t spill_age_ms;           /* or older than this; 10000 */
	const struct cx_ref *partitions; /* get LOG_RECORDS */
	const struct cx_ref *inboxes;    /* get LOG_SPILLED */
	uint32_t partition_count;        /* of both */
};

/* conf of both types: const struct sqlite_settings * (one pointer). */
extern const struct cx_actor_type sqlite_writer_type;
extern const struct cx_actor_type sqlite_reader_type;

/* Before the runtime starts, main thread: opens or makes the file, checks it, migrates it (PRAGMA
 * user_version), reads what recovery needs.  On failure *error_text names the thing. */
CX_NODISCARD enum cx_err sqlite_setup(const struct sqlite_settings *settings,
                                      const char **error_text);

/* Closes all; the write-ahead log is copied and removed.  After the runtime has stopped; does nothing
 * when nothing is open.  Thread: main. */
void sqlite_teardown(void);

/* Sum figures for /metrics.  Thread: any. */
struct sqlite_figures {
	uint64_t commits, records, duplicates, failures, spilled, segments, remembered_ids;
	uint64_t wal_bytes, checkpoints, receipts_dropped;
	uint64_t commit_ns_sum, commit_ns_max;
};
void sqlite_figures(struct sqlite_figures *out);

#endif
