/* SPDX-License-Identifier: MIT */
/* Encoding. */
#include "wire/server_frame.h"

#include "wire/chat_message.h"
#include "wire/pack.h"

static const char *const type_names[SERVER_TYPE_COUNT] = { [SERVER_UNKNOWN] = "unknown",
#define XX(name, text) [SERVER_##name] = text,
	                                                   SERVER_TYPE_MAP(XX)
#undef XX
};

const char *server_type_name(enum server_type type)
{
	return type_names[(unsigned)type < SERVER_TYPE_COUNT ? type : SERVER_UNKNOWN];
}

size_t server_frame_session(uint8_t *out, size_t room, enum server_type type,
                            const struct uuid *user, struct wire_slice username,
                            struct wire_slice session_token, int64_t expires)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	pack_frame_head(&p, server_type_name(type), 4);
	pack_entry_uuid(&p, "userId", user, 0);
	pack_entry(&p, "username", username);
	pack_entry(&p, "sessionToken", session_token);
	pack_literal(&p, "expires");
	pack_int(&p, expires);
	return p.len;
}

size_t server_frame_connected(uint8_t *out, size_t room, const struct uuid *user,
                              struct wire_slice username)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	pack_frame_head(&p, "connectSuccess", 2);
	pack_entry_uuid(&p, "userId", user, 0);
	pack_entry(&p, "username", username);
	return p.len;
}

size_t server_frame_public_keys(uint8_t *out, size_t room, const struct uuid *user,
                                struct wire_slice username,
                                const struct server_public_keys *keys)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	pack_frame_head(&p, "publicKeyBundle", 6);
	pack_entry_uuid(&p, "userId", user, 0);
	pack_entry(&p, "username", username);
	pack_entry(&p, "identityPublic", keys->identity_public);
	pack_entry(&p, "signedPrekeyPublic", keys->signed_prekey_public);
	pack_entry(&p, "signature", keys->signature);
	pack_entry(&p, "verifyingKey", keys->verifying_key);
	return p.len;
}

size_t server_frame_message(uint8_t *out, size_t room, const struct chat_message *m)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	pack_frame_head(&p, "message", CHAT_MESSAGE_FIELDS);
	chat_message_pack(&p, m);
	return p.len;
}

size_t server_frame_ack(uint8_t *out, size_t room, const struct uuid *id, uint32_t id_case,
                        enum ack_status status)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	pack_frame_head(&p, "ack", 2);
	pack_entry_uuid(&p, "messageId", id, id_case);
	pack_entry(&p, "status", wire_text(status == ACK_DELIVERED ? "delivered" : "accepted"));
	return p.len;
}

size_t server_frame_error(uint8_t *out, size_t room, enum error_code code,
                          struct wire_slice text, struct wire_slice message_id)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	if (text.at == NULL)
		text = wire_text(error_code_text(code));
	pack_frame_head(&p, "error", message_id.at != NULL ? 3 : 2);
	pack_entry(&p, "code", wire_text(error_code_name(code)));
	pack_entry(&p, "message", text);
	if (message_id.at != NULL)
		pack_entry(&p, "messageId", message_id);
	return p.len;
}

size_t server_frame_plain(uint8_t *out, size_t room, enum server_type type)
{
	struct pack p = { .out = out, .room = room, .len = 0 };

	pack_frame_head(&p, server_type_name(type), 0);
	return p.len;
}
