/* SPDX-License-Identifier: MIT */
/* The group-commit floor: what one SQLite writer alone reaches in a folder.
 *
 *   floor_sqlite DIR [SECONDS_PER_RUN [WAY,BATCH]]
 *
 * A durable message costs at least one INSERT of its row and, later, one DELETE.  So each
 * transaction inserts a batch of 600-byte rows and deletes the batch before it, WAL mode,
 * synchronous=FULL: a commit returns after the disk has it.  No network, no index, no second
 * thread.  Two ways:
 *
 *   rows   just that
 *   ids    and a third row for each message: its 16 random bytes of id in a keyed table, kept,
 *          as a relay must that answers a repeated id after a restart.  Random keys touch a
 *          page each, so this way is slower and slows down as the table grows.
 *
 * One TSV row for each way and batch size, median of 5 runs (of one, if WAY,BATCH is given):
 *   floor_sqlite  way,batch  threads  messages/s  p50_ns  p99_ns (of a commit)  lowest  highest */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#define RUNS 5
#define ROW_BYTES 600
#define RECIPIENTS 1000
#define COMMITS_MAX 100000

enum way { ROWS, IDS };

static const char *const way_names[] = { [ROWS] = "rows", [IDS] = "ids" };

struct store {
	sqlite3 *db;
	enum way way;
	sqlite3_stmt *begin, *commit, *insert, *erase, *remember;
};

struct result {
	double per_second;
	uint64_t p50_ns, p99_ns;
};

static uint64_t commit_ns[COMMITS_MAX];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void fail(const struct store *s, const char *what)
{
	fprintf(stderr, "floor_sqlite: %s: %s\n", what, sqlite3_errmsg(s->db));
	exit(1);
}

static void exec(const struct store *s, const char *sql)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail(s, sql);
}

static sqlite3_stmt *prepare(const struct store *s, const char *sql)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail(s, sql);
	return stmt;
}

static void step(const struct store *s, sqlite3_stmt *stmt)
{
	if (sqlite3_step(stmt) != SQLITE_DONE)
		fail(s, sqlite3_sql(stmt));
	sqlite3_reset(stmt);
}

static void remove_files(const char *path)
{
	static const char *const suffix[] = { "", "-wal", "-shm" };
	char name[4200];

	for (size_t i = 0; i < sizeof(suffix) / sizeof(suffix[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffix[i]);
		if (unlink(name) != 0 && errno != ENOENT)
			perror(name);
	}
}

static void open_store(struct store *s, const char *path, enum way way)
{
	remove_files(path);
	s->way = way;
	if (sqlite3_open(path, &s->db) != SQLITE_OK)
		fail(s, path);
	exec(s, "PRAGMA journal_mode=WAL");
	exec(s, "PRAGMA synchronous=FULL");
	exec(s, "PRAGMA locking_mode=EXCLUSIVE");
	exec(s, "CREATE TABLE inbox (id INTEGER PRIMARY KEY, recipient INTEGER NOT NULL,"
	        " message BLOB NOT NULL)");
	exec(s, "CREATE TABLE seen (id BLOB PRIMARY KEY, expires INTEGER) WITHOUT ROWID");
	s->begin = prepare(s, "BEGIN IMMEDIATE");
	s->commit = prepare(s, "COMMIT");
	s->insert = prepare(s, "INSERT INTO inbox (id, recipient, message) VALUES (?, ?, ?)");
	s->erase = prepare(s, "DELETE FROM inbox WHERE id = ?");
	s->remember = prepare(s, "INSERT INTO seen (id, expires) VALUES (?, ?)");
}

static void close_store(struct store *s, const char *path)
{
	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->commit);
	sqlite3_finalize(s->insert);
	sqlite3_finalize(s->erase);
	sqlite3_finalize(s->remember);
	if (sqlite3_close(s->db) != SQLITE_OK)
		fail(s, "close");
	remove_files(path);
}

/* Spreads `id` over 16 bytes, one to one, without order: what a UUID does to a B-tree. */
static void remember(const struct store *s, int64_t id)
{
	uint64_t key[2] = { (uint64_t)id, (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) };

	key[0] ^= key[1] >> 29;
	key[0] *= UINT64_C(0xbf58476d1ce4e5b9);
	key[0] ^= key[0] >> 32;
	sqlite3_bind_blob(s->remember, 1, key, sizeof(key), SQLITE_STATIC);
	sqlite3_bind_int64(s->remember, 2, id);
	step(s, s->remember);
}

