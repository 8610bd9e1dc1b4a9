/* SPDX-License-Identifier: MIT */
/* Routes of two instances on a real Redis. */
#include "routes_fixture.h"

TestSuite(stack_routes, .init = fixture_prepare, .fini = fixture_end, .timeout = 60);

static void do_gone(struct cx_ctx *ctx, void *arg)
{
	cx_assert(routes_gone(ctx, routes[0], arg) == CX_OK);
}

/* ---- joins and leaves ---- */

Test(stack_routes, a_join_is_a_field_that_ends_by_itself_then_the_workers_and_the_hub_know)
{
	long long join_ms, expires_ms, bytes;
	int64_t now_ms;
	struct timespec now;

	fixture_start();
	redis("XADD " INBOX " * e x");
	join(0, 1, 64);
	joined(0, 1);
	cr_assert_eq(sscanf(redis("HGET " ROUTE " aaaaaaaaaaaaaaaa/64"), "\"%lld/%lld\"",
	                    &join_ms, &expires_ms),
	             2);
	clock_gettime(CLOCK_REALTIME, &now);
	now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	join_ms /= 1000; /* it is in us */
	cr_assert(join_ms <= now_ms && join_ms > now_ms - 20000);
	cr_assert(expires_ms - join_ms >= 1800000 && expires_ms - join_ms < 1820000);
	cr_assert_gt(atoll(redis("PTTL " ROUTE) + 1), 1700000);
	cr_assert_gt(atoll(redis("PTTL " INBOX) + 1), 3 * 86400000LL - 100000,
	             "the inbox of who is here lives on");
	expect_news(0, 1, true);
	bytes = atoll(redis("MEMORY USAGE " ROUTE) + 1);
	printf("bytes of a route: %lld\n", bytes);
	cr_assert_leq(bytes, 200, "docs/redis-keys.md");
	join(0, 1, 128);
	EVENTUALLY(has_field(0, 128));
	leave(0, 1, 64, false);
	EVENTUALLY(!has_field(0, 64));
	leave(0, 1, 128, true);
	expect_news(0, 1, false);
	cr_assert_str_eq(redis("EXISTS " ROUTE), ":0");
	cr_assert_eq(count_heard(REDIS_PUSH, AT_WORKERS), 0, "only the first and the last");
	cr_assert_eq(count_heard(ROUTES_JOINED, 0), 0);
}

/* When the workers hear of it, it can be seen. */
Test(stack_routes, the_field_is_there_before_the_workers_hear_of_it)
{
	static char line[4096], all[65536];
	const char *field, *news;
	char command[200];
	FILE *monitor;
	size_t len = 0;

	redis_server_run(&server);
	snprintf(command, sizeof(command), "exec timeout 20 redis-cli -p %u MONITOR",
	         server.port);
	monitor = popen(command, "re");
	cr_assert_not_null(monitor);
	cr_assert_not_null(fgets(line, sizeof(line), monitor)); /* OK */
	fixture_start();
	join(0, 1, 64);
	joined(0, 1);
	redis("PING the-end");
	while (fgets(line, sizeof(line), monitor) != NULL && strstr(line, "the-end") == NULL)
		len += (size_t)snprintf(all + len, sizeof(all) - len, "%s", line);
	pclose(monitor);
	field = strstr(all, "\"HSET\" \"" ROUTE);
	news = strstr(all, "\"PUBLISH\" \"c:workers\"");
	cr_assert(field != NULL && news != NULL);
	cr_assert_lt(field, news);
}

Test(stack_routes, fields_of_others_and_of_other_lives_are_not_touched_by_a_leave)
{
	fixture_start();
	join(0, 1, 64);
	joined(0, 1);
	join(1, 1, 64); /* the same number at the other instance */
	joined(1, 1);
	redis("HSET " ROUTE " cccccccccccccccc/64 1/99999999999999");
	leave(0, 1, 64, true);
	EVENTUALLY(!has_field(0, 64));
	cr_assert(has_field(1, 64));
	cr_assert_str_eq(redis("HLEN " ROUTE), ":2");
}

Test(stack_routes, a_leave_of_what_never_joined_is_nothing)
{
	fixture_start();
	leave(0, 1, 64, true);
	join(0, 2, 128);
	joined(0, 2);
	expect_news(0, 2, true);
	leave(0, 2, 64, true); /* another number */
	join(0, 3, 192);
	joined(0, 3);
	expect_news(0, 3, true);
}

