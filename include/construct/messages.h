/* SPDX-License-Identifier: MIT */
/* Ids of the relay's messages and their names for figures and the watchdog. */
#ifndef CONSTRUCT_MESSAGES_H
#define CONSTRUCT_MESSAGES_H

#include <cx/actor.h>

enum construct_msg {
	CONSTRUCT_MSG_FIRST = CX_MSG_USER - 1,
#define X(id, type, text) id,
#include <construct/messages.def>
#undef X
	CONSTRUCT_MSG_END
};

_Static_assert((int)CONSTRUCT_MSG_END <= (int)CX_MSG_LIMIT,
               "message ids fit the dispatch table");

#endif
