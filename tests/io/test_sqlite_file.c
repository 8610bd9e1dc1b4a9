/* SPDX-License-Identifier: MIT */
/* Two processes and one file; and a file that is taken away. */
#include <sys/wait.h>

#include "io/sqlite_file.h"
#include "io/sqlite_stats.h"
#include "sqlite_probe.h"

TestSuite(sqlite_file, .init = setup, .fini = teardown, .timeout = 60);

/* Whether another process would get the lock under that name. */
static bool other_may(const char *path)
{
	const pid_t child = fork();
	int status, fd;

	cr_assert_geq(child, 0);
	if (child == 0)
		_exit(sqlite_file_lock(path, &fd) == CX_OK ? 1 : 0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status) == 1;
}

static const char *beside(const char *tail)
{
	static char names[4][128];
	static int next_name;
	char *const name = names[next_name++ % 4];

	snprintf(name, sizeof(names[0]), "%s%s", f.path, tail);
	return name;
}

Test(sqlite_file, has_one_process_under_whatever_name)
{
	const char *const soft = beside(".soft"), *const hard = beside(".hard");

	cr_assert_eq(symlink(f.path, soft), 0);
	cr_assert_eq(link(f.path, hard), 0);
	cr_assert_not(other_may(f.path));
	cr_assert_not(other_may(soft));
	cr_assert_not(other_may(hard));
	stop();
	cr_assert(other_may(f.path));
	cr_assert(other_may(soft));
	start();
	unlink(soft);
	unlink(hard);
}

/* Whether the store says so of itself, within some seconds. */
static bool comes_to(enum store_outcome outcome)
{
	const struct store_op ping = { .what = STORE_PING };

	for (int i = 0; i < 200; i++) {
		if ((enum store_outcome)store_op(ping, NULL)->outcome == outcome)
			return true;
		usleep(100000);
	}
	return false;
}

static void check_gone_and_back(const char *tail, uint64_t key)
{
	char name[128], away[128];
	struct ask a = { .owner = 1, .peer = 2 };

	snprintf(name, sizeof(name), "%s%s", f.path, tail);
	snprintf(away, sizeof(away), "%s%s.away", f.path, tail);
	a.id = append_one(1, 2, key)->id;
	cr_assert_gt(a.id, 0);
	cr_assert_eq(rename(name, away), 0);
	cr_assert_eq(append_one(1, 2, key + 1)->outcome, LOG_FAILED, "%s", tail);
	cr_assert_eq(append_one(1, 2, key)->outcome, LOG_DUPLICATE);
	run(ask_settle, &a);
	cr_assert_eq(next(LOG_SETTLED)->outcome, LOG_FAILED);
	cr_assert(comes_to(STORE_FAILED));
	cr_assert_eq(rename(away, name), 0);
	cr_assert(comes_to(STORE_OK), "it is well again by itself");
	cr_assert_eq(append_one(1, 2, key + 1)->outcome, LOG_OK);
}

Test(sqlite_file, accepts_nothing_while_the_database_is_gone)
{
	check_gone_and_back("", 10);
}

Test(sqlite_file, accepts_nothing_while_the_write_ahead_log_is_gone)
{
	check_gone_and_back("-wal", 10);
}

Test(sqlite_file, accepts_nothing_when_another_file_has_its_name)
{
	FILE *other;

	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_OK);
	cr_assert_eq(unlink(f.path), 0);
	other = fopen(f.path, "w");
	cr_assert_not_null(other);
	fclose(other);
	cr_assert_eq(append_one(1, 2, 11)->outcome, LOG_FAILED);
	cr_assert(comes_to(STORE_FAILED));
}

Test(sqlite_file, is_missed_within_seconds_though_nobody_writes)
{
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_OK);
	cr_assert(sqlite_is_healthy());
	cr_assert_eq(unlink(f.path), 0);
	for (int i = 0; i < 200 && sqlite_is_healthy(); i++)
		usleep(100000);
	cr_assert_not(sqlite_is_healthy());
}
