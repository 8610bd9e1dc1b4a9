/* SPDX-License-Identifier: MIT */
/* The state of kafka_log, shared by its files:
 *
 *   kafka_log.c        the actor: arrival, answers of Kafka, time, life
 *   kafka_log_lane.c   appends and the lanes of their senders: order, and the end of an append
 *   kafka_log_write.c  from a lane to Kafka
 *   kafka_log_claim.c  claims
 *   kafka_log_look.c   counting an inbox
 *   kafka_log_place.c  places in an inbox that is nearly full; scripts
 *   kafka_log_redis.c  questions to Redis, the circuit
 *   kafka_log_quota.c  how full inboxes are
 *   kafka_log_recent.c what was written in the last minutes
 *
 * Handlers only change states and mark lanes; klog_work, at the end of a turn, hands over what is
 * ready and asks Redis what has gathered. */
#ifndef IO_KAFKA_LOG_STATE_H
#define IO_KAFKA_LOG_STATE_H

#include "io/kafka_log.h"
#include "io/kafka_log_quota.h"
#include "io/kafka_log_recent.h"
#include "io/steady_wall.h"

/* Steps: GATHERED -> ASKED -> READY -> AT_KAFKA, or ASKED -> PENDING -> GATHERED; without Redis
 * GATHERED -> READY at once.  AT_KAFKA -> READY when Kafka took none of it.  FOLLOWING waits for the
 * append of the same message that is under way.  GATHERED and ASKED become DEAD when their time is
 * over: answered, kept until the reply. */
enum klog_step {
	KLOG_GATHERED, /* in s->gathered */
	KLOG_ASKED,    /* in a question's list */
	KLOG_PENDING,  /* another holds the claim */
	KLOG_READY,    /* to be handed over when it is first in its lane */
	KLOG_AT_KAFKA,
	KLOG_FOLLOWING,
	KLOG_DEAD,
};

enum klog_claim {
	KLOG_UNCLAIMED,
	KLOG_MAY_BE_CLAIMED, /* asked for, not answered */
	KLOG_CLAIMED,
};

/* A place in a nearly full inbox (quota inv. 4), which all gateways see. */
enum klog_place {
	KLOG_NO_PLACE,
	KLOG_PLACE_ASKED, /* it may be in Redis */
	KLOG_PLACE_HELD,
	KLOG_PLACE_USED, /* handed over to Kafka by it */
};

struct klog_append {
	struct klog_append *next; /* gathered, question, bucket, free: it is in one at most */
	struct klog_append *lane_next, *lane_prev;
	struct klog_append *wait_next, *wait_prev; /* s->waiting: all that are not at Kafka */
	struct klog_append *followers;             /* by `next` */
	struct klog_append *leader;                /* of a follower */
	struct klog_lane *lane;
	struct quota *quota;
	struct cx_caller caller;
	struct cx_buf *frame, *value; /* value: the envelope, once made */
	uint32_t frame_len;
	enum klog_step step;
	enum klog_claim claim;
	enum klog_place place;
	uint32_t place_number; /* in the question that asks for it, from 1 */
	bool may_be_written;   /* inv. 3 */
	bool asks_length;      /* its question has an XLEN too */
	bool has_waited;
	bool is_remembered;
	uint64_t number; /* grows */
	int64_t score;   /* of its claim */
	uint64_t corr;
	uint64_t deadline_ms, look_ms; /* look_ms: of PENDING */
	struct stack_seen seen;
};

struct klog_lane { /* of one sender */
	struct uuid peer;
	struct klog_append *first, *last; /* not at Kafka, in the order of arrival */
	uint32_t members;                 /* those at Kafka too */
	uint64_t handed_over;             /* number of the last one */
	struct quota *blocked_on;         /* then it is among its waiters */
	struct klog_lane *next;           /* waiters or free */
	struct klog_lane *dirty_next;
	bool is_dirty;
};

enum klog_question_kind { KLOG_CLAIMS, KLOG_WHOSE, KLOG_LOOK, KLOG_PROBE };

struct klog_question {
	struct klog_question *next;
	enum klog_question_kind kind;
	uint64_t corr;
	struct klog_append *first, *last; /* of CLAIMS and WHOSE */
	uint32_t count;
	bool cleans;         /* of CLAIMS: lapsed claims too */
	struct quota *quota; /* of LOOK; counts as a user of it */
	struct uuid peer;    /* of LOOK: whose appends it asks places for */
};

#define KLOG_BUCKETS 4096 /* a power of two */

struct klog {
	const struct kafka_log_settings *settings;
	struct kafka_log_conf conf;
	uint32_t worker;
	uint64_t next_number;
	uint32_t count;      /* appends under way */
	uint64_t bytes;      /* of their frames */
	uint32_t timeout_ms; /* of an append whose asker says none, and the longest */

	struct uuid_map lanes;
	struct uuid_map under_way; /* recent_key -> append, not of followers and the dead */
	struct klog_append *waiting_first, *waiting_last;
	struct klog_append *at_kafka[KLOG_BUCKETS]; /* by corr */
	struct klog_lane *dirty_first, *dirty_last;
	bool is_producer_full; /* until the tick or a report */

	struct klog_append *gathered_first, *gathered_last;
	uint32_t gathered;
	int64_t score;     /* the last one of a claim */
	uint64_t clean_ms; /* lapsed claims are taken out again */
	struct klog_question *questions_first, *questions_last;
	uint32_t asked; /* appends in questions */
	struct redis_batch batch;
	bool is_open; /* the circuit: Redis is passed over */

	struct steady_wall wall; /* by which entries end */
	struct quota_table quotas;
	struct recent recent;
	struct klog_append *free;
	struct klog_lane *free_lanes;
	struct klog_question *free_questions;
	uint32_t free_count, free_lane_count, free_question_count;
	struct cx_timer tick, probe;
	struct kafka_log_figures *figures;
};

