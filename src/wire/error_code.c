/* SPDX-License-Identifier: MIT */
#include "wire/error_code.h"

static const char *const names[ERROR_CODE_COUNT] = { [ERROR_NONE] = "NONE",
#define XX(name, text) [ERROR_##name] = #name,
	                                             ERROR_CODE_MAP(XX)
#undef XX
};

static const char *const texts[ERROR_CODE_COUNT] = { [ERROR_NONE] = "",
#define XX(name, text) [ERROR_##name] = text,
	                                             ERROR_CODE_MAP(XX)
#undef XX
};

static enum error_code known(enum error_code code)
{
	return (unsigned)code < ERROR_CODE_COUNT ? code : ERROR_NONE;
}

const char *error_code_name(enum error_code code)
{
	return names[known(code)];
}

const char *error_code_text(enum error_code code)
{
	return texts[known(code)];
}

enum error_code error_code_by_name(struct wire_slice name)
{
	for (int i = ERROR_NONE + 1; i < ERROR_CODE_COUNT; i++) {
		if (wire_slice_is(name, names[i]))
			return (enum error_code)i;
	}
	return ERROR_NONE;
}
