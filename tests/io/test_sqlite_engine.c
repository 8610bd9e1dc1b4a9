/* SPDX-License-Identifier: MIT */
#include "io/sqlite_engine.h"

#include "sqlite_fixture.h"

static struct fixture f;

static void open_store(void)
{
	fixture_settings(&f);
	fixture_open(&f);
}

static void close_store(void)
{
	sqlite_engine_close(&f.engine);
	fixture_remove(&f);
}

TestSuite(sqlite_engine, .init = open_store, .fini = close_store, .timeout = 60);

static const struct sqlite_owner *owner(uint64_t n)
{
	const struct uuid id = id_of(n);

	return sqlite_index_owner(&f.engine.index, &id);
}

static uint32_t live_entries(void)
{
	uint32_t i, n = 0;

	for (i = 0; i < f.engine.index.count; i++)
		n += sqlite_index_at(&f.engine.index, i)->live;
	return n;
}

Test(sqlite_engine, accepts_settles_and_forgets)
{
	uint64_t id = 0;

	cr_assert_eq(append(&f, 1, 2, 10, &id), LOG_OK);
	cr_assert_eq(id, 1);
	commit(&f);
	cr_assert_eq(messages_of(&f, 1), 1);
	cr_assert_eq(owner(1)->bytes, 100);
	cr_assert(f.engine.committed_entries);
	cr_assert_eq(settle(&f, 1, id, 2), SQLITE_SETTLED_NOW);
	commit(&f);
	cr_assert_eq(messages_of(&f, 1), 0);
	cr_assert_not_null(owner(2), "his receipt waits");
	cr_assert_eq(owner(2)->messages, 0, "and costs no quota");
	receipts_done(&f, 2, 100);
	commit(&f);
	cr_assert_null(owner(2));
	cr_assert_eq(live_entries(), 0);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM segment"), 0);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox"), 0);
}

Test(sqlite_engine, the_same_id_is_a_duplicate_for_the_same_sender_only)
{
	uint64_t id;

	cr_assert_eq(append(&f, 1, 2, 10, &id), LOG_OK);
	cr_assert_eq(append(&f, 1, 2, 10, &id), LOG_DUPLICATE, "in the same batch");
	cr_assert_eq(append(&f, 1, 3, 10, &id), LOG_OK, "another sender");
	commit(&f);
	cr_assert_eq(append(&f, 1, 2, 10, &id), LOG_DUPLICATE, "after it");
	cr_assert_eq(append(&f, 7, 2, 10, &id), LOG_DUPLICATE, "to whomever");
	commit(&f);
	cr_assert_eq(messages_of(&f, 1), 2);
}

Test(sqlite_engine, a_duplicate_is_known_in_each_state_of_the_first)
{
	uint64_t id;

	cr_assert_eq(append(&f, 1, 2, 10, &id), LOG_OK);
	commit(&f);
	fixture_reopen(&f);
	cr_assert_eq(append(&f, 1, 2, 10, NULL), LOG_DUPLICATE,
	             "in a segment, after a restart");
	settle(&f, 1, id, 0);
	commit(&f);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM segment"), 0);
	cr_assert_eq(append(&f, 1, 2, 10, NULL), LOG_DUPLICATE, "its segment is gone");
	fixture_reopen(&f);
	cr_assert_eq(append(&f, 1, 2, 10, NULL), LOG_DUPLICATE, "after a restart without it");
	fixture_wait(&f, 9 * DAY_MS + 2 * HOUR_MS);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM dedup"), 0);
	cr_assert_eq(append(&f, 1, 2, 10, NULL), LOG_OK, "the window is over");
}

