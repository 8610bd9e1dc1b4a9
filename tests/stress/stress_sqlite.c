/* SPDX-License-Identifier: MIT */
/* The embedded store with all its threads at once: writer, reader, checkpoints every megabyte,
 * rows for what waits.  Each accepted message reaches its partition once and in order, is found
 * again as a row when it is old, is settled, and nothing is left in the file at the end. */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <cx/runtime.h>

#include "io/sqlite.h"
#include "io/sqlite_shared.h"

#include "stress.h"

enum { APPENDERS = 4, PARTITIONS = 2, OWNERS = 200, IN_FLIGHT = 64, KEEP_MAX = 100000 };

static struct {
	_Atomic uint64_t asked, accepted, failed, seen, settled, receipts, fetched, disorder,
		odd;
	_Atomic uint32_t stop;
} counted;

static struct cx_ref writer, reader;
static struct cx_ref partitions[PARTITIONS];

static struct uuid id_of(uint64_t n)
{
	struct uuid id = { { 0 } };

	memcpy(id.b, &n, sizeof(n));
	return id;
}

/* ---- appenders ---- */

struct appender {
	uint64_t number, key;
};

static void append_one(struct cx_ctx *ctx, struct appender *a)
{
	const struct uuid owner = id_of(cx_random(ctx) % OWNERS);
	const struct uuid peer = id_of(cx_random(ctx) % OWNERS);
	const struct uuid key = id_of(a->number << 32 | ++a->key);
	struct cx_buf *const frame = cx_buf_new(100 + cx_random(ctx) % 900);
	uint64_t corr;

	memset(cx_buf_data(frame), key.b[0], cx_buf_len(frame));
	counted.asked++;
	if (log_append(ctx, writer, &owner, &peer, &key, 0, frame, 60000, &corr) != CX_OK)
		counted.failed++;
	cx_buf_unref(frame);
}

static void on_appended(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	if (CX_MSG_AS(struct log_appended, msg)->outcome == LOG_OK)
		counted.accepted++;
	else
		counted.failed++;
	if (!counted.stop)
		append_one(ctx, state);
}

static void on_append_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	counted.failed++;
}

static enum cx_err start_appender(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct appender *const a = state;
	unsigned i;

	memcpy(&a->number, conf, sizeof(a->number));
	for (i = 0; i < IN_FLIGHT; i++)
		append_one(ctx, a);
	return CX_OK;
}

static const struct cx_handler appender_handlers[] = {
	CX_ON(LOG_APPENDED, struct log_appended, on_appended),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_append_error),
};

static const struct cx_actor_type appender_type = {
	.name = "appender",
	.state_size = sizeof(struct appender),
	.conf_size = sizeof(uint64_t),
	.mailbox_cap = 1000,
	.start = start_appender,
	.handlers = appender_handlers,
	.handler_count = CX_COUNTOF(appender_handlers),
};

/* ---- partitions: settle most at once, keep one in eight until it has a row ---- */

struct kept {
	uint64_t id;
	struct uuid owner, peer;
};

struct partition {
	uint32_t number, kept_count;
	uint64_t last_id;
	struct kept *kept;
};

static bool is_mine(const struct partition *p, const struct uuid *owner)
{
	return uuid_hash(owner) % PARTITIONS == p->number;
}

static void settle(struct cx_ctx *ctx, const struct uuid *owner, uint64_t id,
                   const struct uuid *peer)
{
	struct cx_buf *const receipt = cx_buf_copy("receipt", 7);
	uint64_t corr;

	if (log_settle(ctx, writer, owner, id, 0, peer, receipt, 60000, &corr) != CX_OK)
		counted.failed++;
	cx_buf_unref(receipt);
}

static void take_record(struct cx_ctx *ctx, struct partition *p, const struct record *r)
{
	if (r->id <= p->last_id)
		counted.disorder++;
	p->last_id = r->id;
	if (r->kind == RECORD_RECEIPT) {
		counted.receipts++;
		if (log_receipts_done(ctx, writer, &r->owner, r->id) != CX_OK)
			counted.failed++;
		return;
	}
	counted.seen++;
	if (r->frame_len < 100 || r->frame[r->frame_len - 1] != r->key.b[0])
		counted.odd++;
	if (r->id % 8 != 0 || p->kept_count == KEEP_MAX)
		settle(ctx, &r->owner, r->id, &r->peer);
	else
		p->kept[p->kept_count++] = (struct kept){ r->id, r->owner, r->peer };
}

