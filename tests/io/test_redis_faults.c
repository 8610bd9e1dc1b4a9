/* SPDX-License-Identifier: MIT */
/* Servers that die, stop, forget, or say what no server says. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "support/redis_peer.h"

static struct redis_server server;
static struct redis_bench bench;

static void setup(void)
{
	redis_server_prepare(&server);
	redis_bench_defaults(&bench, server.port);
}

static void teardown(void)
{
	redis_bench_stop(&bench);
	redis_server_stop(&server);
}

TestSuite(redis_faults, .init = setup, .fini = teardown, .timeout = 60);

static bool are_in_flight(const struct redis_figures *f, uint64_t n)
{
	return f->in_flight == n;
}

Test(redis_faults, what_was_sent_to_a_killed_server_is_lost_and_the_owner_hears_of_the_new_one)
{
	struct redis_event e;
	struct redis_figures f;
	unsigned lost = 0;

	redis_server_run(&server);
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	kill(server.pid, SIGSTOP); /* so that it takes no command any more */
	for (unsigned i = 0; i < 5; i++)
		redis_bench_ask(&bench, 1, 20000, "INCR n");
	cr_assert(redis_bench_wait(are_in_flight, 5));
	cr_assert_not(redis_bench_comes(100));
	redis_server_kill(&server);
	while (lost < 5) {
		e = redis_bench_next();
		cr_assert_eq(e.type, (uint32_t)REDIS_REPLY, "%s", cx_err_name(e.err));
		cr_assert_eq(e.outcome, REDIS_LOST);
		cr_assert_eq(e.count, 1);
		lost++;
	}
	redis_bench_ask(&bench, 1, 20000, "GET k"); /* waits for the new server */
	redis_server_run(&server);
	e = redis_bench_next();
	cr_assert_eq(e.type, (uint32_t)REDIS_CHANGED);
	cr_assert_eq(e.probe, 0);
	e = redis_bench_next();
	cr_assert_eq(e.outcome, REDIS_ANSWERED);
	cr_assert_str_eq(e.text, "nil", "nothing was saved");
	redis_figures(&f);
	cr_assert_eq(f.lost, 5);
	cr_assert_eq(f.in_flight, 0);
	cr_assert_eq(f.connected, 1);
}

Test(redis_faults, a_lost_connection_to_the_same_server_is_no_change)
{
	redis_server_run(&server);
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	redis_bench_ask(&bench, 1, 10000, "CLIENT KILL TYPE normal SKIPME no");
	redis_bench_next(); /* answered or lost: the server's choice */
	cr_assert(redis_bench_wait(redis_has_connected, 2));
	cr_assert_str_eq(redis_bench_call(&bench, "GET k"), "\"v\"");
	cr_assert_not(redis_bench_comes(50));
}

Test(redis_faults, commands_wait_for_a_server_that_is_not_there_yet)
{
	redis_bench_start(&bench);
	redis_bench_ask(&bench, 1, 20000, "INCR n");
	redis_bench_ask(&bench, 1, 20000, "INCR n");
	cr_assert_not(redis_bench_comes(300));
	redis_server_run(&server);
	cr_assert_str_eq(redis_bench_next().text, ":1");
	cr_assert_str_eq(redis_bench_next().text, ":2");
}

Test(redis_faults, what_expired_while_it_waited_is_never_executed)
{
	struct redis_figures f;

	redis_bench_start(&bench);
	redis_bench_ask(&bench, 1, 50, "INCR n");
	redis_bench_ask(&bench, 1, 20000, "INCR m");
	redis_bench_ask(&bench, 1, 50, "INCR n");
	cr_assert_eq(redis_bench_next().err, CX_ETIMEOUT);
	cr_assert_eq(redis_bench_next().err, CX_ETIMEOUT);
	redis_server_run(&server);
	cr_assert_str_eq(redis_bench_next().text, ":1");
	cr_assert_str_eq(redis_bench_call(&bench, "GET n"), "nil");
	redis_figures(&f);
	cr_assert_eq(f.late, 2);
	cr_assert_eq(f.in_flight, 0);
}

Test(redis_faults, the_expired_make_room_for_others_while_there_is_no_server)
{
	bench.conf.in_flight_max = 4;
	redis_bench_start(&bench);
	for (unsigned i = 0; i < 4; i++)
		redis_bench_ask(&bench, 1, 50, "INCR n");
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(redis_bench_next().err, CX_ETIMEOUT);
	usleep(150000);
	for (unsigned i = 0; i < 4; i++)
		redis_bench_ask(&bench, 1, 20000, "INCR n");
	cr_assert_not(redis_bench_comes(50));
	redis_server_run(&server);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(redis_bench_next().text[1], (char)('1' + i));
}

