/* SPDX-License-Identifier: MIT */
/* Which servers hold a user: what was read from his route and what was heard since (decision 0006,
 * section 6).  A bounded map that forgets who was not asked for longest; no actor, one owner.
 *
 * A lookup is under way while pushes come.  So a lookup remembers stack_routes_cache_now of when it
 * was sent, and its answer is not kept when something about this user was heard since. */
#ifndef IO_STACK_ROUTES_CACHE_H
#define IO_STACK_ROUTES_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/slice.h"
#include "wire/uuid.h"
#include "wire/uuid_map.h"

#define STACK_ROUTES_MAX 8 /* instances of a user; more are not pushed to, they read */

struct stack_routes {
	uint32_t count;
	uint64_t instances[STACK_ROUTES_MAX];
};

/* Adds one instance, once.  Returns false: no room. */
bool stack_routes_add(struct stack_routes *routes, uint64_t instance);
/* Adds the instance of a field of a route, "<16 hex>/<number>".  Returns false: it is none. */
bool stack_routes_add_field(struct stack_routes *routes, struct wire_slice field);

#define STACK_ROUTES_HEARD 256 /* a power of two */

struct stack_routes_entry;

struct stack_routes_cache {
	struct uuid_map map;
	struct stack_routes_entry *newest, *oldest;
	uint32_t cap, count;
	uint64_t life_ms;
	uint64_t time;                         /* counts what was heard */
	uint64_t floor;                        /* lookups from before are not kept */
	bool is_hearing;                       /* else no answer is kept */
	struct uuid heard[STACK_ROUTES_HEARD]; /* about whom, the last ones, by time */
};

/* Remembers at most cap users, each for life_ms at most. */
void stack_routes_cache_init(struct stack_routes_cache *c, uint32_t cap, uint64_t life_ms);
void stack_routes_cache_free(struct stack_routes_cache *c);

/* Returns NULL: not known, look it up.  Valid until the next call of another function.  now_ms 0:
 * what is too old will do. */
const struct stack_routes *stack_routes_cache_find(struct stack_routes_cache *c,
                                                   const struct uuid *user, uint64_t now_ms);
uint64_t stack_routes_cache_now(const struct stack_routes_cache *c);
/* The answer to a lookup that was sent when stack_routes_cache_now was `asked`. */
void stack_routes_cache_put(struct stack_routes_cache *c, const struct uuid *user,
                            const struct stack_routes *routes, uint64_t asked, uint64_t now_ms);
/* Heard: the user's first connection there is up, or his last one is down. */
void stack_routes_cache_joined(struct stack_routes_cache *c, const struct uuid *user,
                               uint64_t instance);
void stack_routes_cache_left(struct stack_routes_cache *c, const struct uuid *user,
                             uint64_t instance);
/* Whether joins and leaves are heard from now on: before it is said, and while they are not, what is read
 * is true for that moment only and is not kept.  Forgets all, either way. */
void stack_routes_cache_hear(struct stack_routes_cache *c, bool is_hearing);
/* Something may have been missed: nothing is known. */
void stack_routes_cache_clear(struct stack_routes_cache *c);

#endif
