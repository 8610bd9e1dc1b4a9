/* SPDX-License-Identifier: MIT */
/* What outlives a simulated crash of the relay: the disk, the clients' memory, and the verdict. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <cx/sim.h>

#include "actors/relay.h"
#include "wire/record.h"

#define CLIENTS 4
#define SENDS_MAX 96 /* messages of one client */
#define IN_FLIGHT 6
#define ENTRIES_MAX 4096

/* One record of the durable log that makes an entry of somebody's inbox. */
struct entry {
	struct uuid owner, peer, key;
	uint32_t key_case;
	uint32_t frame_len;
	uint64_t id;
	int64_t wall_ms;       /* when it was committed */
	enum record_kind kind; /* RECORD_MESSAGE or RECORD_RECEIPT */
	bool is_gone;          /* settled, or receipt done */
	uint8_t frame[1024];
};

/* What a client knows of a message it sent. */
struct sent {
	bool is_accepted; /* by `accepted` or DUPLICATE_MESSAGE */
	bool is_open;     /* on this connection, no answer yet */
	bool is_unknown; /* failed, or the connection broke: to be sent again with the same id */
	bool is_reported;  /* `delivered` came */
	uint64_t since_ms; /* when it was last sent */
};

/* What a client knows of a message it may get: by sender and number. */
struct got {
	bool is_received;
	bool is_confirmed; /* its acknowledgement is: it must never come again */
	uint64_t ping;     /* the client's ping that went out after the acknowledgement */
};

struct user {
	struct uuid id;
	struct sent sent[SENDS_MAX];
	uint32_t next; /* number of the next message */
	struct got got[CLIENTS][SENDS_MAX];
	uint64_t pings; /* sent so far, over all connections */
};

struct world {
	struct entry entries[ENTRIES_MAX];
	uint32_t entry_count;
	struct user users[CLIENTS];
	bool is_faulty; /* sends are refused and pushes lost, commits fail, connections break */
	uint64_t last_id;
	uint64_t
		floor; /* in this life: entries up to it have rows, which only a question finds */
	int64_t jumped_ms; /* how far the wall clock was set since the beginning */
	char broken[256];  /* the first promise that was found broken; empty: none */
	/* counts, so that a run that tested nothing shows */
	uint32_t accepted, received, reported, failed_commits, cuts, refused, lost,
		failed_reads;
};

extern struct world world;
extern struct relay sim_relay;

void world_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* fake_log.c: log, log reader and store in one actor, durable in world.entries. */
extern const struct cx_actor_type fake_log_type;

/* fake_client.c: one client with its socket: stands where the WebSocket adapter stands. */
struct fake_client_conf {
	uint32_t number;
};
extern const struct cx_actor_type fake_client_type; /* placement IO */

/* fake_client.c: takes the place of the account actor: whoever connects is who he says. */
extern const struct cx_actor_type fake_account_type;

/* The message id of sender's n-th message, and back; false: not one of ours. */
struct uuid world_message_id(uint32_t sender, uint32_t number);
bool world_message_of(const struct uuid *id, uint32_t *sender, uint32_t *number);
/* Its recipient, a function of both. */
uint32_t world_recipient(uint32_t sender, uint32_t number);
/* The durable entry of a message, or NULL. */
const struct entry *world_entry(const struct uuid *key);

#endif
