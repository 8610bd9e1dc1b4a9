/* SPDX-License-Identifier: MIT */
/* The disk's own price of durability: fdatasync after a write, in a folder.
 *
 *   fdatasync DIR [SECONDS_PER_ROW]
 *
 * Two ways, for 4 to 256 KB: `append` makes the file longer each time (the file system has to
 * sync its size too), `rewrite` goes over a file that is already there, as SQLite does with
 * its WAL once it has been round.  One TSV row each:
 *   fdatasync  way,bytes  threads  syncs/s  p50_ns  p99_ns  p999_ns */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX 100000
#define CHUNK_MAX (256 * 1024)
#define REWRITE_BYTES (4 * 1024 * 1024) /* SQLite's WAL before its checkpoint */

enum way { APPEND, REWRITE };

static uint64_t sample_ns[SAMPLES_MAX];
static char chunk[CHUNK_MAX];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void write_at(int fd, size_t bytes, off_t at)
{
	if (pwrite(fd, chunk, bytes, at) != (ssize_t)bytes)
		die("pwrite");
}

static void fill(int fd)
{
	for (off_t at = 0; at < REWRITE_BYTES; at += CHUNK_MAX)
		write_at(fd, CHUNK_MAX, at);
	if (fsync(fd) != 0)
		die("fsync");
}

static void measure(const char *path, enum way way, size_t bytes, double seconds)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t now;
	off_t at = 0;
	size_t n = 0;

	if (fd < 0)
		die(path);
	if (way == REWRITE)
		fill(fd);
	const uint64_t start = now_ns();

	do {
		memcpy(chunk, &n, sizeof(n)); /* never the same bytes twice */
		const uint64_t then = now_ns();

		write_at(fd, bytes, at);
		if (fdatasync(fd) != 0)
			die("fdatasync");
		now = now_ns();
		sample_ns[n++] = now - then;
		at += (off_t)bytes;
		if (way == REWRITE && at >= REWRITE_BYTES)
			at = 0;
	} while ((double)(now - start) < seconds * 1e9 && n < SAMPLES_MAX);
	close(fd);
	qsort(sample_ns, n, sizeof(sample_ns[0]), compare_u64);
	printf("fdatasync\t%s,%zu\t1\t%.0f\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n",
	       way == APPEND ? "append" : "rewrite", bytes,
	       (double)n * 1e9 / (double)(now - start), sample_ns[n / 2],
	       sample_ns[n * 99 / 100], sample_ns[n * 999 / 1000]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const double seconds = argc > 2 ? atof(argv[2]) : 2;
	char path[4096];

	if (argc < 2 || argc > 3 || seconds <= 0) {
		fprintf(stderr, "usage: fdatasync DIR [SECONDS_PER_ROW]\n");
		return 2;
	}
	memset(chunk, 0x5a, sizeof(chunk));
	snprintf(path, sizeof(path), "%s/fdatasync.%ld", argv[1], (long)getpid());
	for (enum way way = APPEND; way <= REWRITE; way++)
		for (size_t bytes = 4096; bytes <= CHUNK_MAX; bytes *= 4)
			measure(path, way, bytes, seconds);
	if (unlink(path) != 0)
		die(path);
	return 0;
}
