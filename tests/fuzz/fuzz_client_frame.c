/* SPDX-License-Identifier: MIT */
/* Frames of clients: what is taken can be written and read again and means the same; what is
 * refused can be answered. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/base64.h"
#include "wire/client_frame.h"
#include "wire/server_frame.h"
#include "wire/utf8.h"

static bool is_same_address(const struct user_address *a, const struct user_address *b)
{
	return uuid_equal(&a->user, &b->user) && domain_equal(a->domain, b->domain);
}

static void check_same_chat(const struct chat_message *a, const struct chat_message *b)
{
	CHECK(uuid_equal(&a->id, &b->id) && a->id_case == b->id_case);
	CHECK(is_same_address(&a->from, &b->from) && is_same_address(&a->to, &b->to));
	CHECK(memcmp(a->key, b->key, sizeof(a->key)) == 0);
	CHECK(a->message_number == b->message_number && a->timestamp == b->timestamp);
	CHECK(wire_slice_equal(a->content, b->content));
}

static void check_send(const struct client_frame *frame)
{
	const struct chat_message *m = &frame->send;
	const size_t len = client_frame_send_message(NULL, 0, m);
	const size_t out_len = server_frame_message(NULL, 0, m);
	uint8_t *again = exact(len), *out = exact(out_len);
	struct client_frame back;
	struct server_frame delivered;
	char id[UUID_TEXT_LEN];

	CHECK(m->content.len > 0 && base64_is_valid(m->content, NULL));
	uuid_format_case(&m->id, m->id_case, id);
	CHECK(wire_slice_equal(frame->message_id, wire_slice(id, sizeof(id))));
	CHECK(client_frame_send_message(again, len, m) == len);
	CHECK(client_frame_decode(again, len, &back) == ERROR_NONE);
	CHECK(back.type == CLIENT_SEND_MESSAGE);
	check_same_chat(m, &back.send);
	CHECK(server_frame_message(out, out_len, m) == out_len);
	CHECK(server_frame_decode(out, out_len, &delivered) &&
	      delivered.type == SERVER_MESSAGE);
	check_same_chat(m, &delivered.message);
	free(again);
	free(out);
}

static void check_acknowledge(const struct client_frame *frame)
{
	const struct client_acknowledge *a = &frame->acknowledge;
	const size_t len = client_frame_acknowledge(NULL, 0, a);
	uint8_t *again = exact(len);
	struct client_frame back;

	CHECK(client_frame_acknowledge(again, len, a) == len);
	CHECK(client_frame_decode(again, len, &back) == ERROR_NONE);
	CHECK(uuid_equal(&back.acknowledge.id, &a->id) &&
	      back.acknowledge.id_case == a->id_case);
	CHECK(back.acknowledge.has_from == a->has_from);
	CHECK(!a->has_from || is_same_address(&back.acknowledge.from, &a->from));
	CHECK(back.acknowledge.is_delivered == a->is_delivered);
	CHECK(a->is_delivered == wire_slice_is(a->status, "delivered"));
	free(again);
}

static void check_text(struct wire_slice text, const uint8_t *data, size_t size)
{
	check_inside(text, data, size);
	CHECK(utf8_is_valid(text));
}

static void check_bundle(const struct key_bundle_texts *b, const uint8_t *data, size_t size)
{
	check_text(b->master_identity_key, data, size);
	check_text(b->bundle_data, data, size);
	check_text(b->signature, data, size);
}

static void check_taken(const struct client_frame *f, const uint8_t *data, size_t size)
{
	switch (f->type) {
	case CLIENT_REGISTER:
		check_text(f->reg.username, data, size);
		check_text(f->reg.password, data, size);
		check_bundle(&f->reg.bundle, data, size);
		break;
	case CLIENT_LOGIN:
		check_text(f->login.username, data, size);
		check_text(f->login.password, data, size);
		break;
	case CLIENT_CONNECT:
	case CLIENT_LOGOUT:
		check_text(f->session.session_token, data, size);
		break;
	case CLIENT_CHANGE_PASSWORD:
		check_text(f->change_password.session_token, data, size);
		check_text(f->change_password.old_password, data, size);
		check_text(f->change_password.new_password, data, size);
		check_text(f->change_password.new_password_confirm, data, size);
		break;
	case CLIENT_DELETE_ACCOUNT:
		check_text(f->delete_account.session_token, data, size);
		check_text(f->delete_account.password, data, size);
		break;
	case CLIENT_GET_PUBLIC_KEY:
		check_inside(f->get_public_key.user.domain, data, size);
		break;
	case CLIENT_ROTATE_PREKEY:
		check_bundle(&f->rotate_prekey.bundle, data, size);
		break;
	case CLIENT_SEND_MESSAGE:
		check_text(f->send.content, data, size);
		check_send(f);
		break;
	case CLIENT_ACKNOWLEDGE_MESSAGE:
		check_text(f->acknowledge.status, data, size);
		check_acknowledge(f);
		break;
	case CLIENT_REGISTER_DEVICE_TOKEN:
	case CLIENT_UNREGISTER_DEVICE_TOKEN:
	case CLIENT_UPDATE_DEVICE_TOKEN:
		check_text(f->device_token.token, data, size);
		check_text(f->device_token.name, data, size);
		CHECK(f->device_token.filter <= FILTER_VISIBLE_CONTACTS);
		break;
	default:
		CHECK(false); /* taken without a type */
	}
}

static void check_answer(enum error_code code, struct wire_slice id)
{
	uint8_t out[SERVER_FRAME_ERROR_MAX];
	const size_t len = server_frame_error(out, sizeof(out), code, wire_slice(NULL, 0), id);
	struct server_frame answer;

	CHECK(len <= sizeof(out) && server_frame_decode(out, len, &answer));
	CHECK(answer.type == SERVER_ERROR && answer.error.code == code);
	CHECK((answer.error.message_id.at == NULL) == (id.at == NULL));
	CHECK(wire_slice_equal(answer.error.message_id, id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client_frame frame;
	const enum error_code code = client_frame_decode(data, size, &frame);

	check_inside(frame.message_id, data, size);
	CHECK(frame.type < CLIENT_TYPE_COUNT);
	CHECK(frame.type != CLIENT_UNKNOWN || code == ERROR_INVALID_FORMAT);
	CHECK(code == ERROR_NONE || code == ERROR_INVALID_FORMAT ||
	      code == ERROR_INVALID_MESSAGE_ID || code == ERROR_INVALID_MESSAGE_FORMAT ||
	      code == ERROR_INVALID_USER_ID || code == ERROR_INVALID_FILTER ||
	      code == ERROR_INVALID_DEVICE_TOKEN);
	if (code == ERROR_NONE)
		check_taken(&frame, data, size);
	else
		check_answer(code, frame.message_id);
	return 0;
}
