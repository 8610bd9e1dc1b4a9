/* SPDX-License-Identifier: MIT */
/* Receipts of all senders of a job into their inboxes, in one call of one script.
 *
 * 1. A receipt's place is behind the newest entry that the stream ever had: ms of its last id, seq + 1.
 *    `XADD ms-*` does that in one command when the stream's last id has this ms, so it is tried
 *    with the ms that this worker saw last.  If the stream has gone on, Redis refuses it as too small;
 *    then XINFO tells (as with servers before 7.0, which do not know the form).
 * 2. No receipt gets an ms that is not of a message in this Redis: one whose data was lost gets its messages
 *    again, under ids that must still be free behind the last one.  So a stream that is not there begins
 *    at 0-1, below all messages, and `XADD ms-*` that gets the first place of its ms found a stream that has
 *    lost that message: the entry is taken back, and the last id with it.
 * 3. The count of receipts (of their entries) is kept only while an inbox has more entries than the bound; it is an upper
 *    one (what is confirmed is not taken off) until the next counting, which happens after a sixteenth
 *    of the receipts were added at the earliest, unless the key has lapsed.
 * 4. What is wrong with one sender's inbox is said in his place of the answer and stops no other. */
#include "io/stack_receipts_internal.h"

/* KEYS: inboxes; routes; inboxes that get their TTL; inbox and count of those whose bound is looked at.
 * ARGV: TTL in ms, most entries, numbers of inboxes, routes, TTLs, bounds; of each bound how many
 * entries came since the last look; of each inbox the ms of its last id or "", number of entries,
 * entries.
 * Returns for each inbox the id of its first new entry, nil when a string stands in its place (the account
 * was deleted) or an error; the fields of each route; for each bound how many entries went. */
