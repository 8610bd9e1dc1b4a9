/* SPDX-License-Identifier: MIT */
/* Secrets that nobody gave: made once, kept in the data folder, found again at each start. */
#ifndef CONSTRUCT_ROLES_SECRETS_H
#define CONSTRUCT_ROLES_SECRETS_H

#include <stdio.h>

#include "roles/config.h"

/* Embedded mode: fill JWT_SECRET, LOG_HASH_SALT, DELIVERY_SECRET_KEY and
 * APNS_DEVICE_TOKEN_ENCRYPTION_KEY where they are not set, from files in c->data_dir (mode 0600), which are made first where they are missing;
 * the folder too (mode 0700).  Two processes that start at once end with the same secrets.
 * Not embedded: nothing to do, config_load made sure they are set.
 * Blocks: on file sync.  Thread: main.
 * Returns 0, or the number of errors after a line about each to `err`. */
CX_NODISCARD unsigned secrets_load(struct config *c, FILE *err);

#endif
