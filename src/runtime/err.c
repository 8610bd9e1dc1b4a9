/* SPDX-License-Identifier: MIT */
#include <cx/err.h>

#include <stddef.h>

static const char *const names[] = {
#define NAME(name, text) "CX_" #name,
	CX_ERR_MAP(NAME)
#undef NAME
};

static const char *const texts[] = {
#define TEXT(name, text) text,
	CX_ERR_MAP(TEXT)
#undef TEXT
};

const char *cx_err_name(enum cx_err err)
{
	return (unsigned)err < CX_ERR_COUNT ? names[err] : "CX_?";
}

const char *cx_err_text(enum cx_err err)
{
	return (unsigned)err < CX_ERR_COUNT ? texts[err] : "unknown error";
}
