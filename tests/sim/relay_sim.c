/* SPDX-License-Identifier: MIT */
/* The whole relay in the simulator: the real actors of a message's way between a fake log, fake sockets
 * and clients that judge what they get.
 *
 *   relay_sim FIRST COUNT          seeds FIRST .. FIRST+COUNT-1; last line `sim: N passed, N failed`
 *   relay_sim --trace SEED         that one, its trace on standard output
 *
 * One run: faults for a while (refused sends, lost pushes, commits that fail, connections that break,
 * sessions that end elsewhere, the process killed and started again on the same disk, wall clock jumps), then quiet until all
 * has settled, then one message that has to come to every connection at once.  Held all the time, on each
 * of a user's connections: G1 to G4, G7 and the promises about answers (protocol.md, "What an answer
 * means" 1 to 5; judge.h has them as rules), and that it ends with its session; at the end: nothing accepted is undelivered, unsettled or
 * unreported. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <construct/messages.h>
#include <cx/log.h>

#include "actors/gateway.h"
#include "actors/hub.h"
#include "actors/partition.h"
#include "io/embedded_inbox.h"
#include "sim/judge.h"

#define WORKERS 2
#define LIVES 3
#define FAULTY_MS 400 /* of each life */
#define QUIET_MS 120000
#define LAST_WAIT_MS 300
#define LAST_MS 200
#define STEPS_MAX 4000000
#define WALL_MS INT64_C(1704067200000)
#define JUMP_MAX_MS (10 * INT64_C(86400000)) /* more than a message lives */

struct world world;
struct relay sim_relay;
static struct embedded_inbox_settings inbox_settings;

void world_broken(const char *format, ...)
{
	va_list args;

	if (world.broken[0] != '\0')
		return;
	va_start(args, format);
	vsnprintf(world.broken, sizeof(world.broken), format, args);
	va_end(args);
}

struct uuid world_message_id(uint32_t sender, uint32_t number)
{
	struct uuid id = { { 0xc0 } };

	id.b[1] = (uint8_t)sender;
	id.b[2] = (uint8_t)number;
	return id;
}

bool world_message_of(const struct uuid *id, uint32_t *sender, uint32_t *number)
{
	*sender = id->b[1];
	*number = id->b[2];
	return id->b[0] == 0xc0 && *sender < CLIENTS && *number < SENDS_MAX;
}

uint32_t world_recipient(uint32_t sender, uint32_t number)
{
	return (sender + 1 + number * 7 / 3 % (CLIENTS - 1)) % CLIENTS;
}

struct uuid world_session_id(uint32_t number, uint32_t n)
{
	struct uuid id = { { 0x5e } };

	id.b[1] = (uint8_t)number;
	memcpy(id.b + 4, &n, sizeof(n));
	return id;
}

bool world_session_of(const struct uuid *id, uint32_t *number, uint32_t *n)
{
	*number = id->b[1];
	memcpy(n, id->b + 4, sizeof(*n));
	return id->b[0] == 0x5e && *number < CLIENTS;
}

static const struct entry *entry_at(uint32_t at)
{
	return at == 0 ? NULL : &world.entries[at - 1];
}

const struct entry *world_entry(const struct uuid *message)
{
	uint32_t sender, number;

	return world_message_of(message, &sender, &number)
	               ? entry_at(world.message_at[sender][number])
	               : NULL;
}

const struct entry *world_receipt(const struct uuid *message)
{
	uint32_t sender, number;

	return world_message_of(message, &sender, &number)
	               ? entry_at(world.receipt_at[sender][number])
	               : NULL;
}

bool world_wants(uint32_t number, uint32_t device)
{
	const uint32_t count = world.users[number].device_count;

	return device < (world.is_faulty || count < CONNECTIONS_MAX ? count : CONNECTIONS_MAX);
}

struct device *world_device_of(struct cx_ref connection)
{
	for (uint32_t u = 0; u < CLIENTS; u++)
		for (uint32_t d = 0; d < DEVICES; d++)
			if (cx_ref_is(world.users[u].devices[d].connection, connection))
				return &world.users[u].devices[d];
	return NULL;
}

static void note_refused(const struct cx_msg *msg)
{
	struct device *d = msg->type == STORE_OP ? world_device_of(msg->from) : NULL;

	world.refused++;
	if (d != NULL)
		d->is_refused = true;
}

/* Pushes may be lost until all has settled; while there are faults any ordinary send is refused now
 * and then. */
static enum cx_sim_fate fate(void *arg, const char *from, const char *to,
                             const struct cx_msg *msg, uint64_t random)
{
	(void)arg;
	(void)from;
	if (strcmp(to, "fake_client") == 0 || world.is_last)
		return CX_SIM_DELIVER;
	if ((msg->type == HUB_PUSH || msg->type == HUB_WAKE) && random % 8 == 0) {
		world.lost++;
		return CX_SIM_LOSE;
	}
	if (world.is_faulty && random % 64 == 1) {
		note_refused(msg);
		return CX_SIM_REFUSE;
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
	const struct relay_conf conf = { .relay = &sim_relay };

	sim_relay = (struct relay){ .max_connections_per_user = CONNECTIONS_MAX,
		                    .window_bytes = 4096,
		                    .receipts = true,
		                    .workers = WORKERS };
	for (uint32_t i = 0; i < WORKERS; i++) {
		const struct partition_conf partition = { .relay = &sim_relay, .number = i };

		sim_relay.gateways[i] = spawn(sim, &gateway_type, &conf, i);
		sim_relay.hubs[i] = spawn(sim, &hub_type, &conf, i);
		sim_relay.inboxes[i] = spawn(sim, &embedded_inbox_type, &settings, i);
		sim_relay.partitions[i] = spawn(sim, &partition_type, &partition, i);
		sim_relay.accounts[i] = spawn(sim, &fake_account_type, NULL, i);
	}
	sim_relay.inbox = (struct inbox){ .shards = sim_relay.inboxes, .count = WORKERS };
	sim_relay.log_reader = spawn(sim, &fake_log_type, NULL, 0);
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

	world.jumped_ms += ms;
	cx_sim_jump_wall(sim, ms);
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
		cx_sim_step(sim);
	}
}

