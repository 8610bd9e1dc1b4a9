/* SPDX-License-Identifier: MIT */
/* Receipts of one sender into his inbox, in one script: places after the newest entry, the bound,
 * the expiry, and who is to be told. */
#include "io/stack_receipts_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "io/stack_keys.h"
#include "wire/inbox_entry.h"
#include "wire/server_frame.h"

#define APPEND_MS 10000
#define TTL_MARGIN_MS (INT64_C(2) * 86400000) /* the key lives longer than what is in it */
#define ENTRY_LEN (INBOX_ENTRY_HEAD_LEN + SERVER_FRAME_DELIVERED_LEN)
#define KEYS 3
#define ARGS 2

/* KEYS: inbox, route, count of receipts.  ARGV: TTL of the inbox in ms, most receipts, entries.
 *
 * The count is kept only while the inbox has more entries than that; it is an upper bound (what is
 * confirmed is not taken off) until the next counting, which happens after a sixteenth of the
 * receipts were added at the earliest, unless the key has lapsed.
 * Returns nil when a string stands in the inbox' place (the account was deleted), else
 * {id before, first id, dropped, fields of the route}. */
static const char receipts_add[] =
	"local inbox, max, n = KEYS[1], tonumber(ARGV[2]), #ARGV - 2\n"
	"local kind = redis.call('TYPE', inbox).ok\n"
	"if kind ~= 'stream' and kind ~= 'none' then return false end\n"
	"local ms, seq = '0', '0'\n"
	"if kind == 'stream' then\n"
	"  local info = redis.call('XINFO', 'STREAM', inbox)\n"
	"  for i = 1, #info, 2 do\n"
	"    if info[i] == 'last-generated-id' then\n"
	"      ms, seq = string.match(info[i + 1], '(%d+)-(%d+)')\n"
	"    end\n"
	"  end\n"
	"end\n"
	"local before, first = ms .. '-' .. seq, tonumber(seq) + 1\n"
	"if first + n > 16777215 then\n"
	"  ms, first = string.format('%.0f', tonumber(ms) + 1), 0\n"
	"end\n"
	"for i = 1, n do\n"
	"  redis.call('XADD', inbox, string.format('%s-%.0f', ms, first + i - 1), 'e',\n"
	"             ARGV[i + 2])\n"
	"end\n"
	"if redis.call('PTTL', inbox) < tonumber(ARGV[1]) * 0.9 then\n"
	"  redis.call('PEXPIRE', inbox, ARGV[1])\n"
	"end\n"
	"local dropped = 0\n"
	"local count = max\n"
	"if redis.call('XLEN', inbox) <= max then\n"
	"  redis.call('DEL', KEYS[3])\n"
	"else\n"
	"  count = tonumber(redis.call('GET', KEYS[3]) or max) + n\n"
	"  if count <= max then redis.call('INCRBY', KEYS[3], n) end\n"
	"end\n"
	"if count > max then\n"
	"  local old, from = {}, '-'\n"
	"  repeat\n"
	"    local chunk = redis.call('XRANGE', inbox, from, '+', 'COUNT', 32)\n"
	"    for _, entry in ipairs(chunk) do\n"
	"      if string.byte(entry[2][2], 2) == 2 then old[#old + 1] = entry[1] end\n"
	"      from = '(' .. entry[1]\n"
	"    end\n"
	"  until #chunk < 32\n"
	"  if #old > max then dropped = #old - max + math.floor(max / 16) end\n"
	"  for i = 1, dropped, 1000 do\n"
	"    redis.call('XDEL', inbox, unpack(old, i, math.min(i + 999, dropped)))\n"
	"  end\n"
	"  redis.call('SET', KEYS[3], #old - dropped, 'EX', 3600)\n"
	"end\n"
	"local route = redis.pcall('HKEYS', KEYS[2])\n"
	"if route.err then route = {} end\n"
	"return {before, string.format('%s-%.0f', ms, first), dropped, route}\n";

const struct redis_script stack_receipts_scripts[STACK_RECEIPTS_SCRIPT_COUNT] = {
	{ "receipts_add", receipts_add },
};

static size_t count_key(char out[STACK_KEY_MAX], const char *prefix, const struct uuid *user)
{
	char id[UUID_TEXT_LEN];

	uuid_format(user, id);
	return (size_t)snprintf(out, STACK_KEY_MAX, "%sreceipts:{%.*s}", prefix, UUID_TEXT_LEN,
	                        id);
}

