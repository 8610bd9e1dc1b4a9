/* SPDX-License-Identifier: MIT */
#include "wire/user_address.h"

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

static bool is_label_char(uint8_t c)
{
	const uint8_t l = lower(c);

	return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool domain_is_valid(struct wire_slice domain)
{
	size_t dots = 0, label = 0;

	if (domain.len > DOMAIN_BYTES_MAX)
		return false;
	for (size_t i = 0; i < domain.len; i++) {
		if (is_label_char(domain.at[i])) {
			label++;
		} else if (domain.at[i] == '.' && label > 0) {
			dots++;
			label = 0;
		} else {
			return false;
		}
	}
	return dots > 0 && label > 0;
}

bool domain_equal(struct wire_slice a, struct wire_slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.at[i]) != lower(b.at[i]))
			return false;
	}
	return true;
}

bool user_address_parse(struct wire_slice text, struct user_address *out)
{
	struct user_address address = { .domain = { .at = NULL, .len = 0 } };

	if (text.len > UUID_TEXT_LEN) {
		address.domain =
			wire_slice(text.at + UUID_TEXT_LEN + 1, text.len - UUID_TEXT_LEN - 1);
		if (text.at[UUID_TEXT_LEN] != '@' || !domain_is_valid(address.domain))
			return false;
		text.len = UUID_TEXT_LEN;
	}
	if (!uuid_parse(text, &address.user, NULL))
		return false;
	*out = address;
	return true;
}

bool user_address_is_local(const struct user_address *address,
                           struct wire_slice instance_domain)
{
	return address->domain.len == 0 || domain_equal(address->domain, instance_domain);
}

size_t user_address_format(const struct user_address *address, char *out)
{
	uuid_format(&address->user, out);
	if (address->domain.len == 0)
		return UUID_TEXT_LEN;
	out += UUID_TEXT_LEN;
	*out++ = '@';
	for (size_t i = 0; i < address->domain.len; i++)
		out[i] = (char)lower(address->domain.at[i]);
	return UUID_TEXT_LEN + 1 + address->domain.len;
}
