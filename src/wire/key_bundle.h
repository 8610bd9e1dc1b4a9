/* SPDX-License-Identifier: MIT */
/* Key bundles: three base64 texts on the wire, one blob in the store.  The signed bytes are kept
 * exactly as they came. */
#ifndef WIRE_KEY_BUNDLE_H
#define WIRE_KEY_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#include "wire/slice.h"
#include "wire/uuid.h"

#define KEY_BUNDLE_MASTER_LEN 32
#define KEY_BUNDLE_SIGNATURE_LEN 64
#define KEY_BUNDLE_KEY_LEN 32
#define KEY_BUNDLE_DATA_MAX 65536
#define KEY_BUNDLE_SUITES_MAX 16

struct key_bundle_texts { /* as uploaded */
	struct wire_slice master_identity_key, bundle_data, signature;
};

struct key_bundle {
	uint8_t master[KEY_BUNDLE_MASTER_LEN];       /* Ed25519 */
	uint8_t signature[KEY_BUNDLE_SIGNATURE_LEN]; /* over data */
	uint8_t identity_key[KEY_BUNDLE_KEY_LEN];    /* of the first suite */
	uint8_t signed_prekey[KEY_BUNDLE_KEY_LEN];
	struct wire_slice data; /* the signed JSON, raw; borrows the scratch or the blob */
};

enum key_bundle_verify {
	KEY_BUNDLE_STRICT, /* the signature is verified */
	KEY_BUNDLE_OFF,    /* lengths and form only */
};

enum key_bundle_verdict {
	KEY_BUNDLE_VALID,
	KEY_BUNDLE_MALFORMED, /* base64, a length, the JSON, a field */
	KEY_BUNDLE_SUITE,     /* a suite that nobody knows */
	KEY_BUNDLE_FORGED,    /* the signature does not fit */
	KEY_BUNDLE_FOREIGN,   /* userId is another user */
};

/* owner NULL: at registration, userId may hold anything.  scratch: KEY_BUNDLE_DATA_MAX bytes.
 * Writes out only when it returns KEY_BUNDLE_VALID.  Keeps: out->data borrows scratch. */
WIRE_NODISCARD enum key_bundle_verdict key_bundle_check(const struct key_bundle_texts *texts,
                                                        enum key_bundle_verify verify,
                                                        const struct uuid *owner,
                                                        uint8_t *scratch,
                                                        struct key_bundle *out);

/* The blob of the store: three 32-bit lengths (little endian), then master identity key, data
 * and signature.  As snprintf: returns the length, out is of no use when room is less. */
size_t key_bundle_pack(const struct key_bundle *bundle, uint8_t *out, size_t room);

/* Opens a blob and reads the first suite of its data.  Keeps: out->data borrows blob.
 * Returns false when it is none. */
WIRE_NODISCARD bool key_bundle_unpack(struct wire_slice blob, struct key_bundle *out);

#endif
