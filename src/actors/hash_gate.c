/* SPDX-License-Identifier: MIT */
#include "actors/hash_gate.h"

#include "actors/register_bucket.h"

/* One request. */
struct place {
	struct cx_ref who;
	uint64_t id;
	uint64_t number; /* grows: who came first */
	struct cx_caller caller;
	uint8_t address; /* in addresses */
	bool is_taken, is_in;
};

struct address {
	struct uuid net;
	uint32_t in, waiting; /* both 0: free */
};

struct hash_gate {
	struct place places[HASH_GATE_ALL];
	struct address addresses[HASH_GATE_ALL];
	struct register_buckets buckets;
	uint64_t last_number;
	uint32_t in, waiting;
	uint32_t turn; /* the address that was let in last */
};

_Static_assert(HASH_GATE_ALL <= 256, "an address fits its number");

static uint32_t places_of(const struct address *a)
{
	return a->in + a->waiting;
}

static void answer(struct cx_ctx *ctx, struct cx_caller caller, enum hash_gate_verdict verdict)
{
	struct hash_gate_entered *m =
		CX_MSG_NEW(ctx, HASH_GATE_ENTERED, struct hash_gate_entered);

	m->verdict = verdict;
	cx_answer(ctx, caller, &m->hdr);
}

static struct address *address_of(struct hash_gate *g, const struct uuid *net)
{
	struct address *unused = NULL;

	for (uint32_t i = 0; i < HASH_GATE_ALL; i++) {
		struct address *a = &g->addresses[i];

		if (places_of(a) == 0)
			unused = a;
		else if (uuid_equal(&a->net, net))
			return a;
	}
	if (unused != NULL)
		*unused = (struct address){ .net = *net };
	return unused;
}

/* The oldest or newest waiter of that address. */
static struct place *waiter_of(struct hash_gate *g, const struct address *a, bool newest)
{
	struct place *found = NULL;

	for (uint32_t i = 0; i < HASH_GATE_ALL; i++) {
		struct place *p = &g->places[i];

		if (p->is_taken && !p->is_in && &g->addresses[p->address] == a &&
		    (found == NULL || (p->number > found->number) == newest))
			found = p;
	}
	return found;
}

static void vacate(struct hash_gate *g, struct place *p)
{
	struct address *a = &g->addresses[p->address];

	if (p->is_in) {
		a->in--;
		g->in--;
	} else {
		a->waiting--;
		g->waiting--;
	}
	p->is_taken = false;
}

static void let_in(struct cx_ctx *ctx, struct hash_gate *g)
{
	for (uint32_t tried = 0;
	     g->waiting > 0 && g->in < HASH_GATE_IN && tried < HASH_GATE_ALL; tried++) {
		const uint32_t turn = (g->turn + 1) % HASH_GATE_ALL;
		struct address *a = &g->addresses[turn];
		struct place *p;

		g->turn = turn;
		if (a->waiting == 0 || a->in >= HASH_GATE_IN_EACH)
			continue;
		p = waiter_of(g, a, false);
		a->waiting--;
		g->waiting--;
		a->in++;
		g->in++;
		p->is_in = true;
		answer(ctx, p->caller, HASH_GATE_OPEN);
		tried = 0;
	}
}

/* All places are taken: who has most of them waits with one less.  false: the newcomer has as many. */
static bool make_room(struct cx_ctx *ctx, struct hash_gate *g, const struct uuid *net)
{
	const struct address *most = NULL;
	uint32_t own = 0;
	struct place *p;

	for (uint32_t i = 0; i < HASH_GATE_ALL; i++) {
		const struct address *a = &g->addresses[i];

		if (places_of(a) > 0 && uuid_equal(&a->net, net))
			own = places_of(a);
		if (a->waiting > 0 && (most == NULL || places_of(a) > places_of(most)))
			most = a;
	}
	if (most == NULL || places_of(most) <= own + 1)
		return false;
	p = waiter_of(g, most, true);
	answer(ctx, p->caller, HASH_GATE_BUSY);
	vacate(g, p);
	return true;
}

