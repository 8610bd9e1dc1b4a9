/* SPDX-License-Identifier: MIT */
/* The link between a fake of the gRPC client and connections: every schedule of answers and losses. */
#include "actors/gateway_link.h"

#include "actors/fixture.h"
#include "wire/submission.h"

static struct cx_ref client, conn;

static void set_up(void)
{
	fixture_start();
	conn = fake();
	client = fake();
	relay.gateways[0] =
		spawn_at(&gateway_link_type,
	                 &(struct gateway_link_conf){ .relay = &relay, .client = client });
}

TestSuite(gateway_link, .init = set_up, .fini = fixture_end, .timeout = 60);

/* ---- the connection's side ---- */

struct sends {
	uint32_t sender, first, count, owner;
	enum error_code code;
};

static struct cx_buf *frame_of(const struct gateway_submit *s, uint32_t n)
{
	const struct chat_message m = { .id = s->key,
		                        .id_case = s->key_case,
		                        .message_number = n,
		                        .from.user = s->sender,
		                        .to.user = s->owner,
		                        .content = wire_text("c2VhbGVk"),
		                        .timestamp = -5 };
	struct cx_buf *buf = cx_buf_new(1024);

	cx_buf_trim(buf, server_frame_message(cx_buf_data(buf), 1024, &m));
	return buf;
}

static void do_submit(struct cx_ctx *ctx, void *arg)
{
	const struct sends *sends = arg;

	for (uint32_t n = sends->first; n < sends->first + sends->count; n++) {
		struct gateway_submit s = { .sender = uuid_of(sends->sender),
			                    .owner = uuid_of(sends->owner),
			                    .key = uuid_of(n),
			                    .frame_bytes = n,
			                    .code = sends->code };
		struct cx_buf *frame = frame_of(&s, n);
		uint64_t corr;

		cx_assert(gateway_submit(ctx, &relay, &s, frame, 600000, &corr) == CX_OK);
		cx_buf_unref(frame);
	}
}

static void submit_to(uint32_t sender, uint32_t first, uint32_t count, uint32_t owner,
                      enum error_code code)
{
	struct sends sends = { sender, first, count, owner, code };

	do_as(conn, do_submit, &sends);
}

static void submit(uint32_t first, uint32_t count)
{
	submit_to(1, first, count, 99, ERROR_NONE);
}

static const struct gateway_outcome *outcome(uint32_t n, enum error_code code)
{
	const struct got *g = take(conn, GATEWAY_OUTCOME);
	const struct gateway_outcome *m = GOT(struct gateway_outcome, g);

	cr_assert(m->frame_bytes == n, "answer for %u came, not for %u", m->frame_bytes, n);
	cr_assert(m->code == code, "%u: %s, not %s", n, error_code_name(m->code),
	          error_code_name(code));
	cr_assert((g->buf != NULL) == (code == ERROR_FORBIDDEN), "only the connection's own");
	return m;
}

static void no_outcome(void)
{
	cr_assert(count_got(conn, GATEWAY_OUTCOME) == 0);
	cr_assert(count_got(conn, CX_MSG_ERROR) == 0);
}

/* ---- the client's side ---- */

static struct got *call_of(uint32_t n)
{
	struct got *g = take(client, GRPC_REQUEST);
	struct submission s;

	cr_assert(submission_read(wire_slice(cx_buf_bytes(g->buf), cx_buf_len(g->buf)), &s) ==
	          ERROR_NONE);
	cr_assert(s.message.message_number == n, "call %u is not %u", s.message.message_number,
	          n);
	submission_free(&s);
	return g;
}

static void no_call(void)
{
	cr_assert(count_got(client, GRPC_REQUEST) == 0);
}

static void ends(const struct got *g, enum grpc_status status)
{
	ANSWER(g, GRPC_RESULT, struct grpc_result, NULL, .status = status);
}

static void says(const struct got *g, enum error_code code, const char *text)
{
	uint8_t bytes[SUBMISSION_RESPONSE_MAX];
	struct cx_buf *buf = cx_buf_copy(bytes, submission_response(bytes, code, text));

	ANSWER(g, GRPC_RESULT, struct grpc_result, buf, .status = GRPC_OK);
	cx_buf_unref(buf);
}

