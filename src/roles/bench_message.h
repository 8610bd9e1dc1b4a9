/* SPDX-License-Identifier: MIT */
/* A pair's messages: one sendMessage and one acknowledgeMessage frame, encoded once; number,
 * id and time are patched in place. */
#ifndef CONSTRUCT_ROLES_BENCH_MESSAGE_H
#define CONSTRUCT_ROLES_BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roles/bench_frame.h"

struct bench_message {
	uint8_t *send;
	size_t send_len;
	uint8_t *ack;
	size_t ack_len;
	/* Places in send and ack that change. */
	uint8_t *id, *number, *content, *time, *ack_id;
	size_t content_len;
};

/* from and to are user ids; the content is content_bytes random bytes in base64, whose first
 * characters hold the number.  seed must differ from pair to pair. */
void bench_message_init(struct bench_message *m, const char *from, const char *to,
                        size_t content_bytes, uint64_t seed);
void bench_message_free(struct bench_message *m);

/* Makes m->send the message with this number. */
void bench_message_patch(struct bench_message *m, uint32_t number, uint32_t unix_s);

/* Makes m->ack the acknowledgement of this id (36 characters). */
void bench_message_patch_ack(struct bench_message *m, struct bench_slice id);

/* The number in an id of this pair and run; false for any other id. */
bool bench_message_number(const struct bench_message *m, struct bench_slice id,
                          uint32_t *number);

/* Whether the received message is the one that was sent under this number. */
bool bench_message_is_intact(const struct bench_message *m, const struct bench_frame *f,
                             uint32_t number);

#endif
