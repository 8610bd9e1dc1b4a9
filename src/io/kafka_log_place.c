/* SPDX-License-Identifier: MIT */
/* Places in an inbox that is nearly full: members of the sorted set `flight`, so that of two gateways that
 * see one room left one has it.
 *
 * 1. A member is the first 16 bytes of the message's hash, who, and the frame's length; its score is when it
 *    lapses.  It is made by the very script that counts, and only when it fits.
 * 2. It stands for a message that is not in the inbox yet.  Nobody takes it out when the message comes: the
 *    worker's script writes the entry and the field of the dedup hash in one step, so whoever counts looks for
 *    that field, and takes out what he finds.
 * 3. What was surely not written gives its place back; what may have been keeps it until it comes or lapses. */
#include <endian.h>
#include <string.h>

#include "io/kafka_log_state.h"

#define HASH_LEN 16

/* The count.  KEYS: the inbox, its places.  ARGV: bytes of an entry's head, kind of a message, oldest time
 * (ms), what is far in messages and in bytes; then for places: now, life, what is old (ms), the limits, what
 * the asker has on the way beside them, who asks, the stem of dedup hashes; then the members he asks
 * for.  Answers { messages, bytes, last id, is it exact, others' places and their bytes, the old ones
 * among them and their bytes, how many of the first are granted }, or -1 messages: deleted.  Far from the
 * limits it is not worth to read the entries: there are no more than the stream has, in no more bytes than
 * it takes; nor to look which places have come, of which none is longer than the longest frame. */
static const char inbox_count[] =
	"local key, flight = KEYS[1], KEYS[2]\n"
	"local head, kind, oldest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])\n"
	"local n = redis.pcall('XLEN', key)\n"
	"if type(n) == 'table' then\n"
	"  if string.find(n.err, 'WRONGTYPE', 1, true) then return {-1, 0, '0-0', 1, 0, 0, 0, "
	"0, 0} end\n"
	"  return n\n"
	"end\n"
	"local last = '0-0'\n"
	"local info = redis.pcall('XINFO', 'STREAM', key)\n"
	"for i = 1, #info - 1, 2 do\n"
	"  if info[i] == 'last-generated-id' then last = info[i + 1] end\n"
	"end\n"
	"local function size()\n"
	"  local m = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')\n"
	"  if type(m) == 'number' then return m end\n"
	"  return n == 0 and 0 or math.huge\n"
	"end\n"
	"local want, granted, want_bytes = #ARGV - 14, 0, 0\n"
	"local others, others_bytes, old, old_bytes = 0, 0, 0, 0\n"
	"local now, life, max, max_bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), "
	"tonumber(ARGV[9]), tonumber(ARGV[10])\n"
	"local own, own_bytes = tonumber(ARGV[11]), tonumber(ARGV[12])\n"
	"for i = 15, #ARGV do want_bytes = want_bytes + struct.unpack('<I4', ARGV[i], 25) end\n"
	"local function grant(k)\n"
	"  for i = 15, 14 + k do redis.call('ZADD', flight, now + life, ARGV[i]) end\n"
	"  if k > 0 then redis.call('PEXPIRE', flight, life) end\n"
	"  return k\n"
	"end\n"
	"local function is_there(m)\n"
	"  local hash = string.format('%s%02x%02x', ARGV[14], string.byte(m, 1, 2))\n"
	"  return redis.call('HEXISTS', hash, string.sub(m, 3, 10)) == 1\n"
	"end\n"
	"local function resolve()\n"
	"  local all = redis.call('ZRANGE', flight, 0, -1, 'WITHSCORES')\n"
	"  for i = 1, #all, 2 do\n"
	"    local m, b = all[i], struct.unpack('<I4', all[i], 25)\n"
	"    if is_there(m) then redis.call('ZREM', flight, m)\n"
	"    elseif string.sub(m, 17, 24) ~= ARGV[13] then\n"
	"      others, others_bytes = others + 1, others_bytes + b\n"
	"      if all[i + 1] - life + ARGV[8] <= now then old, old_bytes = old + 1, old_bytes "
	"+ b end\n"
	"    end\n"
	"  end\n"
	"end\n"
	"if want == 0 then\n"
	"  if n <= tonumber(ARGV[4]) then\n"
	"    local m = size()\n"
	"    if m <= tonumber(ARGV[5]) then return {n, m, last, 0, 0, 0, 0, 0, 0} end\n"
	"  end\n"
	"else\n"
	"  redis.call('ZREMRANGEBYSCORE', flight, '-inf', now)\n"
	"  redis.call('ZREMRANGEBYSCORE', flight, now + 2 * life, '+inf')\n"
	"  local c, m = redis.call('ZCARD', flight), size()\n"
	"  if n + own + c + want <= max and m + own_bytes + c * 131072 + want_bytes <= "
	"max_bytes then\n"
	"    return {n, m, last, 0, c, c * 131072, 0, 0, grant(want)}\n"
	"  end\n"
	"  resolve()\n"
	"  if n + own + others + want <= max and m + own_bytes + others_bytes + want_bytes <= "
	"max_bytes then\n"
	"    return {n, m, last, 0, others, others_bytes, old, old_bytes, grant(want)}\n"
	"  end\n"
	"end\n"
	"local count, bytes, from, first, expired = 0, 0, '-', nil, false\n"
	"local page\n"
	"repeat\n"
	"  page = redis.call('XRANGE', key, from, '+', 'COUNT', 100)\n"
	"  for _, e in ipairs(page) do\n"
	"    local v = e[2][2]\n"
	"    from = '(' .. e[1]\n"
	"    if #v >= head and struct.unpack('<i8', v, 9) >= oldest then\n"
	"      first = first or e[1]\n"
	"      if string.byte(v, 2) == kind then count, bytes = count + 1, bytes + #v - head "
	"end\n"
	"    elseif not first then\n"
	"      expired = true\n"
	"    end\n"
	"  end\n"
	"until #page < 100\n"
	"if expired and first then redis.call('XTRIM', key, 'MINID', '=', first)\n"
	"elseif expired then redis.call('XTRIM', key, 'MAXLEN', '=', 0) end\n"
	"local sum = bytes + own_bytes + others_bytes\n"
	"while granted < want and count + own + others + granted < max do\n"
	"  sum = sum + struct.unpack('<I4', ARGV[15 + granted], 25)\n"
	"  if sum > max_bytes then break end\n"
	"  granted = granted + 1\n"
	"end\n"
	"return {count, bytes, last, 1, others, others_bytes, old, old_bytes, "
	"grant(granted)}\n";

