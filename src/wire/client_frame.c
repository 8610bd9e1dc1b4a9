/* SPDX-License-Identifier: MIT */
/* Decoding.  One pass when `type` stands before `payload`, as every client known to us writes it;
 * otherwise the payload is checked and skipped first and read again. */
#include "wire/client_frame.h"

#include "wire/credentials.h"
#include "wire/unpack.h"
#include "wire/utf8.h"

#define PAYLOAD_DEPTH 2 /* the frame and the payload are open */

static const struct unpack_field bundle_fields[] = {
	UNPACK_FIELD("masterIdentityKey", WANT_TEXT, NEED),
	UNPACK_FIELD("bundleData", WANT_TEXT, NEED),
	UNPACK_FIELD("signature", WANT_TEXT, NEED),
};

/* The values of the payload are in the order of the fields. */
static const struct unpack_field register_fields[] = {
	UNPACK_FIELD("username", WANT_TEXT, NEED),
	UNPACK_FIELD("password", WANT_TEXT, NEED),
	UNPACK_FIELD("publicKey", WANT_MAP, NEED),
};
static const struct unpack_field login_fields[] = {
	UNPACK_FIELD("username", WANT_TEXT, NEED),
	UNPACK_FIELD("password", WANT_TEXT, NEED),
};
static const struct unpack_field session_fields[] = {
	UNPACK_FIELD("sessionToken", WANT_TEXT, NEED),
};
static const struct unpack_field change_password_fields[] = {
	UNPACK_FIELD("sessionToken", WANT_TEXT, NEED),
	UNPACK_FIELD("oldPassword", WANT_TEXT, NEED),
	UNPACK_FIELD("newPassword", WANT_TEXT, NEED),
	UNPACK_FIELD("newPasswordConfirm", WANT_TEXT, NEED),
};
static const struct unpack_field delete_account_fields[] = {
	UNPACK_FIELD("sessionToken", WANT_TEXT, NEED),
	UNPACK_FIELD("password", WANT_TEXT, NEED),
};
static const struct unpack_field get_public_key_fields[] = {
	UNPACK_FIELD("userId", WANT_TEXT, NEED),
};
static const struct unpack_field rotate_prekey_fields[] = {
	UNPACK_FIELD("userId", WANT_TEXT, NEED),
	UNPACK_FIELD("update", WANT_MAP, NEED),
};
static const struct unpack_field acknowledge_fields[] = {
	UNPACK_FIELD("messageId", WANT_CODE, NEED),
	UNPACK_FIELD("status", WANT_TEXT, NEED),
	UNPACK_FIELD("from", WANT_CODE, MAY),
};
static const struct unpack_field register_device_token_fields[] = {
	UNPACK_FIELD("deviceToken", WANT_TEXT, NEED),
	UNPACK_FIELD("deviceName", WANT_TEXT, MAY),
	UNPACK_FIELD("notificationFilter", WANT_TEXT, MAY),
};
static const struct unpack_field unregister_device_token_fields[] = {
	UNPACK_FIELD("deviceToken", WANT_TEXT, NEED),
};
static const struct unpack_field update_device_token_fields[] = {
	UNPACK_FIELD("deviceToken", WANT_TEXT, NEED),
	UNPACK_FIELD("notificationFilter", WANT_TEXT, NEED),
	UNPACK_FIELD("enabled", WANT_BOOL, NEED),
};

static const char *const filter_names[] = {
#define XX(name, text) [FILTER_##name] = text,
	NOTIFICATION_FILTER_MAP(XX)
#undef XX
};
#define FILTER_COUNT (sizeof(filter_names) / sizeof(filter_names[0]))

/* Text that is not what it should be: is it text at all? */
static enum error_code bad_code(struct wire_slice text, enum error_code code)
{
	return utf8_is_valid(text) ? code : ERROR_INVALID_FORMAT;
}

