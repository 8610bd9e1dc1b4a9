/* SPDX-License-Identifier: MIT */
#include "io/loop_uv.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <uv.h>

#define WORKERS_MAX 64

struct loop {
	uv_loop_t uv; /* first: the loop handed out is this */
	uv_poll_t wake;
	uv_timer_t timeout;
	int wake_fd;
	unsigned worker;
	void (*leave)(void *arg);
	void *leave_arg;
};

static struct loop *loops[WORKERS_MAX]; /* written by open and close only */

static void end_turn(struct loop *l)
{
	void (*const leave)(void *arg) = l->leave;

	if (leave == NULL)
		return;
	l->leave = NULL;
	leave(l->leave_arg);
}

static void on_wake(uv_poll_t *handle, int status, int events)
{
	const struct loop *l = handle->data;
	uint64_t count;

	(void)status;
	(void)events;
	if (read(l->wake_fd, &count, sizeof(count)) < 0)
		return; /* EAGAIN: a wake-up that an earlier read took along */
}

/* Only there to end the wait. */
static void on_timeout(uv_timer_t *handle)
{
	(void)handle;
}

static enum cx_err start_handles(struct loop *l)
{
	int err;

	if (uv_timer_init(&l->uv, &l->timeout) != 0)
		return CX_EIO;
	err = uv_poll_init(&l->uv, &l->wake, l->wake_fd);
	if (err == 0) {
		l->wake.data = l;
		err = uv_poll_start(&l->wake, UV_READABLE, on_wake);
	}
	return err == 0 ? CX_OK : CX_EIO;
}

static enum cx_err loop_open(void *arg, unsigned worker, void **out)
{
	struct loop *l;

	(void)arg;
	if (worker >= WORKERS_MAX)
		return CX_EINVAL;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return CX_ENOMEM;
	l->worker = worker;
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->wake_fd < 0)
		goto free_loop;
	if (uv_loop_init(&l->uv) != 0)
		goto close_fd;
	if (start_handles(l) != CX_OK)
		goto close_uv;
	loops[worker] = l;
	*out = &l->uv;
	return CX_OK;
close_uv:
	uv_run(&l->uv, UV_RUN_NOWAIT);
	uv_loop_close(&l->uv);
close_fd:
	close(l->wake_fd);
free_loop:
	free(l);
	return CX_EIO;
}

static void loop_poll(void *loop, int timeout_ms)
{
	struct loop *l = loop;

	if (timeout_ms == 0) {
		uv_run(&l->uv, UV_RUN_NOWAIT);
	} else if (timeout_ms < 0) {
		uv_run(&l->uv, UV_RUN_ONCE);
	} else {
		uv_update_time(&l->uv); /* else the wait is shorter by the turns since */
		uv_timer_start(&l->timeout, on_timeout, (uint64_t)timeout_ms, 0);
		uv_run(&l->uv, UV_RUN_ONCE);
		uv_timer_stop(&l->timeout);
	}
	end_turn(l);
}

static void loop_wake(void *loop)
{
	const struct loop *l = loop;
	const uint64_t one = 1;

	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: the counter is full, so it is awake */
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* What the adapters closed in their last turn still needs the loop to come round. */
static void loop_close(void *loop)
{
	struct loop *l = loop;

	uv_close((uv_handle_t *)&l->wake, NULL);
	uv_close((uv_handle_t *)&l->timeout, NULL);
	for (int turns = 0; turns < 100 && uv_run(&l->uv, UV_RUN_NOWAIT) != 0; turns++)
		end_turn(l);
	uv_walk(&l->uv, close_handle, NULL);
	uv_run(&l->uv, UV_RUN_NOWAIT);
	cx_assert(uv_loop_close(&l->uv) == 0);
	close(l->wake_fd);
	loops[l->worker] = NULL;
	free(l);
}

const struct cx_loop_ops loop_uv_ops = {
	.open = loop_open,
	.poll = loop_poll,
	.wake = loop_wake,
	.close = loop_close,
};

uv_loop_t *loop_uv_of(unsigned worker)
{
	return worker < WORKERS_MAX && loops[worker] != NULL ? &loops[worker]->uv : NULL;
}

void loop_uv_at_end(uv_loop_t *loop, void (*leave)(void *arg), void *arg)
{
	struct loop *l = (struct loop *)(void *)loop;

	end_turn(l);
	l->leave = leave;
	l->leave_arg = arg;
}
