/* SPDX-License-Identifier: MIT */
#include "io/redis_greeting.h"

#include <stdlib.h>

#include <cx/log.h>

#include "io/redis_request.h"

static void put(struct redis_greeting *g, struct redis_link *link, const char *first,
                const char *second, const char *third)
{
	const struct redis_arg argv[] = {
		{ first, strlen(first) },
		{ second, strlen(second) },
		{ third, third != NULL ? strlen(third) : 0 },
	};
	const unsigned n = third != NULL ? 3 : 2;
	const size_t size = redis_request_size(argv, n);
	uint8_t *bytes = malloc(size);

	cx_assert(bytes != NULL);
	redis_request_write(bytes, argv, n);
	redis_link_put(link, bytes, size);
	free(bytes);
	g->asked++;
}

void redis_greeting_put(struct cx_ctx *ctx, struct redis_greeting *greeting,
                        struct redis_link *link)
{
	greeting->asked = greeting->answered = 0;
	greeting->asked_ms = cx_now_ms(ctx);
	put(greeting, link, "INFO", "server", NULL);
	for (uint32_t i = 0; i < greeting->script_count; i++)
		put(greeting, link, "SCRIPT", "LOAD", greeting->scripts[i].body);
	if (!greeting->is_doctor || greeting->has_warned)
		return;
	put(greeting, link, "CONFIG", "GET", "appendonly");
	put(greeting, link, "CONFIG", "GET", "maxmemory-policy");
}

static void take_info(struct cx_ctx *ctx, struct redis_greeting *g, struct wire_slice text)
{
	static const char key[] = "run_id:";
	const uint8_t *at =
		text.len > 0 ? memmem(text.at, text.len, key, sizeof(key) - 1) : NULL;
	char run_id[REDIS_RUN_ID_LEN + 1] = "";
	struct redis_changed *m;
	size_t n = 0;

	if (at == NULL)
		return; /* hosted servers may hide it: then changes are not seen */
	at += sizeof(key) - 1;
	while (at < text.at + text.len && n<REDIS_RUN_ID_LEN && * at> ' ' && *at < 0x7f)
		run_id[n++] = (char)*at++;
	if (strcmp(run_id, g->run_id) == 0)
		return;
	if (g->owner_at != NULL) {
		g->owner = *g->owner_at;
		g->owner_at = NULL;
	}
	if (g->run_id[0] != '\0' && !cx_ref_none(g->owner)) {
		m = CX_MSG_NEW(ctx, REDIS_CHANGED, struct redis_changed);
		memcpy(m->run_id, run_id, sizeof(run_id));
		if (cx_send_reserved(ctx, g->owner, &m->hdr) != CX_OK)
			g->owner = CX_NOBODY; /* it ended */
	}
	memcpy(g->run_id, run_id, sizeof(run_id));
}

static void take_script(struct redis_greeting *g, uint32_t i, const struct redis_value *value)
{
	g->sha[i][0] = '\0';
	if (value->kind == REDIS_STRING && value->text.len == REDIS_SHA_LEN) {
		memcpy(g->sha[i], value->text.at, REDIS_SHA_LEN);
		g->sha[i][REDIS_SHA_LEN] = '\0';
	} else {
		cx_log(CX_WARN, "redis.script_refused", "script=%s", g->scripts[i].name);
	}
}

/* Redis holds undelivered messages: it must write them to disk and not evict them. */
static void take_setting(struct redis_greeting *g, const char *name, const char *wanted,
                         struct redis_walk walk)
{
	struct redis_value array, key, value;

	if (!redis_walk_next(&walk, &array) || array.kind != REDIS_ARRAY || array.count != 2 ||
	    !redis_walk_next(&walk, &key) || !redis_walk_next(&walk, &value) ||
	    value.kind != REDIS_STRING)
		return;
	if (wire_slice_is(value.text, wanted))
		return;
	g->has_warned = true;
	cx_log(CX_WARN, "redis.may_lose_messages", "setting=%s wanted=%s", name, wanted);
}

void redis_greeting_take(struct cx_ctx *ctx, struct redis_greeting *greeting,
                         struct redis_walk walk)
{
	const uint32_t i = greeting->answered++;
	struct redis_value value;
	struct redis_walk first = walk;

	if (!redis_walk_next(&first, &value))
		return;
	if (i == 0 && value.kind == REDIS_STRING)
		take_info(ctx, greeting, value.text);
	else if (i > 0 && i <= greeting->script_count)
		take_script(greeting, i - 1, &value);
	else if (i == greeting->script_count + 1)
		take_setting(greeting, "appendonly", "yes", walk);
	else if (i == greeting->script_count + 2)
		take_setting(greeting, "maxmemory-policy", "noeviction", walk);
}
