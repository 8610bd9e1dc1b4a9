/* SPDX-License-Identifier: MIT */
/* The embedded log alone: how many messages a second go through their whole life (appended,
 * settled with a receipt, receipt done, deleted), each step durable before the next.
 *
 *   bench_sqlite_writer FOLDER [SECONDS]
 *
 * `log`   the writer as it is: a row for each commit
 * `rows`  the same life with a row for each message, id and receipt
 * Each with batches of 100, 300 and 1000, then at 25,000 a second with whatever batch comes up. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "io/sqlite_checkpoint.h"
#include "io/sqlite_db.h"
#include "io/sqlite_engine.h"
#include "io/sqlite_stats.h"

#define FRAME_BYTES 420 /* a message frame with 256 bytes of content */
#define RECEIPT_BYTES 80
#define USERS 512
#define BATCH_MAX 4096
#define SAMPLES_MAX 400000

/* One stage's batch: what the next stage works on. */
struct batch {
	uint32_t count;
	uint64_t first_key;
	uint64_t ids[BATCH_MAX];
};

struct way {
	const char *name;
	void (*cycle)(struct batch *append, const struct batch *settle,
	              const struct batch *done);
};

static struct sqlite_engine engine;
static struct sqlite_checkpoint checkpoint;
static struct cx_buf *frame, *receipt;
static uint64_t next_key = 1;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, engine.db == NULL ? "" : sqlite3_errmsg(engine.db));
	exit(1);
}

static double now_s(void)
{
	return (double)sqlite_clock_ns() / 1e9;
}

static int64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct uuid id_of(uint64_t n)
{
	struct uuid id;
	uint64_t mixed = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	memcpy(id.b, &mixed, 8);
	mixed ^= mixed >> 31;
	mixed *= UINT64_C(0xbf58476d1ce4e5b9);
	memcpy(id.b + 8, &mixed, 8);
	return id;
}

/* ---- as it is ---- */

static void log_gather(struct batch *append, const struct batch *settle,
                       const struct batch *done)
{
	uint32_t i;

	for (i = 0; i < append->count; i++) {
		const uint64_t key = next_key++;
		struct log_append_msg m = { .owner = id_of(key % USERS),
			                    .peer = id_of((key + 1) % USERS),
			                    .key = id_of(key) };
		struct sqlite_id mark;

		m.hdr.buf = frame;
		if (sqlite_append(&engine, &m, &append->ids[i], &mark) != LOG_OK)
			fail("append");
	}
	for (i = 0; i < settle->count; i++) {
		const uint64_t key = settle->first_key + i;
		struct log_settle_msg m = { .owner = id_of(key % USERS),
			                    .peer = id_of((key + 1) % USERS),
			                    .id = settle->ids[i] };

		m.hdr.buf = receipt;
		if (sqlite_settle(&engine, &m) != SQLITE_SETTLED_NOW)
			fail("settle");
	}
	for (i = 0; i < done->count; i++) {
		const uint64_t key = done->first_key + i;
		/* receipts of the batch before stand between these ids and those of this batch */
		const struct log_receipts_done_msg m = { .owner = id_of((key + 1) % USERS),
			                                 .upto = settle->ids[0] };

		sqlite_receipts_done(&engine, &m);
	}
}

static void log_cycle(struct batch *append, const struct batch *settle,
                      const struct batch *done)
{
	sqlite_clock(&engine, sqlite_clock_ns() / 1000000, wall_ms());
	append->first_key = next_key;
	log_gather(append, settle, done);
	if (sqlite_commit(&engine) != CX_OK)
		fail("commit");
}

static void log_upkeep(void)
{
	sqlite_upkeep(&engine, 0);
	if (sqlite_checkpoint_turn(&checkpoint, engine.db,
	                           (uint64_t)engine.wal_frames * engine.page_bytes))
		engine.wal_frames = 0;
}

/* ---- a row each ---- */

static const char *const row_texts[] = {
	"INSERT INTO row_inbox VALUES(?1, ?2, ?3, ?4, ?5)",
	"INSERT OR IGNORE INTO row_dedup VALUES(?1, ?2, ?3)",
	"DELETE FROM row_inbox WHERE owner = ?1 AND id = ?2",
};
static sqlite3_stmt *row_sql[3];
static uint64_t row_id = 1;

