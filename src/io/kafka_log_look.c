/* SPDX-License-Identifier: MIT */
/* The scripts, and the look that counts an inbox. */
#include <inttypes.h>
#include <stdio.h>

#include "io/kafka_log_state.h"
#include "wire/inbox_entry.h"

#define NUMBER_MAX 24

/* The count: { messages, bytes, last id, is it exact }, or -1 messages: deleted.  Far from the limits
 * it is not worth to read the entries: there are no more than the stream has, in no more bytes than it
 * takes.  ARGV: bytes of the head, kind of a message, oldest time (ms), and what is far in messages
 * and in bytes. */
const struct redis_script kafka_log_scripts[KAFKA_LOG_SCRIPT_COUNT] = {
	[KLOG_SCRIPT_FREE] = { "claim_free",
	                       "if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then\n"
	                       "  return redis.call('ZREM', KEYS[1], ARGV[1])\n"
	                       "end\n"
	                       "return 0\n" },
	[KLOG_SCRIPT_COUNT] = { "inbox_count",
	                        "local key, head, kind = KEYS[1], tonumber(ARGV[1]), "
	                        "tonumber(ARGV[2])\n"
	                        "local oldest = tonumber(ARGV[3])\n"
	                        "local n = redis.pcall('XLEN', key)\n"
	                        "if type(n) == 'table' then\n"
	                        "  if string.find(n.err, 'WRONGTYPE', 1, true) then\n"
	                        "    return {-1, 0, '0-0', 1}\n"
	                        "  end\n"
	                        "  return n\n"
	                        "end\n"
	                        "local last = '0-0'\n"
	                        "local info = redis.pcall('XINFO', 'STREAM', key)\n"
	                        "for i = 1, #info - 1, 2 do\n"
	                        "  if info[i] == 'last-generated-id' then last = info[i + 1] "
	                        "end\n"
	                        "end\n"
	                        "if n <= tonumber(ARGV[4]) then\n"
	                        "  local m = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', "
	                        "'0')\n"
	                        "  if type(m) == 'number' and m <= tonumber(ARGV[5]) then\n"
	                        "    return {n, m, last, 0}\n"
	                        "  end\n"
	                        "end\n"
	                        "local count, bytes, from, first, expired = 0, 0, '-', nil, "
	                        "false\n"
	                        "local page\n"
	                        "repeat\n"
	                        "  page = redis.call('XRANGE', key, from, '+', 'COUNT', 100)\n"
	                        "  for _, e in ipairs(page) do\n"
	                        "    local v = e[2][2]\n"
	                        "    from = '(' .. e[1]\n"
	                        "    if #v >= head and struct.unpack('<i8', v, 9) >= oldest "
	                        "then\n"
	                        "      first = first or e[1]\n"
	                        "      if string.byte(v, 2) == kind then\n"
	                        "        count, bytes = count + 1, bytes + #v - head\n"
	                        "      end\n"
	                        "    elseif not first then\n"
	                        "      expired = true\n"
	                        "    end\n"
	                        "  end\n"
	                        "until #page < 100\n"
	                        "if expired and first then redis.call('XTRIM', key, 'MINID', "
	                        "'=', first)\n"
	                        "elseif expired then redis.call('XTRIM', key, 'MAXLEN', '=', "
	                        "0) end\n"
	                        "return {count, bytes, last, 1}\n" },
};

static struct redis_arg number(char out[NUMBER_MAX], int64_t n)
{
	return klog_arg(out, (size_t)snprintf(out, NUMBER_MAX, "%" PRId64, n));
}

static uint64_t far(uint64_t max, uint64_t used)
{
	return used < max ? (max - used) / 2 : 0;
}

void klog_look(struct cx_ctx *ctx, struct klog *s, struct quota *q)
{
	char key[STACK_KEY_MAX], text[5][NUMBER_MAX];
	struct klog_question *question;
	enum cx_err err;

	if (q->is_looking)
		return;
	quota_look_begins(q, s->next_number);
	question = klog_question_new(s, KLOG_LOOK);
	question->quota = quota_take(&s->quotas, &q->owner);
	const struct redis_arg argv[] = {
		klog_arg(key, stack_key_inbox(key, s->settings->prefix, &q->owner)),
		number(text[0], INBOX_ENTRY_HEAD_LEN),
		number(text[1], RECORD_MESSAGE),
		number(text[2], steady_wall_ms(&s->wall, ctx) - s->settings->message_ttl_ms),
		number(text[3],
		       (int64_t)far(s->quotas.max_count, q->placed_count + q->flight_count)),
		number(text[4],
		       (int64_t)far(s->quotas.max_bytes, q->placed_bytes + q->flight_bytes)),
	};
	err = redis_call_script(ctx, s->conf.redis, s->conf.script_base + KLOG_SCRIPT_COUNT, 1,
	                        argv, CX_COUNTOF(argv), KLOG_ASK_MS, &question->corr);
	klog_asked(ctx, s, question, err);
}

void klog_on_look(struct cx_ctx *ctx, struct klog *s, struct quota *q, struct redis_walk *walk)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	struct redis_value v[5];
	uint64_t last_id = 0;
	unsigned n = 0;

	while (n < 5 && redis_walk_next(walk, &v[n]) &&
	       v[n].kind == (n == 0   ? REDIS_ARRAY
	                     : n == 3 ? REDIS_STRING
	                              : REDIS_INTEGER))
		n++;
	if (n < 5) {
		klog_count(&s->figures->redis_failures, 1);
		quota_look_failed(q, now_ms);
	} else if (v[1].integer < 0) {
		quota_looked(&s->quotas, q, QUOTA_LOOK_GONE, 0, 0, 0, now_ms);
	} else {
		if (!inbox_id_parse(v[3].text, &last_id))
			last_id = 0;
		quota_looked(&s->quotas, q,
		             v[4].integer != 0 ? QUOTA_LOOK_EXACT : QUOTA_LOOK_BOUND,
		             (uint64_t)v[1].integer, (uint64_t)v[2].integer, last_id, now_ms);
	}
	klog_wake(s, q);
}