Test(sqlite_engine, a_failed_commit_leaves_nothing_behind)
{
	uint64_t first, id;

	cr_assert_eq(append(&f, 1, 2, 10, &first), LOG_OK);
	commit(&f);
	fail_commits(&f, true);
	cr_assert_eq(append(&f, 1, 2, 11, &id), LOG_OK);
	cr_assert_eq(append(&f, 5, 2, 12, &id), LOG_OK);
	cr_assert_eq(append(&f, 5, 2, 12, &id), LOG_DUPLICATE);
	cr_assert_eq(settle(&f, 1, first, 2), SQLITE_SETTLED_NOW);
	cr_assert_eq(sqlite_commit(&f.engine), CX_EIO);
	cr_assert_null(f.engine.committed);
	cr_assert_eq(messages_of(&f, 1), 1);
	cr_assert_null(owner(5));
	cr_assert_null(owner(2));
	fail_commits(&f, false);
	cr_assert_eq(append(&f, 5, 2, 12, &id), LOG_OK, "a retry is new");
	cr_assert_eq(id, first + 1, "ids that nobody saw are given again");
	cr_assert_eq(settle(&f, 1, first, 2), SQLITE_SETTLED_NOW);
	commit(&f);
	fixture_reopen(&f);
	cr_assert_eq(messages_of(&f, 5), 1);
	cr_assert_eq(messages_of(&f, 1), 0);
	cr_assert_not_null(owner(2));
}

Test(sqlite_engine, a_full_disk_refuses_and_recovers)
{
	char sql[64];
	uint64_t key = 0;
	unsigned i;

	snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%lld",
	         (long long)number(&f, "PRAGMA page_count") + 20);
	sqlite3_exec(f.engine.db, sql, NULL, NULL, NULL);
	for (i = 0; i < 20; i++) {
		cr_assert_eq(append_len(&f, 1, 2, ++key, 50000, NULL), LOG_OK);
		if (sqlite_commit(&f.engine) != CX_OK)
			break;
	}
	cr_assert(i > 0 && i < 20, "failed at %u", i);
	cr_assert_eq(messages_of(&f, 1), i);
	cr_assert(f.engine.failing);
	sqlite3_exec(f.engine.db, "PRAGMA max_page_count=1000000", NULL, NULL, NULL);
	fixture_wait(&f, 1001);
	sqlite_upkeep(&f.engine, 0);
	cr_assert_not(f.engine.failing, "it found out by itself");
	cr_assert_eq(append_len(&f, 1, 2, key, 50000, NULL), LOG_OK);
	commit(&f);
	fixture_reopen(&f);
	cr_assert_eq(messages_of(&f, 1), i + 1);
}

Test(sqlite_engine, an_inbox_is_full_by_number_and_by_bytes)
{
	uint64_t ids[3];

	f.settings.inbox_max_messages = 2;
	f.settings.inbox_max_bytes = 1000;
	cr_assert_eq(append_len(&f, 1, 2, 10, 400, &ids[0]), LOG_OK);
	cr_assert_eq(append_len(&f, 1, 2, 11, 601, NULL), LOG_INBOX_FULL);
	cr_assert_eq(append_len(&f, 1, 2, 11, 600, &ids[1]), LOG_OK, "to the byte");
	cr_assert_eq(append_len(&f, 1, 2, 12, 0, NULL), LOG_INBOX_FULL);
	cr_assert_eq(append_len(&f, 9, 2, 12, 400, NULL), LOG_OK, "others have room");
	cr_assert_eq(append_len(&f, 1, 2, 10, 400, NULL), LOG_DUPLICATE,
	             "a duplicate comes first");
	commit(&f);
	settle(&f, 1, ids[0], 2);
	commit(&f);
	cr_assert_eq(append_len(&f, 1, 2, 13, 400, &ids[2]), LOG_OK);
	commit(&f);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox WHERE kind = 1"), 3);
	cr_assert_eq(append_len(&f, 1, 2, 14, 1, NULL), LOG_INBOX_FULL, "rows count as well");
	fixture_reopen(&f);
	cr_assert_eq(append_len(&f, 1, 2, 14, 1, NULL), LOG_INBOX_FULL, "and after a restart");
	settle(&f, 1, ids[1], 0);
	commit(&f);
	cr_assert_eq(append_len(&f, 1, 2, 14, 600, NULL), LOG_OK);
	commit(&f);
}

