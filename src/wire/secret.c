/* SPDX-License-Identifier: MIT */
#include "wire/secret.h"

#include <sodium.h>

bool secret_init(void)
{
	return sodium_init() >= 0;
}

void secret_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

void secret_wipe(void *bytes, size_t len)
{
	sodium_memzero(bytes, len);
}