const struct redis_script kafka_log_scripts[KAFKA_LOG_SCRIPT_COUNT] = {
	[KLOG_SCRIPT_FREE] = { "claim_free",
	                       "if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then\n"
	                       "  return redis.call('ZREM', KEYS[1], ARGV[1])\n"
	                       "end\n"
	                       "return 0\n" },
	[KLOG_SCRIPT_COUNT] = { "inbox_count", inbox_count },
};

void klog_who(const struct klog *s, uint8_t out[KLOG_WHO_LEN])
{
	const uint64_t who = htole64(s->settings->instance ^ s->worker);

	memcpy(out, &who, KLOG_WHO_LEN);
}

static void write_place(const struct klog *s, const struct klog_append *a,
                        uint8_t out[KLOG_PLACE_LEN])
{
	const uint32_t len = htole32(a->frame_len);

	memcpy(out, a->seen.h, HASH_LEN);
	klog_who(s, out + HASH_LEN);
	memcpy(out + HASH_LEN + KLOG_WHO_LEN, &len, sizeof(len));
}

uint32_t klog_ask_places(const struct klog *s, const struct quota *q, struct klog_lane *lane,
                         uint8_t out[KLOG_PLACES][KLOG_PLACE_LEN])
{
	uint32_t n = 0;

	for (struct klog_append *a = lane->first;
	     a != NULL && n < KLOG_PLACES && a->quota == q && a->step == KLOG_READY &&
	     a->place != KLOG_PLACE_HELD;
	     a = a->lane_next) {
		write_place(s, a, out[n++]);
		a->place = KLOG_PLACE_ASKED;
		a->place_number = n;
	}
	return n;
}

void klog_places_granted(struct klog *s, const struct klog_question *question, uint64_t granted)
{
	const struct klog_lane *lane = uuid_map_get(&s->lanes, &question->peer);

	for (struct klog_append *a = lane != NULL ? lane->first : NULL; a != NULL;
	     a = a->lane_next) {
		if (a->quota != question->quota || a->place != KLOG_PLACE_ASKED)
			continue;
		a->place = a->place_number <= granted ? KLOG_PLACE_HELD : KLOG_NO_PLACE;
		if (a->place == KLOG_PLACE_HELD)
			quota_hold(a->quota, a->frame_len);
	}
}

void klog_place_use(struct klog_append *a)
{
	if (a->place != KLOG_PLACE_HELD)
		return;
	quota_unhold(a->quota, a->frame_len);
	a->place = KLOG_PLACE_USED;
}

void klog_place_back(struct klog_append *a)
{
	if (a->place != KLOG_PLACE_USED)
		return;
	quota_hold(a->quota, a->frame_len);
	a->place = KLOG_PLACE_HELD;
}

void klog_place_end(struct cx_ctx *ctx, const struct klog *s, struct klog_append *a)
{
	char key[STACK_KEY_MAX];
	uint8_t place[KLOG_PLACE_LEN];
	uint64_t corr;

	if (a->place == KLOG_PLACE_HELD)
		quota_unhold(a->quota, a->frame_len);
	if (a->place == KLOG_NO_PLACE || a->may_be_written || s->is_open)
		return;
	write_place(s, a, place);
	const struct redis_arg argv[] = {
		REDIS_TEXT("ZREM"),
		klog_arg(key, stack_key_flight(key, s->settings->prefix, &a->quota->owner)),
		{ place, sizeof(place) },
	};
	/* not waited for: else it lapses */
	if (redis_call(ctx, s->conf.redis, argv, 3, KLOG_ASK_MS, &corr) == CX_OK)
		cx_ask_cancel(ctx, corr);
}
