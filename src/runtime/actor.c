/* SPDX-License-Identifier: MIT */
/* The table of actors: slots, spawn, start, end.  Slots come in chunks that are never freed while the
 * runtime lives (rule 4); each worker has its own free slots, so an actor's home is where its slot
 * is from and never changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cx/log.h>

#include "runtime/crossing.h"
#include "runtime/internal.h"

/* It travels in the message that starts the actor. */
#define CONF_MAX (CX__MSG_MAX - sizeof(struct cx__start))
_Static_assert(CONF_MAX == 4032, "as actor.h says");

struct cx__watcher {
	struct cx__watcher *next;
	struct cx_ref ref;
	struct cx__pool *owner;
	uint16_t cls;
};

static void init_slot(struct cx__actor *a, uint32_t slot, const struct cx_worker *home,
                      unsigned any)
{
	struct cx__front *front = cx__front(a);

	a->slot = slot;
	if (any) {
		ck_stack_init(&front->mail);
		ck_stack_init(&front->control);
	}
	atomic_store_explicit(&front->gen, 2, memory_order_relaxed); /* CX_NOBODY is 0 */
	front->home = home->index;
	front->any = (uint8_t)any;
	a->is_any = (uint8_t)any;
	a->status = CX__FREE;
	a->half = INT32_MAX; /* START knows */
	a->mail_end = &a->mail_head;
	a->control_end = &a->control_head;
}

/* Of a leak checker, where the program has one: it does not look into what is mapped by itself. */
extern void __lsan_register_root_region(const void *at, size_t size) __attribute__((weak));
extern void __lsan_unregister_root_region(const void *at, size_t size) __attribute__((weak));

static void *map(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at != MAP_FAILED ? at : NULL;
}

/* size bytes at a multiple of size, zeroed, or NULL.  Once one lies so, the system mostly puts the next beside
 * it, and they are one mapping to it. */
static void *map_aligned(size_t size)
{
	uint8_t *at = map(size);
	size_t before;

	if (at == NULL || (uintptr_t)at % size == 0)
		return at;
	munmap(at, size);
	at = map(2 * size);
	if (at == NULL)
		return NULL;
	before = (size - (uintptr_t)at % size) % size;
	if (before > 0)
		munmap(at, before);
	munmap(at + before + size, size - before);
	return at + before;
}

/* Zeroed, or NULL.  Not by malloc, which would keep a page or two beside each.  What lies behind the slots is
 * never touched. */
static struct cx__slots *map_slots(void)
{
	struct cx__slots *slots = map_aligned(CX__SLOTS_ALIGN);

	if (slots == NULL)
		return NULL;
	(void)madvise(slots, CX__SLOTS_ALIGN,
	              MADV_NOHUGEPAGE); /* nor made part of a large page */
	if (__lsan_register_root_region != NULL)
		__lsan_register_root_region(slots, sizeof(*slots));
	return slots;
}

void cx__chunk_unmap(const struct cx__chunk *chunk)
{
	if (__lsan_unregister_root_region != NULL)
		__lsan_unregister_root_region(chunk->slots, sizeof(*chunk->slots));
	munmap(chunk->slots, CX__SLOTS_ALIGN);
}

static bool add_chunk(struct cx_runtime *rt, struct cx_worker *home, unsigned any)
{
	struct cx__chunk chunk = { .direct = any ? CX__DIRECT_NEVER : home->index };
	struct cx__actor *first = NULL, *last = NULL;
	uint32_t n;

	pthread_mutex_lock(&rt->lock);
	n = atomic_load_explicit(&rt->chunk_count, memory_order_relaxed);
	if (n < rt->chunk_max)
		chunk.slots = map_slots();
	if (chunk.slots == NULL) {
		pthread_mutex_unlock(&rt->lock);
		return false;
	}
	for (uint32_t i = CX__CHUNK; i-- > 0;) {
		struct cx__actor *a = cx__actor_in(&chunk, i);

		init_slot(a, n * CX__CHUNK + i, home, any);
		a->free_next = first;
		first = a;
		if (last == NULL)
			last = a;
	}
	rt->chunks[n] = chunk;
	/* release: pairs with cx__actor_at */
	atomic_store_explicit(&rt->chunk_count, n + 1, memory_order_release);
	pthread_mutex_unlock(&rt->lock);

	pthread_mutex_lock(&home->free_lock);
	last->free_next = home->free_slots[any];
	home->free_slots[any] = first;
	pthread_mutex_unlock(&home->free_lock);
	return true;
}

static struct cx__actor *take_slot(struct cx_runtime *rt, struct cx_worker *home, unsigned any)
{
	struct cx__actor *a;

