/* SPDX-License-Identifier: MIT */
#include "sim/forge.h"

#include "sim/world.h"
#include "wire/client_frame.h"

#define SOON 4 /* messages */

size_t forge_acknowledge(struct cx_ctx *ctx, uint32_t number, uint8_t *frame, size_t room)
{
	const uint64_t random = cx_random(ctx);
	const struct entry *e;
	struct client_acknowledge ack;

	if (world.entry_count == 0)
		return 0;
	e = &world.entries[random % world.entry_count];
	if (e->kind != RECORD_MESSAGE || uuid_equal(&e->owner, &world.users[number].id))
		return 0;
	ack = (struct client_acknowledge){ .id = e->about, .status = wire_text("delivered") };
	ack.has_from = random >> 32 & 1;
	ack.from.user = random >> 33 & 1 ? e->owner : e->peer;
	return client_frame_acknowledge(frame, room, &ack);
}

size_t forge_message(struct cx_ctx *ctx, uint32_t number, uint8_t *frame, size_t room)
{
	const uint64_t random = cx_random(ctx);
	const uint32_t victim = (number + 1 + (uint32_t)(random % (CLIENTS - 1))) % CLIENTS;
	const uint32_t n = world.users[victim].next + (uint32_t)(random >> 32) % SOON;
	struct chat_message m;

	if (n >= SENDS_MAX)
		return 0;
	m = (struct chat_message){
		.id = world_message_id(victim, n),
		.from = { .user = world.users[victim].id },
		.to = { .user = world.users[world_recipient(victim, n)].id },
		.content = wire_text("Zm9yZ2Vk"),
		.message_number = n,
		.timestamp = 1704067200,
	};
	return client_frame_send_message(frame, room, &m);
}
