/* SPDX-License-Identifier: MIT */
/* 1. Every entry is in the map and in the list, newest first by last use.
 * 2. News about users who are not in it make no entry (most users get no message now); the last of
 *    them are remembered, so that a lookup that is older than the news is not kept. */
#include "io/stack_routes_cache.h"

#include <stdlib.h>

#include <cx/actor.h>

#define FIELD_HEX 16 /* digits of an instance */

struct stack_routes_entry {
	struct stack_routes_entry *newer, *older;
	struct uuid user;
	struct stack_routes routes;
	uint64_t until_ms;
};

bool stack_routes_add(struct stack_routes *routes, uint64_t instance)
{
	for (uint32_t i = 0; i < routes->count; i++)
		if (routes->instances[i] == instance)
			return true;
	if (routes->count == STACK_ROUTES_MAX)
		return false;
	routes->instances[routes->count++] = instance;
	return true;
}

static void routes_remove(struct stack_routes *routes, uint64_t instance)
{
	for (uint32_t i = 0; i < routes->count; i++)
		if (routes->instances[i] == instance)
			routes->instances[i] = routes->instances[--routes->count];
}

bool stack_routes_add_field(struct stack_routes *routes, struct wire_slice field)
{
	uint64_t instance = 0;

	if (field.len < FIELD_HEX + 2 || field.at[FIELD_HEX] != '/')
		return false;
	for (size_t i = 0; i < FIELD_HEX; i++) {
		const uint8_t c = field.at[i];
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10u;
		else
			return false;
		instance = instance << 4 | digit;
	}
	return stack_routes_add(routes, instance);
}

/* ---- the list ---- */

static void unlink_entry(struct stack_routes_cache *c, struct stack_routes_entry *e)
{
	if (e->newer != NULL)
		e->newer->older = e->older;
	else
		c->newest = e->older;
	if (e->older != NULL)
		e->older->newer = e->newer;
	else
		c->oldest = e->newer;
}

static void link_newest(struct stack_routes_cache *c, struct stack_routes_entry *e)
{
	e->newer = NULL;
	e->older = c->newest;
	if (c->newest != NULL)
		c->newest->newer = e;
	else
		c->oldest = e;
	c->newest = e;
}

static struct stack_routes_entry *touch(struct stack_routes_cache *c, const struct uuid *user)
{
	struct stack_routes_entry *e = uuid_map_get(&c->map, user);

	if (e != NULL) {
		unlink_entry(c, e);
		link_newest(c, e);
	}
	return e;
}

static struct stack_routes_entry *make(struct stack_routes_cache *c, const struct uuid *user)
{
	struct stack_routes_entry *e = touch(c, user);

	if (e != NULL)
		return e;
	if (c->count == c->cap) {
		e = c->oldest;
		unlink_entry(c, e);
		uuid_map_take(&c->map, &e->user);
	} else {
		e = malloc(sizeof(*e));
		cx_assert(e != NULL);
		c->count++;
	}
	*e = (struct stack_routes_entry){ .user = *user };
	link_newest(c, e);
	uuid_map_put(&c->map, user, e);
	return e;
}

/* ---- the cache ---- */

void stack_routes_cache_init(struct stack_routes_cache *c, uint32_t cap, uint64_t life_ms)
{
	cx_assert(cap > 0);
	*c = (struct stack_routes_cache){ .cap = cap, .life_ms = life_ms };
}

void stack_routes_cache_clear(struct stack_routes_cache *c)
{
	while (c->newest != NULL) {
		struct stack_routes_entry *const e = c->newest;

		unlink_entry(c, e);
		free(e);
	}
	uuid_map_free(&c->map);
	c->map = (struct uuid_map){ 0 };
	c->count = 0;
	c->floor = ++c->time;
}

void stack_routes_cache_hear(struct stack_routes_cache *c, bool is_hearing)
{
	c->is_hearing = is_hearing;
	stack_routes_cache_clear(c);
}

void stack_routes_cache_free(struct stack_routes_cache *c)
{
	stack_routes_cache_clear(c);
}

const struct stack_routes *stack_routes_cache_find(struct stack_routes_cache *c,
                                                   const struct uuid *user, uint64_t now_ms)
{
	struct stack_routes_entry *const e = touch(c, user);

	return e != NULL && now_ms < e->until_ms ? &e->routes : NULL;
}

uint64_t stack_routes_cache_now(const struct stack_routes_cache *c)
{
	return c->time;
}

static bool is_outdated(const struct stack_routes_cache *c, const struct uuid *user,
                        uint64_t asked)
{
	if (asked < c->floor || c->time - asked > STACK_ROUTES_HEARD)
		return true;
	for (uint64_t t = asked; t < c->time; t++)
		if (uuid_equal(&c->heard[t % STACK_ROUTES_HEARD], user))
			return true;
	return false;
}

void stack_routes_cache_put(struct stack_routes_cache *c, const struct uuid *user,
                            const struct stack_routes *routes, uint64_t asked, uint64_t now_ms)
{
	struct stack_routes_entry *e;

	if (!c->is_hearing || is_outdated(c, user, asked))
		return; /* inv. 2 */
	e = make(c, user);
	e->routes = *routes;
	e->until_ms = now_ms + c->life_ms;
}

static struct stack_routes_entry *hear(struct stack_routes_cache *c, const struct uuid *user)
{
	c->heard[c->time++ % STACK_ROUTES_HEARD] = *user;
	return uuid_map_get(&c->map, user);
}

void stack_routes_cache_joined(struct stack_routes_cache *c, const struct uuid *user,
                               uint64_t instance)
{
	struct stack_routes_entry *const e = hear(c, user);

	if (e != NULL && !stack_routes_add(&e->routes, instance))
		e->until_ms = 0; /* no room: who is really there? */
}

void stack_routes_cache_left(struct stack_routes_cache *c, const struct uuid *user,
                             uint64_t instance)
{
	struct stack_routes_entry *const e = hear(c, user);

	if (e != NULL)
		routes_remove(&e->routes, instance);
}
