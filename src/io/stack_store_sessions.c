/* SPDX-License-Identifier: MIT */
/* Sessions as older servers left them: session:JTI is the user's id, user_sessions:USER the set of his
 * JTIs.  A session is written before its name goes into the set: what stands in the set and does not
 * exist is over, and may be taken out. */
#include <string.h>

#include "io/stack_store_internal.h"

#define KEYS_A_COMMAND 100
#define TIDY_OVER \
	32 /* names: a login looks at some, and takes out those of sessions that are over */
#define TIDY_MAX 16
#define ENDLESS_MS INT64_C(31622400000) /* what is said of a session without an end */
/* Sets of older servers have no TTL, and how long their sessions live is not known here. */
#define OLD_SET_MS "31622400000"

static struct stack_key session_key(const struct uuid *jti)
{
	return stack_key_uuid("session:", jti);
}

static struct stack_key set_key(const struct uuid *user)
{
	return stack_key_uuid("user_sessions:", user);
}

/* ---- tidying: names of sessions that are over leave the set ---- */

/* The session is written: whatever becomes of the tidying. */
static void on_tidied(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                      const struct stack_answer *a)
{
	(void)a;
	stack_end(ctx, s, op, STORE_OK);
}

/* Pairs of name and whether the session lives. */
static void remove_dead(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        const struct stack_answer *a)
{
	const struct stack_key set = set_key(&op->ask.user);
	struct redis_arg rem[TIDY_MAX + 2] = { REDIS_TEXT("SREM"), stack_arg(&set) };
	struct redis_walk walk;
	struct redis_value name, lives;
	unsigned n = 2;

	if (a->is_ok) {
		walk = redis_walk_start(a->buf);
		while (n < TIDY_MAX + 2 && redis_walk_next(&walk, &name) &&
		       redis_walk_next(&walk, &lives))
			if (name.kind == REDIS_STRING && lives.kind == REDIS_INTEGER &&
			    lives.integer == 0)
				rem[n++] = (struct redis_arg){ name.text.at, name.text.len };
	}
	if (n == 2) {
		stack_end(ctx, s, op, STORE_OK);
		return;
	}
	redis_batch_add(&s->redis, rem, n);
	stack_ask_redis(ctx, s, op, on_tidied);
}

static void ask_which_live(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                           const struct stack_answer *a)
{
	struct redis_walk walk;
	struct redis_value v;
	struct uuid jti;

	if (a->is_ok) {
		walk = redis_walk_start(a->buf);
		while (redis_walk_next(&walk, &v)) {
			struct stack_key key;
			const struct redis_arg echo[] = { REDIS_TEXT("ECHO"),
				                          { v.text.at, v.text.len } };

			if (v.kind != REDIS_STRING || !uuid_parse(v.text, &jti, NULL))
				continue;
			key = session_key(&jti);
			redis_batch_add(&s->redis, echo, 2);
			redis_batch_add(&s->redis,
			                (const struct redis_arg[]){ REDIS_TEXT("EXISTS"),
			                                            stack_arg(&key) },
			                2);
		}
	}
	if (s->redis.count == 0)
		stack_end(ctx, s, op, STORE_OK);
	else
		stack_ask_redis(ctx, s, op, remove_dead);
}

/* ---- put ---- */

static int64_t last_integer(const struct stack_answer *a)
{
	struct redis_walk walk = redis_walk_start(a->buf);
	struct redis_value v;
	int64_t last = 0;

	while (redis_walk_next(&walk, &v))
		last = v.integer;
	return last;
}

static void tidy(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key set = set_key(&op->ask.user);
	const struct redis_arg some[] = { REDIS_TEXT("SRANDMEMBER"), stack_arg(&set),
		                          REDIS_TEXT("16") };

	if (op->ask.n <= TIDY_OVER) {
		stack_end(ctx, s, op, STORE_OK);
		return;
	}
	redis_batch_add(&s->redis, some, CX_COUNTOF(some));
	stack_ask_redis(ctx, s, op, ask_which_live);
}

/* ---- a login whose password was changed meanwhile ----
 *
 * The session is written first, then the hash is looked at again.  A change of the password writes the
 * hash first, then ends the sessions that are there: one of the two sees the other. */

static void on_undone(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                      const struct stack_answer *a)
{
	stack_end(ctx, s, op, a->is_ok ? STORE_CHANGED : STORE_FAILED);
}

