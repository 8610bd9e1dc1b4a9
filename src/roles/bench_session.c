/* SPDX-License-Identifier: MIT */
#include "roles/bench_session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roles/bench_memory.h"

#define MS UINT64_C(1000000)
#define BACKOFF_FIRST (20 * MS)
#define BACKOFF_DOUBLINGS 4
#define CHECK_EVERY (100 * MS)
#define FRAME_BYTES_MAX 4096
#define STARTS_A_TURN 64 /* then those that answer have their turn */

static void list_add(struct bench_session_list *list, struct bench_session *s)
{
	s->next = NULL;
	s->prev = list->tail;
	if (list->tail)
		list->tail->next = s;
	else
		list->head = s;
	list->tail = s;
	list->len++;
}

static void list_remove(struct bench_session_list *list, struct bench_session *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		list->head = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		list->tail = s->prev;
	list->len--;
}

/* Takes the session out of whichever list its state says. */
static void leave(struct bench_session *s)
{
	if (s->state == BENCH_SESSION_WAITING)
		list_remove(&s->dialer->waiting, s);
	else if (s->state == BENCH_SESSION_DIALING || s->state == BENCH_SESSION_OPEN)
		list_remove(&s->dialer->under_way, s);
	s->state = BENCH_SESSION_IDLE;
}

static uint64_t next_random(struct bench_dialer *d)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random;
}

static void fail(struct bench_session *s, const char *code, const char *text)
{
	if (s->conn)
		ws_client_drop(s->conn);
	s->conn = NULL;
	leave(s);
	s->ops->on_failed(s, code, text);
}

/* Half of a growing wait is random, so that clients refused together do not return together. */
static void again_or_fail(struct bench_session *s, uint64_t now_ns, const char *code,
                          const char *text)
{
	struct bench_dialer *d = s->dialer;
	const uint32_t doublings = s->tries < BACKOFF_DOUBLINGS ? s->tries : BACKOFF_DOUBLINGS;
	const uint64_t wait_ns = BACKOFF_FIRST << doublings;

	if (s->tries_once || now_ns + wait_ns - s->asked_ns > d->timeout_ns) {
		fail(s, code, text);
		return;
	}
	if (s->conn)
		ws_client_drop(s->conn);
	s->conn = NULL;
	leave(s);
	s->not_before_ns = now_ns + wait_ns / 2 + next_random(d) % (wait_ns / 2);
	s->tries = s->tries < UINT8_MAX ? (uint8_t)(s->tries + 1) : UINT8_MAX;
	s->state = BENCH_SESSION_WAITING;
	list_add(&d->waiting, s);
	d->retries++;
}

static void become_ready(struct bench_session *s)
{
	leave(s);
	s->state = BENCH_SESSION_READY;
	s->ops->on_ready(s);
}

static size_t put_register(struct bench_session *s, uint8_t *to)
{
	const struct ws_client_identity *id = s->dialer->identity;
	struct bench_writer w = { .at = to };

	bench_put_head(&w, "register", 3);
	bench_put_text(&w, "username");
	bench_put_text(&w, s->user->name);
	bench_put_text(&w, "password");
	bench_put_text(&w, s->user->password);
	bench_put_text(&w, "publicKey");
	bench_put_bundle(&w, id->master_key, id->bundle, id->signature);
	return w.len;
}

static void authenticate(struct bench_session *s, enum bench_auth step)
{
	struct bench_user *user = s->user;
	uint8_t frame[FRAME_BYTES_MAX];
	size_t len;

	s->step = (uint8_t)step;
	if (step == BENCH_AUTH_TOKEN)
		len = bench_frame_texts(frame, "connect", "sessionToken", user->token, NULL);
	else if (step == BENCH_AUTH_PASSWORD)
		len = bench_frame_texts(frame, "login", "username", user->name, "password",
		                        user->password, NULL);
	else
		len = put_register(s, frame);
	ws_client_send(s->conn, WS_CLIENT_BINARY, frame, len);
}

static void on_open(struct ws_client *conn)
{
	struct bench_session *s = ws_client_user(conn);
	enum bench_auth step = s->auth;

	s->opened_ns = bench_session_now(s);
	s->state = BENCH_SESSION_OPEN;
	if (step == BENCH_AUTH_NONE) {
		become_ready(s);
		return;
	}
	if (step == BENCH_AUTH_ANY && s->user->token)
		step = BENCH_AUTH_TOKEN;
	else if (step == BENCH_AUTH_ANY && s->user->id[0])
		step = BENCH_AUTH_PASSWORD;
	authenticate(s, step);
}

static void take_session(struct bench_user *user, const struct bench_frame *f)
{
	if (f->token.len == 0 || f->token.len > FRAME_BYTES_MAX / 2 ||
	    f->user_id.len != BENCH_ID_CHARS)
		return;
	free(user->token);
	user->token = bench_alloc(f->token.len + 1, 1);
	memcpy(user->token, f->token.at, f->token.len);
	memcpy(user->id, f->user_id.at, BENCH_ID_CHARS);
}

static bool is_refusal_for_good(const struct bench_frame *f)
{
	return f->type == BENCH_FRAME_SESSION_EXPIRED ||
	       bench_slice_is(f->code, "INVALID_TOKEN") ||
	       bench_slice_is(f->code, "INVALID_CREDENTIALS");
}

