/* SPDX-License-Identifier: MIT */
/* How messages cross from one worker to another.
 *
 * What crosses between cores is cache lines, and to wait for one costs as much as ten messages on one worker.
 * So a message does not go as a pointer into memory of the other core: a worker copies what it sends into the
 * lines of a parcel, which it pushes on the receiving worker's stack when it is full, and that worker copies them out
 * into blocks of its own pool and gives the parcel back.  A message of one line costs its line's way there, a
 * share of the parcel's way back, and a share of the two pushes; the lines of a parcel are asked for at once.
 *
 * A parcel is lines of 64 bytes, and messages one after the other in whole lines.  The first one's `link` is the
 * parcel's on the stack, its `origin` the number of messages.  When they were taken out it is linked to itself, which
 * gives it back.  Its owner keeps them in the order in which they went to each worker, and finds the oldest emptied.
 *
 * 1. A worker has one open parcel, and pushes it before it opens one for another worker, sends a message in another
 *    way, gives a job to another thread, lets another worker run an actor that ran here, or polls; when it spawned an
 *    actor or one ends; adapters do so before they write to a socket or close it.  With all that crosses to a worker on
 *    one stack, that keeps causal order (internal.h, rule 7).
 * 2. It is kept back for CX__PARCEL_TURNS turns at most, of quick ones; until the handler ends where turns take long;
 *    not beyond the turn when nothing else is runnable; and not at all on a thread whose handlers may block.
 * 3. What does not fit, or was not made here, or is sent by another thread, is pushed alone, as its own entry on the
 *    same stack.
 * 4. The bound of a mailbox: what its lists hold (local_depth), what is on the way alone (depth), and what the
 *    sending worker has under way to it.  That is known from the parcels that are not back yet, so the limit may be
 *    overshot by one parcel, and by what other workers have under way, the limit each at most, while the receiving worker
 *    is held up in one turn.  Where the mailbox is under its half, and what is under way too, a sender need not look further.
 * 5. A parcel goes back before its messages are counted in local_depth, and who asks reads that first: for a moment
 *    there may seem to be fewer than there are, never more, so nobody is refused who has room.
 * Many-to-one with combining: Dice, Hendler, Mirsky, "Lightweight contention management for efficient
 * compare-and-swap operations", 2013, discusses what contended pushes cost; batching of remote messages by destination
 * core is as in Baumann et al., "The Multikernel", SOSP 2009, section 5.
 * Model: tests/models/crossing.pml. */
#include <stdlib.h>

#include "runtime/crossing.h"

#define LINE 64
#define PARCEL_LINES 16
#define PARCEL_BYTES (PARCEL_LINES * LINE)
#define PARCELS_MIN \
	8 /* so that the next one was emptied long ago, and its lines wait for nobody */
#define PARCELS_FREE_MAX 8
/* A worker that is so many behind gets messages singly: 64 bytes each, not up to 1,024.  So there are never more. */
#define PARCELS_OUT_MAX 256
#define RING 512 /* a power of two */
#define GRANT_MAX 64

/* What went to one other worker. */
struct cx__bridge {
	struct cx_msg *ring[RING]; /* parcels, oldest first; those up to `settled` are free */
	uint32_t first, settled, last;
};

_Static_assert(PARCELS_OUT_MAX < RING && PARCELS_MIN < RING, "all of them fit");
_Static_assert(PARCEL_LINES <= UINT8_MAX && CX__PARCEL_MSG_MAX <= PARCEL_BYTES, "it fits");
_Static_assert(CX__POOL_STEP == LINE, "blocks are whole lines");

static inline uint32_t lines_of(const struct cx_msg *msg)
{
	return (msg->size + LINE - 1u) / LINE;
}

static inline struct cx_msg *skip(struct cx_msg *msg, uint32_t lines)
{
	return (struct cx_msg *)(void *)((uint8_t *)msg + (size_t)lines * LINE);
}

/* Whole lines: blocks of pools and parcels have them. */
static inline void copy(struct cx_msg *to, const struct cx_msg *from, uint32_t lines)
{
	memcpy(to, from, LINE);
	for (size_t at = LINE; __builtin_expect(at < (size_t)lines * LINE, 0); at += LINE)
		memcpy((uint8_t *)to + at, (const uint8_t *)from + at, LINE);
}

/* ---- the sending worker ---- */

void cx__under_way_add(struct cx_worker *w, uint32_t slot)
{
	uint32_t *chunk = calloc(CX__CHUNK, sizeof(*chunk));

	if (chunk == NULL)
		cx__out_of_memory("counts of what is under way", CX__CHUNK * sizeof(*chunk));
	w->under_way[slot / CX__CHUNK] = chunk;
}

static struct cx__bridge *bridge_to(struct cx_worker *w, unsigned to)
{
	struct cx__bridge *b = w->bridge[to];

