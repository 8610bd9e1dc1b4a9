/* SPDX-License-Identifier: MIT */
/* Which build this is. */
#ifndef CONSTRUCT_ROLES_VERSION_H
#define CONSTRUCT_ROLES_VERSION_H

/* "1.2.3", or with the commit: "1.2.3+gabcdef123".  Thread: any. */
const char *construct_version(void);

#endif
