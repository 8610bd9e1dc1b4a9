/* SPDX-License-Identifier: MIT */
/* The whole relay in the simulator: the real actors of a message's way between a fake log, fake sockets
 * and clients that judge what they get.
 *
 *   relay_sim FIRST COUNT          seeds FIRST .. FIRST+COUNT-1; last line `sim: N passed, N failed`
 *   relay_sim --trace SEED         that one, its trace on standard output
 *
 * One run: faults for a while (refused sends, lost pushes, commits that fail, connections that break,
 * sessions that end elsewhere, the process killed and started again on the same disk, wall clock jumps), then quiet until all
 * has settled, then one message that has to come to every connection at once.  Held all the time, on each
 * of a user's connections: G1 to G4, G7 and the promises about answers (protocol.md, "What an answer
 * means" 1 to 5; judge.h has them as rules), and that it ends with its session; at the end: nothing accepted is undelivered, unsettled or
 * unreported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cx/log.h>

#include "sim/run.h"
#include "sim/world.h"

static bool run_and_tell(uint64_t seed, FILE *trace)
{
	const bool is_good = run_seed(seed, trace);

	if (!is_good)
		printf("FAIL seed %llu: %s\n", (unsigned long long)seed, world.broken);
	return is_good;
}

int main(int argc, char **argv)
{
	const uint64_t first = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
	const uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	uint64_t failed = 0, received = 0, cuts = 0, lost = 0, refused = 0, failures = 0,
		 reads = 0, displaced = 0, ended = 0;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	if (argc == 3 && strcmp(argv[1], "--trace") == 0)
		return run_and_tell(count, stdout) ? 0 : 1;
	if (argc != 3 || count == 0) {
		fprintf(stderr, "usage: relay_sim FIRST COUNT | --trace SEED\n");
		return 2;
	}
	for (uint64_t seed = first; seed < first + count; seed++) {
		failed += !run_and_tell(seed, NULL);
		received += world.received;
		cuts += world.cuts;
		displaced += world.displaced;
		ended += world.ended;
		lost += world.lost;
		refused += world.refused;
		failures += world.failed_commits;
		reads += world.failed_reads;
	}
	printf("sim: seeds %llu to %llu: %llu messages, %llu connections cut, %llu displaced,"
	       " %llu sessions ended, %llu pushes lost, %llu sends refused, %llu commits and "
	       "%llu reads failed\n",
	       (unsigned long long)first, (unsigned long long)(first + count - 1),
	       (unsigned long long)received, (unsigned long long)cuts,
	       (unsigned long long)displaced, (unsigned long long)ended,
	       (unsigned long long)lost, (unsigned long long)refused,
	       (unsigned long long)failures, (unsigned long long)reads);
	printf("sim: %llu passed, %llu failed\n", (unsigned long long)(count - failed),
	       (unsigned long long)failed);
	return failed == 0 ? 0 : 1;
}
