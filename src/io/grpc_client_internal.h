/* SPDX-License-Identifier: MIT */
/* What the files of the gRPC client share.  Reading order: grpc_client.c (actor, queue),
 * grpc_client_conn.c (connections), grpc_client_call.c (what nghttp2 calls), grpc_client_many.c (calls on
 * one stream), grpc_lane.c (calls of one affinity), grpc_resolve.c.
 *
 * Invariants:
 * 1. Each call is answered once, by grpc_call_finish, which frees it.
 * 2. Nothing is closed inside a callback of nghttp2: callbacks set flags, the turn's end acts.
 * 3. A call is in the queue, or its stream's user data points to it, or it is one of many on a stream;
 *    never two of these.
 * 4. A connection takes calls when it is known whether they go on one stream: so all that are on it in a
 *    lane go the same way. */
#ifndef IO_GRPC_CLIENT_INTERNAL_H
#define IO_GRPC_CLIENT_INTERNAL_H

#include <cx/io.h>

#include "io/grpc_client.h"
#include "io/grpc_resolve.h"
#include "io/grpc_transport.h"
#include "wire/grpc_many.h"
#include "wire/uuid_map.h"

#define GRPC_CONNECTIONS_MAX 8
#define GRPC_SLOTS_MAX 16 /* twice the connections: the old ones may still have calls */

struct grpc_client;
struct grpc_out_call;
struct ssl_ctx_st;

/* The calls of one affinity; grpc_lane.c has the rules. */
struct grpc_lane {
	struct grpc_lane *next, *prev; /* of the broken ones, or (next) of the free ones */
	struct grpc_client_conn *conn; /* while flying > 0 */
	struct grpc_out_call *unsent_head, *unsent_tail; /* on conn, the body not yet sent */
	uint64_t affinity;
	uint64_t broken_ms;
	uint32_t calls;  /* all that live */
	uint32_t flying; /* of them on conn */
	bool is_broken;
};

struct grpc_out_call {
	struct grpc_out_call *next, *prev; /* queue, or all of a connection */
	struct grpc_client_conn *conn;     /* NULL: in the queue */
	struct grpc_lane *lane;            /* or NULL */
	struct grpc_out_call *lane_next, *lane_prev;
	struct cx_caller caller;
	struct cx_buf *request;
	const char *method;
	uint64_t deadline_ms;
	struct cx_timer timer;
	int32_t stream_id; /* 0: one of many */
	uint32_t sent;     /* of prefix and request */
	uint32_t place;    /* in the table of calls */
	uint32_t life;     /* of this memory: with place the number of one of many */
	struct grpc_out_call *many_next, *many_prev; /* while is_many_due */
	struct grpc_reader reader;
	struct cx_buf *msg; /* the answer, being put together */
	uint32_t msg_len;
	uint16_t http_status;
	uint8_t status;
	uint8_t tries;
	bool has_status, is_grpc;
	bool is_unsent;   /* in the lane's list */
	bool is_deferred; /* waits for those before it in the lane */
	bool is_many_due; /* in the list of its connection's grpc_many */
	char message[GRPC_MESSAGE_BYTES_MAX + 1];
};

/* FREE -> CONNECTING -> GREETING -> READY -> LEAVING -> FREE; from each to WAITING or FREE;
 * WAITING -> CONNECTING */
enum grpc_conn_state {
	GRPC_CONN_FREE,
	GRPC_CONN_WAITING,    /* for its next try */
	GRPC_CONN_CONNECTING, /* TCP */
	GRPC_CONN_GREETING,   /* TLS, until the peer's SETTINGS, and inv. 4 */
	GRPC_CONN_READY,
	GRPC_CONN_LEAVE, /* the peer said GOAWAY: calls under way are finished */
};

/* The stream for many calls of a connection. */
enum grpc_many_state {
	GRPC_MANY_NONE,  /* not configured, or the peer does not offer it */
	GRPC_MANY_ASKED, /* the peer has not said whether */
	GRPC_MANY_OPEN,
};

struct grpc_many {
	struct grpc_out_call *due_head, *due_tail; /* nothing of them is sent */
	struct cx_buf *now; /* the request being written, whose call may have ended */
	struct cx_buf *msg; /* the answer being put together */
	struct grpc_reader reader;
	int32_t stream_id; /* 0: there is none */
	uint32_t now_at, now_len;
	uint32_t msg_len;
	uint16_t http_status;
	uint8_t state; /* enum grpc_many_state */
	uint8_t status;
	uint8_t head_len, head_at; /* what is before now */
	bool is_grpc, has_status, is_deferred;
	bool is_lost; /* it has ended before its time */
	uint8_t head[GRPC_MANY_HEAD_MAX];
};

struct grpc_client_conn {
	struct grpc_transport t; /* first */
	struct grpc_client *client;
	struct grpc_out_call *calls;
	struct grpc_many many;
	struct cx_timer timer;   /* WAITING */
	uint64_t since_ms;       /* this state */
	uint64_t silent_from_ms; /* the peer's last bytes, or the first call after none */
	uint64_t place;          /* hash of the address: that of a gateway */
	uint32_t call_count;
	uint32_t failures; /* in a row */
	uint8_t state;     /* enum grpc_conn_state */
	uint8_t target;
	bool is_dirty, is_failing, is_pinged;
	bool is_greeted; /* the peer's SETTINGS came */
	bool is_goaway;  /* one came: inv. 2 */
};

