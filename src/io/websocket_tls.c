/* SPDX-License-Identifier: MIT */
/* Certificate and key, and a connection's bytes, plain or through OpenSSL. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include <openssl/err.h>

#include "io/websocket_internal.h"

#define RELOAD_WAIT_MS 5000 /* for the workers to take a new pair */

static const unsigned char protocol_names[] = "\x08http/1.1";

/* A client that offers protocols and not ours would not understand our answers. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_len, protocol_names, sizeof(protocol_names) - 1,
	                          in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

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

enum cx_err ws_tls_new(const char *cert, const char *key, SSL_CTX **out,
                       const char **error_text)
{
	SSL_CTX *tls;
	enum cx_err err;

	*out = NULL;
	if (cert == NULL)
		return CX_OK;
	if (key == NULL) {
		*error_text = "TLS_KEY_FILE: needed with TLS_CERT_FILE";
		return CX_EINVAL;
	}
	tls = SSL_CTX_new(TLS_server_method());
	if (tls == NULL)
		return CX_ENOMEM;
	ws_tls_prepare(tls);
	SSL_CTX_set_alpn_select_cb(tls, on_alpn, NULL);
	err = ws_tls_load(tls, cert, key, error_text);
	if (err == CX_OK)
		*out = tls;
	else
		SSL_CTX_free(tls);
	return err;
}

enum cx_err websocket_check_tls(const char *cert, const char *key, const char **error_text)
{
	SSL_CTX *tls;
	const enum cx_err err = ws_tls_new(cert, key, &tls, error_text);

	SSL_CTX_free(tls);
	return err;
}

void ws_tls_swap(struct ws_adapter *a)
{
	/* acquire: pairs with offer; release: the old one's user is done, pairs with is_taken */
	SSL_CTX *tls = __atomic_load_n(&a->tls_next, __ATOMIC_ACQUIRE);

	if (tls == NULL)
		return;
	SSL_CTX_free(a->tls); /* connections hold it as long as they need it */
	a->tls = tls;
	__atomic_store_n(&a->tls_next, NULL, __ATOMIC_RELEASE);
}

static bool is_taken(void)
{
	struct ws_adapter *a;

	for (unsigned i = 0; (a = ws_adapter_of(i)) != NULL; i++)
		/* acquire: pairs with the release in ws_tls_swap */
		if (__atomic_load_n(&a->tls_next, __ATOMIC_ACQUIRE) != NULL)
			return false;
	return true;
}

static enum cx_err wait_until_taken(const char **error_text)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < RELOAD_WAIT_MS; i++) {
		if (is_taken())
			return CX_OK;
		nanosleep(&ms, NULL);
	}
	*error_text = "a worker has not taken the new certificate yet";
	return CX_ETIMEOUT;
}

/* The worker that is asked takes it from tls_next. */
static enum cx_err offer(struct cx_runtime *rt, struct cx_ref adapter, struct ws_adapter *a,
                         SSL_CTX *tls)
{
	struct ws_control_msg *m =
		(struct ws_control_msg *)(void *)cx_post_new(WS_CONTROL, sizeof(*m));

	enum cx_err err;

	m->what = WS_CONTROL_RELOAD;
	cx_assert(SSL_CTX_up_ref(tls) == 1);
	/* release: pairs with the acquire in ws_tls_swap */
	__atomic_store_n(&a->tls_next, tls, __ATOMIC_RELEASE);
	err = cx_post(rt, adapter, &m->hdr);
	if (err != CX_OK) { /* nobody will take it: the next reload must find the place free */
		__atomic_store_n(&a->tls_next, NULL, __ATOMIC_RELEASE);
		SSL_CTX_free(tls);
	}
	return err;
}

enum cx_err websocket_reload_tls(struct cx_runtime *rt, const struct cx_ref *adapters,
                                 const char **error_text)
{
	const struct ws_adapter *first = ws_adapter_of(0);
	struct ws_adapter *a;
	SSL_CTX *tls;
	enum cx_err err;

	if (first == NULL || first->settings->tls_cert_file == NULL)
		return CX_OK;
	*error_text = "a worker has not taken the one before yet";
	if (!is_taken())
		return CX_EFULL;
	*error_text = "out of memory";
	err = ws_tls_new(first->settings->tls_cert_file, first->settings->tls_key_file, &tls,
	                 error_text);
	for (unsigned i = 0; err == CX_OK && (a = ws_adapter_of(i)) != NULL; i++) {
		*error_text = "the adapter does not take the message";
		err = offer(rt, adapters[i], a, tls);
	}
	SSL_CTX_free(tls);
	return err == CX_OK ? wait_until_taken(error_text) : err;
}

bool ws_tls_start(struct ws_conn *c)
{
	c->tls = SSL_new(c->adapter->tls);
	if (c->tls == NULL || SSL_set_fd(c->tls, c->watch.fd) != 1)
		return false;
	SSL_set_accept_state(c->tls); /* the first read does the handshake */
	return true;
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