static void on_records(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct partition *const p = state;
	const uint8_t *at = cx_buf_bytes(msg->buf), *const end = at + cx_buf_len(msg->buf);
	const struct record *r;
	bool torn;

	while ((r = record_next(&at, end, &torn)) != NULL)
		if ((r->kind == RECORD_MESSAGE || r->kind == RECORD_RECEIPT) &&
		    is_mine(p, &r->owner))
			take_record(ctx, p, r);
}

static void on_spilled(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct partition *const p = state;
	const struct log_place *const entries = (const void *)cx_buf_bytes(msg->buf);
	uint32_t i;
	uint64_t corr;

	for (i = 0; i < CX_MSG_AS(struct log_spilled, msg)->count; i++)
		if (is_mine(p, &entries[i].owner) &&
		    log_fetch(ctx, reader, &entries[i].owner, entries[i].id - 1, 1, 60000,
		              &corr) != CX_OK)
			counted.failed++;
}

/* Found as a row: now it may go.  (A receipt's row may be gone already.) */
static void on_fetched(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct partition *const p = state;
	const uint8_t *at;
	const struct record *r;
	uint32_t i;
	bool torn;

	if (CX_MSG_AS(struct log_fetched, msg)->count == 0)
		return;
	at = cx_buf_bytes(msg->buf);
	r = record_next(&at, at + cx_buf_len(msg->buf), &torn);
	if (r->kind != RECORD_MESSAGE)
		return;
	for (i = 0; i < p->kept_count && p->kept[i].id != r->id; i++)
		;
	if (i == p->kept_count)
		return; /* settled by an earlier answer, read before the settle was stored */
	counted.fetched++;
	if (r->frame_len < 100 || r->frame[r->frame_len - 1] != r->key.b[0] ||
	    !uuid_equal(&r->peer, &p->kept[i].peer))
		counted.odd++;
	settle(ctx, &r->owner, r->id, &r->peer);
	p->kept[i] = p->kept[--p->kept_count];
}

static void on_settled(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	if (CX_MSG_AS(struct log_settled, msg)->outcome == LOG_OK)
		counted.settled++;
	else
		counted.failed++;
}

static void on_told(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static enum cx_err start_partition(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct partition *const p = state;

	(void)ctx;
	memcpy(&p->number, conf, sizeof(p->number));
	p->kept = calloc(KEEP_MAX, sizeof(*p->kept));
	return p->kept == NULL ? CX_ENOMEM : CX_OK;
}

static void stop_partition(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	free(((struct partition *)state)->kept);
}

static const struct cx_handler partition_handlers[] = {
	CX_ON(LOG_RECORDS, struct log_records, on_records),
	CX_ON(LOG_SPILLED, struct log_spilled, on_spilled),
	CX_ON(LOG_ENDED, struct log_ended, on_told),
	CX_ON(LOG_FETCHED, struct log_fetched, on_fetched),
	CX_ON(LOG_SETTLED, struct log_settled, on_settled),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_append_error),
};

static const struct cx_actor_type partition_type = {
	.name = "partition",
	.state_size = sizeof(struct partition),
	.conf_size = sizeof(uint32_t),
	.mailbox_cap = 100000,
	.start = start_partition,
	.stop = stop_partition,
	.handlers = partition_handlers,
	.handler_count = CX_COUNTOF(partition_handlers),
};

/* ---- the run ---- */

static void must(enum cx_err err, const char *what)
{
	if (err == CX_OK)
		return;
	printf("FAILED %s: %s\n", what, cx_err_name(err));
	exit(1);
}

static void setup(const struct sqlite_settings *settings)
{
	const char *error = "";

	if (sqlite_setup(settings, &error) != CX_OK) {
		printf("FAILED %s\n", error);
		exit(1);
	}
}