	if (__builtin_expect(b == NULL, 0)) {
		b = w->bridge[to] = calloc(1, sizeof(*b));
		if (b == NULL)
			cx__out_of_memory("the way to another worker", sizeof(*b));
	}
	return b;
}

static inline struct cx_msg **at(struct cx__bridge *b, uint32_t n)
{
	return &b->ring[n % RING];
}

/* Is what was in it taken out?  acquire: pairs with the release in take_parcel. */
static inline bool is_empty(const struct cx_msg *parcel)
{
	return __atomic_load_n(&parcel->link, __ATOMIC_ACQUIRE) == parcel;
}

/* Returns whether some came back. */
static bool settle(struct cx_worker *w, struct cx__bridge *b)
{
	const uint32_t before = b->settled;

	while (b->settled != b->last && is_empty(*at(b, b->settled))) {
		struct cx_msg *msg = *at(b, b->settled++);

		for (uintptr_t left = msg->origin; left > 0; left--) {
			--*cx__under_way(w, msg->to.slot);
			msg = skip(msg, lines_of(msg));
		}
	}
	return b->settled != before;
}

bool cx__has_room(struct cx_worker *w, const struct cx__actor *a, struct cx_ref to)
{
	struct cx__bridge *b = bridge_to(w, cx__front(a)->home);
	int64_t room;

	if (w->grant > 0 && w->parcel != NULL && cx_ref_is(w->grant_to, to)) {
		w->grant--;
		return true;
	}
	if (!cx__counts_under_way(w, to.slot))
		cx__under_way_add(w, to.slot);
	/* In this order what moves meanwhile is not counted twice (5); and until nothing does, or it would not be
	 * counted at all. */
	do {
		room = (int64_t)cx__front(a)->kind->type->mailbox_cap - cx__list_depth(a);
		room -= atomic_load_explicit(&cx__front(a)->depth, memory_order_relaxed);
	} while (settle(w, b));
	room -= *cx__under_way(w, to.slot);
	if (room <= 0)
		return false;
	w->grant_to = to;
	w->grant = (uint32_t)room / (2 * w->rt->all_workers);
	if (w->grant > GRANT_MAX)
		w->grant = GRANT_MAX;
	return true;
}

static inline void prefetch_write(const void *p)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/* Less memory after a jam. */
static __attribute__((noinline)) void give_to_pool(struct cx_worker *w, struct cx__bridge *b)
{
	cx__pool_rest(w->pool, *at(b, b->first++), cx__pool_class(w->pool, PARCEL_BYTES));
}

static struct cx_msg *new_parcel(struct cx_worker *w, struct cx__bridge *b)
{
	uint16_t cls;

	if (b->last - b->first < PARCELS_MIN)
		return cx__pool_take(w->pool, PARCEL_BYTES, &cls);
	if (b->settled == b->first)
		settle(w, b);
	if (b->settled == b->first)
		return cx__pool_take(w->pool, PARCEL_BYTES, &cls);
	if (b->settled - b->first > PARCELS_FREE_MAX)
		give_to_pool(w, b);
	if (b->settled - b->first > 1)
		prefetch_write(*at(b, b->first + 1)); /* for the next time */
	return *at(b, b->first++);
}

static void open_parcel(struct cx_worker *w, struct cx__bridge *b, uint16_t to)
{
	w->parcel = new_parcel(w, b);
	w->parcel_at = w->parcel;
	w->parcel_to = to;
	w->parcel_left = PARCEL_LINES;
	w->parcel_count = w->parcel_turns = 0;
}

static bool is_far_behind(struct cx_worker *w, struct cx__bridge *b)
{
	if (b->last - b->settled < PARCELS_OUT_MAX)
		return false;
	settle(w, b);
	return b->last - b->settled >= PARCELS_OUT_MAX;
}

void cx__parcel_push(struct cx_worker *w)
{
	struct cx_worker *to = w->rt->worker[w->parcel_to];
	struct cx__bridge *b = w->bridge[w->parcel_to];
	struct cx_msg *parcel = w->parcel;

	w->parcel = NULL;
	w->parcel_to = CX__DIRECT_NOBODY;
	w->grant = 0; /* others have sent meanwhile */
	*at(b, b->last++) = parcel;
	parcel->flags |= CX__PARCEL;
	parcel->origin = w->parcel_count;
	cx__stack_push(&to->mail, (ck_stack_entry_t *)(void *)parcel);
	cx__wake(to);
}

void cx__crossing_end(struct cx_worker *w)
{
	for (unsigned i = 0; i < CX__WORKERS_MAX; i++)
		free(w->bridge[i]);
	for (uint32_t i = 0; i < w->rt->chunk_max; i++)
		free(w->under_way[i]);
	free(w->under_way);
}

