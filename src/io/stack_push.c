/* SPDX-License-Identifier: MIT */
#include "io/stack_push.h"

#include <stdlib.h>

#include "wire/push.h"

#define PAYLOAD_MAX (1024u * 1024u) /* then another one; an entry alone may be longer */
#define PAYLOAD_FIRST 4096u
#define KEPT_MAX 64 /* payload buffers that are kept for the next time */

struct stack_push_target {
	uint64_t instance;
	uint8_t *at;
	size_t len, cap;
};

static struct stack_push_target *target_new(struct stack_push *push, uint64_t instance)
{
	struct stack_push_target *t;

	if (push->count == push->cap) {
		const uint32_t cap = push->cap == 0 ? 16 : push->cap * 2;

		t = realloc(push->targets, cap * sizeof(*t));
		cx_assert(t != NULL);
		memset(t + push->cap, 0, (cap - push->cap) * sizeof(*t));
		push->targets = t;
		push->cap = cap;
	}
	t = &push->targets[push->count++];
	t->instance = instance;
	t->len = 0;
	return t;
}

/* Where `more` bytes for that instance go. */
static uint8_t *room(struct stack_push *push, uint64_t instance, size_t more)
{
	struct stack_push_target *t = NULL;
	size_t cap;

	for (uint32_t i = push->count; i-- > 0 && t == NULL;) /* its newest payload */
		if (push->targets[i].instance == instance)
			t = &push->targets[i];
	if (t == NULL || t->len + more > PAYLOAD_MAX)
		t = target_new(push, instance);
	for (cap = t->cap > 0 ? t->cap : PAYLOAD_FIRST; cap < t->len + PUSH_HEAD_LEN + more;)
		cap *= 2;
	if (cap > t->cap) {
		t->at = realloc(t->at, cap);
		cx_assert(t->at != NULL);
		t->cap = cap;
	}
	if (t->len == 0)
		t->len = push_entries_begin(t->at);
	t->len += more;
	return t->at + t->len - more;
}

void stack_push_add(struct stack_push *push, const struct stack_routes *routes,
                    const struct record *head, struct wire_slice frame)
{
	const size_t size = record_size(frame.len);

	for (uint32_t i = 0; i < routes->count; i++)
		record_write(room(push, routes->instances[i], size), head, frame.at, frame.len);
}

static void publish(const char *channel_prefix, uint64_t instance, const uint8_t *payload,
                    size_t len, struct redis_batch *batch)
{
	char channel[PUSH_CHANNEL_MAX];
	const size_t n =
		push_channel_instance(channel, sizeof(channel), channel_prefix, instance);
	const struct redis_arg argv[] = { REDIS_TEXT("PUBLISH"),
		                          { channel, n },
		                          { payload, len } };

	cx_assert(n < sizeof(channel));
	redis_batch_add(batch, argv, CX_COUNTOF(argv));
}

uint32_t stack_push_flush(struct stack_push *push, const char *channel_prefix,
                          struct redis_batch *batch)
{
	const uint32_t count = push->count;

	for (uint32_t i = 0; i < count; i++) {
		struct stack_push_target *const t = &push->targets[i];

		publish(channel_prefix, t->instance, t->at, t->len, batch);
		if (i >= KEPT_MAX) {
			free(t->at);
			*t = (struct stack_push_target){ 0 };
		}
	}
	push->count = 0;
	return count;
}

void stack_push_look(const char *channel_prefix, uint64_t instance, const struct uuid *user,
                     struct redis_batch *batch)
{
	const struct push_look look = { *user };
	_Alignas(8) uint8_t payload[PUSH_LOOK_LEN(1)];

	publish(channel_prefix, instance, payload, push_write_look(payload, &look, 1), batch);
}

void stack_push_free(struct stack_push *push)
{
	for (uint32_t i = 0; i < push->cap; i++)
		free(push->targets[i].at);
	free(push->targets);
	*push = (struct stack_push){ 0 };
}