	for (;;) {
		pthread_mutex_lock(&home->free_lock);
		a = home->free_slots[any];
		if (a != NULL)
			home->free_slots[any] = a->free_next;
		pthread_mutex_unlock(&home->free_lock);
		if (a != NULL || !add_chunk(rt, home, any))
			return a;
	}
}

static void give_slot(struct cx_runtime *rt, struct cx__actor *a)
{
	struct cx_worker *home = rt->worker[cx__front(a)->home];

	pthread_mutex_lock(&home->free_lock);
	a->free_next = home->free_slots[cx__front(a)->any];
	home->free_slots[cx__front(a)->any] = a;
	pthread_mutex_unlock(&home->free_lock);
}

/* Once for each kind: who spawns it again pays nothing. */
static void check(const struct cx_actor_type *type, bool is_right, const char *mistake)
{
	char text[160];

	if (is_right)
		return;
	snprintf(text, sizeof(text), "actor type %s: %s",
	         type->name != NULL ? type->name : "without a name", mistake);
	cx_assert_failed(text, __FILE__, __LINE__);
}

static void check_type(const struct cx_actor_type *type)
{
	check(type, type->name != NULL, "its name is NULL");
	check(type, (unsigned)type->placement <= CX_PLACE_THREAD,
	      "its placement is none of enum cx_placement");
	check(type, type->mailbox_cap > 0, "its mailbox_cap is 0, and it has no default");
	check(type, type->mailbox_cap <= INT32_MAX, "its mailbox_cap is over 2147483647");
	check(type, type->conf_size <= CONF_MAX, "its conf_size is over 4032");
	check(type, type->handler_count < UINT8_MAX, "it has more than 254 handlers");
	check(type, type->handler_count == 0 || type->handlers != NULL,
	      "it has a handler_count, but its handlers are NULL");
}

static void check_handler(const struct cx__kind *kind, const struct cx_handler *h)
{
	check(kind->type, h->type < CX_MSG_LIMIT,
	      "a handler's message id is not below CX_MSG_LIMIT");
	check(kind->type, h->size >= sizeof(struct cx_msg),
	      "a handler's struct is smaller than a struct cx_msg");
	check(kind->type, h->fn != NULL, "the function of a handler is NULL");
	check(kind->type, kind->on[h->type].fn == NULL, "two handlers have one message id");
}

static struct cx__kind *add_kind(struct cx_runtime *rt, const struct cx_actor_type *type)
{
	struct cx__kind *kind = calloc(1, sizeof(*kind));
	const uint32_t n = atomic_load_explicit(&rt->kind_count, memory_order_relaxed);

	if (kind == NULL)
		cx__out_of_memory("a kind of actor", sizeof(*kind));
	check_type(type);
	check(type, n < CX__KINDS_MAX, "there are 64 kinds of actors already");
	kind->type = type;
	kind->index = n;
	kind->batch = type->batch_max > 0 ? type->batch_max : CX__BATCH;
	kind->batch_end = type->batch_end;
	for (size_t i = 0; i < type->handler_count; i++) {
		const struct cx_handler *h = &type->handlers[i];

		check_handler(kind, h);
		kind->on[h->type] = (struct cx__on){ .fn = h->fn, .size = h->size };
	}
	atomic_store_explicit(&rt->kinds[n], kind, memory_order_relaxed);
	/* release: pairs with the acquire in find_kind */
	atomic_store_explicit(&rt->kind_count, n + 1, memory_order_release);
	return kind;
}

static struct cx__kind *find_kind(struct cx_runtime *rt, const struct cx_actor_type *type)
{
	const uint32_t n = atomic_load_explicit(&rt->kind_count, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		struct cx__kind *kind =
			atomic_load_explicit(&rt->kinds[i], memory_order_relaxed);

		if (kind->type == type)
			return kind;
	}
	return NULL;
}

struct cx__kind *cx__kind_of(struct cx_runtime *rt, const struct cx_actor_type *type)
{
	struct cx__kind *kind = find_kind(rt, type);

	if (kind != NULL)
		return kind;
	pthread_mutex_lock(&rt->lock);
	kind = find_kind(rt, type);
	if (kind == NULL)
		kind = add_kind(rt, type);
	pthread_mutex_unlock(&rt->lock);
	return kind;
}

static uint64_t mix(uint64_t x) /* finaliser of MurmurHash3, public domain constants */
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static struct cx_worker *home_of(struct cx_runtime *rt, const struct cx_worker *here,
                                 const struct cx_actor_type *type, uint64_t home_key)
{
	switch (type->placement) {
	case CX_PLACE_IO:
		cx_assert(home_key < rt->workers);
		return rt->worker[home_key];
	case CX_PLACE_THREAD:
		return rt->worker[home_key]; /* chosen by cx_runtime_spawn */
	case CX_PLACE_ANY:
		if (here != NULL && here->dedicated == 0)
			return rt->worker[here->index];
		return rt->worker[mix(home_key) % rt->workers];
	case CX_PLACE_HOME:
	default:
		return rt->worker[mix(home_key) % rt->workers];
	}
}