static bool build_bundle(const struct unpack_token *map, struct key_bundle_texts *out)
{
	struct unpack u = { map->bytes.at, map->bytes.at + map->bytes.len };
	struct unpack_token v[3];

	if (!unpack_fields(&u, PAYLOAD_DEPTH + 1, map->value, bundle_fields, 3, v) ||
	    !unpack_fields_fit(bundle_fields, 3, v))
		return false;
	out->master_identity_key = v[0].bytes;
	out->bundle_data = v[1].bytes;
	out->signature = v[2].bytes;
	return true;
}

static enum error_code build_register(const struct unpack_token *v, struct client_frame *out)
{
	out->reg.username = v[0].bytes;
	out->reg.password = v[1].bytes;
	return build_bundle(&v[2], &out->reg.bundle) ? ERROR_NONE : ERROR_INVALID_FORMAT;
}

static enum error_code build_login(const struct unpack_token *v, struct client_frame *out)
{
	out->login.username = v[0].bytes;
	out->login.password = v[1].bytes;
	return ERROR_NONE;
}

static enum error_code build_session(const struct unpack_token *v, struct client_frame *out)
{
	out->session.session_token = v[0].bytes;
	return ERROR_NONE;
}

static enum error_code build_change_password(const struct unpack_token *v,
                                             struct client_frame *out)
{
	out->change_password.session_token = v[0].bytes;
	out->change_password.old_password = v[1].bytes;
	out->change_password.new_password = v[2].bytes;
	out->change_password.new_password_confirm = v[3].bytes;
	return ERROR_NONE;
}

static enum error_code build_delete_account(const struct unpack_token *v,
                                            struct client_frame *out)
{
	out->delete_account.session_token = v[0].bytes;
	out->delete_account.password = v[1].bytes;
	return ERROR_NONE;
}

static enum error_code build_get_public_key(const struct unpack_token *v,
                                            struct client_frame *out)
{
	return user_address_parse(v[0].bytes, &out->get_public_key.user)
	               ? ERROR_NONE
	               : ERROR_INVALID_USER_ID;
}

static enum error_code build_rotate_prekey(const struct unpack_token *v,
                                           struct client_frame *out)
{
	if (!build_bundle(&v[1], &out->rotate_prekey.bundle))
		return ERROR_INVALID_FORMAT;
	return user_address_parse(v[0].bytes, &out->rotate_prekey.user) ? ERROR_NONE
	                                                                : ERROR_INVALID_USER_ID;
}

static enum error_code build_send(const struct unpack_token *v, struct client_frame *out)
{
	return chat_message_build(v, &out->send);
}

static enum error_code build_acknowledge(const struct unpack_token *v, struct client_frame *out)
{
	struct client_acknowledge *a = &out->acknowledge;

	if (!uuid_parse(v[0].bytes, &a->id, &a->id_case))
		return bad_code(v[0].bytes, ERROR_INVALID_MESSAGE_ID);
	a->message_id = v[0].bytes;
	a->status = v[1].bytes;
	a->is_delivered = wire_slice_is(v[1].bytes, "delivered");
	a->has_from = v[2].kind == UNPACK_TEXT;
	a->from = (struct user_address){ .domain = { .at = NULL, .len = 0 } };
	if (a->has_from && !user_address_parse(v[2].bytes, &a->from))
		return bad_code(v[2].bytes, ERROR_INVALID_USER_ID);
	return ERROR_NONE;
}

static bool parse_filter(const struct unpack_token *v, enum notification_filter *out)
{
	*out = FILTER_SILENT;
	if (v->kind != UNPACK_TEXT)
		return true; /* not given */
	for (size_t i = 0; i < FILTER_COUNT; i++) {
		if (wire_slice_is(v->bytes, filter_names[i])) {
			*out = (enum notification_filter)i;
			return true;
		}
	}
	return false;
}

static enum error_code build_register_device_token(const struct unpack_token *v,
                                                   struct client_frame *out)
{
	out->device_token = (struct client_device_token){
		.token = v[0].bytes,
		.name = v[1].bytes,
		.enabled = true,
	};
	if (!device_token_is_valid(v[0].bytes))
		return ERROR_INVALID_DEVICE_TOKEN;
	return parse_filter(&v[2], &out->device_token.filter) ? ERROR_NONE
	                                                      : ERROR_INVALID_FILTER;
}

