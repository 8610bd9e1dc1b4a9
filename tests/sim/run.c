/* SPDX-License-Identifier: MIT */
#include "sim/run.h"

#include <stddef.h>
#include <string.h>

#include <construct/messages.h>
#include <cx/supervisor.h>

#include "actors/gateway.h"
#include "actors/hub.h"
#include "actors/partition.h"
#include "io/embedded_inbox.h"
#include "sim/faults.h"
#include "sim/judge.h"

#define WORKERS 2
#define LIVES 3
#define FAULTY_MS 400 /* of each life */
#define QUIET_MS 120000
#define LAST_WAIT_MS 300
#define LAST_MS 200
#define SLOW_MS 200 /* all but few bursts take less than 40 */
#define STEPS_MAX 4000000
#define PLANT_STEP 1000
#define WALL_MS INT64_C(1704067200000)
#define REFUSED_MS 5000     /* until a connection asks about its session again, */
#define UNANSWERED_MS 15000 /* when its question was lost */
#define CRASH_STEPS 4000    /* the log crashes once in so many */
#define JUMP_MAX_MS (10 * INT64_C(86400000)) /* more than a message lives */

static struct embedded_inbox_settings inbox_settings;
static struct cx_sim *running;

/* A connection that has no answer about its session asks again, later than the judge would wait. */
static void note_unanswered(const struct cx_msg *msg, uint64_t again_ms)
{
	struct device *d = msg->type == STORE_OP ? world_device_of(msg->from) : NULL;

	if (d != NULL)
		d->unanswered_until_ms = cx_sim_now_ms(running) + again_ms;
}

static bool is_adapter(const char *kind)
{
	return strcmp(kind, "fake_log") == 0 || strcmp(kind, "inbox") == 0 ||
	       strcmp(kind, "fake_account") == 0;
}

/* Somebody waits for its answer, and does without at his deadline.  Not the inbox's: it is in this process,
 * and who tells it of a message has no other way. */
static bool is_question(const char *to, const struct cx_msg *msg)
{
	return msg->corr != 0 && (strcmp(to, "fake_log") == 0 || msg->type == ACCOUNT_REQUEST);
}

/* Pushes may be lost until all has settled; while there are faults any ordinary send is refused now
 * and then, and one to an adapter is lost, or comes late, as does its answer. */
static enum cx_sim_fate fate(void *arg, const char *from, const char *to,
                             const struct cx_msg *msg, uint64_t random)
{
	(void)arg;
	if (strcmp(to, "fake_client") == 0 || world.is_last || world.is_slow)
		return CX_SIM_DELIVER;
	if ((msg->type == HUB_PUSH || msg->type == HUB_WAKE) && random % 8 == 0 &&
	    fault_happens(FAULT_PUSH, "%s/%u to %s/%u", from, msg->from.slot, to,
	                  msg->to.slot)) {
		world.lost++;
		return CX_SIM_LOSE;
	}
	if (world.is_faulty && random % 64 == 1 &&
	    fault_happens(FAULT_SEND, "%s/%u to %s/%u", from, msg->from.slot, to,
	                  msg->to.slot)) {
		world.refused++;
		note_unanswered(msg, REFUSED_MS);
		return CX_SIM_REFUSE;
	}
	if (world.is_faulty && random % 64 == 2 && (is_adapter(to) || is_adapter(from)) &&
	    fault_happens(FAULT_DELAY, "%s/%u to %s/%u", from, msg->from.slot, to,
	                  msg->to.slot)) {
		world.delayed++;
		return CX_SIM_DELAY;
	}
	if (world.is_faulty && random % 256 == 3 && is_question(to, msg) &&
	    fault_happens(FAULT_LOST, "%s/%u to %s/%u", from, msg->from.slot, to,
	                  msg->to.slot)) {
		world.lost_asks++;
		note_unanswered(msg, UNANSWERED_MS);
		world.calm_ms = cx_sim_now_ms(running) + GIVEN_UP_MS;
		return CX_SIM_LOSE;
	}
	return CX_SIM_DELIVER;
}