struct cx_msg *cx__start_msg(struct cx_worker *here, uint32_t id,
                             const struct cx_actor_type *type, const void *conf,
                             struct cx_ref supervisor)
{
	struct cx__start *m =
		(struct cx__start *)(void *)cx__msg_new(here, id, sizeof(*m) + type->conf_size);

	cx__demand(type->conf_size == 0 || conf != NULL,
	           "conf is NULL, but the type has a conf_size");
	m->supervisor = supervisor;
	if (type->conf_size > 0)
		memcpy(m->conf, conf, type->conf_size);
	return &m->hdr;
}

enum cx_err cx__spawn(struct cx_runtime *rt, struct cx_worker *here,
                      const struct cx_actor_type *type, const void *conf, uint64_t home_key,
                      struct cx_ref supervisor, struct cx_ref *out)
{
	struct cx__kind *kind = cx__kind_of(rt, type);
	struct cx_worker *home = home_of(rt, here, type, home_key);
	struct cx__actor *a = take_slot(rt, home, type->placement == CX_PLACE_ANY);
	struct cx__front *front;
	struct cx_ref ref;
	enum cx_err err;

	if (a == NULL)
		return CX_ENOMEM;
	front = cx__front(a);
	front->kind = kind;
	a->mailbox_cap = (int32_t)type->mailbox_cap;
	/* Until START knows how full it is who sends looks closely.  relaxed: the release below */
	if (!front->any)
		atomic_store_explicit(&front->share, 0, memory_order_relaxed);
	ref.slot = a->slot;
	ref.gen = atomic_load_explicit(&front->gen, memory_order_relaxed) + 1;
	cx_assert(ref.gen % 2 == 1);
	/* release: pairs with the acquire in cx__deliver */
	atomic_store_explicit(&front->gen, ref.gen, memory_order_release);
	if (here != NULL)
		cx__count(&here->counts[kind->index].spawned, 1);
	else
		atomic_fetch_add_explicit(&rt->outside[kind->index].spawned, 1,
		                          memory_order_relaxed);
	*out = ref; /* before its start can run: who learns of that may read it */
	err = cx__deliver(rt, here, ref,
	                  cx__start_msg(here, CX_MSG_START, type, conf, supervisor),
	                  CX__CONTROL);
	cx_assert(err == CX_OK);
	if (here != NULL) /* before anybody reads *out who was told by no message */
		cx__parcel_flush(here);
	return CX_OK;
}

enum cx_err cx_spawn(struct cx_ctx *ctx, const struct cx_actor_type *type, const void *conf,
                     uint64_t home_key, struct cx_ref *out)
{
	cx__demand(type != NULL, "the type of an actor is NULL");
	cx_assert(type->placement != CX_PLACE_THREAD);
	return cx__spawn(ctx->worker->rt, ctx->worker, type, conf, home_key, CX_NOBODY, out);
}

/* Handles START and RESTART. */
void cx__actor_start(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg)
{
	const struct cx__start *m = (const struct cx__start *)(const void *)msg;
	const struct cx_actor_type *type = cx__front(a)->kind->type;
	enum cx_err err;

	if (msg->type == CX_MSG_RESTART) {
		if (a->status != CX__DOWN)
			return;
		cx__count(&w->counts[cx__front(a)->kind->index].restarts, 1);
	} else {
		a->supervisor = m->supervisor;
		a->half =
			cx__front(a)->any ? INT32_MAX : a->mailbox_cap / 2 + a->mailbox_cap % 2;
		if (!cx__front(a)->any) {
			cx__set_filling(a,
			                atomic_load_explicit(&a->local_depth,
			                                     memory_order_relaxed) >= a->half);
			atomic_store_explicit(&cx__front(a)->share, a->mailbox_cap / 2,
			                      memory_order_relaxed);
		}
		a->state_owner = w->pool;
		a->state = cx__pool_take(w->pool, type->state_size > 0 ? type->state_size : 1,
		                         &a->state_cls);
	}
	memset(a->state, 0, type->state_size);
	a->status = CX__LIVE;
	a->ending = 0;
	a->reason = CX_OK; /* not that of the life before */
	if (type->start == NULL)
		return;
	err = type->start(&w->ctx, a->state, type->conf_size > 0 ? m->conf : NULL);
	if (err != CX_OK)
		cx_fail(&w->ctx, err);
}

void cx__watch_add(struct cx_worker *w, struct cx__actor *a, const struct cx_msg *msg)
{
	struct cx__watcher *watcher;
	uint16_t cls;

	watcher = cx__pool_take(w->pool, sizeof(*watcher), &cls);
	watcher->ref = msg->from;
	watcher->owner = w->pool;
	watcher->cls = cls;
	watcher->next = a->watchers;
	a->watchers = watcher;
}

