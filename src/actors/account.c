/* SPDX-License-Identifier: MIT */
/* Each request is an `op`: a frame, the caller, and the step that takes the next answer.
 *
 * 1. An op is finished exactly once: `finish` answers, wipes and frees it.
 * 2. Between two steps an op waits for exactly one answer: of the store (corr) or the offload pool.
 * 3. Passwords live in the frame and in the job of the offload pool only; both are wiped. */
#include "actors/account.h"

#include <stdlib.h>
#include <string.h>

#include "actors/hub.h"
#include "io/store.h"
#include "wire/base64.h"
#include "wire/client_frame.h"
#include "wire/credentials.h"
#include "wire/jwt.h"
#include "wire/key_bundle.h"
#include "wire/password.h"
#include "wire/secret.h"
#include "wire/server_frame.h"

#define OPS_MAX 512 /* of one worker; more is "busy" */
#define STORE_TIMEOUT_MS 10000
#define DAY_MS INT64_C(86400000)
#define LOGIN_WINDOW_MS INT64_C(900000)

_Static_assert(PASSWORD_HASH_MAX <= STORE_HASH_MAX, "a hash fits the store's text");

struct account;
struct op;
typedef void step_fn(struct cx_ctx *ctx, struct account *a, struct op *op,
                     const struct store_result *r);

enum hash_what { HASH_MAKE, HASH_VERIFY, HASH_VERIFY_NOBODY };

/* Comes back as ACCOUNT_HASHED. */
struct account_hash_job {
	struct cx_msg hdr;
	uint64_t op_id;
	enum hash_what what;
	enum password_verdict verdict;
	bool is_made;
	size_t password_len;
	char hash[STORE_HASH_MAX];
	uint8_t password[PASSWORD_BYTES_MAX];
};
typedef void hashed_fn(struct cx_ctx *ctx, struct account *a, struct op *op,
                       const struct account_hash_job *job);

struct op {
	struct op *next;
	uint64_t id;
	uint64_t corr; /* 0: not waiting for the store */
	step_fn *step;
	hashed_fn *hashed;
	struct cx_caller caller;
	struct cx_buf *frame;
	struct client_frame f; /* borrows frame */
	struct uuid user, jti; /* of the connection */
	struct uuid subject;   /* the user it is about */
	struct uuid session;   /* the session it is about */
	char username[STORE_NAME_MAX];
	char hash[STORE_HASH_MAX];
};

struct account {
	const struct relay *relay;
	struct op *ops;
	uint32_t count;
	uint64_t last_id;
	uint8_t *scratch; /* KEY_BUNDLE_DATA_MAX */
};

/* ---- answering ---- */

static void end(struct account *a, struct op *op)
{
	struct op **at = &a->ops;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	a->count--;
	secret_wipe(cx_buf_data(op->frame), cx_buf_len(op->frame)); /* inv. 3 */
	cx_buf_unref(op->frame);
	secret_wipe(op, sizeof(*op));
	free(op);
}

static void finish(struct cx_ctx *ctx, struct account *a, struct op *op, struct cx_buf *frame,
                   enum account_effect effect)
{
	struct account_answer *m = CX_MSG_NEW(ctx, ACCOUNT_ANSWER, struct account_answer);

	m->hdr.buf = frame;
	m->effect = effect;
	m->user = op->subject;
	m->jti = op->session;
	cx_answer(ctx, op->caller, &m->hdr);
	end(a, op);
}

static void fail(struct cx_ctx *ctx, struct account *a, struct op *op, enum error_code code)
{
	finish(ctx, a, op, relay_error_frame(code, NULL, NULL), ACCOUNT_NOTHING);
}

static struct cx_buf *plain_frame(enum server_type type)
{
	struct cx_buf *buf = cx_buf_new(64);

	cx_buf_trim(buf, server_frame_plain(cx_buf_data(buf), 64, type));
	return buf;
}

/* ---- asking ---- */

static void ask(struct cx_ctx *ctx, struct account *a, struct op *op, struct store_op *s,
                step_fn *step)
{
	op->step = step;
	if (store_ask(ctx, &a->relay->store, s, STORE_TIMEOUT_MS, &op->corr) != CX_OK) {
		op->corr = 0;
		fail(ctx, a, op, ERROR_SERVER_ERROR);
	}
}

