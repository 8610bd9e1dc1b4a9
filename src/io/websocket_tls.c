/* SPDX-License-Identifier: MIT */
/* Reading and writing a connection's bytes, plain or through OpenSSL. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "io/websocket_internal.h"

void ws_tls_prepare(SSL_CTX *tls)
{
	/* MOVING: a blocked write is tried again from the queue, by way of the stage.  RELEASE: an idle
	 * connection holds no record buffers. */
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE |
	                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                              SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	                                 SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(tls, 0);
	SSL_CTX_set_read_ahead(tls, 0); /* else bytes wait where no poll sees them */
}

/* OpenSSL would ask on the terminal. */
static int no_passphrase(char *out, int room, int is_writing, void *arg)
{
	(void)out;
	(void)room;
	(void)is_writing;
	(void)arg;
	return -1;
}

/* A key that was refused beside the certificate: is it good alone? */
static bool is_key(const char *path)
{
	SSL_CTX *alone = SSL_CTX_new(TLS_server_method());
	bool is_good = false;

	if (alone != NULL) {
		SSL_CTX_set_default_passwd_cb(alone, no_passphrase);
		is_good = SSL_CTX_use_PrivateKey_file(alone, path, SSL_FILETYPE_PEM) == 1;
	}
	SSL_CTX_free(alone);
	return is_good;
}

enum cx_err ws_tls_load(SSL_CTX *tls, const char *cert, const char *key,
                        const char **error_text)
{
	static _Thread_local char text[640]; /* at the start, and on the thread that reloads */

	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(tls, no_passphrase);
	text[0] = '\0';
	if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1)
		snprintf(text, sizeof(text),
		         "TLS_CERT_FILE: %s is no readable certificate chain (PEM)", cert);
	else if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1 ||
	         SSL_CTX_check_private_key(tls) != 1)
		snprintf(text, sizeof(text), "TLS_KEY_FILE: %s is %s", key,
		         is_key(key) ? "not the key of the certificate in TLS_CERT_FILE"
		                     : "no readable private key (PEM, without a passphrase)");
	ERR_clear_error();
	if (text[0] == '\0')
		return CX_OK;
	*error_text = text;
	return CX_EINVAL;
}

/* SSL_read or SSL_write gave n: as recv or send would have. */
static ssize_t outcome(struct ws_conn *c, int n)
{
	switch (SSL_get_error(c->tls, n)) {
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EAGAIN;
		return -1;
	default:
		errno = ECONNRESET;
		return -1;
	}
}

ssize_t ws_recv(struct ws_conn *c, void *bytes, size_t len)
{
	ssize_t got;
	int n;

	if (c->tls == NULL)
		return recv(c->watch.fd, bytes, len, 0);
	ERR_clear_error();
	n = SSL_read(c->tls, bytes, (int)len);
	if (n > 0)
		return n;
	got = outcome(c, n);
	c->tls_wants_write = got < 0 && errno == EAGAIN && SSL_want_write(c->tls);
	return got;
}

ssize_t ws_send_some(struct ws_conn *c, const void *bytes, size_t len)
{
	ssize_t sent;
	int n;

	if (c->tls == NULL)
		return send(c->watch.fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	ERR_clear_error();
	n = SSL_write(c->tls, bytes, (int)len);
	if (n > 0)
		return n;
	sent = outcome(c, n);
	if (sent == 0)
		errno = ECONNRESET;
	return -1;
}

void ws_tls_goodbye(struct ws_conn *c)
{
	if (c->tls == NULL)
		return;
	ERR_clear_error();
	if (SSL_shutdown(c->tls) < 0)
		ERR_clear_error(); /* the peer will see the end of the TCP stream */
}
