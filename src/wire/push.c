/* SPDX-License-Identifier: MIT */
#include "wire/push.h"

#include <endian.h>
#include <stdio.h>

#define CLOSE_CODE_MIN 1000
#define CLOSE_CODE_MAX 4999

static const uint8_t item_size[PUSH_KINDS] = {
	[PUSH_LOOK] = PUSH_LOOK_SIZE,
	[PUSH_KICK_CONNECTION] = PUSH_KICK_CONNECTION_SIZE,
	[PUSH_KICK_SESSION] = PUSH_KICK_SESSION_SIZE,
	[PUSH_ROUTE] = PUSH_ROUTE_SIZE,
	[PUSH_USER_GONE] = PUSH_USER_GONE_SIZE,
	[PUSH_LOST] = PUSH_LOST_SIZE,
	[PUSH_KICKED] = PUSH_KICK_SESSION_SIZE,
	[PUSH_LIFE] = PUSH_LOST_SIZE,
};

static void put_le(uint8_t *at, uint64_t value, size_t width)
{
	const uint64_t little = htole64(value);

	memcpy(at, &little, width);
}

static uint64_t get_le(const uint8_t *at, size_t width)
{
	uint64_t little = 0;

	memcpy(&little, at, width);
	return le64toh(little);
}

static void begin(uint8_t *out, enum push_kind kind)
{
	memset(out, 0, PUSH_HEAD_LEN);
	out[0] = (uint8_t)kind;
}

size_t push_entries_begin(uint8_t *out)
{
	begin(out, PUSH_ENTRIES);
	return PUSH_HEAD_LEN;
}

/* ---- items: what is not named here is zero ---- */

static void put_user(uint8_t *at, const struct uuid *user)
{
	memcpy(at, user->b, sizeof(user->b));
}

size_t push_write_look(uint8_t *out, const struct push_look *items, uint32_t n)
{
	begin(out, PUSH_LOOK);
	for (uint32_t i = 0; i < n; i++)
		put_user(out + PUSH_LOOK_LEN(i), &items[i].user);
	return PUSH_LOOK_LEN(n);
}

size_t push_write_kick_connection(uint8_t *out, const struct push_kick_connection *items,
                                  uint32_t n)
{
	begin(out, PUSH_KICK_CONNECTION);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *at = out + PUSH_KICK_CONNECTION_LEN(i);

		put_user(at, &items[i].user);
		put_le(at + 16, items[i].number, 4);
		put_le(at + 20, items[i].code, 4);
	}
	return PUSH_KICK_CONNECTION_LEN(n);
}

static size_t write_kicks(uint8_t *out, enum push_kind kind,
                          const struct push_kick_session *items, uint32_t n)
{
	begin(out, kind);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *at = out + PUSH_KICK_SESSION_LEN(i);

		put_user(at, &items[i].user);
		put_user(at + 16, &items[i].jti);
		put_le(at + 32, items[i].from_instance, 8);
		put_le(at + 40, items[i].code, 2);
		put_le(at + 42, items[i].what, 6);
	}
	return PUSH_KICK_SESSION_LEN(n);
}

size_t push_write_kick_session(uint8_t *out, const struct push_kick_session *items, uint32_t n)
{
	return write_kicks(out, PUSH_KICK_SESSION, items, n);
}

size_t push_write_kicked(uint8_t *out, const struct push_kick_session *items, uint32_t n)
{
	return write_kicks(out, PUSH_KICKED, items, n);
}

size_t push_write_route(uint8_t *out, const struct push_route *items, uint32_t n)
{
	begin(out, PUSH_ROUTE);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *at = out + PUSH_ROUTE_LEN(i);

		put_user(at, &items[i].user);
		put_le(at + 16, items[i].instance, 8);
		put_le(at + 24, items[i].is_joined, 8);
	}
	return PUSH_ROUTE_LEN(n);
}

size_t push_write_user_gone(uint8_t *out, const struct push_user_gone *items, uint32_t n)
{
	begin(out, PUSH_USER_GONE);
	for (uint32_t i = 0; i < n; i++)
		put_user(out + PUSH_USER_GONE_LEN(i), &items[i].user);
	return PUSH_USER_GONE_LEN(n);
}

