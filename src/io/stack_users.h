/* SPDX-License-Identifier: MIT */
/* What a worker remembers of the users to whom it appended lately: a bounded map that forgets who was
 * not asked for longest.  All of it may be forgotten at any time.  No actor, one owner. */
#ifndef IO_STACK_USERS_H
#define IO_STACK_USERS_H

#include "wire/uuid_map.h"

struct stack_user {
	struct stack_user *newer, *older;
	struct uuid user;
	uint32_t epoch;        /* of the partition when last_id was appended */
	uint64_t last_id;      /* 0: not known */
	uint64_t appended_ms;  /* when */
	uint64_t ttl_until_ms; /* until then the inbox's TTL need not be renewed; 0: now */
	uint64_t batch;        /* the last batch that asked for his route */
	uint32_t lookup;       /* his number in it */
	uint32_t until_check;  /* entries of receipts, then his bound is looked at */
};

struct stack_users {
	struct uuid_map map;
	struct stack_user *newest, *oldest;
	uint32_t cap, count;
};

void stack_users_init(struct stack_users *s, uint32_t cap);
/* Zeroed but for his id when he was not there; valid until the next call. */
struct stack_user *stack_users_get(struct stack_users *s, const struct uuid *user);
/* NULL: he is not there. */
struct stack_user *stack_users_find(const struct stack_users *s, const struct uuid *user);
void stack_users_clear(struct stack_users *s);

#endif
