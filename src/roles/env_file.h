/* SPDX-License-Identifier: MIT */
/* Settings from a file: `construct --env-file FILE`. */
#ifndef CONSTRUCT_ROLES_ENV_FILE_H
#define CONSTRUCT_ROLES_ENV_FILE_H

#include <stdio.h>

/* Lines of settings, read as ops/deploy/envfile.sh reads it:
 *
 *   NAME=value       to the end of the line, blanks around it and " # comment" left out
 *   NAME='value'     as it is, over several lines if need be; ends at the next '
 *   NAME="value"     over several lines if need be; \n \r \t \" \\ \$ \` are escapes
 *   export NAME=...  the same
 *
 * $ means nothing.  An empty value is one that is not set.  What the environment has already goes
 * over the file.  A name that comes twice, and a line that is none of these, is an error.
 *
 * Puts each name into the environment of this process, so before any thread is started and before
 * config_load.  `err` gets FILE:LINE and what is wrong, never a value.  Returns the number of errors;
 * with any, the environment may hold a part of the file.  Thread: main. */
unsigned env_file_load(const char *path, FILE *err);

#endif
