/* SPDX-License-Identifier: MIT */
/* A cache whose entries end by a timer of their own.  PUT and GET are asks; a value is a cx_buf, so
 * the cache, its answer and the client share the same bytes.
 *
 *   make timer_cache && ./timer_cache
 */
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include <cx/actor.h>
#include <cx/runtime.h>

#define ENTRIES 16
#define ASK_TIMEOUT_MS 5000
#define SHORT_MS 50
#define LONG_MS 60000

enum { PUT = CX_MSG_USER, GET, VALUE, EXPIRED, PAUSE_OVER };

struct request { /* PUT (the value is hdr.buf) and GET */
	struct cx_msg hdr;
	unsigned key;
	unsigned ttl_ms;
};

/* VALUE, the answer to both: a bare cx_msg; buf is what the key holds now, or NULL. */

/* --- cache ----------------------------------------------------------------------------------- */

struct entry {
	struct cx_timer timer; /* first, so that a fired timer is its entry */
	struct cx_buf *value;  /* or NULL; one reference is the entry's */
};

struct cache {
	struct entry entries[ENTRIES];
};

static void answer(struct cx_ctx *ctx, const struct cx_msg *req, const struct entry *entry)
{
	struct cx_msg *value = CX_MSG_NEW(ctx, VALUE, struct cx_msg);

	value->buf = cx_buf_ref(entry->value); /* goes with the message */
	cx_reply(ctx, req, value);
}

static void on_put(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct request *put = CX_MSG_AS(struct request, msg);
	struct entry *entry = &((struct cache *)state)->entries[put->key % ENTRIES];

	cx_buf_unref(entry->value);
	entry->value = cx_buf_ref(msg->buf); /* the message is borrowed: keep a reference */
	cx_timer_arm(ctx, &entry->timer, put->ttl_ms, EXPIRED); /* moves it when it runs */
	answer(ctx, msg, entry);
}

static void on_get(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const unsigned key = CX_MSG_AS(struct request, msg)->key;

	answer(ctx, msg, &((struct cache *)state)->entries[key % ENTRIES]);
}

static void on_expired(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct entry *entry = (struct entry *)CX_MSG_AS(struct cx_msg_timer, msg)->timer;

	(void)ctx;
	(void)state;
	cx_buf_unref(entry->value);
	entry->value = NULL;
}

static void stop_cache(struct cx_ctx *ctx, void *state)
{
	struct cache *cache = state;

	(void)ctx; /* timers end with their actor, references do not */
	for (unsigned i = 0; i < ENTRIES; i++)
		cx_buf_unref(cache->entries[i].value);
}

static const struct cx_handler cache_handlers[] = {
	CX_ON(PUT, struct request, on_put),
	CX_ON(GET, struct request, on_get),
	CX_ON(EXPIRED, struct cx_msg_timer, on_expired),
};

static const struct cx_actor_type cache_type = {
	.name = "cache",
	.state_size = sizeof(struct cache),
	.mailbox_cap = 64,
	.placement = CX_PLACE_HOME,
	.stop = stop_cache,
	.handlers = cache_handlers,
	.handler_count = CX_COUNTOF(cache_handlers),
};

/* --- client: one step after the other, each compared with what must come ------------------- */

static const struct step {
	uint32_t type; /* PUT, GET, or PAUSE_OVER: wait for ms */
	unsigned key;
	unsigned ms;       /* of PUT its time to live */
	const char *value; /* put, or expected; NULL: nothing */
} steps[] = {
	{ GET, 1, 0, NULL },
	{ PUT, 1, SHORT_MS, "one" },
	{ PUT, 2, LONG_MS, "two" },
	{ PUT, 3, SHORT_MS, "three" },
	{ PUT, 3, LONG_MS, "drei" }, /* a new value and a later end */
	{ PAUSE_OVER, 0, 3 * SHORT_MS, NULL },
	{ GET, 1, 0, NULL }, /* its time is over */
	{ GET, 2, 0, "two" },
	{ GET, 3, 0, "drei" },
	{ PUT, 1, LONG_MS, "uno" },
	{ GET, 1, 0, "uno" },
};