/* All connections are there and idle, nothing is lost any more: a message comes to each of them at once,
 * by its push, and so does its receipt.  Waits first, so that no timer is left that reads on. */
static void last_message(struct cx_sim *sim)
{
	const uint64_t end_ms = cx_sim_now_ms(sim) + QUIET_MS;

	while (!judge_all_are_there(cx_sim_now_ms(sim)) && world.broken[0] == '\0') {
		if (cx_sim_now_ms(sim) >= end_ms)
			world_broken("a device that cannot connect");
		cx_sim_step(sim);
	}
	world.is_last = true;
	cx_sim_run_ms(sim, LAST_WAIT_MS);
	world.last_sender = (uint32_t)(cx_sim_random(sim) % CLIENTS);
	world.is_last_wanted = true;
	step_until_all(sim, judge_all_got, "message");
	step_until_all(sim, judge_all_told, "receipt");
}

static void one_life(uint64_t seed, unsigned life, FILE *trace)
{
	const struct cx_sim_conf conf = {
		.runtime = { .seed = seed * LIVES + life, .workers = WORKERS },
		.wall_ms = WALL_MS + world.jumped_ms,
		.fault = fate,
		.trace = trace,
	};
	const bool is_last = life == LIVES - 1;
	struct cx_sim *sim;
	uint64_t end_ms;

	cx_assert(cx_sim_new(&conf, &sim) == CX_OK);
	/* half of the time all has rows, so that nothing is known of anybody until it is asked */
	world.floor = cx_sim_random(sim) % 2 == 0 ? world.last_id
	                                          : cx_sim_random(sim) % (world.last_id + 1);
	boot(sim);
	world.is_faulty = true;
	end_ms = cx_sim_now_ms(sim) + FAULTY_MS / 2 + cx_sim_random(sim) % FAULTY_MS;
	while (cx_sim_now_ms(sim) < end_ms && world.broken[0] == '\0') {
		if (cx_sim_random(sim) % 20000 == 0)
			jump_wall(sim);
		cx_sim_step(sim);
	}
	world.is_faulty = false;
	end_ms = cx_sim_now_ms(sim) + QUIET_MS;
	while (is_last && !all_settled() && cx_sim_now_ms(sim) < end_ms &&
	       world.broken[0] == '\0')
		cx_sim_step(sim);
	if (is_last && all_settled() && world.broken[0] == '\0')
		last_message(sim);
	cx_sim_free(sim); /* kill -9: only world is left */
	forget_connections();
}

static bool run_seed(uint64_t seed, FILE *trace)
{
	memset(&world, 0, sizeof(world));
	for (uint32_t i = 0; i < CLIENTS; i++)
		world.users[i].id = (struct uuid){ { 0xaa, (uint8_t)(17 * i + 3), 0x40 } };
	for (unsigned life = 0; life < LIVES && world.broken[0] == '\0'; life++)
		one_life(seed, life, trace);
	if (world.broken[0] == '\0')
		judge_end();
	if (world.broken[0] != '\0')
		printf("FAIL seed %llu: %s\n", (unsigned long long)seed, world.broken);
	return world.broken[0] == '\0';
}

int main(int argc, char **argv)
{
	const uint64_t first = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
	const uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	uint64_t failed = 0, received = 0, cuts = 0, lost = 0, refused = 0, failures = 0,
		 reads = 0, displaced = 0, ended = 0;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	if (argc == 3 && strcmp(argv[1], "--trace") == 0)
		return run_seed(count, stdout) ? 0 : 1;
	if (argc != 3 || count == 0) {
		fprintf(stderr, "usage: relay_sim FIRST COUNT | --trace SEED\n");
		return 2;
	}
	for (uint64_t seed = first; seed < first + count; seed++) {
		failed += !run_seed(seed, NULL);
		received += world.received;
		cuts += world.cuts;
		displaced += world.displaced;
		ended += world.ended;
		lost += world.lost;
		refused += world.refused;
		failures += world.failed_commits;
		reads += world.failed_reads;
	}
	printf("sim: seeds %llu to %llu: %llu messages, %llu connections cut, %llu displaced,"
	       " %llu sessions ended, %llu pushes lost, %llu sends refused, %llu commits and "
	       "%llu reads failed\n",
	       (unsigned long long)first, (unsigned long long)(first + count - 1),
	       (unsigned long long)received, (unsigned long long)cuts,
	       (unsigned long long)displaced, (unsigned long long)ended,
	       (unsigned long long)lost, (unsigned long long)refused,
	       (unsigned long long)failures, (unsigned long long)reads);
	printf("sim: %llu passed, %llu failed\n", (unsigned long long)(count - failed),
	       (unsigned long long)failed);
	return failed == 0 ? 0 : 1;
}
