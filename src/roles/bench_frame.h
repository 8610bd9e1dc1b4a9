/* SPDX-License-Identifier: MIT */
/* Client frames as the load generator and the probe need them: MessagePack written into
 * templates whose id, number and time are patched in place, and server frames read without a
 * copy or an allocation.  Written apart from src/wire, so that a mistake there shows here. */
#ifndef CONSTRUCT_ROLES_BENCH_FRAME_H
#define CONSTRUCT_ROLES_BENCH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_ID_CHARS 36

enum bench_frame_type {
	BENCH_FRAME_OTHER,
	BENCH_FRAME_MESSAGE,
	BENCH_FRAME_ACK,
	BENCH_FRAME_ERROR,
	BENCH_FRAME_CONNECT_SUCCESS,
	BENCH_FRAME_LOGIN_SUCCESS,
	BENCH_FRAME_REGISTER_SUCCESS,
	BENCH_FRAME_SESSION_EXPIRED,
	BENCH_FRAME_PUBLIC_KEY_BUNDLE,
	BENCH_FRAME_DELETE_ACCOUNT_SUCCESS,
};

struct bench_slice {
	const char *at;
	size_t len;
};

/* One server frame; fields that it does not have are empty.  Points into the frame. */
struct bench_frame {
	enum bench_frame_type type;
	struct bench_slice type_name;
	struct bench_slice message_id; /* messageId of an ack or error, id of a message */
	struct bench_slice from;
	struct bench_slice to;
	struct bench_slice content;
	struct bench_slice status;
	struct bench_slice code;
	struct bench_slice text; /* message of an error */
	struct bench_slice user_id;
	struct bench_slice username;
	struct bench_slice token;
	struct bench_slice identity; /* identityPublic */
	struct bench_slice ephemeral_key;
	uint32_t message_number;
	uint32_t timestamp;
};

/* False when it is no map of type and payload, or not exactly one object. */
bool bench_frame_read(const uint8_t *data, size_t len, struct bench_frame *frame);

bool bench_slice_is(struct bench_slice slice, const char *text);

/* Writes MessagePack behind at[len]; the caller made sure that there is room. */
struct bench_writer {
	uint8_t *at;
	size_t len;
};

void bench_put_map(struct bench_writer *w, uint32_t entries); /* up to 15 */
void bench_put_text(struct bench_writer *w, const char *text);
void bench_put_text_len(struct bench_writer *w, const char *text, size_t len);
void bench_put_bin(struct bench_writer *w, const uint8_t *data, size_t len);
void bench_put_u32(struct bench_writer *w, uint32_t value); /* always five bytes */

/* The map of a key bundle: three base64 texts. */
void bench_put_bundle(struct bench_writer *w, const char *master_key, const char *bundle,
                      const char *signature);

/* { "type": type, "payload": a map of entries that the caller puts next } */
void bench_put_head(struct bench_writer *w, const char *type, uint32_t entries);

/* Payload entries that are texts, as name, value, ..., NULL. */
size_t bench_frame_texts(uint8_t *to, const char *type, ...) __attribute__((sentinel));

#endif
