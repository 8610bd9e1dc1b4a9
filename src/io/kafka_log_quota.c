/* SPDX-License-Identifier: MIT */
#include "io/kafka_log_quota.h"

#include <stdlib.h>

#define FREE_MAX 1024
#define PLACES_FIRST 8
/* Counting a large inbox exactly costs Redis time, so "full" is believed the longer the more there
 * was to count: a small one is always looked at again. */
#define FULL_COUNT_A_MS 50
#define FULL_BYTES_A_MS 131072
#define WAIT_MS 50

/* ---- the table ---- */

static void unlink_idle(struct quota_table *t, struct quota *q)
{
	*(q->prev != NULL ? &q->prev->next : &t->idle_first) = q->next;
	*(q->next != NULL ? &q->next->prev : &t->idle_last) = q->prev;
	q->next = q->prev = NULL;
}

static void link_idle(struct quota_table *t, struct quota *q)
{
	q->prev = t->idle_last;
	q->next = NULL;
	*(q->prev != NULL ? &q->prev->next : &t->idle_first) = q;
	t->idle_last = q;
}

static void forget(struct quota_table *t, struct quota *q)
{
	unlink_idle(t, q);
	uuid_map_take(&t->owners, &q->owner);
	free(q->places);
	if (t->free_count >= FREE_MAX) {
		free(q);
		return;
	}
	q->next = t->free;
	t->free = q;
	t->free_count++;
}

static struct quota *make(struct quota_table *t)
{
	struct quota *q = t->free;

	if (q != NULL) {
		t->free = q->next;
		t->free_count--;
	} else {
		q = malloc(sizeof(*q));
		if (q == NULL)
			abort();
	}
	*q = (struct quota){ 0 };
	return q;
}

struct quota *quota_take(struct quota_table *t, const struct uuid *owner)
{
	struct quota *q = uuid_map_get(&t->owners, owner);

	if (q == NULL) {
		if (t->owners.count >= QUOTA_OWNERS_MAX && t->idle_first != NULL)
			forget(t, t->idle_first);
		q = make(t);
		q->owner = *owner;
		uuid_map_put(&t->owners, owner, q);
	} else if (q->users == 0) {
		unlink_idle(t, q);
	}
	q->users++;
	return q;
}

void quota_drop(struct quota_table *t, struct quota *q)
{
	if (--q->users > 0)
		return;
	link_idle(t, q);
	if (t->owners.count > QUOTA_OWNERS_MAX)
		forget(t, t->idle_first);
}

void quota_table_free(struct quota_table *t)
{
	struct quota *q;
	uint32_t at = 0;

	while ((q = uuid_map_next(&t->owners, &at)) != NULL) {
		free(q->places);
		free(q);
	}
	while ((q = t->free) != NULL) {
		t->free = q->next;
		free(q);
	}
	uuid_map_free(&t->owners);
	*t = (struct quota_table){ 0 };
}

/* ---- judging ---- */

static bool is_believed(const struct quota *q, uint64_t now_ms)
{
	return q->is_known && now_ms - q->looked_ms < QUOTA_BELIEF_MS;
}

/* What it costs to count it once more. */
static uint64_t count_ms(const struct quota *q)
{
	return q->known_count / FULL_COUNT_A_MS + q->known_bytes / FULL_BYTES_A_MS;
}

/* Of one that is full. */
static bool is_full_believed(const struct quota *q, uint64_t now_ms)
{
	return now_ms - q->looked_ms < count_ms(q);
}

/* inv. 4 */
bool quota_is_near(const struct quota_table *t, const struct quota *q)
{
	const uint64_t n = q->known_count + q->placed_count + q->flight_count + q->held_count;
	const uint64_t sum = q->known_bytes + q->placed_bytes + q->flight_bytes + q->held_bytes;

	return t->max_count < QUOTA_SMALL ||
	       t->max_bytes < (uint64_t)QUOTA_SMALL * QUOTA_FRAME_MAX ||
	       n >= t->max_count / 2 || (q->is_measured && sum >= t->max_bytes / 2);
}

bool quota_is_due(const struct quota_table *t, const struct quota *q, uint64_t now_ms)
{
	const bool is_spent = q->passes == 0 && !q->is_gone && !q->is_blind;

	return !q->is_looking && !quota_is_near(t, q) && (is_spent || !is_believed(q, now_ms));
}

bool quota_wants_look(const struct quota *q, uint64_t now_ms)
{
	return q->is_known && !q->is_looking && q->others.count > 0 &&
	       now_ms - q->looked_ms >= WAIT_MS + count_ms(q);
}

enum quota_verdict quota_judge(const struct quota_table *t, const struct quota *q,
                               uint64_t bytes, uint64_t number, uint64_t now_ms)
{
	const struct quota_others *const o = &q->others;
	const uint64_t n = q->known_count + q->placed_count + o->old_count;
	const uint64_t sum = q->known_bytes + q->placed_bytes + o->old_bytes + bytes;
	const uint64_t way = q->flight_count + q->held_count + o->count - o->old_count;
	const uint64_t way_bytes = q->flight_bytes + q->held_bytes + o->bytes - o->old_bytes;

	if (!is_believed(q, now_ms))
		return QUOTA_LOOK;
	if (q->is_gone)
		return QUOTA_GONE;
	if (q->is_blind)
		return QUOTA_PASS;
	if (n + way < t->max_count && sum + way_bytes <= t->max_bytes)
		return q->passes > 0 && !quota_is_near(t, q) ? QUOTA_PASS : QUOTA_LOOK;
	if (!q->is_exact)
		return QUOTA_LOOK;
	if (n < t->max_count && sum <= t->max_bytes)
		return quota_wants_look(q, now_ms) ? QUOTA_LOOK : QUOTA_WAIT;
	return number <= q->covers || is_full_believed(q, now_ms) ? QUOTA_FULL : QUOTA_LOOK;
}

