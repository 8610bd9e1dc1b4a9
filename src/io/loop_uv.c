/* SPDX-License-Identifier: MIT */
#include "io/loop_uv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <uv.h>

#define WORKERS_MAX 64
#define EVENTS_A_POLL \
	32 /* few, so that what one poll read is still in the cache for its actors */

struct loop {
	uv_loop_t uv; /* first: the loop handed out is this */
	int epoll_fd;
	struct loop_watch wake;  /* an eventfd */
	struct loop_watch inner; /* libuv's own epoll descriptor */
	bool inner_is_ready;
	struct epoll_event *batch; /* what this poll got, from the next one on */
	int batch_left;
	unsigned worker;
	void (*leave)(void *arg);
	void *leave_arg;
};

static struct loop *loops[WORKERS_MAX]; /* written by open and close only */

static struct loop *loop_of(uv_loop_t *uv)
{
	return (struct loop *)(void *)uv;
}

static void end_turn(struct loop *l)
{
	void (*const leave)(void *arg) = l->leave;

	if (leave == NULL)
		return;
	l->leave = NULL;
	leave(l->leave_arg);
}

static void on_wake(struct loop_watch *watch, unsigned events)
{
	uint64_t count;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return; /* EAGAIN: a wake-up that an earlier read took along */
}

static void on_inner(struct loop_watch *watch, unsigned events)
{
	struct loop *l =
		(struct loop *)(void *)((uint8_t *)watch - offsetof(struct loop, inner));

	(void)events;
	l->inner_is_ready = true;
}

/* The events of this batch that were not looked at yet must not reach a dead watch. */
static void forget(struct loop *l, const struct loop_watch *watch)
{
	for (int i = 0; i < l->batch_left; i++)
		if (l->batch[i].data.ptr == watch)
			l->batch[i].data.ptr = NULL;
}

enum cx_err loop_uv_watch(uv_loop_t *loop, struct loop_watch *watch, unsigned events)
{
	struct loop *l = loop_of(loop);
	struct epoll_event ev = {
		.events = (events & LOOP_READABLE ? EPOLLIN : 0u) |
		          (events & LOOP_WRITABLE ? EPOLLOUT : 0u),
		.data = { .ptr = watch },
	};
	const int op = events == 0          ? EPOLL_CTL_DEL
	               : watch->events == 0 ? EPOLL_CTL_ADD
	                                    : EPOLL_CTL_MOD;

	if (events == watch->events)
		return CX_OK;
	if (epoll_ctl(l->epoll_fd, op, watch->fd, &ev) != 0) {
		cx_assert(errno == ENOMEM || errno == ENOSPC);
		return CX_ENOMEM;
	}
	if (events == 0)
		forget(l, watch);
	watch->events = events;
	return CX_OK;
}

static enum cx_err open_fds(struct loop *l)
{
	enum cx_err err;

	l->wake = (struct loop_watch){ .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
		                       .fn = on_wake };
	l->inner = (struct loop_watch){ .fd = uv_backend_fd(&l->uv), .fn = on_inner };
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0 || l->wake.fd < 0)
		return CX_EIO;
	err = loop_uv_watch(&l->uv, &l->wake, LOOP_READABLE);
	if (err == CX_OK)
		err = loop_uv_watch(&l->uv, &l->inner, LOOP_READABLE);
	return err;
}

static void close_fds(struct loop *l)
{
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	if (l->wake.fd >= 0)
		close(l->wake.fd);
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
	if (uv_loop_init(&l->uv) != 0)
		goto free_loop;
	if (open_fds(l) != CX_OK)
		goto close_uv;
	loops[worker] = l;
	*out = &l->uv;
	return CX_OK;
close_uv:
	close_fds(l);
	uv_loop_close(&l->uv);
free_loop:
	free(l);
	return CX_EIO;
}

/* How long the poll may wait, with libuv's timers and what it has to do at once. */
static int wait_ms(struct loop *l, int timeout_ms)
{
	int inner_ms;

	if (timeout_ms == 0)
		return 0;
	uv_update_time(&l->uv);
	inner_ms = uv_backend_timeout(&l->uv);
	return inner_ms >= 0 && (timeout_ms < 0 || inner_ms < timeout_ms) ? inner_ms
	                                                                  : timeout_ms;
}

static unsigned events_of(const struct loop_watch *watch, uint32_t got)
{
	unsigned events = 0;

	if (got & (EPOLLERR | EPOLLHUP))
		return LOOP_READABLE | (watch->events & LOOP_WRITABLE);
	if (got & EPOLLIN)
		events |= LOOP_READABLE;
	if (got & EPOLLOUT)
		events |= LOOP_WRITABLE;
	return events;
}

static void loop_poll(void *loop, int timeout_ms)
{
	struct loop *l = loop;
	struct epoll_event events[EVENTS_A_POLL];
	const int n = epoll_wait(l->epoll_fd, events, EVENTS_A_POLL, wait_ms(l, timeout_ms));

	l->batch = events;
	for (int i = 0; i < n; i++) {
		struct loop_watch *watch = events[i].data.ptr;

		l->batch = &events[i + 1];
		l->batch_left = n - i - 1;
		if (watch != NULL)
			watch->fn(watch, events_of(watch, events[i].events));
	}
	l->batch_left = 0;
	if (l->inner_is_ready || uv_backend_timeout(&l->uv) == 0) {
		l->inner_is_ready = false;
		uv_run(&l->uv, UV_RUN_NOWAIT);
	}
	end_turn(l);
}

static void loop_wake(void *loop)
{
	const struct loop *l = loop;
	const uint64_t one = 1;

	if (write(l->wake.fd, &one, sizeof(one)) < 0)
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

	for (int turns = 0; turns < 100 && uv_run(&l->uv, UV_RUN_NOWAIT) != 0; turns++)
		end_turn(l);
	uv_walk(&l->uv, close_handle, NULL);
	uv_run(&l->uv, UV_RUN_NOWAIT);
	cx_assert(uv_loop_close(&l->uv) == 0);
	close_fds(l);
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
	struct loop *l = loop_of(loop);

	end_turn(l);
	l->leave = leave;
	l->leave_arg = arg;
}

void loop_uv_end_turn(uv_loop_t *loop)
{
	end_turn(loop_of(loop));
}
