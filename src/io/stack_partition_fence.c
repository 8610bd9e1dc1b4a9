/* SPDX-License-Identifier: MIT */
/* The fence is "<offset> <token> <since> <below>": this Redis has the partition up to offset; token names
 * the life that wrote it; of what lies beyond, nothing was acknowledged before `since` (Unix ms); and
 * while offset < below the partition is being read again: records below `below` may have been
 * acknowledged.
 *
 * 1. It is looked at before the first batch, after each failure, when Redis is another one, and now
 *    and then while no batch comes.  Less than what is done means that Redis lost something: the
 *    log is read again from there.
 * 2. Nothing below `below` is appended before all acknowledgements since `since` are known to this
 *    process, asked after the loss was seen (knows_acked).  The fence says so itself, so it holds for
 *    whoever gets the partition in the middle of it.
 * 3. The fence is only ever changed from what was seen, by the script of batches. */
#include "io/stack_partition_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <cx/log.h>

#include "io/kafka_consumer.h"
#include "io/stack_keys.h"
#include "io/stack_rebuild.h"
#include "wire/push.h"

#define CLOCKS_APART_MS (INT64_C(10) * 60 * 1000) /* of servers that wrote acknowledgements */

struct fence {
	int64_t offset, since_ms, below;
	bool is_there;
};

size_t stack_fence_key(char *out, const struct stack_partition *s, const struct stack_part *p)
{
	return (size_t)snprintf(out, STACK_KEY_MAX, "%sfence:%" PRId32, s->settings->prefix,
	                        p->number);
}

void stack_fence_text(char out[STACK_FENCE_MAX], const struct stack_partition *s,
                      const struct stack_part *p, int64_t next_offset, int64_t wall_ms)
{
	snprintf(out, STACK_FENCE_MAX, "%" PRId64 " %016" PRIx64 " %" PRId64 " %" PRId64,
	         next_offset, s->token, next_offset < p->acked_below ? p->since_ms : wall_ms,
	         p->acked_below);
}

/* From what was seen (p->fence) to offset.  Whether it was done, the next look tells. */
static void move_fence(struct cx_ctx *ctx, struct stack_partition *s,
                       const struct stack_part *p, int64_t offset)
{
	char key[STACK_KEY_MAX], left[STACK_FENCE_MAX], ttl[24];
	const size_t len = stack_fence_key(key, s, p);
	const struct redis_arg argv[1 + STACK_SCRIPT_FIXED] = {
		{ key, len },
		{ p->fence, strlen(p->fence) },
		{ left, 0 },
		REDIS_TEXT("0"),
		REDIS_TEXT("0"),
		REDIS_TEXT("0"),
		REDIS_TEXT("0"),
		REDIS_TEXT("0"),
		{ ttl, (size_t)snprintf(ttl, sizeof(ttl), "%d", STACK_FENCE_TTL_SECS) },
	};
	struct redis_arg args[1 + STACK_SCRIPT_FIXED];
	enum cx_err err;
	uint64_t corr;

	memcpy(args, argv, sizeof(args));
	stack_fence_text(left, s, p, offset, cx_wall_ms(ctx));
	args[2].len = strlen(left);
	err = redis_call_script(ctx, s->conf.redis, s->conf.script_base, 1, args,
	                        CX_COUNTOF(args), STACK_CALL_MS, &corr);
	(void)err;
}

/* Whoever sees first that Redis was emptied says so to servers and workers, once.  Nobody waits for it: who
 * does not hear it shows receipts later. */
static const char tell_life[] =
	"if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[5]) then\n"
	"  redis.call('PUBLISH', ARGV[2], ARGV[4]) redis.call('PUBLISH', ARGV[3], ARGV[4])\n"
	"end return 1";

static void begin_life(struct cx_ctx *ctx, struct stack_partition *s)
{
	char key[STACK_KEY_MAX], servers[PUSH_CHANNEL_MAX], workers[PUSH_CHANNEL_MAX], ttl[24];
	uint8_t payload[PUSH_LOST_LEN(1)];
	struct push_lost lost;
	struct redis_arg argv[] = {
		REDIS_TEXT("EVAL"),
		{ tell_life, sizeof(tell_life) - 1 },
		REDIS_TEXT("1"),
		{ key, stack_key_life(key, s->settings->prefix) },
		{ lost.life.b, sizeof(lost.life.b) },
		{ servers, 0 },
		{ workers, 0 },
		{ payload, sizeof(payload) },
		{ ttl, (size_t)snprintf(ttl, sizeof(ttl), "%d", STACK_FENCE_TTL_SECS) },
	};
	enum cx_err err;
	uint64_t corr;

	memcpy(lost.life.b, (uint64_t[]){ cx_random(ctx), cx_random(ctx) },
	       sizeof(lost.life.b));
	push_write_lost(payload, &lost, 1);
	argv[5].len =
		push_channel_servers(servers, sizeof(servers), s->settings->channel_prefix);
	argv[6].len =
		push_channel_workers(workers, sizeof(workers), s->settings->channel_prefix);
	err = redis_call(ctx, s->conf.redis, argv, CX_COUNTOF(argv), STACK_CALL_MS, &corr);
	(void)err;
}

/* ---- reading again ---- */

static void ask_acked(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p)
{
	const int64_t since_ms = p->since_ms - CLOCKS_APART_MS;

	stack_part_drop(ctx, s, p);
	p->state = STACK_PART_REBUILDING;
	if (s->settings->acked != NULL && !cx_ref_none(s->conf.rebuild) &&
	    stack_rebuild(ctx, s->conf.rebuild, since_ms > 0 ? since_ms : 0) == CX_OK)
		s->rebuilding++;
	else
		stack_part_rebuilt(ctx, s, p);
}