Test(sqlite_engine, settling_is_harmless_when_there_is_nothing_to_settle)
{
	uint64_t id;

	append(&f, 1, 2, 10, &id);
	commit(&f);
	cr_assert_eq(settle(&f, 1, 999, 2), SQLITE_SETTLED_BEFORE);
	cr_assert_eq(settle(&f, 1, 0, 2), SQLITE_SETTLED_BEFORE);
	cr_assert_eq(settle(&f, 3, id, 2), SQLITE_SETTLED_BEFORE, "not his");
	cr_assert_eq(settle(&f, 1, id, 2), SQLITE_SETTLED_NOW);
	cr_assert_eq(settle(&f, 1, id, 2), SQLITE_SETTLED_NOW);
	commit(&f);
	cr_assert_eq(live_entries(), 1, "one receipt, not two");
	cr_assert_eq(settle(&f, 1, id, 2), SQLITE_SETTLED_BEFORE);
	cr_assert_eq(settle(&f, 2, id + 1, 2), SQLITE_SETTLED_BEFORE,
	             "a receipt is no message");
	commit(&f);
	cr_assert_eq(live_entries(), 1);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	cr_assert_eq(settle(&f, 2, id + 1, 2), SQLITE_SETTLED_BEFORE, "not as a row either");
	cr_assert_eq(settle(&f, 1, id, 2), SQLITE_SETTLED_BEFORE);
	commit(&f);
}

Test(sqlite_engine, what_waits_for_long_gets_a_row)
{
	uint64_t ids[3], k;

	for (k = 0; k < 3; k++)
		append(&f, 1 + k, 9, 10 + k, &ids[k]);
	commit(&f);
	fixture_wait(&f, 9000);
	sqlite_upkeep(&f.engine, 0);
	cr_assert_eq(f.engine.moved_count, 0, "not yet");
	settle(&f, 2, ids[1], 9);
	commit(&f);
	fixture_wait(&f, 1500);
	sqlite_upkeep(&f.engine, 0);
	cr_assert_eq(f.engine.moved_count, 2, "the settled one gets none");
	cr_assert_eq(f.engine.moved[1].id, ids[2]);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox"), 2);
	cr_assert_eq(messages_of(&f, 1), 1);
	cr_assert_eq(settle(&f, 1, ids[0], 9), SQLITE_SETTLED_NOW);
	cr_assert_eq(settle(&f, 1, ids[0], 9), SQLITE_SETTLED_BEFORE,
	             "its row went in this batch");
	commit(&f);
	cr_assert_eq(messages_of(&f, 1), 0);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox"), 1);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox WHERE kind = 2"), 2);
	cr_assert_eq(owner(9)->row_receipts, 2);
	receipts_done(&f, 9, ids[2] + 1);
	commit(&f);
	cr_assert_eq(owner(9)->row_receipts, 1, "up to that id");
	receipts_done(&f, 9, UINT64_C(1) << 40);
	commit(&f);
	cr_assert_null(owner(9));
	cr_assert_eq(number(&f, "SELECT count(*) FROM segment"), 0);
}

Test(sqlite_engine, a_segment_that_is_half_moved_is_found_as_it_was)
{
	uint64_t ids[1000], k;

	for (k = 0; k < 1000; k++)
		append(&f, 1, 9, k, &ids[k]);
	commit(&f);
	fixture_wait(&f, 11000);
	sqlite_upkeep(&f.engine, 0);
	cr_assert(f.engine.moved_count > 0 && f.engine.moved_count < 1000, "a part of it");
	cr_assert_eq(settle(&f, 1, ids[0], 9), SQLITE_SETTLED_NOW, "a row");
	cr_assert_eq(settle(&f, 1, ids[999], 9), SQLITE_SETTLED_NOW, "an entry");
	commit(&f);
	fixture_reopen(&f);
	cr_assert_eq(messages_of(&f, 1), 998, "none twice");
	cr_assert_eq(live_entries() + number(&f, "SELECT count(*) FROM inbox"), 1000);
	cr_assert_eq(settle(&f, 1, ids[0], 9), SQLITE_SETTLED_BEFORE);
	cr_assert_eq(settle(&f, 1, ids[999], 9), SQLITE_SETTLED_BEFORE);
	for (k = 1; k < 999; k++)
		cr_assert_eq(settle(&f, 1, ids[k], 0), SQLITE_SETTLED_NOW);
	commit(&f);
	cr_assert_eq(messages_of(&f, 1), 0);
	fixture_reopen(&f);
	cr_assert_null(owner(1));
}