static void run_hash(struct cx_msg *msg)
{
	struct account_hash_job *job = (struct account_hash_job *)(void *)msg;
	const struct wire_slice password = wire_slice(job->password, job->password_len);

	switch (job->what) {
	case HASH_MAKE:
		job->is_made = password_hash(password, job->hash);
		break;
	case HASH_VERIFY:
		job->verdict = password_verify(job->hash, password);
		break;
	case HASH_VERIFY_NOBODY:
		job->verdict = password_verify_nobody(password);
		break;
	}
	secret_wipe(job->password, sizeof(job->password));
}

static void ask_hash(struct cx_ctx *ctx, struct account *a, struct op *op, enum hash_what what,
                     struct wire_slice password, hashed_fn *hashed)
{
	struct account_hash_job *job = CX_MSG_NEW(ctx, ACCOUNT_HASHED, struct account_hash_job);

	cx_assert(password.len <= sizeof(job->password));
	job->op_id = op->id;
	job->what = what;
	job->password_len = password.len;
	if (password.len > 0)
		memcpy(job->password, password.at, password.len);
	memcpy(job->hash, op->hash, sizeof(job->hash));
	op->hashed = hashed;
	if (cx_offload(ctx, &job->hdr, run_hash) != CX_OK)
		fail(ctx, a, op, ERROR_SERVER_ERROR); /* too many at once: busy */
}

static void ask_limit(struct cx_ctx *ctx, struct account *a, struct op *op, const char *name,
                      struct wire_slice subject, uint32_t max, int64_t window_ms, step_fn *step)
{
	static const struct store_result granted = { .outcome = STORE_OK };
	struct store_op *s;

	if (max == 0) {
		step(ctx, a, op, &granted);
		return;
	}
	s = store_op_new(ctx, STORE_LIMIT_TAKE);
	relay_limit_key(name, subject, s->key);
	s->user = op->subject;
	s->max = max;
	s->window_ms = window_ms;
	s->n = 1;
	ask(ctx, a, op, s, step);
}

static struct wire_slice user_slice(const struct op *op)
{
	return wire_slice(op->subject.b, sizeof(op->subject.b));
}

/* false: answered (over the limit, or the store cannot be asked: fail closed). */
static bool is_granted(struct cx_ctx *ctx, struct account *a, struct op *op,
                       const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		return true;
	fail(ctx, a, op,
	     r->outcome == STORE_LIMIT ? ERROR_RATE_LIMIT_EXCEEDED : ERROR_SERVER_ERROR);
	return false;
}

static struct uuid random_uuid(void)
{
	uint8_t bytes[16];

	secret_random(bytes, sizeof(bytes));
	return uuid_v4(bytes);
}

/* ---- sessions ---- */

static struct wire_slice secret(const struct account *a)
{
	return wire_slice(a->relay->jwt_secret, a->relay->jwt_secret_len);
}

static void answer_session(struct cx_ctx *ctx, struct account *a, struct op *op,
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
	const size_t token_len = jwt_sign(secret(a), wire_text(a->relay->jwt_issuer), &claims,
	                                  token, sizeof(token));
	struct cx_buf *buf;

	if (token_len == 0) {
		fail(ctx, a, op, ERROR_SESSION_CREATION_FAILED);
		return;
	}
	buf = cx_buf_new(room);
	cx_buf_trim(buf, server_frame_session(cx_buf_data(buf), room, type, &op->subject,
	                                      wire_text(op->username),
	                                      wire_slice(token, token_len), claims.expires_at));
	secret_wipe(token, sizeof(token));
	finish(ctx, a, op, buf, ACCOUNT_AUTHENTICATED);
}

/* The session that a request names: verified token, then the store. */
static enum jwt_verdict open_token(struct cx_ctx *ctx, const struct account *a, struct op *op,
                                   struct wire_slice token)
{
	struct jwt_claims claims;
	const enum jwt_verdict verdict = jwt_verify(secret(a), wire_text(a->relay->jwt_issuer),
	                                            token, cx_wall_ms(ctx) / 1000, &claims);

