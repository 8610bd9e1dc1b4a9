/* SPDX-License-Identifier: MIT */
/* For tests of gRPC: a service of simple methods, and a server around it in this process. */
#ifndef TESTS_SUPPORT_GRPC_SERVICE_H
#define TESTS_SUPPORT_GRPC_SERVICE_H

#include <cx/runtime.h>

#include "io/grpc_server.h"

#define GRPC_TEST_WORKERS_MAX 8

#define TEST_ECHO "/test.Echo/Echo"   /* the request's bytes */
#define TEST_NEVER "/test.Echo/Never" /* no answer */
#define TEST_LATER "/test.Echo/Later" /* the request's bytes, after 300 ms */
#define TEST_FAIL "/test.Echo/Fail"   /* INVALID_ARGUMENT "gr\xc3\xbc\xc3\x9f 100%" */
#define TEST_BIG "/test.Echo/Big"     /* 1 MiB of 'b' */
#define TEST_DIE "/test.Echo/Die"     /* the service ends */
#define TEST_DOWN "/test.Echo/Down"   /* health of test.Echo: NOT_SERVING, then echo */
#define TEST_BUSY "/test.Echo/Busy"   /* UNAVAILABLE */
/* The request begins with two uint32_t, who and n: empty when n is the next of who from 0, else
 * FAILED_PRECONDITION.  who < GRPC_TEST_WHO_MAX; counted in this process. */
#define TEST_ORDER "/test.Echo/Order"
#define GRPC_TEST_WHO_MAX 256
/* The same, many calls on a stream. */
#define TEST_MANY_ECHO "/test.Echo/ManyEcho"
#define TEST_MANY_NEVER "/test.Echo/ManyNever"
#define TEST_MANY_LATER "/test.Echo/ManyLater"
#define TEST_MANY_FAIL "/test.Echo/ManyFail"
#define TEST_MANY_ORDER "/test.Echo/ManyOrder"
#define TEST_MANY_DIE "/test.Echo/ManyDie"
#define TEST_SUBMIT "/construct.message_gateway.v1.MessageGateway/SubmitMessage" /* success */
#define TEST_CHECK "/construct.message_gateway.v1.MessageGateway/HealthCheck"    /* serving */

struct grpc_test_server {
	struct grpc_server_settings settings;
	struct cx_runtime *rt;
	struct cx_ref servers[GRPC_TEST_WORKERS_MAX];
	struct cx_ref services[GRPC_TEST_WORKERS_MAX];
	uint16_t port;
};

/* Defaults (127.0.0.1, free port, 2 workers); change what the test is about; start.
 * grpc_test_make stops before the runtime runs, so that more actors can be spawned.
 * Returns NULL, or what went wrong. */
void grpc_test_defaults(struct grpc_test_server *s);
const char *grpc_test_make(struct grpc_test_server *s);
const char *grpc_test_run(struct grpc_test_server *s);
void grpc_test_drain(struct grpc_test_server *s);
void grpc_test_stop(struct grpc_test_server *s);

#endif
