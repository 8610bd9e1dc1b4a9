/* SPDX-License-Identifier: MIT */
/* Reading outboxes: of dead instances, and what of our own nobody holds in memory.  One step after
 * the other; a step that fails ends the sweep, the next one begins anew.  Two sweeps of one outbox at
 * once (a lock that lapsed while Kafka was down) write its events twice, which does no harm. */
#include "actors/ack_batcher_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io/stack_keys.h"

#define CHUNK "64" /* entries; each has the events of one turn of an inbox */
#define ASK_MS 10000
#define LOCK_MS "60000"
#define NUMBER_MAX 24
#define INSTANCE_HEX 16
#define DELETE_IDS_MAX 256 /* of one XDEL */
#define NAMES "instances"

/* Not a plain DEL: whoever was taken for dead may have written since. */
static const char drop_when_empty[] = "if redis.call('XLEN', KEYS[1]) > 0 then return 0 end "
				      "return redis.call('DEL', KEYS[1])";

static struct redis_arg arg(const char *text)
{
	return (struct redis_arg){ text, strlen(text) };
}

static void add(struct ack_batcher *b, const struct redis_arg *argv, unsigned n)
{
	redis_batch_add(&b->batch, argv, n);
}

void ack_delete(struct ack_batcher *b, uint64_t instance, const struct ack_places *places)
{
	static const struct redis_arg name = REDIS_TEXT("XDEL");
	char key[STACK_KEY_MAX], ids[DELETE_IDS_MAX][2 * NUMBER_MAX];
	struct redis_arg argv[2 + DELETE_IDS_MAX] = {
		name, { key, stack_key_outbox(key, b->conf.prefix, instance) }
	};
	unsigned n = 0;

	for (uint32_t i = 0; i < places->count; i++) {
		const int len = snprintf(ids[n], sizeof(ids[n]), "%" PRIu64 "-%" PRIu64,
		                         places->at[i].ms, places->at[i].seq);

		argv[2 + n] = (struct redis_arg){ ids[n], (size_t)len };
		n++;
		if (n == DELETE_IDS_MAX || i + 1 == places->count) {
			add(b, argv, 2 + n);
			n = 0;
		}
	}
}

bool ack_is_without_error(const struct cx_buf *reply)
{
	struct redis_walk walk = redis_walk_start(reply);
	struct redis_value v;

	while (redis_walk_next(&walk, &v))
		if (v.kind == REDIS_ERROR)
			return false;
	return true;
}

/* ---- steps ---- */

static void end(struct ack_batcher *b)
{
	b->sweep.step = ACK_SWEEP_IDLE;
	b->sweep.corr = 0;
	b->sweep.dead_count = 0;
	b->sweep.places.count = 0;
}

static void ask(struct cx_ctx *ctx, struct ack_batcher *b, enum ack_sweep_step step)
{
	b->sweep.step = step;
	if (redis_batch_send(ctx, b->conf.redis, &b->batch, ASK_MS, &b->sweep.corr) != CX_OK)
		end(b);
}

static size_t lock_key(const struct ack_batcher *b, char *out)
{
	return (size_t)snprintf(out, STACK_KEY_MAX, "%soutbox-lock:%016" PRIx64, b->conf.prefix,
	                        b->sweep.instance);
}

static void ask_names(struct cx_ctx *ctx, struct ack_batcher *b)
{
	char key[STACK_KEY_MAX], now[NUMBER_MAX];
	const struct redis_arg argv[] = {
		REDIS_TEXT("ZRANGEBYSCORE"), { key, 0 },      REDIS_TEXT("-inf"), { now, 0 },
		REDIS_TEXT("LIMIT"),         REDIS_TEXT("0"), REDIS_TEXT("16"),
	};
	struct redis_arg all[CX_COUNTOF(argv)];

	snprintf(key, sizeof(key), "%s" NAMES, b->conf.prefix);
	snprintf(now, sizeof(now), "%" PRId64, cx_wall_ms(ctx));
	memcpy(all, argv, sizeof(argv));
	all[1] = arg(key);
	all[3] = arg(now);
	add(b, all, CX_COUNTOF(all));
	ask(ctx, b, ACK_SWEEP_LIST);
}

static void ask_alive(struct cx_ctx *ctx, struct ack_batcher *b)
{
	for (uint32_t i = 0; i < b->sweep.dead_count; i++) {
		char key[STACK_KEY_MAX];
		const struct redis_arg argv[] = {
			REDIS_TEXT("EXISTS"),
			{ key, stack_key_instance(key, b->conf.prefix, b->sweep.dead[i]) },
		};

		add(b, argv, 2);
	}
	ask(ctx, b, ACK_SWEEP_ALIVE);
}