static struct cx_ref spawn(struct cx_sim *sim, const struct cx_actor_type *type,
                           const void *conf, uint64_t key)
{
	struct cx_ref ref;

	cx_assert(cx_runtime_spawn(cx_sim_runtime(sim), type, conf, key, &ref) == CX_OK);
	return ref;
}

/* As roles/all.c does, with fakes for what is outside. */
static void boot(struct cx_sim *sim)
{
	static const struct embedded_inbox_settings *const settings = &inbox_settings;
	static const struct cx_child log[] = {
		{ .type = &fake_log_type, .ref = &sim_relay.log_reader },
	};
	/* back soon: judge.h allows JUDGE_LATE_MS for all that is on its way */
	static const struct cx_supervisor_conf log_supervisor = {
		.children = log,
		.child_count = 1,
		.max_restarts = UINT32_MAX,
		.backoff_min_ms = 10,
		.backoff_max_ms = 40,
	};
	const struct relay_conf conf = { .relay = &sim_relay };

	sim_relay = (struct relay){ .max_connections_per_user = CONNECTIONS_MAX,
		                    .window_bytes = cx_sim_random(sim) % 2 == 0 ? 4096 : 1024,
		                    .receipts = true,
		                    .workers = WORKERS };
	spawn(sim, &cx_supervisor_type, &log_supervisor, 0);
	while (cx_ref_none(sim_relay.log_reader)) /* one step: nobody else is there */
		cx_sim_step(sim);
	for (uint32_t i = 0; i < WORKERS; i++) {
		const struct partition_conf partition = { .relay = &sim_relay, .number = i };

		sim_relay.gateways[i] = spawn(sim, &gateway_type, &conf, i);
		sim_relay.hubs[i] = spawn(sim, &hub_type, &conf, i);
		sim_relay.inboxes[i] = spawn(sim, &embedded_inbox_type, &settings, i);
		sim_relay.partitions[i] = spawn(sim, &partition_type, &partition, i);
		sim_relay.accounts[i] = spawn(sim, &fake_account_type, NULL, i);
	}
	sim_relay.inbox = (struct inbox){ .shards = sim_relay.inboxes, .count = WORKERS };
	for (uint32_t i = 0; i < WORKERS; i++)
		sim_relay.logs[i] = sim_relay.log_reader;
	sim_relay.store = (struct store){ .reader = sim_relay.log_reader,
		                          .writer = sim_relay.log_reader };
	inbox_settings = (struct embedded_inbox_settings){ .log = sim_relay.log_reader,
		                                           .log_reader = sim_relay.log_reader,
		                                           .receipts = true };
	for (uint32_t i = 0; i < CLIENTS; i++) {
		world.users[i].device_count = 1 + (uint32_t)(cx_sim_random(sim) % DEVICES);
		for (uint32_t d = 0; d < DEVICES; d++) {
			const struct fake_client_conf client = { .number = i, .device = d };

			spawn(sim, &fake_client_type, &client, (i + d) % WORKERS);
		}
	}
}

static bool all_settled(void)
{
	for (uint32_t u = 0; u < CLIENTS; u++)
		for (uint32_t n = 0; n < world.users[u].next; n++)
			if (!world.users[u].sent[n].is_reported ||
			    !world.users[u].sent[n].is_accepted)
				return false;
	return true;
}

/* At the end of a life every open send is unknown to its client, and no connection is left. */
static void forget_connections(void)
{
	for (uint32_t u = 0; u < CLIENTS; u++) {
		struct user *user = &world.users[u];

		memset(user->devices, 0, sizeof(user->devices));
		user->opened = 0;
		user->ended_ms = 0;
		for (uint32_t n = 0; n < SENDS_MAX; n++) {
			struct sent *s = &user->sent[n];

			s->is_unknown = s->is_unknown || s->is_open;
			s->is_open = false;
			for (uint32_t from = 0; from < CLIENTS; from++) {
				user->got[from][n].is_acknowledged = false;
				user->got[from][n].confirmed_ms = 0;
			}
		}
	}
	for (uint32_t i = 0; i < world.entry_count; i++)
		world.entries[i].made_ms = 0;
}

