/* SPDX-License-Identifier: MIT */
/* What a worker remembers of routes and users: bounds, ages, and news that overtake a lookup. */
#include <criterion/criterion.h>

#include "io/stack_routes_cache.h"
#include "io/stack_users.h"

TestSuite(stack_routes_cache, .timeout = 20);

static struct uuid user(unsigned n)
{
	struct uuid u = { { 1 } };

	memcpy(&u.b[8], &n, sizeof(n));
	return u;
}

static void put(struct stack_routes_cache *c, unsigned n, uint64_t instance, uint64_t now_ms)
{
	const struct stack_routes routes = { instance != 0, { instance } };
	const struct uuid u = user(n);

	stack_routes_cache_put(c, &u, &routes, stack_routes_cache_now(c), now_ms);
}

static const struct stack_routes *find(struct stack_routes_cache *c, unsigned n,
                                       uint64_t now_ms)
{
	const struct uuid u = user(n);

	return stack_routes_cache_find(c, &u, now_ms);
}

Test(stack_routes_cache, keeps_no_more_than_its_cap_and_forgets_the_least_used)
{
	struct stack_routes_cache c;

	stack_routes_cache_init(&c, 100, 1000);
	stack_routes_cache_hear(&c, true);
	for (unsigned i = 0; i < 100; i++)
		put(&c, i, 5, 0);
	cr_assert_not_null(find(&c, 0, 1)); /* used again */
	for (unsigned i = 100; i < 150; i++)
		put(&c, i, 5, 0);
	cr_assert_not_null(find(&c, 0, 1));
	cr_assert_null(find(&c, 1, 1));
	cr_assert_null(find(&c, 50, 1));
	cr_assert_not_null(find(&c, 51, 1));
	cr_assert_not_null(find(&c, 149, 1));
	cr_assert_eq(c.count, 100);
	stack_routes_cache_free(&c);
}

Test(stack_routes_cache, what_is_too_old_is_not_known_unless_asked_so)
{
	struct stack_routes_cache c;

	stack_routes_cache_init(&c, 10, 1000);
	stack_routes_cache_hear(&c, true);
	put(&c, 1, 5, 100);
	cr_assert_not_null(find(&c, 1, 1099));
	cr_assert_null(find(&c, 1, 1100));
	cr_assert_not_null(find(&c, 1, 0));
	stack_routes_cache_free(&c);
}

Test(stack_routes_cache, follows_joins_and_leaves)
{
	struct stack_routes_cache c;
	const struct uuid u = user(1);

	stack_routes_cache_init(&c, 10, 1000);
	stack_routes_cache_hear(&c, true);
	put(&c, 1, 5, 0);
	stack_routes_cache_joined(&c, &u, 6);
	stack_routes_cache_joined(&c, &u, 6);
	cr_assert_eq(find(&c, 1, 1)->count, 2);
	stack_routes_cache_left(&c, &u, 5);
	cr_assert_eq(find(&c, 1, 1)->count, 1);
	cr_assert_eq(find(&c, 1, 1)->instances[0], 6);
	for (uint64_t i = 10; i < 17; i++)
		stack_routes_cache_joined(&c, &u, i);
	cr_assert_eq(find(&c, 1, 1)->count, STACK_ROUTES_MAX);
	stack_routes_cache_joined(&c, &u, 99);
	cr_assert_null(find(&c, 1, 1), "no room for all: look it up");
	stack_routes_cache_free(&c);
}

Test(stack_routes_cache, a_lookup_that_is_older_than_the_news_is_not_kept)
{
	const struct stack_routes nowhere = { 0 };
	const struct uuid u = user(1), other = user(2);
	struct stack_routes_cache c;
	uint64_t asked;

	stack_routes_cache_init(&c, 10, 1000);
	stack_routes_cache_hear(&c, true);
	asked = stack_routes_cache_now(&c);
	stack_routes_cache_joined(&c, &u, 6);
	stack_routes_cache_put(&c, &other, &nowhere, asked, 0);
	cr_assert_not_null(find(&c, 2, 1), "nothing was heard of him");
	stack_routes_cache_put(&c, &u, &nowhere, asked, 0);
	cr_assert_null(find(&c, 1, 1));
	stack_routes_cache_put(&c, &u, &nowhere, stack_routes_cache_now(&c), 0);
	cr_assert_not_null(find(&c, 1, 1));
	asked = stack_routes_cache_now(&c);
	stack_routes_cache_clear(&c);
	stack_routes_cache_put(&c, &u, &nowhere, asked, 0);
	cr_assert_null(find(&c, 1, 1), "asked before all was forgotten");
	asked = stack_routes_cache_now(&c);
	stack_routes_cache_left(&c, &u, 6);
	for (unsigned i = 0; i < STACK_ROUTES_HEARD; i++)
		stack_routes_cache_left(&c, &other, 6);
	stack_routes_cache_put(&c, &u, &nowhere, asked, 0);
	cr_assert_null(find(&c, 1, 1), "so much was heard that nobody remembers all");
	stack_routes_cache_free(&c);
}

Test(stack_routes_cache, reads_fields_of_routes_and_nothing_else)
{
	struct stack_routes r = { 0 };

	cr_assert(stack_routes_add_field(&r, wire_text("00000000000000ff/12")));
	cr_assert_eq(r.instances[0], 255);
	cr_assert(stack_routes_add_field(&r, wire_text("00000000000000ff/13")));
	cr_assert_eq(r.count, 1, "two connections at one instance");
	cr_assert_not(stack_routes_add_field(&r, wire_text("00000000000000fg/12")));
	cr_assert_not(stack_routes_add_field(&r, wire_text("00000000000000FF/12")));
	cr_assert_not(stack_routes_add_field(&r, wire_text("0000000000000fff/")));
	cr_assert_not(stack_routes_add_field(&r, wire_text("0000000000000ffff12")));
	cr_assert_not(stack_routes_add_field(&r, wire_text("")));
	cr_assert_eq(r.count, 1);
}

Test(stack_routes_cache, users_are_forgotten_over_the_cap)
{
	const struct uuid a = user(1), b = user(2), c = user(3);
	struct stack_users s;

	stack_users_init(&s, 2);
	stack_users_get(&s, &a)->last_id = 11;
	stack_users_get(&s, &b)->last_id = 22;
	cr_assert_eq(stack_users_get(&s, &a)->last_id, 11);
	cr_assert_eq(stack_users_get(&s, &c)->last_id, 0);
	cr_assert_null(stack_users_find(&s, &b));
	cr_assert_eq(stack_users_find(&s, &a)->last_id, 11);
	stack_users_clear(&s);
	cr_assert_null(stack_users_find(&s, &a));
}

Test(stack_routes_cache, keeps_nothing_while_nothing_is_heard)
{
	struct stack_routes_cache c;

	stack_routes_cache_init(&c, 10, 1000);
	put(&c, 1, 5, 0);
	cr_assert_null(find(&c, 1, 1), "before it is said that anything is heard");
	stack_routes_cache_hear(&c, true);
	put(&c, 1, 5, 0);
	cr_assert_not_null(find(&c, 1, 1));
	stack_routes_cache_hear(&c, false);
	cr_assert_null(find(&c, 1, 1));
	put(&c, 1, 5, 0);
	cr_assert_null(find(&c, 1, 1));
	stack_routes_cache_free(&c);
}