static size_t write_entry(uint8_t out[ENTRY_LEN], const struct rcpt_receipt *r, int64_t wall_ms)
{
	uint8_t frame[SERVER_FRAME_DELIVERED_LEN];
	const struct inbox_entry e = {
		.kind = RECORD_RECEIPT,
		.wall_ms = wall_ms,
		.key = r->message,
		.key_case = r->message_case,
		.partition = INBOX_ENTRY_NO_PARTITION,
		.frame = wire_slice(frame, server_frame_ack(frame, sizeof(frame), &r->message,
		                                            r->message_case, ACK_DELIVERED)),
	};

	return inbox_entry_write(out, ENTRY_LEN, &e);
}

enum cx_err rcpt_append(struct cx_ctx *ctx, struct stack_receipts *s,
                        const struct rcpt_job *job, const struct rcpt_group *group,
                        uint64_t *corr)
{
	const struct stack_settings *const set = s->conf.settings;
	char inbox[STACK_KEY_MAX], route[STACK_KEY_MAX], count[STACK_KEY_MAX], ttl[24], max[24];
	uint8_t entries[RCPT_JOB_MAX][ENTRY_LEN];
	struct redis_arg argv[KEYS + ARGS + RCPT_JOB_MAX];
	const struct uuid *const user = &group->sender;
	unsigned n = KEYS + ARGS;

	argv[0] = (struct redis_arg){ inbox, stack_key_inbox(inbox, set->prefix, user) };
	argv[1] = (struct redis_arg){ route, stack_key_route(route, set->prefix, user) };
	argv[2] = (struct redis_arg){ count, count_key(count, set->prefix, user) };
	argv[3] = (struct redis_arg){ ttl,
		                      (size_t)snprintf(ttl, sizeof(ttl), "%" PRId64,
		                                       set->message_ttl_ms + TTL_MARGIN_MS) };
	argv[4] = (struct redis_arg){ max, (size_t)snprintf(max, sizeof(max), "%d",
		                                            STACK_RECEIPTS_MAX) };
	for (uint16_t i = group->first; i != RCPT_NONE; i = job->receipts[i].next) {
		uint8_t *const entry = entries[n - KEYS - ARGS];

		argv[n++] = (struct redis_arg){ entry, write_entry(entry, &job->receipts[i],
			                                           cx_wall_ms(ctx)) };
	}
	return redis_call_script(ctx, s->conf.redis, s->conf.script_base, KEYS, argv, n,
	                         APPEND_MS, corr);
}

static void push_all(struct cx_ctx *ctx, struct stack_receipts *s, const struct rcpt_job *job,
                     const struct rcpt_group *group, const struct stack_routes *routes,
                     uint64_t before, uint64_t id)
{
	for (uint16_t i = group->first; i != RCPT_NONE; i = job->receipts[i].next) {
		const struct rcpt_receipt *const r = &job->receipts[i];
		uint8_t frame[SERVER_FRAME_DELIVERED_LEN];
		const size_t len = server_frame_ack(frame, sizeof(frame), &r->message,
		                                    r->message_case, ACK_DELIVERED);
		const struct record head = {
			.kind = RECORD_RECEIPT,
			.id = id,
			.ref = before,
			.wall_ms = cx_wall_ms(ctx),
			.owner = group->sender,
			.key = r->message,
			.key_case = r->message_case,
		};

		stack_push_add(&s->push, routes, &head, wire_slice(frame, len));
		before = id++;
	}
	rcpt_count(&s->figures->pushes, group->count);
}

bool rcpt_appended(struct cx_ctx *ctx, struct stack_receipts *s, const struct rcpt_job *job,
                   const struct rcpt_group *group, const struct cx_buf *reply)
{
	struct redis_walk walk = redis_walk_start(reply);
	struct stack_routes routes = { 0 };
	struct redis_value v, before, first, dropped;
	uint64_t id, id_before;

	if (!redis_walk_next(&walk, &v) || (v.kind != REDIS_NIL && v.kind != REDIS_ARRAY))
		return false;
	if (v.kind == REDIS_NIL) {
		rcpt_count(&s->figures->gone, group->count);
		return true;
	}
	if (!redis_walk_next(&walk, &before) || !redis_walk_next(&walk, &first) ||
	    !redis_walk_next(&walk, &dropped) || !redis_walk_next(&walk, &v))
		return false;
	rcpt_count(&s->figures->appended, group->count);
	rcpt_count(&s->figures->dropped, (uint64_t)dropped.integer);
	for (uint32_t left = v.count; left > 0 && redis_walk_next(&walk, &v); left--)
		(void)stack_routes_add_field(&routes, v.text);
	if (!inbox_id_parse(before.text, &id_before))
		id_before = UINT64_MAX;
	if (routes.count > 0 && inbox_id_parse(first.text, &id))
		push_all(ctx, s, job, group, &routes, id_before, id);
	return true;
}
