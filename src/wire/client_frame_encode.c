/* SPDX-License-Identifier: MIT */
/* Client frames as a client writes them. */
#include "wire/client_frame.h"

#include "wire/chat_message.h"
#include "wire/pack.h"

static struct pack begin(uint8_t *out, size_t room, enum client_type type, unsigned entries)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	pack_frame_head(&p, client_type_name(type), entries);
	return p;
}

static void put_bundle(struct pack *p, const char *key, const struct key_bundle_texts *bundle)
{
	pack_literal(p, key);
	pack_map(p, 3);
	pack_entry(p, "masterIdentityKey", bundle->master_identity_key);
	pack_entry(p, "bundleData", bundle->bundle_data);
	pack_entry(p, "signature", bundle->signature);
}

size_t client_frame_register(uint8_t *out, size_t room, const struct client_register *frame)
{
	struct pack p = begin(out, room, CLIENT_REGISTER, 3);

	pack_entry(&p, "username", frame->username);
	pack_entry(&p, "password", frame->password);
	put_bundle(&p, "publicKey", &frame->bundle);
	return p.len;
}

size_t client_frame_login(uint8_t *out, size_t room, const struct client_login *frame)
{
	struct pack p = begin(out, room, CLIENT_LOGIN, 2);

	pack_entry(&p, "username", frame->username);
	pack_entry(&p, "password", frame->password);
	return p.len;
}

size_t client_frame_connect(uint8_t *out, size_t room, struct wire_slice session_token)
{
	struct pack p = begin(out, room, CLIENT_CONNECT, 1);

	pack_entry(&p, "sessionToken", session_token);
	return p.len;
}

size_t client_frame_logout(uint8_t *out, size_t room, struct wire_slice session_token)
{
	struct pack p = begin(out, room, CLIENT_LOGOUT, 1);

	pack_entry(&p, "sessionToken", session_token);
	return p.len;
}

size_t client_frame_change_password(uint8_t *out, size_t room,
                                    const struct client_change_password *frame)
{
	struct pack p = begin(out, room, CLIENT_CHANGE_PASSWORD, 4);

	pack_entry(&p, "sessionToken", frame->session_token);
	pack_entry(&p, "oldPassword", frame->old_password);
	pack_entry(&p, "newPassword", frame->new_password);
	pack_entry(&p, "newPasswordConfirm", frame->new_password_confirm);
	return p.len;
}

size_t client_frame_delete_account(uint8_t *out, size_t room,
                                   const struct client_delete_account *frame)
{
	struct pack p = begin(out, room, CLIENT_DELETE_ACCOUNT, 2);

	pack_entry(&p, "sessionToken", frame->session_token);
	pack_entry(&p, "password", frame->password);
	return p.len;
}

size_t client_frame_get_public_key(uint8_t *out, size_t room, const struct user_address *user)
{
	struct pack p = begin(out, room, CLIENT_GET_PUBLIC_KEY, 1);

	pack_entry_address(&p, "userId", user);
	return p.len;
}

size_t client_frame_rotate_prekey(uint8_t *out, size_t room,
                                  const struct client_rotate_prekey *frame)
{
	struct pack p = begin(out, room, CLIENT_ROTATE_PREKEY, 2);

	pack_entry_address(&p, "userId", &frame->user);
	put_bundle(&p, "update", &frame->bundle);
	return p.len;
}

size_t client_frame_send_message(uint8_t *out, size_t room, const struct chat_message *m)
{
	struct pack p = begin(out, room, CLIENT_SEND_MESSAGE, CHAT_MESSAGE_FIELDS);

	chat_message_pack(&p, m);
	return p.len;
}

size_t client_frame_acknowledge(uint8_t *out, size_t room,
                                const struct client_acknowledge *frame)
{
	struct pack p = begin(out, room, CLIENT_ACKNOWLEDGE_MESSAGE, frame->has_from ? 3 : 2);

	pack_entry_uuid(&p, "messageId", &frame->id, frame->id_case);
	if (frame->has_from)
		pack_entry_address(&p, "from", &frame->from);
	pack_entry(&p, "status", frame->status);
	return p.len;
}

size_t client_frame_device_token(uint8_t *out, size_t room, enum client_type type,
                                 const struct client_device_token *frame)
{
	const bool has_name = type == CLIENT_REGISTER_DEVICE_TOKEN && frame->name.at != NULL;
	const bool has_filter = type != CLIENT_UNREGISTER_DEVICE_TOKEN;
	const bool has_enabled = type == CLIENT_UPDATE_DEVICE_TOKEN;
	struct pack p = begin(out, room, type, 1u + has_name + has_filter + has_enabled);

	pack_entry(&p, "deviceToken", frame->token);
	if (has_name)
		pack_entry(&p, "deviceName", frame->name);
	if (has_filter)
		pack_entry(&p, "notificationFilter",
		           wire_text(notification_filter_name(frame->filter)));
	if (has_enabled) {
		pack_literal(&p, "enabled");
		pack_bool(&p, frame->enabled);
	}
	return p.len;
}