static void take_place(struct cx_ctx *ctx, struct hash_gate *g, struct address *a,
                       const struct cx_msg *msg)
{
	struct place *p = g->places;

	(void)ctx;
	while (p->is_taken)
		p++;
	*p = (struct place){
		.who = msg->from,
		.id = CX_MSG_AS(struct hash_gate_enter_msg, msg)->id,
		.number = ++g->last_number,
		.caller = cx_caller_of(msg),
		.address = (uint8_t)(a - g->addresses),
		.is_taken = true,
	};
	a->waiting++;
	g->waiting++;
}

static void on_enter(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct hash_gate_enter_msg *m = CX_MSG_AS(struct hash_gate_enter_msg, msg);
	const struct uuid *net = &m->origin.net;
	struct hash_gate *g = state;
	struct address *a;

	if (g->in + g->waiting == HASH_GATE_ALL && !make_room(ctx, g, net)) {
		answer(ctx, cx_caller_of(msg), HASH_GATE_BUSY);
		return;
	}
	a = address_of(g, net);
	cx_assert(a != NULL); /* fewer places are taken than there are addresses */
	if (places_of(a) >= HASH_GATE_EACH) {
		answer(ctx, cx_caller_of(msg), HASH_GATE_BUSY);
		return;
	}
	/* This machine registers for others: a proxy that does not tell, an operator, a benchmark. */
	if (m->what == HASH_GATE_FOR_REGISTER && !m->origin.is_loopback &&
	    !register_bucket_take(&g->buckets, net, cx_now_ms(ctx))) {
		answer(ctx, cx_caller_of(msg), HASH_GATE_LIMITED);
		return;
	}
	take_place(ctx, g, a, msg);
	let_in(ctx, g);
}

static void on_leave(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t id = CX_MSG_AS(struct hash_gate_leave_msg, msg)->id;
	struct hash_gate *g = state;

	for (uint32_t i = 0; i < HASH_GATE_ALL; i++) {
		struct place *p = &g->places[i];

		if (p->is_taken && p->id == id && cx_ref_is(p->who, msg->from)) {
			vacate(g, p);
			let_in(ctx, g);
			return;
		}
	}
}

static void stop(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	register_bucket_free(&((struct hash_gate *)state)->buckets);
}

static const struct cx_handler handlers[] = {
	CX_ON(HASH_GATE_ENTER, struct hash_gate_enter_msg, on_enter),
	CX_ON(HASH_GATE_LEAVE, struct hash_gate_leave_msg, on_leave),
};

const struct cx_actor_type hash_gate_type = {
	.name = "hash_gate",
	.state_size = sizeof(struct hash_gate),
	.mailbox_cap = 4096,
	.placement = CX_PLACE_IO,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

enum cx_err hash_gate_enter(struct cx_ctx *ctx, const struct relay *relay,
                            const struct ws_origin *origin, uint64_t id,
                            enum hash_gate_for what, uint32_t timeout_ms, uint64_t *corr)
{
	struct hash_gate_enter_msg *m =
		CX_MSG_NEW(ctx, HASH_GATE_ENTER, struct hash_gate_enter_msg);

	m->origin = *origin;
	m->id = id;
	m->what = what;
	return cx_ask(ctx, relay->hash_gate, &m->hdr, timeout_ms, corr);
}

/* Never refused: one for each request on its way. */
void hash_gate_leave(struct cx_ctx *ctx, const struct relay *relay, uint64_t id)
{
	struct hash_gate_leave_msg *m =
		CX_MSG_NEW(ctx, HASH_GATE_LEAVE, struct hash_gate_leave_msg);
	enum cx_err err;

	m->id = id;
	err = cx_send_reserved(ctx, relay->hash_gate, &m->hdr);
	(void)err; /* only at the runtime's end */
}
