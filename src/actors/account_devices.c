/* SPDX-License-Identifier: MIT */
/* registerDeviceToken, unregisterDeviceToken, updateDeviceTokenPreferences: where pushes may go.  Token
 * and name are stored sealed; the token's hash finds them again. */
#include "actors/account_op.h"

#include <string.h>

#include "wire/hash.h"
#include "wire/secret.h"
#include "wire/utf8.h"

#define TOKEN_BYTES_MAX 512 /* 128 characters */
#define NAME_BYTES_MAX 256  /* a longer name is cut: it is for the user's eyes only */

static void device_done(struct cx_ctx *ctx, struct account *a, struct account_op *op,
                        const struct store_result *r)
{
	static const enum server_type success[] = {
		[STORE_DEVICE_PUT] = SERVER_DEVICE_TOKEN_REGISTERED,
		[STORE_DEVICE_UPDATE] = SERVER_DEVICE_TOKEN_UPDATED,
		[STORE_DEVICE_DELETE] = SERVER_DEVICE_TOKEN_UNREGISTERED,
	};

	if (r->outcome == STORE_OK)
		op_finish(ctx, a, op, op_plain_frame(success[r->what]), ACCOUNT_NOTHING);
	else
		op_fail(ctx, a, op,
		        r->outcome == STORE_NOT_FOUND && r->what != STORE_DEVICE_PUT
		                ? ERROR_DEVICE_TOKEN_NOT_FOUND
		                : ERROR_SERVER_ERROR);
}

static struct wire_slice cut(struct wire_slice text)
{
	if (text.len > NAME_BYTES_MAX) {
		text.len = NAME_BYTES_MAX;
		while (text.len > 0 && (text.at[text.len] & 0xc0) == 0x80)
			text.len--; /* not inside a character */
	}
	return text;
}

/* Returns the sealed length. */
static uint32_t seal(const struct account *a, struct wire_slice plain, uint8_t *out)
{
	uint8_t nonce[HASH_NONCE_LEN];

	secret_random(nonce, sizeof(nonce));
	hash_seal(a->relay->device_key, nonce, plain, out);
	return (uint32_t)(plain.len + HASH_SEAL_EXTRA);
}

static struct cx_buf *pack_device(const struct account *a,
                                  const struct client_device_token *asked, bool is_new)
{
	uint8_t hash[HASH_LEN], token[TOKEN_BYTES_MAX + HASH_SEAL_EXTRA],
		name[NAME_BYTES_MAX + HASH_SEAL_EXTRA];
	struct store_device device = { .hash = hash };

	hash_sha256(asked->token, hash);
	if (is_new) {
		device.token = token;
		device.token_len = seal(a, asked->token, token);
		if (asked->name.len > 0) {
			device.name = name;
			device.name_len = seal(a, cut(asked->name), name);
		}
	}
	return store_device_pack(&device);
}

void op_device(struct cx_ctx *ctx, struct account *a, struct account_op *op)
{
	static const enum store_what what[CLIENT_TYPE_COUNT] = {
		[CLIENT_REGISTER_DEVICE_TOKEN] = STORE_DEVICE_PUT,
		[CLIENT_UNREGISTER_DEVICE_TOKEN] = STORE_DEVICE_DELETE,
		[CLIENT_UPDATE_DEVICE_TOKEN] = STORE_DEVICE_UPDATE,
	};
	const struct client_device_token *asked = &op->f.device_token;
	struct store_op *s;

	if (uuid_is_zero(&op->user)) {
		op_fail(ctx, a, op, ERROR_UNAUTHORIZED);
		return;
	}
	if (a->relay->device_key == NULL && op->f.type == CLIENT_REGISTER_DEVICE_TOKEN) {
		op_fail(ctx, a, op, ERROR_SERVER_ERROR); /* never stored in clear */
		return;
	}
	op->subject = op->user;
	s = store_op_new(ctx, what[op->f.type]);
	s->user = op->user;
	s->hdr.buf = pack_device(a, asked, s->what == STORE_DEVICE_PUT);
	s->n = asked->enabled;
	strncpy(s->text, notification_filter_name(asked->filter), sizeof(s->text) - 1);
	op_ask(ctx, a, op, s, device_done);
}
