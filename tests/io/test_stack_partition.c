/* SPDX-License-Identifier: MIT */
/* The worker's partition owner on a real Redis: what lands in inboxes, what is pushed, what is done. */
#include <time.h>

#include "partition_cases.h"

TestSuite(stack_partition, .init = setup, .fini = teardown, .timeout = 180);

/* ---- what is appended ---- */

Test(stack_partition, appends_in_order_under_the_offsets_and_pushes_with_prev)
{
	const struct partition_record first[] = {
		{ .offset = 10, .from = 1, .to = 7, .id = 1 },
		{ .offset = 11, .from = 1, .to = 8, .id = 2 },
		{ .offset = 12, .from = 2, .to = 7, .id = 3 }
	};
	const struct partition_record second[] = {
		{ .offset = 15, .from = 1, .to = 7, .id = 4 }
	};
	struct wire_slice bytes;
	size_t at = 0;

	route(7);
	partition_bench_assign(&bench, 4, 1, KAFKA_OFFSET_UNKNOWN);
	send(4, 1, first, 3);
	expect_done(13);
	cr_assert_str_eq(ids(7), "11-0_13-0_");
	cr_assert_str_eq(ids(8), "12-0_");
	bytes = next_push(PUSH_ENTRIES);
	expect_entry(bytes, &at, INBOX_ID(11, 0), UINT64_MAX, 10);
	expect_entry(bytes, &at, INBOX_ID(13, 0), INBOX_ID(11, 0), 12);
	send(4, 1, second, 1);
	at = 0;
	expect_entry(next_push(PUSH_ENTRIES), &at, INBOX_ID(16, 0), INBOX_ID(13, 0), 15);
	expect_done(16);
	cr_assert_str_eq(redis("TTL " INBOX, 7), "777600", "7 days and 2");
	cr_assert_eq(strncmp(redis("GET " PARTITION_PREFIX "fence:%u", 4), "16 ", 3), 0);
}

Test(stack_partition, an_entry_in_redis_reads_as_it_was_written)
{
	const struct partition_record one[] = {
		{ .offset = 300, .from = 1, .to = 7, .id = 9, .age_ms = 5000 }
	};
	const char *text;

	partition_bench_assign(&bench, 2, 1, 300);
	send(2, 1, one, 1);
	expect_quiet(KAFKA_DONE); /* the fence is missing: see the rewind below */
	cr_assert_eq(partition_bench_next(KAFKA_SEEK).next_offset, 0);
	partition_bench_assign(&bench, 2, 2, 0);
	send(2, 2, one, 1);
	expect_done(301);
	text = redis(
		"EVAL return(redis.call('XRANGE',KEYS[1],'-','+')[1][2][2]):sub(1,4):gsub('.',"
		"function(c)return(string.format('%%02x',c:byte()))end) 1 " INBOX,
		7);
	cr_assert_str_eq(text, "01010200", "version, kind, partition");
	text = redis(
		"EVAL return(struct.unpack('<I8',redis.call('XRANGE',KEYS[1],'-','+')[1][2]"
		"[2]:sub(17,24))) 1 " INBOX,
		7);
	cr_assert_str_eq(text, "300");
}

Test(stack_partition, the_same_records_again_change_nothing_and_push_nothing)
{
	const struct partition_record records[] = {
		{ .offset = 0, .from = 1, .to = 7, .id = 1 },
		{ .offset = 1, .from = 1, .to = 7, .id = 2 }
	};

	route(7);
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send(0, 1, records, 2);
	expect_done(2);
	next_push(PUSH_ENTRIES);
	send(0, 1, records, 2);
	redis("XDEL " INBOX " 1-0", 7);
	send(0, 1, records, 2);
	EVENTUALLY(figures.repetitions == 4);
	expect_quiet(REDIS_PUSH);
	cr_assert_str_eq(ids(7), "2-0_", "what was acknowledged stays away");
	/* Another owner, or this one in a later life, cannot know whether they were pushed. */
	partition_bench_assign(&bench, 0, 2, 0);
	send(0, 2, records, 2);
	expect_look(7);
	expect_done(2);
	cr_assert_str_eq(ids(7), "2-0_");
}

