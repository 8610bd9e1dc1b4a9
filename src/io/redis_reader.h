/* SPDX-License-Identifier: MIT */
/* Bytes of a Redis server in, replies in the compact form (redis_value.c) out.  hiredis takes the
 * protocol (RESP2) apart; what a hostile server could make grow is capped here:
 * REDIS_ANSWER_BYTES_MAX a reply, REDIS_ELEMENTS_MAX an array, 64 KiB a line, 7 levels. */
#ifndef IO_REDIS_READER_H
#define IO_REDIS_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cx/err.h>

struct redis_reader;

/* One whole reply; bytes are borrowed until it returns.  False: the server must not say this. */
typedef bool redis_reader_fn(void *arg, const uint8_t *bytes, size_t len);

struct redis_reader *redis_reader_new(void);
void redis_reader_free(struct redis_reader *reader);

/* Calls fn for each reply that these bytes complete.
 * Returns CX_EPROTO: no reply, over a limit, or fn said so; the reader is of no more use. */
CX_NODISCARD enum cx_err redis_reader_feed(struct redis_reader *reader, const void *bytes,
                                           size_t len, redis_reader_fn *fn, void *arg);

#endif
