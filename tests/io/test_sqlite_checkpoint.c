/* SPDX-License-Identifier: MIT */
/* A disk that says once that it lost what it was given, while the log is copied. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "io/sqlite_stats.h"
#include "sqlite_probe.h"

TestSuite(sqlite_checkpoint, .init = setup, .fini = teardown, .timeout = 60);

static _Atomic bool sync_fails;
static _Atomic int failed_syncs;

static bool is_file(int fd, const char *tail)
{
	const ssize_t tail_len = (ssize_t)strlen(tail);
	char link[64], name[256];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, name, sizeof(name));
	return len > tail_len && memcmp(name + len - tail_len, tail, (size_t)tail_len) == 0;
}

/* Of the thread that copies, once: the system forgets such an error when it has told it.  SQLite syncs
 * the log, copies, and syncs the database itself when it has copied all; a second sync of the database
 * is the program's own. */
int fdatasync(int fd);
int fdatasync(int fd)
{
	static int of_database;
	char name[16] = "";

	pthread_getname_np(pthread_self(), name, sizeof(name));
	if (strcmp(name, "checkpoint") == 0)
		of_database = is_file(fd, "-wal") ? 0 : of_database + is_file(fd, ".db");
	if (strcmp(name, "checkpoint") == 0 && of_database == 2 &&
	    atomic_exchange(&sync_fails, false)) {
		atomic_fetch_add(&failed_syncs, 1);
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static uint64_t copied(void)
{
	struct sqlite_figures figures;

	sqlite_figures(&figures);
	return figures.checkpoints;
}

static void fill(uint64_t first)
{
	struct ask a = { .owner = 1, .peer = 2, .key = first, .len = 60000, .times = 40 };

	sqlite_shared.checkpoint.start_bytes = 1 << 20;
	run(ask_append, &a);
	for (uint32_t i = 0; i < a.times; i++)
		cr_assert_eq(next(LOG_APPENDED)->outcome, LOG_OK);
}

static void start_small(void)
{
	f.settings.inbox_max_messages =
		100000; /* who is slow to copy does not fill the inbox */
	f.settings.inbox_max_bytes = UINT64_MAX;
	sqlite_shared.checkpoint.start_bytes = sqlite_shared.checkpoint.ask_at_bytes = 1 << 20;
}

Test(sqlite_checkpoint, empties_the_log_when_all_is_well)
{
	start_small();
	/* the copy is made beside the writes: a fast disk takes many of them meanwhile */
	for (uint64_t n = 0; n < 400 && copied() == 0; n++) {
		fill(1000 * (n + 1));
		usleep(n < 20 ? 0 : 25000);
	}
	cr_assert_gt(copied(), 0);
	cr_assert(sqlite_is_healthy());
}

/* A log that was emptied before has what it needs for the rest only; the test is that it stays. */
Test(sqlite_checkpoint, keeps_the_log_when_the_copy_could_not_be_synced)
{
	char wal[128];
	struct stat st;
	uint64_t n;

	snprintf(wal, sizeof(wal), "%s-wal", f.path);
	start_small();
	atomic_store(&sync_fails, true);
	for (n = 1; n < 400 && sqlite_is_healthy(); n++) { /* the copy is made beside it */
		fill(1000 * n);
		usleep(n < 20 ? 0 : 25000);
	}
	cr_assert_eq(atomic_load(&failed_syncs), 1);
	cr_assert_not(sqlite_is_healthy(), "the store says that it is ill");
	fill(1000 * n);
	cr_assert_not(sqlite_is_healthy(), "whatever commits say");
	n = copied();
	fill(500000);
	fill(600000);
	cr_assert_eq(copied(), n, "no more is copied");
	stop();
	cr_assert_eq(stat(wal, &st), 0, "the log is kept for the next start");
	cr_assert_gt(st.st_size, 1 << 20);
	start();
	cr_assert(sqlite_is_healthy());
	cr_assert_eq(append_one(1, 2, 1000)->outcome, LOG_DUPLICATE);
	cr_assert_eq(append_one(1, 2, 1)->outcome, LOG_OK);
}
