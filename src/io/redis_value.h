/* SPDX-License-Identifier: MIT */
/* Walking replies that are not in a cx_buf: for the adapter itself. */
#ifndef IO_REDIS_VALUE_H
#define IO_REDIS_VALUE_H

#include "io/redis.h"

/* Keeps: borrows the bytes as long as the walk and its values are used. */
struct redis_walk redis_walk_bytes(const void *at, size_t len);

#endif
