/* SPDX-License-Identifier: MIT */
#include "roles/process.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cx/log.h>

#include "io/grpc_server.h"
#include "io/websocket.h"
#include "roles/heap.h"

#define LOOK_MS 10      /* how often the end of the drain is looked for */
#define ECHO_MS 50      /* within it a second signal is the first one once more, */
#define HAND_ON_MS 1000 /* within it one that the parent handed on */
#define RESERVE_MS 2000 /* of DRAIN_SECS, to end the rest in, unless a role needs more */

void process_block_signals(struct process *p)
{
	sigemptyset(&p->signals);
	sigaddset(&p->signals, SIGTERM);
	sigaddset(&p->signals, SIGINT);
	sigaddset(&p->signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &p->signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	p->parent = getppid();
}

void process_share_cpus(void)
{
	const struct sched_param none = { 0 };

	if (sched_getscheduler(0) == SCHED_OTHER &&
	    sched_setscheduler(0, SCHED_BATCH, &none) != 0)
		cx_log(CX_WARN, "relay.scheduling_refused",
		       "error=\"%s\" effect=\"more CPU under load\"", strerror(errno));
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool process_write_port(const char *path, uint16_t port)
{
	char temporary[4200];
	FILE *f;
	bool is_ok;

	if (path == NULL)
		return true;
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	f = fopen(temporary, "we");
	if (f == NULL)
		return false;
	is_ok = fprintf(f, "%u\n", (unsigned)port) > 0;
	is_ok = fclose(f) == 0 && is_ok;
	return is_ok && rename(temporary, path) == 0;
}

static void drain_grpc(struct process *p)
{
	for (unsigned i = 0; i < p->adapter_count && p->grpc_servers != NULL; i++)
		if (grpc_server_listen_post(p->rt, p->grpc_servers[i], GRPC_LISTEN_DRAIN) !=
		    CX_OK)
			cx_log(CX_WARN, "relay.drain_refused", "worker=%u adapter=grpc", i);
}

static unsigned long long still_open(const struct process *p)
{
	struct grpc_server_figures grpc = { 0 };
	struct websocket_figures ws;

	websocket_figures(&ws);
	if (p->grpc_servers != NULL)
		grpc_server_figures(&grpc);
	return (unsigned long long)(ws.open + grpc.open);
}

/* `make run-server` in a group that is ended as a whole: SIGTERM comes from who ends it, and from make. */
static bool is_same_request(const struct process *p, const siginfo_t *info)
{
	const uint64_t since_ms = now_ms() - p->asked_at_ms;
	const bool parent_is_one = (info->si_pid == p->parent) != (p->asked_by == p->parent);

	return since_ms < ECHO_MS || (since_ms < HAND_ON_MS && parent_is_one);
}

static void drain(struct process *p)
{
	const struct timespec look = { .tv_nsec = LOOK_MS * 1000000 };
	const unsigned drain_ms = p->config->drain_secs * 1000;
	const unsigned reserve_ms = p->reserve_ms > 0 ? p->reserve_ms : RESERVE_MS;
	const unsigned limit_ms =
		drain_ms > 2 * reserve_ms ? drain_ms - reserve_ms : drain_ms / 2;

	drain_grpc(p);
	for (unsigned i = 0; i < p->adapter_count; i++)
		if (ws_listen_post(p->rt, p->adapters[i], WS_LISTEN_DRAIN, p->jitter_ms) !=
		    CX_OK)
			cx_log(CX_WARN, "relay.drain_refused", "worker=%u", i);
	for (unsigned ms = 0; ms < limit_ms; ms += LOOK_MS) {
		siginfo_t info;
		const int sig = sigtimedwait(&p->signals, &info, &look);

		if ((sig == SIGTERM || sig == SIGINT) && !is_same_request(p, &info)) {
			cx_log(CX_WARN, "relay.killed", "role=%s", p->role);
			_Exit(1);
		}
		if (still_open(p) == 0)
			return;
	}
	cx_log(CX_WARN, "relay.drain_late", "role=%s clients=%llu", p->role, still_open(p));
}

/* Each port by itself: one that cannot keeps its old pair, and the other gets the new one. */
static void reload(struct process *p)
{
	const char *clients = "", *grpc = "";
	enum cx_err clients_err, grpc_err;

	if (p->config->tls_cert_file == NULL)
		return;
	clients_err = websocket_reload_tls(p->rt, p->adapters, &clients);
	grpc_err = grpc_server_reload_tls(&grpc);
	if (clients_err == CX_OK && grpc_err == CX_OK)
		cx_log(CX_INFO, "tls.reloaded", "role=%s", p->role);
	if (clients_err != CX_OK)
		cx_log(CX_ERROR, "tls.reload_failed", "port=clients error=\"%s\"", clients);
	if (grpc_err != CX_OK)
		cx_log(CX_ERROR, "tls.reload_failed", "port=grpc error=\"%s\"", grpc);
}

static void look_at_heap(struct heap_watch *heap)
{
	struct websocket_figures f;
	struct heap_load load;

	websocket_figures(&f);
	load = (struct heap_load){ .sockets = f.accepted + f.established - f.open,
		                   .frames = f.frames_in };
	if (heap_is_due(heap, &load, now_ms()))
		heap_give_back();
}

void process_serve(struct process *p)
{
	const struct timespec wait = { .tv_sec = HEAP_LOOK_MS / 1000 };
	struct heap_watch heap = { .given_at_ms = 0 };

	for (;;) {
		siginfo_t info;
		const int sig = sigtimedwait(&p->signals, &info, &wait);

		if (sig < 0) {
			look_at_heap(&heap);
		} else if (sig == SIGHUP) {
			reload(p);
		} else if (sig > 0) {
			p->asked_by = info.si_pid;
			p->asked_at_ms = now_ms();
			break;
		}
	}
	cx_log(CX_INFO, "relay.draining", "role=%s", p->role);
	drain(p);
}
