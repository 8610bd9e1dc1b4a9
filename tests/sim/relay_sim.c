/* SPDX-License-Identifier: MIT */
/* The whole relay in the simulator: the real actors of a message's way between a fake log, fake sockets
 * and clients that judge what they get.
 *
 *   relay_sim FIRST COUNT          seeds FIRST .. FIRST+COUNT-1; last line `sim: N passed, N failed`
 *   relay_sim --trace SEED         that one, its trace on standard output
 *   relay_sim --hash FIRST COUNT   a line for each: what makes its run out, in one number
 *   --brief                        no search for the faults that a failure needs (minimise.h)
 *   --seconds N                    a seed that takes longer has failed
 *   --plant WHAT SEED              for the self-test: an abort, fault, hang or judge's complaint there
 *
 * One run: faults for a while (sends refused, delayed and lost, commits and reads that fail, a log that
 * crashes, connections that break, sessions that end elsewhere, readers that stall, frames in another's name, the process killed and
 * started again on the same disk, wall clock jumps), then quiet until all has settled; half of the time all
 * users send while one device takes nothing; then one message has to come to every connection at once.
 * Held all the time, on each of a user's connections: G1 to G7 as far as the fakes can show them and the
 * promises about answers (protocol.md, "What an answer means" 1 to 5; judge.h has them as rules), and that
 * it ends with its session; at the end: nothing accepted is undelivered, unsettled or unreported.
 *
 * Of G5 it shows that a slow reader holds up nobody and that what is sent to it and what waits in mailboxes
 * is bounded, not the bytes that the actors hold, nor a frozen backend.  Of G6, forged acknowledgements
 * and senders; tokens, key bundles and other servers are not in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cx/log.h>

#include "sim/crash.h"
#include "sim/minimise.h"
#include "sim/run.h"
#include "sim/world.h"

#define SEED_SECS 120 /* a run takes 15 ms, with sanitizers and a promise broken late, 20 s */
#define MINIMISE_SECS 600

struct options {
	bool is_trace, is_hash, is_brief;
	unsigned seconds;
	uint64_t first, count; /* of --trace the seed in first */
};

struct sums {
	uint64_t failed, received, cuts, lost, refused, commits, reads, displaced, ended,
		stalls, forged, slow, delayed, lost_asks, crashes;
	uint64_t unpaid_max, depth_max, pool_max;
};

static void add_up(struct sums *sums)
{
	sums->received += world.received;
	sums->cuts += world.cuts;
	sums->displaced += world.displaced;
	sums->ended += world.ended;
	sums->lost += world.lost;
	sums->refused += world.refused;
	sums->delayed += world.delayed;
	sums->lost_asks += world.lost_asks;
	sums->crashes += world.crashes;
	sums->commits += world.failed_commits;
	sums->reads += world.failed_reads;
	sums->stalls += world.stalls;
	sums->forged += world.forged;
	sums->slow += world.slow_phases;
	if (world.unpaid_max > sums->unpaid_max)
		sums->unpaid_max = world.unpaid_max;
	if (world.pool_bytes_max > sums->pool_max)
		sums->pool_max = world.pool_bytes_max;
	if (world.depth_max > sums->depth_max)
		sums->depth_max = world.depth_max;
}

static void print_sums(const struct options *o, const struct sums *s)
{
	printf("sim: seeds %llu to %llu: %llu messages, %llu connections cut, %llu displaced,"
	       " %llu sessions ended, %llu pushes lost, %llu sends refused, %llu delayed,"
	       " %llu questions lost, %llu commits and %llu reads failed, %llu crashes of the "
	       "log\n",
	       (unsigned long long)o->first, (unsigned long long)(o->first + o->count - 1),
	       (unsigned long long)s->received, (unsigned long long)s->cuts,
	       (unsigned long long)s->displaced, (unsigned long long)s->ended,
	       (unsigned long long)s->lost, (unsigned long long)s->refused,
	       (unsigned long long)s->delayed, (unsigned long long)s->lost_asks,
	       (unsigned long long)s->commits, (unsigned long long)s->reads,
	       (unsigned long long)s->crashes);
	printf("sim: %llu readers stalled, %llu of them while others were timed, at most %llu "
	       "bytes"
	       " without credit, %llu messages in a mailbox, %llu bytes of them on a worker, "
	       "%llu frames forged\n",
	       (unsigned long long)(s->stalls + s->slow), (unsigned long long)s->slow,
	       (unsigned long long)s->unpaid_max, (unsigned long long)s->depth_max,
	       (unsigned long long)s->pool_max, (unsigned long long)s->forged);
	printf("sim: %llu passed, %llu failed\n", (unsigned long long)(o->count - s->failed),
	       (unsigned long long)s->failed);
}

