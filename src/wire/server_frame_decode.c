/* SPDX-License-Identifier: MIT */
/* Server frames as a client reads them. */
#include "wire/server_frame.h"

#include "wire/unpack.h"

#define PAYLOAD_DEPTH 2

static const struct unpack_field frame_fields[] = {
	UNPACK_FIELD("type", WANT_TEXT, NEED),
	UNPACK_FIELD("payload", WANT_MAP, MAY),
};
static const struct unpack_field session_fields[] = {
	UNPACK_FIELD("userId", WANT_TEXT, NEED),
	UNPACK_FIELD("username", WANT_TEXT, NEED),
	UNPACK_FIELD("sessionToken", WANT_TEXT, NEED),
	UNPACK_FIELD("expires", WANT_INT, NEED),
};
static const struct unpack_field public_keys_fields[] = {
	UNPACK_FIELD("userId", WANT_TEXT, NEED),
	UNPACK_FIELD("username", WANT_TEXT, NEED),
	UNPACK_FIELD("identityPublic", WANT_TEXT, NEED),
	UNPACK_FIELD("signedPrekeyPublic", WANT_TEXT, NEED),
	UNPACK_FIELD("signature", WANT_TEXT, NEED),
	UNPACK_FIELD("verifyingKey", WANT_TEXT, NEED),
};
static const struct unpack_field ack_fields[] = {
	UNPACK_FIELD("messageId", WANT_TEXT, NEED),
	UNPACK_FIELD("status", WANT_TEXT, NEED),
};
static const struct unpack_field error_fields[] = {
	UNPACK_FIELD("code", WANT_TEXT, NEED),
	UNPACK_FIELD("message", WANT_TEXT, NEED),
	UNPACK_FIELD("messageId", WANT_TEXT, MAY),
};

static bool build_session(const struct unpack_token *v, struct server_frame *out)
{
	out->session.username = v[1].bytes;
	out->session.session_token = v[2].bytes;
	out->session.expires = (int64_t)v[3].value;
	return uuid_parse(v[0].bytes, &out->session.user, NULL);
}

static bool build_connected(const struct unpack_token *v, struct server_frame *out)
{
	out->session.username = v[1].bytes;
	out->session.session_token = wire_slice(NULL, 0);
	out->session.expires = 0;
	return uuid_parse(v[0].bytes, &out->session.user, NULL);
}

static bool build_public_keys(const struct unpack_token *v, struct server_frame *out)
{
	out->public_keys.username = v[1].bytes;
	out->public_keys.keys.identity_public = v[2].bytes;
	out->public_keys.keys.signed_prekey_public = v[3].bytes;
	out->public_keys.keys.signature = v[4].bytes;
	out->public_keys.keys.verifying_key = v[5].bytes;
	return uuid_parse(v[0].bytes, &out->public_keys.user, NULL);
}

static bool build_message(const struct unpack_token *v, struct server_frame *out)
{
	return chat_message_build(v, &out->message) == ERROR_NONE;
}

static bool build_ack(const struct unpack_token *v, struct server_frame *out)
{
	out->ack.message_id = v[0].bytes;
	out->ack.status = wire_slice_is(v[1].bytes, "accepted")    ? ACK_ACCEPTED
	                  : wire_slice_is(v[1].bytes, "delivered") ? ACK_DELIVERED
	                                                           : ACK_OTHER;
	return uuid_parse(v[0].bytes, &out->ack.id, &out->ack.id_case);
}

static bool build_error(const struct unpack_token *v, struct server_frame *out)
{
	out->error.code = error_code_by_name(v[0].bytes);
	out->error.code_name = v[0].bytes;
	out->error.text = v[1].bytes;
	out->error.message_id = v[2].bytes;
	return true;
}

struct shape {
	const struct unpack_field *fields;
	size_t count;
	bool (*build)(const struct unpack_token *values, struct server_frame *out);
};

/* Types that are not here have no payload. */
static const struct shape shapes[SERVER_TYPE_COUNT] = {
	[SERVER_REGISTER_SUCCESS] = { session_fields, 4, build_session },
	[SERVER_LOGIN_SUCCESS] = { session_fields, 4, build_session },
	[SERVER_CONNECT_SUCCESS] = { session_fields, 2, build_connected },
	[SERVER_PUBLIC_KEY_BUNDLE] = { public_keys_fields, 6, build_public_keys },
	[SERVER_MESSAGE] = { chat_message_fields, CHAT_MESSAGE_FIELDS, build_message },
	[SERVER_ACK] = { ack_fields, 2, build_ack },
	[SERVER_ERROR] = { error_fields, 3, build_error },
};

static enum server_type type_of(struct wire_slice name)
{
	for (int i = SERVER_UNKNOWN + 1; i < SERVER_TYPE_COUNT; i++) {
		if (wire_slice_is(name, server_type_name((enum server_type)i)))
			return (enum server_type)i;
	}
	return SERVER_UNKNOWN;
}

bool server_frame_decode(const uint8_t *data, size_t len, struct server_frame *out)
{
	struct unpack u = { data, data + len };
	struct unpack_token head, frame[2], values[UNPACK_FIELDS_MAX];
	const struct shape *s;

	if (!unpack_token(&u, &head) || head.kind != UNPACK_MAP ||
	    !unpack_fields(&u, 1, head.value, frame_fields, 2, frame) || u.at != u.end ||
	    !unpack_fields_fit(frame_fields, 2, frame))
		return false;
	out->type = type_of(frame[0].bytes);
	s = &shapes[out->type];
	if (s->build == NULL)
		return true;
	if (frame[1].kind != UNPACK_MAP)
		return false;
	u = (struct unpack){ frame[1].bytes.at, frame[1].bytes.at + frame[1].bytes.len };
	return unpack_fields(&u, PAYLOAD_DEPTH, frame[1].value, s->fields, s->count, values) &&
	       unpack_fields_fit(s->fields, s->count, values) && s->build(values, out);
}
