/* SPDX-License-Identifier: MIT */
/* getPublicKey, rotatePrekey. */
#include "actors/account_op.h"

#include "wire/base64.h"
#include "wire/key_bundle.h"
#include "wire/server_frame.h"

#define DAY_MS INT64_C(86400000)

/* ---- key bundles ---- */

static struct wire_slice text64(const uint8_t *bytes, size_t len, char *out)
{
	return wire_slice(out, base64_encode(bytes, len, out));
}

static void bundle_found(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                         const struct store_result *r)
{
	char identity[64], prekey[64], signature[128], master[64];
	const size_t room = STORE_NAME_MAX + 1024;
	struct server_public_keys keys;
	struct key_bundle bundle;
	struct cx_buf *buf;

	if (r->outcome == STORE_NOT_FOUND) {
		op_fail(ctx, a, op, ERROR_USER_NOT_FOUND);
		return;
	}
	if (r->outcome != STORE_OK || r->hdr.buf == NULL ||
	    !key_bundle_unpack(wire_slice(cx_buf_bytes(r->hdr.buf), cx_buf_len(r->hdr.buf)),
	                       &bundle)) {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
		return;
	}
	keys.identity_public = text64(bundle.identity_key, KEY_BUNDLE_KEY_LEN, identity);
	keys.signed_prekey_public = text64(bundle.signed_prekey, KEY_BUNDLE_KEY_LEN, prekey);
	keys.signature = text64(bundle.signature, KEY_BUNDLE_SIGNATURE_LEN, signature);
	keys.verifying_key = text64(bundle.master, KEY_BUNDLE_MASTER_LEN, master);
	buf = cx_buf_new(room);
	cx_buf_trim(buf, server_frame_public_keys(cx_buf_data(buf), room, &op->subject,
	                                          wire_text(r->text), &keys));
	op_finish(ctx, a, op, buf, ACCOUNT_NOTHING);
}

void op_get_key(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	struct store_op *s;

	if (!op_is_local(a, &op->f.get_public_key.user)) {
		op_fail(ctx, a, op, ERROR_USER_NOT_FOUND);
		return;
	}
	op->subject = op->f.get_public_key.user.user;
	s = store_op_new(ctx, STORE_BUNDLE_GET);
	s->user = op->subject;
	op_ask(ctx, a, op, s, bundle_found);
}

static void rotated(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                    const struct store_result *r)
{
	if (r->outcome == STORE_OK)
		op_finish(ctx, a, op, op_plain_frame(SERVER_KEY_ROTATION_SUCCESS),
		          ACCOUNT_NOTHING);
	else
		op_fail(ctx, a, op, ERROR_SERVER_ERROR);
}

static void rotation_granted(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                             const struct store_result *r)
{
	enum key_bundle_verdict verdict;
	struct store_op *s;

	if (!op_is_granted(ctx, a, op, r))
		return;
	s = store_op_new(ctx, STORE_BUNDLE_PUT);
	s->hdr.buf = op_pack_bundle(a, &op->f.rotate_prekey.bundle, &op->subject, &verdict);
	s->user = op->subject;
	op_ask(ctx, a, op, s, rotated);
}

void op_rotate(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	const struct client_rotate_prekey *f = &op->f.rotate_prekey;
	enum key_bundle_verdict verdict;

	if (uuid_is_zero(&op->user)) {
		op_fail(ctx, a, op, ERROR_AUTH_REQUIRED);
		return;
	}
	if (!uuid_equal(&f->user.user, &op->user) || !op_is_local(a, &f->user)) {
		op_fail(ctx, a, op, ERROR_FORBIDDEN);
		return;
	}
	op->subject = op->user;
	cx_buf_unref(op_pack_bundle(a, &f->bundle, &op->subject, &verdict));
	if (verdict == KEY_BUNDLE_FOREIGN)
		op_fail(ctx, a, op, ERROR_FORBIDDEN);
	else if (verdict != KEY_BUNDLE_VALID)
		op_fail(ctx, a, op, ERROR_INVALID_BUNDLE);
	else
		op_ask_limit(ctx, a, op, "rotation", op_user(op),
		             a->relay->max_key_rotations_per_day, DAY_MS, rotation_granted);
}
