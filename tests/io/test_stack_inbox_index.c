/* SPDX-License-Identifier: MIT */
#include "io/stack_inbox_index.h"

#include <criterion/criterion.h>

TestSuite(stack_inbox_index, .timeout = 20);

static struct uuid owner_of(uint32_t n)
{
	struct uuid u = { { 0 } };

	memcpy(u.b, &n, sizeof(n));
	return u;
}

static struct inbox_user *user_of(struct inbox_index *index, uint32_t n)
{
	const struct uuid owner = owner_of(n);
	struct inbox_user *user = inbox_index_use(index, &owner, 400);

	user->is_present = true;
	return user;
}

static void extend(struct inbox_index *index, struct inbox_user *user, uint64_t from,
                   uint64_t id)
{
	inbox_index_extend(index, user, from,
	                   &(struct box_entry){ .id = id, .kind = RECORD_MESSAGE });
}

Test(stack_inbox_index, grows_only_where_it_ends)
{
	struct inbox_index index = { .user_max = 10, .total_max = 10 };
	struct inbox_user *user = user_of(&index, 1);

	extend(&index, user, 5, 6);
	cr_assert_eq(user->count, 0, "what is before 5 is not known");
	extend(&index, user, 0, 3);
	extend(&index, user, 2, 3);
	extend(&index, user, 1, 2);
	cr_assert_eq(user->count, 1);
	cr_assert_eq(user->covered, 3);
	inbox_index_cover(user, 4, 9);
	cr_assert_eq(user->covered, 3);
	inbox_index_cover(user, 3, 9);
	cr_assert_eq(user->covered, 9);
	cr_assert_eq(user->tail, 9);
	extend(&index, user, UINT64_MAX, 12);
	cr_assert_eq(user->covered, 9);
	cr_assert_eq(user->tail, 12);
	inbox_index_free(&index);
}

Test(stack_inbox_index, forgets_those_not_used_for_longest_but_none_that_is_busy)
{
	struct inbox_index index = { .user_max = 100, .total_max = 40 };
	struct inbox_user *a = user_of(&index, 1), *b = user_of(&index, 2);
	struct inbox_user *c = user_of(&index, 3), *d = user_of(&index, 4);

	for (uint64_t i = 1; i <= 10; i++) {
		extend(&index, a, i - 1, i);
		extend(&index, b, i - 1, i);
		extend(&index, c, i - 1, i);
		extend(&index, d, i - 1, i);
	}
	cr_assert_eq(index.count, 40);
	a->busy = 1;
	user_of(&index, 2);
	extend(&index, d, 10, 11);
	cr_assert_eq(a->count, 10, "busy");
	cr_assert_eq(b->count, 10, "used");
	cr_assert_eq(c->count, 0);
	cr_assert_eq(c->covered, 0);
	cr_assert_eq(d->count, 11);
	cr_assert_eq(index.count, 31);
	inbox_index_free(&index);
}

Test(stack_inbox_index, one_who_has_more_than_his_share_is_forgotten_when_nothing_is_under_way)
{
	struct inbox_index index = { .user_max = 4, .total_max = 100 };
	struct inbox_user *user = user_of(&index, 1);

	user->busy = 1;
	for (uint64_t i = 1; i <= 6; i++)
		extend(&index, user, i - 1, i);
	cr_assert_eq(user->count, 4);
	cr_assert_eq(user->covered, 4, "what was not taken in is not said to be known");
	inbox_index_release(&index, user);
	cr_assert_eq(user->count, 4);
	user->busy = 0;
	inbox_index_release(&index, user);
	cr_assert_eq(user->count, 0);
	cr_assert_eq(index.count, 0);
	extend(&index, user, 0, 1);
	cr_assert_eq(user->covered, 1);
	inbox_index_free(&index);
}

Test(stack_inbox_index, one_who_is_not_present_goes_with_his_last_question)
{
	struct inbox_index index = { .user_max = 4, .total_max = 100 };
	struct inbox_user *user = user_of(&index, 1);
	const struct uuid owner = owner_of(1);

	extend(&index, user, 0, 1);
	user->is_present = false;
	user->busy = 1;
	inbox_index_release(&index, user);
	cr_assert_eq(inbox_index_find(&index, &owner), user);
	user->busy = 0;
	inbox_index_release(&index, user);
	cr_assert_null(inbox_index_find(&index, &owner));
	cr_assert_eq(index.count, 0);
	inbox_index_free(&index);
}
