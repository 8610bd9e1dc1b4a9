/* SPDX-License-Identifier: MIT */
/* The gate between two account actors that are fakes. */
#include "actors/hash_gate.h"

#include "actors/fixture.h"
#include "actors/register_bucket.h"

static struct cx_ref one, two;

static void set_up(void)
{
	fixture_start();
	relay.hash_gate = spawn_at(&hash_gate_type, NULL);
	one = fake();
	two = fake();
}

TestSuite(hash_gate, .init = set_up, .fini = fixture_end, .timeout = 30);

struct call {
	struct ws_origin origin;
	uint64_t id;
	enum hash_gate_for what;
};

static void do_enter(struct cx_ctx *ctx, void *arg)
{
	const struct call *c = arg;
	uint64_t corr;

	cx_assert(hash_gate_enter(ctx, &relay, &c->origin, c->id, c->what, 600000, &corr) ==
	          CX_OK);
}

static void do_leave(struct cx_ctx *ctx, void *arg)
{
	hash_gate_leave(ctx, &relay, *(const uint64_t *)arg);
}

static void enter(struct cx_ref who, uint32_t net, uint64_t id)
{
	struct call c = { .origin.net = uuid_of(net), .id = id };

	do_as(who, do_enter, &c);
}

static void leave(struct cx_ref who, uint64_t id)
{
	do_as(who, do_leave, &id);
}

static void expect(struct cx_ref who, enum hash_gate_verdict verdict)
{
	cr_assert_eq(GOT(struct hash_gate_entered, take(who, HASH_GATE_ENTERED))->verdict,
	             verdict);
}

static int answers(struct cx_ref who)
{
	return count_got(who, HASH_GATE_ENTERED);
}

/* All answers so far let in; how many were they? */
static int opened(struct cx_ref who)
{
	const int n = answers(who);

	for (int i = 0; i < n; i++)
		expect(who, HASH_GATE_OPEN);
	return n;
}

Test(hash_gate, some_of_an_address_are_in_and_the_others_wait_their_turn)
{
	for (uint64_t id = 1; id <= HASH_GATE_IN_EACH + 2; id++)
		enter(one, 1, id);
	cr_assert_eq(opened(one), HASH_GATE_IN_EACH);
	leave(one, 1);
	cr_assert_eq(opened(one), 1);
	leave(one, 2);
	cr_assert_eq(opened(one), 1);
	leave(one, 3);
	cr_assert_eq(answers(one), 0);
}

Test(hash_gate, an_address_that_has_all_its_places_is_busy_and_others_are_not)
{
	for (uint64_t id = 1; id <= HASH_GATE_EACH; id++)
		enter(one, 1, id);
	cr_assert_eq(opened(one), HASH_GATE_IN_EACH);
	enter(one, 1, 1000);
	expect(one, HASH_GATE_BUSY);
	enter(two, 2, 1);
	expect(two, HASH_GATE_OPEN);
}

Test(hash_gate, who_leaves_while_waiting_gives_the_place_back)
{
	for (uint64_t id = 1; id <= HASH_GATE_EACH; id++)
		enter(one, 1, id);
	leave(one, HASH_GATE_EACH);
	enter(one, 1, 1000);
	cr_assert_eq(opened(one), HASH_GATE_IN_EACH, "it waits now");
	leave(one, 5000);
	leave(two, 1); /* another actor's 1 */
	cr_assert_eq(answers(one), 0);
}

Test(hash_gate, addresses_take_turns)
{
	struct cx_ref others[HASH_GATE_IN / HASH_GATE_IN_EACH];
	const uint32_t n = CX_COUNTOF(others);
	uint64_t id = 1;

	for (uint32_t net = 1; net <= n; net++)
		for (int i = 0; i < HASH_GATE_IN_EACH; i++)
			enter(one, net, id++);
	cr_assert_eq(opened(one), HASH_GATE_IN);
	for (uint32_t i = 0; i < n; i++) {
		others[i] = fake();
		for (uint64_t k = 0; k < n; k++)
			enter(others[i], 100 + i, k);
	}
	for (uint64_t gone = 1; gone <= n; gone++)
		leave(one, gone);
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(opened(others[i]), 1, "%u", i);
}

Test(hash_gate, when_all_places_are_taken_the_longest_queue_gives_way)
{
	uint64_t id = 1;

	for (uint32_t net = 1; net <= HASH_GATE_ALL / HASH_GATE_EACH; net++)
		for (int i = 0; i < HASH_GATE_EACH; i++)
			enter(one, net, id++);
	cr_assert_eq(opened(one), HASH_GATE_IN);
	enter(two, 9, 1);
	expect(one, HASH_GATE_BUSY);
	cr_assert_eq(answers(two), 0);
	leave(one, 1);
	leave(one, 2);
	leave(one, 3);
	leave(one, 4);
	leave(one, 5);
	expect(two, HASH_GATE_OPEN);
}

Test(hash_gate, as_many_addresses_as_places_share_them_and_one_more_is_busy)
{
	for (uint32_t net = 1; net <= HASH_GATE_ALL; net++)
		enter(one, net, net);
	cr_assert_eq(opened(one), HASH_GATE_IN);
	enter(two, 5000, 1);
	expect(two, HASH_GATE_BUSY);
	leave(one, 1);
	cr_assert_eq(opened(one), 1);
}

/* ---- registrations ---- */

static enum hash_gate_verdict registers(struct ws_origin origin)
{
	struct call c = { .origin = origin, .id = 1, .what = HASH_GATE_FOR_REGISTER };
	enum hash_gate_verdict verdict;

	do_as(one, do_enter, &c);
	verdict = GOT(struct hash_gate_entered, take(one, HASH_GATE_ENTERED))->verdict;
	leave(one, 1);
	return verdict;
}

Test(hash_gate, an_address_registers_a_burst_and_then_one_a_second)
{
	const struct ws_origin origin = { .net = uuid_of(1) };

	for (int i = 0; i < REGISTER_BURST; i++)
		cr_assert_eq(registers(origin), HASH_GATE_OPEN);
	cr_assert_eq(registers(origin), HASH_GATE_LIMITED);
	cr_assert_eq(registers((struct ws_origin){ .net = uuid_of(2) }), HASH_GATE_OPEN);
	skip_ms(REGISTER_REFILL_MS);
	cr_assert_eq(registers(origin), HASH_GATE_OPEN);
	cr_assert_eq(registers(origin), HASH_GATE_LIMITED);
	enter(one, 1, 2); /* a login is not counted */
	expect(one, HASH_GATE_OPEN);
}

Test(hash_gate, this_machine_registers_as_it_likes)
{
	const struct ws_origin origin = { .net = uuid_of(1), .is_loopback = true };

	for (int i = 0; i < REGISTER_BURST + 10; i++)
		cr_assert_eq(registers(origin), HASH_GATE_OPEN);
}

Test(hash_gate, so_many_addresses_are_remembered_and_no_more)
{
	struct register_buckets b = { 0 };
	const struct uuid busy = uuid_of(1);

	for (int i = 0; i < REGISTER_BURST; i++)
		cr_assert(register_bucket_take(&b, &busy, 1000));
	for (uint32_t i = 2; i < REGISTER_ADDRESSES + 100; i++) {
		const struct uuid net = uuid_of(i);

		cr_assert(register_bucket_take(&b, &net, 1000));
	}
	cr_assert_leq(b.map.count, REGISTER_ADDRESSES);
	cr_assert(!register_bucket_take(&b, &busy, 1000), "the emptiest stays");
	register_bucket_free(&b);
}
