/* SPDX-License-Identifier: MIT */
/* The look that counts an inbox. */

#include "io/kafka_log_state.h"
#include "wire/inbox_entry.h"

#define FIXED_ARGS 16
#define ANSWER 10 /* values, the array's own among them */
/* A place of a gateway that was killed before Kafka had its message is lost for so long.  A worker that is
 * further behind is not seen. */
#define PLACE_MS 60000
#define PLACE_OLD_MS 1000 /* so old, and surely accepted: it is not waited for */

static uint64_t far(uint64_t max, uint64_t used)
{
	return used < max ? (max - used) / 2 : 0;
}

void klog_look(struct cx_ctx *ctx, struct klog *s, struct quota *q, struct klog_lane *lane)
{
	char inbox[STACK_KEY_MAX], flight[STACK_KEY_MAX], stem[STACK_KEY_MAX];
	char text[FIXED_ARGS][REDIS_NUMBER_MAX];
	uint8_t places[KLOG_PLACES][KLOG_PLACE_LEN], who[KLOG_WHO_LEN];
	const int64_t now_ms = steady_wall_ms(&s->wall, ctx);
	struct klog_question *question;
	uint32_t n = FIXED_ARGS, count;
	enum cx_err err;

	if (q->is_looking)
		return;
	quota_look_begins(q, s->next_number);
	question = klog_question_new(s, KLOG_LOOK);
	question->quota = quota_take(&s->quotas, &q->owner);
	question->peer = lane->peer;
	klog_who(s, who);
	struct redis_arg argv[FIXED_ARGS + KLOG_PLACES] = {
		klog_arg(inbox, stack_key_inbox(inbox, s->settings->prefix, &q->owner)),
		klog_arg(flight, stack_key_flight(flight, s->settings->prefix, &q->owner)),
		redis_number(text[0], INBOX_ENTRY_HEAD_LEN),
		redis_number(text[1], RECORD_MESSAGE),
		redis_number(text[2], now_ms - s->settings->message_ttl_ms),
		redis_number(text[3], (int64_t)far(s->quotas.max_count,
		                                   q->placed_count + q->flight_count)),
		redis_number(text[4], (int64_t)far(s->quotas.max_bytes,
		                                   q->placed_bytes + q->flight_bytes)),
		redis_number(text[5], now_ms),
		redis_number(text[6], PLACE_MS),
		redis_number(text[7], PLACE_OLD_MS),
		redis_number(text[8], (int64_t)s->quotas.max_count),
		redis_number(text[9], (int64_t)s->quotas.max_bytes),
		redis_number(text[10],
		             (int64_t)(q->placed_count + q->flight_count + q->held_count)),
		redis_number(text[11],
		             (int64_t)(q->placed_bytes + q->flight_bytes + q->held_bytes)),
		{ who, sizeof(who) },
		klog_arg(stem, stack_key_dedup_stem(stem, s->settings->prefix)),
	};
	count = quota_is_near(&s->quotas, q) ? klog_ask_places(s, q, lane, places) : 0;
	for (uint32_t i = 0; i < count; i++)
		argv[n++] = (struct redis_arg){ places[i], KLOG_PLACE_LEN };
	err = redis_call_script(ctx, s->conf.redis, s->conf.script_base + KLOG_SCRIPT_COUNT, 2,
	                        argv, n, KLOG_ASK_MS, &question->corr);
	klog_asked(ctx, s, question, err);
}

void klog_on_look(struct cx_ctx *ctx, struct klog *s, struct klog_question *question,
                  struct redis_walk *walk)
{
	const uint64_t now_ms = cx_now_ms(ctx);
	struct quota *const q = question->quota;
	struct redis_value v[ANSWER];
	struct quota_others others;
	uint64_t last_id = 0;
	unsigned n = 0;

	while (n < ANSWER && redis_walk_next(walk, &v[n]) &&
	       v[n].kind == (n == 0   ? REDIS_ARRAY
	                     : n == 3 ? REDIS_STRING
	                              : REDIS_INTEGER))
		n++;
	if (n < ANSWER) {
		klog_count(&s->figures->redis_failures, 1);
		quota_look_failed(q, now_ms);
	} else if (v[1].integer < 0) {
		quota_looked(&s->quotas, q, QUOTA_LOOK_GONE, 0, 0, 0, NULL, now_ms);
	} else {
		if (!inbox_id_parse(v[3].text, &last_id))
			last_id = 0;
		others =
			(struct quota_others){ (uint64_t)v[5].integer, (uint64_t)v[6].integer,
			                       (uint64_t)v[7].integer, (uint64_t)v[8].integer };
		quota_looked(&s->quotas, q,
		             v[4].integer != 0 ? QUOTA_LOOK_EXACT : QUOTA_LOOK_BOUND,
		             (uint64_t)v[1].integer, (uint64_t)v[2].integer, last_id, &others,
		             now_ms);
		klog_places_granted(s, question, (uint64_t)v[9].integer);
	}
	klog_wake(s, q);
}
