/* SPDX-License-Identifier: MIT */
/* Frames of servers: what is read can be written and read again and means the same. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/server_frame.h"

static size_t encode(uint8_t *out, size_t room, const struct server_frame *f)
{
	switch (f->type) {
	case SERVER_REGISTER_SUCCESS:
	case SERVER_LOGIN_SUCCESS:
		return server_frame_session(out, room, f->type, &f->session.user,
		                            f->session.username, f->session.session_token,
		                            f->session.expires);
	case SERVER_CONNECT_SUCCESS:
		return server_frame_connected(out, room, &f->session.user, f->session.username);
	case SERVER_PUBLIC_KEY_BUNDLE:
		return server_frame_public_keys(out, room, &f->public_keys.user,
		                                f->public_keys.username, &f->public_keys.keys);
	case SERVER_MESSAGE:
		return server_frame_message(out, room, &f->message);
	case SERVER_ACK:
		return server_frame_ack(out, room, &f->ack.id, f->ack.id_case, f->ack.status);
	case SERVER_ERROR:
		return server_frame_error(out, room, f->error.code, f->error.text,
		                          f->error.message_id);
	default:
		return server_frame_plain(out, room, f->type);
	}
}

static void check_inside_all(const struct server_frame *f, const uint8_t *data, size_t size)
{
	if (f->type == SERVER_MESSAGE) {
		check_inside(f->message.content, data, size);
		check_inside(f->message.from.domain, data, size);
	} else if (f->type == SERVER_ERROR) {
		check_inside(f->error.text, data, size);
		check_inside(f->error.message_id, data, size);
	} else if (f->type == SERVER_PUBLIC_KEY_BUNDLE) {
		check_inside(f->public_keys.keys.signature, data, size);
		check_inside(f->public_keys.keys.verifying_key, data, size);
	} else if (f->type == SERVER_REGISTER_SUCCESS || f->type == SERVER_LOGIN_SUCCESS) {
		check_inside(f->session.session_token, data, size);
	}
}

/* What is written once is written the same ever after. */
static void check_fixpoint(const struct server_frame *f)
{
	const size_t len = encode(NULL, 0, f);
	uint8_t *first = exact(len), *second = exact(len);
	struct server_frame back;

	CHECK(encode(first, len, f) == len);
	CHECK(server_frame_decode(first, len, &back) && back.type == f->type);
	CHECK(encode(second, len, &back) == len);
	CHECK(memcmp(first, second, len) == 0);
	free(first);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct server_frame f;

	if (!server_frame_decode(data, size, &f))
		return 0;
	check_inside_all(&f, data, size);
	CHECK(f.type < SERVER_TYPE_COUNT);
	/* Not ours to write: types, codes and states of a later protocol. */
	if (f.type == SERVER_UNKNOWN ||
	    (f.type == SERVER_ERROR && f.error.code == ERROR_NONE) ||
	    (f.type == SERVER_ACK && f.ack.status == ACK_OTHER))
		return 0;
	check_fixpoint(&f);
	return 0;
}
