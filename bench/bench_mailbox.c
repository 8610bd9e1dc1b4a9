/* SPDX-License-Identifier: MIT */
/* The mailbox: a message made, sent, taken in, handled and freed, with the runtime's own code but without
 * its threads: the threads here play workers, as the simulator does.
 *
 * `list`    sender and receiver on one worker (direct hand-over)
 * `parcel`  sender on another worker (crossing.c), both played by one thread in turn: no contention
 * `senders` 1 to 4 other workers on threads of their own, and the receiver's; parcels go when they are full */
#include "runtime/internal.h"

#include "structures.h"

#define BATCH 64
#define CAP 1024
#define SENDERS_MAX 4

enum { NUMBER = CX_MSG_USER };

static struct cx_runtime *rt;
static struct cx_ref receiver_ref, sender_ref;
static uint64_t handled, turns; /* of the receiver, in this run */

static void on_number(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	handled++;
}

static const struct cx_handler handlers[] = { CX_ON(NUMBER, struct cx_msg, on_number) };
static const struct cx_actor_type receiver = { .name = "receiver",
	                                       .mailbox_cap = CAP,
	                                       .placement = CX_PLACE_IO,
	                                       .handlers = handlers,
	                                       .handler_count = 1 };

static bool run_one_turn(struct cx_worker *w)
{
	struct cx__actor *a;

	cx__worker_gather(w);
	a = cx__runnable_first(w);
	if (a == NULL)
		return false;
	cx__runnable_remove(w, a);
	cx__worker_turn(w, a);
	turns++;
	return true;
}

static bool send_one(struct cx_worker *from)
{
	return cx__deliver(rt, from, receiver_ref,
	                   cx__msg_new(from, NUMBER, sizeof(struct cx_msg)),
	                   CX__BOUNDED) == CX_OK;
}

/* Whatever the run before left: not for ever, since senders of this one may have begun. */
static void empty(struct cx_worker *w)
{
	cx__worker_enter(w);
	cx__worker_clock(w);
	for (unsigned i = 0; i < CAP && run_one_turn(w); i++)
		;
	handled = turns = 0;
}

static uint64_t over_list(unsigned index, void *arg)
{
	struct cx_worker *w = rt->worker[0];

	(void)index;
	(void)arg;
	empty(w);
	while (!bench_is_over()) {
		w->ctx.actor = cx__actor_at(rt, sender_ref.slot); /* as inside its handler */
		for (int i = 0; i < BATCH; i++)
			bench_must(send_one(w), "a send");
		w->ctx.actor = NULL;
		while (run_one_turn(w))
			;
	}
	cx__worker_enter(NULL);
	return handled;
}

static uint64_t in_parcels(unsigned index, void *arg)
{
	(void)index;
	(void)arg;
	empty(rt->worker[0]);
	while (!bench_is_over()) {
		cx__worker_enter(rt->worker[1]);
		for (int i = 0; i < BATCH; i++)
			bench_must(send_one(rt->worker[1]), "a send");
		cx__worker_enter(rt->worker[0]);
		while (run_one_turn(rt->worker[0]))
			;
	}
	cx__worker_enter(NULL);
	return handled;
}

static uint64_t receive(void)
{
	unsigned spins = 0;

	empty(rt->worker[0]);
	while (!bench_is_over())
		if (!run_one_turn(rt->worker[0]))
			bench_wait_a_little(&spins);
	cx__worker_enter(NULL);
	return handled;
}

static uint64_t send_on(struct cx_worker *w)
{
	unsigned spins = 0;

	cx__worker_enter(w);
	while (!bench_is_over())
		if (!send_one(w))
			bench_wait_a_little(&spins); /* full: the receiver is behind */
	cx__worker_enter(NULL);
	return 0;
}

static uint64_t crew(unsigned index, void *arg)
{
	(void)arg;
	return index == 0 ? receive() : send_on(rt->worker[index]);
}

int main(void)
{
	const struct cx_runtime_conf conf = { .workers = 1 + SENDERS_MAX };
	char params[32];

	bench_must(cx_runtime_new(&conf, &rt) == CX_OK &&
	                   cx_runtime_spawn(rt, &receiver, NULL, 0, &receiver_ref) == CX_OK &&
	                   cx_runtime_spawn(rt, &receiver, NULL, 0, &sender_ref) == CX_OK,
	           "a runtime");
	bench_rate("mailbox", "list", over_list, NULL, 1);
	bench_rate("mailbox", "parcel", in_parcels, NULL, 1);
	for (unsigned n = 1; n <= SENDERS_MAX; n++) {
		snprintf(params, sizeof(params), "senders=%u", n);
		bench_rate("mailbox", params, crew, NULL, n + 1);
		fprintf(stderr, "mailbox %s: %.1f messages a turn in the last run\n", params,
		        turns == 0 ? 0 : (double)handled / (double)turns);
	}
	empty(rt->worker[0]);
	cx__worker_end_actors(rt->worker[0]);
	cx__worker_enter(NULL);
	cx_runtime_free(rt);
	return 0;
}
