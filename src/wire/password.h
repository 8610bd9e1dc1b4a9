/* SPDX-License-Identifier: MIT */
/* Password hashes: argon2id is made, argon2id and bcrypt ($2b$, of older servers) are verified.
 *
 * Blocks: every function but password_needs_rehash computes for tens of milliseconds (bcrypt:
 * hundreds) and takes 32 MiB: offload pool only. */
#ifndef WIRE_PASSWORD_H
#define WIRE_PASSWORD_H

#include <stdbool.h>

#include "wire/slice.h"

#define PASSWORD_HASH_MAX 128 /* with the NUL */
#define PASSWORD_OPS 3
#define PASSWORD_MEMORY_BYTES (UINT32_C(32) * 1024 * 1024)

enum password_verdict {
	PASSWORD_RIGHT,
	PASSWORD_WRONG,  /* or a hash of a kind that we do not know */
	PASSWORD_FAILED, /* no memory: says nothing about the password */
};

/* Returns false when there is no memory. */
WIRE_NODISCARD bool password_hash(struct wire_slice password, char out[PASSWORD_HASH_MAX]);

WIRE_NODISCARD enum password_verdict password_verify(const char *hash,
                                                     struct wire_slice password);

/* The same work for a user who does not exist, so that the time does not tell.  Always
 * PASSWORD_WRONG or PASSWORD_FAILED. */
WIRE_NODISCARD enum password_verdict password_verify_nobody(struct wire_slice password);

/* True for every hash that password_hash would make otherwise today. */
WIRE_NODISCARD bool password_needs_rehash(const char *hash);

#endif
