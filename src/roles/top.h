/* SPDX-License-Identifier: MIT */
/* construct top: the figures of a running relay, live on a terminal, once as a table, or as JSON. */
#ifndef CONSTRUCT_ROLES_TOP_H
#define CONSTRUCT_ROLES_TOP_H

/* argv[0] is "top".  Returns the exit code: 1 when no relay answers, 2 for wrong arguments. */
int top_main(int argc, char **argv);

#endif
