/* SPDX-License-Identifier: MIT */
#include "wire/chat_message.h"

#include "wire/base64.h"
#include "wire/utf8.h"

const struct unpack_field chat_message_fields[CHAT_MESSAGE_FIELDS] = {
	UNPACK_FIELD("id", WANT_CODE, NEED),
	UNPACK_FIELD("from", WANT_CODE, NEED),
	UNPACK_FIELD("to", WANT_CODE, NEED),
	UNPACK_FIELD("ephemeralPublicKey", WANT_BYTES, NEED),
	UNPACK_FIELD("messageNumber", WANT_U32, NEED),
	UNPACK_FIELD("content", WANT_CODE, NEED),
	UNPACK_FIELD("timestamp", WANT_INT, NEED),
};

/* Text that is not what it should be: is it text at all? */
static enum error_code refusal(struct wire_slice text, enum error_code code)
{
	return utf8_is_valid(text) ? code : ERROR_INVALID_FORMAT;
}

enum error_code chat_message_build(const struct unpack_token *v, struct chat_message *out)
{
	if (!uuid_parse(v[0].bytes, &out->id, &out->id_case))
		return refusal(v[0].bytes, ERROR_INVALID_MESSAGE_ID);
	if (!user_address_parse(v[1].bytes, &out->from))
		return refusal(v[1].bytes, ERROR_INVALID_MESSAGE_FORMAT);
	if (!user_address_parse(v[2].bytes, &out->to))
		return refusal(v[2].bytes, ERROR_INVALID_MESSAGE_FORMAT);
	if (unpack_bytes_len(&v[3]) != CHAT_KEY_LEN)
		return ERROR_INVALID_MESSAGE_FORMAT;
	unpack_bytes_copy(&v[3], out->key);
	out->message_number = (uint32_t)v[4].value;
	out->content = v[5].bytes;
	out->timestamp = (int64_t)v[6].value;
	if (out->content.len == 0 || !base64_is_valid(out->content, NULL))
		return refusal(out->content, ERROR_INVALID_MESSAGE_FORMAT);
	return ERROR_NONE;
}

void chat_message_pack(struct pack *p, const struct chat_message *m)
{
	pack_entry_uuid(p, "id", &m->id, m->id_case);
	pack_entry_address(p, "from", &m->from);
	pack_entry_address(p, "to", &m->to);
	pack_literal(p, "ephemeralPublicKey");
	pack_bin(p, m->key, sizeof(m->key));
	pack_literal(p, "messageNumber");
	pack_uint(p, m->message_number);
	pack_entry(p, "content", m->content);
	pack_literal(p, "timestamp");
	pack_int(p, m->timestamp);
}
