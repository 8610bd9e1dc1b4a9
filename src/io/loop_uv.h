/* SPDX-License-Identifier: MIT */
/* libuv as the workers' event loop: one uv_loop_t a worker, woken by its own eventfd. */
#ifndef IO_LOOP_UV_H
#define IO_LOOP_UV_H

#include <cx/runtime.h>

/* cx_worker_loop() is then the uv_loop_t. arg: unused. */
extern const struct cx_loop_ops loop_uv_ops;

#endif
