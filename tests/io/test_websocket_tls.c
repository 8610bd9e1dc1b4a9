/* SPDX-License-Identifier: MIT */
/* The same through TLS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <criterion/criterion.h>

#include "support/ws_peer.h"
#include "wire/ws_frame.h"

#define BINARY (PEER_FIN | WS_OP_BINARY)

#define ROOM 200000 /* for a request */

static struct ws_server server;
static char cert_path[64], key_path[64];

/* A self-signed certificate with this common name. */
static void write_pair(const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);
	FILE *f;

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
	                           -1, 0);
	X509_set_issuer_name(cert, subject);
	cr_assert_gt(X509_sign(cert, key, EVP_sha256()), 0);
	f = fopen(cert_path, "w");
	PEM_write_X509(f, cert);
	fclose(f);
	f = fopen(key_path, "w");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void start_tls(void)
{
	snprintf(cert_path, sizeof(cert_path), "/tmp/ws_tls_cert_%d.pem", (int)getpid());
	snprintf(key_path, sizeof(key_path), "/tmp/ws_tls_key_%d.pem", (int)getpid());
	write_pair("first");
	ws_server_defaults(&server);
	ws_server_with_http(&server);
	server.settings.endpoint = WS_ENDPOINT_ROOT;
	server.settings.tls_cert_file = cert_path;
	server.settings.tls_key_file = key_path;
	ws_server_start(&server);
}

static void stop(void)
{
	ws_server_stop(&server);
	unlink(cert_path);
	unlink(key_path);
}

TestSuite(websocket_tls, .init = start_tls, .fini = stop, .timeout = 60);

static SSL *tls_connect(int max_version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	if (max_version != 0)
		SSL_CTX_set_max_proto_version(ctx, max_version);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_fd(ssl, peer_connect(server.port));
	cr_assert_eq(SSL_connect(ssl), 1);
	return ssl;
}

static void tls_close(SSL *ssl)
{
	const int fd = SSL_get_fd(ssl);

	SSL_free(ssl);
	close(fd);
}