static bool run_one(const struct options *o, uint64_t seed, const struct run_watch *watch)
{
	bool is_good;

	crash_begin(seed, o->seconds);
	is_good = run_seed(seed, watch);
	crash_end();
	if (!is_good)
		printf("FAIL seed %llu: %s\n", (unsigned long long)seed, world.broken);
	return is_good;
}

/* The first that fails is told in full: the others most often fail for the same reason. */
static int run_all(const struct options *o)
{
	struct sums sums = { 0 };

	for (uint64_t seed = o->first; seed < o->first + o->count; seed++) {
		if (run_one(o, seed, &(struct run_watch){ 0 })) {
			add_up(&sums);
			continue;
		}
		add_up(&sums);
		if (sums.failed++ > 0 || o->is_brief)
			continue;
		crash_begin_search(seed, MINIMISE_SECS);
		minimise(seed);
		crash_end();
	}
	print_sums(o, &sums);
	return sums.failed == 0 ? 0 : 1;
}

/* ---- what a run was, in one number ---- */

static ssize_t hash_write(void *cookie, const char *bytes, size_t len)
{
	uint64_t *hash = cookie;

	for (size_t i = 0; i < len; i++) /* FNV-1a */
		*hash = (*hash ^ (uint8_t)bytes[i]) * UINT64_C(0x100000001b3);
	return (ssize_t)len;
}

static int hash_all(const struct options *o)
{
	bool is_good = true;

	for (uint64_t seed = o->first; seed < o->first + o->count; seed++) {
		uint64_t hash = UINT64_C(0xcbf29ce484222325);
		struct run_watch watch = {
			.trace = fopencookie(&hash, "w",
			                     (cookie_io_functions_t){ .write = hash_write })
		};

		if (watch.trace == NULL)
			return 2;
		is_good = run_one(o, seed, &watch) && is_good;
		fclose(watch.trace);
		printf("seed %llu: %llu steps, %u messages, trace %016llx\n",
		       (unsigned long long)seed, (unsigned long long)world.steps,
		       world.received, (unsigned long long)hash);
	}
	return is_good ? 0 : 1;
}

/* ---- arguments ---- */

static bool plant(const char *what, const char *seed)
{
	static const char *const names[] = { [PLANT_ABORT] = "abort",
		                             [PLANT_FAULT] = "fault",
		                             [PLANT_HANG] = "hang",
		                             [PLANT_JUDGE] = "judge" };

	for (unsigned i = PLANT_ABORT; i <= PLANT_JUDGE; i++) {
		if (strcmp(what, names[i]) != 0)
			continue;
		run_plant((enum plant)i, strtoull(seed, NULL, 10));
		return true;
	}
	return false;
}

static bool parse(int argc, char **argv, struct options *o)
{
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (strcmp(argv[at], "--trace") == 0)
			o->is_trace = true;
		else if (strcmp(argv[at], "--hash") == 0)
			o->is_hash = true;
		else if (strcmp(argv[at], "--brief") == 0)
			o->is_brief = true;
		else if (strcmp(argv[at], "--seconds") == 0 && at + 1 < argc)
			o->seconds = (unsigned)strtoul(argv[++at], NULL, 10);
		else if (strcmp(argv[at], "--plant") == 0 && at + 2 < argc &&
		         plant(argv[at + 1], argv[at + 2]))
			at += 2;
		else
			return false;
	}
	if (argc - at != (o->is_trace ? 1 : 2))
		return false;
	o->first = strtoull(argv[at], NULL, 10);
	o->count = o->is_trace ? 1 : strtoull(argv[at + 1], NULL, 10);
	return o->count > 0;
}

int main(int argc, char **argv)
{
	struct options o = { .seconds = SEED_SECS };

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	setvbuf(stdout, NULL, _IOLBF,
	        0); /* what was said is there when a run ends the process */
	if (!parse(argc, argv, &o)) {
		fprintf(stderr,
		        "usage: relay_sim [--brief] [--hash] FIRST COUNT | --trace SEED\n"
		        "       [--seconds N] [--plant abort|fault|hang|judge SEED]\n");
		return 2;
	}
	crash_setup();
	if (o.is_trace)
		return run_one(&o, o.first, &(struct run_watch){ .trace = stdout }) ? 0 : 1;
	return o.is_hash ? hash_all(&o) : run_all(&o);
}