/* ---- looks ---- */

/* What lies at or before last_id has been counted; of a joined place that it cuts, nothing is taken
 * off. */
static void trim(struct quota *q, uint64_t last_id)
{
	uint32_t gone = 0;

	while (gone < q->place_count && q->places[gone].id <= last_id) {
		q->placed_count -= q->places[gone].count;
		q->placed_bytes -= q->places[gone].bytes;
		gone++;
	}
	if (gone == 0)
		return;
	q->place_count -= gone;
	memmove(q->places, q->places + gone, q->place_count * sizeof(*q->places));
}

static uint64_t quarter(uint64_t max, uint64_t used)
{
	return used < max ? (max - used) / 4 : 0;
}

static void set_passes(const struct quota_table *t, struct quota *q)
{
	const uint64_t by_count =
		quarter(t->max_count / 2, q->known_count + q->placed_count + q->flight_count);
	const uint64_t by_bytes =
		quarter(t->max_bytes, q->known_bytes + q->placed_bytes + q->flight_bytes) /
		QUOTA_FRAME_MAX;
	const uint64_t passes = by_count < by_bytes ? by_count : by_bytes;

	q->passes = passes < 1 ? 1 : passes > UINT32_MAX ? UINT32_MAX : (uint32_t)passes;
}

void quota_looked(const struct quota_table *t, struct quota *q, enum quota_look what,
                  uint64_t count, uint64_t bytes, uint64_t last_id,
                  const struct quota_others *others, uint64_t now_ms)
{
	const bool is_stale = q->is_doubted;

	q->is_looking = q->is_doubted = false;
	if (is_stale && what != QUOTA_LOOK_GONE)
		return;
	q->is_known = true;
	q->is_blind = false;
	q->is_gone = what == QUOTA_LOOK_GONE;
	q->is_exact = what == QUOTA_LOOK_EXACT;
	q->looked_ms = now_ms;
	q->covers = q->asked_number;
	if (q->is_gone)
		return;
	q->is_measured = what != QUOTA_LOOK_LENGTH;
	q->others = others != NULL ? *others : (struct quota_others){ 0 };
	q->known_count = count;
	q->known_bytes = what == QUOTA_LOOK_LENGTH ? count * QUOTA_FRAME_MAX : bytes;
	if (what != QUOTA_LOOK_LENGTH) {
		q->last_id = last_id;
		trim(q, last_id);
	}
	set_passes(t, q);
}

void quota_look_begins(struct quota *q, uint64_t number)
{
	q->is_looking = true;
	q->asked_number = number;
}

void quota_look_failed(struct quota *q, uint64_t now_ms)
{
	q->is_looking = q->is_doubted = false;
	q->is_known = q->is_blind = true;
	q->looked_ms = now_ms;
}

static void doubt(struct quota *q)
{
	q->is_known = false;
	q->is_doubted = q->is_looking;
}

void quota_doubt(struct quota_table *t, const struct uuid *owner)
{
	struct quota *const q = uuid_map_get(&t->owners, owner);

	if (q != NULL)
		doubt(q);
}

void quota_doubt_all(struct quota_table *t)
{
	uint32_t at = 0;
	struct quota *q;

	while ((q = uuid_map_next(&t->owners, &at)) != NULL)
		doubt(q);
}

/* ---- what is on the way ---- */

/* The two neighbours with the fewest messages become one, so all stay about equally fine. */
static void join_places(struct quota *q)
{
	uint32_t least = 0;

	for (uint32_t i = 1; i + 1 < q->place_count; i++)
		if (q->places[i].count + q->places[i + 1].count <
		    q->places[least].count + q->places[least + 1].count)
			least = i;
	q->places[least].count += q->places[least + 1].count;
	q->places[least].bytes += q->places[least + 1].bytes;
	q->places[least].id = q->places[least + 1].id;
	q->place_count--;
	memmove(q->places + least + 1, q->places + least + 2,
	        (q->place_count - least - 1) * sizeof(*q->places));
}

static void grow_places(struct quota *q)
{
	q->place_cap = q->place_cap == 0 ? PLACES_FIRST : q->place_cap * 2;
	q->places = realloc(q->places, q->place_cap * sizeof(*q->places));
	if (q->places == NULL)
		abort();
}

/* Answers of one partition come in order, so the list stays sorted; one that is late joins the last. */
static void place(struct quota *q, uint64_t bytes, uint64_t id)
{
	struct quota_place *last;

	q->placed_count++;
	q->placed_bytes += bytes;
	last = q->place_count > 0 ? &q->places[q->place_count - 1] : NULL;
	if (last != NULL && id <= last->id) {
		last->count++;
		last->bytes += bytes;
		return;
	}
	if (q->place_count == QUOTA_PLACES_MAX)
		join_places(q);
	if (q->place_count == q->place_cap)
		grow_places(q);
	q->places[q->place_count++] = (struct quota_place){ id, bytes, 1 };
}

void quota_hold(struct quota *q, uint64_t bytes)
{
	q->held_count++;
	q->held_bytes += bytes;
}

void quota_unhold(struct quota *q, uint64_t bytes)
{
	q->held_count--;
	q->held_bytes -= bytes;
}

void quota_begin(struct quota *q, uint64_t bytes)
{
	q->flight_count++;
	q->flight_bytes += bytes;
	if (q->passes > 0)
		q->passes--;
}

void quota_end(struct quota *q, uint64_t bytes, uint64_t id)
{
	q->flight_count--;
	q->flight_bytes -= bytes;
	if (id > q->last_id)
		place(q, bytes, id);
}
