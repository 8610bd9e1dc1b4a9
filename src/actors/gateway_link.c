/* SPDX-License-Identifier: MIT */
/* 1. Every submission is answered once, from the front of its sender's ring (link_sender.h).
 * 2. A sender is in the list that says what it waits for: READY for a place among those under way, BROKEN
 *    for its calls to end, STALLED for its delay, IDLE for being dropped; else its calls move it on.
 * 3. A flight names a sender, so a sender with calls under way is not dropped. */
#include "actors/gateway_link.h"

#include <stdlib.h>
#include <string.h>

#include "actors/link_sender.h"
#include "io/figures.h"
#include "io/grpc_client.h"
#include "wire/server_frame.h"
#include "wire/submission.h"
#include "wire/uuid_map.h"

#define DEADLINE_MS 12000 /* below the client's 15 s */
#define WINDOW 64         /* under way of one sender */
#define FLIGHTS_MAX 8192  /* of all */
#define HELD_MAX (65536 + FLIGHTS_MAX)
#define IDLE_MS 60000
#define TICK_MS 500
#define BUCKET_BITS 12
#define BUCKETS (1u << BUCKET_BITS)
#define LEVELS 6

const char gateway_link_method[] = "/construct.message_gateway.v1.MessageGateway/SubmitMessage";
const char gateway_link_many[] = "/construct.message_gateway.v1.MessageGateway/SubmitMessages";

static const uint32_t delays_ms[LEVELS] = { 20, 40, 80, 160, 320, 500 };

struct flight { /* a call under way */
	struct flight *next;
	uint64_t corr;
	struct link_sender *sender;
	uint64_t n; /* in its ring */
};

struct link {
	struct cx_ref client;
	struct uuid_map senders;
	struct link_list ready, broken, idle;
	struct link_list stalled[LEVELS]; /* one delay each, so each is in order of its end */
	struct flight *buckets[BUCKETS];  /* by corr */
	struct flight *free;
	uint32_t flying, held;
	struct cx_timer tick, retry;
	struct gateway_link_figures *figures;
};

struct line {
	_Alignas(64) struct gateway_link_figures figures;
};

static struct line all_figures[RELAY_WORKERS_MAX];

/* One writer a line: pairs with figures_add. */
static void count(uint64_t *figure, int64_t n)
{
	__atomic_store_n(figure, *figure + (uint64_t)n, __ATOMIC_RELAXED);
}

/* ---- flights ---- */

static struct flight **bucket_of(struct link *l, uint64_t corr)
{
	/* Fibonacci hashing */
	return &l->buckets[corr * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BUCKET_BITS)];
}

static void take_off(struct link *l, uint64_t corr, struct link_sender *s)
{
	struct flight **at = bucket_of(l, corr);
	struct flight *f = l->free;

	if (f != NULL) {
		l->free = f->next;
	} else {
		f = malloc(sizeof(*f));
		cx_assert(f != NULL);
	}
	*f = (struct flight){ *at, corr, s, s->next_send };
	*at = f;
	l->flying++;
	s->flying++;
	count(&l->figures->in_flight, 1);
}

/* The submission that this answer is about, or NULL. */
static struct link_send *land(struct link *l, uint64_t corr, struct link_sender **s)
{
	struct flight **at = bucket_of(l, corr);
	struct flight *f;

	while (*at != NULL && (*at)->corr != corr)
		at = &(*at)->next;
	f = *at;
	if (f == NULL)
		return NULL;
	*at = f->next;
	f->next = l->free;
	l->free = f;
	l->flying--;
	f->sender->flying--;
	count(&l->figures->in_flight, -1);
	*s = f->sender;
	return link_sender_at(f->sender, f->n);
}

/* ---- where a sender is ---- */

static uint64_t affinity_of(const struct link_sender *s)
{
	const uint64_t hash = uuid_hash(&s->user);

	return hash != 0 ? hash : 1;
}

static void answer(struct cx_ctx *ctx, struct link_send *e)
{
	struct gateway_outcome *m = CX_MSG_NEW(ctx, GATEWAY_OUTCOME, struct gateway_outcome);

	m->code = e->code;
	m->frame_bytes = e->frame_bytes;
	memcpy(m->id, e->id, sizeof(m->id));
	memcpy(m->text, e->text, sizeof(m->text));
	m->hdr.buf = e->buf; /* the connection's own answer, or NULL by now */
	cx_answer(ctx, e->caller, &m->hdr);
}

