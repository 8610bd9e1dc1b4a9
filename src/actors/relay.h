/* SPDX-License-Identifier: MIT */
/* What every actor of the relay may know: limits, secrets and where the others live.
 * Filled at boot, before the workers run, then constant; it outlives all actors. */
#ifndef ACTORS_RELAY_H
#define ACTORS_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cx/actor.h>

#include "io/inbox.h"
#include "io/store.h"
#include "wire/server_frame.h"
#include "wire/slice.h"
#include "wire/uuid.h"

#define RELAY_WORKERS_MAX 64

/* A backend that this role needs, as its health tells it. */
enum relay_check_kind {
	RELAY_CHECK_STORE,    /* relay.store answers a ping */
	RELAY_CHECK_REDIS,    /* an adapter of each worker */
	RELAY_CHECK_PRODUCER, /* one for all */
	RELAY_CHECK_CONSUMER, /* one for all: it is in its group */
	RELAY_CHECK_GATEWAY,  /* a gRPC client of each worker: a gateway says it serves */
};
struct relay_check {
	const char *name;
	enum relay_check_kind kind;
	const struct cx_ref
		*refs; /* of a kind of each worker, by worker; else one; NULL: store */
};
#define RELAY_CHECKS_MAX 6

struct relay {
	struct relay_check checks[RELAY_CHECKS_MAX];
	uint32_t check_count;  /* 0: the store, as `store` and `log` */
	bool receipts_apart;   /* the inbox gets receipts from another log than messages */
	bool has_no_websocket; /* its port is for health and metrics only */

	/* limits (storage.md, section 1) */
	uint32_t max_messages_per_hour;   /* 0: no limit */
	uint32_t max_messages_per_minute; /* 0: no limit */
	uint32_t block_seconds;
	uint32_t max_connections_per_user;
	uint32_t max_key_rotations_per_day;
	uint32_t max_password_changes_per_day;
	uint32_t max_failed_logins;
	int64_t session_ttl_ms;
	uint32_t window_bytes; /* of inbox frames on the way to one socket */
	bool verify_bundles;
	bool receipts; /* `delivered` acks */

	const char *jwt_secret;
	size_t jwt_secret_len;
	const char *jwt_issuer;
	const uint8_t *
		device_key; /* HASH_KEY_LEN bytes: device tokens are stored under it; or NULL */
	const char *domain; /* INSTANCE_DOMAIN, or NULL */
	const char *version;

	/* One of each on every worker; a user's are on worker relay_home(). */
	uint32_t workers;
	struct cx_ref gateways[RELAY_WORKERS_MAX];
	struct cx_ref hubs[RELAY_WORKERS_MAX];
	struct cx_ref inboxes[RELAY_WORKERS_MAX];
	struct cx_ref partitions[RELAY_WORKERS_MAX];
	struct cx_ref accounts[RELAY_WORKERS_MAX];
	struct cx_ref fronts[RELAY_WORKERS_MAX]; /* HTTP */
	struct cx_ref routes[RELAY_WORKERS_MAX]; /* CX_NOBODY: this process is the only one */
	struct cx_ref
		logs[RELAY_WORKERS_MAX]; /* where user_limiter appends; may be one for all */

	struct cx_ref hash_gate; /* one for all */
	struct cx_ref log_reader;
	struct store store;
	struct inbox inbox;
	uint64_t instance;          /* random at each start: this life of this process */
	struct cx_runtime *runtime; /* for figures only */
};

static inline uint32_t relay_home(const struct relay *relay, const struct uuid *user)
{
	return (uint32_t)(uuid_hash(user) % relay->workers);
}

/* conf of the actors that need no more than this */
struct relay_conf {
	const struct relay *relay;
};

/* The store's key of a limit: a hash of its name and whom it is about. */
void relay_limit_key(const char *name, struct wire_slice subject, uint8_t key[16]);

/* An `error` frame; text may be NULL or empty (the code's default), message_id.at NULL (none); the
 * text at most 128 bytes.  Returns a reference, the caller's. */
struct cx_buf *relay_error_frame(enum error_code code, const char *text,
                                 struct wire_slice message_id);

#endif
