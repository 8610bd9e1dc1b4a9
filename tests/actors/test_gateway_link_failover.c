/* SPDX-License-Identifier: MIT */
/* Three gateways, each a process with a real gRPC server; one is killed under load, one told to end.
 * They share a log, as gateways do: a message is durable when it is in it, an id counts once. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "actors/link_fixture.h"
#include "actors/submissions.h"
#include "wire/submission.h"

#define GATEWAYS 3
#define HOLD_MS 10 /* between being durable and the answer */
#define HELD_MAX 4096

static struct shared {
	uint32_t clock;
	uint32_t at[SENDERS][EACH]; /* when it became durable; 0: never */
	uint32_t duplicates;
	uint32_t taken[GATEWAYS];
	uint32_t is_doomed[GATEWAYS]; /* dies with the next messages durable and not answered */
	uint16_t ports[GATEWAYS];
} * shared;

static uint32_t number; /* of this gateway */

/* ---- a gateway ---- */

struct held {
	struct grpc_handle handle;
	enum error_code code;
};

struct service {
	struct held held[HELD_MAX];
	uint32_t count;
	struct cx_timer timer;
};

static void on_call(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct grpc_call *call = CX_MSG_AS(struct grpc_call, msg);
	const struct wire_slice bytes =
		wire_slice(cx_buf_bytes(msg->buf), cx_buf_len(msg->buf));
	struct service *s = state;
	struct submission sub;
	uint32_t sender, none = 0;
	bool is_new;

	cx_assert(submission_read(bytes, &sub) == ERROR_NONE && s->count < HELD_MAX);
	memcpy(&sender, sub.message.from.user.b, sizeof(sender));
	is_new = __atomic_compare_exchange_n(
		&shared->at[sender][sub.message.message_number], &none,
		__atomic_add_fetch(&shared->clock, 1, __ATOMIC_SEQ_CST), false,
		__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	submission_free(&sub);
	if (!is_new)
		__atomic_fetch_add(&shared->duplicates, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&shared->taken[number], 1, __ATOMIC_SEQ_CST);
	s->held[s->count++] =
		(struct held){ call->handle, is_new ? ERROR_NONE : ERROR_DUPLICATE_MESSAGE };
	if (!cx_timer_is_armed(&s->timer))
		cx_timer_arm(ctx, &s->timer, HOLD_MS, TIMER_A);
}

static void on_timer(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct service *s = state;
	uint8_t out[SUBMISSION_RESPONSE_MAX];

	(void)msg;
	if (__atomic_load_n(&shared->is_doomed[number], __ATOMIC_SEQ_CST))
		kill(getpid(), SIGKILL);
	for (uint32_t i = 0; i < s->count; i++) {
		struct cx_buf *buf =
			cx_buf_copy(out, submission_response(out, s->held[i].code, NULL));

		cx_assert(grpc_reply(ctx, s->held[i].handle, GRPC_OK, NULL, buf) == CX_OK);
		cx_buf_unref(buf);
	}
	s->count = 0;
}

static const struct cx_handler service_handlers[] = {
	CX_ON(GRPC_CALL, struct grpc_call, on_call),
	CX_ON(TIMER_A, struct cx_msg_timer, on_timer),
};

static const struct cx_actor_type service_type = {
	.name = "test_service",
	.state_size = sizeof(struct service),
	.mailbox_cap = 16384,
	.placement = CX_PLACE_IO,
	.handlers = service_handlers,
	.handler_count = CX_COUNTOF(service_handlers),
};

/* Runs until it is killed; SIGUSR1: drains. */
static void be_gateway(void)
{
	const struct cx_runtime_conf conf = { .workers = 1, .loop = &loop_uv_ops };
	struct cx_ref service, server;
	const struct grpc_server_settings settings = { .bind = "127.0.0.1",
		                                       .workers = 1,
		                                       .methods = submissions_methods,
		                                       .method_count = SUBMISSIONS_METHODS,
		                                       .service = &service };
	struct cx_runtime *rt;
	const char *why;
	sigset_t set;
	int signo;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	cx_assert(cx_runtime_new(&conf, &rt) == CX_OK);
	cx_assert(grpc_server_setup(&settings, &shared->ports[number], &why) == CX_OK);
	cx_assert(cx_runtime_spawn(rt, &service_type, NULL, 0, &service) == CX_OK);
	cx_assert(cx_runtime_spawn(rt, &grpc_server_type, NULL, 0, &server) == CX_OK);
	cx_assert(cx_runtime_start(rt) == CX_OK);
	cx_assert(grpc_server_listen_post(rt, server, GRPC_LISTEN_START) == CX_OK);
	while (sigwait(&set, &signo) == 0)
		cx_assert(grpc_server_listen_post(rt, server, GRPC_LISTEN_DRAIN) == CX_OK);
	_exit(1);
}

/* ---- the test ---- */

static pid_t pids[GATEWAYS];

static void set_up(void)
{
	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	              -1, 0);
	cr_assert(shared != MAP_FAILED);
	for (number = 0; number < GATEWAYS; number++) {
		pids[number] = fork();
		if (pids[number] == 0)
			be_gateway();
		for (int i = 0; i < 5000 && *(volatile uint16_t *)&shared->ports[number] == 0;
		     i++)
			usleep(1000);
		cr_assert(shared->ports[number] != 0);
	}
}