static void on_still(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                     const struct stack_answer *a)
{
	const struct stack_key session = session_key(&op->ask.jti);
	const struct stack_key set = set_key(&op->ask.user);
	const struct stack_key jti = stack_key_uuid("", &op->ask.jti);
	const struct redis_arg del[] = { REDIS_TEXT("DEL"), stack_arg(&session) };
	const struct redis_arg rem[] = { REDIS_TEXT("SREM"), stack_arg(&set), stack_arg(&jti) };

	if (a->is_ok && stack_affected(a) > 0) {
		tidy(ctx, s, op);
		return;
	}
	/* not known counts as changed: nobody has been told of this session */
	redis_batch_add(&s->redis, del, CX_COUNTOF(del));
	redis_batch_add(&s->redis, rem, CX_COUNTOF(rem));
	stack_ask_redis(ctx, s, op, on_undone);
}

static void look_again(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct postgres_param params[] = { stack_uuid(&op->ask.user),
		                                 stack_text(op->ask.was_hash) };

	stack_ask_sql(ctx, s, op, STACK_SQL_HAS_HASH, params, 2, on_still);
}

static void on_written(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       const struct stack_answer *a)
{
	if (!a->is_ok) {
		stack_end(ctx, s, op, STORE_FAILED);
		return;
	}
	op->ask.n = last_integer(a); /* names in the set */
	if (op->ask.was_hash[0] != '\0')
		look_again(ctx, s, op);
	else
		tidy(ctx, s, op);
}

static void add_expiry(struct stack_store *s, struct redis_arg set, struct redis_arg ttl,
                       const char *when)
{
	const struct redis_arg expire[] = { REDIS_TEXT("PEXPIRE"), set, ttl, { when, 2 } };

	redis_batch_add(&s->redis, expire, CX_COUNTOF(expire));
}

void stack_session_write(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key session = session_key(&op->ask.jti);
	const struct stack_key set = set_key(&op->ask.user);
	const struct stack_key jti = stack_key_uuid("", &op->ask.jti);
	const struct stack_key user = stack_key_uuid("", &op->ask.user);
	struct stack_key number;
	const struct redis_arg ttl = stack_arg_number(op->ask.ttl_ms, &number);
	const struct redis_arg add[] = { REDIS_TEXT("SADD"), stack_arg(&set), stack_arg(&jti) };
	const struct redis_arg count[] = { REDIS_TEXT("SCARD"), stack_arg(&set) };
	const struct redis_arg put[] = { REDIS_TEXT("SET"), stack_arg(&session),
		                         stack_arg(&user), REDIS_TEXT("PX"), ttl };

	if (op->ask.ttl_ms < 1) {
		stack_end(ctx, s, op, STORE_FAILED);
		return;
	}
	redis_batch_add(&s->redis, put, CX_COUNTOF(put));
	add_expiry(s, stack_arg(&set), (struct redis_arg)REDIS_TEXT(OLD_SET_MS), "NX");
	redis_batch_add(&s->redis, add, CX_COUNTOF(add));
	add_expiry(s, stack_arg(&set), ttl, "NX"); /* a new one; GT does not work on those */
	add_expiry(s, stack_arg(&set), ttl, "GT");
	redis_batch_add(&s->redis, count, CX_COUNTOF(count));
	stack_ask_redis(ctx, s, op, on_written);
}

static void on_user(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                    const struct stack_answer *a)
{
	if (a->is_ok && stack_affected(a) > 0)
		stack_session_write(ctx, s, op);
	else
		stack_end_affected(ctx, s, op, a);
}

void stack_session_put(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct postgres_param params[] = { stack_uuid(&op->ask.user),
		                                 stack_text(op->ask.was_hash) };

	stack_ask_sql(ctx, s, op, STACK_SQL_HAS_HASH, params, 2, on_user);
}

/* ---- get ---- */

static void on_name(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                    const struct stack_answer *a)
{
	if (a->is_ok && stack_affected(a) == 0) {
		stack_end(ctx, s, op, STORE_NOT_FOUND); /* a session of nobody */
	} else if (a->is_ok && stack_fill_user(a, &op->result)) {
		memset(op->result.hash, 0, sizeof(op->result.hash));
		stack_end(ctx, s, op, STORE_OK);
	} else {
		stack_end(ctx, s, op, STORE_FAILED);
	}
}

/* The user id that is the first value of an answer; false: none is there. */
static bool take_user(const struct stack_answer *a, struct uuid *out)
{
	char text[STACK_KEY_MAX];

	return stack_first_text(a, text) && uuid_parse(wire_text(text), out, NULL);
}

static void on_session(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       const struct stack_answer *a)
{
	struct uuid user;

	if (!a->is_ok) {
		stack_end(ctx, s, op, STORE_FAILED);
	} else if (!take_user(a, &user)) {
		stack_end(ctx, s, op, STORE_NOT_FOUND);
	} else {
		const struct postgres_param param = stack_uuid(&user);
		const int64_t ttl_ms = last_integer(a);

		/* -1: a session of an older server without an end; -2: it ended in between */
		op->result.ttl_ms = ttl_ms == -1 ? ENDLESS_MS : ttl_ms > 0 ? ttl_ms : 1;
		stack_ask_sql(ctx, s, op, STACK_SQL_BY_ID, &param, 1, on_name);
	}
}

