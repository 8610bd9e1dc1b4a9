/* SPDX-License-Identifier: MIT */
#include "io/ws_client_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct ws_client_tls_context {
	SSL_CTX *ctx;
	char host[256];
	bool host_is_address;
	bool insecure;
};

struct ws_client_tls {
	SSL *ssl;
	bool has_failed;
	char error[120];
};

/* The newest OpenSSL error as text, and an empty queue. */
static void take_error(char *text, size_t size)
{
	const unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	snprintf(text, size, "%s", reason ? reason : "the connection broke");
	ERR_clear_error();
}

static bool load_trust(SSL_CTX *ctx, const char *ca_file)
{
	if (ca_file)
		return SSL_CTX_load_verify_locations(ctx, ca_file, NULL) == 1;
	return SSL_CTX_set_default_verify_paths(ctx) == 1;
}

struct ws_client_tls_context *ws_client_tls_context_new(const char *host, const char *ca_file,
                                                        bool insecure, char *why,
                                                        size_t why_size)
{
	struct ws_client_tls_context *context = calloc(1, sizeof(*context));
	unsigned char address[sizeof(struct in6_addr)];
	char reason[120];

	if (!context)
		return NULL;
	context->insecure = insecure;
	snprintf(context->host, sizeof(context->host), "%s", host);
	context->host_is_address = inet_pton(AF_INET, host, address) == 1 ||
	                           inet_pton(AF_INET6, host, address) == 1;
	context->ctx = SSL_CTX_new(TLS_client_method());
	if (!context->ctx || (!insecure && !load_trust(context->ctx, ca_file))) {
		take_error(reason, sizeof(reason));
		snprintf(why, why_size, "cannot read the certificates of %s: %s",
		         ca_file ? ca_file : "the system's store", reason);
		ws_client_tls_context_free(context);
		return NULL;
	}
	SSL_CTX_set_min_proto_version(context->ctx, TLS1_2_VERSION);
	SSL_CTX_set_verify(context->ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	/* A grown output buffer may move between two tries of one write; buffers of idle
	 * connections are given back. */
	SSL_CTX_set_mode(context->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
	                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                                       SSL_MODE_RELEASE_BUFFERS);
	return context;
}

void ws_client_tls_context_free(struct ws_client_tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ctx);
	free(context);
}

static bool set_name(SSL *ssl, const struct ws_client_tls_context *context)
{
	if (context->host_is_address)
		return context->insecure ||
		       X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), context->host) == 1;
	return SSL_set_tlsext_host_name(ssl, context->host) == 1 &&
	       (context->insecure || SSL_set1_host(ssl, context->host) == 1);
}

struct ws_client_tls *ws_client_tls_new(const struct ws_client_tls_context *context, int fd)
{
	struct ws_client_tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->ssl = SSL_new(context->ctx);
	if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1 || !set_name(tls->ssl, context)) {
		ERR_clear_error();
		ws_client_tls_free(tls);
		return NULL;
	}
	SSL_set_connect_state(tls->ssl);
	return tls;
}

void ws_client_tls_free(struct ws_client_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

static void note_failure(struct ws_client_tls *tls)
{
	const long verdict = SSL_get_verify_result(tls->ssl);

	if (tls->has_failed)
		return;
	tls->has_failed = true;
	take_error(tls->error, sizeof(tls->error));
	if (verdict != X509_V_OK && SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE)
		snprintf(tls->error, sizeof(tls->error), "certificate: %s",
		         X509_verify_cert_error_string(verdict));
}

/* The answer of a call that moved nothing. */
static ssize_t outcome(struct ws_client_tls *tls, int result)
{
	const int error = SSL_get_error(tls->ssl, result);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		errno = EAGAIN;
		return -1;
	}
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	note_failure(tls);
	errno = EPROTO;
	return -1;
}

ssize_t ws_client_tls_read(struct ws_client_tls *tls, void *data, size_t size)
{
	size_t got;

	if (tls->has_failed) {
		errno = EPROTO;
		return -1;
	}
	return SSL_read_ex(tls->ssl, data, size, &got) ? (ssize_t)got : outcome(tls, 0);
}

ssize_t ws_client_tls_write(struct ws_client_tls *tls, const void *data, size_t len)
{
	size_t done;

	if (tls->has_failed) {
		errno = EPROTO;
		return -1;
	}
	return SSL_write_ex(tls->ssl, data, len, &done) ? (ssize_t)done : outcome(tls, 0);
}

bool ws_client_tls_wants_write(const struct ws_client_tls *tls)
{
	return SSL_want_write(tls->ssl);
}

bool ws_client_tls_is_ready(const struct ws_client_tls *tls)
{
	return SSL_is_init_finished(tls->ssl) == 1;
}

void ws_client_tls_error(const struct ws_client_tls *tls, char *text, size_t size)
{
	const bool is_trust = strncmp(tls->error, "certificate", 11) == 0;

	snprintf(text, size, "%.80s%s",
	         tls->error[0] ? tls->error : "the server closed the connection",
	         is_trust ? "" : " (does it speak TLS? try ws://)");
}

void ws_client_tls_shutdown(struct ws_client_tls *tls)
{
	if (!tls->has_failed && SSL_is_init_finished(tls->ssl))
		SSL_shutdown(tls->ssl);
	ERR_clear_error();
}
