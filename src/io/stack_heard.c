/* SPDX-License-Identifier: MIT */
#include "io/stack_heard.h"

#include "io/stack_push.h"
#include "wire/push.h"

#define JUST_MS 2000 /* a push to a server that the user has just joined may have missed him */

/* Returns whether his server is told to look. */
static bool take_joined(const struct stack_heard *h, const struct push_route *route,
                        uint64_t now_ms)
{
	const struct stack_user *const u = stack_users_find(h->users, &route->user);

	stack_routes_cache_joined(h->routes, &route->user, route->instance);
	if (u == NULL || u->appended_ms == 0 || now_ms - u->appended_ms > JUST_MS)
		return false;
	stack_push_look(h->channel_prefix, route->instance, &route->user, h->batch);
	return true;
}

uint32_t stack_heard_take(const struct stack_heard *h, const struct cx_buf *payload,
                          uint64_t now_ms)
{
	const struct wire_slice bytes = wire_slice(cx_buf_bytes(payload), cx_buf_len(payload));
	struct push_route route;
	uint32_t looks = 0;
	size_t at = 0;

	if (push_kind_of(bytes) != PUSH_ROUTE)
		return 0;
	while (push_next_route(bytes, &at, &route))
		if (route.is_joined)
			looks += take_joined(h, &route, now_ms);
		else
			stack_routes_cache_left(h->routes, &route.user, route.instance);
	return looks;
}