static void ask_lock(struct cx_ctx *ctx, struct ack_batcher *b)
{
	char key[STACK_KEY_MAX];
	const struct redis_arg argv[] = {
		REDIS_TEXT("SET"), { key, lock_key(b, key) }, REDIS_TEXT("1"),
		REDIS_TEXT("NX"),  REDIS_TEXT("PX"),          REDIS_TEXT(LOCK_MS),
	};

	add(b, argv, CX_COUNTOF(argv));
	ask(ctx, b, ACK_SWEEP_LOCK);
}

static bool is_own(const struct ack_batcher *b)
{
	return b->sweep.instance == b->conf.instance;
}

static void ask_read(struct cx_ctx *ctx, struct ack_batcher *b)
{
	char lock[STACK_KEY_MAX], key[STACK_KEY_MAX], upto[NUMBER_MAX] = "+";
	const struct redis_arg renew[] = {
		REDIS_TEXT("PEXPIRE"),
		{ lock, lock_key(b, lock) },
		REDIS_TEXT(LOCK_MS),
	};
	struct redis_arg argv[] = {
		REDIS_TEXT("XRANGE"),
		{ key, stack_key_outbox(key, b->conf.prefix, b->sweep.instance) },
		REDIS_TEXT("-"),
		{ upto, 1 },
		REDIS_TEXT("COUNT"),
		REDIS_TEXT(CHUNK),
	};

	if (is_own(b))
		argv[3].len = (size_t)snprintf(upto, sizeof(upto), "%" PRId64,
		                               cx_wall_ms(ctx) - (int64_t)b->conf.sweep_age_ms);
	else
		add(b, renew, CX_COUNTOF(renew));
	add(b, argv, CX_COUNTOF(argv));
	ask(ctx, b, ACK_SWEEP_READ);
}

static void next_outbox(struct cx_ctx *ctx, struct ack_batcher *b)
{
	if (b->sweep.dead_count > 0) {
		b->sweep.instance = b->sweep.dead[--b->sweep.dead_count];
		ask_lock(ctx, b);
	} else if (!is_own(b)) {
		b->sweep.instance = b->conf.instance;
		ask_read(ctx, b);
	} else {
		end(b);
	}
}

static void ask_delete(struct cx_ctx *ctx, struct ack_batcher *b)
{
	ack_delete(b, b->sweep.instance, &b->sweep.places);
	b->sweep.places.count = 0;
	ask(ctx, b, ACK_SWEEP_DELETE);
}

static void ask_close(struct cx_ctx *ctx, struct ack_batcher *b)
{
	char lock[STACK_KEY_MAX], key[STACK_KEY_MAX], names[STACK_KEY_MAX],
		id[INSTANCE_HEX + 1];
	const struct redis_arg drop[] = {
		REDIS_TEXT("EVAL"),
		{ drop_when_empty, sizeof(drop_when_empty) - 1 },
		REDIS_TEXT("1"),
		{ key, stack_key_outbox(key, b->conf.prefix, b->sweep.instance) },
	};
	struct redis_arg forget[] = { REDIS_TEXT("ZREM"), { names, 0 }, { id, INSTANCE_HEX } };
	const struct redis_arg unlock[] = { REDIS_TEXT("DEL"), { lock, lock_key(b, lock) } };

	snprintf(names, sizeof(names), "%s" NAMES, b->conf.prefix);
	forget[1] = arg(names);
	snprintf(id, sizeof(id), "%016" PRIx64, b->sweep.instance);
	add(b, drop, CX_COUNTOF(drop));
	add(b, forget, CX_COUNTOF(forget));
	add(b, unlock, CX_COUNTOF(unlock));
	ask(ctx, b, ACK_SWEEP_CLOSE);
}

/* ---- answers ---- */

static bool parse_instance(struct wire_slice text, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t c = text.at[i];

		if (c >= '0' && c <= '9')
			*out = *out << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	return text.len == INSTANCE_HEX;
}

static void on_names(struct cx_ctx *ctx, struct ack_batcher *b, struct redis_walk walk)
{
	struct redis_value v;

	if (!redis_walk_next(&walk, &v) || v.kind != REDIS_ARRAY) {
		end(b);
		return;
	}
	while (b->sweep.dead_count < ACK_SWEEP_DEAD_MAX && redis_walk_next(&walk, &v)) {
		uint64_t id;

		if (parse_instance(v.text, &id) && id != b->conf.instance)
			b->sweep.dead[b->sweep.dead_count++] = id;
	}
	if (b->sweep.dead_count > 0)
		ask_alive(ctx, b);
	else
		next_outbox(ctx, b);
}

