/* SPDX-License-Identifier: MIT */
#include "roles/bench_pair.h"

#include <string.h>

#include "roles/bench_memory.h"

static struct bench_slot *find_slot(struct bench_pair *p, uint32_t number)
{
	struct bench_slot *slot = &p->ring[number & p->ring_mask];

	return slot->state && slot->number == number ? slot : NULL;
}

static bool is_free(const struct bench_slot *slot)
{
	return !(slot->state & BENCH_SLOT_USED);
}

/* An offline recipient acknowledges nothing for long: the ring grows with what waits. */
static void grow_ring(struct bench_pair *p)
{
	const uint32_t size = p->ring_mask + 1;
	struct bench_slot *bigger = bench_alloc(2 * (size_t)size, sizeof(*bigger));

	for (uint32_t i = 0; i < size; i++)
		bigger[p->ring[i].number & (2 * size - 1)] = p->ring[i];
	free(p->ring);
	p->ring = bigger;
	p->ring_mask = 2 * size - 1;
}

uint64_t bench_pair_due_ns(const struct bench_pair *p, uint32_t number)
{
	const struct bench_relay *r = p->relay;
	const double place = (double)number * r->count + p->index;

	return r->begin_ns + (uint64_t)(place * r->gap_ns);
}

/* Messages that count against --inflight: for an offline recipient those not yet accepted. */
static bool may_send(struct bench_pair *p, uint64_t now_ns)
{
	const struct bench_conf *conf = p->relay->thread->conf;

	if (!p->relay->is_running || p->is_lost || p->paused_until_ns > now_ns ||
	    p->open >= conf->inflight || (p->is_offline && p->next >= conf->offline_limit))
		return false;
	if (is_free(&p->ring[p->next & p->ring_mask]))
		return true;
	if (!p->is_offline)
		return false;
	grow_ring(p);
	return is_free(&p->ring[p->next & p->ring_mask]);
}

static void send_one(struct bench_pair *p, uint64_t due_ns)
{
	struct bench_relay *r = p->relay;
	const uint32_t number = p->next++;
	const struct bench_slot used = { .due_ns = due_ns,
		                         .number = number,
		                         .state = BENCH_SLOT_USED };

	p->ring[number & p->ring_mask] = used;
	p->open++;
	p->used++;
	r->open++;
	r->thread->stats.counts[BENCH_SENT]++;
	bench_message_patch(&p->message, number, r->unix_s);
	ws_client_send(p->sender.conn, WS_CLIENT_BINARY, p->message.send, p->message.send_len);
}

void bench_pair_pump(struct bench_pair *p, uint64_t now_ns)
{
	const bool is_open_loop = p->relay->gap_ns > 0; /* inv. 3 */

	while (may_send(p, now_ns)) {
		if (!is_open_loop)
			send_one(p, now_ns);
		else if (p->next < p->due)
			send_one(p, bench_pair_due_ns(p, p->next));
		else
			return;
	}
}

static void close_slot(struct bench_pair *p, struct bench_slot *slot, uint32_t state)
{
	slot->state = state;
	p->used--;
	if (p->is_offline)
		return; /* was uncounted when it was accepted */
	p->open--;
	p->relay->open--;
}

static void on_accepted(struct bench_pair *p, struct bench_slot *slot, uint64_t now_ns)
{
	struct bench_thread *t = p->relay->thread;

	if (slot->state & BENCH_SLOT_ACCEPTED) {
		t->stats.counts[BENCH_STRAY]++;
		return;
	}
	t->stats.counts[BENCH_ACCEPTED]++;
	bench_record(t, BENCH_SERIES_ACCEPTED, slot->due_ns, now_ns);
	if (slot->number + 1 <= p->last_accepted)
		t->stats.counts[BENCH_ANSWER_ORDER]++;
	else
		p->last_accepted = slot->number + 1;
	slot->state |= BENCH_SLOT_ACCEPTED;
	slot->accepted_ns = now_ns;
	if (slot->state & BENCH_SLOT_RECEIVED && !p->is_offline)
		bench_record(t, BENCH_SERIES_TRANSIT, now_ns, now_ns);
	if (p->is_offline) {
		p->open--;
		p->relay->open--;
	}
}

static void on_delivered(struct bench_pair *p, struct bench_slot *slot, uint64_t now_ns)
{
	struct bench_thread *t = p->relay->thread;

	if (slot->state & BENCH_SLOT_DELIVERED)
		return; /* at least once is the promise */
	t->stats.counts[BENCH_DELIVERED]++;
	if (!p->is_offline)
		bench_record(t, BENCH_SERIES_DELIVERED, slot->due_ns, now_ns);
	slot->state |= BENCH_SLOT_DELIVERED;
}

