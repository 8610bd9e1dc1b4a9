/* SPDX-License-Identifier: MIT */
/* `construct probe URL`: does a server do what it promises?  Two throw-away users, each step
 * with its latency, everything deleted at the end. */
#ifndef CONSTRUCT_ROLES_PROBE_H
#define CONSTRUCT_ROLES_PROBE_H

/* Runs it: argv[0] is the word "probe".
 * Returns the exit code: 0 every step was as it must be, 1 one was not, 2 a wrong option. */
int probe_main(int argc, char **argv);

#endif
