/* SPDX-License-Identifier: MIT */
/* Limits and blocks.  The rules are those of the embedded store (sqlite_limits.c), in scripts, so that
 * all servers count as one; time is the server's.  A number of a script is a double: whole up to 2^53,
 * which is checked before. */
#include <stdlib.h>

#include "io/stack_store_internal.h"

#define WINDOW_MAX_MS (INT64_C(366) * 86400000)
#define TOKENS_MAX 1000000
#define WHOLE_MAX (INT64_C(1) << 53)

/* The value of a limit is "level since_ms". */
#define READ_LIMIT                                                                         \
	"local t = redis.call('TIME')\n"                                                   \
	"local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"                              \
	"local max, window, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])\n" \
	"local level, since = 0, now\n"                                                    \
	"local a, b = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')\n"   \
	"if a then level, since = tonumber(a), tonumber(b) end\n"                          \
	"local back = since > now\n"                                                       \
	"local function put(ttl)\n"                                                        \
	"  redis.call('SET', KEYS[1], string.format('%.0f %.0f', level, since),\n"         \
	"    'PX', string.format('%.0f', math.max(1, ttl)))\n"                             \
	"end\n"

/* Each answers { over the limit, granted, retry_ms }. */
const struct redis_script stack_store_scripts[STACK_STORE_SCRIPT_COUNT] = {
	[STACK_SCRIPT_TAKE] = { "limit_take", READ_LIMIT
	                        "if back then since = now end\n"
	                        "if now - since >= window then level, since = 0, now end\n"
	                        "local left = since + window - now\n"
	                        "if level + (n == 0 and 1 or n) > max then\n"
	                        "  if back then put(left) end\n"
	                        "  return {1, 0, left}\n"
	                        "end\n"
	                        "if n ~= 0 then\n"
	                        "  level = math.max(0, level + n)\n"
	                        "  put(left)\n"
	                        "end\n"
	                        "return {0, n, 0}\n" },
	[STACK_SCRIPT_LEASE] = { "limit_lease", READ_LIMIT
	                         "local function clamp(v, low, high)\n"
	                         "  return math.min(math.max(v, low), high)\n"
	                         "end\n"
	                         "local full = max * window\n"
	                         "local refill = clamp(now - since, 0, window) * max\n"
	                         "since = now\n"
	                         "level = clamp(clamp(level, 0, full) - refill, 0, full)\n"
	                         "local available = math.floor((full - level) / window)\n"
	                         "if available == 0 and n >= 0 then\n"
	                         "  if back then put(window) end\n"
	                         "  return {1, 0,"
	                         " math.floor((level - (full - window) + max - 1) / max)}\n"
	                         "end\n"
	                         "local granted = math.min(n, available)\n"
	                         "level = clamp(level + granted * window, 0, full)\n"
	                         "if level == 0 then redis.call('DEL', KEYS[1])\n"
	                         "else put(math.ceil(level / max)) end\n"
	                         "return {0, granted, 0}\n" },
	[STACK_SCRIPT_BLOCK] = { "block_set",
	                         "local t = redis.call('TIME')\n"
	                         "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
	                         "local left = tonumber(ARGV[1]) - now\n"
	                         "if left < 1 then redis.call('DEL', KEYS[1])\n"
	                         "else redis.call('SET', KEYS[1], ARGV[1], 'PX',"
	                         " string.format('%.0f', left)) end\n"
	                         "return {0, 0, 0}\n" },
};

static void on_limit(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                     const struct stack_answer *a)
{
	struct redis_value v[4];
	struct redis_walk walk;

	if (!a->is_ok) {
		stack_end(ctx, s, op, STORE_FAILED);
		return;
	}
	walk = redis_walk_start(a->buf);
	for (unsigned i = 0; i < 4; i++)
		if (!redis_walk_next(&walk, &v[i]) ||
		    v[i].kind != (i == 0 ? REDIS_ARRAY : REDIS_INTEGER)) {
			stack_end(ctx, s, op, STORE_FAILED);
			return;
		}
	op->result.granted = v[2].integer;
	op->result.retry_ms = v[3].integer;
	stack_end(ctx, s, op, v[1].integer == 0 ? STORE_OK : STORE_LIMIT);
}

static void on_done(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                    const struct stack_answer *a)
{
	stack_end(ctx, s, op, a->is_ok ? STORE_OK : STORE_FAILED);
}

static bool is_sane(const struct store_op *ask)
{
	return ask->max >= 1 && ask->max <= TOKENS_MAX && ask->window_ms >= 1 &&
	       ask->window_ms <= WINDOW_MAX_MS && ask->n <= TOKENS_MAX &&
	       ask->n >= -TOKENS_MAX && ask->max * ask->window_ms <= WHOLE_MAX;
}

void stack_limit(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key key = stack_key_hash("limit:", op->ask.key);
	const struct redis_arg del[] = { REDIS_TEXT("DEL"), stack_arg(&key) };
	struct stack_key numbers[3];
	const struct redis_arg argv[] = {
		stack_arg(&key),
		stack_arg_number(op->ask.max, &numbers[0]),
		stack_arg_number(op->ask.window_ms, &numbers[1]),
		stack_arg_number(op->ask.n, &numbers[2]),
	};

	if (op->ask.what == STORE_LIMIT_RESET) {
		redis_batch_add(&s->redis, del, 2);
		stack_ask_redis(ctx, s, op, on_done);
	} else if (!is_sane(&op->ask)) {
		stack_end(ctx, s, op, STORE_FAILED);
	} else {
		stack_ask_script(ctx, s, op,
		                 op->ask.what == STORE_LIMIT_TAKE ? STACK_SCRIPT_TAKE
		                                                  : STACK_SCRIPT_LEASE,
		                 argv, 4, on_limit);
	}
}

/* ---- blocks ---- */

void stack_block_set(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key key = stack_key_hash("block:", op->ask.key);
	struct stack_key number;
	const struct redis_arg argv[] = { stack_arg(&key),
		                          stack_arg_number(op->ask.until_wall_ms, &number) };

	stack_ask_script(ctx, s, op, STACK_SCRIPT_BLOCK, argv, 2, on_done);
}

static void on_block(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                     const struct stack_answer *a)
{
	char text[STACK_KEY_MAX];

	if (!a->is_ok) {
		stack_end(ctx, s, op, STORE_FAILED);
		return;
	}
	if (stack_first_text(a, text))
		op->result.until_wall_ms = strtoll(text, NULL, 10);
	stack_end(ctx, s, op, STORE_OK); /* no block set is an answer too */
}

void stack_block_get(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key key = stack_key_hash("block:", op->ask.key);
	const struct redis_arg get[] = { REDIS_TEXT("GET"), stack_arg(&key) };

	redis_batch_add(&s->redis, get, 2);
	stack_ask_redis(ctx, s, op, on_block);
}