static void calls(struct got **g, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		g[i] = call_of(first + i);
}

/* ---- tests ---- */

Test(gateway_link, the_outcome_and_its_text_come_back)
{
	struct got *g;

	submit(1, 1);
	g = call_of(1);
	cr_assert_str_eq(GOT(struct grpc_request_msg, g)->method,
	                 "/construct.message_gateway.v1.MessageGateway/SubmitMessage");
	cr_assert(GOT(struct grpc_request_msg, g)->timeout_ms == 12000);
	says(g, ERROR_NONE, NULL);
	outcome(1, ERROR_NONE);
	submit(2, 1);
	says(call_of(2), ERROR_RATE_LIMIT_WARNING, "Slow down! (9/8) Retry in 3 s");
	cr_assert_str_eq(outcome(2, ERROR_RATE_LIMIT_WARNING)->text,
	                 "Slow down! (9/8) Retry in 3 s");
	submit(3, 1);
	says(call_of(3), ERROR_INBOX_FULL, NULL);
	cr_assert_str_empty(outcome(3, ERROR_INBOX_FULL)->text, "the code's own text");
	submit(4, 1);
	says(call_of(4), ERROR_DUPLICATE_MESSAGE, NULL);
	outcome(4, ERROR_DUPLICATE_MESSAGE);
}

Test(gateway_link, answers_leave_in_the_order_of_submission)
{
	struct got *g[3];

	submit(1, 3);
	calls(g, 1, 3);
	says(g[2], ERROR_NONE, NULL);
	says(g[1], ERROR_INBOX_FULL, NULL);
	no_outcome();
	says(g[0], ERROR_NONE, NULL);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_INBOX_FULL);
	outcome(3, ERROR_NONE);
}

Test(gateway_link, one_that_the_connection_refused_takes_its_turn_and_is_not_sent)
{
	struct got *g;

	submit(1, 1);
	submit_to(1, 2, 1, 99, ERROR_FORBIDDEN);
	submit(3, 1);
	g = call_of(1);
	says(call_of(3), ERROR_NONE, NULL);
	no_outcome();
	says(g, ERROR_NONE, NULL);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_FORBIDDEN);
	outcome(3, ERROR_NONE);
	submit_to(1, 4, 1, 99, ERROR_FORBIDDEN);
	outcome(4, ERROR_FORBIDDEN);
	no_call();
}

Test(gateway_link, at_most_sixty_four_of_one_sender_are_under_way)
{
	struct got *g[64];

	submit(1, 70);
	calls(g, 1, 64);
	no_call();
	says(g[5], ERROR_NONE, NULL);
	(void)call_of(65);
	no_call();
	submit_to(2, 1000, 1, 99, ERROR_NONE);
	(void)call_of(1000); /* others have their own */
}

Test(gateway_link, calls_of_one_sender_have_one_affinity_and_others_another)
{
	uint64_t affinity[2];

	submit(1, 2);
	affinity[0] = GOT(struct grpc_request_msg, call_of(1))->affinity;
	cr_assert(GOT(struct grpc_request_msg, call_of(2))->affinity == affinity[0]);
	submit_to(2, 3, 1, 99, ERROR_NONE);
	affinity[1] = GOT(struct grpc_request_msg, call_of(3))->affinity;
	cr_assert(affinity[0] != 0 && affinity[1] != 0 && affinity[0] != affinity[1]);
}

