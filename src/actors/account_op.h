/* SPDX-License-Identifier: MIT */
/* One request about an account on its way: a frame, the caller, and the step that takes the next
 * answer.  Shared by the files account*.c, nobody else includes this.
 *
 * 1. An op is finished exactly once: op_finish (or op_fail) answers, wipes and frees it; it must not be
 *    touched after.  Every op_ask* may finish it, so it is the last thing a step does.
 * 2. Between two steps an op waits for exactly one answer: of the store, the gate or the hub (corr) or
 *    the offload pool.
 * 3. Passwords live in the frame and in the job of the offload pool only; both are wiped. */
#ifndef ACTORS_ACCOUNT_OP_H
#define ACTORS_ACCOUNT_OP_H

#include "actors/account.h"
#include "actors/hash_gate.h"
#include "actors/hub.h"
#include "io/store.h"
#include "wire/client_frame.h"
#include "wire/credentials.h"
#include "wire/jwt.h"
#include "wire/key_bundle.h"
#include "wire/password.h"
#include "wire/server_frame.h"

_Static_assert(PASSWORD_HASH_MAX <= STORE_HASH_MAX, "a hash fits the store's text");

struct account_op;

struct account {
	const struct relay *relay;
	struct account_op *ops;
	uint32_t count;
	uint64_t last_id;
	uint8_t *scratch; /* KEY_BUNDLE_DATA_MAX */
};

#define LOGIN_WINDOW_MS INT64_C(900000)

typedef void step_fn(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                     const struct store_result *r);

typedef void again_fn(struct cx_ctx *ctx, struct account *a, struct account_op *op);

enum hash_what { HASH_MAKE, HASH_VERIFY, HASH_VERIFY_NOBODY };

/* Comes back as ACCOUNT_HASHED. */
struct account_hash_job {
	struct cx_msg hdr;
	uint64_t op_id;
	enum hash_what what;
	enum password_verdict verdict;
	bool is_made;
	size_t password_len;
	char hash[STORE_HASH_MAX];
	uint8_t password[PASSWORD_BYTES_MAX];
};
typedef void hashed_fn(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                       const struct account_hash_job *job);

struct account_op {
	struct account_op *next;
	uint64_t id;
	uint64_t corr; /* 0: not waiting for the store, the gate or the hub */
	step_fn *step;
	hashed_fn *hashed;
	struct cx_caller caller;
	struct cx_buf *frame;
	struct client_frame f; /* borrows frame */
	struct uuid user, jti; /* of the connection */
	struct uuid subject;   /* the user it is about */
	struct uuid session;   /* the session it is about */
	bool is_attempt;       /* counted as a login that may fail; see op_fail */
	struct ws_origin origin;
	bool has_entered;  /* or asked to: it has to leave */
	again_fn *entered; /* goes on from the gate */
	again_fn *again;   /* reads the user and goes on from there; see op_again */
	uint8_t agains;
	char username[STORE_NAME_MAX];
	char hash[STORE_HASH_MAX];     /* as read; the password was verified against it */
	char new_hash[STORE_HASH_MAX]; /* of the same password, on its way to the store */
};

/* account_op.c: ends. */
void op_end(struct account *a, struct account_op *op);
void op_finish(struct cx_ctx *ctx, struct account *a, struct account_op *op,
               struct cx_buf *frame, enum account_effect effect);
/* An attempt that failed for our own reasons (SERVER_ERROR) is taken off the user's count again. */
void op_fail(struct cx_ctx *ctx, struct account *a, struct account_op *op,
             enum error_code code);
struct cx_buf *op_plain_frame(enum server_type type);

/* account_op.c: questions; `step` or `hashed` takes the answer. */
/* Before the first hash, and before anything is written: `entered` goes on when it is this address's
 * turn, or the op fails. */
void op_enter(struct cx_ctx *ctx, struct account *a, struct account_op *op,
              enum hash_gate_for what, again_fn *entered);
void op_entered(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                enum hash_gate_verdict verdict);
void op_ask(struct cx_ctx *ctx, struct account *a, struct account_op *op, struct store_op *s,
            step_fn *step);
void op_ask_hash(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                 enum hash_what what, struct wire_slice password, hashed_fn *hashed);
/* One of max in window_ms; max 0 is no limit and `step` runs at once. */
void op_ask_limit(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                  const char *name, struct wire_slice subject, uint32_t max, int64_t window_ms,
                  step_fn *step);
/* op->session in the store. */
void op_ask_session(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                    step_fn *step);

/* account_op.c: judging answers; false: the op was answered and is gone. */
bool op_is_granted(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                   const struct store_result *r);
bool op_has_session(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                    const struct store_result *r);

/* STORE_CHANGED: another request has set the password since `hash` was read.  Reads and verifies anew,
 * for the password may be right all the same (a rehash); bounded.  false: that was not it. */
bool op_again(struct cx_ctx *ctx, struct account *a, struct account_op *op,
              const struct store_result *r);

/* account_op.c: small things. */
struct wire_slice op_user(const struct account_op *op);
struct wire_slice op_secret(const struct account *a);
/* Verified: subject and session are set. */
enum jwt_verdict op_open_token(struct cx_ctx *ctx, const struct account *a,
                               struct account_op *op, struct wire_slice token);
/* The blob for the store, or NULL with the verdict.  owner NULL: at registration. */
struct cx_buf *op_pack_bundle(struct account *a, const struct key_bundle_texts *texts,
                              const struct uuid *owner, enum key_bundle_verdict *verdict);
/* Close the subject's connections, on all instances, but the asking one; `step` goes on when they are, or
 * when that was waited for long enough.  Its result says nothing. */
void op_kick(struct cx_ctx *ctx, struct account *a, struct account_op *op,
             enum hub_kick_what what, step_fn *step);
bool op_is_local(const struct account *a, const struct user_address *address);

/* The requests: first steps. */
void op_register(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_login(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_connect(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_logout(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_change_password(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_delete_account(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_get_key(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_rotate(struct cx_ctx *ctx, struct account *a, struct account_op *op);
void op_device(struct cx_ctx *ctx, struct account *a, struct account_op *op); /* all three */

#endif