struct result {
	sem_t finished;
	unsigned good; /* steps that gave what they must */
};

struct client {
	struct cx_ref cache;
	struct result *result; /* outlives the runtime */
	struct cx_timer pause;
};

static enum cx_err ask(struct cx_ctx *ctx, struct cx_ref cache, const struct step *step)
{
	struct request *request = CX_MSG_NEW(ctx, step->type, struct request);
	uint64_t corr;

	request->key = step->key;
	request->ttl_ms = step->ms;
	if (step->type == PUT)
		request->hdr.buf = cx_buf_copy(step->value, strlen(step->value));
	return cx_ask(ctx, cache, &request->hdr, ASK_TIMEOUT_MS, &corr);
}

static void begin_step(struct cx_ctx *ctx, struct client *c)
{
	const struct step *step = &steps[c->result->good];

	if (c->result->good < CX_COUNTOF(steps) && step->type == PAUSE_OVER)
		cx_timer_arm(ctx, &c->pause, step->ms, PAUSE_OVER);
	else if (c->result->good == CX_COUNTOF(steps) || ask(ctx, c->cache, step) != CX_OK)
		sem_post(&c->result->finished);
}

static bool is_expected(const struct cx_msg *msg, const char *want)
{
	if (msg->type == CX_MSG_ERROR || want == NULL || msg->buf == NULL)
		return msg->type != CX_MSG_ERROR && want == NULL && msg->buf == NULL;
	return cx_buf_len(msg->buf) == strlen(want) &&
	       memcmp(cx_buf_bytes(msg->buf), want, strlen(want)) == 0;
}

static void on_step_ended(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct client *c = state;

	if (is_expected(msg, steps[c->result->good].value)) {
		c->result->good++;
		begin_step(ctx, c);
	} else {
		sem_post(&c->result->finished);
	}
}

static enum cx_err start_client(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct client *c = state;

	*c = *(const struct client *)conf;
	begin_step(ctx, c);
	return CX_OK;
}

static const struct cx_handler client_handlers[] = {
	CX_ON(VALUE, struct cx_msg, on_step_ended),
	CX_ON(PAUSE_OVER, struct cx_msg_timer, on_step_ended),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_step_ended),
};

static const struct cx_actor_type client_type = {
	.name = "client",
	.state_size = sizeof(struct client),
	.conf_size = sizeof(struct client),
	.mailbox_cap = 64,
	.placement = CX_PLACE_HOME,
	.start = start_client,
	.handlers = client_handlers,
	.handler_count = CX_COUNTOF(client_handlers),
};

/* --- main ------------------------------------------------------------------------------------ */

static enum cx_err play(struct cx_runtime *rt, struct result *result)
{
	struct client conf = { .result = result };
	struct cx_ref client;
	enum cx_err err = cx_runtime_spawn(rt, &cache_type, NULL, 1, &conf.cache);

	if (err == CX_OK)
		err = cx_runtime_spawn(rt, &client_type, &conf, 2, &client);
	if (err == CX_OK)
		err = cx_runtime_start(rt);
	if (err != CX_OK)
		return err;
	while (sem_wait(&result->finished) != 0)
		;
	cx_runtime_stop(rt);
	return CX_OK;
}

int main(void)
{
	const struct cx_runtime_conf conf = { .workers = 2 };
	struct result result = { .good = 0 };
	struct cx_runtime *rt;
	enum cx_err err;

	sem_init(&result.finished, 0, 0);
	err = cx_runtime_new(&conf, &rt);
	if (err == CX_OK) {
		err = play(rt, &result);
		cx_runtime_free(rt);
	}
	printf("%u of %zu steps: %s\n", result.good, CX_COUNTOF(steps), cx_err_text(err));
	return err == CX_OK && result.good == CX_COUNTOF(steps) ? 0 : 1;
}