static bool tls_read(SSL *ssl, void *out, size_t len)
{
	uint8_t *at = out;

	while (len > 0) {
		const int n = SSL_read(ssl, at, (int)len);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static void tls_write(SSL *ssl, const void *bytes, size_t len)
{
	cr_assert_eq(SSL_write(ssl, bytes, (int)len), (int)len);
}

static SSL *tls_open(int max_version)
{
	SSL *ssl = tls_connect(max_version);
	char head[129];

	tls_write(ssl, peer_upgrade, strlen(peer_upgrade));
	cr_assert(tls_read(ssl, head, sizeof(head)));
	cr_assert_eq(memcmp(head, "HTTP/1.1 101 ", 13), 0);
	cr_assert_eq(memcmp(head + 125, "\r\n\r\n", 4), 0);
	return ssl;
}

static void tls_send_frame(SSL *ssl, uint8_t first, const void *payload, size_t len)
{
	uint8_t *frame = malloc(len + 14);

	tls_write(ssl, frame, peer_frame(frame, first, payload, len));
	free(frame);
}

static void tls_expect(SSL *ssl, uint8_t first, const void *payload, size_t len)
{
	uint8_t head[10];
	uint8_t *got = malloc(len + 1);

	cr_assert(tls_read(ssl, head, 2), "ended");
	cr_assert_eq(head[0], first, "%02x", head[0]);
	if (len > 0xffff)
		cr_assert(tls_read(ssl, head, 8));
	else if (len > 125)
		cr_assert(tls_read(ssl, head, 2));
	else
		cr_assert_eq(head[1], len);
	cr_assert(tls_read(ssl, got, len));
	cr_assert_eq(memcmp(got, payload, len), 0);
	free(got);
}

static const char *tls_ask(const char *request, size_t len)
{
	static char answer[65536];
	SSL *ssl = tls_connect(0);
	size_t used = 0;
	int n;

	tls_write(ssl, request, len);
	while ((n = SSL_read(ssl, answer + used, (int)(sizeof(answer) - 1 - used))) > 0)
		used += (size_t)n;
	answer[used] = '\0';
	tls_close(ssl);
	return answer;
}

static void expect_status(const char *request, int status)
{
	const char *answer = tls_ask(request, strlen(request));
	int got = 0;

	(void)sscanf(answer, "HTTP/1.1 %d", &got);
	cr_assert_eq(got, status, "%.60s: %d", request, got);
}

Test(websocket_tls, echoes_in_both_versions)
{
	const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	for (int i = 0; i < 2; i++) {
		SSL *ssl = tls_open(versions[i]);

		cr_assert_eq(SSL_version(ssl), versions[i]);
		tls_send_frame(ssl, BINARY, "hello", 5);
		tls_expect(ssl, BINARY, "hello", 5);
		tls_send_frame(ssl, PEER_FIN | WS_OP_PING, "?", 1);
		tls_expect(ssl, PEER_FIN | WS_OP_PONG, "?", 1);
		tls_send_frame(ssl, PEER_FIN | WS_OP_CLOSE, "\x03\xe8", 2);
		tls_expect(ssl, PEER_FIN | WS_OP_CLOSE, "\x03\xe8", 2);
		cr_assert_eq(SSL_read(ssl, (char[1]){ 0 }, 1), 0);
		cr_assert_eq(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN,
		             SSL_RECEIVED_SHUTDOWN);
		tls_close(ssl);
	}
}

Test(websocket_tls, refuses_old_versions)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_fd(ssl, peer_connect(server.port));
	cr_assert_neq(SSL_connect(ssl), 1);
	tls_close(ssl);
}

/* Many frames under way, so that writes stop half way through records. */
Test(websocket_tls, keeps_bytes_and_order_when_the_socket_is_full)
{
	enum { FRAMES = 400, BYTES = 30000 };
	SSL *ssl = tls_open(0);
	uint8_t *payload = malloc(BYTES);
	uint8_t *frame = malloc(BYTES + 14);
	pid_t writer;
	int status;

	for (int i = 0; i < BYTES; i++)
		payload[i] = (uint8_t)(i * 13 + i / 257);
	writer = fork();
	cr_assert_geq(writer, 0);
	if (writer == 0) { /* the writing half: SSL keeps the directions apart */
		/* no malloc: a thread that is not here may have held its lock */
		for (int i = 0; i < FRAMES; i++) {
			payload[0] = (uint8_t)i;
			const int len = (int)peer_frame(frame, BINARY, payload, BYTES);

			if (SSL_write(ssl, frame, len) != len)
				_exit(1);
		}
		_exit(0);
	}
	usleep(300000);
	for (int i = 0; i < FRAMES; i++) {
		payload[0] = (uint8_t)i;
		tls_expect(ssl, BINARY, payload, BYTES);
	}
	cr_assert_eq(waitpid(writer, &status, 0), writer);
	cr_assert_eq(status, 0);
	free(frame);
	free(payload);
	tls_close(ssl);
}

Test(websocket_tls, frames_that_came_with_the_handshake_are_not_lost)
{
	SSL *ssl = tls_connect(0);
	uint8_t all[1024];
	size_t used = strlen(peer_upgrade);
	char head[129];

	memcpy(all, peer_upgrade, used);
	used += peer_frame(all + used, BINARY, "early", 5);
	used += peer_frame(all + used, BINARY, "more", 4);
	tls_write(ssl, all, used);
	cr_assert(tls_read(ssl, head, sizeof(head)));
	tls_expect(ssl, BINARY, "early", 5);
	tls_expect(ssl, BINARY, "more", 4);
	tls_close(ssl);
}

Test(websocket_tls, takes_a_handshake_byte_by_byte)
{
	SSL *ssl = tls_connect(0);
	char head[129];

	for (size_t i = 0; i < strlen(peer_upgrade); i++)
		tls_write(ssl, &peer_upgrade[i], 1);
	cr_assert(tls_read(ssl, head, sizeof(head)));
	cr_assert_eq(memcmp(head, "HTTP/1.1 101 ", 13), 0);
	tls_close(ssl);
}

Test(websocket_tls, http_and_its_refusals)
{
	char *request = malloc(ROOM);
	size_t head;

	expect_status("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", 200);
	expect_status("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", 405);
	expect_status("\1\2\3 garbage\r\n\r\n", 400);
	expect_status("BREW / HTTP/1.1\r\n\r\n", 400);
	expect_status("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400);
	expect_status("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 131073\r\n\r\n", 413);
	expect_status("POST /x HTTP/1.1\r\nHost: a\r\n\r\n", 411);
	expect_status(
		"GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: "
		"13\r\n\r\n",
		404);
	expect_status(
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: "
		"8\r\n\r\n",
		426);
	head = (size_t)snprintf(
		request, ROOM, "POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
	memset(request + head, 'z', 100000);
	cr_assert_not_null(strstr(tls_ask(request, head + 100000), "\r\n\r\nPOST /y 100000"));
	free(request);
}

Test(websocket_tls, bad_heads_get_the_answers_of_a_plain_port)
{
	char *request = malloc(ROOM);
	char filler[20001];

	memset(filler, 'a', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	snprintf(request, ROOM, "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", filler);
	expect_status(request, 431);
	snprintf(request, ROOM, "GET /%.6000s HTTP/1.1\r\nHost: a\r\n\r\n", filler);
	expect_status(request, 414);
	snprintf(request, ROOM,
	         "GET / HTTP/1.1\r\nHost: a\r\nX: %.15000s\r\nY: %.15000s\r\n\r\n", filler,
	         filler);
	expect_status(request, 431);
	expect_status("GET /%00 HTTP/1.1\r\n\r\n", 400);
	expect_status("GET / HTTP/1.1\r\n\r\n", 400);
	expect_status("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
	free(request);
}

/* No 101 for h2c, no answer that is worse than the end for an unknown upgrade after a request. */
Test(websocket_tls, odd_upgrades_do_not_get_far)
{
	static const char h2c[] =
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n"
		"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
	static const char two[] =
		"GET /one HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
		"GET /two HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\n\r\n";
	static const char foo[] = "GET /two HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\n\r\n";

	cr_assert_null(strstr(tls_ask(h2c, strlen(h2c)), "101"));
	cr_assert_not_null(strstr(tls_ask(two, strlen(two)), "GET /one 0"));
	cr_assert_null(strstr(tls_ask(foo, strlen(foo)), "101"));
}

Test(websocket_tls, a_client_without_tls_is_cut_off)
{
	const int fd = peer_connect(server.port);
	char answer[256];
	bool was_reset;

	peer_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	peer_read_all(fd, answer, sizeof(answer), &was_reset);
	close(fd);
	tls_close(tls_open(0));
}

Test(websocket_tls, half_open_handshakes_give_way)
{
	for (int i = 0; i < 600; i++)
		peer_text(peer_connect(server.port), i % 2 ? "\x16\x03\x01" : "");
	usleep(1200000);
	for (int i = 0; i < 10; i++)
		tls_close(tls_open(0));
}

static void subject_of_server(char *out, size_t size)
{
	SSL *ssl = tls_open(0);
	X509 *cert = SSL_get1_peer_certificate(ssl);

	X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out, (int)size);
	X509_free(cert);
	tls_close(ssl);
}

Test(websocket_tls, a_new_pair_is_used_after_reload_and_a_bad_one_is_not)
{
	const char *error_text = NULL;
	SSL *old = tls_open(0);
	char name[64];
	FILE *f;

	write_pair("second");
	cr_assert_eq(websocket_reload_tls(server.rt, server.adapters, &error_text), CX_OK);
	for (int i = 0; i < 8; i++) {
		subject_of_server(name, sizeof(name));
		cr_assert_str_eq(name, "second");
	}
	f = fopen(key_path, "w");
	fputs("no key\n", f);
	fclose(f);
	cr_assert_eq(websocket_reload_tls(server.rt, server.adapters, &error_text), CX_EINVAL);
	cr_assert_not_null(error_text);
	subject_of_server(name, sizeof(name));
	cr_assert_str_eq(name, "second");
	tls_send_frame(old, BINARY, "still here", 10);
	tls_expect(old, BINARY, "still here", 10);
	tls_close(old);
}

/* Files change one after the other, at any time: what was checked is what every worker uses. */
Test(websocket_tls, a_pair_is_read_once_and_used_by_all_when_the_reload_returns)
{
	const char *error_text = NULL;
	char name[64], want[32];

	for (int i = 0; i < 20; i++) {
		FILE *f;

		snprintf(want, sizeof(want), "pair %d", i);
		write_pair(want);
		cr_assert_eq(websocket_reload_tls(server.rt, server.adapters, &error_text),
		             CX_OK);
		f = fopen(key_path, "w");
		fclose(f);
		for (int n = 0; n < 6; n++) {
			subject_of_server(name, sizeof(name));
			cr_assert_str_eq(name, want);
		}
	}
}

Test(websocket_tls, a_reload_that_an_adapter_refused_does_not_stand_in_the_way_of_the_next)
{
	const struct cx_ref nobody[WS_PEER_WORKERS] = { { 0 } };
	const char *error_text = NULL;
	char name[64];

	write_pair("refused");
	cr_assert_eq(websocket_reload_tls(server.rt, nobody, &error_text), CX_EGONE);
	cr_assert_not_null(error_text);
	write_pair("taken");
	cr_assert_eq(websocket_reload_tls(server.rt, server.adapters, &error_text), CX_OK);
	subject_of_server(name, sizeof(name));
	cr_assert_str_eq(name, "taken");
}
