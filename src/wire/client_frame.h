/* SPDX-License-Identifier: MIT */
/* Frames from a client to the server: one MessagePack map {type, payload}.
 *
 * Decoding allocates nothing (one exception: a map of more than 16 unknown keys, for the search for
 * twins) and copies nothing but the 32-byte key.  Which problem gives which code:
 *
 *   INVALID_FORMAT          not exactly one map; trailing bytes; a key twice in any map; nested
 *                           deeper than 16; text that is not UTF-8; no type, an unknown type;
 *                           no payload; a field missing or of another MessagePack type
 *                           (messageNumber outside u32, an array that holds more than bytes)
 *   INVALID_MESSAGE_ID      `id` of sendMessage, `messageId` of acknowledgeMessage: not a UUID
 *   INVALID_MESSAGE_FORMAT  sendMessage, after its id: from, to not an address; key not 32 bytes;
 *                           content empty or not base64
 *   INVALID_USER_ID         `userId` of getPublicKey, rotatePrekey, `from` of
 *                           acknowledgeMessage: not an address
 *   INVALID_FILTER          notificationFilter is none of the five
 *   INVALID_DEVICE_TOKEN    deviceToken is not 1 to 128 characters
 *
 * Names, passwords, tokens and key bundles are only carried: credentials.h, jwt.h and
 * key_bundle.h judge them. */
#ifndef WIRE_CLIENT_FRAME_H
#define WIRE_CLIENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/chat_message.h"
#include "wire/error_code.h"
#include "wire/key_bundle.h"
#include "wire/slice.h"
#include "wire/user_address.h"

#define CLIENT_FRAME_BYTES_MAX 100000 /* the front closes with 1009 above */
#define CLIENT_FRAME_DEPTH_MAX 16 /* containers inside each other, the frame itself is one */

#define CLIENT_TYPE_MAP(XX)                                  \
	XX(REGISTER, "register")                             \
	XX(LOGIN, "login")                                   \
	XX(CONNECT, "connect")                               \
	XX(LOGOUT, "logout")                                 \
	XX(CHANGE_PASSWORD, "changePassword")                \
	XX(DELETE_ACCOUNT, "deleteAccount")                  \
	XX(GET_PUBLIC_KEY, "getPublicKey")                   \
	XX(ROTATE_PREKEY, "rotatePrekey")                    \
	XX(SEND_MESSAGE, "sendMessage")                      \
	XX(ACKNOWLEDGE_MESSAGE, "acknowledgeMessage")        \
	XX(REGISTER_DEVICE_TOKEN, "registerDeviceToken")     \
	XX(UNREGISTER_DEVICE_TOKEN, "unregisterDeviceToken") \
	XX(UPDATE_DEVICE_TOKEN, "updateDeviceTokenPreferences")

enum client_type {
	CLIENT_UNKNOWN, /* not readable, or none of these: only beside INVALID_FORMAT */
#define XX(name, text) CLIENT_##name,
	CLIENT_TYPE_MAP(XX)
#undef XX
		CLIENT_TYPE_COUNT,
};

#define NOTIFICATION_FILTER_MAP(XX)              \
	XX(SILENT, "silent")                     \
	XX(VISIBLE_ALL, "visible_all")           \
	XX(VISIBLE_DM, "visible_dm")             \
	XX(VISIBLE_MENTIONS, "visible_mentions") \
	XX(VISIBLE_CONTACTS, "visible_contacts")

enum notification_filter {
#define XX(name, text) FILTER_##name,
	NOTIFICATION_FILTER_MAP(XX)
#undef XX
};

struct client_register {
	struct wire_slice username, password;
	struct key_bundle_texts bundle;
};

struct client_login {
	struct wire_slice username, password;
};

struct client_session { /* connect, logout */
	struct wire_slice session_token;
};

struct client_change_password {
	struct wire_slice session_token, old_password, new_password, new_password_confirm;
};

struct client_delete_account {
	struct wire_slice session_token, password;
};

struct client_get_public_key {
	struct user_address user;
};

struct client_rotate_prekey {
	struct user_address user;
	struct key_bundle_texts bundle;
};

struct client_acknowledge {
	struct wire_slice message_id; /* as written */
	struct uuid id;
	uint32_t id_case;         /* see uuid.h */
	bool has_from;            /* else `from` is zero */
	bool is_delivered;        /* status "delivered"; any other is ignored by the server */
	struct user_address from; /* who sent the message */
	struct wire_slice status;
};

struct client_device_token { /* registerDeviceToken, unregister..., update...Preferences */
	struct wire_slice token;
	struct wire_slice name; /* at NULL: not given */
	enum notification_filter filter;
	bool enabled;
};

struct client_frame {
	enum client_type type; /* set also beside an error, when the frame told it */
	/* sendMessage, acknowledgeMessage: the id as written, also beside an error when it was
	 * there as text, so that the error can name it; else at is NULL. */
	struct wire_slice message_id;
	union {
		struct client_register reg;
		struct client_login login;
		struct client_session session;
		struct client_change_password change_password;
		struct client_delete_account delete_account;
		struct client_get_public_key get_public_key;
		struct client_rotate_prekey rotate_prekey;
		struct chat_message send;
		struct client_acknowledge acknowledge;
		struct client_device_token device_token;
	};
};

/* Keeps: slices in out borrow data.  Thread: any.
 * Returns ERROR_NONE, or the code of the list above: then only type and message_id of out
 * count. */
WIRE_NODISCARD enum error_code client_frame_decode(const uint8_t *data, size_t len,
                                                   struct client_frame *out);

/* "sendMessage"; "unknown" for what is none. */
const char *client_type_name(enum client_type type);
const char *notification_filter_name(enum notification_filter filter);

/* ---- The other direction, for load generator and probe.  As snprintf: each returns the length
 * of the frame; when that is more than room, what is in out is of no use. ---- */

size_t client_frame_register(uint8_t *out, size_t room, const struct client_register *frame);
size_t client_frame_login(uint8_t *out, size_t room, const struct client_login *frame);
size_t client_frame_connect(uint8_t *out, size_t room, struct wire_slice session_token);
size_t client_frame_logout(uint8_t *out, size_t room, struct wire_slice session_token);
size_t client_frame_change_password(uint8_t *out, size_t room,
                                    const struct client_change_password *frame);
size_t client_frame_delete_account(uint8_t *out, size_t room,
                                   const struct client_delete_account *frame);
size_t client_frame_get_public_key(uint8_t *out, size_t room, const struct user_address *user);
size_t client_frame_rotate_prekey(uint8_t *out, size_t room,
                                  const struct client_rotate_prekey *frame);
/* Uses id and id_case, from, to, key, message_number, content and timestamp of m. */
size_t client_frame_send_message(uint8_t *out, size_t room, const struct chat_message *m);
/* Uses id and id_case, from (if has_from) and status. */
size_t client_frame_acknowledge(uint8_t *out, size_t room,
                                const struct client_acknowledge *frame);
/* name and filter as given; type picks one of the three frames. */
size_t client_frame_device_token(uint8_t *out, size_t room, enum client_type type,
                                 const struct client_device_token *frame);

#endif
