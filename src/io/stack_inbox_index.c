/* SPDX-License-Identifier: MIT */
#include "io/stack_inbox_index.h"

#include <stdlib.h>
#include <string.h>

/* ---- users, by use ---- */

static void unlink_user(struct inbox_index *index, struct inbox_user *user)
{
	*(user->older != NULL ? &user->older->younger : &index->oldest) = user->younger;
	*(user->younger != NULL ? &user->younger->older : &index->youngest) = user->older;
}

static void link_youngest(struct inbox_index *index, struct inbox_user *user)
{
	user->older = index->youngest;
	user->younger = NULL;
	*(user->older != NULL ? &user->older->younger : &index->oldest) = user;
	index->youngest = user;
}

struct inbox_user *inbox_index_find(const struct inbox_index *index, const struct uuid *owner)
{
	return uuid_map_get(&index->users, owner);
}

struct inbox_user *inbox_index_use(struct inbox_index *index, const struct uuid *owner,
                                   uint32_t mean_bytes)
{
	struct inbox_user *user = inbox_index_find(index, owner);

	if (user != NULL) {
		unlink_user(index, user);
		link_youngest(index, user);
		return user;
	}
	user = calloc(1, sizeof(*user));
	cx_assert(user != NULL);
	user->owner = *owner;
	user->mean_bytes = mean_bytes;
	user->ops_end = &user->ops;
	user->box = box_new(owner, index->seed);
	uuid_map_put(&index->users, owner, user);
	link_youngest(index, user);
	return user;
}

static void forget(struct inbox_index *index, struct inbox_user *user)
{
	const struct uuid owner = user->owner;

	box_free(user->box);
	user->box = box_new(&owner, index->seed);
	index->count -= user->count;
	user->count = 0;
	user->covered = 0;
	user->is_stale = false;
}

static void free_user(struct inbox_user *user)
{
	box_free(user->box);
	free(user->settled);
	free(user);
}

void inbox_index_release(struct inbox_index *index, struct inbox_user *user)
{
	if (user->busy > 0)
		return;
	if (!user->is_present) {
		index->count -= user->count;
		unlink_user(index, user);
		uuid_map_take(&index->users, &user->owner);
		free_user(user);
	} else if (user->is_stale) {
		forget(index, user);
	}
}

void inbox_index_doubt(struct inbox_index *index)
{
	struct inbox_user *user = index->oldest, *younger;

	for (; user != NULL; user = younger) {
		younger = user->younger;
		user->tail = 0;
		user->is_stale = true;
		inbox_index_release(index, user);
	}
}

void inbox_index_free(struct inbox_index *index)
{
	struct inbox_user *user = index->oldest;

	while (user != NULL) {
		struct inbox_user *younger = user->younger;

		free_user(user);
		user = younger;
	}
	uuid_map_free(&index->users);
	index->oldest = index->youngest = NULL;
}

/* ---- entries ---- */

/* Those that are busy are passed over: what is under way relies on them.  More than one place, so that
 * the walk is rare. */
static void make_room(struct inbox_index *index, const struct inbox_user *except)
{
	const uint32_t enough = index->total_max - index->total_max / 16;
	struct inbox_user *user = index->oldest;

	for (; user != NULL && index->count >= enough; user = user->younger)
		if (user != except && user->busy == 0 && user->count > 0)
			forget(index, user);
}

void inbox_index_extend(struct inbox_index *index, struct inbox_user *user, uint64_t from,
                        const struct box_entry *entry)
{
	if (entry->id > user->tail)
		user->tail = entry->id;
	if (from > user->covered || entry->id <= user->covered)
		return;
	if (index->count >= index->total_max)
		make_room(index, user);
	if (user->count >= index->user_max || index->count >= index->total_max) {
		user->is_stale = true; /* others settled much of it, or it is too much */
		return;
	}
	box_append(user->box, entry);
	user->covered = entry->id;
	user->count++;
	index->count++;
}

void inbox_index_cover(struct inbox_user *user, uint64_t from, uint64_t upto)
{
	if (upto > user->tail)
		user->tail = upto;
	if (from <= user->covered && upto > user->covered)
		user->covered = upto;
}

void inbox_index_remove(struct inbox_index *index, struct inbox_user *user,
                        struct box_entry *entry)
{
	box_remove(user->box, entry);
	user->count--;
	index->count--;
}

/* ---- reads that were under way ---- */

void inbox_index_settled(struct inbox_user *user, uint64_t id)
{
	if (user->reads == 0)
		return;
	if (user->settled_count == user->settled_cap) {
		user->settled_cap = user->settled_cap == 0 ? 8 : user->settled_cap * 2;
		user->settled =
			realloc(user->settled, user->settled_cap * sizeof(*user->settled));
		cx_assert(user->settled != NULL);
	}
	user->settled[user->settled_count++] = id;
}

static bool is_settled(const struct inbox_user *user, uint64_t id)
{
	for (uint32_t i = 0; i < user->settled_count; i++)
		if (user->settled[i] == id)
			return true;
	return false;
}

bool inbox_index_may_hand_out(struct inbox_user *user, uint64_t id, uint8_t kind)
{
	const struct box_entry *e;

	if (id > user->covered)
		return true; /* inv. 1: nothing there was settled here */
	e = box_find(user->box, id);
	if (e != NULL && e->state != BOX_GONE)
		return e->state == BOX_WAITING;
	if (is_settled(user, id))
		return false;
	if (kind == RECORD_MESSAGE)
		user->is_stale = true;
	return true;
}