Test(stack_partition, a_duplicate_has_no_effect_whoever_is_first_in_the_log)
{
	const struct partition_record records[] = {
		{ .offset = 5, .from = 1, .to = 7, .id = 1 },
		{ .offset = 6, .from = 1, .to = 7, .id = 1 },
		{ .offset = 7, .from = 2, .to = 7, .id = 1 } /* another sender's */
	};
	const struct partition_record later[] = {
		{ .offset = 9, .from = 1, .to = 7, .id = 1 }
	};

	route(7);
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send(0, 1, records, 3);
	expect_done(8);
	send(0, 1, later, 1);
	expect_done(10);
	cr_assert_str_eq(ids(7), "6-0_8-0_");
	next_push(PUSH_ENTRIES);
	expect_quiet(REDIS_PUSH);
	send(0, 1, records, 3);
	EVENTUALLY(figures.duplicates == 3);
	expect_quiet(REDIS_PUSH);
	cr_assert_str_eq(ids(7), "6-0_8-0_");
}

/* In every bucket an id as old as no window, and one of now. */
Test(stack_partition, ids_older_than_the_window_are_forgotten_few_at_a_time)
{
	const char *const fill =
		"EVAL local\tnow=redis.call('TIME')[1]/14400;for\ti=0,65535\tdo\tlocal\tkey="
		"string.format('" PARTITION_PREFIX
		"dedup:%04x',i);for\tname,age\tin\tpairs({old=60,"
		"new=0})do\tlocal\tn=math.floor(now-age)%65536;redis.call('HSET',key,name,"
		"'12345678'..string.char(n%256,math.floor(n/256)))end\tend 0";
	const char *const count =
		"EVAL "
		"local\tn=0;for\ti=0,65535\tdo\tn=n+redis.call('HEXISTS',string.format("
		"'" PARTITION_PREFIX "dedup:%04x',i),ARGV[1])end\treturn\tn 0 ";
	char words[400];
	unsigned long old;

	stack_partition_figures(&figures);
	const uint64_t before = figures.sweeps;
	partition_bench_redis(&bench, fill);
	EVENTUALLY(figures.sweeps >= before + 16); /* all of one tick after it was filled */
	snprintf(words, sizeof(words), "%sold", count);
	old = strtoul(partition_bench_redis(&bench, words), NULL, 10);
	cr_assert(old <= 65536 - 8 && old >= 65536 - 8 * 100, "%lu are left", old);
	snprintf(words, sizeof(words), "%snew", count);
	cr_assert_str_eq(partition_bench_redis(&bench, words), "65536");
}

/* The script itself, as the actor calls it. */
static const char *sweep(const char *key)
{
	char words[2048];
	size_t len = 0;

	len += (size_t)snprintf(words, sizeof(words), "EVAL ");
	for (const char *c = stack_partition_scripts[1].body; *c != '\0'; c++)
		words[len++] = *c == ' ' || *c == '\n' ? '\t' : *c;
	len += (size_t)snprintf(words + len, sizeof(words) - len, " 1 %s 5 50 1000", key);
	cr_assert(len < sizeof(words));
	return partition_bench_redis(&bench, words);
}

Test(stack_partition, a_bucket_that_was_large_is_small_again)
{
	const char *const fill =
		"EVAL "
		"for\ti=1,700\tdo\tlocal\tn=i>20\tand\t65536+5-51\tor\t65536+5-50;redis.call("
		"'HSET','big',i,'12345678'..string.char(n%256,math.floor(n/256)%256))end 0";

	partition_bench_redis(&bench, fill);
	cr_assert_str_eq(partition_bench_redis(&bench, "OBJECT ENCODING big"), "hashtable");
	cr_assert_str_eq(sweep("big"), "680");
	cr_assert_str_eq(partition_bench_redis(&bench, "HLEN big"), "20");
	cr_assert_str_eq(partition_bench_redis(&bench, "OBJECT ENCODING big"), "listpack");
	cr_assert_str_eq(partition_bench_redis(&bench, "TTL big"), "1000");
	cr_assert_str_eq(sweep("big"), "0");
	cr_assert_str_eq(sweep("none"), "0");
}

/* Two gateways' clocks stand on both sides of the edge. */
Test(stack_partition, a_duplicate_of_the_window_that_is_about_to_begin_is_one_too)
{
	const int64_t margin_ms = 600000;
	struct partition_record r[] = { { .offset = 5, .from = 1, .to = 7, .id = 1 },
		                        { .offset = 6, .from = 1, .to = 7, .id = 2 },
		                        { .offset = 7, .from = 1, .to = 7, .id = 1 },
		                        { .offset = 8, .from = 1, .to = 7, .id = 3 },
		                        { .offset = 9, .from = 1, .to = 7, .id = 2 } };
	struct timespec now;
	int64_t left_ms;

	clock_gettime(CLOCK_REALTIME, &now);
	left_ms = PARTITION_WINDOW_MS - now.tv_sec * INT64_C(1000) % PARTITION_WINDOW_MS;
	for (unsigned i = 0; i < 5; i++)
		r[i].age_ms = (i < 2 ? -margin_ms : margin_ms) - left_ms;
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send(0, 1, r, 5);
	expect_done(10);
	cr_assert_str_eq(ids(7), "6-0_7-0_9-0_");
	stack_partition_figures(&figures);
	cr_assert_eq(figures.duplicates, 2);
}

