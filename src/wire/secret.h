/* SPDX-License-Identifier: MIT */
/* Random bytes for secrets, and their end. */
#ifndef WIRE_SECRET_H
#define WIRE_SECRET_H

#include <stddef.h>

/* From the system's generator; aborts when it has none to give. */
void secret_random(void *out, size_t len);
/* Overwrites, and the compiler may not leave it out. */
void secret_wipe(void *bytes, size_t len);

#endif
