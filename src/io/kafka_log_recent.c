/* SPDX-License-Identifier: MIT */
#include "io/kafka_log_recent.h"

#include <stdlib.h>

void recent_add(struct recent *r, const struct stack_seen *seen, uint64_t now_ms)
{
	const struct uuid key = recent_key(seen);
	struct recent_entry *e = uuid_map_get(&r->map, &key);

	if (e != NULL) {
		e->until_ms = now_ms + RECENT_MS;
		return;
	}
	if (r->ring == NULL) {
		r->ring = calloc(RECENT_MAX, sizeof(*r->ring));
		if (r->ring == NULL)
			abort();
	}
	e = &r->ring[r->next];
	r->next = (r->next + 1) % RECENT_MAX;
	if (e->until_ms != 0)
		uuid_map_take(&r->map, &e->seen);
	*e = (struct recent_entry){ key, now_ms + RECENT_MS };
	uuid_map_put(&r->map, &key, e);
}

bool recent_has(const struct recent *r, const struct stack_seen *seen, uint64_t now_ms)
{
	const struct uuid key = recent_key(seen);
	const struct recent_entry *const e = uuid_map_get(&r->map, &key);

	return e != NULL && e->until_ms > now_ms;
}

void recent_free(struct recent *r)
{
	free(r->ring);
	uuid_map_free(&r->map);
	*r = (struct recent){ 0 };
}
