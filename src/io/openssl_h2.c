/* SPDX-License-Identifier: MIT */
#include "io/openssl_h2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "io/websocket_internal.h" /* ws_tls_prepare, ws_tls_load: one way of loading a pair */

static const unsigned char h2[] = { 2, 'h', '2' };

static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                     const unsigned char *in, unsigned in_len, void *arg)
{
	(void)ssl;
	(void)arg;
	for (unsigned at = 0; at < in_len; at += 1u + in[at]) {
		if (in[at] == 2 && at + 2 < in_len && in[at + 1] == 'h' && in[at + 2] == '2') {
			*out = &in[at + 1];
			*out_len = 2;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

enum cx_err tls_h2_server(const char *cert_file, const char *key_file, SSL_CTX **out,
                          const char **error_text)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	enum cx_err err;

	*error_text = "out of memory";
	if (ctx == NULL)
		return CX_ENOMEM;
	ws_tls_prepare(ctx);
	SSL_CTX_set_alpn_select_cb(ctx, choose_h2, NULL);
	err = ws_tls_load(ctx, cert_file, key_file, error_text);
	if (err == CX_OK)
		*out = ctx;
	else
		SSL_CTX_free(ctx);
	return err;
}

enum cx_err tls_h2_client(const char *ca_file, SSL_CTX **out, const char **error_text)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	*error_text = "out of memory";
	if (ctx == NULL)
		return CX_ENOMEM;
	if ((ca_file != NULL ? SSL_CTX_load_verify_locations(ctx, ca_file, NULL)
	                     : SSL_CTX_set_default_verify_paths(ctx)) != 1) {
		*error_text = "the certificates to trust cannot be read";
		ERR_clear_error();
		SSL_CTX_free(ctx);
		return CX_EINVAL;
	}
	ws_tls_prepare(ctx);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_alpn_protos(ctx, h2, sizeof(h2)) != 0) {
		SSL_CTX_free(ctx);
		return CX_ENOMEM;
	}
	*out = ctx;
	return CX_OK;
}

SSL_CTX *tls_h2_context_ref(SSL_CTX *ctx)
{
	const int is_up = SSL_CTX_up_ref(ctx);

	cx_assert(is_up == 1);
	return ctx;
}

void tls_h2_context_free(SSL_CTX *ctx)
{
	SSL_CTX_free(ctx);
}

SSL *tls_h2_accept(SSL_CTX *ctx, int fd)
{
	SSL *ssl = SSL_new(ctx);

	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_accept_state(ssl);
	return ssl;
}

/* The certificate must be this host's; an address has no SNI. */
static bool expect_host(SSL *ssl, const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

SSL *tls_h2_connect(SSL_CTX *ctx, int fd, const char *host)
{
	SSL *ssl = SSL_new(ctx);

	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || !expect_host(ssl, host)) {
		SSL_free(ssl);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_connect_state(ssl);
	return ssl;
}

void tls_h2_free(SSL *ssl)
{
	if (ssl == NULL)
		return;
	ERR_clear_error();
	if (SSL_is_init_finished(ssl) && SSL_shutdown(ssl) < 0)
		ERR_clear_error(); /* the peer will see the end of the TCP stream */
	SSL_free(ssl);
}

bool tls_h2_is_ready(const SSL *ssl)
{
	const unsigned char *name;
	unsigned len;

	if (!SSL_is_init_finished(ssl))
		return false;
	SSL_get0_alpn_selected(ssl, &name, &len);
	return len == 2 && name[0] == 'h' && name[1] == '2';
}

const char *tls_h2_why(const SSL *ssl)
{
	const long verdict = SSL_get_verify_result(ssl);

	if (verdict != X509_V_OK)
		return X509_verify_cert_error_string(verdict);
	return SSL_is_init_finished(ssl) ? "the peer does not speak h2"
	                                 : "the handshake was broken off";
}

/* SSL_read or SSL_write gave n <= 0: as recv or send would have. */
static ssize_t outcome(SSL *ssl, int n, bool *wants_write)
{
	const int what = SSL_get_error(ssl, n);

	if (what == SSL_ERROR_ZERO_RETURN)
		return 0;
	*wants_write = what == SSL_ERROR_WANT_WRITE;
	errno = what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE ? EAGAIN
	                                                                    : ECONNRESET;
	return -1;
}

ssize_t tls_h2_recv(SSL *ssl, void *bytes, size_t len, bool *wants_write)
{
	int n;

	*wants_write = false;
	ERR_clear_error();
	n = SSL_read(ssl, bytes, (int)(len < INT_MAX ? len : INT_MAX));
	return n > 0 ? n : outcome(ssl, n, wants_write);
}

ssize_t tls_h2_send(SSL *ssl, const void *bytes, size_t len, bool *wants_write)
{
	ssize_t sent;
	int n;

	*wants_write = false;
	ERR_clear_error();
	n = SSL_write(ssl, bytes, (int)(len < INT_MAX ? len : INT_MAX));
	if (n > 0)
		return n;
	sent = outcome(ssl, n, wants_write);
	if (sent == 0)
		errno = ECONNRESET;
	return -1;
}