static void notify_watchers(struct cx_worker *w, struct cx__actor *a, struct cx_ref who)
{
	while (a->watchers != NULL) {
		struct cx__watcher *watcher = a->watchers;
		struct cx_msg_down *down = (struct cx_msg_down *)(void *)cx__msg_new(
			w, CX_MSG_DOWN, sizeof(*down));
		enum cx_err err;

		a->watchers = watcher->next;
		down->who = who;
		down->reason = (enum cx_err)a->reason;
		err = cx__deliver(w->rt, w, watcher->ref, &down->hdr, CX__CONTROL);
		(void)err; /* the watcher is gone too */
		cx__pool_give(watcher->owner, watcher, watcher->cls);
	}
}

/* A supervised actor failed: stays in its slot, keeps what waits, until CX_MSG_RESTART. */
static void go_down(struct cx_worker *w, struct cx__actor *a, struct cx_ref self)
{
	struct cx__failed *m =
		(struct cx__failed *)(void *)cx__msg_new(w, CX__MSG_FAILED, sizeof(*m));

	a->status = CX__DOWN;
	a->ending = 0;
	m->who = self;
	m->reason = (enum cx_err)a->reason;
	if (cx__deliver(w->rt, w, a->supervisor, &m->hdr, CX__CONTROL) != CX_OK) {
		a->supervisor = CX_NOBODY; /* nobody will restart it */
		a->ending = 1;
	}
}

/* Returns how many there were. */
static uint64_t bounce_all(struct cx_worker *w, struct cx__actor *a, void **head, void ***end)
{
	uint64_t count = 0;

	for (; *head != NULL; count++) {
		struct cx_msg *msg = *head;

		cx__list_pop(head, end);
		if (msg->flags & CX__LOCAL)
			cx__take_local(a);
		else
			a->taken++;
		cx__dead_letter(w->rt, w, msg);
	}
	return count;
}

void cx__actor_end(struct cx_worker *w, struct cx__actor *a)
{
	const struct cx_actor_type *type = cx__front(a)->kind->type;
	const struct cx_ref self = { a->slot, atomic_load_explicit(&cx__front(a)->gen,
		                                                   memory_order_relaxed) };

	if (a->status == CX__LIVE && type->stop != NULL)
		type->stop(&w->ctx, a->state);
	cx__timers_cancel_all(w, a);
	cx__ask_close_all(w, a);
	if (a->status == CX__LIVE && a->reason != CX_OK) {
		cx_log(CX_WARN, "actor.failed", "kind=%s reason=%s", type->name,
		       cx_err_name((enum cx_err)a->reason));
		if (!cx_ref_none(a->supervisor))
			go_down(w, a, self);
		if (a->status == CX__DOWN && !a->ending)
			return;
	}
	a->status = CX__FREE;
	cx__parcel_flush(w); /* its last messages, before anybody sees that it is gone */
	/* From here on sends get CX_EGONE; what is pushed late is a dead letter (rule 4). */
	atomic_store_explicit(&cx__front(a)->gen, self.gen + 1, memory_order_release);
	notify_watchers(w, a, self);
	if (cx__front(a)->any)
		cx__drain(a);
	bounce_all(w, a, &a->control_head, &a->control_end);
	cx__count(&w->counts[cx__front(a)->kind->index].dead,
	          bounce_all(w, a, &a->mail_head, &a->mail_end));
	cx__pool_give(a->state_owner, a->state, a->state_cls);
	a->state = NULL;
	a->ending = 0;
	a->reason = CX_OK;
	a->supervisor = CX_NOBODY;
	cx__count(&w->counts[cx__front(a)->kind->index].ended, 1);
	/* What came over stacks of its own is taken off depth after the turn (rule 2). */
	give_slot(w->rt, a);
}

void cx_stop(struct cx_ctx *ctx)
{
	cx_fail(ctx, CX_OK);
}

void cx_fail(struct cx_ctx *ctx, enum cx_err reason)
{
	if (ctx->actor->ending)
		return;
	ctx->actor->ending = 1;
	ctx->actor->reason = (uint8_t)reason;
}

void cx_watch(struct cx_ctx *ctx, struct cx_ref who)
{
	struct cx_worker *w = ctx->worker;
	struct cx_msg *m = cx__msg_new(w, CX__MSG_WATCH, sizeof(*m));

	m->from = cx_self(ctx);
	m->to = who;
	if (cx__deliver(w->rt, w, who, m, CX__CONTROL) == CX_OK)
		return;
	m = cx__msg_new(w, CX__MSG_WATCH, sizeof(*m)); /* the first went with the refusal */
	m->from = cx_self(ctx);
	m->to = who;
	cx__dead_letter(w->rt, w, m);
}
