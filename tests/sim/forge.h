/* SPDX-License-Identifier: MIT */
/* What a user may not do and tries: frames in the name of another, or about what is another's (G6). */
#ifndef TESTS_SIM_FORGE_H
#define TESTS_SIM_FORGE_H

#include <cx/actor.h>

/* An acknowledgement by user `number` of a stored message to another.
 * Returns the frame's length; 0: there is none. */
size_t forge_acknowledge(struct cx_ctx *ctx, uint32_t number, uint8_t *frame, size_t room);

/* A message that another is to send soon, sent by user `number` with the other's id and name: it would
 * take the place of the true one.
 * Returns the frame's length; 0: there is none. */
size_t forge_message(struct cx_ctx *ctx, uint32_t number, uint8_t *frame, size_t room);

#endif