static inline void klog_count(uint64_t *figure, uint64_t n)
{
	/* relaxed: a figure, pairs with the load in kafka_log_figures */
	__atomic_store_n(figure, *figure + n, __ATOMIC_RELAXED);
}

/* ---- kafka_log_lane.c ---- */

/* An append under way, READY and in no list: klog_line_up or klog_follow is next. */
struct klog_append *klog_append_new(struct cx_ctx *ctx, struct klog *s,
                                    const struct cx_msg *msg, const struct stack_seen *seen);
/* Waits for the outcome of leader. */
void klog_follow(struct klog *s, struct klog_append *leader, struct klog_append *a);
/* Into its lane and among those that wait; before NULL: last.  And out of both. */
void klog_line_up(struct klog *s, struct klog_append *a, struct klog_append *before);
void klog_leave_line(struct klog *s, struct klog_append *a);
/* Answers it and its followers; frees the claim when the record was surely not written; gone, or
 * DEAD when a question still holds it. */
void klog_finish(struct cx_ctx *ctx, struct klog *s, struct klog_append *a,
                 enum log_outcome outcome, uint64_t id);
/* The last of a DEAD one. */
void klog_bury(struct cx_ctx *ctx, struct klog *s, struct klog_append *a);
void klog_append_free(struct klog *s, struct klog_append *a);

/* klog_work will see to it. */
void klog_mark(struct klog *s, struct klog_lane *lane);
void klog_ready(struct klog *s, struct klog_append *a);
/* Frees a lane without members, unless it is marked. */
void klog_lane_end(struct klog *s, struct klog_lane *lane);
/* The lanes that wait for news of q. */
void klog_wake(struct klog *s, struct quota *q);
/* The lane becomes one of them. */
void klog_block(struct klog_lane *lane, struct quota *q);
/* Arms the tick unless it runs or nothing waits. */
void klog_need_tick(struct cx_ctx *ctx, struct klog *s);

/* At the end, when none is under way. */
void klog_lanes_free(struct klog *s);

/* ---- kafka_log_write.c ---- */

/* At Kafka with this corr; taken out, or NULL. */
struct klog_append *klog_take_at_kafka(struct klog *s, uint64_t corr);
/* Kafka took nothing of it: first of its lane again. */
void klog_put_back(struct cx_ctx *ctx, struct klog *s, struct klog_append *a);
/* Hands over what the marked lanes have ready. */
void klog_run_lanes(struct cx_ctx *ctx, struct klog *s);

/* ---- kafka_log_claim.c ---- */

void klog_gather(struct klog *s, struct klog_append *a);
/* Asks for what has gathered. */
void klog_ask_gathered(struct cx_ctx *ctx, struct klog *s);
void klog_on_claims(struct cx_ctx *ctx, struct klog *s, struct klog_question *q,
                    struct redis_walk *walk);
void klog_on_whose(struct cx_ctx *ctx, struct klog *s, struct klog_question *q,
                   struct redis_walk *walk);
void klog_free_claim(struct cx_ctx *ctx, struct klog *s, const struct klog_append *a);
/* A value that is not there is taken for an error: it settles nothing. */
struct redis_value klog_next_value(struct redis_walk *walk);

/* ---- kafka_log_look.c ---- */

enum klog_script { KLOG_SCRIPT_FREE, KLOG_SCRIPT_COUNT };

/* Asks how full an inbox is, near the limit with places for the lane's first appends; unless a look is under
 * way. */
void klog_look(struct cx_ctx *ctx, struct klog *s, struct quota *q, struct klog_lane *lane);
void klog_on_look(struct cx_ctx *ctx, struct klog *s, struct klog_question *question,
                  struct redis_walk *walk);

/* ---- kafka_log_place.c ---- */

#define KLOG_PLACES 64 /* asked for at once, at most */
#define KLOG_PLACE_LEN 28

#define KLOG_WHO_LEN 8

/* Who: this actor, among all gateways'. */
void klog_who(const struct klog *s, uint8_t out[KLOG_WHO_LEN]);
/* Writes the members of the lane's first appends, and returns how many. */
uint32_t klog_ask_places(const struct klog *s, const struct quota *q, struct klog_lane *lane,
                         uint8_t out[KLOG_PLACES][KLOG_PLACE_LEN]);
/* The first `granted` of those that were asked for are had. */
void klog_places_granted(struct klog *s, const struct klog_question *question,
                         uint64_t granted);
/* It goes to Kafka; comes back, nothing was taken of it; ends. */
void klog_place_use(struct klog_append *a);
void klog_place_back(struct klog_append *a);
void klog_place_end(struct cx_ctx *ctx, const struct klog *s, struct klog_append *a);

/* ---- kafka_log_redis.c ---- */

#define KLOG_ASK_MS 2000

static inline struct redis_arg klog_arg(const char *text, size_t len)
{
	return (struct redis_arg){ text, len };
}

struct klog_question *klog_question_new(struct klog *s, enum klog_question_kind kind);
void klog_question_free(struct klog *s, struct klog_question *q);
/* q was asked, with its corr, or (err) not: then it is given up, and the circuit opens. */
void klog_asked(struct cx_ctx *ctx, struct klog *s, struct klog_question *q, enum cx_err err);
/* An answer, NULL: none; false: not to a question of ours. */
bool klog_answered(struct cx_ctx *ctx, struct klog *s, uint64_t corr, const struct cx_buf *buf);
/* Is Redis back? */
void klog_probe(struct cx_ctx *ctx, struct klog *s);
void klog_questions_free(struct cx_ctx *ctx, struct klog *s);

#endif
