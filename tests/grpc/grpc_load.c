/* SPDX-License-Identifier: MIT */
/* Calls of our client against a server of test.Echo (bench/grpc.py).
 *
 *   grpc_load URL CALLS IN_FLIGHT BYTES
 *
 * One worker, one connection; prints "calls N failed N seconds S cpu_seconds S". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cx/runtime.h>

#include "io/grpc_client.h"
#include "io/loop_uv.h"
#include "support/grpc_service.h"

#define TIMEOUT_MS 20000

static struct {
	struct cx_ref client;
	struct cx_buf *buf;
	unsigned left, in_flight, done, failed;
	int is_over; /* read by main */
	uint64_t began_ns, ended_ns;
} run;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void call(struct cx_ctx *ctx)
{
	uint64_t corr;

	if (run.left == 0)
		return;
	run.left--;
	run.in_flight++;
	if (grpc_call(ctx, run.client, TEST_ECHO, run.buf, TIMEOUT_MS, &corr) != CX_OK)
		abort();
}

static void next(struct cx_ctx *ctx)
{
	run.in_flight--;
	run.done++;
	call(ctx);
	if (run.in_flight == 0) {
		run.ended_ns = now_ns();
		__atomic_store_n(&run.is_over, 1, __ATOMIC_SEQ_CST);
	}
}

static void on_result(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	run.failed += CX_MSG_AS(struct grpc_result, msg)->status != GRPC_OK;
	next(ctx);
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	run.failed++;
	next(ctx);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	const unsigned in_flight = *(const unsigned *)conf;

	(void)state;
	run.began_ns = now_ns();
	for (unsigned i = 0; i < in_flight; i++)
		call(ctx);
	return CX_OK;
}

static const struct cx_handler handlers[] = {
	CX_ON(GRPC_RESULT, struct grpc_result, on_result),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

static const struct cx_actor_type load_type = {
	.name = "load",
	.state_size = 1,
	.conf_size = sizeof(unsigned),
	.mailbox_cap = 65536,
	.placement = CX_PLACE_IO,
	.start = start,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	const struct cx_runtime_conf conf = { .workers = 1, .loop = &loop_uv_ops };
	struct grpc_client_conf client = { .connections = 1 };
	struct cx_runtime *rt;
	struct cx_ref load;
	unsigned in_flight;

	if (argc != 5) {
		fprintf(stderr, "usage: grpc_load URL CALLS IN_FLIGHT BYTES\n");
		return 2;
	}
	client.targets = argv[1];
	run.left = (unsigned)atoi(argv[2]);
	in_flight = (unsigned)atoi(argv[3]);
	run.buf = cx_buf_new((size_t)atoi(argv[4]));
	memset(cx_buf_data(run.buf), 'x', cx_buf_len(run.buf));
	if (cx_runtime_new(&conf, &rt) != CX_OK ||
	    cx_runtime_spawn(rt, &grpc_client_type, &client, 0, &run.client) != CX_OK ||
	    cx_runtime_spawn(rt, &load_type, &in_flight, 0, &load) != CX_OK ||
	    cx_runtime_start(rt) != CX_OK)
		return 1;
	while (!__atomic_load_n(&run.is_over, __ATOMIC_SEQ_CST))
		usleep(1000);
	printf("calls %u failed %u seconds %.4f cpu_seconds %.4f\n", run.done, run.failed,
	       (double)(run.ended_ns - run.began_ns) / 1e9, cpu_seconds());
	cx_buf_unref(run.buf);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	return run.failed != 0;
}
