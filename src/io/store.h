/* SPDX-License-Identifier: MIT */
/* Users, key bundles, sessions and limits: one operation, one answer.
 *
 *   ask   store_*  -> STORE_RESULT, or CX_MSG_ERROR (late, gone)
 *
 * Writes are answered when they are durable.  STORE_FAILED means that the store could not be
 * asked: callers fail closed, and never take it for "not found". */
#ifndef IO_STORE_H
#define IO_STORE_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "wire/uuid.h"

enum store_outcome {
	STORE_OK,
	STORE_NOT_FOUND,
	STORE_TAKEN, /* the user name exists */
	STORE_LIMIT, /* over the limit; retry_ms tells when it may pass */
	STORE_CHANGED, /* the user is gone or has another password than was_hash; nothing was done */
	STORE_FAILED, /* the store could not be asked, or not made durable */
};

enum store_what {
	STORE_USER_CREATE, /* user, text=username, hash, blob=bundle, jti+ttl: user, bundle and session in one step */
	STORE_USER_BY_NAME, /* text -> user, hash */
	STORE_USER_BY_ID,   /* user -> username in text, hash */
	STORE_USER_EXISTS,  /* user */
	STORE_USER_DELETE, /* user, was_hash: row, bundle, sessions, limits, inbox, all in one step */
	STORE_PASSWORD_SET, /* user, hash (a rehash or a change), was_hash; jti: all other sessions end, unless zero */
	STORE_BUNDLE_GET,  /* user -> username in text, buf = the bundle as stored */
	STORE_BUNDLE_PUT,  /* user, blob */
	STORE_SESSION_PUT, /* jti, user, ttl_ms, was_hash */
	STORE_SESSION_GET, /* jti -> user, username in text, ttl_ms left; expired is STORE_NOT_FOUND */
	STORE_SESSION_DELETE, /* jti */
	STORE_LIMIT_TAKE, /* key, max, window_ms, n: fixed window; STORE_OK took n, or STORE_LIMIT */
	STORE_LIMIT_RESET, /* key */
	STORE_LIMIT_LEASE, /* key, max (bucket size), window_ms (time to fill it), n wanted, -> granted 1..n, or
	                        * STORE_LIMIT with retry_ms; n negative gives tokens back */
	STORE_BLOCK_SET, /* key, until_wall_ms: blocked until then */
	STORE_BLOCK_GET, /* key -> until_wall_ms (0: not blocked) */
	STORE_DEVICE_PUT, /* user, blob = device, text = filter: enabled; the oldest over STORE_DEVICES_MAX go */
	STORE_DEVICE_UPDATE, /* user, blob = device (hash only), text = filter, n = enabled */
	STORE_DEVICE_DELETE, /* user, blob = device (hash only) */
	STORE_PING,          /* health: read and write path answer */
	STORE_WHAT_COUNT
};

#define STORE_NAME_MAX 260 /* bytes: 64 characters of at most 4, and a NUL */
#define STORE_HASH_MAX 136 /* argon2id text */

/* A key bundle blob: the three lengths (u32, this machine's byte order), then the bytes of master
 * identity key, bundle data and signature. */
struct store_bundle {
	const uint8_t *master_key, *data, *signature;
	uint32_t master_key_len, data_len, signature_len;
};
struct cx_buf *store_bundle_pack(const struct store_bundle *bundle);
/* Pointers into blob; false: not a bundle blob (or NULL). */
bool store_bundle_unpack(const struct cx_buf *blob, struct store_bundle *out);

/* A device that pushes may go to, blob: how it is looked up, and two sealed texts. */
#define STORE_DEVICES_MAX 16 /* of one user */
#define STORE_DEVICE_HASH_LEN 32
struct store_device {
	const uint8_t *hash;  /* STORE_DEVICE_HASH_LEN bytes */
	const uint8_t *token; /* encrypted */
	const uint8_t *name;  /* encrypted, or NULL */
	uint32_t token_len, name_len;
};
struct cx_buf *store_device_pack(const struct store_device *device);
/* Pointers into blob; false: not a device blob (or NULL). */
bool store_device_unpack(const struct cx_buf *blob, struct store_device *out);

struct store_op {
	struct cx_msg hdr; /* buf = blob where the operation has one */
	enum store_what what;
	struct uuid user, jti;
	uint8_t key[16]; /* of a limit: a hash chosen by the caller */
	int64_t max, window_ms, n;
	int64_t ttl_ms, until_wall_ms;
	char text[STORE_NAME_MAX];
	char hash[STORE_HASH_MAX];
	/* Not empty: only if the user's stored hash is this one, compared in the same transaction as
	 * the write.  What a checked password allows is so lost when the password changes meanwhile. */
	char was_hash[STORE_HASH_MAX];
};

struct store_result {
	struct cx_msg hdr; /* buf: as `what` says */
	enum store_what what;
	enum store_outcome outcome;
	struct uuid user;
	int64_t granted, retry_ms, ttl_ms, until_wall_ms;
	char text[STORE_NAME_MAX];
	char hash[STORE_HASH_MAX];
};

/* Where to ask: reads and writes go to different actors; or to one on each worker, which does both. */
struct store {
	struct cx_ref reader, writer;
	const struct cx_ref *workers; /* NULL: as above; else by the asker's worker */
};

/* A zeroed operation to fill in; then store_ask, which picks reader or writer. */
struct store_op *store_op_new(struct cx_ctx *ctx, enum store_what what);
CX_NODISCARD enum cx_err store_ask(struct cx_ctx *ctx, const struct store *store,
                                   struct store_op *op, uint32_t timeout_ms, uint64_t *corr);

#endif
