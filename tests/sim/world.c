/* SPDX-License-Identifier: MIT */
#include "sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct world world;
struct relay sim_relay;

void world_broken(const char *format, ...)
{
	va_list args;

	if (world.broken[0] != '\0')
		return;
	world.promise = format;
	va_start(args, format);
	vsnprintf(world.broken, sizeof(world.broken), format, args);
	va_end(args);
}

struct uuid world_message_id(uint32_t sender, uint32_t number)
{
	struct uuid id = { { 0xc0 } };

	id.b[1] = (uint8_t)sender;
	id.b[2] = (uint8_t)number;
	return id;
}

bool world_message_of(const struct uuid *id, uint32_t *sender, uint32_t *number)
{
	*sender = id->b[1];
	*number = id->b[2];
	return id->b[0] == 0xc0 && *sender < CLIENTS && *number < SENDS_MAX;
}

uint32_t world_recipient(uint32_t sender, uint32_t number)
{
	return (sender + 1 + number * 7 / 3 % (CLIENTS - 1)) % CLIENTS;
}

struct uuid world_session_id(uint32_t number, uint32_t n)
{
	struct uuid id = { { 0x5e } };

	id.b[1] = (uint8_t)number;
	memcpy(id.b + 4, &n, sizeof(n));
	return id;
}

bool world_session_of(const struct uuid *id, uint32_t *number, uint32_t *n)
{
	*number = id->b[1];
	memcpy(n, id->b + 4, sizeof(*n));
	return id->b[0] == 0x5e && *number < CLIENTS;
}

static const struct entry *entry_at(uint32_t at)
{
	return at == 0 ? NULL : &world.entries[at - 1];
}

const struct entry *world_entry(const struct uuid *message)
{
	uint32_t sender, number;

	return world_message_of(message, &sender, &number)
	               ? entry_at(world.message_at[sender][number])
	               : NULL;
}

const struct entry *world_receipt(const struct uuid *message)
{
	uint32_t sender, number;

	return world_message_of(message, &sender, &number)
	               ? entry_at(world.receipt_at[sender][number])
	               : NULL;
}

bool world_wants(uint32_t number, uint32_t device)
{
	const uint32_t count = world.users[number].device_count;

	return device < (world.is_faulty || count < CONNECTIONS_MAX ? count : CONNECTIONS_MAX);
}

struct device *world_device_of(struct cx_ref connection)
{
	for (uint32_t u = 0; u < CLIENTS; u++)
		for (uint32_t d = 0; d < DEVICES; d++)
			if (cx_ref_is(world.users[u].devices[d].connection, connection))
				return &world.users[u].devices[d];
	return NULL;
}
