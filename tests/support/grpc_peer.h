/* SPDX-License-Identifier: MIT */
/* For tests of the gRPC server: a client on a bare blocking socket that can also do what no decent
 * client does.  Failures are the test's (Criterion). */
#ifndef TESTS_SUPPORT_GRPC_PEER_H
#define TESTS_SUPPORT_GRPC_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "io/grpc_server.h"

enum {
	H2_DATA,
	H2_HEADERS,
	H2_PRIORITY,
	H2_RST_STREAM,
	H2_SETTINGS,
	H2_PING = 6,
	H2_GOAWAY,
	H2_WINDOW_UPDATE,
	H2_CONTINUATION
};
enum { H2_ACK = 1, H2_END_STREAM = 1, H2_END_HEADERS = 4 };

struct h2_frame {
	uint32_t len, id;
	uint8_t type, flags;
	uint8_t payload[16384];
};

struct grpc_peer {
	int fd;
	void *inflater;
	struct h2_frame frame; /* the last one read */
	uint32_t last_goaway, goaway_code;
	unsigned goaways;
};

struct grpc_answer {
	char http[8];
	int status; /* grpc-status; -1: none came */
	char message[400];
	char accept_encoding[32];
	uint32_t reset; /* RST_STREAM's code + 1; 0: none came */
	bool is_trailers_only;
	uint8_t *body; /* of DATA, prefix included */
	size_t body_len;
};

/* TCP, preface and SETTINGS; or TCP alone.  Reads give up after 20 s. */
void grpc_peer_open(struct grpc_peer *p, uint16_t port);
void grpc_peer_connect(struct grpc_peer *p, uint16_t port);
void grpc_peer_close(struct grpc_peer *p);
/* What is sent to a peer that has gone is lost, without a failure. */
void grpc_peer_send(struct grpc_peer *p, const void *bytes, size_t len);
void grpc_peer_frame(struct grpc_peer *p, uint8_t type, uint8_t flags, uint32_t id,
                     const void *payload, size_t len);

/* The next frame, SETTINGS acknowledged; false: the stream ended. */
bool grpc_peer_next(struct grpc_peer *p);
/* Up to the end: true when a GOAWAY with this code was among it. */
bool grpc_peer_is_sent_away(struct grpc_peer *p, uint32_t code);

/* Request headers; more: pairs of texts, ended by NULL; no content type when that is NULL. */
void grpc_peer_headers(struct grpc_peer *p, uint32_t id, uint8_t flags, const char *path,
                       const char *content_type, const char *const *more);
/* A message in one DATA frame with this flag byte in its prefix. */
void grpc_peer_message(struct grpc_peer *p, uint32_t id, uint8_t flags, uint8_t compressed,
                       const void *bytes, uint32_t len);
/* A whole call. */
void grpc_peer_call(struct grpc_peer *p, uint32_t id, const char *path, const void *bytes,
                    uint32_t len);
/* Reads until this stream has ended (others' frames are dropped).  Free answer->body. */
void grpc_peer_answer(struct grpc_peer *p, uint32_t id, struct grpc_answer *answer);
/* The same, and checks the status and frees. */
void grpc_peer_expect(struct grpc_peer *p, uint32_t id, enum grpc_status status);

/* Wait until figure() is true, at most 20 s. */
bool grpc_peer_wait(bool (*figure)(const struct grpc_server_figures *f));

#endif