void cx__cross(struct cx_worker *w, struct cx__actor *a, struct cx_msg *msg)
{
	const uint32_t more = lines_of(msg) - 1;

	if (w->parcel != NULL && (w->parcel_to != cx__front(a)->home || w->parcel_left <= more))
		cx__parcel_push(w);
	if (w->parcel == NULL) {
		struct cx__bridge *b = bridge_to(w, cx__front(a)->home);

		if (is_far_behind(w, b)) {
			cx__cross_alone(w->rt, w, a, msg);
			return;
		}
		open_parcel(w, b, cx__front(a)->home);
	}
	if (!cx__counts_under_way(w, msg->to.slot))
		cx__under_way_add(w, msg->to.slot);
	if (more > 0) { /* the first comes last, with what goes with it */
		copy(skip(w->parcel_at, 1), skip(msg, 1), more);
		w->parcel_left = (uint8_t)(w->parcel_left - more);
	}
	cx__cross_line(w, msg);
	w->parcel_at = skip(w->parcel_at, more); /* or it is pushed */
	if (w->dedicated)                        /* its handlers may block */
		cx__parcel_flush(w);
}

void cx__cross_alone(struct cx_runtime *rt, struct cx_worker *here, struct cx__actor *a,
                     struct cx_msg *msg)
{
	struct cx_worker *home = rt->worker[cx__front(a)->home];
	struct cx_worker *own = here != NULL ? here : cx__worker_here();

	if (own != NULL) {
		cx__parcel_flush(own);
		own->grant = 0;
	}
	/* relaxed: a figure, and a bound */
	atomic_fetch_add_explicit(&cx__front(a)->depth, 1, memory_order_relaxed);
	cx__stack_push(&home->mail, (ck_stack_entry_t *)(void *)msg);
	if (home != here)
		cx__wake(home);
}

void cx_io_flush(void)
{
	struct cx_worker *w = cx__worker_here();

	if (w != NULL)
		cx__parcel_flush(w);
}

/* ---- the receiving worker ---- */

/* A copy of a message in a parcel, in a block of this worker's own. */
static inline struct cx_msg *unpack(struct cx_worker *w, const struct cx_msg *packed,
                                    uint32_t lines)
{
	const uint16_t cls = cx__pool_class(w->pool, packed->size);
	struct cx_msg *msg = cx__pool_take_resting(w->pool, cls);

	if (__builtin_expect(msg == NULL, 0))
		msg = cx__pool_refill(w->pool, cls);
	copy(msg, packed, lines);
	msg->origin = (uintptr_t)w->pool | cls;
	msg->flags &= (uint16_t)~CX__PARCEL;
	return msg;
}

/* One that came over the stack. */
static inline void count_in(struct cx__actor *a)
{
	cx__add_local(a);
	/* of what the home worker itself appends its next turn takes note */
	if (__builtin_expect(
		    atomic_load_explicit(&a->local_depth, memory_order_relaxed) >= a->half, 0))
		cx__set_filling(a, true);
}

static void take_parcel(struct cx_worker *w, struct cx_msg *parcel)
{
	const uintptr_t count = parcel->origin;
	struct cx__actor *to[PARCEL_LINES];
	struct cx_msg *packed = parcel;

	for (uintptr_t i = 0; i < count; i++) {
		const uint32_t lines = lines_of(packed);

		to[i] = cx__actor_at(w->rt, packed->to.slot);
		cx__append(w, to[i], unpack(w, packed, lines), packed->flags & CX__TO_CONTROL);
		packed = skip(packed, lines);
	}
	__atomic_store_n(&parcel->link, parcel, __ATOMIC_RELEASE); /* pairs with is_empty */
	for (uintptr_t i = 0; i < count; i++)
		count_in(to[i]);
}

static void take_alone(struct cx_worker *w, struct cx_msg *msg)
{
	struct cx__actor *a = cx__actor_at(w->rt, msg->to.slot);

	atomic_fetch_sub_explicit(&cx__front(a)->depth, 1, memory_order_relaxed);
	cx__append(w, a, msg, msg->flags & CX__TO_CONTROL);
	count_in(a);
}

/* Turned round, as it was sent; what is behind their first lines is asked for. */
static struct cx_msg *take_stack(struct cx_worker *w)
{
	struct cx_msg *entry = (struct cx_msg *)(void *)cx__stack_take_all(&w->mail);
	struct cx_msg *first = NULL;

	while (entry != NULL) {
		struct cx_msg *const next = entry->link;

		if (entry->flags & CX__PARCEL)
			for (uint32_t i = 1; i < entry->origin; i++)
				__builtin_prefetch(skip(entry, i));
		/* a write takes the line from its owner, who may look on (so it is atomic) */
		if (next != first)
			__atomic_store_n(&entry->link, first, __ATOMIC_RELAXED);
		first = entry;
		entry = next;
	}
	return first;
}

void cx__take_all_mail(struct cx_worker *w)
{
	struct cx_msg *entry = take_stack(w);

	while (entry != NULL) {
		struct cx_msg *const next = entry->link;

		if (entry->flags & CX__PARCEL)
			take_parcel(w, entry);
		else
			take_alone(w, entry);
		entry = next;
	}
}
