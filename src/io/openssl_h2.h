/* SPDX-License-Identifier: MIT */
/* TLS for HTTP/2: contexts that agree on "h2" by ALPN, and bytes through them.  Handshakes happen
 * inside the first tls_h2_recv or tls_h2_send. */
#ifndef IO_OPENSSL_H2_H
#define IO_OPENSSL_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <cx/err.h>

struct ssl_ctx_st;
struct ssl_st;

/* A server's context.  A client that does not offer h2 is refused in the handshake.
 * Blocks: reads two files.
 * Returns CX_EINVAL (certificate or key) or CX_ENOMEM, with *error_text (static). */
CX_NODISCARD enum cx_err tls_h2_server(const char *cert_file, const char *key_file,
                                       struct ssl_ctx_st **out, const char **error_text);

/* A client's context: peers are verified against ca_file (PEM), or the system's store when NULL.
 * Blocks: reads files.  Returns as tls_h2_server. */
CX_NODISCARD enum cx_err tls_h2_client(const char *ca_file, struct ssl_ctx_st **out,
                                       const char **error_text);
/* One more owner, who frees it too.  NULL to free is allowed. */
struct ssl_ctx_st *tls_h2_context_ref(struct ssl_ctx_st *ctx);
void tls_h2_context_free(struct ssl_ctx_st *ctx);

/* One connection on fd, as server, or as client that expects host (a name, then it is sent as SNI
 * too, or an IP address).  NULL: out of memory, or a host that cannot be one. */
struct ssl_st *tls_h2_accept(struct ssl_ctx_st *ctx, int fd);
struct ssl_st *tls_h2_connect(struct ssl_ctx_st *ctx, int fd, const char *host);
/* Says goodbye without waiting, and frees.  NULL is allowed. */
void tls_h2_free(struct ssl_st *ssl);

/* The handshake is done and h2 was chosen. */
bool tls_h2_is_ready(const struct ssl_st *ssl);
/* Why a client's handshake failed, for a log line: a static text. */
const char *tls_h2_why(const struct ssl_st *ssl);

/* As recv and send: 0 the end, -1 with errno EAGAIN (then *wants_write: wait for room, else for
 * input) or another. */
ssize_t tls_h2_recv(struct ssl_st *ssl, void *bytes, size_t len, bool *wants_write);
ssize_t tls_h2_send(struct ssl_st *ssl, const void *bytes, size_t len, bool *wants_write);

#endif