Test(redis_faults, a_reply_after_its_deadline_is_dropped_and_the_next_goes_to_its_caller)
{
	struct redis_event e;

	redis_server_run(&server);
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	kill(server.pid, SIGSTOP);
	redis_bench_ask(&bench, 1, 100, "ECHO late");
	redis_bench_ask(&bench, 2, 20000, "ECHO in-time");
	e = redis_bench_next();
	cr_assert_eq(e.err, CX_ETIMEOUT);
	cr_assert_eq(e.probe, 1);
	kill(server.pid, SIGCONT);
	e = redis_bench_next();
	cr_assert_str_eq(e.text, "\"in-time\"");
	cr_assert_eq(e.probe, 2);
	cr_assert_not(redis_bench_comes(50));
}

Test(redis_faults, a_server_that_stops_answering_is_given_up_and_taken_again)
{
	bench.conf.dead_ms = 1500; /* a busy machine is no fault */
	bench.conf.connect_ms = 1500;
	redis_server_run(&server);
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	kill(server.pid, SIGSTOP);
	redis_bench_ask(&bench, 1, 20000, "INCR n");
	cr_assert_eq(redis_bench_next().outcome, REDIS_LOST);
	/* The kernel still takes connections for it: the log-in must have its limit too. */
	cr_assert(redis_bench_wait(redis_has_failed, 3));
	cr_assert(redis_bench_wait(redis_is_connected, 0));
	kill(server.pid, SIGCONT);
	cr_assert_str_eq(redis_bench_call(&bench, "GET k"), "\"v\"");
}

Test(redis_faults, an_idle_connection_finds_out_that_the_server_stopped)
{
	bench.conf.dead_ms = 2000; /* twelve times that is more than the wait */
	redis_server_run(&server);
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	kill(server.pid, SIGSTOP);
	cr_assert(redis_bench_wait(redis_has_failed, 1));
	kill(server.pid, SIGCONT);
	cr_assert(redis_bench_wait(redis_is_connected, 1));
}

Test(redis_faults, stopping_answers_everybody_and_leaks_nothing)
{
	redis_server_run(&server);
	redis_bench_start(&bench);
	redis_bench_call(&bench, "SET k v");
	kill(server.pid, SIGSTOP);
	for (unsigned i = 0; i < 20; i++)
		redis_bench_ask(&bench, 1, 20000, "INCR n");
	/* teardown stops with all of it in flight; the sanitizer looks for what is left */
}

/* ---- hostile ---- */

struct hostile {
	const char *name;
	const char *say;
	size_t len;
	size_t repeat;
	bool hangs_up;
	const char *why; /* in the log */
};

#define LIMIT "the server broke the protocol or a limit"
#define SAY(text) text, sizeof(text) - 1

static const char filler[65536] = "";

/* What each says to the first command; all of it ends the connection, none of it the process. */
static const struct hostile hostiles[] = {
	{ "garbage", SAY("HTTP/1.1 400 Bad Request\r\n\r\n"), 0, false, LIMIT },
	{ "no type", SAY("\r\n\r\n"), 0, false, LIMIT },
	{ "a huge length", SAY("$99999999999999999999\r\n"), 0, false, LIMIT },
	{ "a negative length", SAY("$-5\r\nabc\r\n"), 0, false, LIMIT },
	{ "a long bulk that never comes", SAY("$2147483647\r\nabc"), 0, false,
	  "the server does not answer" },
	{ "a huge array", SAY("*2147483647\r\n:1\r\n"), 0, false, LIMIT },
	{ "an array over the limit", SAY("*1048577\r\n:1\r\n"), 0, false, LIMIT },
	{ "a negative array", SAY("*-5\r\n"), 0, false, LIMIT },
	{ "an integer that is none", SAY(":12a\r\n"), 0, false, LIMIT },
	{ "deep nesting", SAY("*1\r\n"), 100, false, LIMIT },
	{ "half a reply and an end", SAY("*2\r\n$3\r\nab"), 0, true,
	  "the server closed the connection" },
	{ "an end", SAY(""), 0, true, "the server closed the connection" },
	{ "more replies than questions", SAY("+A\r\n+B\r\n"), 0, false, LIMIT },
	{ "a bulk that never ends", filler, sizeof(filler), 0, false, LIMIT }, /* made below */
	{ "a line that never ends", filler, sizeof(filler), 0, false, LIMIT },
	{ "an array of arrays that never ends", filler, sizeof(filler), 0, false, LIMIT },
};
#define HOSTILES (sizeof(hostiles) / sizeof(hostiles[0]))

