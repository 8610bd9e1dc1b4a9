/* SPDX-License-Identifier: MIT */
/* The account actor between a fake connection and a fake store; hashes are real. */
#include "actors/account.h"

#include <stdio.h>

#include "actors/fixture.h"
#include "wire/client_frame.h"
#include "wire/jwt.h"
#include "wire/password.h"

#define OLD "Password12"
#define NEW "Password13"

static struct cx_ref account, client;
/* OLD, as older servers kept it */
static const char legacy[] = "$2b$04$abcdefghijklmnopqrstuuk3jrwtPgXCvnbwaZlHqrfRXnBS0thAC";

static void set_up(void)
{
	const struct relay_conf conf = { .relay = &relay };

	fixture_start();
	client = fake();
	account = spawn_at(&account_type, &conf);
	relay.hash_gate = spawn_at(&hash_gate_type, NULL);
}

TestSuite(account, .init = set_up, .fini = fixture_end, .timeout = 60);

/* ---- the client: user 1, connected by session 70 ---- */

static void ask(struct cx_buf *buf, size_t len)
{
	cx_buf_trim(buf, len);
	ASK(client, account, ACCOUNT_REQUEST, struct account_request_msg, buf,
	    .user = uuid_of(1), .jti = uuid_of(70));
	cx_buf_unref(buf);
}

static void log_in(void)
{
	const struct client_login f = { .username = wire_text("anna"),
		                        .password = wire_text(OLD) };
	struct cx_buf *buf = cx_buf_new(2048);

	ask(buf, client_frame_login(cx_buf_data(buf), 2048, &f));
}

static struct wire_slice token(uint32_t jti, char *out)
{
	const struct jwt_claims claims = { .user = uuid_of(1),
		                           .session = uuid_of(jti),
		                           .issued_at = 1700000000,
		                           .expires_at = INT64_C(9999999999) };

	return wire_slice(out,
	                  jwt_sign(wire_slice(relay.jwt_secret, relay.jwt_secret_len),
	                           wire_text(relay.jwt_issuer), &claims, out, JWT_BYTES_MAX));
}

static void change_password(uint32_t jti)
{
	char text[JWT_BYTES_MAX];
	const struct client_change_password f = { .session_token = token(jti, text),
		                                  .old_password = wire_text(OLD),
		                                  .new_password = wire_text(NEW),
		                                  .new_password_confirm = wire_text(NEW) };
	struct cx_buf *buf = cx_buf_new(8192);

	ask(buf, client_frame_change_password(cx_buf_data(buf), 8192, &f));
}

static void delete_account(void)
{
	char text[JWT_BYTES_MAX];
	const struct client_delete_account f = { .session_token = token(70, text),
		                                 .password = wire_text(OLD) };
	struct cx_buf *buf = cx_buf_new(8192);

	ask(buf, client_frame_delete_account(cx_buf_data(buf), 8192, &f));
}

static enum account_effect expect_answer(const char *text)
{
	const struct got *g = take(client, ACCOUNT_ANSWER);

	cr_assert(memmem(cx_buf_bytes(g->buf), cx_buf_len(g->buf), text, strlen(text)) != NULL,
	          "expected %s", text);
	return GOT(struct account_answer, g)->effect;
}

/* ---- the store ---- */

static const struct got *asked(struct cx_ref at, enum store_what what)
{
	const struct got *g = take(at, STORE_OP);

	cr_assert_eq(GOT(struct store_op, g)->what, what, "%d instead of %d",
	             (int)GOT(struct store_op, g)->what, (int)what);
	return g;
}

static void says(const struct got *g, enum store_outcome outcome)
{
	ANSWER(g, STORE_RESULT, struct store_result, NULL,
	       .what = GOT(struct store_op, g)->what, .outcome = outcome, .user = uuid_of(1),
	       .text = "anna");
}

static void user_is(enum store_what what, const char *hash)
{
	struct store_result r = { .what = what, .outcome = STORE_OK, .user = uuid_of(1) };
	const struct got *g = asked(fake_reader, what);

	snprintf(r.hash, sizeof(r.hash), "%s", hash);
	snprintf(r.text, sizeof(r.text), "anna");
	answer_got(g,
	           (struct outgoing){ .type = STORE_RESULT, .bytes = &r, .size = sizeof(r) });
}