static size_t write_lives(uint8_t *out, enum push_kind kind, const struct push_lost *items,
                          uint32_t n)
{
	begin(out, kind);
	for (uint32_t i = 0; i < n; i++)
		put_user(out + PUSH_LOST_LEN(i), &items[i].life);
	return PUSH_LOST_LEN(n);
}

size_t push_write_lost(uint8_t *out, const struct push_lost *items, uint32_t n)
{
	return write_lives(out, PUSH_LOST, items, n);
}

size_t push_write_life(uint8_t *out, const struct push_lost *items, uint32_t n)
{
	return write_lives(out, PUSH_LIFE, items, n);
}

/* The next item of a payload of this kind, or NULL. */
static const uint8_t *next_item(struct wire_slice bytes, size_t *at, enum push_kind kind)
{
	const size_t from = *at == 0 ? PUSH_HEAD_LEN : *at, size = item_size[kind];

	if (bytes.len < PUSH_HEAD_LEN || bytes.at[0] != kind || from > bytes.len ||
	    bytes.len - from < size)
		return NULL;
	*at = from + size;
	return bytes.at + from;
}

/* An item that is not as it must be ends the walk short of the payload's end. */
static bool refuse(size_t *at)
{
	*at = SIZE_MAX;
	return false;
}

static void get_user(const uint8_t *at, struct uuid *user)
{
	memcpy(user->b, at, sizeof(user->b));
}

bool push_next_look(struct wire_slice bytes, size_t *at, struct push_look *out)
{
	const uint8_t *item = next_item(bytes, at, PUSH_LOOK);

	if (item == NULL)
		return false;
	get_user(item, &out->user);
	return true;
}

static bool is_close_code(uint64_t code)
{
	return code >= CLOSE_CODE_MIN && code <= CLOSE_CODE_MAX;
}

bool push_next_kick_connection(struct wire_slice bytes, size_t *at,
                               struct push_kick_connection *out)
{
	const uint8_t *item = next_item(bytes, at, PUSH_KICK_CONNECTION);

	if (item == NULL)
		return false;
	if (!is_close_code(get_le(item + 20, 4)))
		return refuse(at);
	get_user(item, &out->user);
	out->number = (uint32_t)get_le(item + 16, 4);
	out->code = (uint16_t)get_le(item + 20, 4);
	return true;
}

static bool next_kick(struct wire_slice bytes, size_t *at, enum push_kind kind,
                      struct push_kick_session *out)
{
	const uint8_t *item = next_item(bytes, at, kind);

	if (item == NULL)
		return false;
	if (!is_close_code(get_le(item + 40, 2)) || get_le(item + 42, 6) > PUSH_KICK_WHAT_MAX)
		return refuse(at);
	get_user(item, &out->user);
	get_user(item + 16, &out->jti);
	out->from_instance = get_le(item + 32, 8);
	out->code = (uint16_t)get_le(item + 40, 2);
	out->what = (uint8_t)get_le(item + 42, 6);
	return true;
}

bool push_next_kick_session(struct wire_slice bytes, size_t *at, struct push_kick_session *out)
{
	return next_kick(bytes, at, PUSH_KICK_SESSION, out);
}

bool push_next_kicked(struct wire_slice bytes, size_t *at, struct push_kick_session *out)
{
	return next_kick(bytes, at, PUSH_KICKED, out);
}

bool push_next_route(struct wire_slice bytes, size_t *at, struct push_route *out)
{
	const uint8_t *item = next_item(bytes, at, PUSH_ROUTE);

	if (item == NULL)
		return false;
	if (get_le(item + 24, 8) > 1)
		return refuse(at);
	get_user(item, &out->user);
	out->instance = get_le(item + 16, 8);
	out->is_joined = (uint8_t)get_le(item + 24, 8);
	return true;
}

bool push_next_user_gone(struct wire_slice bytes, size_t *at, struct push_user_gone *out)
{
	const uint8_t *item = next_item(bytes, at, PUSH_USER_GONE);

	if (item == NULL)
		return false;
	get_user(item, &out->user);
	return true;
}