static void run(struct sqlite_settings *settings, unsigned ms)
{
	const struct cx_runtime_conf conf = { .workers = 2 };
	const struct sqlite_settings *const pointer = settings;
	struct cx_runtime *rt;
	struct cx_ref ref;
	uint64_t i;
	struct sqlite_figures before, after;
	unsigned waited;

	must(cx_runtime_new(&conf, &rt), "new");
	for (uint32_t n = 0; n < PARTITIONS; n++)
		must(cx_runtime_spawn(rt, &partition_type, &n, n, &partitions[n]), "partition");
	must(cx_runtime_spawn(rt, &sqlite_writer_type, &pointer, 0, &writer), "writer");
	must(cx_runtime_spawn(rt, &sqlite_reader_type, &pointer, 0, &reader), "reader");
	for (i = 0; i < APPENDERS; i++)
		must(cx_runtime_spawn(rt, &appender_type, &i, i * 7, &ref), "appender");
	must(cx_runtime_start(rt), "start");
	stress_sleep_ms((long)ms);
	counted.stop = 1;
	for (waited = 0; waited < 30000; waited += 10) {
		if (counted.accepted + counted.failed == counted.asked &&
		    counted.settled == counted.accepted && counted.receipts == counted.accepted)
			break;
		stress_sleep_ms(10);
	}
	sqlite_figures(&after);
	for (waited = 0; waited < 30000;
	     waited += 1000) { /* the last receipts done and deletions */
		before = after;
		stress_sleep_ms(1000);
		sqlite_figures(&after);
		if (after.records == before.records)
			break;
	}
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

static void check(const struct sqlite_settings *settings)
{
	struct sqlite_figures figures;

	sqlite_figures(&figures);
	printf("%llu accepted, %llu found as rows, %llu commits, %llu checkpoints\n",
	       (unsigned long long)counted.accepted, (unsigned long long)counted.fetched,
	       (unsigned long long)figures.commits, (unsigned long long)figures.checkpoints);
	STRESS_CHECK(counted.accepted > 0 && counted.failed == 0, "%llu failed",
	             (unsigned long long)counted.failed);
	STRESS_CHECK(counted.seen == counted.accepted, "%llu accepted, %llu seen",
	             (unsigned long long)counted.accepted, (unsigned long long)counted.seen);
	STRESS_CHECK(counted.settled == counted.accepted, "%llu settled",
	             (unsigned long long)counted.settled);
	STRESS_CHECK(counted.receipts == counted.accepted, "%llu receipts",
	             (unsigned long long)counted.receipts);
	STRESS_CHECK(counted.disorder == 0, "%llu out of order",
	             (unsigned long long)counted.disorder);
	STRESS_CHECK(counted.odd == 0, "%llu with other content",
	             (unsigned long long)counted.odd);
	STRESS_CHECK(counted.fetched > 0 && figures.checkpoints > 0, "all paths were taken");
	sqlite_teardown();
	setup(settings);
	STRESS_CHECK(sqlite_shared.engine.index.owner_count == 0,
	             "%u users with something waiting", sqlite_shared.engine.index.owner_count);
	STRESS_CHECK(sqlite_shared.engine.ids.count == counted.accepted, "%llu ids remembered",
	             (unsigned long long)sqlite_shared.engine.ids.count);
}

int main(int argc, char **argv)
{
	static const char *const tails[] = { "", "-wal", "-shm", "-lock" };
	char folder[] = "/tmp/construct-stress-XXXXXX", path[64], name[80];
	struct sqlite_settings settings = {
		.path = path,
		.message_ttl_ms = 86400000,
		.dedup_window_ms = 86400000,
		.inbox_max_messages = 1000000,
		.inbox_max_bytes = 1 << 30,
		.spill_bytes = 1 << 20,
		.spill_age_ms = 300,
		.partitions = partitions,
		.inboxes = partitions,
		.partition_count = PARTITIONS,
	};
	unsigned i;

	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/construct.db", folder);
	setup(&settings);
	sqlite_shared.checkpoint.start_bytes = sqlite_shared.checkpoint.ask_at_bytes = 1 << 20;
	run(&settings, argc > 1 ? (unsigned)atoi(argv[1]) : 3000);
	check(&settings);
	sqlite_teardown();
	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "%s%s", path, tails[i]);
		unlink(name);
	}
	rmdir(folder);
	return stress_end();
}
