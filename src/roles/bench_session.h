/* SPDX-License-Identifier: MIT */
/* A connection of the load generator from dialing to authenticated, with retries; and the
 * dialer, which keeps the number of those under way bounded. */
#ifndef CONSTRUCT_ROLES_BENCH_SESSION_H
#define CONSTRUCT_ROLES_BENCH_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/ws_client.h"
#include "io/ws_client_identity.h"
#include "roles/bench_frame.h"

struct bench_session;

/* Someone with an account on the server. */
struct bench_user {
	char name[48];
	char password[40];
	char id[BENCH_ID_CHARS + 1]; /* "": not registered */
	char *token;                 /* NULL: none */
};

/* How a session becomes ready. */
enum bench_auth {
	BENCH_AUTH_NONE, /* ready when the WebSocket is open */
	BENCH_AUTH_TOKEN,
	BENCH_AUTH_PASSWORD,
	BENCH_AUTH_ANY, /* token, else password, else registration: updates the user */
};

struct bench_session_ops {
	void (*on_ready)(struct bench_session *session);
	/* One binary frame of a ready session. */
	void (*on_frame)(struct bench_session *session, const uint8_t *data, size_t len);
	/* A ready session has ended; conn is NULL by now.  It may be dialed again. */
	void (*on_end)(struct bench_session *session, const struct ws_client_end *end);
	/* It did not become ready within the dialer's time.  text says why. */
	void (*on_failed)(struct bench_session *session, const char *code, const char *text);
};

/* IDLE -> WAITING -> DIALING -> OPEN -> READY; all of them -> IDLE, DIALING and OPEN also ->
 * WAITING (another try) */
enum bench_session_state {
	BENCH_SESSION_IDLE,
	BENCH_SESSION_WAITING, /* for the dialer */
	BENCH_SESSION_DIALING,
	BENCH_SESSION_OPEN, /* the frame that authenticates is out */
	BENCH_SESSION_READY,
};

struct bench_session {
	struct ws_client *conn; /* NULL in IDLE and WAITING */
	struct bench_dialer *dialer;
	const struct bench_session_ops *ops;
	struct bench_user *user;
	uint64_t asked_ns;  /* when bench_dial was called */
	uint64_t dialed_ns; /* when this try began */
	uint64_t opened_ns;
	uint64_t not_before_ns;            /* of the next try */
	struct bench_session *next, *prev; /* in a list of the dialer */
	uint8_t state;
	uint8_t auth;
	uint8_t step; /* enum bench_auth of the frame that is out */
	uint8_t tries;
	bool tries_once; /* the first refusal is the answer */
};

struct bench_session_list {
	struct bench_session *head, *tail;
	uint32_t len;
};

struct bench_dialer {
	struct ws_client_loop *loop;
	const struct ws_client_target *target;
	const struct ws_client_identity *identity; /* for registrations */
	struct bench_session_list waiting;
	struct bench_session_list under_way; /* DIALING, OPEN */
	uint32_t limit;                      /* of those under way */
	uint64_t timeout_ns;
	uint64_t retries; /* tries that had to be repeated */
	uint64_t random;
	uint64_t next_check_ns; /* of those that take too long */
};

/* Begins to set up an idle session; on_ready or on_failed follows. */
void bench_dial(struct bench_dialer *dialer, struct bench_session *session);

/* Starts what may start, and ends what takes too long.  Returns when it wants to be called
 * again (UINT64_MAX: not before something changes). */
uint64_t bench_dialer_tick(struct bench_dialer *dialer, uint64_t now_ns);

/* Ends a session without on_end: drop with a FIN, abort with a reset. */
void bench_session_drop(struct bench_session *session);
void bench_session_abort(struct bench_session *session);

/* The time stamp of the read being handled. */
static inline uint64_t bench_session_now(const struct bench_session *session)
{
	return ws_client_loop_stamp_ns(session->dialer->loop);
}

#endif
