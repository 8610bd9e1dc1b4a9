/* SPDX-License-Identifier: MIT */
/* One user of the probe: a connection that is asked and waited for, step by step. */
#ifndef CONSTRUCT_ROLES_PROBE_PEER_H
#define CONSTRUCT_ROLES_PROBE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/ws_client.h"
#include "io/ws_client_identity.h"
#include "roles/bench_frame.h"

#define PROBE_TOKEN_BYTES 2048
#define PROBE_WHY_BYTES 300

struct probe_received; /* a frame that waits to be taken */

struct probe_net {
	struct ws_client_loop *loop;
	uint64_t timeout_ns;
	char why[PROBE_WHY_BYTES]; /* of the last step that failed */
};

struct probe_peer {
	struct probe_net *net;
	const struct ws_client_target *target; /* its server */
	char label;                            /* 'A', 'B' */
	char username[64];
	char password[64];
	char id[BENCH_ID_CHARS + 1]; /* "": not registered, or deleted */
	char token[PROBE_TOKEN_BYTES];
	struct ws_client_identity identity;
	struct ws_client *conn; /* NULL: not connected */
	bool is_open;
	uint32_t pongs;
	struct ws_client_end end; /* of the last connection that ended by itself */
	bool has_ended;
	struct probe_received *first, *last;
	uint64_t stamp_ns;            /* when the last frame that was taken had come */
	struct probe_received *taken; /* what the last frame points into */
};

/* A random name and password, and keys. */
bool probe_peer_init(struct probe_peer *peer, struct probe_net *net,
                     const struct ws_client_target *target, char label);
void probe_peer_free(struct probe_peer *peer);

/* Each returns false with net->why set when it fails or takes longer than net->timeout_ns. */
bool probe_peer_open(struct probe_peer *peer);
bool probe_peer_close(struct probe_peer *peer);
bool probe_peer_ping(struct probe_peer *peer); /* and its pong */
bool probe_peer_register(struct probe_peer *peer);
bool probe_peer_connect(struct probe_peer *peer); /* opens, then the session token */
bool probe_peer_delete(struct probe_peer *peer);  /* connects first if it must */

void probe_peer_send(struct probe_peer *peer, const uint8_t *frame, size_t len);

/* The next frame, which must be of this type (an error frame is reported with its code).
 * The frame is good until the peer's next call. */
bool probe_peer_expect(struct probe_peer *peer, enum bench_frame_type type,
                       struct bench_frame *frame);

/* Nothing comes for so long, but a `delivered` that was told before. */
bool probe_peer_expect_silence(struct probe_peer *peer, uint64_t for_ns);

#endif
