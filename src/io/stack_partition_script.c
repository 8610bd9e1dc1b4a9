/* SPDX-License-Identifier: MIT */
/* A batch is one call of one script, which is one step for all who look at Redis.
 *
 * 1. The fence: a key of the partition that holds what the last batch left there.  A batch that does
 *    not find what the one before it left does nothing.  So of batches under way none has an effect
 *    unless all before it had theirs: neither a lost connection, a full Redis, one with older data
 *    nor a second owner can let a younger record overtake.
 * 2. A record whose field in the dedup hash has its own place has had its effect, since both come
 *    to be in one step.  One without a field, or with another place, never had.
 * 3. So an id that is too small means, without a field, that the stream's last entries are of
 *    another partition (or topic); it is appended behind them.
 * 4. A record that was acknowledged before Redis lost it has an empty entry: its field is all that
 *    is made, so that a client who repeats it is known. */
#include "io/stack_partition_internal.h"

/* KEYS: the fence; inbox and dedup hash of each record; routes; inboxes and dedup hashes to get a TTL.
 * ARGV: the fence as expected and as left, numbers of records, routes, inboxes, TTLs of inboxes, dedup
 * hashes, fence; field, value, id, entry of each record (of a value the first 8 bytes are the place).
 * Returns the fence when it is another; else for each record 1 (appended with its id), 0 (was there),
 * 2 (duplicate), 3 (no owner), 4 (acknowledged) or the id that it got; then the fields of each route.
 * In an entry's head the partition is at byte 3 and the offset at 17 (wire/inbox_entry.h). */
const struct redis_script stack_partition_scripts[STACK_PARTITION_SCRIPT_COUNT] = {
	{ "inbox_append",
	  "local call, pcall = redis.call, redis.pcall\n"
	  "local function place_of(found)\n"
	  "  if #found == 0 then return nil end\n"
	  "  local e = found[1][2][2]\n"
	  "  return string.sub(e, 3, 4) .. string.sub(e, 17, 22)\n"
	  "end\n"
	  "local function behind(inbox, place, id, entry)\n"
	  "  if place_of(call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)) == place or\n"
	  "     place_of(call('XRANGE', inbox, id, id)) == place then return 0 end\n"
	  "  local info = call('XINFO', 'STREAM', inbox)\n"
	  "  for i = 1, #info, 2 do\n"
	  "    if info[i] == 'last-generated-id' then\n"
	  "      local ms, seq = string.match(info[i + 1], '(%d+)-(%d+)')\n"
	  "      local next = ms .. '-' .. string.format('%.0f', seq + 1)\n"
	  "      return pcall('XADD', inbox, next, 'e', entry)\n"
	  "    end\n"
	  "  end\n"
	  "end\n"
	  "local function append(inbox, seen, field, value, id, entry)\n"
	  "  if call('HSETNX', seen, field, value) == 0 then\n"
	  "    local there = call('HGET', seen, field)\n"
	  "    if string.sub(there, 1, 8) ~= string.sub(value, 1, 8) then return 2 end\n"
	  "    return 0\n"
	  "  end\n"
	  "  if entry == '' then return 4 end\n"
	  "  local got = pcall('XADD', inbox, id, 'e', entry)\n"
	  "  if type(got) == 'string' then return 1 end\n"
	  "  if string.find(got.err, 'equal or smaller', 1, true) then\n"
	  "    got = behind(inbox, string.sub(value, 1, 8), id, entry)\n"
	  "  end\n"
	  "  if type(got) ~= 'table' then return got end\n"
	  "  if string.find(got.err, 'WRONGTYPE', 1, true) then return 3 end\n"
	  "  call('HDEL', seen, field)\n"
	  "  return got\n"
	  "end\n"
	  "local fence = call('GET', KEYS[1]) or ''\n"
	  "if fence ~= ARGV[1] then return fence end\n"
	  "local n, routes, inboxes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])\n"
	  "local out, k, a = {}, 2, 9\n"
	  "for i = 1, n do\n"
	  "  local got = append(KEYS[k], KEYS[k + 1], ARGV[a], ARGV[a + 1], ARGV[a + 2], "
	  "ARGV[a + 3])\n"
	  "  if type(got) == 'table' then return got end\n"
	  "  out[i], k, a = got, k + 2, a + 4\n"
	  "end\n"
	  "for i = 1, routes do out[n + i], k = pcall('HKEYS', KEYS[k]), k + 1 end\n"
	  "for i = 1, inboxes do call('EXPIRE', KEYS[k], ARGV[6]); k = k + 1 end\n"
	  "for i = k, #KEYS do call('EXPIRE', KEYS[i], ARGV[7]) end\n"
	  "call('SET', KEYS[1], ARGV[2], 'EX', ARGV[8])\n"
	  "return out\n" },
	/* KEYS: a dedup hash.  ARGV: what time it is, what age is forgotten (both in the steps of a
	 * value), TTL.  A hash that was large never gets small again by itself (hash-max-listpack-entries
	 * 512), so one with less than half of that is written anew.  Returns how many it forgot. */
	{ "dedup_sweep",
	  "local all = redis.call('HGETALL', KEYS[1])\n"
	  "local now, age, old, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, {}\n"
	  "for i = 1, #all, 2 do\n"
	  "  local low, high = string.byte(all[i + 1], 9, 10)\n"
	  "  local passed = (now - low - 256 * high) % 65536\n"
	  "  if passed > age and passed < 32768 then\n"
	  "    old[#old + 1] = all[i]\n"
	  "  else\n"
	  "    kept[#kept + 1], kept[#kept + 2] = all[i], all[i + 1]\n"
	  "  end\n"
	  "end\n"
	  "if #old == 0 then return 0 end\n"
	  "if #all > 1024 and #kept <= 512 and #kept > 0 then\n"
	  "  redis.call('DEL', KEYS[1])\n"
	  "  redis.call('HSET', KEYS[1], unpack(kept))\n"
	  "  redis.call('EXPIRE', KEYS[1], ARGV[3])\n"
	  "  return #old\n"
	  "end\n"
	  "for i = 1, #old, 1000 do\n"
	  "  redis.call('HDEL', KEYS[1], unpack(old, i, math.min(i + 999, #old)))\n"
	  "end\n"
	  "return #old\n" },
};