static void check_complete(struct bench_pair *p, struct bench_slot *slot, uint64_t now_ns)
{
	struct bench_thread *t = p->relay->thread;

	if ((slot->state & (BENCH_SLOT_ACCEPTED | BENCH_SLOT_DELIVERED)) !=
	    (BENCH_SLOT_ACCEPTED | BENCH_SLOT_DELIVERED))
		return;
	if (!(slot->state & BENCH_SLOT_RECEIVED))
		t->stats.counts[BENCH_GHOST]++;
	close_slot(p, slot, slot->state & ~(uint32_t)BENCH_SLOT_USED);
	t->stats.counts[BENCH_COMPLETED]++;
	bench_done(t, now_ns);
}

void bench_pair_on_ack(struct bench_pair *p, const struct bench_frame *f, uint64_t now_ns)
{
	uint32_t number;
	struct bench_slot *slot = NULL;

	if (bench_message_number(&p->message, f->message_id, &number))
		slot = find_slot(p, number);
	if (!slot) {
		/* `delivered` may come again, and for a message of an earlier run. */
		if (bench_slice_is(f->status, "accepted"))
			p->relay->thread->stats.counts[BENCH_STRAY]++;
		return;
	}
	if (bench_slice_is(f->status, "accepted"))
		on_accepted(p, slot, now_ns);
	else if (bench_slice_is(f->status, "delivered"))
		on_delivered(p, slot, now_ns);
	if (!is_free(slot))
		check_complete(p, slot, now_ns);
}

void bench_pair_on_error(struct bench_pair *p, const struct bench_frame *f, uint64_t now_ns)
{
	struct bench_relay *r = p->relay;
	uint32_t number;
	struct bench_slot *slot = NULL;

	bench_stats_error(&r->thread->stats, f->code, f->text);
	if (bench_message_number(&p->message, f->message_id, &number))
		slot = find_slot(p, number);
	if (!slot || is_free(slot) || slot->state & BENCH_SLOT_ACCEPTED)
		return;
	r->thread->stats.counts[BENCH_REFUSED]++;
	slot->state = BENCH_SLOT_REFUSED;
	p->used--;
	p->open--;
	r->open--;
	if (p->paused_until_ns <= now_ns)
		r->paused++;
	p->paused_until_ns = now_ns + BENCH_PAUSE_AFTER_ERROR_NS;
}

void bench_pair_on_message(struct bench_pair *p, const struct bench_frame *f, uint32_t number,
                           uint64_t now_ns)
{
	struct bench_stats *stats = &p->relay->thread->stats;
	struct bench_slot *slot = find_slot(p, number);

	if (!bench_message_is_intact(&p->message, f, number))
		stats->counts[BENCH_CORRUPT]++;
	if (!slot || slot->state & BENCH_SLOT_RECEIVED) {
		stats->counts[BENCH_REPEATED]++;
		return;
	}
	if (slot->state & BENCH_SLOT_REFUSED)
		stats->counts[BENCH_GHOST]++;
	if (number + 1 < p->last_received)
		stats->counts[BENCH_OUT_OF_ORDER]++;
	else
		p->last_received = number + 1;
	slot->state |= BENCH_SLOT_RECEIVED;
	stats->counts[BENCH_RECEIVED]++;
	if (p->is_offline) {
		stats->counts[BENCH_DRAINED]++;
		return;
	}
	bench_record(p->relay->thread, BENCH_SERIES_RECEIPT, slot->due_ns, now_ns);
	if (slot->state & BENCH_SLOT_ACCEPTED)
		bench_record(p->relay->thread, BENCH_SERIES_TRANSIT, slot->accepted_ns, now_ns);
}

bool bench_pair_is_idle(const struct bench_pair *p)
{
	return p->is_lost || p->used == 0;
}

void bench_pair_finish(const struct bench_pair *p)
{
	uint64_t *counts = p->relay->thread->stats.counts;

	for (uint32_t i = 0; i <= p->ring_mask; i++) {
		const uint32_t s = p->ring[i].state;

		if (!(s & BENCH_SLOT_USED))
			continue;
		if (p->is_lost)
			counts[BENCH_CUT_OFF]++;
		else if (!(s & BENCH_SLOT_ACCEPTED))
			counts[BENCH_UNANSWERED]++;
		else if (!(s & BENCH_SLOT_RECEIVED))
			counts[BENCH_LOST]++;
		else
			counts[BENCH_UNREPORTED]++;
	}
}
