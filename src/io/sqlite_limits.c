/* SPDX-License-Identifier: MIT */
/* Limits: fixed windows and token buckets, in whole numbers.
 *
 * A bucket is kept as what is missing from it, in tokens times window: each millisecond gives
 * back `max` of these units, so an even refill needs no fractions.  Time that runs backwards
 * gives nothing back, and never takes longer than one window to get over. */
#include "io/sqlite_db.h"
#include "io/sqlite_engine.h"

#define WINDOW_MAX_MS (INT64_C(366) * 86400000)
#define TOKENS_MAX 1000000

struct limit {
	int64_t level;
	int64_t since_ms;
};

/* Zero for one that is not there; false: could not be asked. */
static bool get_limit(struct sqlite_engine *e, const struct store_op *op, struct limit *out)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_LIMIT_GET];
	int rc;

	*out = (struct limit){ 0, e->wall_ms };
	sqlite3_bind_blob(s, 1, op->key, sizeof(op->key), SQLITE_STATIC);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		out->level = sqlite3_column_int64(s, 0);
		out->since_ms = sqlite3_column_int64(s, 1);
	}
	sqlite3_reset(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
		sqlite_trouble(e, "limit_get");
		return false;
	}
	return true;
}

static enum store_outcome put_limit(struct sqlite_engine *e, const struct store_op *op,
                                    const struct limit *limit, int64_t expires_ms)
{
	sqlite3_stmt *const s = e->sql[SQLITE_W_LIMIT_PUT];

	sqlite3_bind_blob(s, 1, op->key, sizeof(op->key), SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, limit->level);
	sqlite3_bind_int64(s, 3, limit->since_ms);
	sqlite3_bind_int64(s, 4, expires_ms);
	if (sqlite_run(s))
		return STORE_OK;
	sqlite_trouble(e, "limit_put");
	return STORE_FAILED;
}

/* Over the limit.  A clock that went back is written down all the same, or the wait would start
 * anew with each question until the clock has caught up. */
static enum store_outcome refuse(struct sqlite_engine *e, const struct store_op *op,
                                 const struct limit *limit, bool clock_went_back)
{
	if (clock_went_back &&
	    put_limit(e, op, limit, limit->since_ms + op->window_ms) != STORE_OK)
		return STORE_FAILED;
	return STORE_LIMIT;
}

/* n = 0 asks whether one more would pass, and takes nothing. */
static enum store_outcome take(struct sqlite_engine *e, const struct store_op *op,
                               struct store_result *result)
{
	struct limit limit;
	bool back;

	if (!get_limit(e, op, &limit))
		return STORE_FAILED;
	back = limit.since_ms > e->wall_ms;
	if (back)
		limit.since_ms =
			e->wall_ms; /* the count stays: a whole window to wait at most */
	if (e->wall_ms - limit.since_ms >= op->window_ms)
		limit = (struct limit){ 0, e->wall_ms };
	if (limit.level + (op->n == 0 ? 1 : op->n) > op->max) {
		result->retry_ms = limit.since_ms + op->window_ms - e->wall_ms;
		return refuse(e, op, &limit, back);
	}
	result->granted = op->n;
	if (op->n == 0)
		return STORE_OK;
	limit.level = limit.level + op->n < 0 ? 0 : limit.level + op->n;
	return put_limit(e, op, &limit, limit.since_ms + op->window_ms);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
	return v < low ? low : v > high ? high : v;
}

static enum store_outcome lease(struct sqlite_engine *e, const struct store_op *op,
                                struct store_result *result)
{
	const int64_t full = op->max * op->window_ms;
	struct limit missing;
	int64_t refill, available;
	bool back;

	if (!get_limit(e, op, &missing))
		return STORE_FAILED;
	back = missing.since_ms > e->wall_ms;
	refill = clamp(e->wall_ms - missing.since_ms, 0, op->window_ms) * op->max;
	missing.since_ms = e->wall_ms;
	missing.level = clamp(clamp(missing.level, 0, full) - refill, 0, full);
	available = (full - missing.level) / op->window_ms;
	if (available == 0 && op->n >= 0) {
		/* a token is there once no more than max - 1 are missing */
		result->retry_ms =
			(missing.level - (full - op->window_ms) + op->max - 1) / op->max;
		return refuse(e, op, &missing, back);
	}
	result->granted = op->n < available ? op->n : available;
	missing.level = clamp(missing.level + result->granted * op->window_ms, 0, full);
	return put_limit(e, op, &missing, e->wall_ms + (missing.level + op->max - 1) / op->max);
}

enum store_outcome sqlite_limit_write(struct sqlite_engine *e, const struct store_op *op,
                                      struct store_result *result)
{
	if (op->what == STORE_LIMIT_RESET) {
		sqlite3_stmt *const s = e->sql[SQLITE_W_LIMIT_DELETE];

		sqlite3_bind_blob(s, 1, op->key, sizeof(op->key), SQLITE_STATIC);
		if (sqlite_run(s))
			return STORE_OK;
		sqlite_trouble(e, "limit_reset");
		return STORE_FAILED;
	}
	if (op->max < 1 || op->max > TOKENS_MAX || op->window_ms < 1 ||
	    op->window_ms > WINDOW_MAX_MS || op->n > TOKENS_MAX || op->n < -TOKENS_MAX)
		return STORE_FAILED;
	return op->what == STORE_LIMIT_TAKE ? take(e, op, result) : lease(e, op, result);
}