static const struct store_op *write_asked(enum store_what what, enum store_outcome outcome)
{
	const struct got *g = asked(fake_writer, what);

	says(g, outcome);
	return GOT(struct store_op, g);
}

static const char *hash_of(const char *password)
{
	static char hash[PASSWORD_HASH_MAX];

	cr_assert(password_hash(wire_text(password), hash));
	return hash;
}

/* ---- login ---- */

Test(account, a_login_makes_a_session_only_while_the_password_is_the_verified_one)
{
	const char *hash = hash_of(OLD);

	log_in();
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_NAME, hash);
	write_asked(STORE_LIMIT_RESET, STORE_OK);
	cr_assert_str_eq(write_asked(STORE_SESSION_PUT, STORE_OK)->was_hash, hash);
	cr_assert_eq(expect_answer("loginSuccess"), ACCOUNT_AUTHENTICATED);
}

Test(account, a_login_by_a_password_that_was_changed_meanwhile_is_refused)
{
	log_in();
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_NAME, hash_of(OLD));
	write_asked(STORE_LIMIT_RESET, STORE_OK);
	write_asked(STORE_SESSION_PUT, STORE_CHANGED);
	user_is(STORE_USER_BY_NAME, hash_of(NEW));
	cr_assert_eq(expect_answer("INVALID_CREDENTIALS"), ACCOUNT_NOTHING);
}

Test(account, a_login_of_a_user_who_was_deleted_meanwhile_is_refused)
{
	log_in();
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_NAME, hash_of(OLD));
	write_asked(STORE_LIMIT_RESET, STORE_OK);
	write_asked(STORE_SESSION_PUT, STORE_CHANGED);
	says(asked(fake_reader, STORE_USER_BY_NAME), STORE_NOT_FOUND);
	expect_answer("INVALID_CREDENTIALS");
}

Test(account, a_login_whose_hash_another_login_renewed_goes_through)
{
	const char *renewed = hash_of(OLD);

	log_in();
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_NAME, legacy);
	write_asked(STORE_LIMIT_RESET, STORE_OK);
	cr_assert_str_eq(write_asked(STORE_PASSWORD_SET, STORE_CHANGED)->was_hash, legacy);
	cr_assert_str_eq(write_asked(STORE_SESSION_PUT, STORE_CHANGED)->was_hash, legacy);
	user_is(STORE_USER_BY_NAME, renewed);
	write_asked(STORE_LIMIT_RESET, STORE_OK);
	cr_assert_str_eq(write_asked(STORE_SESSION_PUT, STORE_OK)->was_hash, renewed);
	expect_answer("loginSuccess");
}

Test(account, the_session_after_a_rehash_goes_by_the_new_hash)
{
	const struct store_op *set;

	log_in();
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_NAME, legacy);
	write_asked(STORE_LIMIT_RESET, STORE_OK);
	set = write_asked(STORE_PASSWORD_SET, STORE_OK);
	cr_assert_str_eq(write_asked(STORE_SESSION_PUT, STORE_OK)->was_hash, set->hash);
	expect_answer("loginSuccess");
}

Test(account, a_password_that_changes_without_end_is_given_up)
{
	const char *hash = hash_of(OLD);

	log_in();
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	for (int i = 0; i < 4; i++) {
		user_is(STORE_USER_BY_NAME, hash);
		write_asked(STORE_LIMIT_RESET, STORE_OK);
		write_asked(STORE_SESSION_PUT, STORE_CHANGED);
	}
	expect_answer("SERVER_ERROR");
}

/* ---- the gate ---- */

Test(account, what_finds_no_place_at_the_gate_writes_nothing)
{
	for (int i = 0; i <= HASH_GATE_EACH; i++)
		log_in();
	expect_answer("SERVER_ERROR");
	cr_assert_eq(count_got(client, ACCOUNT_ANSWER), 0);
	cr_assert_eq(count_got(fake_writer, STORE_OP), HASH_GATE_IN_EACH);
}

Test(account, who_waits_too_long_at_the_gate_leaves_it)
{
	for (int i = 0; i < HASH_GATE_EACH; i++)
		log_in();
	cr_assert_eq(count_got(fake_writer, STORE_OP), HASH_GATE_IN_EACH);
	skip_ms(8001);
	cr_assert_eq(count_got(client, ACCOUNT_ANSWER), HASH_GATE_EACH - HASH_GATE_IN_EACH);
	for (int i = 0; i < HASH_GATE_IN_EACH; i++)
		write_asked(STORE_LIMIT_TAKE, STORE_FAILED); /* each makes room as it ends */
	cr_assert_eq(count_got(client, ACCOUNT_ANSWER), HASH_GATE_EACH);
	log_in();
	cr_assert_eq(count_got(fake_writer, STORE_OP), 1);
}