	if (verdict == JWT_INVALID)
		return verdict;
	op->subject = claims.user;
	op->session = claims.session;
	return verdict;
}

static void ask_session(struct cx_ctx *ctx, struct account *a, struct op *op, step_fn *step)
{
	struct store_op *s = store_op_new(ctx, STORE_SESSION_GET);

	s->jti = op->session;
	ask(ctx, a, op, s, step);
}

/* false: answered. */
static bool has_session(struct cx_ctx *ctx, struct account *a, struct op *op,
                        const struct store_result *r)
{
	if (r->outcome == STORE_OK && uuid_equal(&r->user, &op->subject)) {
		memcpy(op->username, r->text, sizeof(op->username));
		return true;
	}
	fail(ctx, a, op,
	     r->outcome == STORE_OK || r->outcome == STORE_NOT_FOUND ? ERROR_INVALID_TOKEN
	                                                             : ERROR_SERVER_ERROR);
	return false;
}

/* ---- register ---- */

static void registered(struct cx_ctx *ctx, struct account *a, struct op *op,
                       const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		answer_session(ctx, a, op, SERVER_REGISTER_SUCCESS);
	else
		fail(ctx, a, op,
		     r->outcome == STORE_TAKEN ? ERROR_REGISTRATION_FAILED
		                               : ERROR_SERVER_ERROR);
}

static struct cx_buf *pack_bundle(struct account *a, const struct key_bundle_texts *texts,
                                  const struct uuid *owner, enum key_bundle_verdict *verdict)
{
	struct key_bundle bundle;
	struct cx_buf *buf;
	size_t len;

	*verdict = key_bundle_check(
		texts, a->relay->verify_bundles ? KEY_BUNDLE_STRICT : KEY_BUNDLE_OFF, owner,
		a->scratch, &bundle);
	if (*verdict != KEY_BUNDLE_VALID)
		return NULL;
	len = key_bundle_pack(&bundle, NULL, 0);
	buf = cx_buf_new(len);
	cx_assert(key_bundle_pack(&bundle, cx_buf_data(buf), len) == len);
	return buf;
}

