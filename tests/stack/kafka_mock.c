/* SPDX-License-Identifier: MIT */
/* kafka_mock FILE: librdkafka's mock cluster for several processes, where no Kafka can be had.  Writes
 * its address (host:port) into FILE and serves until SIGTERM or SIGINT.  Topics are made by who first
 * asks for them; nothing outlives it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define ERROR_MAX 256

int main(int argc, char **argv)
{
	char error[ERROR_MAX], temporary[4096];
	rd_kafka_mock_cluster_t *cluster;
	rd_kafka_t *rk;
	sigset_t signals;
	FILE *out;
	int sig;

	if (argc != 2) {
		fputs("usage: kafka_mock FILE\n", stderr);
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* before the library's threads */
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof(error));
	cluster = rk != NULL ? rd_kafka_mock_cluster_new(rk, 1) : NULL;
	if (cluster == NULL) {
		fprintf(stderr, "kafka_mock: %s\n", rk == NULL ? error : "no cluster");
		return 1;
	}
	snprintf(temporary, sizeof(temporary), "%s.tmp", argv[1]);
	out = fopen(temporary, "we");
	if (out == NULL ||
	    fprintf(out, "%s\n", rd_kafka_mock_cluster_bootstraps(cluster)) < 0 ||
	    fclose(out) != 0 || rename(temporary, argv[1]) != 0) {
		perror(argv[1]);
		return 1;
	}
	sigwait(&signals, &sig);
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	return 0;
}
