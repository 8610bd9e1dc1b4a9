/* SPDX-License-Identifier: MIT */
/* The built-in event loop: sleeps on an eventfd, watches nothing else. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/internal.h"

struct loop {
	int fd;
};

static enum cx_err loop_open(void *arg, unsigned worker, void **out)
{
	struct loop *loop = malloc(sizeof(*loop));

	(void)arg;
	(void)worker;
	if (loop == NULL)
		return CX_ENOMEM;
	loop->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->fd < 0) {
		free(loop);
		return CX_EIO;
	}
	*out = loop;
	return CX_OK;
}

static void loop_poll(void *arg, int timeout_ms)
{
	struct loop *loop = arg;
	struct pollfd p = { .fd = loop->fd, .events = POLLIN };
	uint64_t n;

	if (timeout_ms == 0)
		return; /* nothing to watch */
	if (poll(&p, 1, timeout_ms) == 1 && read(loop->fd, &n, sizeof(n)) < 0)
		cx_assert(errno == EAGAIN);
}

static void loop_wake(void *arg)
{
	const struct loop *loop = arg;
	const uint64_t one = 1;

	if (write(loop->fd, &one, sizeof(one)) < 0)
		cx_assert(errno == EAGAIN); /* 2^64 - 1 wake-ups wait: it will wake */
}

static void loop_close(void *arg)
{
	struct loop *loop = arg;

	close(loop->fd);
	free(loop);
}

const struct cx_loop_ops cx__loop_ops = { loop_open, loop_poll, loop_wake, loop_close };