ParameterizedTestParameters(redis_hostile, each_ends_its_connection_and_nothing_else)
{
	static unsigned numbers[HOSTILES];

	for (unsigned i = 0; i < HOSTILES; i++)
		numbers[i] = i;
	return cr_make_param_array(unsigned, numbers, HOSTILES);
}

static char *endless(struct redis_fake *f, const char *head, const char *with)
{
	char *text = malloc(sizeof(filler));
	size_t n = strlen(head);

	memcpy(text, head, n);
	while (n + strlen(with) <= sizeof(filler)) {
		memcpy(text + n, with, strlen(with));
		n += strlen(with);
	}
	f->say = text;
	f->say_len = n;
	f->repeat = 4000; /* 250 MB: more than any limit */
	return text;
}

ParameterizedTest(unsigned *number, redis_hostile, each_ends_its_connection_and_nothing_else,
                  .timeout = 60)
{
	const struct hostile *h = &hostiles[*number];
	struct redis_fake fake = {
		.say = h->say, .say_len = h->len, .repeat = h->repeat, .hangs_up = h->hangs_up
	};
	const int log_fd = redis_log_to_file();
	char *made = NULL, *log;
	struct redis_event e;

	if (strcmp(h->name, "a bulk that never ends") == 0)
		made = endless(&fake, "$1000000000\r\n", "x");
	else if (strcmp(h->name, "a line that never ends") == 0)
		made = endless(&fake, "+", "x");
	else if (strcmp(h->name, "an array of arrays that never ends") == 0)
		made = endless(&fake, "*1000000\r\n", "*0\r\n");
	redis_fake_start(&fake);
	redis_bench_defaults(&bench, fake.port);
	/* else a limit must be what it meets first, on a busy machine too */
	bench.conf.dead_ms = strcmp(h->why, LIMIT) == 0 ? 15000 : 1000;
	bench.conf.ping_ms = 100;
	redis_bench_start(&bench);
	redis_bench_ask(&bench, 1, 20000, "GET k");
	e = redis_bench_next();
	cr_assert_eq(e.type, (uint32_t)REDIS_REPLY, "%s: %s", h->name, cx_err_name(e.err));
	if (strcmp(h->name, "more replies than questions") == 0)
		cr_assert_str_eq(e.text, "+A");
	else
		cr_assert_eq(e.outcome, REDIS_LOST, "%s: %s", h->name, e.text);
	cr_assert(redis_bench_wait(redis_has_failed, 1), "%s", h->name);
	cr_assert(redis_bench_wait(redis_has_connected, 2), "%s", h->name);
	log = redis_log_read(log_fd);
	cr_assert_not_null(strstr(log, h->why), "%s: %s", h->name, log);
	free(log);
	redis_bench_stop(&bench);
	redis_fake_stop(&fake);
	free(made);
}

Test(redis_hostile, a_reply_that_comes_byte_by_byte_is_a_reply, .timeout = 60)
{
	struct redis_fake fake = { 0 };

	fake.say = "*3\r\n$3\r\nabc\r\n:-12\r\n*2\r\n$-1\r\n+OK\r\n";
	fake.say_len = strlen(fake.say);
	fake.is_slow = true;
	redis_fake_start(&fake);
	redis_bench_defaults(&bench, fake.port);
	bench.conf.ping_ms = 5000;
	redis_bench_start(&bench);
	redis_bench_ask(&bench, 1, 20000, "GET k");
	cr_assert_str_eq(redis_bench_next().text, "[3 \"abc\" :-12 [2 nil +OK");
	redis_bench_stop(&bench);
	redis_fake_stop(&fake);
}

Test(redis_hostile, a_reply_that_trickles_for_ever_is_given_up, .timeout = 60)
{
	struct redis_fake fake = { .is_slow = true };
	char *made = endless(&fake, "+", "x"); /* a line of more than half a minute */

	redis_fake_start(&fake);
	redis_bench_defaults(&bench, fake.port);
	bench.conf.dead_ms = 200;
	redis_bench_start(&bench);
	redis_bench_ask(&bench, 1, 60000, "GET k");
	cr_assert_eq(redis_bench_next().outcome, REDIS_LOST);
	redis_bench_stop(&bench);
	redis_fake_stop(&fake);
	free(made);
}
