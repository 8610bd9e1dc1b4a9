/* SPDX-License-Identifier: MIT */
/* What may come on each connection of a user, and what must.  Whoever breaks a rule breaks the run.
 *
 * 1. A message is durable and for this user; `delivered` is about a message of his that was settled.
 * 2. On one connection messages and receipts come in the order of the log, none twice (G2, G3).
 * 3. Nothing that waits is passed over: what comes has behind it, on this connection, each older
 *    message that no device has acknowledged, each older receipt that nobody has had, and each receipt
 *    made while this connection was there, had others got it ten times.
 * 4. A message whose acknowledgement is confirmed comes to no connection opened later, and to no
 *    older one after what was on its way (G3).
 * 5. Who is displaced has CONNECTIONS_MAX connections behind it that came later; and more than so many
 *    are not left.
 * 6. Who is closed for it has a session that ended; and no connection outlives its session, but one whose
 *    question was refused (it asks again after seconds).
 * 7. What comes without credit fits the window and one entry; and no mailbox is deeper, no pool of messages larger
 *    than what the senders may have on their way (G5).
 * 8. What is stored was sent by whom it names, to its recipient; what is settled was acknowledged by its
 *    recipient (G6). */
#ifndef TESTS_SIM_JUDGE_H
#define TESTS_SIM_JUDGE_H

#include "sim/world.h"

#define JUDGE_LATE_MS \
	100 /* what was on its way has come by then, what was sent has had effect */

/* A device's connection: opened, authenticated, closed for being one too many. */
void judge_opened(uint32_t number, uint32_t device, uint64_t now_ms);
void judge_live(uint32_t number, uint32_t device, uint64_t now_ms);
void judge_lost(uint32_t number, uint32_t device);
void judge_displaced(uint32_t number, uint32_t device);
/* Closed because its session has ended. */
void judge_ended(uint32_t number, uint32_t device);
/* Rule 5, second half; now and then. */
void judge_connections(uint32_t number, uint64_t now_ms);

/* An answer came to a message that this device sent: none overtakes another to the same recipient. */
void judge_answer(uint32_t number, uint32_t device, uint32_t n);
/* A message came.  Returns false when it is not one at all. */
bool judge_message(uint32_t number, uint32_t device, const struct uuid *id, uint64_t now_ms);
/* `delivered` came. */
void judge_delivered(uint32_t number, uint32_t device, const struct uuid *id, uint64_t now_ms);
/* One of its devices knows that the acknowledgement is stored. */
void judge_confirmed(uint32_t number, uint32_t sender, uint32_t n, uint64_t now_ms);

/* Rule 7: so many bytes of the inbox came; at the end of a life, what mailboxes and pools held. */
void judge_bytes(uint32_t number, uint32_t device, uint32_t bytes);
void judge_memory(struct cx_runtime *rt);
/* Rule 8: an append and a settlement reach the log.  Returns whether they may. */
bool judge_append(const struct uuid *owner, const struct uuid *peer, const struct uuid *key);
bool judge_settle(const struct entry *e);

/* Whether all devices that ought to be connected are, for a while. */
bool judge_all_are_there(uint64_t now_ms);
/* Whether each of the recipient's connections has the message; each of the sender's its receipt. */
bool judge_all_got(uint32_t sender, uint32_t n);
bool judge_all_told(uint32_t sender, uint32_t n);
/* At the end: nothing accepted is undelivered or unreported. */
void judge_end(void);

#endif
