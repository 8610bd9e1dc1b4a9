/* SPDX-License-Identifier: MIT */
/* HTTP request heads: the verdict holds together, and does not change with how the bytes came. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "io/websocket_head.h"
#include "io/websocket_origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct ws_head whole, part;

	ws_head_check(text, size, &whole);
	CHECK((size_t)whole.skip + whole.len <= size);
	CHECK((whole.verdict == WS_HEAD_REFUSE) == (whole.status != 0));
	CHECK(whole.body_len <= WS_BODY_MAX);
	if (whole.verdict == WS_HEAD_REQUEST || whole.verdict == WS_HEAD_UPGRADE) {
		CHECK(whole.len <= WS_HEAD_MAX);
		CHECK(whole.path >= text && whole.path + whole.path_len <= text + size);
		CHECK(memcmp(text + whole.skip + whole.len - 4, "\r\n\r\n", 4) == 0);
		/* a byte less and it is not whole; more behind it changes nothing */
		ws_head_check(text, whole.skip + whole.len - 1, &part);
		CHECK(part.verdict == WS_HEAD_MORE);
		ws_head_check(text, whole.skip + whole.len, &part);
		CHECK(part.verdict == whole.verdict && part.len == whole.len);
		if (whole.forwarded != NULL) {
			struct ws_origin origin = { .is_loopback = true };

			CHECK(whole.forwarded >= text &&
			      whole.forwarded + whole.forwarded_len <= text + size);
			ws_origin_forwarded(&origin, whole.forwarded, whole.forwarded_len);
		}
	}
	for (size_t len = 0; len < size && size < 512; len++) {
		ws_head_check(text, len, &part);
		/* what is refused early is refused in the end */
		CHECK(part.verdict != WS_HEAD_REFUSE || whole.verdict == WS_HEAD_REFUSE);
	}
	return 0;
}
