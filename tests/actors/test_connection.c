/* SPDX-License-Identifier: MIT */
/* A connection between a fake socket, account actor, gateway, hub and inbox. */
#include "actors/connection_fixture.h"

TestSuite(connection, .init = set_up, .fini = fixture_end, .timeout = 60);

/* ---- the client ---- */

static void send_lookup(void)
{
	const struct user_address address = { .user = uuid_of(9) };

	FRAME(client_frame_get_public_key, &address);
}

static void send_message(uint32_t number)
{
	static const uint8_t key[CHAT_KEY_LEN];
	struct chat_message m = { .id = uuid_of(number),
		                  .from = { .user = uuid_of(1) },
		                  .to = { .user = uuid_of(2) },
		                  .content = wire_text("c2VhbGVk"),
		                  .timestamp = 1700000000 };

	memcpy(m.key, key, sizeof(key));
	FRAME(client_frame_send_message, &m);
}

static void send_ping(void)
{
	TELL(ws, conn, WS_PING, struct ws_ping_in, NULL, .hdr = { 0 });
}

static bool has_text(const struct got *g, const char *text)
{
	return memmem(cx_buf_bytes(g->buf), cx_buf_len(g->buf), text, strlen(text)) != NULL;
}

static void expect_error(const char *code)
{
	const struct got *g = take(ws, WS_SEND);

	cr_assert(has_text(g, code), "expected %s", code);
}

static void expect_submitted(uint32_t number)
{
	const struct got *g = take(fake_gateway, GATEWAY_SUBMIT);
	const struct uuid key = uuid_of(number);

	cr_assert(uuid_equal(&GOT(struct gateway_submit_msg, g)->submit.key, &key));
}

/* ---- what waits behind a request about an account ---- */

Test(connection, a_lookup_holds_back_no_message)
{
	log_in();
	send_lookup();
	take(fake_account, ACCOUNT_REQUEST);
	send_message(1);
	expect_submitted(1);
}

Test(connection, a_lookup_holds_back_no_ping)
{
	log_in();
	send_lookup();
	send_lookup(); /* held: one request at a time */
	send_ping();
	cr_assert(take(ws, WS_SEND)->buf == NULL, "a pong without payload");
	cr_assert_eq(count_got(fake_account, ACCOUNT_REQUEST), 1);
}

Test(connection, lookups_are_asked_one_after_the_other)
{
	struct cx_buf *buf = cx_buf_new(1);

	log_in();
	send_lookup();
	send_lookup();
	cr_assert_eq(count_got(fake_account, ACCOUNT_REQUEST), 1);
	ANSWER(take(fake_account, ACCOUNT_REQUEST), ACCOUNT_ANSWER, struct account_answer, buf,
	       .effect = ACCOUNT_NOTHING);
	cr_assert_eq(count_got(fake_account, ACCOUNT_REQUEST), 1);
	cx_buf_unref(buf);
}

Test(connection, a_login_holds_back_messages_and_then_they_go_in_order)
{
	struct cx_buf *buf = cx_buf_new(1);

	send_login();
	send_message(1);
	send_lookup();
	send_message(2);
	cr_assert_eq(count_got(fake_gateway, GATEWAY_SUBMIT), 0);
	ANSWER(take(fake_account, ACCOUNT_REQUEST), ACCOUNT_ANSWER, struct account_answer, buf,
	       .effect = ACCOUNT_AUTHENTICATED, .user = uuid_of(1), .jti = uuid_of(70));
	cx_buf_unref(buf);
	expect_submitted(1);
	expect_submitted(2); /* past the lookup, which nobody answered */
	take(fake_account, ACCOUNT_REQUEST);
}

Test(connection, a_message_behind_a_login_that_waits_for_a_lookup_keeps_its_place)
{
	log_in();
	send_lookup();
	send_login();
	send_message(1);
	send_message(2);
	cr_assert_eq(count_got(fake_gateway, GATEWAY_SUBMIT), 0);
	cr_assert_eq(count_got(fake_account, ACCOUNT_REQUEST), 1);
}

/* Promise 1: an answer within 15 s, or the connection closes. */
Test(connection, a_message_behind_a_login_without_answer_is_not_left_without_answer)
{
	log_in();
	send_login();
	take(fake_account, ACCOUNT_REQUEST);
	send_message(1);
	skip_ms(12001);
	expect_error("SERVER_ERROR"); /* the login's */
	expect_submitted(1);
	skip_ms(2600); /* the gateway says nothing either */
	expect_closed(1011);
}

Test(connection, a_message_behind_two_logins_without_answer_closes_the_connection)
{
	log_in();
	send_login();
	send_login();
	send_message(1);
	skip_ms(12001);
	cr_assert_eq(closes(), 0);
	skip_ms(1000);
	expect_closed(1013);
	cr_assert_eq(count_got(fake_gateway, GATEWAY_SUBMIT), 0);
}

/* ---- before login ---- */

Test(connection, what_needs_a_login_says_so_before_it_looks_at_fields)
{
	const struct client_device_token bad = { .token = wire_text("") };

	FRAME(client_frame_device_token, CLIENT_UNREGISTER_DEVICE_TOKEN, &bad);
	expect_error("UNAUTHORIZED");
	send_message(1);
	expect_error("AUTH_REQUIRED");
	cr_assert_eq(count_got(fake_account, ACCOUNT_REQUEST), 0);
}

/* ---- time ---- */

Test(connection, a_client_without_a_pong_for_sixty_seconds_is_closed_then)
{
	log_in();
	skip_ms(20000);
	TELL(ws, conn, WS_PONG, struct ws_pong_in, NULL, .number = 1);
	skip_ms(30000); /* a ping went out in between */
	skip_ms(29900);
	cr_assert_eq(closes(), 0);
	skip_ms(150);
	expect_closed(1001);
}

/* ---- displaced ---- */

static void kicked(uint32_t user, uint32_t jti, uint16_t code)
{
	TELL(fake_hub, conn, HUB_KICKED, struct hub_kicked, NULL, .user = uuid_of(user),
	     .jti = uuid_of(jti), .code = code);
}

Test(connection, a_displaced_client_is_told_why_before_the_close)
{
	log_in();
	kicked(1, 70, 4409);
	expect_error("TOO_MANY_CONNECTIONS");
	expect_closed(4409);
}

Test(connection, a_kick_of_the_session_it_has_closes_it)
{
	log_in();
	kicked(1, 70, 4401);
	expect_closed(4401);
}

Test(connection, a_late_kick_of_the_user_or_session_it_had_before_is_nothing)
{
	log_in_as(1, 70);
	log_in_as(1, 71);
	kicked(1, 70, 4401);
	log_in_as(2, 72);
	kicked(1, 71, 4409);
	cr_assert_eq(closes(), 0);
	kicked(2, 72, 4401);
	expect_closed(4401);
}
