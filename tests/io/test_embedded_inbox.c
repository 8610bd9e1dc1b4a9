/* SPDX-License-Identifier: MIT */
/* The inbox of one worker between a fake log, its reader, and those who ask it. */
#include "io/embedded_inbox.h"

#include "actors/fixture.h"

#define DAY_MS INT64_C(86400000)

static struct cx_ref box, asker;
static struct embedded_inbox_settings settings;

static void set_up(void)
{
	static const struct embedded_inbox_settings *const conf = &settings;

	fixture_start();
	settings = (struct embedded_inbox_settings){ .log = fake_log,
		                                     .log_reader = fake_log_reader,
		                                     .receipts = true };
	asker = fake();
	box = spawn_at(&embedded_inbox_type, &conf);
}

TestSuite(embedded_inbox, .init = set_up, .fini = fixture_end, .timeout = 30);

static struct cx_buf *record_of(uint64_t id, int64_t wall_ms)
{
	const struct record head = { .kind = RECORD_MESSAGE,
		                     .id = id,
		                     .owner = uuid_of(1),
		                     .peer = uuid_of(2),
		                     .key = uuid_of((uint32_t)id),
		                     .wall_ms = wall_ms };
	struct cx_buf *buf = cx_buf_new(record_size(5));

	record_write(cx_buf_data(buf), &head, "frame", 5);
	return buf;
}

static int64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000;
}

/* Entry id for user 1; what is said to be before it. */
static uint64_t append(uint64_t id)
{
	struct cx_buf *buf = record_of(id, wall_ms());
	struct inbox_append_msg m = { .count = 1 };

	m.items[0] = (struct inbox_item){
		.owner = uuid_of(1), .id = id, .len = 5, .kind = RECORD_MESSAGE
	};
	do_as(asker, do_ask,
	      &(struct outgoing){ .to = box,
	                          .type = INBOX_APPEND,
	                          .timeout_ms = 600000,
	                          .bytes = &m,
	                          .size = sizeof(m),
	                          .buf = buf });
	cx_buf_unref(buf);
	return GOT(struct inbox_appended, take(asker, INBOX_APPENDED))->items[0].prev;
}

static void ask_read(uint64_t after)
{
	ASK(asker, box, INBOX_READ, struct inbox_read_msg, NULL, .owner = uuid_of(1),
	    .after = after, .max_bytes = 65536);
}

static void index_says(enum log_outcome outcome, uint32_t count)
{
	struct log_index_entry rows[3] = { 0 };
	struct cx_buf *buf;

	for (uint32_t i = 0; i < count; i++)
		rows[i] = (struct log_index_entry){ .id = i + 1,
			                            .key = uuid_of(i + 1),
			                            .kind = RECORD_MESSAGE };
	buf = count == 0 ? NULL : cx_buf_copy(rows, count * sizeof(rows[0]));
	ANSWER(take(fake_log_reader, LOG_INDEX), LOG_INDEXED, struct log_indexed, buf,
	       .outcome = outcome, .count = count);
	cx_buf_unref(buf);
}

static const struct inbox_entries *entries(void)
{
	return GOT(struct inbox_entries, take(asker, INBOX_ENTRIES));
}

static void end_entry(uint64_t id)
{
	const struct log_place place = { .owner = uuid_of(1), .id = id };
	struct cx_buf *buf = cx_buf_copy(&place, sizeof(place));

	TELL(fake_log, box, LOG_ENDED, struct log_ended, buf, .count = 1);
	cx_buf_unref(buf);
}

/* ---- G1: only the log ends what it has accepted ---- */

Test(embedded_inbox, a_clock_that_is_set_ahead_hides_nothing)
{
	append(10);
	ask_read(0);
	index_says(LOG_OK, 0);
	cr_assert_eq(entries()->count, 1);
	set_wall_ms(8 * DAY_MS);
	skip_ms(3500); /* some sweeps */
	ask_read(0);
	cr_assert_eq(entries()->count, 1, "while it is ahead");
	set_wall_ms(0);
	skip_ms(1500);
	ask_read(0);
	cr_assert_eq(entries()->count, 1, "and after");
}

Test(embedded_inbox, what_the_log_has_ended_is_gone)
{
	append(10);
	append(11);
	ask_read(0);
	index_says(LOG_OK, 0);
	cr_assert_eq(entries()->count, 2);
	end_entry(10);
	end_entry(77);
	ask_read(0);
	cr_assert_eq(entries()->count, 1);
	end_entry(11);
	ask_read(0);
	cr_assert_eq(entries()->next, 11);
}

Test(embedded_inbox, an_index_that_is_older_than_the_end_of_its_row_is_found_out)
{
	ask_read(0);
	end_entry(1); /* overtakes the answer that still knows it */
	index_says(LOG_OK, 1);
	ANSWER(take(fake_log_reader, LOG_FETCH), LOG_FETCHED, struct log_fetched, NULL,
	       .outcome = LOG_OK);
	cr_assert_eq(entries()->count, 0);
	ask_read(0);
	cr_assert_eq(entries()->count, 0);
	cr_assert_eq(count_got(fake_log_reader, LOG_FETCH), 0, "and not asked for again");
}

/* ---- G2: nobody is told that nothing is before it unless that is known ---- */

Test(embedded_inbox, says_what_is_before_an_entry_only_when_it_knows)
{
	cr_assert_eq(append(10), INBOX_PREV_UNKNOWN);
	cr_assert_eq(append(11), 10);
	ask_read(0);
	index_says(LOG_FAILED, 0);
	cr_assert(entries()->failed);
	ask_read(0);
	index_says(LOG_OK, 3);
	take(fake_log_reader, LOG_FETCH);
	cr_assert_eq(append(12), 11);
}

Test(embedded_inbox, an_empty_inbox_that_was_looked_at_has_nothing_before)
{
	ask_read(0);
	index_says(LOG_OK, 0);
	cr_assert_eq(entries()->count, 0);
	cr_assert_eq(append(10), 0);
}

/* ---- settling ---- */

static void settle(uint32_t key)
{
	ASK(asker, box, INBOX_SETTLE, struct inbox_settle_msg, NULL, .owner = uuid_of(1),
	    .key = uuid_of(key));
}

static enum inbox_outcome settled(void)
{
	return GOT(struct inbox_settled, take(asker, INBOX_SETTLED))->outcome;
}

Test(embedded_inbox, whoever_settles_the_same_entry_meanwhile_gets_the_same_outcome)
{
	const struct got *g;

	append(10);
	ask_read(0);
	index_says(LOG_OK, 0);
	entries();
	for (int i = 0; i < 3; i++)
		settle(10);
	g = take(fake_log, LOG_SETTLE);
	cr_assert_eq(count_got(asker, INBOX_SETTLED), 0);
	ANSWER(g, LOG_SETTLED, struct log_settled, NULL, .outcome = LOG_FAILED);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(settled(), INBOX_FAILED);
	settle(10);
	settle(10);
	bounce(take(fake_log, LOG_SETTLE));
	cr_assert_eq(settled(), INBOX_FAILED);
	cr_assert_eq(settled(), INBOX_FAILED);
	settle(10);
	settle(10);
	g = take(fake_log, LOG_SETTLE);
	end_entry(10); /* its time was up in the meantime */
	ANSWER(g, LOG_SETTLED, struct log_settled, NULL, .outcome = LOG_OK);
	cr_assert_eq(settled(), INBOX_OK);
	cr_assert_eq(settled(), INBOX_OK);
	settle(10);
	cr_assert_eq(settled(), INBOX_UNKNOWN);
}
