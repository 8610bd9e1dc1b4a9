/* SPDX-License-Identifier: MIT */
/* Who may have a password hashed now, so that one client cannot keep all others out: one for all
 * workers.  A request enters before it writes anything and leaves when it is answered.
 *
 *   in   hash_gate_enter (ask), hash_gate_leave
 *
 * 1. At most HASH_GATE_IN requests are in, HASH_GATE_IN_EACH of one address; the others wait, and
 *    addresses take turns.  So behind the hashes on their way stand at most HASH_GATE_IN others.
 * 2. At most HASH_GATE_ALL are in or waiting, HASH_GATE_EACH of one address.  When all places are
 *    taken, the address with most of them gives up its newest waiter for a newcomer with fewer.
 * 3. A request leaves exactly once, also one that was never let in: leaving may come before the
 *    answer, so an answer that came too late loses no place. */
#ifndef ACTORS_HASH_GATE_H
#define ACTORS_HASH_GATE_H

#include <cx/actor.h>

#include <construct/messages.h>

#include "actors/relay.h"
#include "io/websocket_origin.h"

#define HASH_GATE_IN 32
#define HASH_GATE_IN_EACH 8
#define HASH_GATE_ALL 128
#define HASH_GATE_EACH 32

extern const struct cx_actor_type hash_gate_type; /* conf: none */

enum hash_gate_verdict {
	HASH_GATE_OPEN,
	HASH_GATE_BUSY,    /* no place to wait */
	HASH_GATE_LIMITED, /* this address has registered enough for now */
};

enum hash_gate_for { HASH_GATE_FOR_LOGIN, HASH_GATE_FOR_REGISTER };

/* The answer.  After BUSY and LIMITED there is nothing to leave, and leaving harms nothing. */
struct hash_gate_entered {
	struct cx_msg hdr;
	enum hash_gate_verdict verdict;
};

/* Ask to enter.  id: the caller's name for it, once.  Returns as cx_ask. */
CX_NODISCARD enum cx_err hash_gate_enter(struct cx_ctx *ctx, const struct relay *relay,
                                         const struct ws_origin *origin, uint64_t id,
                                         enum hash_gate_for what, uint32_t timeout_ms,
                                         uint64_t *corr);
void hash_gate_leave(struct cx_ctx *ctx, const struct relay *relay, uint64_t id);

struct hash_gate_enter_msg {
	struct cx_msg hdr;
	struct ws_origin origin;
	uint64_t id;
	enum hash_gate_for what;
};
struct hash_gate_leave_msg {
	struct cx_msg hdr;
	uint64_t id;
};

#endif
