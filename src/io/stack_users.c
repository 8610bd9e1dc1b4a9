/* SPDX-License-Identifier: MIT */
#include "io/stack_users.h"

#include <stdlib.h>

#include <cx/actor.h>

void stack_users_init(struct stack_users *s, uint32_t cap)
{
	cx_assert(cap > 0);
	*s = (struct stack_users){ .cap = cap };
}

static void unlink_user(struct stack_users *s, struct stack_user *u)
{
	if (u->newer != NULL)
		u->newer->older = u->older;
	else
		s->newest = u->older;
	if (u->older != NULL)
		u->older->newer = u->newer;
	else
		s->oldest = u->newer;
}

static void link_newest(struct stack_users *s, struct stack_user *u)
{
	u->newer = NULL;
	u->older = s->newest;
	if (s->newest != NULL)
		s->newest->newer = u;
	else
		s->oldest = u;
	s->newest = u;
}

struct stack_user *stack_users_find(const struct stack_users *s, const struct uuid *user)
{
	return uuid_map_get(&s->map, user);
}

struct stack_user *stack_users_get(struct stack_users *s, const struct uuid *user)
{
	struct stack_user *u = uuid_map_get(&s->map, user);

	if (u != NULL) {
		unlink_user(s, u);
		link_newest(s, u);
		return u;
	}
	if (s->count == s->cap) {
		u = s->oldest;
		unlink_user(s, u);
		uuid_map_take(&s->map, &u->user);
	} else {
		u = malloc(sizeof(*u));
		cx_assert(u != NULL);
		s->count++;
	}
	*u = (struct stack_user){ .user = *user };
	link_newest(s, u);
	uuid_map_put(&s->map, user, u);
	return u;
}

void stack_users_clear(struct stack_users *s)
{
	while (s->newest != NULL) {
		struct stack_user *const u = s->newest;

		unlink_user(s, u);
		free(u);
	}
	uuid_map_free(&s->map);
	s->map = (struct uuid_map){ 0 };
	s->count = 0;
}
