/* SPDX-License-Identifier: MIT */
/* How many receipts wait for one user, whatever others do and he does not. */
#include "sqlite_fixture.h"

#define QUOTA 20
#define BOUND (4 * QUOTA)

static struct fixture f;

static void open_store(void)
{
	fixture_settings(&f);
	f.settings.inbox_max_messages = QUOTA;
	fixture_open(&f);
}

static void close_store(void)
{
	sqlite_engine_close(&f.engine);
	fixture_remove(&f);
}

TestSuite(sqlite_receipts, .init = open_store, .fini = close_store, .timeout = 60);

static uint32_t receipts_of(uint64_t owner)
{
	const struct uuid id = id_of(owner);
	const struct sqlite_owner *const o = sqlite_index_owner(&f.engine.index, &id);

	return o == NULL ? 0 : o->receipts + o->row_receipts;
}

/* User 2 sends one to user 1, who acknowledges it. */
static enum sqlite_settled deliver(uint64_t key)
{
	uint64_t id;

	cr_assert_eq(append(&f, 1, 2, key, &id), LOG_OK);
	commit(&f);
	f.engine.ended_count = 0;
	return settle(&f, 1, id, 2);
}

static void deliver_all(uint64_t first, uint32_t count)
{
	for (uint32_t n = 0; n < count; n++) {
		cr_assert_eq(deliver(first + n), SQLITE_SETTLED_NOW);
		commit(&f);
	}
}

static void make_rows(void)
{
	fixture_wait(&f, 11000);
	tidy_all(&f);
	f.engine.ended_count = 0;
}

Test(sqlite_receipts, the_oldest_make_room_when_the_bound_is_reached)
{
	deliver_all(1000, BOUND);
	cr_assert_eq(receipts_of(2), BOUND);
	cr_assert_eq(f.engine.ended_count, 0);
	cr_assert_eq(deliver(5000), SQLITE_SETTLED_NOW, "settling is never refused");
	commit(&f);
	cr_assert_leq(receipts_of(2), BOUND);
	cr_assert_gt(f.engine.ended_count, 0, "the inbox is told");
	cr_assert_eq(f.engine.ended[0].id, 2, "the oldest");
	deliver_all(6000, 10 * BOUND);
	cr_assert_leq(receipts_of(2), BOUND);
	cr_assert_geq(receipts_of(2), BOUND - BOUND / 16 - 1, "and no more than that went");
}

Test(sqlite_receipts, those_in_rows_go_first)
{
	deliver_all(1000, BOUND / 2);
	make_rows();
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox WHERE kind = 2"), BOUND / 2);
	deliver_all(2000, BOUND / 2 + 1);
	cr_assert_leq(receipts_of(2), BOUND);
	cr_assert_lt(number(&f, "SELECT count(*) FROM inbox WHERE kind = 2"), BOUND / 2);
	deliver_all(3000, BOUND);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox WHERE kind = 2"), 0);
	cr_assert_leq(receipts_of(2), BOUND);
}

Test(sqlite_receipts, the_bound_holds_after_a_new_start)
{
	deliver_all(1000, BOUND / 2);
	make_rows();
	deliver_all(2000, 2 * BOUND);
	cr_assert_leq(receipts_of(2), BOUND);
	fixture_reopen(&f);
	cr_assert_leq(receipts_of(2), BOUND);
	deliver_all(4000, BOUND);
	cr_assert_leq(receipts_of(2), BOUND);
	receipts_done(&f, 2, UINT64_MAX >> 1);
	commit(&f);
	cr_assert_eq(receipts_of(2), 0);
}

Test(sqlite_receipts, a_commit_that_fails_drops_none)
{
	deliver_all(1000, BOUND / 2);
	make_rows();
	deliver_all(2000, BOUND / 2);
	cr_assert_eq(deliver(5000), SQLITE_SETTLED_NOW);
	cr_assert_gt(f.engine.ended_count, 0);
	fail_commits(&f, true);
	cr_assert_eq(sqlite_commit(&f.engine), CX_EIO);
	fail_commits(&f, false);
	cr_assert_eq(f.engine.ended_count, 0);
	cr_assert_eq(receipts_of(2), BOUND);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox WHERE kind = 2"), BOUND / 2);
}

Test(sqlite_receipts, one_users_flood_costs_no_other_user_any)
{
	uint64_t id;

	cr_assert_eq(append(&f, 1, 3, 7, &id), LOG_OK);
	commit(&f);
	settle(&f, 1, id, 3);
	commit(&f);
	deliver_all(1000, 3 * BOUND);
	cr_assert_eq(receipts_of(3), 1);
}

/* ---- what else ends by itself is told in the same way ---- */

Test(sqlite_receipts, the_inbox_is_told_of_what_is_over_its_time_and_only_then)
{
	uint64_t id;

	append(&f, 1, 2, 10, &id);
	commit(&f);
	make_rows();
	f.wall_ms += 8 * DAY_MS; /* a jump is not time */
	tidy_all(&f);
	cr_assert_eq(f.engine.ended_count, 0);
	f.wall_ms -= 8 * DAY_MS;
	fixture_wait(&f, 6 * DAY_MS);
	tidy_all(&f);
	cr_assert_eq(f.engine.ended_count, 0);
	fixture_wait(&f, 2 * DAY_MS);
	tidy_all(&f);
	cr_assert_eq(f.engine.ended_count, 1);
	cr_assert_eq(f.engine.ended[0].id, id);
	cr_assert_eq(messages_of(&f, 1), 0);
}