static void register_hashed(struct cx_ctx *ctx, struct account *a, struct op *op,
                            const struct account_hash_job *job)
{
	enum key_bundle_verdict verdict;
	struct store_op *s;

	if (!job->is_made) {
		fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	op->subject = random_uuid();
	op->session = random_uuid();
	s = store_op_new(ctx, STORE_USER_CREATE);
	s->hdr.buf = pack_bundle(a, &op->f.reg.bundle, NULL, &verdict);
	s->user = op->subject;
	s->jti = op->session;
	s->ttl_ms = a->relay->session_ttl_ms;
	memcpy(s->text, op->username, sizeof(s->text));
	memcpy(s->hash, job->hash, sizeof(s->hash));
	ask(ctx, a, op, s, registered);
}

/* true: copied, with a NUL. */
static bool take_username(struct op *op, struct wire_slice name)
{
	if (!username_is_valid(name) || name.len >= sizeof(op->username))
		return false;
	memcpy(op->username, name.at, name.len);
	op->username[name.len] = '\0';
	return true;
}

static void begin_register(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	const struct client_register *reg = &op->f.reg;
	enum key_bundle_verdict verdict;

	if (!take_username(op, reg->username)) {
		fail(ctx, a, op, ERROR_REGISTRATION_FAILED);
	} else if (!password_is_strong(reg->password)) {
		fail(ctx, a, op, ERROR_WEAK_PASSWORD);
	} else {
		cx_buf_unref(pack_bundle(a, &reg->bundle, NULL, &verdict));
		if (verdict != KEY_BUNDLE_VALID)
			fail(ctx, a, op, ERROR_INVALID_KEY_BUNDLE);
		else
			ask_hash(ctx, a, op, HASH_MAKE, reg->password, register_hashed);
	}
}

/* ---- login ---- */

static void logged_in(struct cx_ctx *ctx, struct account *a, struct op *op,
                      const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		answer_session(ctx, a, op, SERVER_LOGIN_SUCCESS);
	else
		fail(ctx, a, op, ERROR_SERVER_ERROR);
}

static void put_session(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	struct store_op *s = store_op_new(ctx, STORE_SESSION_PUT);

	op->session = random_uuid();
	s->user = op->subject;
	s->jti = op->session;
	s->ttl_ms = a->relay->session_ttl_ms;
	ask(ctx, a, op, s, logged_in);
}

/* Neither the reset of the counter nor a new hash decides about the login. */
static void after_rehash(struct cx_ctx *ctx, struct account *a, struct op *op,
                         const struct store_result *r)
{
	(void)r;
	put_session(ctx, a, op);
}

static void rehashed(struct cx_ctx *ctx, struct account *a, struct op *op,
                     const struct account_hash_job *job)
{
	struct store_op *s;

	if (!job->is_made) {
		put_session(ctx, a, op);
		return;
	}
	s = store_op_new(ctx, STORE_PASSWORD_SET);
	s->user = op->subject;
	memcpy(s->hash, job->hash, sizeof(s->hash));
	ask(ctx, a, op, s, after_rehash);
}

static void after_reset(struct cx_ctx *ctx, struct account *a, struct op *op,
                        const struct store_result *r)
{
	(void)r;
	if (password_needs_rehash(op->hash))
		ask_hash(ctx, a, op, HASH_MAKE, op->f.login.password, rehashed);
	else
		put_session(ctx, a, op);
}

static void login_verified(struct cx_ctx *ctx, struct account *a, struct op *op,
                           const struct account_hash_job *job)
{
	struct store_op *s;

	if (job->verdict != PASSWORD_RIGHT) {
		fail(ctx, a, op,
		     job->verdict == PASSWORD_WRONG ? ERROR_INVALID_CREDENTIALS
		                                    : ERROR_SERVER_ERROR);
		return;
	}
	s = store_op_new(ctx, STORE_LIMIT_RESET);
	relay_limit_key("login", wire_text(op->username), s->key);
	ask(ctx, a, op, s, after_reset);
}

static void login_found(struct cx_ctx *ctx, struct account *a, struct op *op,
                        const struct store_result *r)
{
	if (r->outcome == STORE_OK) {
		op->subject = r->user;
		memcpy(op->hash, r->hash, sizeof(op->hash));
		ask_hash(ctx, a, op, HASH_VERIFY, op->f.login.password, login_verified);
	} else if (r->outcome == STORE_NOT_FOUND) {
		ask_hash(ctx, a, op, HASH_VERIFY_NOBODY, op->f.login.password, login_verified);
	} else {
		fail(ctx, a, op, ERROR_SERVER_ERROR);
	}
}

static void login_granted(struct cx_ctx *ctx, struct account *a, struct op *op,
                          const struct store_result *r)
{
	struct store_op *s;

	if (!is_granted(ctx, a, op, r))
		return;
	s = store_op_new(ctx, STORE_USER_BY_NAME);
	memcpy(s->text, op->username, sizeof(s->text));
	ask(ctx, a, op, s, login_found);
}

static void begin_login(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	const struct client_login *login = &op->f.login;

	if (login->password.len > PASSWORD_BYTES_MAX)
		fail(ctx, a, op, ERROR_INVALID_CREDENTIALS);
	else if (!take_username(op, login->username)) /* nobody has it */
		ask_hash(ctx, a, op, HASH_VERIFY_NOBODY, login->password, login_verified);
	else
		ask_limit(ctx, a, op, "login", login->username, a->relay->max_failed_logins,
		          LOGIN_WINDOW_MS, login_granted);
}

/* ---- connect, logout ---- */

static void connected(struct cx_ctx *ctx, struct account *a, struct op *op,
                      const struct store_result *r)
{
	const size_t room = STORE_NAME_MAX + 256;
	struct cx_buf *buf;

	if (r->outcome == STORE_NOT_FOUND) {
		finish(ctx, a, op, plain_frame(SERVER_SESSION_EXPIRED), ACCOUNT_NOTHING);
		return;
	}
	if (!has_session(ctx, a, op, r))
		return;
	buf = cx_buf_new(room);
	cx_buf_trim(buf, server_frame_connected(cx_buf_data(buf), room, &op->subject,
	                                        wire_text(op->username)));
	finish(ctx, a, op, buf, ACCOUNT_AUTHENTICATED);
}

static void begin_connect(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	if (open_token(ctx, a, op, op->f.session.session_token) != JWT_VALID)
		fail(ctx, a, op, ERROR_INVALID_TOKEN);
	else
		ask_session(ctx, a, op, connected);
}

static void kick(struct cx_ctx *ctx, const struct account *a, const struct op *op,
                 enum hub_kick_what what)
{
	const enum cx_err err =
		hub_kick(ctx, a->relay, &op->subject, &op->session, what, op->caller.ref, 4401);

	(void)err; /* only at the runtime's end */
}

/* Was it the asking connection's own session? */
static enum account_effect own_effect(const struct op *op)
{
	return uuid_equal(&op->session, &op->jti) ? ACCOUNT_LEFT : ACCOUNT_NOTHING;
}

static void logged_out(struct cx_ctx *ctx, struct account *a, struct op *op,
                       const struct store_result *r)
{
	if (r->outcome != STORE_OK && r->outcome != STORE_NOT_FOUND) {
		fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	kick(ctx, a, op, HUB_KICK_SESSION);
	finish(ctx, a, op, plain_frame(SERVER_LOGOUT_SUCCESS), own_effect(op));
}

static void begin_logout(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	struct store_op *s;

	if (open_token(ctx, a, op, op->f.session.session_token) == JWT_INVALID) {
		fail(ctx, a, op, ERROR_INVALID_TOKEN);
		return;
	}
	s = store_op_new(ctx, STORE_SESSION_DELETE);
	s->jti = op->session;
	ask(ctx, a, op, s, logged_out);
}

/* ---- changePassword ---- */

static void password_set(struct cx_ctx *ctx, struct account *a, struct op *op,
                         const struct store_result *r)
{
	if (r->outcome != STORE_OK) {
		fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	kick(ctx, a, op, HUB_KICK_OTHERS);
	finish(ctx, a, op, plain_frame(SERVER_CHANGE_PASSWORD_SUCCESS), ACCOUNT_NOTHING);
}

static void change_hashed(struct cx_ctx *ctx, struct account *a, struct op *op,
                          const struct account_hash_job *job)
{
	struct store_op *s;

	if (!job->is_made) {
		fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	s = store_op_new(ctx, STORE_PASSWORD_SET);
	s->user = op->subject;
	s->jti = op->session;
	memcpy(s->hash, job->hash, sizeof(s->hash));
	ask(ctx, a, op, s, password_set);
}

/* false: answered. */
static bool is_right(struct cx_ctx *ctx, struct account *a, struct op *op,
                     const struct account_hash_job *job)
{
	if (job->verdict == PASSWORD_RIGHT)
		return true;
	fail(ctx, a, op,
	     job->verdict == PASSWORD_WRONG ? ERROR_INVALID_PASSWORD : ERROR_SERVER_ERROR);
	return false;
}

static void change_verified(struct cx_ctx *ctx, struct account *a, struct op *op,
                            const struct account_hash_job *job)
{
	if (is_right(ctx, a, op, job))
		ask_hash(ctx, a, op, HASH_MAKE, op->f.change_password.new_password,
		         change_hashed);
}

static void ask_user(struct cx_ctx *ctx, struct account *a, struct op *op, step_fn *step)
{
	struct store_op *s = store_op_new(ctx, STORE_USER_BY_ID);

	s->user = op->subject;
	ask(ctx, a, op, s, step);
}

/* false: answered. */
static bool has_user(struct cx_ctx *ctx, struct account *a, struct op *op,
                     const struct store_result *r)
{
	if (r->outcome != STORE_OK) {
		fail(ctx, a, op,
		     r->outcome == STORE_NOT_FOUND ? ERROR_INVALID_TOKEN : ERROR_SERVER_ERROR);
		return false;
	}
	memcpy(op->hash, r->hash, sizeof(op->hash));
	return true;
}

static void change_found(struct cx_ctx *ctx, struct account *a, struct op *op,
                         const struct store_result *r)
{
	if (has_user(ctx, a, op, r))
		ask_hash(ctx, a, op, HASH_VERIFY, op->f.change_password.old_password,
		         change_verified);
}

static void change_granted(struct cx_ctx *ctx, struct account *a, struct op *op,
                           const struct store_result *r)
{
	if (is_granted(ctx, a, op, r))
		ask_user(ctx, a, op, change_found);
}

static void change_session(struct cx_ctx *ctx, struct account *a, struct op *op,
                           const struct store_result *r)
{
	const struct client_change_password *f = &op->f.change_password;

	if (!has_session(ctx, a, op, r))
		return;
	if (!wire_slice_equal(f->new_password, f->new_password_confirm))
		fail(ctx, a, op, ERROR_PASSWORD_MISMATCH);
	else if (!password_is_strong(f->new_password))
		fail(ctx, a, op, ERROR_WEAK_PASSWORD);
	else if (wire_slice_equal(f->new_password, f->old_password))
		fail(ctx, a, op, ERROR_SAME_PASSWORD);
	else if (f->old_password.len > PASSWORD_BYTES_MAX)
		fail(ctx, a, op, ERROR_INVALID_PASSWORD);
	else
		ask_limit(ctx, a, op, "password", user_slice(op),
		          a->relay->max_password_changes_per_day, DAY_MS, change_granted);
}

static void begin_change_password(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	if (open_token(ctx, a, op, op->f.change_password.session_token) != JWT_VALID)
		fail(ctx, a, op, ERROR_INVALID_TOKEN);
	else
		ask_session(ctx, a, op, change_session);
}

/* ---- deleteAccount ---- */

static void account_deleted(struct cx_ctx *ctx, struct account *a, struct op *op,
                            const struct store_result *r)
{
	if (r->outcome != STORE_OK) {
		fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	kick(ctx, a, op, HUB_KICK_ALL);
	finish(ctx, a, op, plain_frame(SERVER_DELETE_ACCOUNT_SUCCESS),
	       uuid_equal(&op->subject, &op->user) ? ACCOUNT_LEFT : ACCOUNT_NOTHING);
}

static void delete_verified(struct cx_ctx *ctx, struct account *a, struct op *op,
                            const struct account_hash_job *job)
{
	struct store_op *s;

	if (!is_right(ctx, a, op, job))
		return;
	s = store_op_new(ctx, STORE_USER_DELETE);
	s->user = op->subject;
	ask(ctx, a, op, s, account_deleted);
}

static void delete_found(struct cx_ctx *ctx, struct account *a, struct op *op,
                         const struct store_result *r)
{
	if (has_user(ctx, a, op, r))
		ask_hash(ctx, a, op, HASH_VERIFY, op->f.delete_account.password,
		         delete_verified);
}

/* Guessing the password here is as limited as at login. */
static void delete_granted(struct cx_ctx *ctx, struct account *a, struct op *op,
                           const struct store_result *r)
{
	if (is_granted(ctx, a, op, r))
		ask_user(ctx, a, op, delete_found);
}

static void delete_session(struct cx_ctx *ctx, struct account *a, struct op *op,
                           const struct store_result *r)
{
	if (!has_session(ctx, a, op, r))
		return;
	if (op->f.delete_account.password.len > PASSWORD_BYTES_MAX)
		fail(ctx, a, op, ERROR_INVALID_PASSWORD);
	else
		ask_limit(ctx, a, op, "delete", user_slice(op), a->relay->max_failed_logins,
		          LOGIN_WINDOW_MS, delete_granted);
}

static void begin_delete(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	if (open_token(ctx, a, op, op->f.delete_account.session_token) != JWT_VALID)
		fail(ctx, a, op, ERROR_INVALID_TOKEN);
	else
		ask_session(ctx, a, op, delete_session);
}

/* ---- key bundles ---- */

static struct wire_slice text64(const uint8_t *bytes, size_t len, char *out)
{
	return wire_slice(out, base64_encode(bytes, len, out));
}

static void bundle_found(struct cx_ctx *ctx, struct account *a, struct op *op,
                         const struct store_result *r)
{
	char identity[64], prekey[64], signature[128], master[64];
	const size_t room = STORE_NAME_MAX + 1024;
	struct server_public_keys keys;
	struct key_bundle bundle;
	struct cx_buf *buf;

	if (r->outcome == STORE_NOT_FOUND) {
		fail(ctx, a, op, ERROR_USER_NOT_FOUND);
		return;
	}
	if (r->outcome != STORE_OK || r->hdr.buf == NULL ||
	    !key_bundle_unpack(wire_slice(cx_buf_bytes(r->hdr.buf), cx_buf_len(r->hdr.buf)),
	                       &bundle)) {
		fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	keys.identity_public = text64(bundle.identity_key, KEY_BUNDLE_KEY_LEN, identity);
	keys.signed_prekey_public = text64(bundle.signed_prekey, KEY_BUNDLE_KEY_LEN, prekey);
	keys.signature = text64(bundle.signature, KEY_BUNDLE_SIGNATURE_LEN, signature);
	keys.verifying_key = text64(bundle.master, KEY_BUNDLE_MASTER_LEN, master);
	buf = cx_buf_new(room);
	cx_buf_trim(buf, server_frame_public_keys(cx_buf_data(buf), room, &op->subject,
	                                          wire_text(r->text), &keys));
	finish(ctx, a, op, buf, ACCOUNT_NOTHING);
}

static bool is_local(const struct account *a, const struct user_address *address)
{
	return user_address_is_local(address, a->relay->domain != NULL
	                                              ? wire_text(a->relay->domain)
	                                              : wire_slice(NULL, 0));
}

static void begin_get_key(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	struct store_op *s;

	if (!is_local(a, &op->f.get_public_key.user)) {
		fail(ctx, a, op, ERROR_USER_NOT_FOUND);
		return;
	}
	op->subject = op->f.get_public_key.user.user;
	s = store_op_new(ctx, STORE_BUNDLE_GET);
	s->user = op->subject;
	ask(ctx, a, op, s, bundle_found);
}

static void rotated(struct cx_ctx *ctx, struct account *a, struct op *op,
                    const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		finish(ctx, a, op, plain_frame(SERVER_KEY_ROTATION_SUCCESS), ACCOUNT_NOTHING);
	else
		fail(ctx, a, op, ERROR_SERVER_ERROR);
}

static void rotation_granted(struct cx_ctx *ctx, struct account *a, struct op *op,
                             const struct store_result *r)
{
	enum key_bundle_verdict verdict;
	struct store_op *s;

	if (!is_granted(ctx, a, op, r))
		return;
	s = store_op_new(ctx, STORE_BUNDLE_PUT);
	s->hdr.buf = pack_bundle(a, &op->f.rotate_prekey.bundle, &op->subject, &verdict);
	s->user = op->subject;
	ask(ctx, a, op, s, rotated);
}

static void begin_rotate(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	const struct client_rotate_prekey *f = &op->f.rotate_prekey;
	enum key_bundle_verdict verdict;

	if (uuid_is_zero(&op->user)) {
		fail(ctx, a, op, ERROR_AUTH_REQUIRED);
		return;
	}
	if (!uuid_equal(&f->user.user, &op->user) || !is_local(a, &f->user)) {
		fail(ctx, a, op, ERROR_FORBIDDEN);
		return;
	}
	op->subject = op->user;
	cx_buf_unref(pack_bundle(a, &f->bundle, &op->subject, &verdict));
	if (verdict == KEY_BUNDLE_FOREIGN)
		fail(ctx, a, op, ERROR_FORBIDDEN);
	else if (verdict != KEY_BUNDLE_VALID)
		fail(ctx, a, op, ERROR_INVALID_BUNDLE);
	else
		ask_limit(ctx, a, op, "rotation", user_slice(op),
		          a->relay->max_key_rotations_per_day, DAY_MS, rotation_granted);
}

/* ---- requests ---- */

static void begin(struct cx_ctx *ctx, struct account *a, struct op *op)
{
	switch (op->f.type) {
	case CLIENT_REGISTER:
		begin_register(ctx, a, op);
		break;
	case CLIENT_LOGIN:
		begin_login(ctx, a, op);
		break;
	case CLIENT_CONNECT:
		begin_connect(ctx, a, op);
		break;
	case CLIENT_LOGOUT:
		begin_logout(ctx, a, op);
		break;
	case CLIENT_CHANGE_PASSWORD:
		begin_change_password(ctx, a, op);
		break;
	case CLIENT_DELETE_ACCOUNT:
		begin_delete(ctx, a, op);
		break;
	case CLIENT_GET_PUBLIC_KEY:
		begin_get_key(ctx, a, op);
		break;
	case CLIENT_ROTATE_PREKEY:
		begin_rotate(ctx, a, op);
		break;
	default: /* device tokens: push notifications are not part of this server yet */
		fail(ctx, a, op,
		     uuid_is_zero(&op->user) ? ERROR_UNAUTHORIZED : ERROR_SERVER_ERROR);
		break;
	}
}

static void on_request(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct account_request_msg *m = CX_MSG_AS(struct account_request_msg, msg);
	struct account *a = state;
	struct op *op;

	if (a->count == OPS_MAX) {
		struct account_answer *busy =
			CX_MSG_NEW(ctx, ACCOUNT_ANSWER, struct account_answer);

		busy->hdr.buf = relay_error_frame(ERROR_SERVER_ERROR, NULL, NULL);
		cx_reply(ctx, msg, &busy->hdr);
		return;
	}
	op = calloc(1, sizeof(*op));
	cx_assert(op != NULL);
	op->id = ++a->last_id;
	op->caller = cx_caller_of(msg);
	op->frame = cx_buf_ref(msg->buf);
	op->user = m->user;
	op->jti = m->jti;
	op->next = a->ops;
	a->ops = op;
	a->count++;
	if (client_frame_decode(cx_buf_bytes(op->frame), cx_buf_len(op->frame), &op->f) !=
	    ERROR_NONE)
		fail(ctx, a, op, ERROR_INVALID_FORMAT);
	else
		begin(ctx, a, op);
}

static void take_answer(struct cx_ctx *ctx, struct account *a, uint64_t corr,
                        const struct store_result *r)
{
	struct op *op = a->ops;

	while (op != NULL && op->corr != corr)
		op = op->next;
	if (op == NULL)
		return;
	op->corr = 0;
	op->step(ctx, a, op, r);
}

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	take_answer(ctx, state, msg->corr, CX_MSG_AS(struct store_result, msg));
}

static void on_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	static const struct store_result failed = { .outcome = STORE_FAILED };

	take_answer(ctx, state, msg->corr, &failed);
}

static void on_hashed(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct account_hash_job *job = CX_MSG_AS(struct account_hash_job, msg);
	struct account *a = state;
	struct op *op = a->ops;

	while (op != NULL && op->id != job->op_id)
		op = op->next;
	if (op != NULL)
		op->hashed(ctx, a, op, job);
}

/* ---- lifecycle ---- */

static enum cx_err start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct account *a = state;

	(void)ctx;
	a->relay = ((const struct relay_conf *)conf)->relay;
	a->scratch = malloc(KEY_BUNDLE_DATA_MAX);
	return a->scratch != NULL ? CX_OK : CX_ENOMEM;
}

static void stop(struct cx_ctx *ctx, void *state)
{
	struct account *a = state;

	(void)ctx;
	while (a->ops != NULL)
		end(a, a->ops);
	free(a->scratch);
}

static const struct cx_handler handlers[] = {
	CX_ON(ACCOUNT_REQUEST, struct account_request_msg, on_request),
	CX_ON(ACCOUNT_HASHED, struct account_hash_job, on_hashed),
	CX_ON(STORE_RESULT, struct store_result, on_store),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, on_error),
};

const struct cx_actor_type account_type = {
	.name = "account",
	.state_size = sizeof(struct account),
	.conf_size = sizeof(struct relay_conf),
	.mailbox_cap = 4096,
	.placement = CX_PLACE_IO,
	.start = start,
	.stop = stop,
	.handlers = handlers,
	.handler_count = CX_COUNTOF(handlers),
};

enum cx_err account_request(struct cx_ctx *ctx, const struct relay *relay,
                            const struct uuid *user, const struct uuid *jti,
                            struct cx_buf *frame, uint32_t timeout_ms, uint64_t *corr)
{
	struct account_request_msg *m =
		CX_MSG_NEW(ctx, ACCOUNT_REQUEST, struct account_request_msg);

	m->user = *user;
	m->jti = *jti;
	m->hdr.buf = cx_buf_ref(frame);
	return cx_ask(ctx, relay->accounts[cx_worker_index(ctx)], &m->hdr, timeout_ms, corr);
}
