/* SPDX-License-Identifier: MIT */
#include "wire/jwt.h"

#include <sodium.h>

#include "wire/base64.h"
#include "wire/vectors.h"

TestSuite(jwt, .timeout = 20);

#define NOW 1767225600 /* when the vectors were made */

static const struct wire_slice secret = { (const uint8_t *)"0123456789abcdef0123456789abcdef",
	                                  32 };
static const struct wire_slice issuer = { (const uint8_t *)"construct-server", 16 };

/* A token of any header and payload, rightly signed. */
static size_t forge(const char *header, const char *payload, char *out)
{
	size_t at = base64url_encode((const uint8_t *)header, strlen(header), out);
	crypto_auth_hmacsha256_state state;
	uint8_t mac[32];

	out[at++] = '.';
	at += base64url_encode((const uint8_t *)payload, strlen(payload), out + at);
	crypto_auth_hmacsha256_init(&state, secret.at, secret.len);
	crypto_auth_hmacsha256_update(&state, (const uint8_t *)out, at);
	crypto_auth_hmacsha256_final(&state, mac);
	out[at++] = '.';
	return at + base64url_encode(mac, sizeof(mac), out + at);
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define SUB "\"sub\":\"7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11\""
#define JTI "\"jti\":\"5b0e8c3a-6a0f-4d43-9a57-2f1f0f0b7a10\""
#define ISS "\"iss\":\"construct-server\""

static enum jwt_verdict judge(const char *header, const char *payload)
{
	char token[JWT_BYTES_MAX];
	struct jwt_claims claims;

	return jwt_verify(secret, issuer, wire_slice(token, forge(header, payload, token)), NOW,
	                  &claims);
}

Test(jwt, takes_the_valid_vector)
{
	json_t *root = vectors_load("tests/vectors/sessions.json");
	struct jwt_claims claims;
	char text[UUID_TEXT_LEN];

	cr_assert(jwt_verify(text_at(root, "secret"), text_at(root, "issuer"),
	                     text_at(root, "valid"), NOW, &claims) == JWT_VALID);
	uuid_format(&claims.user, text);
	cr_assert(memcmp(text, "7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11", UUID_TEXT_LEN) == 0);
	uuid_format(&claims.session, text);
	cr_assert(memcmp(text, "5b0e8c3a-6a0f-4d43-9a57-2f1f0f0b7a10", UUID_TEXT_LEN) == 0);
	cr_assert(claims.expires_at == 4102444800 && claims.issued_at == NOW);
	json_decref(root);
}

Test(jwt, refuses_every_invalid_vector)
{
	json_t *root = vectors_load("tests/vectors/sessions.json");
	json_t *vector;
	size_t i;

	json_array_foreach(json_object_get(root, "invalid"), i, vector)
	{
		struct jwt_claims claims;
		const enum jwt_verdict verdict =
			jwt_verify(text_at(root, "secret"), text_at(root, "issuer"),
		                   text_at(vector, "token"), NOW, &claims);

		cr_assert(verdict == (strcmp(name_of(vector), "expired") == 0 ? JWT_EXPIRED
		                                                              : JWT_INVALID),
		          "%s", name_of(vector));
	}
	cr_assert(i == 10);
	json_decref(root);
}

/* Our order of claims is the vectors', so even the bytes are the same. */
Test(jwt, signs_the_valid_vector_byte_for_byte)
{
	json_t *root = vectors_load("tests/vectors/sessions.json");
	struct jwt_claims claims = { .issued_at = NOW, .expires_at = 4102444800 };
	char token[JWT_BYTES_MAX];
	size_t len;

	cr_assert(uuid_parse(wire_text("7d1f0a52-93c4-4c0e-9f3b-0b6a4f1e2c11"), &claims.user,
	                     NULL));
	cr_assert(uuid_parse(wire_text("5b0e8c3a-6a0f-4d43-9a57-2f1f0f0b7a10"), &claims.session,
	                     NULL));
	len = jwt_sign(text_at(root, "secret"), text_at(root, "issuer"), &claims, token,
	               sizeof(token));
	cr_assert(wire_slice_equal(wire_slice(token, len), text_at(root, "valid")));
	json_decref(root);
}

Test(jwt, that_it_signed_verifies_until_it_expires)
{
	const struct jwt_claims claims = { { { 1 } }, { { 2 } }, NOW, NOW + 10 };
	struct jwt_claims back;
	char token[JWT_BYTES_MAX];
	const size_t len = jwt_sign(secret, issuer, &claims, token, sizeof(token));
	const struct wire_slice text = wire_slice(token, len);

	cr_assert(jwt_verify(secret, issuer, text, NOW + 9, &back) == JWT_VALID);
	cr_assert(uuid_equal(&back.user, &claims.user) &&
	          uuid_equal(&back.session, &claims.session));
	cr_assert(jwt_verify(secret, issuer, text, NOW + 10, &back) == JWT_EXPIRED);
	cr_assert(jwt_verify(secret, issuer, text, 0, &back) == JWT_VALID, "iat is not judged");
}

Test(jwt, with_any_one_bit_changed_is_invalid)
{
	const struct jwt_claims claims = { { { 1 } }, { { 2 } }, NOW, NOW + 10 };
	char token[JWT_BYTES_MAX];
	const size_t len = jwt_sign(secret, issuer, &claims, token, sizeof(token));

	for (size_t bit = 0; bit < len * 8; bit++) {
		struct jwt_claims back;

		token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
		cr_assert(jwt_verify(secret, issuer, wire_slice(token, len), NOW, &back) ==
		                  JWT_INVALID,
		          "bit %zu", bit);
		token[bit / 8] = (char)(token[bit / 8] ^ 1 << bit % 8);
	}
}

Test(jwt, header_may_be_written_otherwise_but_not_say_otherwise)
{
	static const char good[] = "{" SUB "," JTI ",\"exp\":1767225700," ISS "}";

	cr_assert(judge("{ \"typ\" : \"JWT\", \"alg\" : \"HS256\" }", good) == JWT_VALID);
	cr_assert(judge("{\"alg\":\"HS256\"}", good) == JWT_VALID);
	cr_assert(judge("{\"alg\":\"hs256\"}", good) == JWT_INVALID);
	cr_assert(judge("{\"alg\":\"none\"}", good) == JWT_INVALID);
	cr_assert(judge("{\"alg\":[\"HS256\"]}", good) == JWT_INVALID);
	cr_assert(judge("{\"typ\":\"JWT\"}", good) == JWT_INVALID);
	cr_assert(judge("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", good) == JWT_INVALID);
	cr_assert(judge("{\"alg\":\"HS256\",\"typ\":\"JWE\"}", good) == JWT_INVALID);
	cr_assert(judge("{\"alg\":\"HS256\",\"crit\":[\"x\"]}", good) == JWT_INVALID);
	cr_assert(judge("[]", good) == JWT_INVALID);
	cr_assert(judge("", good) == JWT_INVALID);
}

Test(jwt, needs_every_claim_but_iat)
{
	cr_assert(judge(HS256, "{" SUB "," JTI ",\"exp\":1767225700," ISS "}") == JWT_VALID);
	cr_assert(judge(HS256, "{" JTI ",\"exp\":1767225700," ISS "}") == JWT_INVALID);
	cr_assert(judge(HS256, "{" SUB ",\"exp\":1767225700," ISS "}") == JWT_INVALID);
	cr_assert(judge(HS256, "{" SUB "," JTI "," ISS "}") == JWT_INVALID);
	cr_assert(judge(HS256, "{" SUB "," JTI ",\"exp\":1767225700}") == JWT_INVALID);
	cr_assert(judge(HS256, "{" SUB "," JTI ",\"exp\":\"1767225700\"," ISS "}") ==
	          JWT_INVALID);
	cr_assert(judge(HS256, "{" SUB "," JTI ",\"exp\":1767225700,\"iss\":\"\"}") ==
	          JWT_INVALID);
	cr_assert(judge(HS256, "{\"sub\":\"x\"," JTI ",\"exp\":1767225700," ISS "}") ==
	          JWT_INVALID);
	cr_assert(judge(HS256, "{" SUB "," SUB "," JTI ",\"exp\":1767225700," ISS "}") ==
	          JWT_INVALID);
	cr_assert(judge(HS256, "no json") == JWT_INVALID);
}

Test(jwt, that_is_too_long_or_in_pieces_is_invalid)
{
	static char token[JWT_BYTES_MAX + 1];
	struct jwt_claims claims;

	memset(token, 'A', sizeof(token));
	token[10] = token[2000] = '.';
	cr_assert(jwt_verify(secret, issuer, wire_slice(token, sizeof(token)), NOW, &claims) ==
	          JWT_INVALID);
	cr_assert(jwt_verify(secret, issuer, wire_slice(token, 1500), NOW, &claims) ==
	          JWT_INVALID);
	cr_assert(jwt_verify(secret, issuer, wire_text(""), NOW, &claims) == JWT_INVALID);
	cr_assert(jwt_verify(secret, issuer, wire_text(".."), NOW, &claims) == JWT_INVALID);
	cr_assert(jwt_verify(secret, issuer, wire_text("..."), NOW, &claims) == JWT_INVALID);
}

Test(jwt, is_not_signed_without_room_or_for_an_issuer_that_is_not_plain)
{
	const struct jwt_claims claims = { { { 1 } }, { { 2 } }, NOW, NOW + 10 };
	char token[JWT_BYTES_MAX], long_issuer[JWT_ISSUER_BYTES_MAX + 1];
	const size_t len = jwt_sign(secret, issuer, &claims, token, sizeof(token));

	memset(long_issuer, 'x', sizeof(long_issuer));
	cr_assert(len > 0 && jwt_sign(secret, issuer, &claims, token, len) == len);
	cr_assert(jwt_sign(secret, issuer, &claims, token, len - 1) == 0);
	cr_assert(jwt_sign(secret, wire_text("a\"b"), &claims, token, sizeof(token)) == 0);
	cr_assert(jwt_sign(secret, wire_slice(long_issuer, sizeof(long_issuer)), &claims, token,
	                   sizeof(token)) == 0);
	cr_assert(jwt_sign(secret, wire_slice(long_issuer, sizeof(long_issuer) - 1), &claims,
	                   token, sizeof(token)) > 0);
}