struct grpc_client {
	struct grpc_client_conf conf;
	struct cx_worker *worker;
	struct cx_ref self;
	struct uv_loop_s *loop;
	struct cx_ctx *ctx; /* while a turn of the actor runs, else NULL */
	struct ssl_ctx_st *tls;
	nghttp2_session_callbacks *callbacks;
	struct grpc_scratch *scratch;
	struct grpc_target *targets;
	struct grpc_address *addresses;
	uint32_t address_count, next_address;
	struct grpc_out_call *queue_head, *queue_tail, *free_calls;
	uint32_t queue_len;
	struct grpc_out_call **calls; /* all, by place */
	uint32_t calls_len;           /* a power of two is there, or none */
	struct uuid_map lanes;        /* by affinity */
	struct grpc_lane *free_lanes, *broken_head, *broken_tail;
	bool has_newly_broken; /* some of their calls are in the queue, perhaps */
	struct grpc_client_conn slots[GRPC_SLOTS_MAX];
	struct cx_timer tick;
	uint64_t resolved_ms;
	bool is_resolving;
	bool is_dead; /* no name, or no connection and none being tried */
};

/* grpc_client.c */
void grpc_client_enter(struct grpc_client *g);
/* Inv. 1; out of queue or connection first. */
void grpc_call_finish(struct grpc_client *g, struct grpc_out_call *call,
                      enum grpc_status status, const char *message);
/* To the front of the queue: it was surely not carried out. */
void grpc_call_again(struct grpc_client *g, struct grpc_out_call *call);
void grpc_call_unlink(struct grpc_client *g, struct grpc_out_call *call);
void grpc_call_link(struct grpc_client_conn *c, struct grpc_out_call *call);
/* All that wait get UNAVAILABLE. */
void grpc_queue_fail(struct grpc_client *g, const char *why);
void grpc_client_resolve(struct grpc_client *g);
/* The call of this number, or NULL: it has ended. */
struct grpc_out_call *grpc_call_of_id(const struct grpc_client *g, uint64_t id);
uint64_t grpc_call_id(const struct grpc_out_call *call);

/* grpc_client_conn.c */
/* Open what is missing; for each turn's end, and after a resolve. */
void grpc_client_connect(struct grpc_client *g);
void grpc_client_retry(struct grpc_client_conn *c);
void grpc_client_flush(struct grpc_client *g);
void grpc_client_tick(struct grpc_client *g);
void grpc_client_close(struct grpc_client *g);
/* The peer's SETTINGS; READY, when inv. 4 holds too. */
void grpc_conn_greeted(struct grpc_client_conn *c);
void grpc_conn_look(struct grpc_client_conn *c);
bool grpc_conn_is_up(const struct grpc_client_conn *c);
bool grpc_conn_has_room(const struct grpc_client_conn *c); /* for one more call */
/* The one that has room and the fewest calls, or NULL. */
struct grpc_client_conn *grpc_client_pick(struct grpc_client *g);

/* grpc_lane.c */
/* Found or made; NULL for affinity 0. */
struct grpc_lane *grpc_lane_of(struct grpc_client *g, uint64_t affinity);
/* Forgets it when nothing needs it. */
void grpc_lane_look(struct grpc_client *g, struct grpc_lane *lane);
void grpc_lane_break(struct grpc_client *g, struct grpc_lane *lane); /* NULL: nothing */
void grpc_lane_mend(struct grpc_client *g, uint64_t affinity);
void grpc_lanes_tick(struct grpc_client *g);
void grpc_lanes_free(struct grpc_client *g);
/* Where its next call goes, or NULL: it has to wait. */
struct grpc_client_conn *grpc_lane_pick(struct grpc_client *g, const struct grpc_lane *lane);
/* A call goes to a connection; may its body leave; it has left; the call leaves the connection. */
void grpc_lane_join(struct grpc_client_conn *c, struct grpc_out_call *call);
bool grpc_lane_may_send(struct grpc_out_call *call);
void grpc_lane_sent(struct grpc_client_conn *c, struct grpc_out_call *call);
void grpc_lane_leave(struct grpc_client_conn *c, struct grpc_out_call *call);

/* grpc_client_call.c */
void grpc_client_callbacks(nghttp2_session_callbacks *callbacks);
/* False: the connection cannot take it (nothing was sent). */
bool grpc_call_submit(struct grpc_client_conn *c, struct grpc_out_call *call);
void grpc_call_deadline(struct grpc_client *g, struct grpc_out_call *call);
/* A request of this path; without a deadline: timeout NULL.  The stream's id, or below 0. */
int32_t grpc_client_request(struct grpc_client_conn *c, const char *path, const char *timeout,
                            nghttp2_data_source_read_callback read, void *user_data);
uint16_t grpc_http_status(struct wire_slice value); /* of :status; 0: none */

/* grpc_client_many.c */
/* Asks for the stream, if it is configured.  False: the connection cannot. */
bool grpc_many_open(struct grpc_client_conn *c);
static inline bool grpc_call_is_many(const struct grpc_client_conn *c,
                                     const struct grpc_out_call *call)
{
	return c->many.state == GRPC_MANY_OPEN && call->method == c->client->conf.many_of;
}
void grpc_many_submit(struct grpc_client_conn *c, struct grpc_out_call *call);
/* The call ends or leaves the connection. */
void grpc_many_leave(struct grpc_client_conn *c, struct grpc_out_call *call);
/* No word about the stream: without it. */
void grpc_many_give_up(struct grpc_client_conn *c);
void grpc_many_header(struct grpc_client_conn *c, struct wire_slice name,
                      struct wire_slice value);
void grpc_many_headers_end(struct grpc_client_conn *c);
void grpc_many_data(struct grpc_client_conn *c, const uint8_t *bytes, size_t len);
/* The peer has ended its half: ours ends too. */
void grpc_many_end(struct grpc_client_conn *c);
void grpc_many_closed(struct grpc_client_conn *c);
void grpc_many_free(struct grpc_client_conn *c);

#endif
