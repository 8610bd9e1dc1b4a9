/* SPDX-License-Identifier: MIT */
/* A connection to Redis that comes back: name, address, TLS (verified), AUTH, SELECT, CLIENT SETNAME,
 * PING, then the owner's own; after a loss again, with full jitter between 50 ms and 5 s.
 *
 * The owner is an IO actor.  It hands on TIMER_A and REDIS_RESOLVED, and calls redis_link_flush in
 * batch_end.  All functions: Thread: the owner's worker, with its ctx. */
#ifndef IO_REDIS_LINK_H
#define IO_REDIS_LINK_H

#include "io/loop_uv.h"
#include "io/redis.h"
#include "io/redis_reader.h"
#include "io/redis_resolve.h"

struct cx_worker;
struct ws_client_tls;
struct ws_client_tls_context;

/* Called with link->owner.  Inside, redis_link_put is allowed, redis_link_fail is not. */
struct redis_link_ops {
	void (*on_up)(struct cx_ctx *ctx, void *owner);
	/* It was up; link->sent is how much of what was put reached the socket. */
	void (*on_down)(struct cx_ctx *ctx, void *owner);
	/* A reply to what the owner put.  False: it must not come; the connection ends. */
	bool (*on_reply)(struct cx_ctx *ctx, void *owner, const uint8_t *bytes, size_t len);
};

/* WAITING -> RESOLVING -> CONNECTING -> LOGIN -> UP; each may fall back to WAITING, CONNECTING also
 * goes to itself (the next address).  STOPPED is the last. */
enum redis_link_state {
	REDIS_LINK_WAITING,
	REDIS_LINK_RESOLVING,
	REDIS_LINK_CONNECTING,
	REDIS_LINK_LOGIN,
	REDIS_LINK_UP,
	REDIS_LINK_STOPPED,
};

struct redis_link {
	struct loop_watch watch; /* first: the loop hands it back */
	enum redis_link_state state;
	struct cx_worker *worker;
	struct uv_loop_s *loop;
	struct cx_ref self;
	const struct redis_link_ops *ops;
	void *owner;
	const struct redis_url *url;
	const char *client_name;
	uint32_t connect_ms, dead_ms;
	struct redis_figures *figures;
	struct ws_client_tls_context *trust; /* NULL: plain */
	struct cx_timer timer;               /* of a connection attempt, or until the next */
	unsigned failures;                   /* in a row */
	struct redis_addresses addresses;
	unsigned address; /* in use */

	/* of this connection */
	struct ws_client_tls *tls;
	struct redis_reader *reader;
	uint8_t *out; /* bytes not yet sent lie from out_at to out_len */
	size_t out_at, out_len, out_cap;
	uint64_t put, sent; /* bytes since the log-in */
	uint64_t up_ms, rx_ms;
	unsigned login_at, login_count; /* replies to it */
	uint8_t login[4];               /* what each reply belongs to */
	bool is_more;                   /* TLS holds input that the socket will not report */
	char why[128];                  /* the reason of a failure that a callback found */
};

/* Fill url, client_name, connect_ms, dead_ms, ops and owner of a zeroed link before.  The first try
 * starts at once.  Returns CX_EIO: the certificates cannot be read (logged). */
CX_NODISCARD enum cx_err redis_link_start(struct cx_ctx *ctx, struct redis_link *link,
                                          const char *ca_file);
/* No callback follows. */
void redis_link_stop(struct cx_ctx *ctx, struct redis_link *link);

void redis_link_on_timer(struct cx_ctx *ctx, struct redis_link *link);
void redis_link_on_resolved(struct cx_ctx *ctx, struct redis_link *link,
                            const struct redis_addresses *addresses);

/* Bytes for the socket, sent by the next flush.  Only when UP or in on_up. */
void redis_link_put(struct redis_link *link, const void *bytes, size_t len);
/* Bytes put and not yet taken by the socket. */
size_t redis_link_backlog(const struct redis_link *link);
/* Write what the socket takes. */
void redis_link_flush(struct cx_ctx *ctx, struct redis_link *link);

/* End this connection: on_down when it was up, and another try later.  `why` is for the log. */
void redis_link_fail(struct cx_ctx *ctx, struct redis_link *link, const char *why);

/* When an answer is due since since_ms: fail the link if nothing came for dead_ms, or no whole
 * answer in twelve times that, however many bytes trickle in. */
void redis_link_check(struct cx_ctx *ctx, struct redis_link *link, uint64_t since_ms);

#endif
