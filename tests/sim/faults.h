/* SPDX-License-Identifier: MIT */
/* Each fault of a run has a number among those of its kind, in the order in which they are drawn, and may
 * be left out by it: what was drawn is drawn all the same, so up to the first one left out the run is the
 * same.  Numbers of one kind do not move when one of another is left out. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <cx/sim.h>

#define FAULTS_MAX 2048 /* of a kind; in a run with a choice those beyond do not happen */

enum fault_kind {
	FAULT_PUSH,    /* lost */
	FAULT_SEND,    /* refused */
	FAULT_DELAY,   /* of a send to an adapter, or of its answer */
	FAULT_CRASH,   /* of the log */
	FAULT_CUT,     /* of a connection */
	FAULT_SESSION, /* ended */
	FAULT_COMMIT,  /* failed */
	FAULT_READ,    /* failed */
	FAULT_WALL,    /* jump */
	FAULT_UNTOLD,  /* message, not acknowledged */
	FAULT_STALL,   /* of a reader */
	FAULT_FORGED,  /* frame */
	FAULT_KILL,    /* of the process */
	FAULT_LOST,    /* send to an adapter */
	FAULT_KINDS,
};

/* Which of the next run's may happen. */
struct fault_set {
	uint8_t bits[FAULT_KINDS][FAULTS_MAX / 8];
};

/* A run begins.  only: NULL for all; list, trace: a line for each that happens, or NULL. */
void faults_begin(const struct fault_set *only, FILE *list, FILE *trace);
/* A life of it begins, on this simulator. */
void faults_life(const struct cx_sim *sim, unsigned life);
/* One was drawn; format: where.  Returns whether it happens. */
bool fault_happens(enum fault_kind kind, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* How many of a kind were drawn in this run. */
uint32_t faults_drawn(enum fault_kind kind);

#endif
