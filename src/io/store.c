/* SPDX-License-Identifier: MIT */
#include "io/store.h"

#include <string.h>

struct cx_buf *store_bundle_pack(const struct store_bundle *bundle)
{
	const uint32_t lens[3] = { bundle->master_key_len, bundle->data_len,
		                   bundle->signature_len };
	struct cx_buf *const blob =
		cx_buf_new(sizeof(lens) + lens[0] + (size_t)lens[1] + lens[2]);
	const uint8_t *const parts[3] = { bundle->master_key, bundle->data, bundle->signature };
	uint8_t *at = cx_buf_data(blob);
	unsigned i;

	memcpy(at, lens, sizeof(lens));
	at += sizeof(lens);
	for (i = 0; i < 3; i++) {
		if (lens[i] > 0)
			memcpy(at, parts[i], lens[i]);
		at += lens[i];
	}
	return blob;
}

bool store_bundle_unpack(const struct cx_buf *blob, struct store_bundle *out)
{
	uint32_t lens[3];
	const uint8_t *at;

	if (blob == NULL || cx_buf_len(blob) < sizeof(lens))
		return false;
	at = cx_buf_bytes(blob);
	memcpy(lens, at, sizeof(lens));
	if (sizeof(lens) + (uint64_t)lens[0] + lens[1] + lens[2] != cx_buf_len(blob))
		return false;
	at += sizeof(lens);
	*out = (struct store_bundle){
		.master_key = at,
		.data = at + lens[0],
		.signature = at + lens[0] + lens[1],
		.master_key_len = lens[0],
		.data_len = lens[1],
		.signature_len = lens[2],
	};
	return true;
}

struct cx_buf *store_device_pack(const struct store_device *device)
{
	const uint32_t lens[2] = { device->token_len, device->name_len };
	struct cx_buf *const blob =
		cx_buf_new(sizeof(lens) + STORE_DEVICE_HASH_LEN + lens[0] + (size_t)lens[1]);
	uint8_t *at = cx_buf_data(blob);

	memcpy(at, lens, sizeof(lens));
	at += sizeof(lens);
	memcpy(at, device->hash, STORE_DEVICE_HASH_LEN);
	at += STORE_DEVICE_HASH_LEN;
	if (lens[0] > 0)
		memcpy(at, device->token, lens[0]);
	if (lens[1] > 0)
		memcpy(at + lens[0], device->name, lens[1]);
	return blob;
}

bool store_device_unpack(const struct cx_buf *blob, struct store_device *out)
{
	const size_t head = 2 * sizeof(uint32_t) + STORE_DEVICE_HASH_LEN;
	uint32_t lens[2];
	const uint8_t *at;

	if (blob == NULL || cx_buf_len(blob) < head)
		return false;
	at = cx_buf_bytes(blob);
	memcpy(lens, at, sizeof(lens));
	if (head + (uint64_t)lens[0] + lens[1] != cx_buf_len(blob))
		return false;
	*out = (struct store_device){
		.hash = at + sizeof(lens),
		.token = at + head,
		.name = lens[1] > 0 ? at + head + lens[0] : NULL,
		.token_len = lens[0],
		.name_len = lens[1],
	};
	return true;
}

struct store_op *store_op_new(struct cx_ctx *ctx, enum store_what what)
{
	struct store_op *const op = CX_MSG_NEW(ctx, STORE_OP, struct store_op);

	op->what = what;
	return op;
}

static bool is_read(enum store_what what)
{
	switch (what) {
	case STORE_USER_BY_NAME:
	case STORE_USER_BY_ID:
	case STORE_USER_EXISTS:
	case STORE_BUNDLE_GET:
	case STORE_SESSION_GET:
	case STORE_BLOCK_GET:
	case STORE_PING:
		return true;
	default:
		return false;
	}
}

enum cx_err store_ask(struct cx_ctx *ctx, const struct store *store, struct store_op *op,
                      uint32_t timeout_ms, uint64_t *corr)
{
	if (store->workers != NULL)
		return cx_ask(ctx, store->workers[cx_worker_index(ctx)], &op->hdr, timeout_ms,
		              corr);
	return cx_ask(ctx, is_read(op->what) ? store->reader : store->writer, &op->hdr,
	              timeout_ms, corr);
}
