/* SPDX-License-Identifier: MIT */
/* What is asked of the log, what is answered, in which order, and what a new start sends out by
 * itself. */
#include <signal.h>
#include <sys/resource.h>

#include "sqlite_probe.h"

TestSuite(sqlite_writer, .init = setup, .fini = teardown, .timeout = 90);

/* The commit's records leave before its answers, so they are taken first. */
Test(sqlite_writer, a_message_goes_all_the_way)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 10, .len = 50 };
	const struct record *r;
	const struct event *e;

	run(ask_append, &a);
	e = next(LOG_RECORDS);
	r = first_record(e);
	cr_assert_eq(r->kind, RECORD_MESSAGE);
	cr_assert_eq(r->frame_len, 50);
	cr_assert_eq(r->key_case, 10);
	a.id = r->id;
	e = next(LOG_APPENDED);
	cr_assert_eq(e->outcome, LOG_OK);
	cr_assert_eq(e->id, a.id);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_DUPLICATE);
	run(ask_settle, &a);
	e = next(LOG_RECORDS);
	cr_assert_eq(cx_buf_len(e->buf), record_size(0) + record_size(7), "settle and receipt");
	cr_assert_eq(next(LOG_SETTLED)->outcome, LOG_OK);
	a.owner = 2;
	a.id = UINT64_MAX >> 1;
	run(ask_receipts_done, &a);
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_OK);
	stop();
	start();
	cr_assert_eq(first_record(next(LOG_RECORDS))->key.b[0], 11, "only what still waits");
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_DUPLICATE);
}

Test(sqlite_writer, receipts_done_are_stored_soon_though_nobody_asks)
{
	struct ask a = { .owner = 1, .peer = 2, .len = 50 };
	struct sqlite_figures before, after;
	unsigned i;

	a.id = append_one(1, 2, 10)->id;
	run(ask_settle, &a);
	cr_assert_eq(next(LOG_SETTLED)->outcome, LOG_OK);
	sqlite_figures(&before);
	a.owner = 2;
	a.id++;
	run(ask_receipts_done, &a);
	for (i = 0; i < 2000; i++) {
		sqlite_figures(&after);
		if (after.records > before.records)
			break;
		usleep(10000);
	}
	cr_assert_eq(after.records, before.records + 1);
}

Test(sqlite_writer, answers_keep_the_order_of_the_questions)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 1000, .len = 300, .times = 10000 };
	uint64_t last = 0;
	uint32_t i;

	run(ask_append, &a);
	for (i = 0; i < a.times; i++) {
		const struct event *const e = next(LOG_APPENDED);

		cr_assert_eq(e->outcome, LOG_OK);
		cr_assert_gt(e->id, last);
		last = e->id;
	}
	cr_assert_eq(append_one(1, 2, 5)->outcome, LOG_INBOX_FULL);
	cr_assert_eq(append_one(3, 2, 5)->outcome, LOG_OK, "refused was not remembered");
}

Test(sqlite_writer, a_new_start_sends_what_waits_before_any_answer)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 1, .len = 20000, .times = 200 };
	uint64_t last = 0;
	uint32_t i, n = 0;

	run(ask_append, &a);
	for (i = 0; i < a.times; i++)
		cr_assert_eq(next(LOG_APPENDED)->outcome, LOG_OK);
	stop();
	start();
	cr_assert_eq(append_one(1, 2, 10000)->outcome, LOG_OK);
	pthread_mutex_lock(&mutex);
	for (i = 0; i < event_count && events[i].type == LOG_RECORDS && n < 200; i++) {
		const uint8_t *at = cx_buf_bytes(events[i].buf), *const end =
									 at +
									 cx_buf_len(
										 events[i].buf);
		const struct record *r;
		bool torn;

		while ((r = record_next(&at, end, &torn)) != NULL) {
			cr_assert_eq(r->id, ++last);
			n++;
		}
	}
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(n, 200);
	cr_assert_gt(i, 2, "in parts");
}

Test(sqlite_writer, old_entries_get_rows_that_the_reader_finds)
{
	struct ask a = { .owner = 1, .peer = 2, .key = 1, .len = 1000, .times = 100 };
	const struct log_place *spilled;
	const struct log_index_entry *index;
	const struct event *e;
	uint32_t moved = 0, i;

	stop();
	f.settings.spill_age_ms = 200;
	start();
	run(ask_append, &a);
	while (moved < 100) {
		e = next(LOG_SPILLED);
		spilled = (const void *)cx_buf_bytes(e->buf);
		for (i = 0; i < e->count; i++)
			cr_assert_eq(spilled[i].id, ++moved);
	}
	run(ask_index, &a);
	e = next(LOG_INDEXED);
	cr_assert_eq(e->outcome, LOG_OK);
	cr_assert_eq(e->count, 100);
	index = (const void *)cx_buf_bytes(e->buf);
	for (i = 0; i < 100; i++) {
		cr_assert_eq(index[i].id, i + 1);
		cr_assert_eq(index[i].frame_len, 1000);
		cr_assert_eq(index[i].kind, RECORD_MESSAGE);
		cr_assert_eq(index[i].key.b[0], i + 1);
		cr_assert_eq(index[i].key_case, i + 1);
	}
	a.id = 50;
	a.len = (uint32_t)record_size(1000) * 10;
	run(ask_fetch, &a);
	e = next(LOG_FETCHED);
	cr_assert_eq(e->count, 10);
	cr_assert_eq(first_record(e)->id, 51);
	a.len = 1;
	run(ask_fetch, &a);
	cr_assert_eq(next(LOG_FETCHED)->count, 1, "at least one");
	a.id = 100;
	run(ask_fetch, &a);
	e = next(LOG_FETCHED);
	cr_assert_eq(e->count, 0);
	cr_assert_null(e->buf);
	a.owner = 77;
	run(ask_index, &a);
	cr_assert_eq(next(LOG_INDEXED)->count, 0);
}

Test(sqlite_writer, a_store_that_cannot_write_says_so_and_recovers)
{
	const struct rlimit none = { 4096, RLIM_INFINITY };
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	const struct store_op ping = { .what = STORE_PING };
	unsigned i;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_OK);
	cr_assert_eq(store_op(ping, NULL)->outcome, STORE_OK);
	setrlimit(RLIMIT_FSIZE, &none);
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_FAILED);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_DUPLICATE, "that one is durable");
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_FAILED, "and this one is not");
	cr_assert_eq(store_op(ping, NULL)->outcome, STORE_FAILED);
	setrlimit(RLIMIT_FSIZE, &all);
	for (i = 0; i < 200 && store_op(ping, NULL)->outcome != STORE_OK; i++)
		usleep(100000);
	cr_assert_lt(i, 200, "it is well again by itself");
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_OK);
	stop();
	start();
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_DUPLICATE);
}

Test(sqlite_writer, a_second_process_is_told_that_the_file_is_in_use)
{
	int fd;

	cr_assert_eq(sqlite_file_lock(f.path, &fd), CX_EIO);
	cr_assert_not_null(strstr(sqlite_db_error(), f.path));
	cr_assert_not_null(strstr(sqlite_db_error(), "another process"));
}
