/* SPDX-License-Identifier: MIT */
/* For tests that start a server program: a port of 127.0.0.1 that is this process's own until it ends.
 * One that was only found free may be taken by a test beside us before the server listens, or while it
 * is being restarted; then two tests talk to one server. */
#ifndef TESTS_SUPPORT_HELD_PORT_H
#define TESTS_SUPPORT_HELD_PORT_H

#include <stdint.h>

/* A program that sets SO_REUSEADDR, as servers do, may listen on it; the system gives it to nobody who
 * asks for any port. */
uint16_t held_port(void);

#endif