static void row_put(uint64_t user, uint64_t id, int kind, uint64_t peer, struct cx_buf *bytes)
{
	const struct uuid owner = id_of(user), from = id_of(peer);

	sqlite_bind_uuid(row_sql[0], 1, &owner);
	sqlite3_bind_int64(row_sql[0], 2, (int64_t)id);
	sqlite3_bind_int(row_sql[0], 3, kind);
	sqlite_bind_uuid(row_sql[0], 4, &from);
	sqlite3_bind_blob(row_sql[0], 5, cx_buf_bytes(bytes), (int)cx_buf_len(bytes),
	                  SQLITE_STATIC);
	if (!sqlite_run(row_sql[0]))
		fail("row");
}

static void row_delete(uint64_t user, uint64_t id)
{
	const struct uuid owner = id_of(user);

	sqlite_bind_uuid(row_sql[2], 1, &owner);
	sqlite3_bind_int64(row_sql[2], 2, (int64_t)id);
	if (!sqlite_run(row_sql[2]))
		fail("row delete");
}

static void rows_cycle(struct batch *append, const struct batch *settle,
                       const struct batch *done)
{
	uint32_t i;

	append->first_key = next_key;
	if (!sqlite_run(engine.sql[SQLITE_W_BEGIN]))
		fail("begin");
	for (i = 0; i < append->count; i++) {
		const uint64_t key = next_key++;
		const struct uuid peer = id_of((key + 1) % USERS), name = id_of(key);

		sqlite_bind_uuid(row_sql[1], 1, &peer);
		sqlite_bind_uuid(row_sql[1], 2, &name);
		sqlite3_bind_int64(row_sql[1], 3, 485000);
		if (!sqlite_run(row_sql[1]) || sqlite3_changes(engine.db) != 1)
			fail("row dedup");
		append->ids[i] = row_id;
		row_id += 2; /* the receipt's is the one after */
		row_put(key % USERS, append->ids[i], 1, key + 1, frame);
	}
	for (i = 0; i < settle->count; i++) {
		const uint64_t key = settle->first_key + i;

		row_delete(key % USERS, settle->ids[i]);
		row_put((key + 1) % USERS, settle->ids[i] + 1, 2, key, receipt);
	}
	for (i = 0; i < done->count; i++)
		row_delete((done->first_key + i + 1) % USERS, done->ids[i] + 1);
	if (!sqlite_run(engine.sql[SQLITE_W_COMMIT]))
		fail("commit");
}

/* ---- measuring ---- */

static double samples[SAMPLES_MAX];
static uint32_t sample_count;

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(double p)
{
	uint32_t at = (uint32_t)((double)sample_count * p);

	if (sample_count == 0)
		return 0;
	return samples[at >= sample_count ? sample_count - 1 : at] * 1e6;
}

