/* SPDX-License-Identifier: MIT */
/* The answer of a relay's socket, as `construct top` reads it: what is read can be written, read again
 * and means the same, and no rate of it is worse than a number. */
#include <math.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/top_figures.h"

static struct top_figures first, second; /* large */

static void check_names(const char *name)
{
	CHECK(strlen(name) < TOP_NAME_MAX);
	for (; *name != '\0'; name++)
		CHECK(*name >= ' ' && *name <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text, *again;
	size_t len, again_len;

	if (!top_figures_decode((const char *)data, size, &first))
		return 0;
	CHECK(first.kind_count <= TOP_KINDS_MAX && first.worker_count <= TOP_WORKERS_MAX &&
	      first.slow_count <= TOP_SLOW_MAX);
	for (size_t i = 0; i < first.kind_count; i++)
		check_names(first.kinds[i].name);
	text = top_figures_encode(&first, &len);
	CHECK(text != NULL && len == strlen(text));
	CHECK(top_figures_decode(text, len, &second));
	again = top_figures_encode(&second, &again_len);
	CHECK(again_len == len && memcmp(text, again, len) == 0);
	free(text);
	free(again);
	top_figures_rates(&second, &first);
	for (size_t i = 0; i < first.kind_count; i++)
		CHECK(isfinite(first.kinds[i].messages_per_s) &&
		      first.kinds[i].messages_per_s >= 0);
	return 0;
}