Test(stack_routes, many_in_one_turn_are_all_written)
{
	struct act a = { .user = 1, .number = 64, .count = 1700 };
	struct stack_routes_figures f;

	fixture_start();
	redis_bench_run(&bench, 0, do_act, &a);
	for (uint32_t i = 0; i < a.count; i++)
		take_heard(ROUTES_JOINED, 0);
	EVENTUALLY(strcmp(redis("DBSIZE"), ":1703") == 0); /* and the registry of both */
	a.leaves = a.is_last = true;
	redis_bench_run(&bench, 0, do_act, &a);
	EVENTUALLY(strcmp(redis("DBSIZE"), ":3") == 0);
	EVENTUALLY((stack_routes_figures(&f), f.users == 0));
	cr_assert_eq(f.failures, 0);
}

/* ---- too many ---- */

Test(stack_routes, over_the_limit_the_oldest_of_all_instances_goes)
{
	const struct heard *h;
	struct push_kick_connection k;
	const struct uuid user = user_of(1);
	size_t at = 0;

	fixture_start();
	join(0, 1, 64);
	joined(0, 1);
	join(1, 1, 128);
	joined(1, 1);
	join(1, 1, 192);
	EVENTUALLY(has_field(1, 192));
	join(1, 1, 256); /* displaces one of the other instance */
	h = take_heard(REDIS_PUSH, AT_A);
	cr_assert_eq(push_kind_of(wire_slice(h->bytes, h->len)), PUSH_KICK_CONNECTION);
	cr_assert(push_next_kick_connection(wire_slice(h->bytes, h->len), &at, &k));
	cr_assert(uuid_equal(&k.user, &user));
	cr_assert_eq(k.number, 64);
	cr_assert_eq(k.code, 4409);
	cr_assert(!has_field(0, 64));
	join(0, 1, 320); /* and back */
	at = 0;
	h = take_heard(REDIS_PUSH, AT_B);
	cr_assert(push_next_kick_connection(wire_slice(h->bytes, h->len), &at, &k));
	cr_assert_eq(k.number, 128);
	cr_assert_str_eq(redis("HLEN " ROUTE), ":3");
}

Test(stack_routes, one_of_our_own_is_displaced_without_a_detour)
{
	const struct heard *h;

	fixture_start();
	join(0, 1, 64);
	joined(0, 1);
	for (uint32_t number = 128; number <= 256; number += 64)
		join(1, 1, number);
	EVENTUALLY(count_heard(REDIS_PUSH, AT_A) == 1);
	join(1, 1, 320); /* the oldest is of instance 1 itself by now */
	h = take_heard(ROUTES_DISPLACED, 1);
	cr_assert_eq(h->number, 128);
	cr_assert_eq(count_heard(REDIS_PUSH, AT_B), 0);
}

Test(stack_routes, fields_that_have_ended_do_not_count_and_are_dropped)
{
	fixture_start();
	for (int i = 0; i < 3; i++)
		redis("HSET " ROUTE " cccccccccccccccc/%d 1/1000", i);
	redis("HSET " ROUTE " nonsense nonsense");
	join(0, 1, 64);
	joined(0, 1);
	cr_assert_str_eq(redis("HLEN " ROUTE), ":1");
	cr_assert(has_field(0, 64));
	cr_assert_eq(count_heard(ROUTES_DISPLACED, 0), 0);
}

/* ---- time ---- */

Test(stack_routes, a_heartbeat_renews_what_is_here_and_the_registry)
{
	long long before, after = 0;

	settings[0].heartbeat_ms = 300;
	settings[0].ttl_ms = 4000; /* several heartbeats may be late */
	settings[0].message_ttl_ms = 1000;
	fixture_start();
	redis("ZADD q:instances 1000 dead");
	redis("XADD " INBOX " * e x");
	join(0, 1, 64);
	joined(0, 1);
	sscanf(redis("HGET " ROUTE " aaaaaaaaaaaaaaaa/64"), "\"%*d/%lld\"", &before);
	usleep(4500000); /* longer than its life */
	cr_assert(has_field(0, 64));
	sscanf(redis("HGET " ROUTE " aaaaaaaaaaaaaaaa/64"), "\"%*d/%lld\"", &after);
	cr_assert_gt(after, before);
	cr_assert_gt(atoll(redis("PTTL " INBOX) + 1), 2 * 86400000LL);
	cr_assert_str_eq(redis("EXISTS q:instance:aaaaaaaaaaaaaaaa"), ":1");
	cr_assert_str_eq(redis("ZSCORE q:instances dead"), "nil", "dead for long");
	sscanf(redis("ZSCORE q:instances aaaaaaaaaaaaaaaa"), "\"%lld\"", &after);
	cr_assert_gt(after, before);
	cr_assert_gt(atoll(redis("PTTL q:instances") + 1), 80000000);
	expect_news(0, 1, true);
	cr_assert_eq(count_heard(REDIS_PUSH, AT_WORKERS), 0, "a renewal is no news");
}

