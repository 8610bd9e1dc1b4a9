/* SPDX-License-Identifier: MIT */
#include "roles/version.h"

const char *construct_version(void)
{
	return CONSTRUCT_VERSION; /* from the Makefile */
}