static void tear_down(void)
{
	for (int i = 0; i < GATEWAYS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

TestSuite(gateway_link_failover, .init = set_up, .fini = tear_down, .timeout = 90);

static void each_is_durable_once_and_in_order(void)
{
	for (uint32_t sender = 0; sender < SENDERS; sender++) {
		cr_assert(shared->at[sender][0] != 0);
		for (uint32_t n = 1; n < EACH; n++)
			cr_assert(shared->at[sender][n] > shared->at[sender][n - 1],
			          "message %u of %u is durable before the one before it", n,
			          sender);
	}
}

Test(gateway_link_failover, nothing_is_lost_or_out_of_order_when_gateways_die_under_load)
{
	const struct cx_runtime_conf conf = { .workers = 2, .loop = &loop_uv_ops };
	struct gateway_link_figures f;
	struct cx_runtime *rt;
	struct cx_ref ref;
	char targets[200];

	snprintf(targets, sizeof(targets),
	         "http://127.0.0.1:%u,http://127.0.0.1:%u,http://127.0.0.1:%u",
	         shared->ports[0], shared->ports[1], shared->ports[2]);
	cr_assert(cx_runtime_new(&conf, &rt) == CX_OK);
	ref = spawn_near(rt, 2, targets);
	cr_assert(cx_runtime_start(rt) == CX_OK);
	begin(rt, ref);
	await_answers(TOTAL / 4);
	__atomic_store_n(&shared->is_doomed[0], 1, __ATOMIC_SEQ_CST);
	await_answers(TOTAL / 2);
	kill(pids[1], SIGUSR1);
	await_answers(TOTAL * 5 / 8);
	kill(pids[1], SIGKILL);
	await_answers(TOTAL);
	gateway_link_figures(&f);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	cr_log_info("%u answers, %u failed, %llu calls lost, %u duplicates, slowest %u ms; "
	            "taken %u %u %u",
	            users.total, users.failed, (unsigned long long)f.lost, shared->duplicates,
	            users.longest_ms, shared->taken[0], shared->taken[1], shared->taken[2]);
	cr_assert(users.total == TOTAL, "each has one answer");
	cr_assert(users.wrong == 0, "answers come in order");
	cr_assert(users.failed == 0);
	each_is_durable_once_and_in_order();
	cr_assert(f.lost > 0 && shared->duplicates > 0, "the kill hit calls under way");
	cr_assert(f.calls == f.submitted + f.lost && f.in_flight == 0);
}
