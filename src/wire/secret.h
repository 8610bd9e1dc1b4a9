/* SPDX-License-Identifier: MIT */
/* Random bytes for secrets, and their end. */
#ifndef WIRE_SECRET_H
#define WIRE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Once, before threads are started: picks the fastest implementations of libsodium.  false: the
 * library cannot be used here. */
bool secret_init(void);

/* From the system's generator; aborts when it has none to give. */
void secret_random(void *out, size_t len);
/* Overwrites, and the compiler may not leave it out. */
void secret_wipe(void *bytes, size_t len);

#endif
