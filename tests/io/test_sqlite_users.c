/* SPDX-License-Identifier: MIT */
/* The embedded store as actors: what every store owes, and what only it does. */
#include "sqlite_probe.h"
#include "store_cases.h"

TestSuite(sqlite_users, .init = setup, .fini = teardown, .timeout = 90);

static struct store_result store_do(struct store_op op, struct cx_buf *blob)
{
	const struct event *const e = store_op(op, blob);
	struct store_result r = e->result;

	r.hdr.buf = e->buf;
	return r;
}

#define X(name)                      \
	Test(sqlite_users, name)     \
	{                            \
		store_case_##name(); \
	}
STORE_CASES(X)
#undef X

Test(sqlite_users, a_deleted_user_gets_no_message)
{
	const struct store_op op = { .what = STORE_USER_DELETE, .user = id_of(1) };

	cr_assert_eq(case_create(1, "anna", 70), STORE_OK);
	cr_assert_eq(store_do(op, NULL).outcome, STORE_OK);
	cr_assert_eq(append_one(1, 2, 10)->outcome, LOG_NO_OWNER);
}
