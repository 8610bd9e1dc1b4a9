/* SPDX-License-Identifier: MIT */
/* An acknowledgement of what the index does not know: the heads of the entries beyond what it covers are
 * fetched, a piece at a time, and become part of it, until the message is found or the stream ends. So
 * who acknowledges what is not there pays once for the length of his own inbox, and Redis never searches
 * more than a piece. */
#include <stdio.h>
#include <stdlib.h>

#include "io/stack_inbox_internal.h"

/* ARGV: first id, bytes of each head.  -> {is it the end, id, head, id, head, ...} */
const struct redis_script stack_inbox_scripts[STACK_INBOX_SCRIPT_COUNT] = {
	{ "inbox_heads", "local out, from, bytes = {0}, ARGV[1], 0\n"
	                 "for _ = 1, 8 do\n"
	                 "  local got = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 32)\n"
	                 "  for _, e in ipairs(got) do\n"
	                 "    local value = e[2][2]\n"
	                 "    bytes = bytes + #value\n"
	                 "    out[#out + 1] = e[1]\n"
	                 "    out[#out + 1] = string.sub(value, 1, ARGV[2])\n"
	                 "  end\n"
	                 "  if #got < 32 then out[1] = 1 break end\n"
	                 "  if bytes > 1000000 then break end\n"
	                 "  local ms, seq = string.match(got[32][1], '^(%d+)-(%d+)$')\n"
	                 "  from = ms .. '-' .. string.format('%.0f', seq + 1)\n"
	                 "end\n"
	                 "return out\n" },
};

struct settle_op {
	struct settle_op *next;
	struct cx_caller caller;
	uint64_t until_ms;
	struct uuid key, from;
	bool has_from;
	bool is_asked; /* the piece that is under way was asked for after it came */
};

struct find {
	struct question question;
	struct inbox_user *user;
	uint64_t from; /* heads after this id */
};

void find_end(struct cx_ctx *ctx, struct inbox_user *user, enum inbox_outcome outcome)
{
	while (user->ops != NULL) {
		struct settle_op *op = user->ops;

		user->ops = op->next;
		inbox_answer_settle(ctx, op->caller, outcome);
		free(op);
	}
	user->ops_end = &user->ops;
}

/* ---- the answer ---- */

/* False: it is not of that shape. */
static bool learn(struct stack_inbox *s, struct find *f, struct redis_walk *walk,
                  uint32_t pairs)
{
	for (uint32_t i = 0; i < pairs; i++) {
		struct redis_value id_text, head;
		struct inbox_entry e;
		uint64_t id;

		if (!redis_walk_next(walk, &id_text) || !redis_walk_next(walk, &head) ||
		    !inbox_id_parse(id_text.text, &id))
			return false;
		if (inbox_entry_read(head.text, &e))
			inbox_index_extend(&s->index, f->user, f->from,
			                   &(struct box_entry){ .id = id,
			                                        .peer = e.peer,
			                                        .key = e.key,
			                                        .key_case = e.key_case,
			                                        .kind = e.kind });
		else
			inbox_index_cover(f->user, f->from, id);
		f->from = id;
	}
	return true;
}

enum piece { PIECE_MORE, PIECE_LAST, PIECE_NO_INBOX, PIECE_FAILED };

static enum piece take_piece(struct stack_inbox *s, struct find *f, const struct answer *a)
{
	struct redis_value v, is_end;
	struct redis_walk walk;

	if (a->kind != ANSWER_IS)
		return PIECE_FAILED;
	walk = redis_walk_start(a->buf);
	if (!redis_walk_next(&walk, &v))
		return PIECE_FAILED;
	if (is_wrong_type(&v))
		return PIECE_NO_INBOX;
	if (v.kind != REDIS_ARRAY || v.count % 2 != 1 || !redis_walk_next(&walk, &is_end) ||
	    !learn(s, f, &walk, v.count / 2))
		return PIECE_FAILED;
	if (f->user->covered < f->from)
		return PIECE_FAILED; /* the index is full: what is not known may be there */
	return is_end.integer == 1 ? PIECE_LAST : PIECE_MORE;
}

/* Those that were found, or cannot be any more, are over; a late one would be deleted with nobody waiting
 * for it. */
static void try_again(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user,
                      bool is_last)
{
	struct settle_op **at = &user->ops;

	while (*at != NULL) {
		struct settle_op *op = *at;
		const bool is_late = cx_now_ms(ctx) >= op->until_ms;
		const bool is_found =
			!is_late && settle_try(ctx, s, user, &op->key,
		                               op->has_from ? &op->from : NULL, op->caller);

		if (!is_found && !is_late && !(is_last && op->is_asked)) {
			at = &op->next;
			continue;
		}
		if (!is_found)
			inbox_answer_settle(ctx, op->caller,
			                    is_late ? INBOX_FAILED : INBOX_UNKNOWN);
		*at = op->next;
		free(op);
	}
	user->ops_end = at;
}

static void on_heads(struct cx_ctx *ctx, struct stack_inbox *s, struct question *q,
                     const struct answer *a)
{
	struct find *f = (struct find *)(void *)q;
	struct inbox_user *user = f->user;
	const enum piece piece = take_piece(s, f, a);

	user->is_loading = false;
	switch (piece) {
	case PIECE_NO_INBOX:
		find_end(ctx, user, INBOX_UNKNOWN);
		break;
	case PIECE_FAILED:
		find_end(ctx, user, INBOX_FAILED);
		break;
	case PIECE_MORE:
	case PIECE_LAST:
		try_again(ctx, s, user, piece == PIECE_LAST);
		if (user->ops != NULL && !find_on(ctx, s, user))
			find_end(ctx, user, INBOX_FAILED);
		break;
	}
	free(f);
	user_unhold(s, user);
}

/* ---- asking ---- */

bool find_on(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user)
{
	char key[STACK_KEY_MAX], start[INBOX_ID_TEXT_MAX], len[8];
	const struct redis_arg argv[] = {
		{ key, stack_key_inbox(key, s->settings->prefix, &user->owner) },
		{ start, inbox_id_format(user->covered + 1, start) },
		/* a frame is not empty, so that of a head is not, either */
		{ len, (size_t)snprintf(len, sizeof(len), "%d", INBOX_ENTRY_HEAD_LEN + 1) },
	};
	struct find *f;
	uint64_t corr;

	if (s->is_stopping ||
	    redis_call_script(ctx, s->conf.redis, s->conf.script_base, 1, argv,
	                      CX_COUNTOF(argv), STACK_INBOX_ASK_MS, &corr) != CX_OK)
		return false;
	f = calloc(1, sizeof(*f));
	cx_assert(f != NULL);
	f->user = user;
	f->from = user->covered;
	user->is_loading = true;
	user->busy++;
	for (struct settle_op *op = user->ops; op != NULL; op = op->next)
		op->is_asked = true;
	question_wait(s, &f->question, corr, on_heads);
	return true;
}

void find_take(struct cx_ctx *ctx, struct stack_inbox *s, struct inbox_user *user,
               const struct inbox_settle_msg *m)
{
	struct settle_op *op = malloc(sizeof(*op));

	cx_assert(op != NULL);
	*op = (struct settle_op){
		.caller = cx_caller_of(&m->hdr),
		.until_ms = cx_now_ms(ctx) + STACK_INBOX_ASK_MS,
		.key = m->key,
		.from = m->from,
		.has_from = m->has_from != 0,
	};
	*user->ops_end = op;
	user->ops_end = &op->next;
	if (!user->is_loading && !find_on(ctx, s, user))
		find_end(ctx, user, INBOX_FAILED);
}