const struct redis_script stack_receipts_scripts[STACK_RECEIPTS_SCRIPT_COUNT] = {
	{ "receipts_add",
	  "local call, pcall = redis.call, redis.pcall\n"
	  "local ttl, max = ARGV[1], tonumber(ARGV[2])\n"
	  "local function place(inbox)\n"
	  "  local info = pcall('XINFO', 'STREAM', inbox)\n"
	  "  if info.err then return '0', 0, true end\n"
	  "  for i = 1, #info, 2 do\n"
	  "    if info[i] == 'last-generated-id' then\n"
	  "      local ms, seq = string.match(info[i + 1], '(%d+)-(%d+)')\n"
	  "      return ms, tonumber(seq), false\n"
	  "    end\n"
	  "  end\n"
	  "end\n"
	  "local function behind(inbox, n, a)\n"
	  "  local ms, seq, is_new = place(inbox)\n"
	  "  if seq + n > 16777215 then ms, seq = string.format('%.0f', ms + 1), -1 end\n"
	  "  local first\n"
	  "  for i = 1, n do\n"
	  "    local got = pcall('XADD', inbox, ms .. '-' .. (seq + i), 'e', ARGV[a + i])\n"
	  "    if type(got) == 'table' then return got end\n"
	  "    first = first or got\n"
	  "  end\n"
	  "  if is_new then call('PEXPIRE', inbox, ttl) end\n"
	  "  return first\n"
	  "end\n"
	  "local function parts(id)\n"
	  "  local ms, seq = string.match(id, '(%d+)-(%d+)')\n"
	  "  return tonumber(ms), tonumber(seq)\n"
	  "end\n"
	  "local function take_back(inbox, first)\n"
	  "  local info, is = call('XINFO', 'STREAM', inbox), {}\n"
	  "  for i = 1, #info, 2 do is[info[i]] = info[i + 1] end\n"
	  "  local deleted = is['max-deleted-entry-id']\n"
	  "  local top, last = call('XREVRANGE', inbox, first, '-', 'COUNT', 2)[2], deleted\n"
	  "  if top then\n"
	  "    local ms, seq = parts(top[1])\n"
	  "    local gone_ms, gone_seq = parts(deleted)\n"
	  "    if ms > gone_ms or ms == gone_ms and seq > gone_seq then last = top[1] end\n"
	  "  end\n"
	  "  call('XDEL', inbox, first)\n"
	  "  if deleted == '0-0' then deleted = last end\n" /* it would not be set */
	  "  pcall('XSETID', inbox, last, 'ENTRIESADDED', is['entries-added'] - 1,\n"
	  "        'MAXDELETEDID', deleted)\n"
	  "end\n"
	  "local function add(inbox, ms, n, a)\n"
	  "  if ms == '' then return behind(inbox, n, a) end\n"
	  "  local auto = ms .. '-*'\n"
	  "  local first = pcall('XADD', inbox, 'NOMKSTREAM', auto, 'e', ARGV[a + 1])\n"
	  "  if type(first) ~= 'string' then return behind(inbox, n, a) end\n"
	  "  if first == ms .. '-0' then\n"
	  "    take_back(inbox, first)\n"
	  "    return behind(inbox, n, a)\n"
	  "  end\n"
	  "  if #first > #ms + 8 then\n" /* ten million: is there room in seq? */
	  "    call('XDEL', inbox, first)\n"
	  "    return behind(inbox, n, a)\n"
	  "  end\n"
	  "  for i = 2, n do call('XADD', inbox, auto, 'e', ARGV[a + i]) end\n"
	  "  return first\n"
	  "end\n"
	  "local function bound(inbox, key, n)\n"
	  "  if call('XLEN', inbox) <= max then call('DEL', key) return 0 end\n"
	  "  if tonumber(call('GET', key) or max) + n <= max then\n"
	  "    call('INCRBY', key, n)\n"
	  "    return 0\n"
	  "  end\n"
	  "  local old, from, dropped = {}, '-', 0\n"
	  "  repeat\n"
	  "    local chunk = call('XRANGE', inbox, from, '+', 'COUNT', 32)\n"
	  "    for _, entry in ipairs(chunk) do\n"
	  "      if string.byte(entry[2][2], 2) == 2 then old[#old + 1] = entry[1] end\n"
	  "      from = '(' .. entry[1]\n"
	  "    end\n"
	  "  until #chunk < 32\n"
	  "  if #old > max then dropped = #old - max + math.floor(max / 16) end\n"
	  "  for i = 1, dropped, 1000 do\n"
	  "    call('XDEL', inbox, unpack(old, i, math.min(i + 999, dropped)))\n"
	  "  end\n"
	  "  call('SET', key, #old - dropped, 'EX', 3600)\n"
	  "  return dropped\n"
	  "end\n"
	  "local inboxes, routes = tonumber(ARGV[3]), tonumber(ARGV[4])\n"
	  "local ttls, bounds = tonumber(ARGV[5]), tonumber(ARGV[6])\n"
	  "local out, good, a = {}, {}, 7 + bounds\n"
	  "for i = 1, inboxes do\n"
	  "  local inbox, n = KEYS[i], tonumber(ARGV[a + 1])\n"
	  "  local got = add(inbox, ARGV[a], n, a + 1)\n"
	  "  if type(got) == 'string' then\n"
	  "    good[inbox] = true\n"
	  "  elseif string.find(got.err, 'WRONGTYPE', 1, true) then\n"
	  "    got = false\n"
	  "  end\n"
	  "  out[i], a = got, a + 2 + n\n"
	  "end\n"
	  "local k = inboxes\n"
	  "for i = k + 1, k + routes do out[i] = pcall('HKEYS', KEYS[i]) end\n"
	  "k = k + routes\n"
	  "for i = k + 1, k + ttls do\n"
	  "  if good[KEYS[i]] then call('PEXPIRE', KEYS[i], ttl) end\n"
	  "end\n"
	  "k = k + ttls\n"
	  "for i = 1, bounds do\n"
	  "  local inbox, key = KEYS[k + 2 * i - 1], KEYS[k + 2 * i]\n"
	  "  out[inboxes + routes + i] = good[inbox] and bound(inbox, key, ARGV[6 + i]) or 0\n"
	  "end\n"
	  "return out\n" },
};
