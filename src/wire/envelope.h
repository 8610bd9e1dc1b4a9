/* SPDX-License-Identifier: MIT */
/* The message envelope: value of a record of the message topic, JSON in camelCase as existing
 * topics hold it.  Written in one fixed shape; read in any shape that JSON allows. */
#ifndef WIRE_ENVELOPE_H
#define WIRE_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/chat_message.h"
#include "wire/hash.h"
#include "wire/slice.h"
#include "wire/uuid.h"

#define ENVELOPE_BYTES_MAX (256 * 1024) /* of what is read */
/* Room that is always enough for envelope_write of a content that needs no escape (base64). */
#define ENVELOPE_LEN_MAX(content_len) ((content_len) + 1536)

struct envelope {
	/* id, id_case, from and to (bare: their domains stand below), key, message_number,
	 * content (the text of encryptedPayload), timestamp */
	struct chat_message message;
	struct uuid sender, recipient;
	/* Of `uuid@domain`, as written; len 0: none.  Which domain is ours the reader decides. */
	struct wire_slice sender_domain, recipient_domain;
	struct wire_slice origin_server; /* len 0: none */
	uint8_t content_hash[HASH_LEN];  /* as read; envelope_write computes its own */
	uint32_t suite_id;               /* 0: double ratchet */
	bool federated;
	void *scratch; /* texts that had escapes, or NULL; envelope_free */
};

/* Writes a directMessage with the right contentHash.  Of e it takes: message without from and to,
 * sender, recipient, their domains, origin_server, suite_id, federated.  Texts are valid UTF-8.
 * Returns the bytes needed, no NUL; out is of use only when they are not more than room. */
size_t envelope_write(char *out, size_t room, const struct envelope *e);

enum envelope_fault {
	ENVELOPE_OK,
	ENVELOPE_TOO_LARGE,     /* over ENVELOPE_BYTES_MAX */
	ENVELOPE_NOT_JSON,      /* or not one object, nested too deep, a known key twice */
	ENVELOPE_FIELD_MISSING, /* or null */
	ENVELOPE_FIELD_INVALID, /* another type, or a value out of its range */
	ENVELOPE_BAD_ID,        /* messageId, senderId or recipientId */
	ENVELOPE_BAD_KEY,       /* ephemeralPublicKey is not the base64 of 32 bytes */
	ENVELOPE_BAD_HASH,      /* contentHash is not 64 hex digits */
	ENVELOPE_EMPTY,         /* encryptedPayload */
	ENVELOPE_NOT_FOR_US,    /* messageType is not directMessage */
	ENVELOPE_NO_MEMORY,     /* not the record's fault: try again */
	ENVELOPE_FAULTS,
};

/* Judges the record.  Of contentHash only the form is judged; suiteId and federated may be absent
 * (0 and false).  Takes memory only when texts have escapes, in proportion to bytes; envelope_free
 * gives it back (after any outcome).
 * Keeps: slices in out borrow bytes or out->scratch. */
WIRE_NODISCARD enum envelope_fault envelope_read(struct wire_slice bytes, struct envelope *out);
void envelope_free(struct envelope *e);

/* For the dead letter's reason: constant, never NULL. */
const char *envelope_fault_text(enum envelope_fault fault);

#endif
