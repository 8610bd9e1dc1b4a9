/* SPDX-License-Identifier: MIT */
/* A gRPC server of simple methods for clients that are not ours (tests/grpc/run.sh).
 *
 *   grpc_echo [PORT [WORKERS [CERT KEY]]]
 *
 * Prints "port N", serves until SIGTERM or SIGINT, drains, and exits 0. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/grpc_service.h"

#define DRAIN_MS 5000

static void wait_for_signal(const sigset_t *set)
{
	int signal_number;

	while (sigwait(set, &signal_number) != 0)
		;
}

int main(int argc, char **argv)
{
	static struct grpc_test_server s;
	struct grpc_server_figures f;
	const char *why;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	grpc_test_defaults(&s);
	s.settings.port = argc > 1 ? (uint16_t)atoi(argv[1]) : 0;
	s.settings.workers = argc > 2 ? (uint16_t)atoi(argv[2]) : 1;
	s.settings.tls_cert_file = argc > 4 ? argv[3] : NULL;
	s.settings.tls_key_file = argc > 4 ? argv[4] : NULL;
	why = grpc_test_make(&s);
	if (why == NULL)
		why = grpc_test_run(&s);
	if (why != NULL) {
		fprintf(stderr, "grpc_echo: %s\n", why);
		return 1;
	}
	printf("port %u\n", s.port);
	fflush(stdout);
	wait_for_signal(&set);
	grpc_test_drain(&s);
	for (int ms = 0; ms < DRAIN_MS; ms += 10) {
		grpc_server_figures(&f);
		if (f.open == 0)
			break;
		usleep(10000);
	}
	grpc_test_stop(&s);
	return 0;
}