Test(stack_partition, a_user_who_is_gone_and_what_is_too_old_are_passed_over)
{
	const struct partition_record records[] = {
		{ .offset = 0, .from = 1, .to = 7, .id = 1 },
		{ .offset = 1, .from = 1, .to = 8, .id = 2, .age_ms = PARTITION_TTL_MS + 1 },
		{ .offset = 2, .from = 1, .to = 9, .id = 3 }
	};

	redis("SET " INBOX " gone EX 1000", 7);
	route(7);
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send(0, 1, records, 3);
	expect_done(3);
	expect_quiet(REDIS_PUSH);
	cr_assert_str_eq(redis("GET " INBOX, 7), "gone");
	cr_assert_str_eq(redis("EXISTS " INBOX, 8), "0");
	cr_assert_str_eq(ids(9), "3-0_");
	stack_partition_figures(&figures);
	cr_assert_eq(figures.gone, 1);
	cr_assert_eq(figures.expired, 1);
}

Test(stack_partition, no_key_is_left_without_a_ttl)
{
	struct partition_record records[200];

	for (unsigned i = 0; i < 200; i++)
		records[i] =
			(struct partition_record){ .offset = i, .from = 1, .to = i, .id = i };
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send(0, 1, records, 200);
	expect_done(200);
	cr_assert_str_eq(
		redis("EVAL local\tn=0\tfor\ti,k\tin\tipairs(redis.call('KEYS','*'))do\t"
	              "if(redis.call('TTL',k)<0)then\tn=n+1\tend\tend\treturn(n) 0",
	              0),
		"0");
	cr_assert_gt(strtol(redis("DBSIZE", 0), NULL, 10), 390, "inboxes, hashes, the fence");
}

/* ---- dead letters ---- */

Test(stack_partition, what_cannot_be_read_is_a_dead_letter_before_it_is_done)
{
	const struct partition_record records[] = {
		{ .offset = 20, .from = 1, .to = 7, .id = 1 },
		{ .offset = 21, .value = "{\"no\":\"envelope\"}" },
		{ .offset = 22, .from = 1, .to = 7, .id = 2 }
	};
	struct wire_slice headers, value;
	struct partition_event e;

	bench.refuse_letters = 2;
	partition_bench_assign(&bench, 3, 1, KAFKA_OFFSET_UNKNOWN);
	send(3, 1, records, 3);
	e = partition_bench_next(KAFKA_PRODUCE);
	cr_assert_eq(partition_bench_waiting(KAFKA_DONE), 0);
	headers = wire_slice(cx_buf_bytes(e.buf), e.headers_len);
	cr_assert(kafka_header_find(headers, "source-topic", &value));
	cr_assert(wire_slice_is(value, "messages"));
	cr_assert(kafka_header_find(headers, "source-partition", &value));
	cr_assert(wire_slice_is(value, "3"));
	cr_assert(kafka_header_find(headers, "source-offset", &value));
	cr_assert(wire_slice_is(value, "21"));
	cr_assert(kafka_header_find(headers, "reason", &value));
	cr_assert_gt(value.len, 0);
	value = wire_slice(cx_buf_bytes(e.buf) + e.headers_len,
	                   cx_buf_len(e.buf) - e.headers_len);
	cr_assert(wire_slice_is(value, records[1].value));
	partition_bench_next(KAFKA_PRODUCE);
	cr_assert_eq(partition_bench_waiting(KAFKA_DONE), 0);
	partition_bench_next(KAFKA_PRODUCE);
	expect_done(23);
	cr_assert_str_eq(ids(7), "21-0_23-0_");
	expect_quiet(KAFKA_PRODUCE);
}

Test(stack_partition, nothing_is_done_past_a_letter_that_is_not_written)
{
	struct partition_record records[600];

	for (unsigned i = 0; i < 600; i++)
		records[i] =
			(struct partition_record){ .offset = i, .from = 1, .to = 7, .id = i };
	records[300].value = "junk";
	bench.hold_letters = true;
	partition_bench_assign(&bench, 0, 1, KAFKA_OFFSET_UNKNOWN);
	send(0, 1, records, 600);
	expect_done(256);
	partition_bench_next(KAFKA_PRODUCE);
	EVENTUALLY(strcmp(redis("XLEN " INBOX, 7), "599") ==
	           0); /* what is behind does not wait */
	expect_quiet(KAFKA_DONE);
}
