/* SPDX-License-Identifier: MIT */
/* Lanes of the client: the calls of one affinity.
 *
 * 1. A lane's calls in flight are on one connection; with none in flight the next one chooses anew:
 *    first the address, by rendezvous hashing (Thaler, Ravishankar, "Using name-based mappings to
 *    increase hit rates") over those that are up, which is the same in every process; then one of the
 *    connections to it.  When all of those are full the call waits.
 * 2. A call's body leaves when the bodies of all earlier calls of its lane on this connection have left:
 *    HTTP/2 would mix them, and the server takes a call up when its body is whole.
 * 3. A broken lane sends nothing until it is mended: a call behind one whose outcome is not known must
 *    not pass it, wherever it is on its way from the caller.
 *    On a stream of many calls bodies leave in the order of the calls anyway.
 * 4. A lane is kept while it has calls or is broken. */
#include <stdlib.h>
#include <string.h>

#include "io/grpc_client_internal.h"

#define FORGOTTEN_MS 60000 /* a caller that never mends has gone */

static struct uuid key_of(uint64_t affinity)
{
	struct uuid key = { { 0 } };

	memcpy(key.b, &affinity, sizeof(affinity));
	return key;
}

struct grpc_lane *grpc_lane_of(struct grpc_client *g, uint64_t affinity)
{
	const struct uuid key = key_of(affinity);
	struct grpc_lane *lane = affinity == 0 ? NULL : uuid_map_get(&g->lanes, &key);

	if (affinity == 0 || lane != NULL)
		return lane;
	lane = g->free_lanes;
	if (lane == NULL) {
		lane = malloc(sizeof(*lane));
		cx_assert(lane != NULL);
	} else {
		g->free_lanes = lane->next;
	}
	*lane = (struct grpc_lane){ .affinity = affinity };
	uuid_map_put(&g->lanes, &key, lane);
	return lane;
}

void grpc_lane_look(struct grpc_client *g, struct grpc_lane *lane)
{
	const struct uuid key = key_of(lane->affinity);

	if (lane->calls > 0 || lane->is_broken)
		return;
	uuid_map_take(&g->lanes, &key);
	lane->next = g->free_lanes;
	g->free_lanes = lane;
}

void grpc_lane_break(struct grpc_client *g, struct grpc_lane *lane)
{
	if (lane == NULL || lane->is_broken)
		return;
	lane->is_broken = g->has_newly_broken = true;
	lane->broken_ms = cx_now_ms(g->ctx);
	lane->next = NULL;
	lane->prev = g->broken_tail;
	if (lane->prev != NULL)
		lane->prev->next = lane;
	else
		g->broken_head = lane;
	g->broken_tail = lane;
}

static void mend(struct grpc_client *g, struct grpc_lane *lane)
{
	if (lane->prev != NULL)
		lane->prev->next = lane->next;
	else
		g->broken_head = lane->next;
	if (lane->next != NULL)
		lane->next->prev = lane->prev;
	else
		g->broken_tail = lane->prev;
	lane->is_broken = false;
	grpc_lane_look(g, lane);
}

void grpc_lane_mend(struct grpc_client *g, uint64_t affinity)
{
	const struct uuid key = key_of(affinity);
	struct grpc_lane *lane = uuid_map_get(&g->lanes, &key);

	if (lane != NULL && lane->is_broken)
		mend(g, lane);
}

void grpc_lanes_tick(struct grpc_client *g)
{
	while (g->broken_head != NULL &&
	       cx_now_ms(g->ctx) - g->broken_head->broken_ms >= FORGOTTEN_MS)
		mend(g, g->broken_head);
}

void grpc_lanes_free(struct grpc_client *g)
{
	struct grpc_lane *lane;
	uint32_t at = 0;

	while ((lane = uuid_map_next(&g->lanes, &at)) != NULL)
		free(lane);
	uuid_map_free(&g->lanes);
	while ((lane = g->free_lanes) != NULL) {
		g->free_lanes = lane->next;
		free(lane);
	}
}

void grpc_lane_join(struct grpc_client_conn *c, struct grpc_out_call *call)
{
	struct grpc_lane *lane = call->lane;

	if (lane == NULL)
		return;
	cx_assert(lane->flying == 0 || lane->conn == c); /* inv. 1 */
	lane->conn = c;
	lane->flying++;
	if (grpc_call_is_many(c, call))
		return; /* rule 2 */
	call->is_unsent = true;
	call->lane_next = NULL;
	call->lane_prev = lane->unsent_tail;
	if (lane->unsent_tail != NULL)
		lane->unsent_tail->lane_next = call;
	else
		lane->unsent_head = call;
	lane->unsent_tail = call;
}

bool grpc_lane_may_send(struct grpc_out_call *call)
{
	call->is_deferred = call->lane != NULL && call->lane->unsent_head != call;
	return !call->is_deferred;
}

void grpc_lane_sent(struct grpc_client_conn *c, struct grpc_out_call *call)
{
	struct grpc_lane *lane = call->lane;
	struct grpc_out_call *next;

	if (lane == NULL || !call->is_unsent)
		return;
	call->is_unsent = false;
	if (call->lane_prev != NULL)
		call->lane_prev->lane_next = call->lane_next;
	else
		lane->unsent_head = call->lane_next;
	if (call->lane_next != NULL)
		call->lane_next->lane_prev = call->lane_prev;
	else
		lane->unsent_tail = call->lane_prev;
	next = lane->unsent_head;
	if (next == NULL || !next->is_deferred || c->t.session == NULL)
		return;
	next->is_deferred = false;
	if (nghttp2_session_resume_data(c->t.session, next->stream_id) != 0)
		c->is_failing = true;
	c->is_dirty = true;
}

void grpc_lane_leave(struct grpc_client_conn *c, struct grpc_out_call *call)
{
	if (call->lane == NULL)
		return;
	grpc_lane_sent(c, call);
	call->lane->flying--;
}

/* splitmix64's finalizer: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" */
static uint64_t weight_of(uint64_t affinity, uint64_t place)
{
	uint64_t x = affinity + (place + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The address, of those that are up, to which all clients send this affinity. */
static bool home_of(const struct grpc_client *g, uint64_t affinity, uint64_t *home)
{
	uint64_t best = 0;
	bool is_any = false;

	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++) {
		const uint64_t weight = weight_of(affinity, g->slots[i].place);

		if (!grpc_conn_is_up(&g->slots[i]) || (is_any && weight <= best))
			continue;
		best = weight;
		*home = g->slots[i].place;
		is_any = true;
	}
	return is_any;
}

struct grpc_client_conn *grpc_lane_pick(struct grpc_client *g, const struct grpc_lane *lane)
{
	struct grpc_client_conn *best = NULL;
	uint64_t best_weight = 0, home;

	if (lane->flying > 0) /* inv. 1 */
		return grpc_conn_has_room(lane->conn) ? lane->conn : NULL;
	if (!home_of(g, lane->affinity, &home))
		return NULL;
	for (size_t i = 0; i < GRPC_SLOTS_MAX; i++) {
		const uint64_t weight = weight_of(lane->affinity, i);

		if (g->slots[i].place != home || !grpc_conn_has_room(&g->slots[i]) ||
		    (best != NULL && weight <= best_weight))
			continue;
		best = &g->slots[i];
		best_weight = weight;
	}
	return best;
}