Test(gateway_link, a_lost_call_stops_its_sender_until_all_have_ended_then_all_go_again_in_order)
{
	struct got *g[4];

	submit(1, 4);
	calls(g, 1, 4);
	says(g[0], ERROR_NONE, NULL);
	outcome(1, ERROR_NONE);
	ends(g[1], GRPC_UNAVAILABLE);
	submit(5, 1);
	skip_ms(600);
	no_call();
	ends(g[3], GRPC_CANCELLED);
	ends(g[2], GRPC_RESOURCE_EXHAUSTED);
	(void)take(client, GRPC_MEND);
	no_call();
	skip_ms(21);
	says(call_of(2), ERROR_NONE, NULL); /* one goes first */
	outcome(2, ERROR_NONE);
	calls(g, 3, 2);
	no_call();
	says(g[0], ERROR_NONE, NULL);
	says(g[1], ERROR_NONE, NULL);
	outcome(3, ERROR_NONE);
	outcome(4, ERROR_NONE);
	says(call_of(5), ERROR_NONE, NULL);
	outcome(5, ERROR_NONE);
	cr_assert(count_got(client, GRPC_MEND) == 0);
}

Test(gateway_link, a_duplicate_in_answer_to_a_second_try_is_a_success)
{
	struct got *g[2];

	submit(1, 2);
	calls(g, 1, 2);
	ends(g[0], GRPC_UNAVAILABLE);
	ends(g[1], GRPC_UNAVAILABLE);
	skip_ms(21);
	says(call_of(1), ERROR_DUPLICATE_MESSAGE, NULL);
	outcome(1, ERROR_NONE);
	says(call_of(2), ERROR_NONE, NULL);
	outcome(2, ERROR_NONE);
	submit(3, 1);
	says(call_of(3), ERROR_DUPLICATE_MESSAGE, NULL);
	outcome(3, ERROR_DUPLICATE_MESSAGE);
}

/* What was accepted must not be called refused. */
Test(gateway_link, refused_in_answer_to_a_second_try_says_that_nobody_knows)
{
	static const enum error_code codes[] = { ERROR_RATE_LIMIT_WARNING,
		                                 ERROR_RATE_LIMIT_BLOCKED, ERROR_USER_BLOCKED,
		                                 ERROR_INBOX_FULL };
	struct got *g[4];

	submit(1, 4);
	calls(g, 1, 4);
	for (int i = 0; i < 4; i++)
		ends(g[i], GRPC_UNAVAILABLE);
	skip_ms(21);
	for (int i = 0; i < 4; i++) {
		says(call_of(i + 1), codes[i], "Slow down!");
		outcome(i + 1, ERROR_KAFKA_FAILURE);
	}
	submit(5, 1);
	says(call_of(5), ERROR_USER_BLOCKED, NULL);
	outcome(5, ERROR_USER_BLOCKED);
}

Test(gateway_link, the_pause_doubles_to_half_a_second_and_begins_anew_after_an_outcome)
{
	static const int pauses[] = { 20, 40, 80, 160, 320, 500, 500 };

	submit(1, 1);
	for (size_t i = 0; i < CX_COUNTOF(pauses); i++) {
		ends(call_of(1), GRPC_UNAVAILABLE);
		skip_ms(pauses[i] / 2);
		no_call();
		skip_ms(pauses[i] / 2 + 1);
		cr_assert(count_got(client, GRPC_REQUEST) == 1);
	}
	says(call_of(1), ERROR_NONE, NULL);
	outcome(1, ERROR_NONE);
	submit(2, 1);
	ends(call_of(2), GRPC_UNAVAILABLE);
	skip_ms(21);
	cr_assert(count_got(client, GRPC_REQUEST) == 1);
	says(call_of(2), ERROR_NONE, NULL);
	outcome(2, ERROR_NONE);
}

Test(gateway_link, one_without_an_outcome_fails_at_its_deadline)
{
	struct got *g[2];

	submit(1, 1);
	g[0] = call_of(1);
	skip_ms(5000);
	submit(2, 1);
	g[1] = call_of(2); /* hangs, so nothing can be sent again */
	ends(g[0], GRPC_UNAVAILABLE);
	skip_ms(6900);
	no_outcome();
	skip_ms(700);
	outcome(1, ERROR_KAFKA_FAILURE);
	ends(g[1], GRPC_UNAVAILABLE);
	for (int ms = 0; ms < 5500; ms += 250) {
		skip_ms(250);
		while (count_got(client, GRPC_REQUEST) > 0)
			ends(call_of(2), GRPC_UNAVAILABLE);
	}
	outcome(2, ERROR_KAFKA_FAILURE);
	no_call();
}