static bool next_life(struct wire_slice bytes, size_t *at, enum push_kind kind,
                      struct push_lost *out)
{
	const uint8_t *item = next_item(bytes, at, kind);

	if (item == NULL)
		return false;
	get_user(item, &out->life);
	return true;
}

bool push_next_lost(struct wire_slice bytes, size_t *at, struct push_lost *out)
{
	return next_life(bytes, at, PUSH_LOST, out);
}

bool push_next_life(struct wire_slice bytes, size_t *at, struct push_lost *out)
{
	return next_life(bytes, at, PUSH_LIFE, out);
}

/* ---- entries ---- */

bool push_next_entry(struct wire_slice bytes, size_t *at, const struct record **out)
{
	const size_t from = *at == 0 ? PUSH_HEAD_LEN : *at;
	const uint8_t *cursor;
	const struct record *r;
	bool torn;

	if (bytes.len < PUSH_HEAD_LEN || bytes.at[0] != PUSH_ENTRIES || from > bytes.len ||
	    (uintptr_t)bytes.at % 8 != 0)
		return false;
	cursor = bytes.at + from;
	r = record_next(&cursor, bytes.at + bytes.len, &torn);
	if (r == NULL || (r->kind != RECORD_MESSAGE && r->kind != RECORD_RECEIPT) ||
	    r->frame_len == 0)
		return false;
	*at = (size_t)(cursor - bytes.at);
	*out = r;
	return true;
}

/* Whether the iterator of this kind comes exactly to the end. */
static bool is_whole(struct wire_slice bytes, enum push_kind kind)
{
	union {
		struct push_kick_connection connection;
		struct push_kick_session session;
		struct push_route route;
		const struct record *entry;
	} ignored;
	size_t at = 0;

	switch (kind) {
	case PUSH_ENTRIES:
		while (push_next_entry(bytes, &at, &ignored.entry))
			;
		return at == bytes.len;
	case PUSH_KICK_CONNECTION:
		while (push_next_kick_connection(bytes, &at, &ignored.connection))
			;
		break;
	case PUSH_KICK_SESSION:
		while (push_next_kick_session(bytes, &at, &ignored.session))
			;
		break;
	case PUSH_KICKED:
		while (push_next_kicked(bytes, &at, &ignored.session))
			;
		break;
	case PUSH_ROUTE:
		while (push_next_route(bytes, &at, &ignored.route))
			;
		break;
	case PUSH_LOOK:
	case PUSH_USER_GONE:
	case PUSH_LOST:
	case PUSH_LIFE: /* any 16 bytes are a user, or a life */
		return (bytes.len - PUSH_HEAD_LEN) % item_size[kind] == 0;
	default:
		return false;
	}
	return at == bytes.len;
}

enum push_kind push_kind_of(struct wire_slice bytes)
{
	static const uint8_t zero[PUSH_HEAD_LEN - 1];

	if (bytes.len <= PUSH_HEAD_LEN || bytes.len > PUSH_BYTES_MAX ||
	    memcmp(bytes.at + 1, zero, sizeof(zero)) != 0 ||
	    !is_whole(bytes, (enum push_kind)bytes.at[0]))
		return PUSH_NONE;
	return (enum push_kind)bytes.at[0];
}

/* ---- channels ---- */

size_t push_channel_instance(char *out, size_t room, const char *prefix, uint64_t instance)
{
	return (size_t)snprintf(out, room, "%s:instance:%016llx", prefix,
	                        (unsigned long long)instance);
}

size_t push_channel_servers(char *out, size_t room, const char *prefix)
{
	return (size_t)snprintf(out, room, "%s:servers", prefix);
}

size_t push_channel_workers(char *out, size_t room, const char *prefix)
{
	return (size_t)snprintf(out, room, "%s:workers", prefix);
}

size_t push_channel_gateways(char *out, size_t room, const char *prefix)
{
	return (size_t)snprintf(out, room, "%s:gateways", prefix);
}
