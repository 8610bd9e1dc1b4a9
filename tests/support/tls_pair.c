/* SPDX-License-Identifier: MIT */
#include "support/tls_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <criterion/criterion.h>

static void add_name(X509 *cert, const char *name)
{
	char text[128];
	X509_EXTENSION *extension;

	snprintf(text, sizeof(text), "DNS:%s", name);
	extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
	cr_assert_not_null(extension);
	X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
}

static void write_pair(const struct tls_pair *pair, X509 *cert, EVP_PKEY *key)
{
	FILE *f = fopen(pair->cert_file, "w");

	cr_assert_not_null(f);
	PEM_write_X509(f, cert);
	fclose(f);
	f = fopen(pair->key_file, "w");
	cr_assert_not_null(f);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

void tls_pair_make(struct tls_pair *pair, const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	snprintf(pair->folder, sizeof(pair->folder), "/tmp/tls_pair_XXXXXX");
	cr_assert_not_null(mkdtemp(pair->folder));
	snprintf(pair->cert_file, sizeof(pair->cert_file), "%s/cert.pem", pair->folder);
	snprintf(pair->key_file, sizeof(pair->key_file), "%s/key.pem", pair->folder);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
	                           -1, 0);
	X509_set_issuer_name(cert, subject);
	add_name(cert, name);
	cr_assert_gt(X509_sign(cert, key, EVP_sha256()), 0);
	write_pair(pair, cert, key);
	X509_free(cert);
	EVP_PKEY_free(key);
}

void tls_pair_remove(const struct tls_pair *pair)
{
	unlink(pair->cert_file);
	unlink(pair->key_file);
	rmdir(pair->folder);
}
