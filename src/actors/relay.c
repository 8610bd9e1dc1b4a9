/* SPDX-License-Identifier: MIT */
#include "actors/relay.h"

#include <string.h>

#include "wire/hash.h"

#define NAME_MAX_BYTES 32
#define SUBJECT_MAX_BYTES 512

void relay_limit_key(const char *name, struct wire_slice subject, uint8_t key[16])
{
	uint8_t text[NAME_MAX_BYTES + 1 + SUBJECT_MAX_BYTES];
	uint8_t digest[HASH_LEN];
	const size_t name_len = strlen(name);
	const size_t subject_len =
		subject.len < SUBJECT_MAX_BYTES ? subject.len : SUBJECT_MAX_BYTES;

	cx_assert(name_len <= NAME_MAX_BYTES);
	memcpy(text, name, name_len);
	text[name_len] = '\0';
	if (subject_len > 0)
		memcpy(text + name_len + 1, subject.at, subject_len);
	hash_sha256(wire_slice(text, name_len + 1 + subject_len), digest);
	memcpy(key, digest, 16);
}

struct cx_buf *relay_error_frame(enum error_code code, const char *text,
                                 struct wire_slice message_id)
{
	struct cx_buf *buf = cx_buf_new(SERVER_FRAME_ERROR_MAX + message_id.len);
	const struct wire_slice shown =
		text != NULL && text[0] != '\0' ? wire_text(text) : wire_slice(NULL, 0);
	const size_t len =
		server_frame_error(cx_buf_data(buf), cx_buf_len(buf), code, shown, message_id);

	cx_assert(len <= cx_buf_len(buf));
	cx_buf_trim(buf, len);
	return buf;
}
