/* SPDX-License-Identifier: MIT */
/* Frames from the server to a client: one MessagePack map {type, payload}.
 *
 * Encoders work as snprintf: each returns the length of the frame; when that is more than room,
 * what is in out is of no use.  Decoding is for our own load generator and probe. */
#ifndef WIRE_SERVER_FRAME_H
#define WIRE_SERVER_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "wire/chat_message.h"
#include "wire/error_code.h"
#include "wire/slice.h"
#include "wire/uuid.h"

#define SERVER_TYPE_MAP(XX)                                      \
	XX(REGISTER_SUCCESS, "registerSuccess")                  \
	XX(LOGIN_SUCCESS, "loginSuccess")                        \
	XX(CONNECT_SUCCESS, "connectSuccess")                    \
	XX(PUBLIC_KEY_BUNDLE, "publicKeyBundle")                 \
	XX(MESSAGE, "message")                                   \
	XX(ACK, "ack")                                           \
	XX(ERROR, "error")                                       \
	XX(SESSION_EXPIRED, "sessionExpired")                    \
	XX(KEY_ROTATION_SUCCESS, "keyRotationSuccess")           \
	XX(CHANGE_PASSWORD_SUCCESS, "changePasswordSuccess")     \
	XX(LOGOUT_SUCCESS, "logoutSuccess")                      \
	XX(DELETE_ACCOUNT_SUCCESS, "deleteAccountSuccess")       \
	XX(DEVICE_TOKEN_REGISTERED, "deviceTokenRegistered")     \
	XX(DEVICE_TOKEN_UNREGISTERED, "deviceTokenUnregistered") \
	XX(DEVICE_TOKEN_UPDATED, "deviceTokenPreferencesUpdated")

enum server_type {
	SERVER_UNKNOWN,
#define XX(name, text) SERVER_##name,
	SERVER_TYPE_MAP(XX)
#undef XX
		SERVER_TYPE_COUNT,
};

enum ack_status { ACK_OTHER, ACK_ACCEPTED, ACK_DELIVERED };

/* Exact length of every ack frame, and a bound for every error frame whose text has at most 128
 * bytes, without its message id. */
#define SERVER_FRAME_ACCEPTED_LEN 83
#define SERVER_FRAME_DELIVERED_LEN 84
#define SERVER_FRAME_ERROR_MAX 384

const char *server_type_name(enum server_type type);

/* registerSuccess, loginSuccess; expires in Unix seconds. */
size_t server_frame_session(uint8_t *out, size_t room, enum server_type type,
                            const struct uuid *user, struct wire_slice username,
                            struct wire_slice session_token, int64_t expires);

size_t server_frame_connected(uint8_t *out, size_t room, const struct uuid *user,
                              struct wire_slice username);

struct server_public_keys { /* base64 texts */
	struct wire_slice identity_public, signed_prekey_public, signature, verifying_key;
};

size_t server_frame_public_keys(uint8_t *out, size_t room, const struct uuid *user,
                                struct wire_slice username,
                                const struct server_public_keys *keys);

/* The chat message as sent: the id in its case, addresses in lower case, the key as bin. */
size_t server_frame_message(uint8_t *out, size_t room, const struct chat_message *m);

/* status: ACK_ACCEPTED or ACK_DELIVERED. */
size_t server_frame_ack(uint8_t *out, size_t room, const struct uuid *id, uint32_t id_case,
                        enum ack_status status);

/* text.at NULL: the default text of the code.  message_id.at NULL: without that key. */
size_t server_frame_error(uint8_t *out, size_t room, enum error_code code,
                          struct wire_slice text, struct wire_slice message_id);

/* The types without payload: SERVER_SESSION_EXPIRED and those after it. */
size_t server_frame_plain(uint8_t *out, size_t room, enum server_type type);

/* ---- Decoding ---- */

struct server_frame {
	enum server_type type;
	union {
		struct
		{ /* REGISTER_SUCCESS, LOGIN_SUCCESS, CONNECT_SUCCESS (no token, expires 0) */
			struct uuid user;
			struct wire_slice username, session_token;
			int64_t expires;
		} session;
		struct {
			struct uuid user;
			struct wire_slice username;
			struct server_public_keys keys;
		} public_keys;
		struct chat_message message;
		struct {
			struct wire_slice message_id;
			struct uuid id;
			uint32_t id_case;
			enum ack_status status;
		} ack;
		struct {
			enum error_code code; /* ERROR_NONE: one we do not know */
			struct wire_slice code_name, text;
			struct wire_slice message_id; /* at NULL: none */
		} error;
	};
};

/* Keeps: slices in out borrow data.  Returns false for anything that is not a frame of this
 * protocol; a type that we do not know is true with SERVER_UNKNOWN. */
WIRE_NODISCARD bool server_frame_decode(const uint8_t *data, size_t len,
                                        struct server_frame *out);

#endif
