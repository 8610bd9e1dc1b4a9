/* SPDX-License-Identifier: MIT */
/* What gateway_link knows of one sender: his submissions in order, and how far they are.  No actor:
 * only data and the rules about them.
 *
 * 1. [first, last) wait for their answer, in the order of submission; [first, next) have been sent or
 *    have ended, of [next, last) some have ended (refused before, or too late).
 * 2. An answer leaves from `first` on only.
 * 3. LOST ones are sent again only when nothing is under way, from the first on, in order. */
#ifndef ACTORS_LINK_SENDER_H
#define ACTORS_LINK_SENDER_H

#include <cx/actor.h>

#include "actors/gateway.h"

/* WAITING -> FLYING -> DONE or LOST; LOST -> FLYING, DONE; WAITING -> DONE */
enum link_step { LINK_WAITING, LINK_FLYING, LINK_LOST, LINK_DONE };

struct link_send {
	struct cx_caller caller;
	struct cx_buf *buf; /* the request; of one that the connection refused: its answer */
	struct uuid owner;
	uint64_t deadline_ms;
	uint32_t frame_bytes;
	uint16_t tries;
	uint8_t step; /* enum link_step */
	enum error_code code;
	char id[GATEWAY_ID_MAX + 1];
	char text[72];
};

enum link_list_name { LINK_NOWHERE, LINK_READY, LINK_BROKEN, LINK_STALLED, LINK_IDLE };

struct link_sender {
	struct link_sender *next, *prev; /* in the list it is in */
	uint8_t list;                    /* enum link_list_name */
	uint8_t level;                   /* of the next delay */
	bool is_broken; /* calls were lost: nothing is sent before all have ended */
	uint32_t flying, window;
	struct uuid user;
	uint64_t since_ms; /* STALLED: until; IDLE: from */
	struct link_send *ring;
	uint64_t first, next_send, last; /* inv. 1; place in the ring is & (cap - 1) */
	uint64_t cap;
};

struct link_list {
	struct link_sender *head, *tail;
};

void link_list_add(struct link_list *list, struct link_sender *s);
void link_list_take(struct link_list *list, struct link_sender *s);

/* Aborts when memory is out. */
struct link_sender *link_sender_new(const struct uuid *user);
/* Gives back what its submissions hold; nothing is answered. */
void link_sender_free(struct link_sender *s);

static inline struct link_send *link_sender_at(const struct link_sender *s, uint64_t n)
{
	return &s->ring[n & (s->cap - 1)];
}

/* Room for one more at the end; the caller fills it. */
struct link_send *link_sender_push(struct link_sender *s);

/* It has ended; its request goes. */
void link_send_finish(struct link_send *e, enum error_code code);

/* Ends those that are over their deadline and not under way.  Returns how many. */
uint32_t link_sender_expire(struct link_sender *s, uint64_t now_ms);

/* The next one to be sent (its number is s->next_send then), or NULL. */
struct link_send *link_sender_next(struct link_sender *s);

/* Nothing is under way any more: begin again from the first without an outcome (inv. 3).  Ends those
 * that a later accepted one to the same recipient has passed.  Returns how many. */
uint32_t link_sender_rewind(struct link_sender *s);

#endif