Test(sqlite_engine, memory_stays_bounded_when_nobody_reads)
{
	uint64_t k;

	f.settings.spill_bytes = 200000;
	for (k = 0; k < 10000; k++) {
		cr_assert_eq(append_len(&f, k % 7, 9, k, 400, NULL), LOG_OK);
		if (k % 50 == 49) {
			commit(&f);
			sqlite_upkeep(&f.engine, 100);
			cr_assert_leq(f.engine.index.bytes, 400000);
		}
	}
	cr_assert_gt(number(&f, "SELECT count(*) FROM inbox"), 9000);
	fixture_reopen(&f);
	for (k = 0; k < 7; k++)
		cr_assert_geq(messages_of(&f, k), 1428);
	cr_assert_eq(f.engine.next_id, 10001);
}

Test(sqlite_engine, ids_are_never_given_twice)
{
	uint64_t id, last = 0, k;

	for (k = 0; k < 5; k++) {
		cr_assert_eq(append(&f, 1, 2, k, &id), LOG_OK);
		cr_assert_gt(id, last);
		last = id;
		commit(&f);
		settle(&f, 1, id, 0);
		commit(&f);
		if (k % 2 == 0)
			tidy_all(&f);
		fixture_reopen(&f);
	}
}

Test(sqlite_engine, a_deleted_user_leaves_nothing)
{
	struct store_op op = { .what = STORE_USER_CREATE,
		               .user = id_of(1),
		               .jti = id_of(70),
		               .ttl_ms = 1000,
		               .text = "anna",
		               .hash = "h" };
	struct store_result result = { 0 };
	uint64_t ids[4];

	sqlite_store_write(&f.engine, &op, &result);
	cr_assert_eq(result.outcome, STORE_OK);
	append(&f, 1, 2, 10, &ids[0]);
	append(&f, 3, 1, 11, &ids[1]);
	commit(&f);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	append(&f, 1, 2, 12, &ids[2]);
	append(&f, 3, 1, 13, &ids[3]);
	commit(&f);
	op.what = STORE_USER_DELETE;
	append(&f, 1, 2, 14, NULL);
	sqlite_store_write(&f.engine, &op, &result);
	cr_assert_eq(result.outcome, STORE_OK);
	cr_assert_eq(append(&f, 1, 2, 15, NULL), LOG_NO_OWNER);
	cr_assert_eq(settle(&f, 3, ids[1], 1), SQLITE_SETTLED_NOW);
	commit(&f);
	cr_assert_null(owner(1), "no message, no receipt");
	cr_assert_eq(messages_of(&f, 3), 1, "others keep theirs");
	cr_assert_eq(append(&f, 1, 2, 16, NULL), LOG_NO_OWNER);
	cr_assert_eq(settle(&f, 3, ids[3], 1), SQLITE_SETTLED_NOW);
	commit(&f);
	cr_assert_null(owner(1));
	cr_assert_eq(number(&f, "SELECT count(*) FROM users"), 0);
	cr_assert_eq(number(&f, "SELECT count(*) FROM sessions"), 0);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox"), 0);
	fixture_reopen(&f);
	cr_assert_null(owner(1));
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM segment"), 0);
}

