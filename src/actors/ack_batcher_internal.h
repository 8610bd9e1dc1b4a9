/* SPDX-License-Identifier: MIT */
/* What the parts of ack_batcher share. */
#ifndef ACTORS_ACK_BATCHER_INTERNAL_H
#define ACTORS_ACK_BATCHER_INTERNAL_H

#include "actors/ack_batcher.h"
#include "io/figures.h"
#include "io/kafka_producer.h"
#include "io/redis.h"
#include "wire/slice.h"

#define ACK_NONE UINT32_MAX
#define ACK_KEY_LEN 64 /* hex digits of messageHash */
#define ACK_BUCKETS 4096

struct ack_place { /* an outbox entry's id */
	uint64_t ms, seq;
};

/* An outbox entry of which not all events are written. */
struct ack_entry {
	struct ack_place place;
	uint32_t left; /* events; of a free one: the next free one */
	bool is_swept; /* read by the sweep: the sweep deletes it */
};

struct ack_event {
	struct cx_buf *json;
	uint64_t corr; /* of kafka_produce */
	uint32_t entry;
	uint32_t next; /* in its bucket, or the next free one */
	uint8_t key[ACK_KEY_LEN];
};

/* ---- ack_batcher_queue.c: no messages, no time ---- */

/* Numbers of events, first in, first out; grows. */
struct ack_list {
	uint32_t *at;
	uint32_t head, end, cap;
};
static inline uint32_t ack_list_count(const struct ack_list *l)
{
	return l->end - l->head;
}
void ack_list_push(struct ack_list *l, uint32_t n);
uint32_t ack_list_pop(struct ack_list *l); /* not empty */

struct ack_places {
	struct ack_place *at;
	uint32_t count, cap;
};
void ack_places_push(struct ack_places *l, struct ack_place place);

/* Entries and events in slabs, addressed by number. */
struct ack_queue {
	struct ack_event *events;
	struct ack_entry *entries;
	uint32_t event_cap, entry_cap;
	uint32_t event_free, entry_free; /* first free ones */
	uint32_t event_count, flying;
	uint32_t buckets[ACK_BUCKETS]; /* flying events by corr */
};
void ack_queue_init(struct ack_queue *q);
void ack_queue_free(struct ack_queue *q);
uint32_t ack_entry_new(struct ack_queue *q, struct ack_place place, bool is_swept);
/* Copies json; its entry has one more left. */
uint32_t ack_event_new(struct ack_queue *q, uint32_t entry, struct wire_slice json,
                       const uint8_t key[ACK_KEY_LEN]);
void ack_event_free(struct ack_queue *q, uint32_t event);
void ack_entry_free(struct ack_queue *q, uint32_t entry);
void ack_fly(struct ack_queue *q, uint32_t event, uint64_t corr);
uint32_t ack_land(struct ack_queue *q, uint64_t corr); /* ACK_NONE: not one of ours */

/* The event at bytes.at[*at]; moves *at behind it.  False: at the end, or what follows is not one. */
bool ack_events_next(struct wire_slice bytes, size_t *at, struct wire_slice *json);
/* The text of its messageHash: 64 hex digits.  False: there is none. */
bool ack_event_key(struct wire_slice json, uint8_t key[ACK_KEY_LEN]);

/* ---- the actor ---- */

enum ack_sweep_step { /* each waits for one answer of Redis, but WRITING */
	              ACK_SWEEP_IDLE,
	              ACK_SWEEP_LIST,    /* names whose time is over */
	              ACK_SWEEP_ALIVE,   /* who of them lives all the same */
	              ACK_SWEEP_LOCK,    /* the outbox of the next dead one */
	              ACK_SWEEP_READ,    /* a chunk of its entries */
	              ACK_SWEEP_WRITING, /* until all events of the chunk are written */
	              ACK_SWEEP_DELETE,  /* the chunk; then READ again, from the start */
	              ACK_SWEEP_CLOSE, /* an outbox that is empty; then the next dead one, at last our own */
};

#define ACK_SWEEP_DEAD_MAX 16

struct ack_sweep {
	enum ack_sweep_step step;
	uint64_t corr;
	uint64_t dead[ACK_SWEEP_DEAD_MAX];
	uint32_t dead_count;
	uint64_t instance;        /* whose outbox is being read */
	uint32_t left;            /* entries of the chunk that are not written */
	struct ack_places places; /* of the chunk */
};

struct ack_batcher {
	struct ack_batcher_conf conf;
	struct ack_queue queue;
	struct ack_list gathered; /* until the buffer's time is over */
	struct ack_list ready;    /* shuffled, or for another try */
	struct ack_places done;   /* of our outbox: written, to be deleted */
	struct ack_places sent;   /* the same, told to Redis with delete_corr */
	uint64_t delete_corr;
	uint32_t backoff_ms, delete_backoff_ms; /* 0: the last one worked */
	bool is_flushing;
	struct cx_caller flusher; /* corr 0: nobody */
	struct cx_timer gather_timer, limit_timer, retry_timer, delete_timer, adopt_timer;
	struct ack_sweep sweep;
	struct redis_batch batch;
	struct ack_batcher_figures *figures;
};

static inline void ack_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure of one writer, pairs with the load in figures_add */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

/* ---- ack_batcher.c ---- */

/* Takes in the events of an outbox entry, gathered or, swept ones, ready.  Returns the number. */
uint32_t ack_take_in(struct ack_batcher *b, struct ack_place place, bool is_swept,
                     struct wire_slice bytes);

/* ---- ack_batcher_sweep.c ---- */

/* XDEL of places from that instance's outbox, into b->batch. */
void ack_delete(struct ack_batcher *b, uint64_t instance, const struct ack_places *places);
/* Whether the server did all that it was told. */
bool ack_is_without_error(const struct cx_buf *reply);
void ack_sweep_begin(struct cx_ctx *ctx, struct ack_batcher *b);
/* An entry of the chunk is written. */
void ack_sweep_written(struct cx_ctx *ctx, struct ack_batcher *b);
/* reply NULL: none came. */
void ack_sweep_go_on(struct cx_ctx *ctx, struct ack_batcher *b, const struct cx_buf *reply);

#endif
