/* SPDX-License-Identifier: MIT */
/* The keys of the live view. */
#include <string.h>

#include "roles/top_screen.h"

static enum top_key type(struct top_view *view, unsigned char byte)
{
	const size_t len = strlen(view->filter);

	if (byte == '\r' || byte == '\n') {
		view->is_typing = false;
	} else if (byte == 27) { /* Escape */
		view->is_typing = false;
		view->filter[0] = '\0';
	} else if (byte == 8 || byte == 127) {
		if (len > 0)
			view->filter[len - 1] = '\0';
	} else if (byte >= ' ' && byte <= '~' && len + 1 < TOP_FILTER_MAX) {
		view->filter[len] = (char)byte;
		view->filter[len + 1] = '\0';
	}
	return TOP_KEY_REDRAW;
}

enum top_key top_view_key(struct top_view *view, unsigned char byte)
{
	if (view->is_typing)
		return type(view, byte);
	switch (byte) {
	case 'q':
	case 'Q':
		return TOP_KEY_QUIT;
	case 's':
		view->sort = (view->sort + 1) % top_screen_sorts();
		break;
	case 'r':
		view->is_reversed = !view->is_reversed;
		break;
	case '/':
		view->is_typing = true;
		view->filter[0] = '\0';
		break;
	case ' ':
		view->is_paused = !view->is_paused;
		break;
	case 'h':
	case '?':
		view->is_help = !view->is_help;
		break;
	default:
		return TOP_KEY_NOTHING;
	}
	return TOP_KEY_REDRAW;
}
