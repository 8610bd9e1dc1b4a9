/* SPDX-License-Identifier: MIT */
/* Commands as bytes: RESP2 arrays of strings.
 * Algorithm: redis.io, "Redis serialization protocol specification". */
#ifndef IO_REDIS_REQUEST_H
#define IO_REDIS_REQUEST_H

#include "io/redis.h"

#define REDIS_HEAD_BYTES_MAX 16 /* of an array or a string: sign, digits, CR LF */

/* "*12\r\n" or "$12\r\n"; returns its length. */
size_t redis_head_write(uint8_t *to, char sign, size_t n);

/* Bytes of the strings alone, then with the array's head. */
size_t redis_args_size(const struct redis_arg *argv, unsigned n);
size_t redis_request_size(const struct redis_arg *argv, unsigned n);

/* Write exactly that many; return the end. */
uint8_t *redis_args_write(uint8_t *to, const struct redis_arg *argv, unsigned n);
uint8_t *redis_request_write(uint8_t *to, const struct redis_arg *argv, unsigned n);

#endif
