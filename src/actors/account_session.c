/* SPDX-License-Identifier: MIT */
/* register, login, connect, logout. */
#include "actors/account_op.h"

#include <string.h>

#include "wire/credentials.h"
#include "wire/jwt.h"
#include "wire/secret.h"
#include "wire/server_frame.h"

static struct uuid random_uuid(void)
{
	uint8_t bytes[16];

	secret_random(bytes, sizeof(bytes));
	return uuid_v4(bytes);
}
/* ---- sessions ---- */

static void answer_session(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                           enum server_type type)
{
	const int64_t now_s = cx_wall_ms(ctx) / 1000;
	const struct jwt_claims claims = {
		.user = op->subject,
		.session = op->session,
		.issued_at = now_s,
		.expires_at = now_s + a->relay->session_ttl_ms / 1000,
	};
	const size_t room = JWT_BYTES_MAX + STORE_NAME_MAX + 256;
	char token[JWT_BYTES_MAX];
	const size_t token_len = jwt_sign(op_secret(a), wire_text(a->relay->jwt_issuer),
	                                  &claims, token, sizeof(token));
	struct cx_buf *buf;

	if (token_len == 0) {
		op_fail(ctx, a, op, ERROR_SESSION_CREATION_FAILED);
		return;
	}
	buf = cx_buf_new(room);
	cx_buf_trim(buf, server_frame_session(cx_buf_data(buf), room, type, &op->subject,
	                                      wire_text(op->username),
	                                      wire_slice(token, token_len), claims.expires_at));
	secret_wipe(token, sizeof(token));
	op_finish(ctx, a, op, buf, ACCOUNT_AUTHENTICATED);
}

/* ---- register ---- */

static void registered(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                       const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		answer_session(ctx, a, op, SERVER_REGISTER_SUCCESS);
	else
		op_fail(ctx, a, op,
		        r->outcome == STORE_TAKEN ? ERROR_REGISTRATION_FAILED
		                                  : ERROR_SERVER_ERROR);
}