static void on_refusal(struct bench_session *s, const struct bench_frame *f)
{
	char code[64];
	char text[120];

	if (s->auth == BENCH_AUTH_ANY && is_refusal_for_good(f) && s->step != BENCH_AUTH_ANY) {
		if (s->step == BENCH_AUTH_PASSWORD)
			s->user->id[0] = '\0'; /* unknown here: register anew */
		authenticate(s, s->step == BENCH_AUTH_TOKEN && s->user->id[0]
		                        ? BENCH_AUTH_PASSWORD
		                        : BENCH_AUTH_ANY);
		return;
	}
	snprintf(code, sizeof(code), "%.*s", (int)f->code.len, f->code.at ? f->code.at : "");
	snprintf(text, sizeof(text), "%.*s", (int)f->text.len, f->text.at ? f->text.at : "");
	if (f->type == BENCH_FRAME_SESSION_EXPIRED)
		fail(s, "sessionExpired", "the session is not known to the server");
	else if (bench_slice_is(f->code, "SERVER_ERROR") ||
	         bench_slice_is(f->code, "TOO_MANY_CONNECTIONS"))
		again_or_fail(s, bench_session_now(s), code, text);
	else
		fail(s, code, text);
}

static void on_answer(struct bench_session *s, const uint8_t *data, size_t len)
{
	struct bench_frame f;

	if (!bench_frame_read(data, len, &f)) {
		fail(s, "unreadable", "the server sent a frame that is no {type, payload}");
		return;
	}
	switch (f.type) {
	case BENCH_FRAME_REGISTER_SUCCESS:
	case BENCH_FRAME_LOGIN_SUCCESS:
		if (s->auth == BENCH_AUTH_ANY)
			take_session(s->user, &f);
		become_ready(s);
		break;
	case BENCH_FRAME_CONNECT_SUCCESS:
		become_ready(s);
		break;
	case BENCH_FRAME_ERROR:
	case BENCH_FRAME_SESSION_EXPIRED:
		on_refusal(s, &f);
		break;
	default:
		break;
	}
}

static void on_message(struct ws_client *conn, enum ws_client_op op, const uint8_t *data,
                       size_t len)
{
	struct bench_session *s = ws_client_user(conn);

	if (op != WS_CLIENT_BINARY)
		return;
	if (s->state == BENCH_SESSION_READY)
		s->ops->on_frame(s, data, len);
	else
		on_answer(s, data, len);
}

static void on_end(struct ws_client *conn, const struct ws_client_end *end)
{
	struct bench_session *s = ws_client_user(conn);
	char code[32];

	s->conn = NULL;
	if (s->state == BENCH_SESSION_READY) {
		s->state = BENCH_SESSION_IDLE;
		s->ops->on_end(s, end);
		return;
	}
	snprintf(code, sizeof(code), "close %u", end->code);
	if (end->kind == WS_CLIENT_END_TLS || end->kind == WS_CLIENT_END_PROTOCOL ||
	    (end->http_status && end->http_status != 503 && end->http_status != 429))
		fail(s, "handshake", end->text);
	else
		again_or_fail(s, ws_client_now_ns(), end->code ? code : "no connection",
		              end->text);
}

static const struct ws_client_handlers handlers = {
	.on_open = on_open,
	.on_message = on_message,
	.on_end = on_end,
};

void bench_dial(struct bench_dialer *dialer, struct bench_session *session)
{
	session->dialer = dialer;
	session->asked_ns = ws_client_now_ns();
	session->not_before_ns = 0;
	session->tries = 0;
	session->state = BENCH_SESSION_WAITING;
	list_add(&dialer->waiting, session);
}

static void start(struct bench_dialer *d, struct bench_session *s, uint64_t now_ns)
{
	char text[120];

	leave(s);
	s->dialed_ns = now_ns;
	s->state = BENCH_SESSION_DIALING;
	list_add(&d->under_way, s);
	if (ws_client_open(d->loop, d->target, &handlers, s, &s->conn) == CX_OK)
		return;
	snprintf(text, sizeof(text), "no socket: %s%s", strerror(errno),
	         errno == EMFILE ? " (raise ulimit -n)" : "");
	fail(s, "no socket", text);
}

static void end_overdue(struct bench_dialer *d, uint64_t now_ns)
{
	struct bench_session *next;

	for (struct bench_session *s = d->under_way.head; s; s = next) {
		next = s->next;
		if (now_ns - s->asked_ns > d->timeout_ns)
			fail(s, "timeout",
			     s->state == BENCH_SESSION_OPEN
			             ? "the server did not answer the frame that authenticates"
			             : "the server did not answer the handshake");
	}
}

uint64_t bench_dialer_tick(struct bench_dialer *d, uint64_t now_ns)
{
	struct bench_session *next;
	uint64_t wake_ns = UINT64_MAX;
	uint32_t started = 0;

	for (struct bench_session *s = d->waiting.head; s && d->under_way.len < d->limit;
	     s = next) {
		next = s->next;
		if (s->not_before_ns > now_ns) {
			if (s->not_before_ns < wake_ns)
				wake_ns = s->not_before_ns;
		} else if (started++ < STARTS_A_TURN) {
			start(d, s, now_ns);
		} else {
			wake_ns = now_ns;
			break;
		}
	}
	if (d->under_way.len && now_ns >= d->next_check_ns) {
		d->next_check_ns = now_ns + CHECK_EVERY;
		end_overdue(d, now_ns);
	}
	if (d->under_way.len && d->next_check_ns < wake_ns)
		wake_ns = d->next_check_ns;
	return wake_ns;
}

void bench_session_drop(struct bench_session *session)
{
	if (session->conn)
		ws_client_drop(session->conn);
	session->conn = NULL;
	leave(session);
}

void bench_session_abort(struct bench_session *session)
{
	if (session->conn)
		ws_client_abort(session->conn);
	session->conn = NULL;
	leave(session);
}
