/* SPDX-License-Identifier: MIT */
#include "io/ws_client_identity.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#define KEY_BYTES 32
#define SIGNATURE_BYTES 64

static EVP_PKEY *make_key(int type, char *public_text)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(type, NULL);
	unsigned char raw[KEY_BYTES];
	size_t len = sizeof(raw);

	if (!ctx || EVP_PKEY_keygen_init(ctx) != 1 || EVP_PKEY_keygen(ctx, &key) != 1 ||
	    EVP_PKEY_get_raw_public_key(key, raw, &len) != 1) {
		EVP_PKEY_free(key);
		key = NULL;
	} else {
		EVP_EncodeBlock((unsigned char *)public_text, raw, (int)len);
	}
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static bool make_public(char *text)
{
	EVP_PKEY *key = make_key(EVP_PKEY_X25519, text);

	EVP_PKEY_free(key);
	return key != NULL;
}

static bool sign(EVP_PKEY *key, const char *data, size_t data_len, char *signature_text)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char raw[SIGNATURE_BYTES];
	size_t len = sizeof(raw);
	const bool ok =
		ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestSign(ctx, raw, &len, (const unsigned char *)data, data_len) == 1;

	if (ok)
		EVP_EncodeBlock((unsigned char *)signature_text, raw, (int)len);
	EVP_MD_CTX_free(ctx);
	return ok;
}

bool ws_client_identity_make(struct ws_client_identity *identity)
{
	const time_t now = time(NULL);
	struct tm utc;
	char when[32];
	char json[360];
	EVP_PKEY *master;
	bool ok;
	int len;

	if (!make_public(identity->identity_key) || !make_public(identity->prekey))
		return false;
	master = make_key(EVP_PKEY_ED25519, identity->master_key);
	if (!master)
		return false;
	gmtime_r(&now, &utc);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
	len = snprintf(
		json, sizeof(json),
		"{\"userId\":\"\",\"timestamp\":\"%s\",\"supportedSuites\":[{\"suiteId\":1,"
		"\"identityKey\":\"%s\",\"signedPrekey\":\"%s\"}]}",
		when, identity->identity_key, identity->prekey);
	ok = sign(master, json, (size_t)len, identity->signature);
	EVP_EncodeBlock((unsigned char *)identity->bundle, (const unsigned char *)json, len);
	EVP_PKEY_free(master);
	return ok;
}