static enum error_code build_unregister_device_token(const struct unpack_token *v,
                                                     struct client_frame *out)
{
	out->device_token = (struct client_device_token){ .token = v[0].bytes };
	return device_token_is_valid(v[0].bytes) ? ERROR_NONE : ERROR_INVALID_DEVICE_TOKEN;
}

static enum error_code build_update_device_token(const struct unpack_token *v,
                                                 struct client_frame *out)
{
	out->device_token = (struct client_device_token){
		.token = v[0].bytes,
		.enabled = v[2].value != 0,
	};
	if (!device_token_is_valid(v[0].bytes))
		return ERROR_INVALID_DEVICE_TOKEN;
	return parse_filter(&v[1], &out->device_token.filter) ? ERROR_NONE
	                                                      : ERROR_INVALID_FILTER;
}

struct shape {
	const char *name;
	const struct unpack_field *fields;
	size_t count;
	enum error_code (*build)(const struct unpack_token *values, struct client_frame *out);
};

#define SHAPE(name, kind, build)                                                             \
	{                                                                                    \
		name, kind##_fields, sizeof(kind##_fields) / sizeof(kind##_fields[0]), build \
	}

static const struct shape shapes[CLIENT_TYPE_COUNT] = {
	[CLIENT_UNKNOWN] = { "unknown", NULL, 0, NULL },
	[CLIENT_REGISTER] = SHAPE("register", register, build_register),
	[CLIENT_LOGIN] = SHAPE("login", login, build_login),
	[CLIENT_CONNECT] = SHAPE("connect", session, build_session),
	[CLIENT_LOGOUT] = SHAPE("logout", session, build_session),
	[CLIENT_CHANGE_PASSWORD] =
		SHAPE("changePassword", change_password, build_change_password),
	[CLIENT_DELETE_ACCOUNT] = SHAPE("deleteAccount", delete_account, build_delete_account),
	[CLIENT_GET_PUBLIC_KEY] = SHAPE("getPublicKey", get_public_key, build_get_public_key),
	[CLIENT_ROTATE_PREKEY] = SHAPE("rotatePrekey", rotate_prekey, build_rotate_prekey),
	[CLIENT_SEND_MESSAGE] = { "sendMessage", chat_message_fields, CHAT_MESSAGE_FIELDS,
	                          build_send },
	[CLIENT_ACKNOWLEDGE_MESSAGE] =
		SHAPE("acknowledgeMessage", acknowledge, build_acknowledge),
	[CLIENT_REGISTER_DEVICE_TOKEN] = SHAPE("registerDeviceToken", register_device_token,
	                                       build_register_device_token),
	[CLIENT_UNREGISTER_DEVICE_TOKEN] =
		SHAPE("unregisterDeviceToken", unregister_device_token,
	              build_unregister_device_token),
	[CLIENT_UPDATE_DEVICE_TOKEN] = SHAPE("updateDeviceTokenPreferences",
	                                     update_device_token, build_update_device_token),
};

static enum client_type type_of(struct wire_slice name)
{
	/* The two that make up nearly all traffic. */
	if (wire_slice_is(name, "sendMessage"))
		return CLIENT_SEND_MESSAGE;
	if (wire_slice_is(name, "acknowledgeMessage"))
		return CLIENT_ACKNOWLEDGE_MESSAGE;
	for (int i = CLIENT_UNKNOWN + 1; i < CLIENT_TYPE_COUNT; i++) {
		if (wire_slice_is(name, shapes[i].name))
			return (enum client_type)i;
	}
	return CLIENT_UNKNOWN;
}

struct walk {
	struct unpack in;
	enum client_type type;
	bool has_type, has_payload, has_values;
	struct unpack_token payload; /* its head */
	struct unpack_token values[UNPACK_FIELDS_MAX];
};