Test(gateway_link,
     one_that_a_later_accepted_one_to_the_same_recipient_has_passed_is_not_sent_again)
{
	struct got *g[3];

	submit_to(1, 1, 1, 50, ERROR_NONE);
	submit_to(1, 2, 2, 60, ERROR_NONE);
	calls(g, 1, 3);
	ends(g[0], GRPC_UNAVAILABLE);
	ends(g[1], GRPC_UNAVAILABLE);
	says(g[2], ERROR_NONE, NULL);
	skip_ms(21);
	says(call_of(1), ERROR_NONE, NULL);
	outcome(1, ERROR_NONE);
	outcome(2, ERROR_KAFKA_FAILURE);
	outcome(3, ERROR_NONE);
	no_call();
}

Test(gateway_link, what_may_be_durable_fails_alone_and_is_not_sent_again)
{
	struct cx_buf *cut = cx_buf_copy("\x08", 1);
	struct got *g[4];

	submit(1, 4);
	calls(g, 1, 4);
	ends(g[0], GRPC_DEADLINE_EXCEEDED);
	outcome(1, ERROR_KAFKA_FAILURE);
	ends(g[1], GRPC_INTERNAL);
	outcome(2, ERROR_KAFKA_FAILURE);
	ends(g[2], GRPC_UNIMPLEMENTED);
	outcome(3, ERROR_SERVER_ERROR);
	ANSWER(g[3], GRPC_RESULT, struct grpc_result, cut, .status = GRPC_OK);
	cx_buf_unref(cut);
	outcome(4, ERROR_KAFKA_FAILURE);
	skip_ms(1000);
	no_call();
}

Test(gateway_link, a_client_that_is_full_or_gone_is_asked_again)
{
	submit(1, 1);
	bounce(call_of(1));
	skip_ms(21);
	says(call_of(1), ERROR_NONE, NULL);
	outcome(1, ERROR_NONE);
	stop_actor(client);
	submit(2, 1);
	no_outcome();
	for (int i = 0; i < 26; i++)
		skip_ms(500);
	outcome(2, ERROR_KAFKA_FAILURE);
}

Test(gateway_link, eight_thousand_are_under_way_and_the_rest_waits_until_its_deadline)
{
	const struct got *g;

	for (uint32_t sender = 1; sender <= 129; sender++)
		submit_to(sender, sender * 100, 64, 99, ERROR_NONE);
	cr_assert(count_got(client, GRPC_REQUEST) == 8192);
	says(call_of(100), ERROR_NONE, NULL);
	outcome(100, ERROR_NONE);
	cr_assert(count_got(client, GRPC_REQUEST) == 8192, "one more in its place");
	submit_to(200, 7, 1, 99, ERROR_NONE);
	skip_ms(12100); /* the calls hang on a second longer; what waits has its deadline */
	g = take(conn, GATEWAY_OUTCOME);
	cr_assert(GOT(struct gateway_outcome, g)->frame_bytes == 7);
	cr_assert(GOT(struct gateway_outcome, g)->code == ERROR_KAFKA_FAILURE);
}

/* What is remembered of it: that its last try failed, so that one goes first. */
static void fail_and_be_remembered(uint32_t n)
{
	submit(n, 1);
	ends(call_of(n), GRPC_UNAVAILABLE);
	skip_ms(21);
	ends(call_of(n), GRPC_INTERNAL);
	outcome(n, ERROR_KAFKA_FAILURE);
}

Test(gateway_link, a_sender_is_dropped_after_an_idle_minute)
{
	struct got *g;

	fail_and_be_remembered(1);
	skip_ms(59000);
	submit(2, 2);
	g = call_of(2);
	no_call();
	ends(g, GRPC_INTERNAL);
	ends(call_of(3), GRPC_INTERNAL);
	outcome(2, ERROR_KAFKA_FAILURE);
	outcome(3, ERROR_KAFKA_FAILURE);
	skip_ms(61000);
	submit(4, 2);
	(void)call_of(4);
	(void)call_of(5); /* both at once: it is a new one */
}