static void register_hashed(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                            const struct account_hash_job *job)
{
	enum key_bundle_verdict verdict;
	struct store_op *s;

	if (!job->is_made) {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	op->subject = random_uuid();
	op->session = random_uuid();
	s = store_op_new(ctx, STORE_USER_CREATE);
	s->hdr.buf = op_pack_bundle(a, &op->f.reg.bundle, NULL, &verdict);
	s->user = op->subject;
	s->jti = op->session;
	s->ttl_ms = a->relay->session_ttl_ms;
	memcpy(s->text, op->username, sizeof(s->text));
	memcpy(s->hash, job->hash, sizeof(s->hash));
	op_ask(ctx, a, op, s, registered);
}

/* true: copied, with a NUL. */
static bool take_username(struct account_op *op, struct wire_slice name)
{
	if (!username_is_valid(name) || name.len >= sizeof(op->username))
		return false;
	memcpy(op->username, name.at, name.len);
	op->username[name.len] = '\0';
	return true;
}

static void register_entered(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	op_ask_hash(ctx, a, op, HASH_MAKE, op->f.reg.password, register_hashed);
}

void op_register(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	const struct client_register *reg = &op->f.reg;
	enum key_bundle_verdict verdict;

	if (!take_username(op, reg->username)) {
		op_fail(ctx, a, op, ERROR_REGISTRATION_FAILED);
	} else if (!password_is_strong(reg->password)) {
		op_fail(ctx, a, op, ERROR_WEAK_PASSWORD);
	} else {
		cx_buf_unref(op_pack_bundle(a, &reg->bundle, NULL, &verdict));
		if (verdict != KEY_BUNDLE_VALID)
			op_fail(ctx, a, op, ERROR_INVALID_KEY_BUNDLE);
		else
			op_enter(ctx, a, op, HASH_GATE_FOR_REGISTER, register_entered);
	}
}

/* ---- login ---- */

static void logged_in(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                      const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		answer_session(ctx, a, op, SERVER_LOGIN_SUCCESS);
	else if (!op_again(ctx, a, op, r))
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
}

static void put_session(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	struct store_op *s = store_op_new(ctx, STORE_SESSION_PUT);

	op->session = random_uuid();
	s->user = op->subject;
	s->jti = op->session;
	s->ttl_ms = a->relay->session_ttl_ms;
	memcpy(s->was_hash, op->hash, sizeof(s->was_hash));
	op_ask(ctx, a, op, s, logged_in);
}

/* Neither the reset of the counter nor a new hash decides about the login: put_session asks whether
 * the password is still the one that was verified. */
static void after_rehash(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                         const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		memcpy(op->hash, op->new_hash, sizeof(op->hash));
	put_session(ctx, a, op);
}

static void rehashed(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                     const struct account_hash_job *job)
{
	struct store_op *s;

	if (!job->is_made) {
		put_session(ctx, a, op);
		return;
	}
	memcpy(op->new_hash, job->hash, sizeof(op->new_hash));
	s = store_op_new(ctx, STORE_PASSWORD_SET);
	s->user = op->subject;
	memcpy(s->hash, job->hash, sizeof(s->hash));
	memcpy(s->was_hash, op->hash, sizeof(s->was_hash));
	op_ask(ctx, a, op, s, after_rehash);
}

static void after_reset(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                        const struct store_result *r)
{
	(void)r;
	if (password_needs_rehash(op->hash))
		op_ask_hash(ctx, a, op, HASH_MAKE, op->f.login.password, rehashed);
	else
		put_session(ctx, a, op);
}

static void login_verified(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                           const struct account_hash_job *job)
{
	struct store_op *s;

	if (job->verdict != PASSWORD_RIGHT) {
		op_fail(ctx, a, op,
		        job->verdict == PASSWORD_WRONG ? ERROR_INVALID_CREDENTIALS
		                                       : ERROR_SERVER_ERROR);
		return;
	}
	op->is_attempt = false; /* the count goes back to zero */
	s = store_op_new(ctx, STORE_LIMIT_RESET);
	relay_limit_key("login", wire_text(op->username), s->key);
	op_ask(ctx, a, op, s, after_reset);
}

static void login_found(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                        const struct store_result *r)
{
	if (r->outcome == STORE_OK) {
		op->subject = r->user;
		memcpy(op->hash, r->hash, sizeof(op->hash));
		op_ask_hash(ctx, a, op, HASH_VERIFY, op->f.login.password, login_verified);
	} else if (r->outcome == STORE_NOT_FOUND) {
		op_ask_hash(ctx, a, op, HASH_VERIFY_NOBODY, op->f.login.password,
		            login_verified);
	} else {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
	}
}

static void find_login(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	struct store_op *s = store_op_new(ctx, STORE_USER_BY_NAME);

	op->again = find_login;
	memcpy(s->text, op->username, sizeof(s->text));
	op_ask(ctx, a, op, s, login_found);
}

static void login_granted(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                          const struct store_result *r)
{
	if (!op_is_granted(ctx, a, op, r))
		return;
	op->is_attempt = a->relay->max_failed_logins > 0;
	find_login(ctx, a, op);
}

static void login_entered(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	const struct client_login *login = &op->f.login;

	if (!take_username(op, login->username)) /* nobody has it */
		op_ask_hash(ctx, a, op, HASH_VERIFY_NOBODY, login->password, login_verified);
	else
		op_ask_limit(ctx, a, op, "login", login->username, a->relay->max_failed_logins,
		             LOGIN_WINDOW_MS, login_granted);
}

void op_login(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	const struct client_login *login = &op->f.login;

	if (login->password.len > PASSWORD_BYTES_MAX)
		op_fail(ctx, a, op, ERROR_INVALID_CREDENTIALS);
	else
		op_enter(ctx, a, op, HASH_GATE_FOR_LOGIN, login_entered);
}

/* ---- connect, logout ---- */

static void connected(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                      const struct store_result *r)
{
	const size_t room = STORE_NAME_MAX + 256;
	struct cx_buf *buf;

	if (r->outcome == STORE_NOT_FOUND) {
		op_finish(ctx, a, op, op_plain_frame(SERVER_SESSION_EXPIRED), ACCOUNT_NOTHING);
		return;
	}
	if (!op_has_session(ctx, a, op, r))
		return;
	buf = cx_buf_new(room);
	cx_buf_trim(buf, server_frame_connected(cx_buf_data(buf), room, &op->subject,
	                                        wire_text(op->username)));
	op_finish(ctx, a, op, buf, ACCOUNT_AUTHENTICATED);
}

void op_connect(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	if (op_open_token(ctx, a, op, op->f.session.session_token) == JWT_INVALID)
		op_fail(ctx, a, op, ERROR_INVALID_TOKEN);
	else /* expired or not: the store judges that, its clock has not jumped */
		op_ask_session(ctx, a, op, connected);
}

/* Was it the asking connection's own session? */
static enum account_effect own_effect(const struct account_op *op)
{
	return uuid_equal(&op->session, &op->jti) ? ACCOUNT_LEFT : ACCOUNT_NOTHING;
}

static void logout_told(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                        const struct store_result *r)
{
	(void)r;
	op_finish(ctx, a, op, op_plain_frame(SERVER_LOGOUT_SUCCESS), own_effect(op));
}

static void logged_out(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                       const struct store_result *r)
{
	if (r->outcome != STORE_OK && r->outcome != STORE_NOT_FOUND) {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	op_kick(ctx, a, op, HUB_KICK_SESSION, logout_told);
}

void op_logout(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	struct store_op *s;

	if (op_open_token(ctx, a, op, op->f.session.session_token) == JWT_INVALID) {
		op_fail(ctx, a, op, ERROR_INVALID_TOKEN);
		return;
	}
	s = store_op_new(ctx, STORE_SESSION_DELETE);
	s->jti = op->session;
	op_ask(ctx, a, op, s, logged_out);
}
