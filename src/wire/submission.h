/* SPDX-License-Identifier: MIT */
/* SubmitMessage and HealthCheck of the gateway's gRPC service (proto/message_gateway.proto): what a
 * server submits for one of its users, and what became of it.  Both directions: the gateway reads
 * requests and writes responses, the server the other way round. */
#ifndef WIRE_SUBMISSION_H
#define WIRE_SUBMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/chat_message.h"
#include "wire/error_code.h"
#include "wire/slice.h"
#include "wire/uuid.h"

#define SUBMISSION_RESPONSE_MAX 512 /* bytes of every response below */
/* ciphertext: what the content of the largest client frame stands for (100,000 bytes, of which the
 * rest of a `sendMessage` takes at least 244) */
#define SUBMISSION_CONTENT_BYTES_MAX 74817
#define SUBMISSION_TEXT_MAX 72 /* of an outcome, with its NUL */

/* The request, judged. */
struct submission {
	struct chat_message message; /* without content: ciphertext is it */
	struct user_address user;    /* authenticated_user_id */
	bool has_timestamp;          /* else the timestamp of message is 0 */
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

/* SubmitMessageRequest for message m of this user, its content base64 as client_frame.h accepts it
 * (decoding and encoding again give the same text).  As snprintf: returns the length; when that is
 * more than room, what is in out is of no use. */
size_t submission_request(uint8_t *out, size_t room, const struct chat_message *m,
                          const struct uuid *user);

/* What a gateway said. */
struct submission_outcome {
	enum error_code code;           /* ERROR_NONE: success */
	char text[SUBMISSION_TEXT_MAX]; /* for people; empty: the code's own */
};

/* Reads one SubmitMessageResponse.  The code is error_code when that is one of ours, else it is told by
 * the status; a text that is not UTF-8 is left out, a long one is cut between characters.
 * Returns false, with out undefined, when it is no such message, or its status says nothing. */
WIRE_NODISCARD bool submission_outcome_read(struct wire_slice bytes,
                                            struct submission_outcome *out);

/* HealthCheckResponse.  Returns its length. */
size_t submission_health(uint8_t out[SUBMISSION_RESPONSE_MAX], bool is_serving);

/* Does a HealthCheckResponse say so?  false also for what is none. */
bool submission_is_serving(struct wire_slice bytes);

#endif