/* inv. 1 */
static void release(struct cx_ctx *ctx, struct link *l, struct link_sender *s)
{
	for (; s->first < s->last && link_sender_at(s, s->first)->step == LINK_DONE;
	     s->first++) {
		answer(ctx, link_sender_at(s, s->first));
		l->held--;
	}
	if (s->next_send < s->first)
		s->next_send = s->first;
}

static struct link_list *list_of(struct link *l, struct link_sender *s)
{
	switch ((enum link_list_name)s->list) {
	case LINK_READY:
		return &l->ready;
	case LINK_BROKEN:
		return &l->broken;
	case LINK_STALLED:
		return &l->stalled[s->level];
	case LINK_IDLE:
		return &l->idle;
	case LINK_NOWHERE:
		break;
	}
	return NULL;
}

static void move(struct link *l, struct link_sender *s, enum link_list_name to)
{
	struct link_list *list = list_of(l, s);

	if (s->list == to)
		return;
	if (list != NULL)
		link_list_take(list, s);
	s->list = (uint8_t)to;
	list = list_of(l, s);
	if (list != NULL)
		link_list_add(list, s);
}

static void arm_retry(struct cx_ctx *ctx, struct link *l)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	uint64_t due_ms = UINT64_MAX;

	for (int i = 0; i < LEVELS; i++)
		if (l->stalled[i].head != NULL && l->stalled[i].head->since_ms < due_ms)
			due_ms = l->stalled[i].head->since_ms;
	if (due_ms != UINT64_MAX)
		cx_timer_arm(ctx, &l->retry, due_ms > now_ms ? due_ms - now_ms : 0, TIMER_B);
}

/* All its calls have ended, some without an outcome: a pause, then a single one goes first. */
static void stall(struct cx_ctx *ctx, struct link *l, struct link_sender *s)
{
	const enum cx_err err = grpc_mend(ctx, l->client, affinity_of(s));

	(void)err; /* a new client has nothing to mend */
	count(&l->figures->failed, link_sender_rewind(s));
	release(ctx, l, s);
	s->window = 1;
	s->since_ms = cx_now_ms(ctx) + delays_ms[s->level];
	move(l, s, LINK_STALLED);
	arm_retry(ctx, l);
}

/* inv. 2, after whatever has changed */
static void place(struct cx_ctx *ctx, struct link *l, struct link_sender *s)
{
	release(ctx, l, s);
	if (s->list == LINK_STALLED)
		return;
	if (s->is_broken && s->flying > 0) {
		move(l, s, LINK_BROKEN);
	} else if (s->is_broken) {
		stall(ctx, l, s);
	} else if (s->next_send < s->last && s->flying < s->window) {
		move(l, s, LINK_READY);
	} else if (s->first == s->last) {
		s->since_ms = s->list == LINK_IDLE ? s->since_ms : cx_now_ms(ctx);
		move(l, s, LINK_IDLE);
	} else {
		move(l, s, LINK_NOWHERE);
	}
}

/* ---- sending ---- */

static void send_one(struct cx_ctx *ctx, struct link *l, struct link_sender *s)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	struct link_send *e;
	uint64_t corr;

	count(&l->figures->failed, link_sender_expire(s, now_ms));
	e = link_sender_next(s);
	if (e == NULL)
		return;
	if (grpc_call_by(ctx, l->client, gateway_link_method, e->buf, affinity_of(s),
	                 (uint32_t)(e->deadline_ms - now_ms), &corr) != CX_OK) {
		s->is_broken = true; /* nothing of it was sent; it waits for the others */
		return;
	}
	take_off(l, corr, s);
	count(&l->figures->calls, 1);
	e->step = LINK_FLYING;
	if (e->tries < UINT16_MAX)
		e->tries++;
	s->next_send++;
}

/* One of each sender in turn. */
static void batch_end(struct cx_ctx *ctx, void *state)
{
	struct link *l = state;

	while (l->flying < FLIGHTS_MAX && l->ready.head != NULL) {
		struct link_sender *s = l->ready.head;

		send_one(ctx, l, s);
		move(l, s, LINK_NOWHERE);
		place(ctx, l, s);
	}
}

static struct link_sender *sender_of(struct link *l, const struct uuid *user)
{
	struct link_sender *s = uuid_map_get(&l->senders, user);

