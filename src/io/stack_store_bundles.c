/* SPDX-License-Identifier: MIT */
/* Key bundles, and a cache of them that is never stale for longer than Redis itself forgets.
 *
 * Invariants
 * 1. PostgreSQL holds the bundle.  The cache is filled from it with SET NX only.
 * 2. Whoever changes a bundle first writes DOUBT over the cache, which lasts for longer than any
 *    question: a reader that saw the row from before finds it when he comes to fill the cache.
 * 3. Without a DOUBT nothing is changed: Redis that cannot be asked makes a change fail, and a read
 *    go to PostgreSQL.
 *
 * The value: MAGIC (u32), length of the name (u32), the name, the blob of store.h, all in the order of
 * the machine; another machine's order is another MAGIC, which is a miss, as is an older server's. */
#include <stdlib.h>
#include <string.h>

#include "io/stack_store_internal.h"

#define MAGIC UINT32_C(0x31627863)
#define DOUBT "!"
#define DOUBT_MS "60000"
#define CACHE_WAIT_MS 250 /* then PostgreSQL is faster */

static struct stack_key cache_key(const struct stack_op *op)
{
	return stack_key_uuid("key_bundle:", &op->ask.user);
}

/* ---- the cache ---- */

static struct cx_buf *pack_cached(const char *name, const struct cx_buf *blob)
{
	const uint32_t head[2] = { MAGIC, (uint32_t)strlen(name) };
	const size_t len = cx_buf_len(blob);
	struct cx_buf *const buf = cx_buf_new(sizeof(head) + head[1] + len);
	uint8_t *const at = cx_buf_data(buf);

	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), name, head[1]);
	memcpy(at + sizeof(head) + head[1], cx_buf_bytes(blob), len);
	return buf;
}

static bool unpack_cached(struct wire_slice text, struct stack_op *op)
{
	struct store_bundle ignored;
	uint32_t head[2];

	if (text.len < sizeof(head))
		return false;
	memcpy(head, text.at, sizeof(head));
	if (head[0] != MAGIC || head[1] >= sizeof(op->result.text) ||
	    text.len - sizeof(head) < head[1])
		return false;
	memcpy(op->result.text, text.at + sizeof(head), head[1]);
	op->result.text[head[1]] = '\0';
	op->found = cx_buf_copy(text.at + sizeof(head) + head[1],
	                        text.len - sizeof(head) - head[1]);
	if (store_bundle_unpack(op->found, &ignored))
		return true;
	cx_buf_unref(op->found);
	op->found = NULL;
	return false;
}

/* Nobody waits for it: an answer to no operation is dropped. */
static void fill_cache(struct cx_ctx *ctx, struct stack_store *s, const struct stack_op *op)
{
	const struct stack_key key = cache_key(op);
	struct stack_key ttl;
	struct cx_buf *const value = pack_cached(op->result.text, op->found);
	const struct redis_arg set[] = {
		REDIS_TEXT("SET"), stack_arg(&key),  { cx_buf_bytes(value), cx_buf_len(value) },
		REDIS_TEXT("NX"),  REDIS_TEXT("PX"), stack_arg_number(s->conf.cache_ms, &ttl),
	};
	uint64_t corr;
	/* what is not sent is a miss next time */
	const enum cx_err err =
		redis_call(ctx, s->conf.redis, set, CX_COUNTOF(set), CACHE_WAIT_MS, &corr);

	(void)err;
	cx_buf_unref(value);
}

void stack_bundle_doubt(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        stack_step_fn *then)
{
	const struct stack_key key = cache_key(op);
	const struct redis_arg set[] = { REDIS_TEXT("SET"), stack_arg(&key), REDIS_TEXT(DOUBT),
		                         REDIS_TEXT("PX"), REDIS_TEXT(DOUBT_MS) };

	redis_batch_add(&s->redis, set, CX_COUNTOF(set));
	stack_ask_redis(ctx, s, op, then);
}

/* ---- get ---- */

static bool fill_bundle(const struct stack_answer *a, struct stack_op *op)
{
	struct postgres_walk walk = postgres_walk_start(a->buf);
	struct postgres_answer answer;
	struct postgres_value v[5];
	struct store_bundle b;

	if (!postgres_walk_answer(&walk, &answer) || answer.rows != 1 || answer.columns != 5)
		return false;
	for (unsigned i = 0; i < 5; i++)
		if (!postgres_walk_value(&walk, &v[i]) || v[i].at == NULL)
			return false;
	if (v[1].len >= sizeof(op->result.text))
		return false;
	memcpy(op->result.text, v[1].at, v[1].len);
	op->result.text[v[1].len] = '\0';
	b = (struct store_bundle){ .master_key = v[2].at,
		                   .data = v[3].at,
		                   .signature = v[4].at,
		                   .master_key_len = v[2].len,
		                   .data_len = v[3].len,
		                   .signature_len = v[4].len };
	op->found = store_bundle_pack(&b);
	return true;
}

static void on_row(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                   const struct stack_answer *a)
{
	if (a->is_ok && stack_affected(a) == 0) {
		stack_end(ctx, s, op, STORE_NOT_FOUND);
	} else if (a->is_ok && fill_bundle(a, op)) {
		fill_cache(ctx, s, op);
		stack_end(ctx, s, op, STORE_OK);
	} else {
		stack_end(ctx, s, op, STORE_FAILED);
	}
}

static void on_cached(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                      const struct stack_answer *a)
{
	const struct postgres_param param = stack_uuid(&op->ask.user);
	struct redis_walk walk;
	struct redis_value v;

	if (a->is_ok) {
		walk = redis_walk_start(a->buf);
		if (redis_walk_next(&walk, &v) && v.kind == REDIS_STRING &&
		    unpack_cached(v.text, op)) {
			stack_count(&s->figures->cache_hits, 1);
			stack_end(ctx, s, op, STORE_OK);
			return;
		}
	}
	stack_count(&s->figures->cache_misses, 1);
	stack_ask_sql(ctx, s, op, STACK_SQL_BUNDLE_GET, &param, 1, on_row);
}

void stack_bundle_get(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key key = cache_key(op);
	const struct redis_arg get[] = { REDIS_TEXT("GET"), stack_arg(&key) };
	uint64_t corr = 0;
	const enum cx_err err = redis_call(ctx, s->conf.redis, get, 2, CACHE_WAIT_MS, &corr);

	stack_wait(ctx, s, op, err, corr, on_cached);
}

/* ---- put ---- */

static void on_put(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                   const struct stack_answer *a)
{
	stack_end_affected(ctx, s, op, a);
}

static void put(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                const struct stack_answer *a)
{
	struct store_bundle b;

	if (!a->is_ok || !store_bundle_unpack(op->ask.hdr.buf, &b)) {
		stack_end(ctx, s, op, STORE_FAILED);
	} else {
		const struct postgres_param params[] = {
			stack_uuid(&op->ask.user),
			{ b.master_key, b.master_key_len },
			{ b.data, b.data_len },
			{ b.signature, b.signature_len },
		};

		stack_ask_sql(ctx, s, op, STACK_SQL_BUNDLE_PUT, params, 4, on_put);
	}
}

void stack_bundle_put(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	struct store_bundle ignored;

	if (store_bundle_unpack(op->ask.hdr.buf, &ignored))
		stack_bundle_doubt(ctx, s, op, put);
	else
		stack_end(ctx, s, op, STORE_FAILED);
}