Test(sqlite_engine, a_failed_deletion_deletes_nothing)
{
	struct store_op op = {
		.what = STORE_USER_CREATE, .user = id_of(1), .text = "anna", .hash = "h"
	};
	struct store_result result = { 0 };

	sqlite_store_write(&f.engine, &op, &result);
	append(&f, 1, 2, 10, NULL);
	commit(&f);
	fail_commits(&f, true);
	op.what = STORE_USER_DELETE;
	sqlite_store_write(&f.engine, &op, &result);
	cr_assert_eq(sqlite_commit(&f.engine), CX_EIO);
	fail_commits(&f, false);
	cr_assert_eq(messages_of(&f, 1), 1);
	cr_assert_eq(append(&f, 1, 2, 11, NULL), LOG_OK);
	commit(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM users"), 1);
}

Test(sqlite_engine, what_is_over_its_time_goes_and_counts_no_more)
{
	append(&f, 1, 2, 10, NULL);
	commit(&f);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	fixture_wait(&f, 3 * DAY_MS);
	append(&f, 1, 2, 11, NULL);
	commit(&f);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	fixture_wait(&f, 4 * DAY_MS);
	tidy_all(&f);
	cr_assert_eq(messages_of(&f, 1), 1);
	fixture_wait(&f, 4 * DAY_MS);
	tidy_all(&f);
	cr_assert_null(owner(1));
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox"), 0);
}

Test(sqlite_engine, a_clock_that_jumps_ahead_does_not_empty_inboxes)
{
	append(&f, 1, 2, 10, NULL);
	commit(&f);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	f.wall_ms += 365 * DAY_MS;
	tidy_all(&f);
	fixture_wait(&f, 60000);
	tidy_all(&f);
	cr_assert_eq(messages_of(&f, 1), 1);
	cr_assert_eq(append(&f, 1, 2, 10, NULL), LOG_DUPLICATE);
	f.wall_ms -= 700 * DAY_MS;
	fixture_wait(&f, 60000);
	tidy_all(&f);
	cr_assert_eq(messages_of(&f, 1), 1);
	cr_assert_eq(append(&f, 1, 2, 10, NULL), LOG_DUPLICATE);
}

Test(sqlite_engine, a_damaged_segment_is_named_and_costs_only_its_tail)
{
	uint64_t k;

	for (k = 0; k < 3; k++) {
		append(&f, 1, 2, 10 * k, NULL);
		append(&f, 1, 2, 10 * k + 1, NULL);
		commit(&f);
	}
	sqlite3_exec(
		f.engine.db,
		"UPDATE segment SET data = CAST(substr(data, 1, 200) || x'ffffffffff' AS BLOB)"
		" WHERE id = 2",
		NULL, NULL, NULL);
	fixture_reopen(&f);
	cr_assert_eq(messages_of(&f, 1), 5);
	cr_assert_eq(number(&f, "SELECT count(*) FROM segment_damaged"), 1);
	cr_assert_eq(append(&f, 1, 2, 20, NULL), LOG_DUPLICATE);
	cr_assert_eq(append(&f, 1, 2, 100, NULL), LOG_OK);
	commit(&f);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	fixture_reopen(&f);
	cr_assert_eq(messages_of(&f, 1), 6);
	cr_assert_eq(number(&f, "SELECT count(*) FROM segment_damaged"), 1, "told once");
}

Test(sqlite_engine, big_frames_and_many_entries)
{
	uint64_t k;

	for (k = 0; k < 10000; k++)
		cr_assert_eq(append(&f, 1, 2, k, NULL), LOG_OK);
	cr_assert_eq(append(&f, 1, 2, k, NULL), LOG_INBOX_FULL);
	cr_assert_eq(append_len(&f, 3, 2, k, 100000, NULL), LOG_OK);
	commit(&f);
	fixture_reopen(&f);
	cr_assert_eq(messages_of(&f, 1), 10000);
	cr_assert_eq(owner(3)->bytes, 100000);
	fixture_wait(&f, 11000);
	tidy_all(&f);
	cr_assert_eq(number(&f, "SELECT count(*) FROM inbox"), 10001);
	cr_assert_eq(number(&f, "SELECT length(frame) FROM inbox ORDER BY id DESC LIMIT 1"),
	             100000);
	fixture_reopen(&f);
	cr_assert_eq(messages_of(&f, 1), 10000);
}

Test(sqlite_engine, a_file_of_a_newer_program_is_refused_by_name)
{
	sqlite3_exec(f.engine.db, "PRAGMA user_version=99", NULL, NULL, NULL);
	sqlite_engine_close(&f.engine);
	cr_assert_eq(sqlite_engine_open(&f.engine, &f.settings, 0, 0), CX_EIO);
	cr_assert_not_null(strstr(sqlite_db_error(), f.path));
	cr_assert_not_null(strstr(sqlite_db_error(), "newer"));
}

Test(sqlite_engine, a_file_of_another_program_is_refused_by_name)
{
	FILE *file;

	sqlite3_exec(f.engine.db, "PRAGMA application_id=7", NULL, NULL, NULL);
	sqlite_engine_close(&f.engine);
	cr_assert_eq(sqlite_engine_open(&f.engine, &f.settings, 0, 0), CX_EIO);
	cr_assert_not_null(strstr(sqlite_db_error(), "another program"));
	fixture_remove(&f);
	fixture_settings(&f);
	file = fopen(f.path, "w");
	fputs("this is a text file, and long enough to be looked at by anybody who opens it",
	      file);
	fclose(file);
	cr_assert_eq(sqlite_engine_open(&f.engine, &f.settings, 0, 0), CX_EIO);
	cr_assert_not_null(strstr(sqlite_db_error(), f.path));
}
