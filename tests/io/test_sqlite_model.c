/* SPDX-License-Identifier: MIT */
/* Random work against a plain list of what must be there: appends, repeats, settles, receipts,
 * deletions, moves to rows, commits that fail, restarts, and processes killed at any moment. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "sqlite_fixture.h"

enum { OWNERS = 8, ENTRIES_MAX = 200000 };

struct entry {
	uint64_t id, key;
	uint32_t owner, peer, len;
	uint8_t kind;
	bool waits, waits_next; /* now, and if the batch is committed */
};

struct model {
	struct entry entries[ENTRIES_MAX];
	uint32_t count, committed; /* entries before `committed` are in the file */
	uint32_t oldest;           /* nothing before it waits */
	uint64_t next_key;
	bool gone[OWNERS];
};

static struct fixture f;
static struct model *model;
static unsigned seed;

static void setup(void)
{
	const char *const given = getenv("CX_SEED");

	seed = given != NULL ? (unsigned)atoi(given) : (unsigned)time(NULL);
	fprintf(stderr, "CX_SEED=%u\n", seed);
	model = calloc(1, sizeof(*model));
	fixture_settings(&f);
	f.settings.spill_bytes = 20000;
	f.settings.spill_age_ms = 3000;
	fixture_open(&f);
}

static void teardown(void)
{
	sqlite_engine_close(&f.engine);
	fixture_remove(&f);
	free(model);
}

TestSuite(sqlite_model, .init = setup, .fini = teardown, .timeout = 300);