/* The next life that is told to the first instance, since there is one. */
static uint8_t told_life(void)
{
	const struct heard *h = take_heard(REDIS_PUSH, AT_A);
	struct push_lost now;
	size_t at = 0;

	cr_assert_eq(push_kind_of(wire_slice(h->bytes, h->len)), PUSH_LIFE);
	cr_assert(push_next_life(wire_slice(h->bytes, h->len), &at, &now));
	cr_assert_eq(at, h->len);
	for (size_t i = 1; i < sizeof(now.life.b); i++)
		cr_assert_eq(now.life.b[i], now.life.b[0]);
	return now.life.b[0];
}

Test(stack_routes, each_heartbeat_says_to_this_instance_in_which_life_redis_is)
{
	settings[0].heartbeat_ms = 100;
	fixture_start();
	usleep(300000);
	cr_assert_eq(count_heard(REDIS_PUSH, AT_A), 0, "no life, nothing to say");
	redis("SET q:life aaaaaaaaaaaaaaaa");
	for (int i = 0; i < 3; i++)
		cr_assert_eq(told_life(), 'a');
	redis("FLUSHALL");
	redis("SET q:life bbbbbbbbbbbbbbbb");
	while (told_life() == 'a') /* was on its way */
		;
	cr_assert_eq(told_life(), 'b');
	cr_assert_eq(count_heard(REDIS_PUSH, AT_SERVERS), 0, "the others hear nothing of it");
}

/* All servers may be gone for a weekend: only by its name is an outbox found again. */
Test(stack_routes, the_dead_are_remembered_as_long_as_a_message_lives)
{
	char command[128];

	settings[0].heartbeat_ms = 300;
	settings[0].message_ttl_ms = 7 * 86400000LL;
	fixture_start();
	snprintf(command, sizeof(command), "ZADD q:instances %lld bbbbbbbbbbbbbbbb",
	         ((long long)time(NULL) - 3 * 86400) * 1000);
	redis("%s", command);
	redis("XADD q:outbox:aaaaaaaaaaaaaaaa * e x");
	join(0, 1, 64);
	joined(0, 1);
	for (int i = 0; i < 2; i++) { /* two heartbeats */
		redis("PERSIST q:outbox:aaaaaaaaaaaaaaaa");
		EVENTUALLY(atoll(redis("PTTL q:outbox:aaaaaaaaaaaaaaaa") + 1) > 7 * 86400000LL);
	}
	EVENTUALLY(atoll(redis("PTTL q:instances") + 1) > 7 * 86400000LL);
	cr_assert_str_neq(redis("ZSCORE q:instances bbbbbbbbbbbbbbbb"), "nil");
}

Test(stack_routes, a_route_that_was_lost_is_found_by_the_heartbeat_and_said_again)
{
	settings[0].heartbeat_ms = 300;
	fixture_start();
	join(0, 1, 64);
	joined(0, 1);
	expect_news(0, 1, true);
	redis("FLUSHALL");
	joined(0, 1);
	expect_news(0, 1, true);
	cr_assert(has_field(0, 64));
}

/* A kick that was lost: who was displaced comes back with the heartbeat, and is displaced again. */
Test(stack_routes, a_displaced_one_that_did_not_go_is_displaced_again)
{
	settings[0].heartbeat_ms = 300;
	fixture_start();
	join(0, 1, 64);
	joined(0, 1);
	for (uint32_t number = 128; number <= 256; number += 64)
		join(1, 1, number);
	take_heard(REDIS_PUSH, AT_A);
	cr_assert_eq(take_heard(ROUTES_DISPLACED, 0)->number, 64);
	cr_assert(!has_field(0, 64));
}

/* ---- faults ---- */

Test(stack_routes, after_a_redis_that_lost_its_data_all_are_registered_again)
{
	struct stack_routes_figures f;

	fixture_start();
	for (uint32_t user = 1; user <= 3; user++) {
		join(0, user, 64 * user);
		joined(0, user);
		expect_news(0, user, true);
	}
	redis_server_kill(&server);
	redis_server_run(&server);
	take_heard(REDIS_CHANGED, 0);
	cr_assert_eq(redis_bench_next().type, (uint32_t)REDIS_CHANGED, "our own connection's");
	for (int i = 0; i < 3; i++)
		take_heard(ROUTES_JOINED, 0);
	stack_routes_figures(&f);
	cr_assert_eq(f.written, 6, "each once more");
	EVENTUALLY(has_field(0, 64));
	EVENTUALLY(strcmp(redis("EXISTS q:instance:aaaaaaaaaaaaaaaa"), ":1") == 0);
}

