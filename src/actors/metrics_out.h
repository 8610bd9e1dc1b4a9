/* SPDX-License-Identifier: MIT */
/* Shared by metrics.c and metrics_stack.c; nobody else includes this. */
#ifndef ACTORS_METRICS_OUT_H
#define ACTORS_METRICS_OUT_H

#include "actors/metrics.h"

#define METRICS_TEXT_MAX 262144

struct metrics_out {
	char *at; /* METRICS_TEXT_MAX bytes */
	size_t len;
};

void metrics_add(struct metrics_out *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void metrics_head(struct metrics_out *t, const char *name, const char *type, const char *help);
void metrics_one(struct metrics_out *t, const char *name, const char *type, const char *help,
                 uint64_t value);

/* metrics_stack.c: backends of a deployment, and the actors that only it has. */
void metrics_add_stack(struct metrics_out *t, const struct metrics_kafka *kafka);

#endif
