/* SPDX-License-Identifier: MIT */
/* A program that ends while its actors run: their states are no leak, nor what only they know. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cx/actor.h>
#include <cx/runtime.h>

enum { ACTORS = 3 };

struct large { /* more than what states share a slab of */
	char *own;
	char bytes[8000];
};

static sem_t started;
static struct cx_runtime *rt;

static enum cx_err on_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct large *const s = state;

	(void)ctx;
	(void)conf;
	s->own = malloc(100);
	if (s->own == NULL)
		return CX_ENOMEM;
	memset(s->own, 1, 100);
	sem_post(&started);
	return CX_OK;
}

static const struct cx_actor_type large_type = {
	.name = "large",
	.state_size = sizeof(struct large),
	.mailbox_cap = 16,
	.start = on_start,
};

int main(void)
{
	const struct cx_runtime_conf conf = { .workers = 2 };
	struct cx_ref ref;

	sem_init(&started, 0, 0);
	if (cx_runtime_new(&conf, &rt) != CX_OK)
		return 2;
	for (uint64_t i = 0; i < ACTORS; i++)
		if (cx_runtime_spawn(rt, &large_type, NULL, i, &ref) != CX_OK)
			return 2;
	if (cx_runtime_start(rt) != CX_OK)
		return 2;
	for (int i = 0; i < ACTORS; i++)
		sem_wait(&started);
	puts("ends while they run");
	exit(0);
}