Test(stack_routes, a_join_that_was_refused_is_tried_again_while_the_user_is_here)
{
	struct stack_routes_figures f;
	struct timespec now;
	long long join_us;

	fixture_start();
	redis("CONFIG SET maxmemory 1");
	join(0, 1, 64);
	join(0, 2, 128);
	leave(0, 2, 128, true);
	do {
		usleep(10000);
		stack_routes_figures(&f);
	} while (f.failures < 3);
	cr_assert_eq(count_heard(ROUTES_JOINED, 0), 0);
	clock_gettime(CLOCK_REALTIME, &now);
	redis("CONFIG SET maxmemory 0");
	joined(0, 1);
	cr_assert(has_field(0, 64));
	cr_assert_eq(sscanf(redis("HGET " ROUTE " aaaaaaaaaaaaaaaa/64"), "\"%lld/", &join_us),
	             1);
	cr_assert_geq(join_us, now.tv_sec * 1000000LL + now.tv_nsec / 1000,
	              "when he came is still for the server's clock to say");
	cr_assert_str_eq(redis("EXISTS q:route:{02000000-0000-0000-0000-000000000001}"), ":0");
}

Test(stack_routes, what_is_in_the_place_of_a_route_gives_way)
{
	fixture_start();
	redis("SET " ROUTE " in-the-way");
	join(0, 1, 64);
	joined(0, 1);
	cr_assert(has_field(0, 64));
}

Test(stack_routes, what_was_said_while_redis_was_away_is_said_when_it_is_back)
{
	struct uuid gone = user_of(2);
	struct stack_routes_figures f;

	fixture_start();
	redis_server_kill(&server);
	join(0, 1, 64);
	join(0, 3, 192);
	leave(0, 3, 192, true);
	redis_bench_run(&bench, 0, do_gone, &gone);
	do {
		usleep(10000);
		stack_routes_figures(&f);
	} while (f.failures < 2);
	cr_assert_eq(count_heard(ROUTES_JOINED, 0), 0);
	redis_server_run(&server);
	joined(0, 1);
	cr_assert_eq(redis_bench_next().type, (uint32_t)REDIS_CHANGED);
	cr_assert(has_field(0, 64));
	EVENTUALLY(strcmp(redis("GET q:inbox:{02000000-0000-0000-0000-000000000001}"),
	                  "\"gone\"") == 0);
	cr_assert_str_eq(redis("EXISTS q:route:{03000000-0000-0000-0000-000000000001}"), ":0");
	stack_routes_figures(&f);
	cr_assert_eq(f.kicks_lost, 0);
}

/* ---- accounts, the end ---- */

Test(stack_routes, a_user_who_is_gone_has_no_route_and_no_inbox_and_stays_so)
{
	struct uuid user = user_of(1);
	struct push_user_gone got;
	const struct heard *h;
	size_t at = 0;

	settings[0].heartbeat_ms = 100;
	fixture_start();
	redis("XADD " INBOX " * e x");
	join(0, 1, 64);
	joined(0, 1);
	redis_bench_run(&bench, 0, do_gone, &user);
	h = take_heard(REDIS_PUSH, AT_GATEWAYS);
	cr_assert_eq(push_kind_of(wire_slice(h->bytes, h->len)), PUSH_USER_GONE);
	cr_assert(push_next_user_gone(wire_slice(h->bytes, h->len), &at, &got));
	cr_assert(uuid_equal(&got.user, &user));
	cr_assert_str_eq(redis("GET " INBOX), "\"gone\"");
	cr_assert_gt(atoll(redis("PTTL " INBOX) + 1), 3 * 86400000LL - 100000);
	cr_assert(strncmp(redis("XADD " INBOX " * e x"), "-WRONGTYPE", 10) == 0);
	usleep(300000); /* heartbeats, while his connection is about to close */
	cr_assert_str_eq(redis("EXISTS " ROUTE), ":0");
	leave(0, 1, 64, true);
	cr_assert_str_eq(redis("EXISTS " ROUTE), ":0");
}

Test(stack_routes, a_drain_takes_out_all_and_nothing_comes_after_it)
{
	fixture_start();
	join(0, 1, 64);
	joined(0, 1);
	join(0, 1, 128);
	expect_news(0, 1, true);
	EVENTUALLY(has_field(0, 128));
	cr_assert_eq(routes_drain_post(bench.rt, routes[0]), CX_OK);
	expect_news(0, 1, false);
	cr_assert_str_eq(redis("EXISTS " ROUTE), ":0");
	join(0, 1, 192);
	leave(0, 1, 128, true);
	cr_assert_str_eq(redis("EXISTS " ROUTE), ":0");
	cr_assert_eq(count_heard(REDIS_PUSH, AT_WORKERS), 0);
}
