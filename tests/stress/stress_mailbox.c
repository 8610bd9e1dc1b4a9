/* SPDX-License-Identifier: MIT */
/* Many senders, tiny mailboxes: per sender and receiver the order holds, an actor has one runner,
 * and every send that returned CX_OK is handled exactly once. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <cx/runtime.h>

#include "stress.h"

#define SENDERS 6   /* actors that send */
#define THREADS 3   /* foreign threads that post */
#define RECEIVERS 4 /* two at home, two anywhere */
#define SOURCES (SENDERS + THREADS)

enum { NUMBER = CX_MSG_USER, GO };

struct number {
	struct cx_msg hdr;
	uint32_t source;
	uint64_t seq;
};

struct counted { /* by the test, outside of the actors */
	_Atomic uint64_t accepted[SOURCES][RECEIVERS];
	_Atomic uint64_t refused;
	_Atomic uint64_t handled[SOURCES][RECEIVERS];
	_Atomic uint64_t disorder, overlap;
	_Atomic uint32_t running[RECEIVERS];
	_Atomic uint32_t done;
};

static struct counted counted;
static struct cx_ref receivers[RECEIVERS];
static struct cx_runtime *rt;
static uint64_t per_source; /* sends to each receiver */

struct receiver_conf {
	uint32_t number;
};

struct receiver {
	uint32_t number;
	uint64_t next[SOURCES];
};

static void on_number(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct receiver *r = state;
	const struct number *m = CX_MSG_AS(struct number, msg);

	(void)ctx;
	if (atomic_exchange(&counted.running[r->number], 1) != 0)
		atomic_fetch_add(&counted.overlap, 1);
	if (m->seq != r->next[m->source])
		atomic_fetch_add(&counted.disorder, 1);
	r->next[m->source] = m->seq + 1;
	atomic_fetch_add(&counted.handled[m->source][r->number], 1);
	atomic_store(&counted.running[r->number], 0);
}

static enum cx_err start_receiver(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	((struct receiver *)state)->number = ((const struct receiver_conf *)conf)->number;
	return CX_OK;
}

static const struct cx_handler receiver_handlers[] = {
	CX_ON(NUMBER, struct number, on_number),
};

static struct cx_actor_type receiver_types[2] = {
	{ .name = "receiver_home", .placement = CX_PLACE_HOME },
	{ .name = "receiver_any", .placement = CX_PLACE_ANY },
};

struct sender_conf {
	uint32_t source;
};

struct sender {
	uint32_t source;
	uint64_t sent[RECEIVERS];
	bool is_done;
};

static struct cx_msg *number_msg(struct cx_ctx *ctx, uint32_t source, uint64_t seq)
{
	struct number *m = ctx != NULL
	                           ? CX_MSG_NEW(ctx, NUMBER, struct number)
	                           : (struct number *)(void *)cx_post_new(NUMBER, sizeof(*m));

	m->source = source;
	m->seq = seq;
	return &m->hdr;
}

static bool all_sent(const uint64_t sent[RECEIVERS])
{
	for (unsigned r = 0; r < RECEIVERS; r++)
		if (sent[r] < per_source)
			return false;
	return true;
}

/* One round over the receivers; what is refused is tried again in the next. */
static void send_round(struct cx_ctx *ctx, uint32_t source, uint64_t sent[RECEIVERS])
{
	for (unsigned r = 0; r < RECEIVERS; r++) {
		struct cx_msg *m;
		enum cx_err err;

		if (sent[r] == per_source)
			continue;
		m = number_msg(ctx, source, sent[r]);
		err = ctx != NULL ? cx_send(ctx, receivers[r], m)
		                  : cx_post(rt, receivers[r], m);
		if (err == CX_OK) {
			sent[r]++;
			atomic_fetch_add(&counted.accepted[source][r], 1);
		} else {
			atomic_fetch_add(&counted.refused, 1);
		}
	}
}

static void on_go(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct sender *s = state;

	(void)msg;
	for (int i = 0; i < 8; i++)
		send_round(ctx, s->source, s->sent);
	if (!all_sent(s->sent)) {
		if (cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, GO, sizeof(struct cx_msg))) !=
		    CX_OK)
			abort();
	} else if (!s->is_done) {
		s->is_done = true;
		atomic_fetch_add(&counted.done, 1);
	}
}