	if (s != NULL)
		return s;
	s = link_sender_new(user);
	s->window = WINDOW;
	uuid_map_put(&l->senders, user, s);
	return s;
}

/* NULL: it is no `message` frame. */
static struct cx_buf *request_of(const struct cx_buf *frame, const struct uuid *sender)
{
	struct server_frame f;
	struct cx_buf *buf;
	size_t len;

	if (frame == NULL || !server_frame_decode(cx_buf_bytes(frame), cx_buf_len(frame), &f) ||
	    f.type != SERVER_MESSAGE)
		return NULL;
	buf = cx_buf_new(submission_request(NULL, 0, &f.message, sender));
	len = submission_request(cx_buf_data(buf), cx_buf_len(buf), &f.message, sender);
	cx_assert(len == cx_buf_len(buf));
	return buf;
}

static void on_submit(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct link *l = state;
	const struct gateway_submit *submit =
		&CX_MSG_AS(struct gateway_submit_msg, msg)->submit;
	struct link_sender *s = sender_of(l, &submit->sender);
	struct link_send *e = link_sender_push(s);

	*e = (struct link_send){ .caller = cx_caller_of(msg),
		                 .owner = submit->owner,
		                 .deadline_ms = cx_now_ms(ctx) + DEADLINE_MS,
		                 .frame_bytes = submit->frame_bytes,
		                 .code = submit->code };
	memcpy(e->id, submit->id, sizeof(e->id));
	if (submit->code != ERROR_NONE) {
		e->buf = cx_buf_ref(msg->buf);
		e->step = LINK_DONE;
	} else {
		count(&l->figures->submitted, 1);
		if (l->held < HELD_MAX)
			e->buf = request_of(msg->buf, &submit->sender);
		if (e->buf == NULL)
			link_send_finish(e, ERROR_SERVER_ERROR);
	}
	l->held++;
	place(ctx, l, s);
}

/* ---- what became of a call ---- */

enum verdict { OUTCOME, AGAIN, GIVEN_UP, REFUSED };

static enum verdict verdict_of(enum grpc_status status)
{
	switch (status) {
	case GRPC_OK:
		return OUTCOME;
	case GRPC_UNAVAILABLE:
	case GRPC_CANCELLED:
	case GRPC_RESOURCE_EXHAUSTED:
		return AGAIN;
	case GRPC_INVALID_ARGUMENT:
	case GRPC_PERMISSION_DENIED:
	case GRPC_UNAUTHENTICATED:
	case GRPC_UNIMPLEMENTED:
		return REFUSED; /* of all, surely: a gateway that is set up otherwise */
	default:
		return GIVEN_UP; /* it may be durable: the client knows what to do */
	}
}

/* Of one that was tried before.  A limit is asked before anybody looks which messages there were, and with
 * a worker that is behind, a quota before that can be seen.  So an earlier try may have been accepted
 * (protocol.md 2, promises 7 and 9). */
static struct submission_outcome of_a_repetition(const struct submission_outcome *out)
{
	switch (out->code) {
	case ERROR_DUPLICATE_MESSAGE: /* it was */
		return (struct submission_outcome){ .code = ERROR_NONE };
	case ERROR_RATE_LIMIT_WARNING:
	case ERROR_RATE_LIMIT_BLOCKED:
	case ERROR_USER_BLOCKED:
	case ERROR_INBOX_FULL:
		return (struct submission_outcome){ .code = ERROR_KAFKA_FAILURE };
	default:
		return *out;
	}
}

static void take_outcome(struct link_sender *s, struct link_send *e, const struct cx_buf *buf)
{
	struct submission_outcome out;

	_Static_assert(sizeof(e->text) == sizeof(out.text), "texts are copied whole");
	if (!submission_outcome_read(wire_slice(cx_buf_bytes(buf), cx_buf_len(buf)), &out)) {
		link_send_finish(e, ERROR_KAFKA_FAILURE);
		return;
	}
	if (e->tries > 1)
		out = of_a_repetition(&out);
	memcpy(e->text, out.text, sizeof(e->text));
	link_send_finish(e, out.code);
	if (s->is_broken)
		return;
	s->level = 0;
	s->window = s->window * 2 < WINDOW ? s->window * 2 : WINDOW;
}