static unsigned any(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static struct entry *add(uint64_t id, uint8_t kind, uint32_t owner, uint32_t peer, uint64_t key,
                         uint32_t len)
{
	struct entry *const e = &model->entries[model->count++];

	cr_assert_lt(model->count, ENTRIES_MAX);
	*e = (struct entry){ .id = id,
		             .key = key,
		             .owner = owner,
		             .peer = peer,
		             .len = len,
		             .kind = kind,
		             .waits_next = true };
	return e;
}

static void do_append(void)
{
	const uint32_t owner = 1 + any(OWNERS - 1), peer = 1 + any(OWNERS - 1);
	const uint32_t len = 1 + any(300);
	enum log_outcome outcome;
	uint64_t id;

	if (model->count > 0 && any(10) == 0) {
		const struct entry *const old = &model->entries[any(model->count)];

		if (old->kind == RECORD_MESSAGE)
			cr_assert_eq(append_len(&f, old->owner, old->peer, old->key, len, &id),
			             LOG_DUPLICATE);
		return;
	}
	outcome = append_len(&f, owner, peer, ++model->next_key, len, &id);
	cr_assert_eq(outcome, model->gone[owner] ? LOG_NO_OWNER : LOG_OK);
	if (outcome == LOG_OK)
		add(id, RECORD_MESSAGE, owner, peer, model->next_key, len);
}

static void do_settle(void)
{
	struct entry *const e =
		&model->entries[model->oldest + any(model->count - model->oldest)];
	const uint32_t planned = f.engine.plan_count;
	bool receipt = any(4) != 0;

	if (e >= &model->entries[model->committed])
		return; /* its id is not known outside before the commit */
	settle(&f, e->owner, e->id, receipt ? e->peer : 0);
	if (e->kind != RECORD_MESSAGE || !e->waits_next)
		return;
	e->waits_next = false;
	receipt &= !model->gone[e->peer];
	if (receipt) {
		cr_assert_gt(f.engine.plan_count, planned);
		add(f.engine.plan[f.engine.plan_count - 1].id, RECORD_RECEIPT, e->peer, 0, 0,
		    7);
	}
}

static void do_receipts_done(void)
{
	const uint32_t owner = 1 + any(OWNERS - 1);
	struct entry upto;
	uint32_t i;

	if (model->committed == 0)
		return;
	upto = model->entries[any(model->committed)];
	receipts_done(&f, owner, upto.id);
	for (i = model->oldest; i < model->committed; i++) {
		struct entry *const e = &model->entries[i];

		if (e->kind == RECORD_RECEIPT && e->owner == owner && e->id <= upto.id)
			e->waits_next = false;
	}
}

/* The engine's waiting entries, found in segments and rows, must be exactly the model's. */
static void mark(uint8_t *found, uint64_t id, const struct uuid *owner, int kind, int64_t len)
{
	uint32_t low = 0, high = model->count;
	struct uuid want;

	while (low < high) {
		const uint32_t middle = (low + high) / 2;

		if (model->entries[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	cr_assert(low < model->count && model->entries[low].id == id, "id %llu is unknown",
	          (unsigned long long)id);
	want = id_of(model->entries[low].owner);
	cr_assert_eq(memcmp(owner, &want, sizeof(want)), 0);
	cr_assert_eq(kind, model->entries[low].kind);
	cr_assert_eq(len, model->entries[low].len);
	cr_assert_eq(found[low], 0, "id %llu waits twice", (unsigned long long)id);
	found[low] = 1;
}

static void mark_all(uint8_t *found)
{
	struct sqlite_index *const index = &f.engine.index;
	sqlite3_stmt *s;
	uint32_t k, i;

	for (k = 0; k < index->count; k++) {
		const struct sqlite_segment *const segment = sqlite_index_at(index, k);

		for (i = 0; i < segment->count; i++) {
			const struct record *const r = sqlite_segment_record(segment, i);

			if (segment->entries[i].state != SQLITE_ENTRY_DEAD)
				mark(found, r->id, &r->owner, r->kind, r->frame_len);
		}
	}
	cr_assert_eq(sqlite3_prepare_v2(f.engine.db,
	                                "SELECT id, owner, kind, length(frame) FROM inbox", -1,
	                                &s, NULL),
	             SQLITE_OK);
	while (sqlite3_step(s) == SQLITE_ROW) {
		const struct uuid owner = sqlite_column_uuid(s, 1);

		mark(found, (uint64_t)sqlite3_column_int64(s, 0), &owner,
		     sqlite3_column_int(s, 2), sqlite3_column_int64(s, 3));
	}
	sqlite3_finalize(s);
}

static void check_sums(void)
{
	uint32_t i, messages[OWNERS] = { 0 }, receipts[OWNERS] = { 0 };
	uint64_t bytes[OWNERS] = { 0 };

	for (i = model->oldest; i < model->count; i++) {
		const struct entry *const e = &model->entries[i];

		if (!e->waits)
			continue;
		if (e->kind == RECORD_MESSAGE) {
			messages[e->owner]++;
			bytes[e->owner] += e->len;
		} else {
			receipts[e->owner]++;
		}
	}
	for (i = 0; i < OWNERS; i++) {
		const struct uuid id = id_of(i);
		const struct sqlite_owner *const o = sqlite_index_owner(&f.engine.index, &id);

		cr_assert_eq(o != NULL, messages[i] + receipts[i] > 0, "owner %u", i);
		cr_assert_eq(o == NULL ? 0 : o->messages, messages[i]);
		cr_assert_eq(o == NULL ? 0 : o->bytes, bytes[i]);
	}
}

static void check(void)
{
	uint8_t *const found = calloc(model->count + 1, 1);
	uint32_t i;

	mark_all(found);
	for (i = 0; i < model->count; i++)
		cr_assert_eq(found[i], model->entries[i].waits, "id %llu %s",
		             (unsigned long long)model->entries[i].id,
		             found[i] ? "waits again" : "is lost");
	free(found);
	while (model->oldest < model->count && !model->entries[model->oldest].waits)
		model->oldest++;
	check_sums();
}

static void model_commit(void)
{
	uint32_t i;

	for (i = model->oldest; i < model->count; i++)
		model->entries[i].waits = model->entries[i].waits_next;
	model->committed = model->count;
}

static void model_take_back(void)
{
	uint32_t i;

	model->count = model->committed;
	for (i = model->oldest; i < model->count; i++)
		model->entries[i].waits_next = model->entries[i].waits;
}

static void do_delete(uint32_t owner)
{
	struct store_op op = { .what = STORE_USER_CREATE, .user = id_of(owner), .hash = "h" };
	struct store_result result = { 0 };
	uint32_t i;

	snprintf(op.text, sizeof(op.text), "user%u", owner);
	sqlite_store_write(&f.engine, &op, &result);
	op.what = STORE_USER_DELETE;
	sqlite_store_write(&f.engine, &op, &result);
	cr_assert_eq(result.outcome, STORE_OK);
	for (i = model->oldest; i < model->count; i++)
		if (model->entries[i].owner == owner)
			model->entries[i].waits_next = false;
}

static void gather(unsigned n)
{
	while (n-- > 0) {
		const unsigned what = any(100);

		if (what < 50 || model->count == model->oldest)
			do_append();
		else if (what < 95)
			do_settle();
		else
			do_receipts_done();
	}
}

Test(sqlite_model, agrees_with_a_list)
{
	uint32_t round, owner;

	for (round = 0; round < 3000; round++) {
		const bool fails = any(8) == 0;

		gather(1 + any(40));
		owner = any(300);
		owner = owner > 0 && owner < OWNERS && !model->gone[owner] && !fails ? owner
		                                                                     : 0;
		if (owner != 0) {
			do_delete(owner);
			model->gone[owner] = true;
		}
		fail_commits(&f, fails);
		if (sqlite_commit(&f.engine) == CX_OK)
			model_commit();
		else
			model_take_back();
		fail_commits(&f, any(20) == 0);
		fixture_wait(&f, any(200));
		sqlite_upkeep(&f.engine, any(50));
		fail_commits(&f, false);
		check();
		if (any(50) == 0) {
			fixture_reopen(&f);
			memset(model->gone, 0, sizeof(model->gone)); /* graves are not kept */
			check();
		}
	}
}

/* ---- kill -9 ---- */

/* What the child tells before and after each commit. */
struct told {
	enum { TOLD_APPEND, TOLD_SETTLE, TOLD_COMMITTED } what;
	uint32_t owner, len;
	uint64_t id, key;
};

static void tell(int fd, const struct told *told)
{
	if (write(fd, told, sizeof(*told)) != (ssize_t)sizeof(*told))
		_exit(1);
}

static void child_batch(int fd, uint64_t *waiting, unsigned *count)
{
	unsigned n = any(30);
	bool first = true; /* an append: its id tells later whether the batch happened */

	do {
		struct told told = { .what = TOLD_APPEND,
			             .owner = 1 + any(OWNERS - 1),
			             .len = any(2000) };

		if (*count > 0 && !first && any(2) == 0) {
			told.what = TOLD_SETTLE;
			told.id = waiting[--*count];
			told.owner = (uint32_t)(told.id >> 48);
			told.id &= (UINT64_C(1) << 48) - 1;
			settle(&f, told.owner, told.id, 0);
			tell(fd, &told);
			continue;
		}
		told.key = ++model->next_key;
		if (append_len(&f, told.owner, 1, told.key, told.len, &told.id) != LOG_OK)
			_exit(2);
		tell(fd, &told);
		first = false;
	} while (n-- > 0);
}

static void child(int fd)
{
	static uint64_t waiting[ENTRIES_MAX];
	const struct told committed = { .what = TOLD_COMMITTED };
	unsigned count = 0;

	if (sqlite_engine_open(&f.engine, &f.settings, f.now_ms, f.wall_ms) != CX_OK)
		_exit(3);
	for (;;) {
		const uint32_t from = f.engine.plan_count;
		uint32_t i;

		child_batch(fd, waiting, &count);
		/* what this batch appends may be settled by the next ones */
		for (i = from; i < f.engine.plan_count && count < 500; i++)
			if (f.engine.plan[i].kind == RECORD_MESSAGE) {
				uint64_t owner;

				memcpy(&owner, f.engine.plan[i].owner.b, sizeof(owner));
				waiting[count++] = owner << 48 | f.engine.plan[i].id;
			}
		if (sqlite_commit(&f.engine) != CX_OK)
			_exit(4);
		tell(fd, &committed);
		fixture_wait(&f, any(100));
		sqlite_upkeep(&f.engine, any(50));
	}
}

static void hear(const struct told *told)
{
	uint32_t i;

	if (told->what == TOLD_COMMITTED) {
		model_commit();
	} else if (told->what == TOLD_APPEND) {
		add(told->id, RECORD_MESSAGE, told->owner, 1, told->key, told->len);
		if (told->key > model->next_key)
			model->next_key = told->key;
	} else {
		for (i = model->oldest; i < model->count; i++)
			if (model->entries[i].id == told->id)
				model->entries[i].waits_next = false;
	}
}

/* The batch that was cut: all of it or nothing. */
static void settle_doubt(void)
{
	const bool happened = model->count > model->committed &&
	                      f.engine.next_id > model->entries[model->count - 1].id;

	if (happened)
		model_commit();
	else
		model_take_back();
}

Test(sqlite_model, nothing_committed_is_lost_to_kill_9)
{
	unsigned round, kills = 0;

	for (round = 0; round < 100; round++) {
		struct told told;
		/* by time alone the child of a slow machine would be killed before it commits */
		int commits = (int)any(6);
		int ends[2], status;
		pid_t pid;

		sqlite_engine_close(&f.engine);
		cr_assert_eq(pipe(ends), 0);
		pid = fork();
		cr_assert_geq(pid, 0);
		if (pid == 0) {
			close(ends[0]);
			child(ends[1]);
		}
		close(ends[1]);
		fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
		do {
			cr_assert_eq(read(ends[0], &told, sizeof(told)), (ssize_t)sizeof(told));
			hear(&told);
			commits -= told.what == TOLD_COMMITTED;
		} while (commits > 0);
		usleep(any(20000));
		kill(pid, SIGKILL);
		while (read(ends[0], &told, sizeof(told)) == (ssize_t)sizeof(told))
			hear(&told);
		close(ends[0]);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status), "the child ended with %d", WEXITSTATUS(status));
		kills++;
		fixture_open(&f);
		settle_doubt();
		check();
		seed++;
	}
	cr_assert_eq(kills, 100);
	cr_assert_gt(model->committed, 1000, "the children did some work");
}
