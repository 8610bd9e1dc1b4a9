/* SPDX-License-Identifier: MIT */
#include "wire/uuid.h"

#include "wire/hex.h"

bool uuid_parse(struct wire_slice text, struct uuid *out, uint32_t *upper)
{
	const uint8_t *t = text.at;
	struct uuid u;
	uint32_t capital[4];

	if (text.len != UUID_TEXT_LEN || t[8] != '-' || t[13] != '-' || t[18] != '-' ||
	    t[23] != '-')
		return false;
	if (!hex_to_bytes(hex_load(t, t + 4), u.b, &capital[0]) ||
	    !hex_to_bytes(hex_load(t + 9, t + 14), u.b + 4, &capital[1]) ||
	    !hex_to_bytes(hex_load(t + 19, t + 24), u.b + 8, &capital[2]) ||
	    !hex_to_bytes(hex_load(t + 28, t + 32), u.b + 12, &capital[3]))
		return false;
	*out = u;
	if (upper != NULL)
		*upper = capital[0] | capital[1] << 8 | capital[2] << 16 | capital[3] << 24;
	return true;
}

void uuid_format_case(const struct uuid *u, uint32_t upper, char out[UUID_TEXT_LEN])
{
	hex_store(hex_from_bytes(u->b, upper), out, out + 4);
	hex_store(hex_from_bytes(u->b + 4, upper >> 8), out + 9, out + 14);
	hex_store(hex_from_bytes(u->b + 8, upper >> 16), out + 19, out + 24);
	hex_store(hex_from_bytes(u->b + 12, upper >> 24), out + 28, out + 32);
	out[8] = out[13] = out[18] = out[23] = '-';
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN])
{
	uuid_format_case(u, 0, out);
}

struct uuid uuid_v4(const uint8_t random[16])
{
	struct uuid u;

	memcpy(u.b, random, sizeof(u.b));
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}