/* ---- changePassword, deleteAccount ---- */

/* Nothing is answered before. */
static const struct push_kick_session *kick_is_done(void)
{
	const struct got *g = take(fake_hub, HUB_KICK);

	cr_assert_eq(count_got(client, ACCOUNT_ANSWER), 0);
	cr_assert(cx_ref_is(GOT(struct hub_kick_msg, g)->except, client));
	answer_got(g, (struct outgoing){ .type = ROUTES_KICKED,
	                                 .bytes = &(struct cx_msg){ 0 },
	                                 .size = sizeof(struct cx_msg) });
	return &GOT(struct hub_kick_msg, g)->kick;
}

static const struct store_op *change_up_to_the_write(uint32_t jti, enum store_outcome outcome)
{
	change_password(jti);
	says(asked(fake_reader, STORE_SESSION_GET), STORE_OK);
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_ID, hash_of(OLD));
	return write_asked(STORE_PASSWORD_SET, outcome);
}

Test(account, a_changed_password_leaves_the_asking_connection)
{
	cr_assert(change_up_to_the_write(70, STORE_OK)->was_hash[0] != '\0');
	cr_assert_eq(kick_is_done()->what, HUB_KICK_OTHERS);
	cr_assert_eq(expect_answer("changePasswordSuccess"), ACCOUNT_NOTHING);
}

Test(account, a_deletion_is_told_to_the_other_instances_and_answered_when_nobody_can_act)
{
	const struct uuid user = uuid_of(1);

	relay.routes[0] = fake();
	change_up_to_the_write(70, STORE_OK);
	kick_is_done();
	expect_answer("changePasswordSuccess");
	cr_assert_eq(count_got(relay.routes[0], ROUTES_GONE), 0);
	delete_account();
	says(asked(fake_reader, STORE_SESSION_GET), STORE_OK);
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_ID, hash_of(OLD));
	write_asked(STORE_USER_DELETE, STORE_OK);
	cr_assert(uuid_equal(
		&GOT(struct routes_gone_msg, take(relay.routes[0], ROUTES_GONE))->user, &user));
	cr_assert_eq(kick_is_done()->what, HUB_KICK_ALL);
	cr_assert_eq(expect_answer("deleteAccountSuccess"), ACCOUNT_LEFT);
}

Test(account, whoever_hears_nothing_of_the_kick_answers_at_his_deadline)
{
	change_up_to_the_write(70, STORE_OK);
	take(fake_hub, HUB_KICK);
	cr_assert_eq(count_got(client, ACCOUNT_ANSWER), 0);
	skip_ms(3 * ROUTES_KICK_WAIT_MS + 1);
	expect_answer("changePasswordSuccess");
}

Test(account, a_password_changed_by_another_sessions_token_ends_the_asking_one)
{
	change_up_to_the_write(71, STORE_OK);
	kick_is_done();
	cr_assert_eq(expect_answer("changePasswordSuccess"), ACCOUNT_ENDED);
}

Test(account, of_two_changes_at_once_one_is_refused)
{
	change_up_to_the_write(70, STORE_CHANGED);
	user_is(STORE_USER_BY_ID, hash_of(NEW));
	expect_answer("INVALID_PASSWORD");
	cr_assert_eq(count_got(fake_hub, HUB_KICK), 0);
}

Test(account, a_password_that_was_changed_meanwhile_deletes_nothing)
{
	delete_account();
	says(asked(fake_reader, STORE_SESSION_GET), STORE_OK);
	write_asked(STORE_LIMIT_TAKE, STORE_OK);
	user_is(STORE_USER_BY_ID, hash_of(OLD));
	cr_assert(write_asked(STORE_USER_DELETE, STORE_CHANGED)->was_hash[0] != '\0');
	user_is(STORE_USER_BY_ID, hash_of(NEW));
	expect_answer("INVALID_PASSWORD");
	cr_assert_eq(count_got(fake_hub, HUB_KICK), 0);
}