void stack_session_get(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key key = session_key(&op->ask.jti);
	const struct redis_arg get[] = { REDIS_TEXT("GET"), stack_arg(&key) };
	const struct redis_arg ttl[] = { REDIS_TEXT("PTTL"), stack_arg(&key) };

	redis_batch_add(&s->redis, get, 2);
	redis_batch_add(&s->redis, ttl, 2);
	stack_ask_redis(ctx, s, op, on_session);
}

/* ---- end one ---- */

/* The session is over; what is left in the set is a name that leads nowhere. */
static void on_forgotten(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                         const struct stack_answer *a)
{
	(void)a;
	stack_end(ctx, s, op, STORE_OK);
}

static void on_taken(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                     const struct stack_answer *a)
{
	struct uuid user;

	if (!a->is_ok) {
		stack_end(ctx, s, op, STORE_FAILED);
	} else if (!take_user(a, &user)) {
		stack_end(ctx, s, op, STORE_NOT_FOUND);
	} else {
		const struct stack_key set = set_key(&user);
		const struct stack_key jti = stack_key_uuid("", &op->ask.jti);
		const struct redis_arg rem[] = { REDIS_TEXT("SREM"), stack_arg(&set),
			                         stack_arg(&jti) };

		redis_batch_add(&s->redis, rem, 3);
		stack_ask_redis(ctx, s, op, on_forgotten);
	}
}

void stack_session_delete(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op)
{
	const struct stack_key key = session_key(&op->ask.jti);
	const struct redis_arg take[] = { REDIS_TEXT("GETDEL"), stack_arg(&key) };

	redis_batch_add(&s->redis, take, 2);
	stack_ask_redis(ctx, s, op, on_taken);
}

/* ---- end all, or all but one ---- */

struct gathering { /* up to KEYS_A_COMMAND sessions for one DEL and one SREM */
	struct stack_key keys[KEYS_A_COMMAND];
	unsigned n;
};

static void flush(struct stack_store *s, struct gathering *g, const struct stack_key *set)
{
	static const size_t prefix = sizeof("session:") - 1;
	struct redis_arg del[KEYS_A_COMMAND + 1] = { REDIS_TEXT("DEL") };
	struct redis_arg rem[KEYS_A_COMMAND + 2] = { REDIS_TEXT("SREM"), stack_arg(set) };

	if (g->n == 0)
		return;
	for (unsigned i = 0; i < g->n; i++) {
		del[i + 1] = stack_arg(&g->keys[i]);
		rem[i + 2] =
			(struct redis_arg){ g->keys[i].text + prefix, g->keys[i].len - prefix };
	}
	redis_batch_add(&s->redis, del, g->n + 1);
	redis_batch_add(&s->redis, rem, g->n + 2);
	g->n = 0;
}

/* The commands that end what the set holds, into s->redis; false: there are none. */
static bool gather_all(struct stack_store *s, const struct stack_op *op,
                       const struct stack_answer *a)
{
	const struct stack_key set = set_key(&op->ask.user);
	struct redis_walk walk = redis_walk_start(a->buf);
	struct gathering g = { .n = 0 };
	struct redis_value v;
	struct uuid jti;

	while (redis_walk_next(&walk, &v)) {
		/* what is no id is no session: nobody could log in with it */
		if (v.kind != REDIS_STRING || !uuid_parse(v.text, &jti, NULL) ||
		    uuid_equal(&jti, &op->ask.jti))
			continue;
		g.keys[g.n++] = session_key(&jti);
		if (g.n == KEYS_A_COMMAND)
			flush(s, &g, &set);
	}
	flush(s, &g, &set);
	return s->redis.count > 0;
}

static void on_members(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                       const struct stack_answer *a)
{
	if (a->is_ok && gather_all(s, op, a))
		stack_ask_redis(ctx, s, op, op->after);
	else
		op->after(ctx, s, op, a);
}

void stack_sessions_end(struct cx_ctx *ctx, struct stack_store *s, struct stack_op *op,
                        stack_step_fn *then)
{
	const struct stack_key set = set_key(&op->ask.user);
	const struct redis_arg members[] = { REDIS_TEXT("SMEMBERS"), stack_arg(&set) };

	op->after = then;
	redis_batch_add(&s->redis, members, 2);
	stack_ask_redis(ctx, s, op, on_members);
}
