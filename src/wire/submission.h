/* SPDX-License-Identifier: MIT */
/* SubmitMessage and HealthCheck of the gateway's gRPC service (proto/message_gateway.proto): what a
 * server submits for one of its users, and what became of it. */
#ifndef WIRE_SUBMISSION_H
#define WIRE_SUBMISSION_H

#include <stdint.h>

#include "wire/chat_message.h"
#include "wire/error_code.h"
#include "wire/slice.h"
#include "wire/uuid.h"

#define SUBMISSION_RESPONSE_MAX 512        /* bytes of every response below */
#define SUBMISSION_CONTENT_BYTES_MAX 74000 /* ciphertext: its base64 fits a client's frame */

/* The request, judged. */
struct submission {
	struct chat_message message; /* without content (ciphertext is it) and timestamp */
	struct user_address user;    /* authenticated_user_id */
	const uint8_t *ciphertext;
	size_t ciphertext_len;
	void *unpacked; /* owns what the slices borrow */
};

/* Reads one SubmitMessageRequest.  Takes memory in proportion to len; submission_free gives it back
 * (after any outcome).
 * Returns ERROR_NONE, or what is wrong: INVALID_FORMAT (no such message), INVALID_MESSAGE_ID,
 * INVALID_MESSAGE_FORMAT (addresses, key, ciphertext). */
WIRE_NODISCARD enum error_code submission_read(struct wire_slice bytes, struct submission *out);
void submission_free(struct submission *s);

/* SubmitMessageResponse; ERROR_NONE is success, text NULL or empty the code's own.  Returns its
 * length. */
size_t submission_response(uint8_t out[SUBMISSION_RESPONSE_MAX], enum error_code code,
                           const char *text);

/* HealthCheckResponse.  Returns its length. */
size_t submission_health(uint8_t out[SUBMISSION_RESPONSE_MAX], bool is_serving);

#endif
