/* SPDX-License-Identifier: MIT */
/* All figures as text: Prometheus exposition format 0.0.4.  No identifier of a user in it. */
#ifndef ACTORS_METRICS_H
#define ACTORS_METRICS_H

#include <cx/buf.h>
#include <cx/runtime.h>

/* Returns a reference, the caller's.  Thread: any. */
struct cx_buf *metrics_text(struct cx_runtime *rt);

#endif
