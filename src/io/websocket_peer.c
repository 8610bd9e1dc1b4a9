/* SPDX-License-Identifier: MIT */
/* Who is at the other end: half-open handshakes by address, so that a flood from one address is paid
 * for by that address.
 *
 * Each worker has a table of lists, picked by a salted hash of the address; two addresses that meet in one
 * list are told apart by the whole hash. */
#include <string.h>

#include "io/websocket_internal.h"

/* The finalizer of MurmurHash3. */
static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

void ws_peer_enter(struct ws_conn *c, const struct ws_origin *origin)
{
	struct ws_adapter *a = c->adapter;
	struct ws_peer_list *list;
	uint64_t halves[2];

	memcpy(halves, origin->net.b, sizeof(halves));
	c->peer = (uint32_t)mix(mix(mix(halves[0]) ^ halves[1]) ^ a->peer_salt);
	c->has_peer = true;
	list = &a->peers[c->peer % WS_PEERS];
	c->peer_next = NULL;
	c->peer_prev = list->last;
	if (list->last == NULL)
		list->first = c;
	else
		list->last->peer_next = c;
	list->last = c;
	list->count++;
}

void ws_peer_leave(struct ws_conn *c)
{
	struct ws_peer_list *list = &c->adapter->peers[c->peer % WS_PEERS];

	if (!c->has_peer)
		return;
	c->has_peer = false;
	if (c->peer_prev == NULL)
		list->first = c->peer_next;
	else
		c->peer_prev->peer_next = c->peer_next;
	if (c->peer_next == NULL)
		list->last = c->peer_prev;
	else
		c->peer_next->peer_prev = c->peer_prev;
	list->count--;
}

struct ws_conn *ws_peer_oldest_over_share(const struct ws_conn *c)
{
	const struct websocket_settings *s = c->adapter->settings;
	const struct ws_peer_list *list = &c->adapter->peers[c->peer % WS_PEERS];
	/* the kernel spreads an address over the workers */
	const uint32_t part = s->max_handshakes / WS_SHARES / s->workers;
	const uint32_t share = part > 0 ? part : 1;
	struct ws_conn *oldest = NULL;
	uint32_t count = 0;

	if (list->count <= share)
		return NULL;
	for (struct ws_conn *of = list->first; of != NULL; of = of->peer_next) {
		if (of->peer != c->peer)
			continue;
		oldest = oldest != NULL ? oldest : of;
		count++;
	}
	return count > share ? oldest : NULL;
}
