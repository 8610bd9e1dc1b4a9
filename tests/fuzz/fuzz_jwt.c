/* SPDX-License-Identifier: MIT */
/* Session tokens.  The first byte chooses what the rest is: 't' a token, 'p' the payload and 'h'
 * the header of a rightly signed one. */
#include <sodium.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/base64.h"
#include "wire/jwt.h"

#define NOW 1767225600
#define HEADER "{\"alg\":\"HS256\"}"
#define PAYLOAD                                                                \
	"{\"sub\":\"7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11\","                   \
	"\"jti\":\"5b0e8c3a-6a0f-4d43-9a57-2f1f0f0b7a10\",\"exp\":4102444800," \
	"\"iss\":\"construct-server\"}"

/* The secret of the vectors, so that the corpus holds tokens that are right. */
static const char secret_text[] =
	"jwt-secret-of-the-test-vectors-0123456789abcdef0123456789abcdef-64";

static size_t sign(struct wire_slice header, struct wire_slice payload, char *out)
{
	size_t at = base64url_encode(header.at, header.len, out);
	crypto_auth_hmacsha256_state state;
	uint8_t mac[crypto_auth_hmacsha256_BYTES];

	out[at++] = '.';
	at += base64url_encode(payload.at, payload.len, out + at);
	crypto_auth_hmacsha256_init(&state, (const uint8_t *)secret_text,
	                            sizeof(secret_text) - 1);
	crypto_auth_hmacsha256_update(&state, (const uint8_t *)out, at);
	crypto_auth_hmacsha256_final(&state, mac);
	out[at++] = '.';
	return at + base64url_encode(mac, sizeof(mac), out + at);
}

static enum jwt_verdict judge(struct wire_slice token)
{
	const struct wire_slice secret = wire_text(secret_text),
				issuer = wire_text("construct-server");
	struct jwt_claims claims, back;
	char again[JWT_BYTES_MAX];
	const enum jwt_verdict verdict = jwt_verify(secret, issuer, token, NOW, &claims);
	size_t len;

	if (verdict == JWT_INVALID)
		return verdict;
	CHECK((verdict == JWT_EXPIRED) == (claims.expires_at <= NOW));
	/* Under another secret or issuer it is worth nothing. */
	CHECK(jwt_verify(issuer, issuer, token, NOW, &back) == JWT_INVALID);
	CHECK(jwt_verify(secret, wire_text("other"), token, NOW, &back) == JWT_INVALID);
	len = jwt_sign(secret, issuer, &claims, again, sizeof(again));
	CHECK(len > 0);
	CHECK(jwt_verify(secret, issuer, wire_slice(again, len), NOW, &back) == verdict);
	CHECK(uuid_equal(&claims.user, &back.user) &&
	      uuid_equal(&claims.session, &back.session));
	CHECK(claims.expires_at == back.expires_at && claims.issued_at == back.issued_at);
	return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char token[2 * JWT_BYTES_MAX];
	struct wire_slice rest;

	if (size == 0 || size > JWT_BYTES_MAX)
		return 0;
	rest = wire_slice(data + 1, size - 1);
	if (data[0] == 't')
		judge(rest);
	else if (data[0] == 'p')
		judge(wire_slice(token, sign(wire_text(HEADER), rest, token)));
	else if (judge(wire_slice(token, sign(rest, wire_text(PAYLOAD), token))) != JWT_INVALID)
		CHECK(memmem(rest.at, rest.len, "alg", 3) != NULL ||
		      memchr(rest.at, '\\', rest.len));
	return 0;
}
