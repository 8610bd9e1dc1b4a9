/* SPDX-License-Identifier: MIT */
/* Redis through TLS: the certificate must be right in every respect. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <criterion/criterion.h>

#include "support/redis_peer.h"

static struct redis_server server;
static struct redis_bench bench;
static char ca_path[96];

static void write_cert(const char *file, X509 *cert)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", server.folder, file);
	f = fopen(path, "w");
	PEM_write_X509(f, cert);
	fclose(f);
}

static void write_key(EVP_PKEY *key)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/key.pem", server.folder);
	f = fopen(path, "w");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void extend(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	cr_assert_not_null(ext);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

/* Not yet signed; without an issuer it is an authority. */
static X509 *make_cert(EVP_PKEY *key, const char *name, X509 *issuer, long end_s)
{
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer != NULL ? 2 : 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
	X509_gmtime_adj(X509_getm_notAfter(cert), end_s);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
	                           -1, 0);
	X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : subject);
	if (issuer == NULL)
		extend(cert, NID_basic_constraints, "critical,CA:TRUE");
	return cert;
}

/* An authority and a server's certificate for these names, valid for so long. */
static void make_pair(const char *names, long end_s)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
	X509 *ca = make_cert(ca_key, "authority", NULL, 7200);
	X509 *cert = make_cert(key, "server", ca, end_s);

	extend(cert, NID_subject_alt_name, names);
	cr_assert_gt(X509_sign(ca, ca_key, EVP_sha256()), 0);
	cr_assert_gt(X509_sign(cert, ca_key, EVP_sha256()), 0);
	write_cert("ca.pem", ca);
	write_cert("cert.pem", cert);
	write_key(key);
	X509_free(ca);
	X509_free(cert);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

static void setup(void)
{
	redis_server_prepare(&server);
	server.is_tls = true;
	redis_bench_defaults(&bench, server.port);
	bench.url.is_tls = true;
	snprintf(ca_path, sizeof(ca_path), "%s/ca.pem", server.folder);
	bench.conf.ca_file = bench.sub.ca_file = ca_path;
}

static void teardown(void)
{
	redis_bench_stop(&bench);
	redis_server_stop(&server);
}

TestSuite(redis_tls, .init = setup, .fini = teardown, .timeout = 60);

struct big_ask {
	struct cx_ref adapter;
	size_t len;
};

static void ask_big(struct cx_ctx *ctx, void *arg)
{
	const struct big_ask *a = arg;
	char *value = malloc(a->len);
	const struct redis_arg argv[] = { REDIS_TEXT("SET"),
		                          REDIS_TEXT("big"),
		                          { value, a->len } };
	uint64_t corr;

	memset(value, 'b', a->len);
	cx_assert(redis_call(ctx, a->adapter, argv, 3, 10000, &corr) == CX_OK);
	free(value);
}

Test(redis_tls, a_server_with_the_right_certificate_is_spoken_to)
{
	static const char *const channels[] = { "c" };
	struct big_ask a = { .len = 8000000 };

	make_pair("DNS:other,IP:127.0.0.1", 3600);
	redis_server_run(&server);
	bench.sub.channels = channels;
	bench.sub.channel_count = 1;
	redis_bench_start(&bench);
	cr_assert_eq(redis_bench_next().type, (uint32_t)REDIS_SUBSCRIBED);
	cr_assert_str_eq(redis_bench_call(&bench, "SET k v"), "+OK");
	a.adapter = bench.adapter;
	redis_bench_run(&bench, 1, ask_big, &a);
	cr_assert_str_eq(redis_bench_next().text, "+OK");
	cr_assert_eq(redis_bench_call(&bench, "GET big")[1], 'b');
	cr_assert_str_eq(redis_bench_call(&bench, "STRLEN big"), ":8000000");
}

Test(redis_tls, a_name_is_verified_as_a_name)
{
	make_pair("DNS:localhost", 3600);
	snprintf(bench.url.host, sizeof(bench.url.host), "localhost");
	redis_server_run(&server);
	redis_bench_start(&bench);
	cr_assert_str_eq(redis_bench_call(&bench, "SET k v"), "+OK");
}

static void expect_refused(void)
{
	struct redis_figures f;

	redis_server_run(&server);
	redis_bench_start(&bench);
	cr_assert(redis_bench_wait(redis_has_failed, 2));
	redis_bench_ask(&bench, 1, 50, "SET k v");
	cr_assert_eq(redis_bench_next().err, CX_ETIMEOUT);
	redis_figures(&f);
	cr_assert_eq(f.connects, 0);
}

Test(redis_tls, a_certificate_for_another_address_is_refused)
{
	make_pair("IP:127.0.0.2,DNS:localhost", 3600);
	expect_refused();
}

Test(redis_tls, a_certificate_for_another_name_is_refused)
{
	make_pair("DNS:elsewhere,IP:127.0.0.1", 3600);
	snprintf(bench.url.host, sizeof(bench.url.host), "localhost");
	expect_refused();
}

Test(redis_tls, an_expired_certificate_is_refused)
{
	make_pair("IP:127.0.0.1", -60);
	expect_refused();
}

Test(redis_tls, another_authority_is_refused)
{
	make_pair("IP:127.0.0.1", 3600);
	bench.conf.ca_file = NULL; /* the system's, which does not know it */
	expect_refused();
}

Test(redis_tls, a_server_without_tls_is_refused)
{
	make_pair("IP:127.0.0.1", 3600);
	server.is_tls = false;
	bench.conf.connect_ms = 500; /* it may wait for the end of what it takes for a line */
	expect_refused();
}

Test(redis_tls, an_authority_that_cannot_be_read_ends_the_adapter)
{
	bench.conf.ca_file = "/nonexistent/ca.pem";
	redis_bench_start(&bench);
	/* it may have ended before it is asked */
	if (redis_bench_try(&bench, 1, 5000, "SET k v") == CX_OK)
		cr_assert_eq(redis_bench_next().err, CX_EGONE);
	cr_assert_eq(redis_bench_try(&bench, 1, 5000, "SET k v"), CX_EGONE);
}