static bool read_values(struct walk *w, struct unpack *u)
{
	const struct shape *s = &shapes[w->type];

	w->has_values = true;
	return unpack_fields(u, PAYLOAD_DEPTH, w->payload.value, s->fields, s->count,
	                     w->values);
}

static bool read_type(struct walk *w)
{
	struct unpack_token t;

	if (w->has_type || !unpack_value(&w->in, 1, &t) || t.kind != UNPACK_TEXT)
		return false;
	w->has_type = true;
	w->type = type_of(t.bytes);
	return w->type != CLIENT_UNKNOWN;
}

static bool read_payload(struct walk *w)
{
	const struct unpack before = w->in;

	if (w->has_payload)
		return false;
	w->has_payload = true;
	if (!unpack_token(&w->in, &w->payload) || w->payload.kind != UNPACK_MAP)
		return false;
	if (w->has_type)
		return read_values(w, &w->in);
	w->in = before;
	return unpack_value(&w->in, 1, &w->payload);
}

static bool read_entry(struct walk *w, struct unpack_keys *others)
{
	struct unpack_token key, ignored;

	if (!unpack_token(&w->in, &key))
		return false;
	if (key.kind == UNPACK_TEXT && wire_slice_is(key.bytes, "type"))
		return read_type(w);
	if (key.kind == UNPACK_TEXT && wire_slice_is(key.bytes, "payload"))
		return read_payload(w);
	return unpack_keys_add(others, &key) && unpack_value(&w->in, 1, &ignored) &&
	       (ignored.kind != UNPACK_TEXT || utf8_is_valid(ignored.bytes));
}

/* The whole frame: one map, nothing behind it, values of the payload read. */
static bool read_frame(struct walk *w)
{
	struct unpack_token head;
	struct unpack_keys others;
	bool ok;

	if (!unpack_token(&w->in, &head) || head.kind != UNPACK_MAP)
		return false;
	unpack_keys_init(&others);
	ok = true;
	for (uint64_t i = 0; ok && i < head.value; i++)
		ok = read_entry(w, &others);
	ok = ok && unpack_keys_are_unique(&others);
	unpack_keys_free(&others);
	if (!ok || w->in.at != w->in.end || !w->has_type || !w->has_payload)
		return false;
	if (!w->has_values) {
		struct unpack u = { w->payload.bytes.at,
			            w->payload.bytes.at + w->payload.bytes.len };

		return read_values(w, &u);
	}
	return true;
}

/* What an error about this frame can name; both types have the id as their first field. */
static struct wire_slice readable_id(const struct walk *w)
{
	const struct unpack_token *id = &w->values[0];

	if (!w->has_values || id->kind != UNPACK_TEXT ||
	    (w->type != CLIENT_SEND_MESSAGE && w->type != CLIENT_ACKNOWLEDGE_MESSAGE))
		return wire_slice(NULL, 0);
	return id->bytes;
}

enum error_code client_frame_decode(const uint8_t *data, size_t len, struct client_frame *out)
{
	struct walk w;
	enum error_code code = ERROR_INVALID_FORMAT;

	w.in = (struct unpack){ data, data + len };
	w.type = CLIENT_UNKNOWN;
	w.has_type = w.has_payload = w.has_values = false;
	if (read_frame(&w) &&
	    unpack_fields_fit(shapes[w.type].fields, shapes[w.type].count, w.values))
		code = shapes[w.type].build(w.values, out);
	out->type = w.type;
	out->message_id = readable_id(&w);
	if (code != ERROR_NONE && out->message_id.at != NULL && !utf8_is_valid(out->message_id))
		out->message_id = wire_slice(NULL, 0);
	return code;
}

const char *client_type_name(enum client_type type)
{
	return shapes[(unsigned)type < CLIENT_TYPE_COUNT ? type : CLIENT_UNKNOWN].name;
}

const char *notification_filter_name(enum notification_filter filter)
{
	return (unsigned)filter < FILTER_COUNT ? filter_names[filter] : "unknown";
}
