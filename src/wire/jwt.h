/* SPDX-License-Identifier: MIT */
/* Session tokens: JWT, HS256 and nothing else.  A token that verifies names a session; whether
 * that session still exists is the session store's business. */
#ifndef WIRE_JWT_H
#define WIRE_JWT_H

#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"
#include "wire/uuid.h"

#define JWT_BYTES_MAX 4096 /* a longer token is not looked at */
#define JWT_ISSUER_BYTES_MAX 128

struct jwt_claims {
	struct uuid user;    /* sub */
	struct uuid session; /* jti */
	int64_t issued_at;   /* iat, Unix seconds; 0 when the token has none */
	int64_t expires_at;  /* exp */
};

enum jwt_verdict {
	JWT_VALID,
	JWT_EXPIRED, /* all is right but exp <= now: claims are there, the session store decides */
	JWT_INVALID, /* claims are not written */
};

/* Writes the token, no NUL; room for JWT_BYTES_MAX is always enough.  Returns its length, or 0
 * when room is too small or the issuer longer than JWT_ISSUER_BYTES_MAX or not plain
 * (control characters, quotes, backslashes). */
WIRE_NODISCARD size_t jwt_sign(struct wire_slice secret, struct wire_slice issuer,
                               const struct jwt_claims *claims, char *out, size_t room);

/* now: Unix seconds.  iat is not judged: clocks jump. */
WIRE_NODISCARD enum jwt_verdict jwt_verify(struct wire_slice secret, struct wire_slice issuer,
                                           struct wire_slice token, int64_t now,
                                           struct jwt_claims *claims);

#endif
