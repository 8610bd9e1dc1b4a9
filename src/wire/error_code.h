/* SPDX-License-Identifier: MIT */
/* Error codes of the client protocol: code, and the text that stands beside it by default. */
#ifndef WIRE_ERROR_CODE_H
#define WIRE_ERROR_CODE_H

#include "wire/slice.h"

/* clang-format off */
#define ERROR_CODE_MAP(XX)                                                                          \
	XX(INVALID_FORMAT, "The frame is not a valid request")                                      \
	XX(AUTH_REQUIRED, "Log in first")                                                           \
	XX(UNAUTHORIZED, "Log in first")                                                            \
	XX(FORBIDDEN, "Not allowed for this user")                                                  \
	XX(INVALID_MESSAGE_FORMAT, "A field of the message is not valid")                           \
	XX(INVALID_MESSAGE_ID, "The message id is not a UUID")                                      \
	XX(DUPLICATE_MESSAGE, "A message with this id was accepted before")                         \
	XX(INBOX_FULL, "The recipient's inbox is full, try again later")                            \
	XX(RATE_LIMIT_WARNING, "Slow down!")                                                        \
	XX(RATE_LIMIT_BLOCKED, "Too many messages, sending is blocked for a while")                 \
	XX(USER_BLOCKED, "Sending is blocked for a while")                                          \
	XX(RATE_LIMIT_EXCEEDED, "Too many attempts, try again later")                               \
	XX(KAFKA_FAILURE, "The message could not be stored, try again")                             \
	XX(WEAK_PASSWORD, "10 to 128 characters with an upper-case and a lower-case letter and a digit") \
	XX(INVALID_KEY_BUNDLE, "The key bundle is not valid")                                       \
	XX(INVALID_BUNDLE, "The key bundle is not valid")                                           \
	XX(REGISTRATION_FAILED, "This user name cannot be registered")                              \
	XX(INVALID_CREDENTIALS, "Wrong user name or password")                                      \
	XX(INVALID_TOKEN, "The session token is not valid")                                         \
	XX(INVALID_USER_ID, "The user id is not valid")                                             \
	XX(USER_NOT_FOUND, "There is no such user")                                                 \
	XX(INVALID_PASSWORD, "Wrong password")                                                      \
	XX(PASSWORD_MISMATCH, "The new passwords are not the same")                                 \
	XX(SAME_PASSWORD, "The new password is the old one")                                        \
	XX(INVALID_DEVICE_TOKEN, "The device token has 1 to 128 characters")                        \
	XX(INVALID_FILTER, "No such notification filter")                                           \
	XX(DEVICE_TOKEN_NOT_FOUND, "This device token is not registered")                           \
	XX(SESSION_CREATION_FAILED, "The session could not be made, try again")                     \
	XX(TOO_MANY_CONNECTIONS, "Too many connections")                                            \
	XX(SERVER_ERROR, "The server could not do it, try again later")
/* clang-format on */

enum error_code {
	ERROR_NONE,
#define XX(name, text) ERROR_##name,
	ERROR_CODE_MAP(XX)
#undef XX
		ERROR_CODE_COUNT,
};

/* "INVALID_FORMAT"; "NONE" for ERROR_NONE and for what is no code. */
const char *error_code_name(enum error_code code);

/* The default text; "" for ERROR_NONE and for what is no code. */
const char *error_code_text(enum error_code code);

/* ERROR_NONE when there is no such code. */
enum error_code error_code_by_name(struct wire_slice name);

#endif
