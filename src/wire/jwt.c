/* SPDX-License-Identifier: MIT */
#include "wire/jwt.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "wire/base64.h"

#define MAC_LEN crypto_auth_hmacsha256_BYTES
#define MAC_TEXT_LEN BASE64URL_TEXT_LEN(MAC_LEN)

/* {"alg":"HS256","typ":"JWT"}: what we write, and nearly all we read. */
static const char our_header[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

static void mac_of(struct wire_slice secret, struct wire_slice text, uint8_t mac[MAC_LEN])
{
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, secret.at, secret.len);
	crypto_auth_hmacsha256_update(&state, text.at, text.len);
	crypto_auth_hmacsha256_final(&state, mac);
	sodium_memzero(&state, sizeof(state));
}

/* ---- Signing ---- */

/* An issuer that would need escapes in JSON is not written. */
static bool is_plain(struct wire_slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < 0x20 || text.at[i] == '"' || text.at[i] == '\\')
			return false;
	}
	return true;
}

size_t jwt_sign(struct wire_slice secret, struct wire_slice issuer,
                const struct jwt_claims *claims, char *out, size_t room)
{
	const size_t head = sizeof(our_header) - 1;
	char json[256 + JWT_ISSUER_BYTES_MAX], sub[UUID_TEXT_LEN], jti[UUID_TEXT_LEN];
	uint8_t mac[MAC_LEN];
	size_t json_len, at;

	if (issuer.len > JWT_ISSUER_BYTES_MAX || !is_plain(issuer))
		return 0;
	uuid_format(&claims->user, sub);
	uuid_format(&claims->session, jti);
	json_len = (size_t)snprintf(json, sizeof(json),
	                            "{\"sub\":\"%.36s\",\"jti\":\"%.36s\",\"exp\":%" PRId64
	                            ",\"iat\":%" PRId64 ",\"iss\":\"%.*s\"}",
	                            sub, jti, claims->expires_at, claims->issued_at,
	                            (int)issuer.len, (const char *)issuer.at);
	if (head + 1 + BASE64URL_TEXT_LEN(json_len) + 1 + MAC_TEXT_LEN > room)
		return 0;
	memcpy(out, our_header, head);
	out[head] = '.';
	at = head + 1;
	at += base64url_encode((const uint8_t *)json, json_len, out + at);
	mac_of(secret, wire_slice(out, at), mac);
	out[at++] = '.';
	return at + base64url_encode(mac, sizeof(mac), out + at);
}

/* ---- Verifying ---- */

struct parts {
	struct wire_slice header, payload, mac;
	struct wire_slice signed_text; /* header and payload with the dot */
};

static bool split(struct wire_slice token, struct parts *out)
{
	const uint8_t *const end = token.at + token.len;
	const uint8_t *first, *second;

	if (token.len == 0 || token.len > JWT_BYTES_MAX)
		return false;
	first = memchr(token.at, '.', token.len);
	if (first == NULL)
		return false;
	second = memchr(first + 1, '.', (size_t)(end - first - 1));
	if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
		return false;
	out->header = wire_slice(token.at, (size_t)(first - token.at));
	out->payload = wire_slice(first + 1, (size_t)(second - first - 1));
	out->mac = wire_slice(second + 1, (size_t)(end - second - 1));
	out->signed_text = wire_slice(token.at, (size_t)(second - token.at));
	return true;
}

static json_t *parse_object(struct wire_slice part)
{
	uint8_t json[JWT_BYTES_MAX];
	size_t len;

	if (!base64url_decode(part, json, sizeof(json), &len))
		return NULL;
	return json_loadb((const char *)json, len, JSON_REJECT_DUPLICATES, NULL);
}

static struct wire_slice text_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_string(value)
	               ? wire_slice(json_string_value(value), json_string_length(value))
	               : wire_slice(NULL, 0);
}

/* HS256, a JWT if it says what it is, and nothing that must be understood (crit). */
static bool is_header_ours(struct wire_slice part)
{
	json_t *header;
	bool ok;

	if (wire_slice_is(part, our_header))
		return true;
	header = parse_object(part);
	ok = json_is_object(header) && wire_slice_is(text_of(header, "alg"), "HS256") &&
	     json_object_get(header, "crit") == NULL &&
	     (json_object_get(header, "typ") == NULL ||
	      wire_slice_is(text_of(header, "typ"), "JWT"));
	json_decref(header);
	return ok;
}

static bool is_mac_right(struct wire_slice secret, const struct parts *parts)
{
	uint8_t given[MAC_LEN], mac[MAC_LEN];
	size_t len;

	if (!base64url_decode(parts->mac, given, sizeof(given), &len) || len != sizeof(given))
		return false;
	mac_of(secret, parts->signed_text, mac);
	return sodium_memcmp(given, mac, sizeof(mac)) == 0;
}

static bool read_claims(const json_t *payload, struct wire_slice issuer, struct jwt_claims *out)
{
	const json_t *exp = json_object_get(payload, "exp");
	const json_t *iat = json_object_get(payload, "iat");
	const struct wire_slice iss = text_of(payload, "iss");

	if (!json_is_integer(exp) || iss.at == NULL || !wire_slice_equal(iss, issuer) ||
	    !uuid_parse(text_of(payload, "sub"), &out->user, NULL) ||
	    !uuid_parse(text_of(payload, "jti"), &out->session, NULL))
		return false;
	out->expires_at = json_integer_value(exp);
	out->issued_at = json_integer_value(iat);
	return true;
}

enum jwt_verdict jwt_verify(struct wire_slice secret, struct wire_slice issuer,
                            struct wire_slice token, int64_t now, struct jwt_claims *claims)
{
	struct parts parts;
	struct jwt_claims found;
	json_t *payload;
	bool ok;

	if (!split(token, &parts) || !is_header_ours(parts.header) ||
	    !is_mac_right(secret, &parts))
		return JWT_INVALID;
	payload = parse_object(parts.payload);
	ok = json_is_object(payload) && read_claims(payload, issuer, &found);
	json_decref(payload);
	if (!ok)
		return JWT_INVALID;
	*claims = found;
	return found.expires_at <= now ? JWT_EXPIRED : JWT_VALID;
}
