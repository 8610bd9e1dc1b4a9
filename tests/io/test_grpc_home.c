/* SPDX-License-Identifier: MIT */
/* Which address the calls of an affinity go to: the same one from every process. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "io/grpc_client_internal.h"
#include "support/grpc_service.h"

#define AFFINITIES 200

/* A client whose connections are there, without the servers. */
static struct grpc_client made[2];
static nghttp2_session_callbacks *callbacks;

static void put(struct grpc_client *g, size_t slot, uint64_t place)
{
	struct grpc_client_conn *const c = &g->slots[slot];

	c->place = place;
	c->state = GRPC_CONN_READY;
	cr_assert(nghttp2_session_client_new(&c->t.session, callbacks, c) == 0);
}

static uint64_t home(struct grpc_client *g, uint64_t affinity)
{
	const struct grpc_lane lane = { .affinity = affinity };
	const struct grpc_client_conn *const c = grpc_lane_pick(g, &lane);

	return c != NULL ? c->place : 0;
}

static void set_up(void)
{
	cr_assert(nghttp2_session_callbacks_new(&callbacks) == 0);
	memset(made, 0, sizeof(made));
	for (size_t i = 0; i < 3; i++) {
		put(&made[0], i, 101 + i);
		put(&made[1], 5 - i, 101 + i); /* in another order */
	}
	put(&made[1], 6, 102); /* and two to one of them */
}

static void tear_down(void)
{
	for (size_t g = 0; g < 2; g++)
		for (size_t i = 0; i < GRPC_SLOTS_MAX; i++)
			nghttp2_session_del(made[g].slots[i].t.session);
	nghttp2_session_callbacks_del(callbacks);
}

TestSuite(grpc_home, .init = set_up, .fini = tear_down, .timeout = 30);

Test(grpc_home, two_clients_choose_the_same_address_and_use_all)
{
	uint32_t share[3] = { 0 };

	for (uint64_t a = 1; a <= AFFINITIES; a++) {
		const uint64_t place = home(&made[0], a * 7919);

		cr_assert(place == home(&made[1], a * 7919), "of %u", (unsigned)a);
		share[place - 101]++;
	}
	for (int i = 0; i < 3; i++)
		cr_assert(share[i] > AFFINITIES / 6, "%u", share[i]);
}

Test(grpc_home, an_address_that_goes_down_moves_its_own_affinities_alone)
{
	for (uint64_t a = 1; a <= AFFINITIES; a++) {
		const uint64_t before = home(&made[0], a);

		made[0].slots[1].state = GRPC_CONN_WAITING;
		if (before == 102)
			cr_assert(home(&made[0], a) != 102 && home(&made[0], a) != 0);
		else
			cr_assert(home(&made[0], a) == before);
		made[0].slots[1].state = GRPC_CONN_READY;
		cr_assert(home(&made[0], a) == before, "it comes back");
	}
}

Test(grpc_home, a_full_connection_is_waited_for)
{
	for (uint64_t a = 1; a <= AFFINITIES; a++) {
		const uint64_t before = home(&made[0], a);
		struct grpc_client_conn *const c = &made[0].slots[before - 101];

		c->call_count = UINT32_MAX;
		cr_assert(home(&made[0], a) == 0);
		c->call_count = 0;
	}
}

/* ---- connections ---- */

static int listen_somewhere(uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(addr);

	cr_assert(bind(fd, (void *)&addr, sizeof(addr)) == 0);
	cr_assert(listen(fd, 8) == 0);
	cr_assert(getsockname(fd, (void *)&addr, &len) == 0);
	*port = ntohs(addr.sin_port);
	return fd;
}

static bool is_called(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

Test(grpc_home, each_address_has_a_connection_and_gets_it_back)
{
	static struct grpc_test_server server;
	struct grpc_client_conf conf = { .connections = 1 };
	char targets[200];
	struct cx_ref client;
	uint16_t port[3];
	int fd[3], got[3];

	grpc_test_defaults(&server);
	cr_assert(grpc_test_make(&server) == NULL);
	for (int i = 0; i < 3; i++)
		fd[i] = listen_somewhere(&port[i]);
	snprintf(targets, sizeof(targets),
	         "http://127.0.0.1:%u,http://127.0.0.1:%u,http://127.0.0.1:%u", port[0],
	         port[1], port[2]);
	conf.targets = targets;
	cr_assert(cx_runtime_spawn(server.rt, &grpc_client_type, &conf, 1, &client) == CX_OK);
	cr_assert(grpc_test_run(&server) == NULL);
	for (int i = 0; i < 3; i++) {
		cr_assert(is_called(fd[i], 10000), "%d", i);
		got[i] = accept(fd[i], NULL, NULL);
	}
	close(got[1]); /* before a word: it failed */
	cr_assert(is_called(fd[1], 10000), "it is tried again where it is missing");
	cr_assert(!is_called(fd[0], 100) && !is_called(fd[2], 0));
	grpc_test_stop(&server);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	close(got[0]);
	close(got[2]);
}
