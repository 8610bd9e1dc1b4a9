/* SPDX-License-Identifier: MIT */
/* The actor runtime alone, row by row; its peers beside this file do the same work.
 *
 *   bench_runtime ROW [OPS] [same|across]
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
 * big, spawn, timers, receivers of fan-out and fork-join: half of them on each).
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
} rows[] = {
	{ "count", 10000000, row_count },
	{ "fan-in", 10000000, row_fan_in },
	{ "fan-out", 10000000, row_fan_out },
	{ "fork-join", 6400000, row_fork_join },
	{ "ping-pong", 2000000, row_ping_pong },
	{ "ring-100", 5000000, row_ring_100 },
	{ "ring-10000", 5000000, row_ring_10000 },
	{ "big", 1200000, row_big },
	{ "spawn", 500000, row_spawn },
	{ "idle", 100000, row_idle },
	{ "timers-arm", 1000000, row_timers_arm },
	{ "timers-cancel", 1000000, row_timers_cancel },
	{ "timers-fire", 1000000, row_timers_fire },
	{ "latency-sleeping", 2000, row_latency_sleeping },
	{ "latency-busy", 2000, row_latency_busy },
	{ "soak", 10, row_soak },
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
	fprintf(stderr, "usage: bench_runtime ROW [OPS] [same|across]\nrows:");
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

static void print(const struct row *row, const struct bench *b, const struct outcome *out)
{
	const double rate = out->ns == 0 ? (double)out->bytes_each
	                                 : (double)out->ops * 1e9 / (double)out->ns;

	printf("%s\t%s,%" PRIu64 "%s\t%u\t", row->name, b->workers == 1 ? "same" : "across",
	       out->ops, out->more, b->workers);
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
	struct bench bench = { .workers = strcmp(placement, "same") == 0 ? 1 : 2 };
	struct outcome out = { .ops = 0 };

	if (row == NULL || argc > 4 || (bench.workers == 2 && strcmp(placement, "across") != 0))
		return usage();
	bench.ops = argc > 2 ? strtoull(argv[2], NULL, 10) : row->ops;
	if (bench.ops == 0)
		return usage();
	row->fn(&bench, &out);
	print(row, &bench, &out);
	return 0;
}
