/* SPDX-License-Identifier: MIT */
/* Does the session of a live connection still exist?
 *
 * 1. A session may end while its connection is still on its way to the hub, so that nobody finds it to
 *    close it.  So the store is asked again once hub_join was sent: a session that ends after that
 *    answer was read sends its kick behind the join, and one that ended before is not found.
 * 2. It is asked again when the session's time should be over.  Only the store judges that: waiting
 *    goes by the monotonic clock, a jump of the other one ends nothing here.
 * 3. A request about an account that got no answer in time may have ended it, and spares the asker.
 * 4. While this process was not subscribed, kicks passed it by, and nobody sends them again.  So it is
 *    asked after each such gap; a later gap does not put off the question of the one before.
 * 5. A store that cannot be asked ends no connection; it is asked until it can be. */
#include "actors/connection_state.h"

#include "io/store.h"

#define ASK_MS 10000
#define RETRY_MS 5000
#define DOUBT_MS 30000
#define MISSED_MS 1000
#define AGAIN_MIN_MS 1000 /* the store's clock may go back for ever: not a question each turn */

static void look_in(struct cx_ctx *ctx, struct connection *c, uint64_t ms)
{
	c->session_due_ms = cx_now_ms(ctx) + ms;
	connection_tick_in(ctx, c, ms);
}

void session_look(struct cx_ctx *ctx, struct connection *c)
{
	struct store_op *s;

	if (c->session_corr != 0)
		return;
	if (cx_now_ms(ctx) < c->session_due_ms) {
		connection_tick_in(ctx, c, c->session_due_ms - cx_now_ms(ctx));
		return;
	}
	s = store_op_new(ctx, STORE_SESSION_GET);
	s->jti = c->jti;
	if (store_ask(ctx, &c->relay->store, s, ASK_MS, &c->session_corr) != CX_OK) {
		c->session_corr = 0;
		look_in(ctx, c, RETRY_MS);
	}
}

void session_forget(struct cx_ctx *ctx, struct connection *c)
{
	if (c->session_corr != 0)
		cx_ask_cancel(ctx, c->session_corr);
	c->session_corr = 0;
	c->session_due_ms = 0;
}

void session_doubt(struct cx_ctx *ctx, struct connection *c)
{
	session_forget(ctx, c);
	look_in(ctx, c, DOUBT_MS); /* when that request is over at the latest */
}

void session_missed(struct cx_ctx *ctx, struct connection *c, uint32_t within_ms)
{
	const uint64_t ms = cx_random(ctx) % (within_ms + MISSED_MS);

	if (c->session_corr != 0)
		session_forget(ctx, c); /* its answer may be older than the end */
	if (c->session_due_ms == 0 || c->session_due_ms > cx_now_ms(ctx) + ms)
		look_in(ctx, c, ms);
}

bool session_is_over(struct cx_ctx *ctx, struct connection *c, const struct cx_msg *msg)
{
	const struct store_result *r = CX_MSG_AS(struct store_result, msg);

	if (c->session_corr == 0 || msg->corr != c->session_corr)
		return false;
	c->session_corr = 0;
	if (r->outcome == STORE_NOT_FOUND ||
	    (r->outcome == STORE_OK && !uuid_equal(&r->user, &c->user)))
		return true;
	if (r->outcome == STORE_OK)
		look_in(ctx, c, r->ttl_ms > AGAIN_MIN_MS ? (uint64_t)r->ttl_ms : AGAIN_MIN_MS);
	else
		look_in(ctx, c, RETRY_MS);
	return false;
}

bool session_on_error(struct cx_ctx *ctx, struct connection *c, const struct cx_msg *msg)
{
	if (c->session_corr == 0 || msg->corr != c->session_corr)
		return false;
	c->session_corr = 0;
	look_in(ctx, c, RETRY_MS);
	return true;
}
