/* SPDX-License-Identifier: MIT */
#include "support/kafka_double.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#define RECORDS_MAX 100000
#define PLACES_MAX 4096
#define WAIT_MS 20000
#define RELEASE CONSTRUCT_MSG_END /* an id that the relay does not use */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kafka_double_record *records[RECORDS_MAX];
static struct cx_caller callers[RECORDS_MAX];
static unsigned record_count, answered_count, written_count;
static enum kafka_outcome outcome = KAFKA_OK;
static unsigned outcome_left;
static bool is_holding;
static unsigned allowed; /* answers while holding */
static struct kafka_double_place places[PLACES_MAX];
static unsigned place_count, place_taken;

static enum kafka_outcome next_outcome(void)
{
	const enum kafka_outcome now = outcome;

	if (outcome_left > 0 && --outcome_left == 0)
		outcome = KAFKA_OK;
	return now;
}

static void answer_all(struct cx_ctx *ctx)
{
	for (; answered_count < record_count && (!is_holding || allowed > 0);
	     answered_count++) {
		struct kafka_produced *const m =
			CX_MSG_NEW(ctx, KAFKA_PRODUCED, struct kafka_produced);

		allowed -= is_holding;
		m->outcome = records[answered_count]->outcome = next_outcome();
		m->offset = answered_count;
		written_count += m->outcome == KAFKA_OK;
		cx_answer(ctx, callers[answered_count], &m->hdr);
	}
}

static void on_produce(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_produce_msg *const m = CX_MSG_AS(struct kafka_produce_msg, msg);
	struct kafka_double_record *const r = calloc(1, sizeof(*r));

	(void)state;
	r->topic = m->topic;
	r->headers_len = m->headers_len;
	memcpy(r->key, m->key, m->key_len);
	r->len = cx_buf_len(msg->buf);
	cx_assert(r->len <= sizeof(r->bytes));
	memcpy(r->bytes, cx_buf_bytes(msg->buf), r->len);
	pthread_mutex_lock(&mutex);
	cx_assert(record_count < RECORDS_MAX);
	callers[record_count] = cx_caller_of(msg);
	records[record_count++] = r;
	answer_all(ctx);
	pthread_mutex_unlock(&mutex);
}

static void on_release(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	pthread_mutex_lock(&mutex);
	answer_all(ctx);
	pthread_mutex_unlock(&mutex);
}

static void on_place(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct kafka_place *const m = CX_MSG_AS(struct kafka_place, msg);

	(void)ctx;
	(void)state;
	cx_assert(m->topic == 1 || m->topic == 0);
	pthread_mutex_lock(&mutex);
	cx_assert(place_count < PLACES_MAX);
	places[place_count++] = (struct kafka_double_place){ msg->type, m->epoch, m->partition,
		                                             m->next_offset };
	pthread_mutex_unlock(&mutex);
}

static const struct cx_handler producer_handlers[] = {
	CX_ON(KAFKA_PRODUCE, struct kafka_produce_msg, on_produce),
	CX_ON(RELEASE, struct cx_msg, on_release),
};

static const struct cx_actor_type producer_type = {
	.name = "producer_double",
	.state_size = 8,
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.handlers = producer_handlers,
	.handler_count = CX_COUNTOF(producer_handlers),
};

static const struct cx_handler consumer_handlers[] = {
	CX_ON(KAFKA_DONE, struct kafka_place, on_place),
	CX_ON(KAFKA_REVOKED_DONE, struct kafka_place, on_place),
	CX_ON(KAFKA_SEEK, struct kafka_place, on_place),
};

static const struct cx_actor_type consumer_type = {
	.name = "consumer_double",
	.state_size = 8,
	.mailbox_cap = 100000,
	.placement = CX_PLACE_IO,
	.handlers = consumer_handlers,
	.handler_count = CX_COUNTOF(consumer_handlers),
};

struct cx_ref kafka_double_producer(struct cx_ctx *ctx, unsigned worker)
{
	struct cx_ref ref;

	cx_assert(cx_spawn(ctx, &producer_type, NULL, worker, &ref) == CX_OK);
	return ref;
}

struct cx_ref kafka_double_consumer(struct cx_ctx *ctx, unsigned worker)
{
	struct cx_ref ref;

	cx_assert(cx_spawn(ctx, &consumer_type, NULL, worker, &ref) == CX_OK);
	return ref;
}

void kafka_double_say(enum kafka_outcome say)
{
	kafka_double_say_for(say, 0);
}

void kafka_double_say_for(enum kafka_outcome say, unsigned n)
{
	pthread_mutex_lock(&mutex);
	outcome = say;
	outcome_left = n;
	pthread_mutex_unlock(&mutex);
}

void kafka_double_hold(bool is_held)
{
	pthread_mutex_lock(&mutex);
	is_holding = is_held;
	pthread_mutex_unlock(&mutex);
}

static void prod(struct cx_ctx *ctx, struct cx_ref producer)
{
	cx_assert(cx_send(ctx, producer, cx_msg_new(ctx, RELEASE, sizeof(struct cx_msg))) ==
	          CX_OK);
}

void kafka_double_release(struct cx_ctx *ctx, struct cx_ref producer)
{
	kafka_double_hold(false);
	prod(ctx, producer);
}

void kafka_double_release_some(struct cx_ctx *ctx, struct cx_ref producer, unsigned n)
{
	pthread_mutex_lock(&mutex);
	is_holding = true;
	allowed = n;
	pthread_mutex_unlock(&mutex);
	prod(ctx, producer);
}

static unsigned read_count(const unsigned *what)
{
	unsigned n;

	pthread_mutex_lock(&mutex);
	n = *what;
	pthread_mutex_unlock(&mutex);
	return n;
}

static bool wait_for(const unsigned *what, unsigned n, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		if (read_count(what) >= n)
			return true;
		usleep(1000);
	}
	return false;
}

unsigned kafka_double_count(void)
{
	return read_count(&record_count);
}

bool kafka_double_wait(unsigned n)
{
	return wait_for(&record_count, n, WAIT_MS);
}

bool kafka_double_wait_written(unsigned n)
{
	return wait_for(&written_count, n, WAIT_MS);
}

struct kafka_double_record kafka_double_at(unsigned i)
{
	struct kafka_double_record r;

	cr_assert_lt(i, kafka_double_count());
	pthread_mutex_lock(&mutex);
	r = *records[i];
	pthread_mutex_unlock(&mutex);
	return r;
}

bool kafka_double_comes(unsigned ms)
{
	return wait_for(&place_count, place_taken + 1, ms);
}

struct kafka_double_place kafka_double_next(void)
{
	cr_assert(kafka_double_comes(WAIT_MS), "the owner says nothing");
	return places[place_taken++];
}
