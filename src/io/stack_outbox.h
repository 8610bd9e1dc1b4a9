/* SPDX-License-Identifier: MIT */
/* What the inbox hands to the batcher of delivery events (actors/ack_batcher.h), which stands a layer
 * above it.
 *
 *   out   ACK_BATCHER_ADD, with cx_send_reserved: acknowledgements bound them */
#ifndef IO_STACK_OUTBOX_H
#define IO_STACK_OUTBOX_H

#include <cx/actor.h>

#include <construct/messages.h>

/* hdr.buf: events, each [u16 length, little endian][JSON]; they stand in the stream
 * {prefix}outbox:INSTANCE under id outbox_ms-outbox_seq, or, when both are 0, nowhere. */
struct ack_batcher_add_msg {
	struct cx_msg hdr;
	uint32_t count;
	uint64_t outbox_ms, outbox_seq;
};

#endif
