/* SPDX-License-Identifier: MIT */
/* `construct bench URL`: the load generator.  See bench_conf.c for its options. */
#ifndef CONSTRUCT_ROLES_BENCH_H
#define CONSTRUCT_ROLES_BENCH_H

/* Runs it: argv[0] is the word "bench".
 * Returns the exit code: 0; 1 when a guarantee was broken (a message lost, repeated, out of
 * order, without an answer) or the server could not be used; 2 for a wrong option. */
int bench_main(int argc, char **argv);

#endif