void stack_part_rebuilt(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p)
{
	if (p->state != STACK_PART_REBUILDING)
		return;
	p->knows_acked = true;
	p->state = STACK_PART_SEEKING;
	if (kafka_seek(ctx, s->conf.consumer, 0, p->number, p->epoch, p->rewind_to) != CX_OK)
		cx_log(CX_WARN, "stack.consumer_gone", "partition=%" PRId32, p->number);
}

static void rewind_lost(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                        const struct fence *f)
{
	const int64_t wall_ms = cx_wall_ms(ctx);

	cx_log(CX_WARN, "stack.rewound", "partition=%" PRId32 " from=%" PRId64 " to=%" PRId64,
	       p->number, p->done_to, f->offset);
	stack_batch_forget(s);
	stack_routes_cache_clear(&s->routes);
	stack_partition_count(&s->figures->rewinds, 1);
	stack_partition_count(&s->figures->rewound, (uint64_t)(p->done_to - f->offset));
	p->since_ms = f->is_there ? f->since_ms : wall_ms - s->settings->message_ttl_ms;
	if (p->acked_below < p->done_to)
		p->acked_below = p->done_to;
	p->rewind_to = f->offset;
	/* Before anything else, so that whoever gets the partition meanwhile knows (inv. 2). */
	move_fence(ctx, s, p, f->offset);
	ask_acked(ctx, s, p);
}

/* ---- looking ---- */

void stack_part_look(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p)
{
	char key[STACK_KEY_MAX], begin[STACK_KEY_MAX], life[STACK_KEY_MAX];
	const size_t len = stack_fence_key(key, s, p);
	const struct redis_arg argv[] = {
		REDIS_TEXT("MGET"),
		{ key, len },
		{ begin,
		  (size_t)snprintf(begin, sizeof(begin), "%sbegin", s->settings->prefix) },
		{ life, stack_key_life(life, s->settings->prefix) },
	};

	p->is_doubted = false;
	p->state = STACK_PART_LOOKING;
	if (redis_call(ctx, s->conf.redis, argv, CX_COUNTOF(argv), STACK_CALL_MS,
	               &p->look_corr) == CX_OK)
		return;
	p->look_corr = 0;
	stack_part_fall(ctx, s, p);
}

/* Returns false: an error, or nothing of ours. */
static bool read_answer(const struct cx_buf *values, struct stack_part *p, struct fence *f,
                        bool *begins_at_committed, bool *has_life)
{
	struct redis_walk walk = redis_walk_start(values);
	struct redis_value v;
	long long offset = 0, since_ms = 0, below = 0;

	if (!redis_walk_next(&walk, &v) || v.kind != REDIS_ARRAY || v.count != 3 ||
	    !redis_walk_next(&walk, &v))
		return false;
	f->is_there = v.kind == REDIS_STRING;
	if ((!f->is_there && v.kind != REDIS_NIL) || v.text.len >= sizeof(p->fence))
		return false;
	memcpy(p->fence, f->is_there ? (const char *)v.text.at : "",
	       f->is_there ? v.text.len : 0);
	p->fence[f->is_there ? v.text.len : 0] = '\0';
	/* The last two may be missing: then all acknowledgements are asked for. */
	if (f->is_there &&
	    sscanf(p->fence, "%lld %*s %lld %lld", &offset, &since_ms, &below) < 1)
		return false;
	f->offset = offset;
	f->since_ms = since_ms;
	f->below = below;
	*begins_at_committed = redis_walk_next(&walk, &v) && v.kind == REDIS_STRING &&
	                       wire_slice_is(v.text, "committed");
	*has_life = redis_walk_next(&walk, &v) && v.kind != REDIS_NIL;
	return true;
}

static void run(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                int64_t offset)
{
	if (offset > p->look_below)
		p->look_below = offset;
	/* Done, not yet told (a dead letter is on its way), and lost again. */
	for (struct stack_batch *b = p->first; b != NULL; b = b->next)
		if (b->state == STACK_BATCH_DONE && b->next_offset > offset)
			b->state = STACK_BATCH_WAITING;
	p->state = STACK_PART_RUNNING;
	stack_part_pump(ctx, s, p);
}

void stack_part_on_fence(struct cx_ctx *ctx, struct stack_partition *s, struct stack_part *p,
                         const struct cx_buf *values)
{
	bool begins_at_committed, has_life;
	struct fence f = { 0 };

	if (!read_answer(values, p, &f, &begins_at_committed, &has_life)) {
		stack_part_fall(ctx, s, p);
		return;
	}
	if (!has_life)
		begin_life(ctx, s);
	if (f.below > p->acked_below) {
		p->acked_below = f.below;
		p->since_ms = f.since_ms;
	}
	if (f.offset < p->done_to && !f.is_there && begins_at_committed) {
		cx_log(CX_WARN, "stack.begins_at_committed",
		       "partition=%" PRId32 " at=%" PRId64, p->number, p->done_to);
		move_fence(ctx, s, p, p->done_to);
		stack_part_fall(ctx, s, p); /* the look after it goes on from there */
	} else if (f.offset < p->done_to) {
		rewind_lost(ctx, s, p, &f);
	} else if (f.offset < p->acked_below && !p->knows_acked) {
		p->rewind_to = p->done_to >= 0 ? p->done_to : f.offset;
		ask_acked(ctx, s, p);
	} else {
		run(ctx, s, p, f.offset);
	}
}