static void jump_wall(struct cx_sim *sim)
{
	const uint64_t range = 2 * (uint64_t)JUMP_MAX_MS;
	const int64_t ms = (int64_t)(cx_sim_random(sim) % range) - JUMP_MAX_MS;

	if (!fault_happens(FAULT_WALL, "by %lld ms", (long long)ms))
		return;
	world.jumped_ms += ms;
	cx_sim_jump_wall(sim, ms);
}

/* ---- steps ---- */

static struct {
	enum plant what;
	uint64_t seed;
	bool is_there; /* in this run */
	volatile int *volatile nowhere;
} planted;

void run_plant(enum plant what, uint64_t seed)
{
	planted.what = what;
	planted.seed = seed;
}

static void reap(void)
{
	if (planted.what == PLANT_JUDGE && world.is_faulty && world.cuts >= 3)
		world_broken("planted: %u connections were cut", world.cuts);
	if (world.steps != PLANT_STEP)
		return;
	cx_assert(planted.what != PLANT_ABORT);
	if (planted.what == PLANT_FAULT)
		*planted.nowhere = 1;
	while (planted.what == PLANT_HANG)
		;
}

static void step(struct cx_sim *sim)
{
	cx_sim_step(sim);
	if (++world.steps > STEPS_MAX)
		world_broken("it does not settle: %d steps", STEPS_MAX);
	if (planted.is_there)
		reap();
}

static void step_until_ms(struct cx_sim *sim, uint64_t end_ms)
{
	while (cx_sim_now_ms(sim) < end_ms && world.broken[0] == '\0')
		step(sim);
}

/* Steps until all is so on every connection, for at most so long. */
static void step_until_all(struct cx_sim *sim, bool (*all)(uint32_t, uint32_t),
                           const char *what)
{
	const uint64_t end_ms = cx_sim_now_ms(sim) + LAST_MS;

	while (world.broken[0] == '\0' &&
	       (world.is_last_wanted || !all(world.last_sender, world.last_number))) {
		if (cx_sim_now_ms(sim) >= end_ms)
			world_broken("client %u: not all connections have its last %s in %d ms",
			             world.last_sender, what, LAST_MS);
		step(sim);
	}
}

static void step_until_all_are_there(struct cx_sim *sim)
{
	const uint64_t end_ms = cx_sim_now_ms(sim) + QUIET_MS;

	while (!judge_all_are_there(cx_sim_now_ms(sim)) && world.broken[0] == '\0') {
		if (cx_sim_now_ms(sim) >= end_ms)
			world_broken("a device that cannot connect");
		step(sim);
	}
}

static bool is_burst_over(void)
{
	for (uint32_t u = 0; u < CLIENTS; u++)
		if (world.users[u].burst > 0)
			return false;
	return all_settled();
}

/* One device takes nothing of its inbox while all users send: that must cost nobody time, and itself no
 * message.  Its user has another one, which acknowledges. */
static void slow_reader(struct cx_sim *sim)
{
	const uint64_t random = cx_sim_random(sim);
	const uint32_t user = (uint32_t)(random % CLIENTS);
	const uint64_t end_ms = cx_sim_now_ms(sim) + SLOW_MS;

	if (random >> 32 & 1 || world.users[user].device_count < 2)
		return;
	world.slow_user = user;
	world.slow_device = (uint32_t)(random >> 40) %
	                    (world_wants(user, CONNECTIONS_MAX - 1) ? CONNECTIONS_MAX : 2);
	world.is_slow = true;
	world.slow_phases++;
	for (uint32_t u = 0; u < CLIENTS; u++)
		world.users[u].burst = BURST;
	while (!is_burst_over() && world.broken[0] == '\0') {
		if (cx_sim_now_ms(sim) >= end_ms)
			world_broken("client %u/%u reads slowly, and others wait for %d ms",
			             user, world.slow_device, SLOW_MS);
		step(sim);
	}
	world.is_slow = false;
}

/* All connections are there and idle, nothing is lost any more: a message comes to each of them at once,
 * by its push, and so does its receipt.  Waits first, so that no timer is left that reads on. */
