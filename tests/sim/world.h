/* SPDX-License-Identifier: MIT */
/* What outlives a simulated crash of the relay: the disk, the clients' memory, and the verdict.
 * A user has up to DEVICES devices, each with at most one connection at a time. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <cx/sim.h>

#include "actors/relay.h"
#include "wire/record.h"

#define GIVEN_UP_MS 12100 /* who asked an adapter in vain has given up by then */
#define CLIENTS 4         /* users */
#define DEVICES 4         /* of one user, */
#define CONNECTIONS_MAX 3 /* of which so many may be connected */
#define SENDS_MAX 108     /* messages of one user, */
#define BURST 12          /* of which so many while one reads slowly */
#define IN_FLIGHT 6
#define ENTRIES_MAX 4096
#define ENTRY_BYTES_MAX 1024

/* One record of the durable log that makes an entry of somebody's inbox. */
struct entry {
	struct uuid owner, peer, key;
	uint32_t key_case;
	uint32_t frame_len;
	uint64_t id;
	int64_t wall_ms;       /* when it was committed */
	uint64_t made_ms;      /* the same by the clock of this life; 0: before it */
	struct uuid about;     /* the message; of a receipt, the settled one */
	enum record_kind kind; /* RECORD_MESSAGE or RECORD_RECEIPT */
	bool is_gone;          /* settled, or receipt done */
	uint8_t frame[ENTRY_BYTES_MAX];
};

/* What a user's devices know together of a message that one of them sent. */
struct sent {
	bool is_accepted; /* by `accepted` or DUPLICATE_MESSAGE */
	bool is_open;     /* no answer yet on the connection of device `by` */
	uint8_t by;
	bool is_unknown; /* failed, or the connection broke: to be sent again with the same id */
	bool is_reported;  /* `delivered` came */
	uint64_t since_ms; /* when it was last sent */
};

/* What they know of a message that they may get: by sender and number. */
struct got {
	bool is_received;
	bool is_acknowledged;  /* by one of them, in this life */
	bool is_confirmed;     /* and that is known to be stored: it must never come again */
	uint64_t confirmed_ms; /* 0: in an earlier life */
};

/* What came on a device's present connection. */
struct device {
	bool is_live; /* from connectSuccess on */
	uint32_t session;
	struct cx_ref connection;
	uint64_t
		unanswered_until_ms; /* its question whether its session lives: then it asks again */
	uint64_t opened_ms, live_ms;
	uint64_t last_entry;   /* id of the last one, message or receipt */
	uint64_t unpaid_bytes; /* of its inbox, came and no credit given for them */
	uint64_t stalled_until_ms;
	bool got[CLIENTS][SENDS_MAX];
	bool told[SENDS_MAX]; /* `delivered` came */
};

struct user {
	struct uuid id;
	struct sent sent[SENDS_MAX];
	uint32_t next;     /* number of the next message */
	uint32_t session;  /* that lives; those with smaller numbers have ended, */
	uint64_t ended_ms; /* the last one at this time; 0: in an earlier life */
	struct got got[CLIENTS][SENDS_MAX];
	uint32_t device_count; /* in this life */
	struct device devices[DEVICES];
	uint64_t opened_ms[CONNECTIONS_MAX + 1]; /* of the latest connections */
	uint32_t opened;
	uint32_t burst; /* messages still to be sent while one reads slowly */
};

struct world {
	struct entry entries[ENTRIES_MAX]; /* in order, ids from 1 */
	uint32_t entry_count;
	struct user users[CLIENTS];
	/* 1 + place of a message's entry and of its receipt; 0: not durable */
	uint32_t message_at[CLIENTS][SENDS_MAX], receipt_at[CLIENTS][SENDS_MAX];
	bool is_faulty; /* sends are refused, delayed and lost, commits fail, the log crashes, connections break */
	bool is_last; /* all is settled, nothing is lost any more: one last message */
	bool is_last_wanted;
	bool is_slow; /* all is settled, nothing is lost: messages, and `slow` takes none */
	uint32_t slow_user, slow_device;
	uint32_t last_sender, last_number;
	uint64_t last_id;
	uint64_t
		floor; /* in this life: entries up to it have rows, which only a question finds */
	/* in this life: so many entries went to the partitions (or are gone, or rows) */
	uint32_t handed_on;
	uint64_t
		calm_ms; /* in this life: nobody waits any longer for what will not be answered */
	int64_t jumped_ms;   /* how far the wall clock was set since the beginning */
	char broken[256];    /* the first promise that was found broken; empty: none */
	const char *promise; /* its text, the same for all of its kind */
	uint64_t steps;
	/* counts, so that a run that tested nothing shows */
	uint32_t accepted, received, reported, failed_commits, cuts, refused, lost,
		failed_reads, displaced, ended, stalls, forged, slow_phases, delayed, lost_asks,
		crashes;
	uint64_t unpaid_max, pool_bytes_max;
	uint32_t depth_max;
};

extern struct world world;
extern struct relay sim_relay;

void world_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* fake_log.c: log, log reader and store in one actor, durable in world.entries.  Under a supervisor: after a
 * crash it comes back and goes on with what waits in its mailbox. */
extern const struct cx_actor_type fake_log_type;

/* fake_client.c: one device with its socket: stands where the WebSocket adapter stands. */
struct fake_client_conf {
	uint32_t number, device;
};
extern const struct cx_actor_type fake_client_type; /* placement IO */

/* fake_account.c: takes the place of the account actor: whoever connects is who he says, while his
 * session lives.  Sessions end now and then, as by a logout elsewhere. */
extern const struct cx_actor_type fake_account_type;

/* The message id of sender's n-th message, and back; false: not one of ours. */
struct uuid world_message_id(uint32_t sender, uint32_t number);
bool world_message_of(const struct uuid *id, uint32_t *sender, uint32_t *number);
/* Its recipient, a function of both. */
uint32_t world_recipient(uint32_t sender, uint32_t number);
/* The id of a user's n-th session, and back. */
struct uuid world_session_id(uint32_t number, uint32_t n);
bool world_session_of(const struct uuid *id, uint32_t *number, uint32_t *n);
/* The device of that connection, or NULL. */
struct device *world_device_of(struct cx_ref connection);
/* The durable entry of a message, or of its receipt, or NULL. */
const struct entry *world_entry(const struct uuid *message);
const struct entry *world_receipt(const struct uuid *message);
/* Whether the device ought to be connected now. */
bool world_wants(uint32_t number, uint32_t device);

#endif