static void call_ended(struct cx_ctx *ctx, struct link *l, uint64_t corr, enum verdict verdict,
                       const struct cx_buf *buf)
{
	struct link_sender *s;
	struct link_send *e = land(l, corr, &s);

	if (e == NULL)
		return;
	switch (verdict) {
	case OUTCOME:
		take_outcome(s, e, buf);
		break;
	case AGAIN:
		count(&l->figures->lost, 1);
		e->step = LINK_LOST;
		s->is_broken = true;
		break;
	case GIVEN_UP:
	case REFUSED:
		count(&l->figures->failed, 1);
		link_send_finish(e,
		                 verdict == REFUSED ? ERROR_SERVER_ERROR : ERROR_KAFKA_FAILURE);
		break;
	}
	place(ctx, l, s);
}

static void on_result(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	call_ended(ctx, state, msg->corr,
	           verdict_of(CX_MSG_AS(struct grpc_result, msg)->status), msg->buf);
}

/* The client is full or gone: again.  It did not keep to its deadline: too late. */
static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const enum cx_err err = CX_MSG_AS(struct cx_msg_error, msg)->err;

	call_ended(ctx, state, msg->corr, err == CX_ETIMEOUT ? GIVEN_UP : AGAIN, NULL);
}

/* ---- time ---- */

static void on_retry(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	struct link *l = state;

	(void)msg;
	for (int i = LEVELS; i-- > 0;) { /* down: none meets its next list in this walk */
		struct link_sender *s;

		while ((s = l->stalled[i].head) != NULL && s->since_ms <= now_ms) {
			move(l, s, LINK_NOWHERE);
			s->is_broken = false;
			s->level = (uint8_t)(i + 1 < LEVELS ? i + 1 : i);
			place(ctx, l, s);
		}
	}
	arm_retry(ctx, l);
}

static void expire(struct cx_ctx *ctx, struct link *l, struct link_list *list)
{
	struct link_sender *s, *next;

	for (s = list->head; s != NULL; s = next) {
		const uint32_t n = link_sender_expire(s, cx_now_ms(ctx));

		next = s->next;
		if (n == 0)
			continue;
		count(&l->figures->failed, n);
		place(ctx, l, s);
	}
}

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	struct link *l = state;
	struct link_sender *s;

	(void)msg;
	expire(ctx, l, &l->ready);
	expire(ctx, l, &l->broken);
	while ((s = l->idle.head) != NULL && now_ms - s->since_ms >= IDLE_MS) {
		move(l, s, LINK_NOWHERE);
		uuid_map_take(&l->senders, &s->user);
		link_sender_free(s); /* inv. 3: without submissions there are no flights */
	}
	cx_timer_arm(ctx, &l->tick, TICK_MS, TIMER_A);
}

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct link *l = state;

	cx_assert(cx_worker_index(ctx) < RELAY_WORKERS_MAX);
	l->client = ((const struct gateway_link_conf *)conf)->client;
	l->figures = &all_figures[cx_worker_index(ctx)].figures;
	cx_timer_arm(ctx, &l->tick, TICK_MS, TIMER_A);
	return CX_OK;
}

static void free_chain(struct flight *f)
{
	while (f != NULL) {
		struct flight *next = f->next;

		free(f);
		f = next;
	}
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct link *l = state;
	struct link_sender *s;
	uint32_t at = 0;

	(void)ctx;
	while ((s = uuid_map_next(&l->senders, &at)) != NULL)
		link_sender_free(s);
	uuid_map_free(&l->senders);
	for (size_t i = 0; i < BUCKETS; i++)
		free_chain(l->buckets[i]);
	free_chain(l->free);
	count(&l->figures->in_flight, -(int64_t)l->flying);
}

static const struct cx_handler handlers[] = {
	CX_ON(GATEWAY_SUBMIT, struct gateway_submit_msg, on_submit),
	CX_ON(GRPC_RESULT, struct grpc_result, on_result),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
	CX_ON(TIMER_A, struct cx_msg_timer, on_tick),
	CX_ON(TIMER_B, struct cx_msg_timer, on_retry),
};

const struct cx_actor_type gateway_link_type = {
	.name = "gateway_link",
	.state_size = sizeof(struct link),
	.conf_size = sizeof(struct gateway_link_conf),
	.mailbox_cap = 65536,
	.batch_max = 256,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.batch_end = batch_end,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

void gateway_link_figures(struct gateway_link_figures *out)
{
	*out = (struct gateway_link_figures){ 0 };
	for (size_t i = 0; i < RELAY_WORKERS_MAX; i++)
		figures_add(out, &all_figures[i].figures, sizeof(*out));
}
