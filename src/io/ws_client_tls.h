/* SPDX-License-Identifier: MIT */
/* TLS for ws_client.c: the client half, over a non-blocking socket. */
#ifndef CONSTRUCT_IO_WS_CLIENT_TLS_H
#define CONSTRUCT_IO_WS_CLIENT_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ws_client_tls;         /* one connection's state */
struct ws_client_tls_context; /* settings of a server: trust, name */

/* ca_file NULL: the system's store.  Returns NULL with a sentence in why. */
struct ws_client_tls_context *ws_client_tls_context_new(const char *host, const char *ca_file,
                                                        bool insecure, char *why,
                                                        size_t why_size);
void ws_client_tls_context_free(struct ws_client_tls_context *context);

/* NULL when memory is out.  Does not take fd over. */
struct ws_client_tls *ws_client_tls_new(const struct ws_client_tls_context *context, int fd);
void ws_client_tls_free(struct ws_client_tls *tls);

/* As read() and write(): -1 with errno EAGAIN when the socket must become readable (or
 * writable) first, 0 from read at the end, -1 with errno EPROTO when TLS failed. */
ssize_t ws_client_tls_read(struct ws_client_tls *tls, void *data, size_t size);
ssize_t ws_client_tls_write(struct ws_client_tls *tls, const void *data, size_t len);

/* Whether the write that was refused with EAGAIN waits for room (else: for input). */
bool ws_client_tls_wants_write(const struct ws_client_tls *tls);

/* Whether the handshake is over, and what went wrong in it. */
bool ws_client_tls_is_ready(const struct ws_client_tls *tls);
void ws_client_tls_error(const struct ws_client_tls *tls, char *text, size_t size);

/* Sends the close alert if it can be sent at once. */
void ws_client_tls_shutdown(struct ws_client_tls *tls);

#endif
