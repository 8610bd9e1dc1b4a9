/* SPDX-License-Identifier: MIT */
/* The actor runtime alone, row by row; its peers beside this file do the same work.
 *
 *   bench_runtime ROW [OPS] [same|across|any]
 *
 * The rows, and what one operation is.  A message carries one number of 8 bytes.
 *   count         1 actor sends to 1, which adds up                       a message
 *   fan-in        8 actors send to 1                                      a message
 *   fan-out       1 actor sends to 100 in turn                            a message
 *   fork-join     1 actor sends to 64 in turn, each reports its sum       a message
 *   ping-pong     2 actors, one message between them                      a round trip
 *   ring-100, ring-10000   one token goes round                           a hop
 *   big           120 actors, each pings a random other and waits for the pong   a round trip
 *   spawn         a parent starts 1000 children, sends each a message, each answers and ends;
 *                 then the next 1000                                      a child
 *   idle          as spawn, but the children stay                         bytes beside its state
 *   timers-arm, timers-cancel, timers-fire   1000 actors share them: armed for 10 to 70 s; these
 *                 cancelled; armed for 1 to 10 ms until all have fired    a timer
 *   latency-sleeping, latency-busy   one message each ms to an actor whose worker sleeps, or has
 *                 16 other actors that always have 1 us of work           p50, p99, p99.9
 *   soak          count at full speed for OPS seconds; resident memory stays flat   a message
 *
 * same: one worker.  across: two workers, and sender and receiver never share one (ring: neighbours;
 * big, spawn, timers, receivers of fan-out and fork-join: half of them on each).  any: two workers
 * and CX_PLACE_ANY, so an actor runs where its sender is unless an idle worker takes it; only the
 * message-passing rows, as such actors have no timers.
 *
 * Mailboxes are bounded here and the peers' are not, so senders of streams use credits, as a user
 * would: see stream.c.  Everything else has fewer messages in flight than its mailboxes hold, and a
 * refused send ends the program.
 *
 * Prints one TSV row:  row  placement,ops  workers  ops/s (idle: bytes)  p50_ns  p99_ns  p999_ns */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const struct row {
	const char *name;
	uint64_t ops;
	row_fn *fn;
	bool can_be_anywhere;
} rows[] = {
	{ "count", 10000000, row_count, true },
	{ "fan-in", 10000000, row_fan_in, true },
	{ "fan-out", 10000000, row_fan_out, true },
	{ "fork-join", 6400000, row_fork_join, true },
	{ "ping-pong", 2000000, row_ping_pong, true },
	{ "ring-100", 5000000, row_ring_100, true },
	{ "ring-10000", 5000000, row_ring_10000, true },
	{ "big", 1200000, row_big, true },
	{ "spawn", 500000, row_spawn, false },
	{ "idle", 100000, row_idle, false },
	{ "timers-arm", 1000000, row_timers_arm, false },
	{ "timers-cancel", 1000000, row_timers_cancel, false },
	{ "timers-fire", 1000000, row_timers_fire, false },
	{ "latency-sleeping", 2000, row_latency_sleeping, false },
	{ "latency-busy", 2000, row_latency_busy, false },
	{ "soak", 10, row_soak, false },
};

static const struct row *find(const char *name)
{
	for (size_t i = 0; i < CX_COUNTOF(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_runtime ROW [OPS] [same|across|any]\nrows:");
	for (size_t i = 0; i < CX_COUNTOF(rows); i++)
		fprintf(stderr, " %s", rows[i].name);
	fprintf(stderr, "\n");
	return 2;
}

static void print_ns(uint64_t ns, const char *end)
{
	if (ns > 0)
		printf("%" PRIu64, ns);
	printf("%s", end);
}

static void print(const struct row *row, const char *placement, unsigned workers,
                  const struct outcome *out)
{
	const double rate = out->ns == 0 ? (double)out->bytes_each
	                                 : (double)out->ops * 1e9 / (double)out->ns;

	printf("%s\t%s,%" PRIu64 "%s\t%u\t", row->name, placement, out->ops, out->more,
	       workers);
	if (rate > 0)
		printf("%.0f", rate);
	printf("\t");
	print_ns(out->p50_ns, "\t");
	print_ns(out->p99_ns, "\t");
	print_ns(out->p999_ns, "\n");
}

int main(int argc, char **argv)
{
	const struct row *row = argc > 1 ? find(argv[1]) : NULL;
	const char *placement = argc > 3 ? argv[3] : "across";
	const bool is_same = strcmp(placement, "same") == 0;
	const bool is_anywhere = strcmp(placement, "any") == 0;
	struct bench bench = { .workers = is_same ? 1 : 2, .is_anywhere = is_anywhere };
	struct outcome out = { .ops = 0 };

	if (row == NULL || argc > 4 ||
	    (!is_same && !is_anywhere && strcmp(placement, "across") != 0) ||
	    (is_anywhere && !row->can_be_anywhere))
		return usage();
	bench.ops = argc > 2 ? strtoull(argv[2], NULL, 10) : row->ops;
	if (bench.ops == 0)
		return usage();
	row->fn(&bench, &out);
	print(row, placement, bench.workers, &out);
	return 0;
}
