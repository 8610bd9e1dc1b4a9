/* SPDX-License-Identifier: MIT */
/* For tests of the websocket adapter: a server in this process (two workers, any connection actor), and
 * blocking clients on bare sockets that can also do what no decent client does. */
#ifndef TESTS_SUPPORT_WS_PEER_H
#define TESTS_SUPPORT_WS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cx/runtime.h>

#include "io/websocket.h"

#define WS_PEER_WORKERS 2

struct ws_server {
	struct websocket_settings settings;
	struct cx_runtime *rt;
	struct cx_ref adapters[WS_PEER_WORKERS];
	struct cx_ref http[WS_PEER_WORKERS];
	uint16_t port;
};

/* Fill in defaults (echo actor, any path, free port); change what the test is about; start. */
void ws_server_defaults(struct ws_server *s);
void ws_server_start(struct ws_server *s);
void ws_server_stop(struct ws_server *s);

/* An http actor for settings.http: answers 200 with "METHOD PATH BODYLENGTH", /slow never,
 * 405 with Allow for other methods.  Call before ws_server_start. */
void ws_server_with_http(struct ws_server *s);

/* A plain TCP connection; reads give up after 20 s. */
int peer_connect(uint16_t port);
/* The same from 127.0.0.last_byte. */
int peer_connect_from(uint16_t port, unsigned last_byte);
void peer_send(int fd, const void *bytes, size_t len);
void peer_text(int fd, const char *text);
/* Reads until the end of the stream (or `max`); *was_reset tells how it ended. */
size_t peer_read_all(int fd, char *out, size_t max, bool *was_reset);

/* Handshake on / and its 101. */
int peer_open(uint16_t port);
extern const char peer_upgrade[];

#define PEER_FIN 0x80
/* One masked frame; first = PEER_FIN | opcode.  Returns its length in out. */
size_t peer_frame(uint8_t *out, uint8_t first, const void *payload, size_t len);
void peer_send_frame(int fd, uint8_t first, const void *payload, size_t len);

struct peer_got {
	uint8_t first;
	uint8_t *payload; /* valid until the next call */
	size_t len;
};
/* The next frame; len (size_t)-1: the stream ended. */
struct peer_got peer_next(int fd);
/* The next frame is a close with this code, and then the stream ends (not by a reset). */
void peer_expect_close(int fd, uint16_t code);
void peer_expect(int fd, uint8_t first, const void *payload, size_t len);

/* Wait until figure() is true, at most 20 s. */
bool peer_wait(bool (*figure)(const struct websocket_figures *f));

#endif
