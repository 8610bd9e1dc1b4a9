/* SPDX-License-Identifier: MIT */
#include "sim/judge.h"

#include <string.h>

#define DEPTH_MAX \
	400 /* messages in flight and their copies to all devices, several times over */
#define POOL_BYTES_MAX 4000000

/* ---- connections ---- */

void judge_opened(uint32_t number, uint32_t device, uint64_t now_ms)
{
	struct user *u = &world.users[number];

	u->devices[device] = (struct device){ .opened_ms = now_ms };
	u->opened_ms[u->opened++ % (CONNECTIONS_MAX + 1)] = now_ms;
}

void judge_live(uint32_t number, uint32_t device, uint64_t now_ms)
{
	struct device *d = &world.users[number].devices[device];

	d->is_live = true;
	d->live_ms = now_ms;
}

void judge_lost(uint32_t number, uint32_t device)
{
	world.users[number].devices[device].is_live = false;
}

/* As many others as may be connected were opened after it, or so shortly before that they may have
 * come to the hub after it. */
static bool may_be_displaced(const struct user *u, const struct device *d)
{
	uint32_t later = 0;

	for (uint32_t i = 0; i <= CONNECTIONS_MAX && i < u->opened; i++)
		later += u->opened_ms[i] + JUDGE_LATE_MS >= d->opened_ms;
	return later > CONNECTIONS_MAX; /* with its own */
}

void judge_displaced(uint32_t number, uint32_t device)
{
	const struct user *u = &world.users[number];

	world.displaced++;
	if (!may_be_displaced(u, &u->devices[device]))
		world_broken("client %u/%u: displaced, and not the oldest of too many", number,
		             device);
}

void judge_ended(uint32_t number, uint32_t device)
{
	const struct user *u = &world.users[number];

	if (u->devices[device].session == u->session)
		world_broken("client %u/%u: closed, and its session lives", number, device);
}

/* Who asks about its session when it has ended finds that out; who asked before is told. */
static void judge_sessions(uint32_t number, uint64_t now_ms)
{
	const struct user *u = &world.users[number];

	for (uint32_t i = 0; i < DEVICES; i++) {
		const struct device *d = &u->devices[i];

		if (d->is_live && d->session != u->session &&
		    now_ms > d->unanswered_until_ms + JUDGE_LATE_MS &&
		    now_ms > u->ended_ms + JUDGE_LATE_MS && now_ms > d->live_ms + JUDGE_LATE_MS)
			world_broken("client %u/%u: its connection outlives its session",
			             number, i);
	}
}

static bool is_there(const struct user *u, const struct device *d, uint64_t now_ms)
{
	return d->is_live && d->session == u->session && now_ms - d->live_ms > JUDGE_LATE_MS;
}

void judge_connections(uint32_t number, uint64_t now_ms)
{
	const struct user *u = &world.users[number];
	uint32_t there = 0;

	judge_sessions(number, now_ms);
	for (uint32_t d = 0; d < DEVICES; d++)
		there += is_there(u, &u->devices[d], now_ms);
	if (there > CONNECTIONS_MAX)
		world_broken("client %u: %u connections, and nobody is displaced", number,
		             there);
}

bool judge_all_are_there(uint64_t now_ms)
{
	for (uint32_t u = 0; u < CLIENTS; u++)
		for (uint32_t d = 0; d < DEVICES; d++)
			if (world_wants(u, d) &&
			    !is_there(&world.users[u], &world.users[u].devices[d], now_ms))
				return false;
	return true;
}

/* ---- answers ---- */

void judge_answer(uint32_t number, uint32_t device, uint32_t n)
{
	const struct sent *sent = world.users[number].sent;

	for (uint32_t i = 0; i < n; i++)
		if (sent[i].is_open && sent[i].by == device &&
		    world_recipient(number, i) == world_recipient(number, n) &&
		    sent[i].since_ms <= sent[n].since_ms)
			world_broken("client %u/%u: the answer to %u overtook that to %u",
			             number, device, n, i);
}

/* ---- entries ---- */

static bool must_come(const struct user *u, const struct device *d, const struct entry *e)
{
	uint32_t sender, n;

	if (e->is_gone || !uuid_equal(&e->owner, &u->id) ||
	    !world_message_of(&e->about, &sender, &n))
		return false;
	if (e->kind == RECORD_MESSAGE)
		return !d->got[sender][n] && !u->got[sender][n].is_acknowledged;
	if (!u->sent[n].is_reported)
		return true;
	return !d->told[n] && e->made_ms > d->live_ms + JUDGE_LATE_MS &&
	       !may_be_displaced(u, d);
}

/* Rules 2 and 3. */
static void take_entry(uint32_t number, uint32_t device, const struct entry *e)
{
	struct user *u = &world.users[number];
	struct device *d = &u->devices[device];

	if (e->id <= d->last_entry)
		world_broken("client %u/%u: entry %llu after %llu on one connection", number,
		             device, (unsigned long long)e->id,
		             (unsigned long long)d->last_entry);
	for (uint64_t id = d->last_entry + 1; id < e->id; id++)
		if (must_come(u, d, &world.entries[id - 1]))
			world_broken("client %u/%u: entry %llu came before %llu", number,
			             device, (unsigned long long)e->id, (unsigned long long)id);
	d->last_entry = e->id;
}