static void on_alive(struct cx_ctx *ctx, struct ack_batcher *b, struct redis_walk walk)
{
	struct redis_value v;
	uint32_t dead = 0;

	for (uint32_t i = 0; i < b->sweep.dead_count && redis_walk_next(&walk, &v); i++)
		if (v.kind == REDIS_INTEGER && v.integer == 0)
			b->sweep.dead[dead++] = b->sweep.dead[i];
	b->sweep.dead_count = dead;
	next_outbox(ctx, b);
}

static void on_lock(struct cx_ctx *ctx, struct ack_batcher *b, struct redis_walk walk)
{
	struct redis_value v;

	if (redis_walk_next(&walk, &v) && v.kind == REDIS_STATUS)
		ask_read(ctx, b);
	else
		next_outbox(ctx, b); /* somebody else is at it */
}

static bool parse_place(struct wire_slice text, struct ack_place *out)
{
	char copy[2 * NUMBER_MAX];

	if (text.len >= sizeof(copy))
		return false;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	return sscanf(copy, "%" SCNu64 "-%" SCNu64, &out->ms, &out->seq) == 2;
}

/* One entry: [2 id [2n name value ...]. */
static bool take_entry(struct ack_batcher *b, struct redis_walk *walk)
{
	struct redis_value v, value = { .kind = REDIS_NIL };
	struct ack_place place;
	uint32_t n;

	if (!redis_walk_next(walk, &v) || v.kind != REDIS_ARRAY || v.count != 2 ||
	    !redis_walk_next(walk, &v) || !parse_place(v.text, &place) ||
	    !redis_walk_next(walk, &v) || v.kind != REDIS_ARRAY)
		return false;
	for (uint32_t i = 0; i < v.count; i++)
		if (!redis_walk_next(walk, &value))
			return false;
	ack_places_push(&b->sweep.places, place);
	n = value.kind == REDIS_STRING ? ack_take_in(b, place, true, value.text) : 0;
	ack_count(&b->figures->swept, n);
	b->sweep.left += n > 0;
	return true;
}

static void on_chunk(struct cx_ctx *ctx, struct ack_batcher *b, struct redis_walk walk)
{
	struct redis_value v;
	bool is_whole;

	if (!is_own(b))
		redis_walk_skip(&walk);
	if (!redis_walk_next(&walk, &v) || v.kind != REDIS_ARRAY) {
		next_outbox(ctx, b); /* one that is no stream does not stop the others */
		return;
	}
	if (v.count == 0) {
		if (is_own(b))
			end(b);
		else
			ask_close(ctx, b);
		return;
	}
	is_whole = true;
	for (uint32_t i = 0; is_whole && i < v.count; i++)
		is_whole = take_entry(b, &walk);
	b->sweep.step = ACK_SWEEP_WRITING;
	if (b->sweep.left == 0)
		ask_delete(ctx, b); /* nothing in it can be read */
}

void ack_sweep_written(struct cx_ctx *ctx, struct ack_batcher *b)
{
	b->sweep.left--;
	if (b->sweep.left == 0 && b->sweep.step == ACK_SWEEP_WRITING)
		ask_delete(ctx, b);
}

void ack_sweep_begin(struct cx_ctx *ctx, struct ack_batcher *b)
{
	/* While Kafka takes nothing, memory holds what would be read. */
	if (b->sweep.step != ACK_SWEEP_IDLE || b->backoff_ms > 0)
		return;
	b->sweep.instance = 0;
	b->sweep.dead_count = 0;
	ask_names(ctx, b);
}

void ack_sweep_go_on(struct cx_ctx *ctx, struct ack_batcher *b, const struct cx_buf *reply)
{
	const enum ack_sweep_step step = b->sweep.step;

	b->sweep.corr = 0;
	/* A server that may be read and not written would give the same chunk again and again. */
	if (reply == NULL || (step == ACK_SWEEP_DELETE && !ack_is_without_error(reply))) {
		end(b);
		return;
	}
	if (step == ACK_SWEEP_LIST)
		on_names(ctx, b, redis_walk_start(reply));
	else if (step == ACK_SWEEP_ALIVE)
		on_alive(ctx, b, redis_walk_start(reply));
	else if (step == ACK_SWEEP_LOCK)
		on_lock(ctx, b, redis_walk_start(reply));
	else if (step == ACK_SWEEP_READ)
		on_chunk(ctx, b, redis_walk_start(reply));
	else if (step == ACK_SWEEP_DELETE)
		ask_read(ctx, b);
	else if (step == ACK_SWEEP_CLOSE) {
		ack_count(&b->figures->adopted, 1);
		next_outbox(ctx, b);
	}
}
