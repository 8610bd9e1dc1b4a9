/* SPDX-License-Identifier: MIT */
/* What instances tell each other through Redis channels.  One payload is of one kind: a kind byte
 * and 7 zero bytes, then 1 to n items of fixed size in little endian (PUSH_ENTRIES: records of
 * wire/record.h, in the machine's byte order, which all instances share).
 *
 * Whoever may publish in that Redis is believed, but nothing he says is taken beyond its bounds:
 * push_kind_of judges the whole payload, and what it has passed the iterators read to its end. */
#ifndef WIRE_PUSH_H
#define WIRE_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/record.h"
#include "wire/slice.h"
#include "wire/uuid.h"

enum push_kind {
	PUSH_NONE, /* nothing of ours */
	PUSH_ENTRIES,
	PUSH_LOOK,
	PUSH_KICK_CONNECTION,
	PUSH_KICK_SESSION,
	PUSH_ROUTE,
	PUSH_USER_GONE,
	PUSH_LOST,
	PUSH_KICKED,
	PUSH_LIFE,
	PUSH_KINDS,
};

#define PUSH_HEAD_LEN 8
#define PUSH_BYTES_MAX (8 * 1024 * 1024) /* of a payload; below Redis' own limit of a request */
#define PUSH_CHANNEL_MAX 240             /* bytes of a channel's name with its NUL */

struct push_look { /* something may be new for this user */
	struct uuid user;
};
struct push_kick_connection { /* close this connection of his */
	struct uuid user;
	uint32_t number;
	uint16_t code; /* 1000..4999, of the close */
};
struct push_kick_session { /* close connections of the user by session */
	struct uuid user, jti;
	uint64_t from_instance; /* who said it */
	uint16_t code;          /* 1000..4999 */
	uint8_t what;           /* enum hub_kick_what (actors/hub.h) */
};
/* PUSH_KICKED, to whoever said the kick: that kick, but from_instance has done it. */
struct push_route {
	struct uuid user;
	uint64_t instance;
	uint8_t is_joined; /* 1: his first connection there; 0: his last one has left */
};
struct push_user_gone { /* the account was deleted */
	struct uuid user;
};

struct push_lost { /* Redis was emptied; what begins now is of this life of it */
	struct uuid life;
};
/* PUSH_LIFE, a server's to itself: the life that Redis is in. */

#define PUSH_LOOK_SIZE 16
#define PUSH_KICK_CONNECTION_SIZE 24
#define PUSH_KICK_SESSION_SIZE 48
#define PUSH_ROUTE_SIZE 32
#define PUSH_USER_GONE_SIZE 16
#define PUSH_LOST_SIZE 16
#define PUSH_KICK_WHAT_MAX 2 /* HUB_KICK_OTHERS */

/* Bytes of a payload with n items. */
#define PUSH_LOOK_LEN(n) (PUSH_HEAD_LEN + (size_t)(n)*PUSH_LOOK_SIZE)
#define PUSH_KICK_CONNECTION_LEN(n) (PUSH_HEAD_LEN + (size_t)(n)*PUSH_KICK_CONNECTION_SIZE)
#define PUSH_KICK_SESSION_LEN(n) (PUSH_HEAD_LEN + (size_t)(n)*PUSH_KICK_SESSION_SIZE)
#define PUSH_KICKED_LEN(n) PUSH_KICK_SESSION_LEN(n)
#define PUSH_ROUTE_LEN(n) (PUSH_HEAD_LEN + (size_t)(n)*PUSH_ROUTE_SIZE)
#define PUSH_USER_GONE_LEN(n) (PUSH_HEAD_LEN + (size_t)(n)*PUSH_USER_GONE_SIZE)
#define PUSH_LOST_LEN(n) (PUSH_HEAD_LEN + (size_t)(n)*PUSH_LOST_SIZE)
#define PUSH_LIFE_LEN(n) PUSH_LOST_LEN(n)

/* Writes the head of PUSH_ENTRIES; records (record_write, each with record_size bytes) follow at
 * out + the result.  out is 8-aligned. */
size_t push_entries_begin(uint8_t *out);

/* Write a payload of n > 0 items into PUSH_..._LEN(n) bytes, which they return. */
size_t push_write_look(uint8_t *out, const struct push_look *items, uint32_t n);
size_t push_write_kick_connection(uint8_t *out, const struct push_kick_connection *items,
                                  uint32_t n);
size_t push_write_kick_session(uint8_t *out, const struct push_kick_session *items, uint32_t n);
size_t push_write_kicked(uint8_t *out, const struct push_kick_session *items, uint32_t n);
size_t push_write_route(uint8_t *out, const struct push_route *items, uint32_t n);
size_t push_write_user_gone(uint8_t *out, const struct push_user_gone *items, uint32_t n);
size_t push_write_lost(uint8_t *out, const struct push_lost *items, uint32_t n);
size_t push_write_life(uint8_t *out, const struct push_lost *items, uint32_t n);

/* The payload's kind, or PUSH_NONE when any of it is not as it must be: an unknown kind, no item,
 * bytes left over, a value out of its range, a record that is not whole or neither MESSAGE nor
 * RECEIPT, PUSH_ENTRIES that is not 8-aligned. */
enum push_kind push_kind_of(struct wire_slice bytes);

/* Iterators over a payload that push_kind_of has passed; *at starts at 0.  false: no more. */
WIRE_NODISCARD bool push_next_entry(struct wire_slice bytes, size_t *at,
                                    const struct record **out);
WIRE_NODISCARD bool push_next_look(struct wire_slice bytes, size_t *at, struct push_look *out);
WIRE_NODISCARD bool push_next_kick_connection(struct wire_slice bytes, size_t *at,
                                              struct push_kick_connection *out);
WIRE_NODISCARD bool push_next_kick_session(struct wire_slice bytes, size_t *at,
                                           struct push_kick_session *out);
WIRE_NODISCARD bool push_next_kicked(struct wire_slice bytes, size_t *at,
                                     struct push_kick_session *out);
WIRE_NODISCARD bool push_next_route(struct wire_slice bytes, size_t *at,
                                    struct push_route *out);
WIRE_NODISCARD bool push_next_user_gone(struct wire_slice bytes, size_t *at,
                                        struct push_user_gone *out);
WIRE_NODISCARD bool push_next_lost(struct wire_slice bytes, size_t *at, struct push_lost *out);
WIRE_NODISCARD bool push_next_life(struct wire_slice bytes, size_t *at, struct push_lost *out);

/* "<prefix>:instance:<16 hex>", with a NUL.  Returns the length without the NUL, as snprintf. */
size_t push_channel_instance(char *out, size_t room, const char *prefix, uint64_t instance);
/* "<prefix>:servers", "<prefix>:workers", "<prefix>:gateways". */
size_t push_channel_servers(char *out, size_t room, const char *prefix);
size_t push_channel_workers(char *out, size_t room, const char *prefix);
size_t push_channel_gateways(char *out, size_t room, const char *prefix);

#endif
