/* SPDX-License-Identifier: MIT */
#include "actors/account.h"

#include <stdlib.h>
#include <string.h>

#include "actors/account_op.h"
#include "wire/client_frame.h"
#include "wire/key_bundle.h"

#define OPS_MAX 512 /* of one worker; more is "busy" */

/* ---- requests ---- */

static void begin(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	switch (op->f.type) {
	case CLIENT_REGISTER:
		op_register(ctx, a, op);
		break;
	case CLIENT_LOGIN:
		op_login(ctx, a, op);
		break;
	case CLIENT_CONNECT:
		op_connect(ctx, a, op);
		break;
	case CLIENT_LOGOUT:
		op_logout(ctx, a, op);
		break;
	case CLIENT_CHANGE_PASSWORD:
		op_change_password(ctx, a, op);
		break;
	case CLIENT_DELETE_ACCOUNT:
		op_delete_account(ctx, a, op);
		break;
	case CLIENT_GET_PUBLIC_KEY:
		op_get_key(ctx, a, op);
		break;
	case CLIENT_ROTATE_PREKEY:
		op_rotate(ctx, a, op);
		break;
	case CLIENT_REGISTER_DEVICE_TOKEN:
	case CLIENT_UNREGISTER_DEVICE_TOKEN:
	case CLIENT_UPDATE_DEVICE_TOKEN:
		op_device(ctx, a, op);
		break;
	default: /* not about accounts: the connection keeps those */
		op_fail(ctx, a, op, ERROR_INVALID_FORMAT);
		break;
	}
}

static void on_request(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct account_request_msg *m = CX_MSG_AS(struct account_request_msg, msg);
	struct account *a = state;
	struct account_op *op;

	if (a->count == OPS_MAX) {
		struct account_answer *busy =
			CX_MSG_NEW(ctx, ACCOUNT_ANSWER, struct account_answer);

		busy->hdr.buf =
			relay_error_frame(ERROR_SERVER_ERROR, NULL, wire_slice(NULL, 0));
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
	op->origin = m->origin;
	op->next = a->ops;
	a->ops = op;
	a->count++;
	if (client_frame_decode(cx_buf_bytes(op->frame), cx_buf_len(op->frame), &op->f) !=
	    ERROR_NONE)
		op_fail(ctx, a, op, ERROR_INVALID_FORMAT);
	else
		begin(ctx, a, op);
}

/* Its answer is here; NULL: nobody waits for it. */
static struct account_op *op_waiting_for(const struct account *a, uint64_t corr)
{
	struct account_op *op = a->ops;

	while (op != NULL && op->corr != corr)
		op = op->next;
	if (op != NULL)
		op->corr = 0;
	return op;
}

static void take_answer(struct cx_ctx *ctx, struct account *a, uint64_t corr,
                        const struct store_result *r)
{
	struct account_op *op = op_waiting_for(a, corr);

	if (op != NULL)
		op->step(ctx, a, op, r);
}

static void on_store(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	take_answer(ctx, state, msg->corr, CX_MSG_AS(struct store_result, msg));
}

static void on_kicked(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	static const struct store_result nothing = { .outcome = STORE_OK };

	take_answer(ctx, state, msg->corr, &nothing);
}

static void on_entered(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct account *a = state;
	struct account_op *op = op_waiting_for(a, msg->corr);

	if (op != NULL)
		op_entered(ctx, a, op, CX_MSG_AS(struct hash_gate_entered, msg)->verdict);
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
	struct account_op *op = a->ops;

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
		op_end(a, a->ops);
	free(a->scratch);
}

static const struct cx_handler handlers[] = {
	CX_ON(ACCOUNT_REQUEST, struct account_request_msg, on_request),
	CX_ON(ACCOUNT_HASHED, struct account_hash_job, on_hashed),
	CX_ON(HASH_GATE_ENTERED, struct hash_gate_entered, on_entered),
	CX_ON(STORE_RESULT, struct store_result, on_store),
	CX_ON(ROUTES_KICKED, struct cx_msg, on_kicked),
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
                            const struct ws_origin *origin, struct cx_buf *frame,
                            uint32_t timeout_ms, uint64_t *corr)
{
	struct account_request_msg *m =
		CX_MSG_NEW(ctx, ACCOUNT_REQUEST, struct account_request_msg);

	m->user = *user;
	m->jti = *jti;
	m->origin = *origin;
	m->hdr.buf = cx_buf_ref(frame);
	return cx_ask(ctx, relay->accounts[cx_worker_index(ctx)], &m->hdr, timeout_ms, corr);
}