static double cpu_s(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void report(const char *name, const char *load, uint64_t messages, double seconds,
                   double cpu)
{
	qsort(samples, sample_count, sizeof(*samples), compare);
	printf("%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\n", name, load,
	       (double)messages / seconds, (double)messages / sample_count, percentile(0.5),
	       percentile(0.99), percentile(0.999),
	       messages == 0 ? 0 : cpu * 1e6 / (double)messages);
	fflush(stdout);
}

/* batch 0: at `rate` a second, what is due. */
static void measure(const struct way *way, uint32_t batch, double rate, double seconds)
{
	static struct batch stages[3];
	const double cpu = cpu_s(), start = now_s(), warm = start + seconds / 4;
	uint64_t messages = 0, sent = 0;
	double cpu_warm = cpu, began = start, due = 0;
	unsigned turn = 0;
	char load[32];

	sample_count = 0;
	memset(stages, 0, sizeof(stages));
	while (now_s() - start < seconds) {
		struct batch *const append = &stages[turn % 3];
		const double since = now_s();

		if (batch == 0)
			due = (since - start) * rate - (double)sent;
		append->count = batch != 0        ? batch
		                : due > BATCH_MAX ? BATCH_MAX
		                                  : (uint32_t)due;
		if (append->count == 0) {
			usleep(50);
			continue;
		}
		way->cycle(append, &stages[(turn + 2) % 3], &stages[(turn + 1) % 3]);
		sent += append->count;
		if (since < warm) {
			messages = 0;
			began = now_s();
			cpu_warm = cpu_s();
		} else {
			messages += append->count;
			if (sample_count < SAMPLES_MAX)
				samples[sample_count++] = now_s() - since;
		}
		log_upkeep();
		turn++;
	}
	snprintf(load, sizeof(load), batch != 0 ? "batch=%.0f" : "rate=%.0f",
	         batch != 0 ? (double)batch : rate);
	report(way->name, load, messages, now_s() - began, cpu_s() - cpu_warm);
}

/* The disk's own: 64 KiB written over blocks that are there, and synced. */
static void measure_disk(const char *folder)
{
	static char bytes[65536];
	char path[512];
	int fd, i;

	snprintf(path, sizeof(path), "%s/disk", folder);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		fail(path);
	sample_count = 0;
	for (i = 0; i < 2000; i++) {
		const double since = now_s();

		if (pwrite(fd, bytes, sizeof(bytes), (off_t)(i % 500) * 65536) < 0 ||
		    fdatasync(fd) != 0)
			fail(path);
		if (i >= 500)
			samples[sample_count++] = now_s() - since;
	}
	close(fd);
	unlink(path);
	report("fdatasync", "bytes=65536", 0, 1, 0);
}

static void open_store(const char *folder)
{
	static char path[512];
	static struct sqlite_settings settings = {
		.path = path,
		.message_ttl_ms = 7 * 86400000,
		.dedup_window_ms = 8 * 86400000,
		.inbox_max_messages = 1000000,
		.inbox_max_bytes = UINT64_C(1) << 40,
		.spill_bytes = 16 << 20,
		.spill_age_ms = 10000,
	};

	snprintf(path, sizeof(path), "%s/bench.db", folder);
	if (sqlite_engine_open(&engine, &settings, sqlite_clock_ns() / 1000000, wall_ms()) !=
	            CX_OK ||
	    sqlite_checkpoint_start(&checkpoint, path) != CX_OK ||
	    sqlite3_exec(
		    engine.db,
		    "CREATE TABLE IF NOT EXISTS row_inbox(owner BLOB, id INTEGER, kind INTEGER,"
		    " peer BLOB, frame BLOB, PRIMARY KEY(owner, id)) WITHOUT ROWID;"
		    "CREATE TABLE IF NOT EXISTS row_dedup(peer BLOB, key BLOB, hour INTEGER,"
		    " PRIMARY KEY(peer, key)) WITHOUT ROWID",
		    NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite_db_prepare(engine.db, row_texts, 3, row_sql) != CX_OK)
		fail(sqlite_db_error());
}

int main(int argc, char **argv)
{
	static const struct way ways[] = { { "log", log_cycle }, { "rows", rows_cycle } };
	static const uint32_t batches[] = { 100, 300, 1000, 0 };
	const double seconds = argc > 2 ? atof(argv[2]) : 6;
	unsigned w, b;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FOLDER [SECONDS]\n", argv[0]);
		return 2;
	}
	open_store(argv[1]);
	frame = cx_buf_new(FRAME_BYTES);
	memset(cx_buf_data(frame), 'm', FRAME_BYTES);
	receipt = cx_buf_new(RECEIPT_BYTES);
	memset(cx_buf_data(receipt), 'r', RECEIPT_BYTES);
	printf("name\tload\tmessages/s\tbatch\tp50_us\tp99_us\tp999_us\tcpu_us\n");
	for (w = 0; w < 2; w++)
		for (b = 0; b < 4; b++)
			measure(&ways[w], batches[b], 25000, seconds);
	measure_disk(argv[1]);
	sqlite_checkpoint_stop(&checkpoint, engine.db);
	for (b = 0; b < 3; b++)
		sqlite3_finalize(row_sql[b]);
	sqlite_engine_close(&engine);
	cx_buf_unref(frame);
	cx_buf_unref(receipt);
	return 0;
}
