/* SPDX-License-Identifier: MIT */
/* Conversations: sender and recipient of a pair live on one thread, so each message is
 * followed through its whole cycle without a lock.
 *
 * 1. A message's number is in its id, its messageNumber and its content: it is found by the
 *    first, the others must agree.
 * 2. A slot of the ring is in use from the send until accepted and delivered have both come
 *    (or an error); `open` is the number of those.
 * 3. The number k of a pair in the open loop is due at a time that depends on k only, never
 *    on an answer. */
#ifndef CONSTRUCT_ROLES_BENCH_PAIR_H
#define CONSTRUCT_ROLES_BENCH_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "roles/bench_message.h"
#include "roles/bench_run.h"

#define BENCH_PAUSE_AFTER_ERROR_NS UINT64_C(100000000)

enum {
	BENCH_SLOT_USED = 1,
	BENCH_SLOT_ACCEPTED = 2,
	BENCH_SLOT_RECEIVED = 4,
	BENCH_SLOT_DELIVERED = 8,
	BENCH_SLOT_REFUSED = 16
};

struct bench_slot {
	uint64_t due_ns, accepted_ns;
	uint32_t number;
	uint32_t state;
};

struct bench_pair {
	struct bench_session sender;
	struct bench_session recipient;
	struct bench_relay *relay;
	struct bench_slot *ring;
	uint32_t ring_mask;
	uint32_t next;                         /* number of the next message */
	uint32_t open;                         /* count against --inflight */
	uint32_t used;                         /* slots in use */
	uint32_t due;                          /* open loop: numbers below are due */
	uint32_t last_accepted, last_received; /* plus one; 0: none */
	uint32_t index;                        /* in relay->pairs */
	uint64_t paused_until_ns;
	struct bench_message message;
	bool is_offline;
	bool is_lost; /* one of its connections has ended */
};

struct bench_relay {
	struct bench_thread *thread;
	struct bench_pair *pairs;
	uint32_t count;
	uint32_t first_user, first;
	uint32_t ready; /* sessions */
	uint32_t expected;
	uint32_t lost;   /* pairs */
	uint32_t paused; /* pairs that wait after an error */
	uint32_t unix_s;
	bool is_running; /* may send */
	bool is_draining;
	bool is_given_up;
	uint64_t open;
	/* open loop */
	double gap_ns;  /* between two messages of this thread */
	uint64_t tried; /* messages of this thread that were due */
	uint64_t begin_ns;
};

/* Sends what the pair may send now. */
void bench_pair_pump(struct bench_pair *p, uint64_t now_ns);

/* An ack or error for the sender. */
void bench_pair_on_ack(struct bench_pair *p, const struct bench_frame *f, uint64_t now_ns);
void bench_pair_on_error(struct bench_pair *p, const struct bench_frame *f, uint64_t now_ns);

/* A message of this run has reached the recipient, who has acknowledged it. */
void bench_pair_on_message(struct bench_pair *p, const struct bench_frame *f, uint32_t number,
                           uint64_t now_ns);

/* When the open loop has the pair's message of this number due. */
uint64_t bench_pair_due_ns(const struct bench_pair *p, uint32_t number);

/* Nothing is waited for any more. */
bool bench_pair_is_idle(const struct bench_pair *p);

/* At the end: counts what never came. */
void bench_pair_finish(const struct bench_pair *p);

#endif