static enum cx_err start_sender(struct cx_ctx *ctx, void *state, const void *conf)
{
	((struct sender *)state)->source = ((const struct sender_conf *)conf)->source;
	return cx_send(ctx, cx_self(ctx), cx_msg_new(ctx, GO, sizeof(struct cx_msg)));
}

static const struct cx_handler sender_handlers[] = {
	CX_ON(GO, struct cx_msg, on_go),
};

static const struct cx_actor_type sender_type = {
	.name = "sender",
	.state_size = sizeof(struct sender),
	.conf_size = sizeof(struct sender_conf),
	.mailbox_cap = 4,
	.start = start_sender,
	.handlers = sender_handlers,
	.handler_count = CX_COUNTOF(sender_handlers),
};

static void *post_main(void *arg)
{
	const uint32_t source = (uint32_t)(uintptr_t)arg;
	uint64_t sent[RECEIVERS] = { 0 };

	while (!all_sent(sent)) {
		send_round(NULL, source, sent);
		sched_yield();
	}
	atomic_fetch_add(&counted.done, 1);
	return NULL;
}

static void finish_types(uint32_t cap)
{
	for (int i = 0; i < 2; i++) {
		receiver_types[i].state_size = sizeof(struct receiver);
		receiver_types[i].conf_size = sizeof(struct receiver_conf);
		receiver_types[i].mailbox_cap = cap;
		receiver_types[i].batch_max = 3;
		receiver_types[i].start = start_receiver;
		receiver_types[i].handlers = receiver_handlers;
		receiver_types[i].handler_count = CX_COUNTOF(receiver_handlers);
	}
}

static uint64_t sum(_Atomic uint64_t table[SOURCES][RECEIVERS])
{
	uint64_t n = 0;

	for (unsigned s = 0; s < SOURCES; s++)
		for (unsigned r = 0; r < RECEIVERS; r++)
			n += atomic_load(&table[s][r]);
	return n;
}

static void boot(unsigned workers)
{
	const struct cx_runtime_conf conf = { .workers = workers };
	struct cx_ref ref;

	if (cx_runtime_new(&conf, &rt) != CX_OK)
		abort();
	for (uint32_t r = 0; r < RECEIVERS; r++) {
		const struct receiver_conf c = { r };

		if (cx_runtime_spawn(rt, &receiver_types[r % 2], &c, r * 7919, &receivers[r]) !=
		    CX_OK)
			abort();
	}
	for (uint32_t s = 0; s < SENDERS; s++) {
		const struct sender_conf c = { s };

		if (cx_runtime_spawn(rt, &sender_type, &c, s * 104729, &ref) != CX_OK)
			abort();
	}
	if (cx_runtime_start(rt) != CX_OK)
		abort();
}

static void run(unsigned workers, uint32_t cap, uint64_t messages)
{
	const uint64_t expected = messages * SOURCES * RECEIVERS;
	pthread_t threads[THREADS];

	memset(&counted, 0, sizeof(counted));
	per_source = messages;
	finish_types(cap);
	boot(workers);
	for (uintptr_t t = 0; t < THREADS; t++)
		if (pthread_create(&threads[t], NULL, post_main, (void *)(SENDERS + t)) != 0)
			abort();
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int i = 0; i < 60000 && atomic_load(&counted.done) < SOURCES; i++)
		stress_sleep_ms(1);
	for (int i = 0; i < 60000 && sum(counted.handled) < expected; i++)
		stress_sleep_ms(1);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	printf("workers %u, limit %u: %llu messages, %llu refusals\n", workers, cap,
	       (unsigned long long)sum(counted.handled), (unsigned long long)counted.refused);
	STRESS_CHECK(sum(counted.accepted) == expected, "accepted %llu of %llu",
	             (unsigned long long)sum(counted.accepted), (unsigned long long)expected);
	STRESS_CHECK(sum(counted.handled) == expected, "handled %llu of %llu",
	             (unsigned long long)sum(counted.handled), (unsigned long long)expected);
	STRESS_CHECK(counted.disorder == 0, "%llu out of order",
	             (unsigned long long)counted.disorder);
	STRESS_CHECK(counted.overlap == 0, "%llu with two runners",
	             (unsigned long long)counted.overlap);
}

int main(int argc, char **argv)
{
	static const uint32_t caps[] = { 1, 2, 4, 16, 256 };
	const uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 400;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned workers = 1; workers <= 4; workers++)
		for (size_t i = 0; i < CX_COUNTOF(caps); i++)
			run(workers, caps[i], messages);
	return stress_end();
}