/* Rows first+1 .. first+batch come, the batch before them goes. */
static void one_transaction(const struct store *s, int64_t first, int64_t batch)
{
	static uint8_t message[ROW_BYTES];

	step(s, s->begin);
	for (int64_t id = first + 1; id <= first + batch; id++) {
		memcpy(message, &id, sizeof(id)); /* no two rows alike */
		sqlite3_bind_int64(s->insert, 1, id);
		sqlite3_bind_int64(s->insert, 2, id % RECIPIENTS);
		sqlite3_bind_blob(s->insert, 3, message, sizeof(message), SQLITE_STATIC);
		step(s, s->insert);
		if (s->way == IDS)
			remember(s, id);
		if (id > batch) {
			sqlite3_bind_int64(s->erase, 1, id - batch);
			step(s, s->erase);
		}
	}
	step(s, s->commit);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int compare_result(const void *a, const void *b)
{
	const double x = ((const struct result *)a)->per_second;
	const double y = ((const struct result *)b)->per_second;

	return (x > y) - (x < y);
}

static struct result run(const char *path, enum way way, int64_t batch, double seconds)
{
	struct store s;
	int64_t first = 0;
	size_t n = 0;

	open_store(&s, path, way);
	for (int i = 0; i < 20; i++, first += batch)
		one_transaction(&s, first, batch); /* warm-up */
	const uint64_t start = now_ns();
	const uint64_t end = start + (uint64_t)(seconds * 1e9);
	uint64_t now = start;

	while (now < end && n < COMMITS_MAX) {
		one_transaction(&s, first, batch);
		first += batch;
		const uint64_t then = now;

		now = now_ns();
		commit_ns[n++] = now - then;
	}
	close_store(&s, path);
	qsort(commit_ns, n, sizeof(commit_ns[0]), compare_u64);
	return (struct result){
		.per_second = (double)n * (double)batch * 1e9 / (double)(now - start),
		.p50_ns = commit_ns[n / 2],
		.p99_ns = commit_ns[n * 99 / 100],
	};
}

static void measure(const char *path, enum way way, int64_t batch, double seconds, size_t runs)
{
	struct result results[RUNS];
	const struct result *mid = &results[runs / 2];

	for (size_t i = 0; i < runs; i++)
		results[i] = run(path, way, batch, seconds);
	qsort(results, runs, sizeof(results[0]), compare_result);
	printf("floor_sqlite\t%s,%" PRId64 "\t1\t%.0f\t%" PRIu64 "\t%" PRIu64 "\t%.0f\t%.0f\n",
	       way_names[way], batch, mid->per_second, mid->p50_ns, mid->p99_ns,
	       results[0].per_second, results[runs - 1].per_second);
	fflush(stdout);
}

/* "ids,300": that alone, once. */
static int measure_one(const char *path, const char *what, double seconds)
{
	for (enum way way = ROWS; way <= IDS; way++) {
		const size_t len = strlen(way_names[way]);

		if (strncmp(what, way_names[way], len) == 0 && what[len] == ',') {
			const long batch = strtol(what + len + 1, NULL, 10);

			if (batch < 1 || batch > 100000)
				break;
			measure(path, way, batch, seconds, 1);
			return 0;
		}
	}
	fprintf(stderr, "floor_sqlite: no such way and batch: %s\n", what);
	return 2;
}

int main(int argc, char **argv)
{
	static const int64_t batches[] = { 100, 300, 1000 };
	const double seconds = argc > 2 ? atof(argv[2]) : 2;
	char path[4096];

	if (argc < 2 || argc > 4 || seconds <= 0) {
		fprintf(stderr, "usage: floor_sqlite DIR [SECONDS_PER_RUN [WAY,BATCH]]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/floor_sqlite.%ld.db", argv[1], (long)getpid());
	if (argc == 4)
		return measure_one(path, argv[3], seconds);
	for (enum way way = ROWS; way <= IDS; way++)
		for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++)
			measure(path, way, batches[b], seconds, RUNS);
	return 0;
}
