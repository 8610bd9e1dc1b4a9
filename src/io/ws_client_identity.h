/* SPDX-License-Identifier: MIT */
/* A throw-away user's keys: a key bundle signed with a fresh Ed25519 key. */
#ifndef CONSTRUCT_IO_WS_CLIENT_IDENTITY_H
#define CONSTRUCT_IO_WS_CLIENT_IDENTITY_H

#include <stdbool.h>

/* All base64 texts.  The bundle names no owner, so several users may register with one. */
struct ws_client_identity {
	char master_key[48];   /* Ed25519, verifies the signature */
	char identity_key[48]; /* X25519, of suite 1 */
	char prekey[48];
	char bundle[512]; /* the signed JSON */
	char signature[96];
};

/* False when the system gives no random bytes. */
bool ws_client_identity_make(struct ws_client_identity *identity);

#endif