static void last_message(struct cx_sim *sim)
{
	world.is_last = true;
	step_until_ms(sim, cx_sim_now_ms(sim) + LAST_WAIT_MS);
	world.last_sender = (uint32_t)(cx_sim_random(sim) % CLIENTS);
	world.is_last_wanted = true;
	step_until_all(sim, judge_all_got, "message");
	step_until_all(sim, judge_all_told, "receipt");
}

static struct cx_sim *begin_life(uint64_t seed, unsigned life, FILE *trace)
{
	static const char *const names[] = {
#define X(id, type, text) text,
#include <construct/messages.def>
#undef X
	};
	const struct cx_sim_conf conf = {
		.runtime = { .seed = seed * LIVES + life,
		             .workers = WORKERS,
		             .msg_names = names,
		             .msg_name_count = CX_COUNTOF(names) },
		.wall_ms = WALL_MS + world.jumped_ms,
		.fault = fate,
		.trace = trace,
	};
	struct cx_sim *sim;

	cx_assert(cx_sim_new(&conf, &sim) == CX_OK);
	running = sim;
	faults_life(sim, life);
	if (trace != NULL)
		fprintf(trace, "life %u\n", life);
	/* half of the time all has rows, so that nothing is known of anybody until it is asked */
	world.floor = cx_sim_random(sim) % 2 == 0 ? world.last_id
	                                          : cx_sim_random(sim) % (world.last_id + 1);
	world.handed_on = 0;
	world.calm_ms = 0;
	boot(sim);
	return sim;
}

static void faulty(struct cx_sim *sim)
{
	const uint64_t end_ms =
		cx_sim_now_ms(sim) + FAULTY_MS / 2 + cx_sim_random(sim) % FAULTY_MS;

	world.is_faulty = true;
	while (cx_sim_now_ms(sim) < end_ms && world.broken[0] == '\0') {
		if (cx_sim_random(sim) % 20000 == 0)
			jump_wall(sim);
		if (cx_sim_random(sim) % CRASH_STEPS == 0 &&
		    fault_happens(FAULT_CRASH, "with what it had not committed"))
			cx_sim_crash(sim, sim_relay.log_reader, CX_EIO);
		step(sim);
	}
	world.is_faulty = false;
}

static void quiet(struct cx_sim *sim)
{
	const uint64_t end_ms = cx_sim_now_ms(sim) + QUIET_MS;

	/* at calm_ms clients connect anew, to see what an acknowledgement that failed by then has left */
	while ((cx_sim_now_ms(sim) < world.calm_ms + JUDGE_LATE_MS || !all_settled()) &&
	       cx_sim_now_ms(sim) < end_ms && world.broken[0] == '\0')
		step(sim);
	if (!all_settled() || world.broken[0] != '\0')
		return;
	step_until_all_are_there(sim);
	slow_reader(sim);
	last_message(sim);
}

/* Not the entries: each is written whole before it is read, and they are most of it. */
static void begin_world(void)
{
	const size_t kept = offsetof(struct world, entry_count);

	memset((char *)&world + kept, 0, sizeof(world) - kept);
	for (uint32_t i = 0; i < CLIENTS; i++)
		world.users[i].id = (struct uuid){ { 0xaa, (uint8_t)(17 * i + 3), 0x40 } };
}

bool run_seed(uint64_t seed, const struct run_watch *watch)
{
	unsigned life = 0;

	begin_world();
	planted.is_there = planted.what != PLANT_NOTHING && planted.seed == seed;
	faults_begin(watch->only, watch->list, watch->trace);
	while (life < LIVES && world.broken[0] == '\0') {
		struct cx_sim *sim = begin_life(seed, life, watch->trace);

		do
			faulty(sim);
		while (++life < LIVES && world.broken[0] == '\0' &&
		       !fault_happens(FAULT_KILL, "with all its actors"));
		if (life == LIVES && world.broken[0] == '\0')
			quiet(sim);
		judge_memory(cx_sim_runtime(sim));
		cx_sim_free(sim); /* kill -9: only world is left */
		forget_connections();
	}
	if (world.broken[0] == '\0')
		judge_end();
	return world.broken[0] == '\0';
}