bool judge_message(uint32_t number, uint32_t device, const struct uuid *id, uint64_t now_ms)
{
	struct user *u = &world.users[number];
	struct device *d = &u->devices[device];
	const struct entry *e = world_entry(id);
	uint32_t sender, n;
	struct got *got;

	if (!world_message_of(id, &sender, &n) || e == NULL ||
	    world_recipient(sender, n) != number) {
		world_broken("client %u: a message that is not for it or not durable", number);
		return false;
	}
	got = &u->got[sender][n];
	if (got->is_confirmed &&
	    (d->opened_ms > got->confirmed_ms || now_ms > got->confirmed_ms + JUDGE_LATE_MS))
		world_broken("client %u/%u: %u/%u came after its confirmed acknowledgement",
		             number, device, sender, n);
	take_entry(number, device, e);
	d->got[sender][n] = true;
	world.received += !got->is_received;
	got->is_received = true;
	return true;
}

void judge_confirmed(uint32_t number, uint32_t sender, uint32_t n, uint64_t now_ms)
{
	struct got *got = &world.users[number].got[sender][n];

	if (got->is_confirmed)
		return;
	got->is_confirmed = true;
	got->confirmed_ms = now_ms;
}

void judge_delivered(uint32_t number, uint32_t device, const struct uuid *id, uint64_t now_ms)
{
	struct user *u = &world.users[number];
	const struct entry *receipt = world_receipt(id);
	uint32_t sender, n;

	if (!world_message_of(id, &sender, &n) || sender != number || receipt == NULL ||
	    !world_entry(id)->is_gone) {
		world_broken("client %u: `delivered` for what was not settled", number);
		return;
	}
	take_entry(number, device, receipt);
	u->devices[device].told[n] = true;
	world.reported += !u->sent[n].is_reported;
	u->sent[n].is_reported = true;
	judge_confirmed(world_recipient(sender, n), sender, n, now_ms);
}

/* ---- bounds ---- */

void judge_bytes(uint32_t number, uint32_t device, uint32_t bytes)
{
	struct device *d = &world.users[number].devices[device];

	d->unpaid_bytes += bytes;
	if (d->unpaid_bytes > world.unpaid_max)
		world.unpaid_max = d->unpaid_bytes;
	if (d->unpaid_bytes > sim_relay.window_bytes + ENTRY_BYTES_MAX)
		world_broken("client %u/%u: %llu bytes came, and it has taken none of them",
		             number, device, (unsigned long long)d->unpaid_bytes);
}

static void judge_pools(struct cx_runtime *rt)
{
	struct cx_worker_stats workers[8];
	const size_t count = cx_runtime_worker_stats(rt, workers, CX_COUNTOF(workers));

	cx_assert(count <= CX_COUNTOF(workers));
	for (size_t w = 0; w < count; w++) {
		if (workers[w].pool_bytes > world.pool_bytes_max)
			world.pool_bytes_max = workers[w].pool_bytes;
		if (workers[w].pool_bytes > POOL_BYTES_MAX)
			world_broken("%llu bytes of messages on one worker",
			             (unsigned long long)workers[w].pool_bytes);
	}
}

void judge_memory(struct cx_runtime *rt)
{
	struct cx_kind_stats kinds[32];
	const size_t count = cx_runtime_kinds(rt, kinds, CX_COUNTOF(kinds));

	cx_assert(count <= CX_COUNTOF(kinds));
	for (size_t k = 0; k < count; k++) {
		if (strncmp(kinds[k].name, "fake_", 5) == 0)
			continue;
		if (kinds[k].depth_max > world.depth_max)
			world.depth_max = kinds[k].depth_max;
		if (kinds[k].depth_max > DEPTH_MAX)
			world_broken("%u messages in the mailbox of a %s", kinds[k].depth_max,
			             kinds[k].name);
	}
	judge_pools(rt);
}

/* ---- whose ---- */

bool judge_append(const struct uuid *owner, const struct uuid *peer, const struct uuid *key)
{
	uint32_t sender, n;

	if (world_message_of(key, &sender, &n) && n < world.users[sender].next &&
	    uuid_equal(peer, &world.users[sender].id) &&
	    uuid_equal(owner, &world.users[world_recipient(sender, n)].id))
		return true;
	world_broken("a message is stored that nobody sent so");
	return false;
}

bool judge_settle(const struct entry *e)
{
	uint32_t sender, n;

	if (world_message_of(&e->about, &sender, &n) &&
	    world.users[world_recipient(sender, n)].got[sender][n].is_acknowledged)
		return true;
	world_broken("client %u: %u is settled, and its recipient did not acknowledge it",
	             sender, n);
	return false;
}

/* ---- the end ---- */

bool judge_all_got(uint32_t sender, uint32_t n)
{
	const uint32_t to = world_recipient(sender, n);

	for (uint32_t d = 0; d < DEVICES; d++)
		if (world_wants(to, d) && !world.users[to].devices[d].got[sender][n])
			return false;
	return true;
}

bool judge_all_told(uint32_t sender, uint32_t n)
{
	for (uint32_t d = 0; d < DEVICES; d++)
		if (world_wants(sender, d) && !world.users[sender].devices[d].told[n])
			return false;
	return true;
}

void judge_end(void)
{
	for (uint32_t u = 0; u < CLIENTS; u++)
		for (uint32_t n = 0; n < world.users[u].next; n++) {
			const struct sent *s = &world.users[u].sent[n];
			const struct got *got = &world.users[world_recipient(u, n)].got[u][n];

			if (!s->is_accepted)
				world_broken("client %u: %u was never accepted", u, n);
			else if (!got->is_received)
				world_broken("client %u: %u accepted and not received", u, n);
			else if (!s->is_reported)
				world_broken("client %u: %u received, never reported", u, n);
		}
	if (world.received == 0)
		world_broken("nothing was received: the run tests nothing");
}
