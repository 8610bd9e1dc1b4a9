/* SPDX-License-Identifier: MIT */
/* An outcome that is read is one of ours, its text short and UTF-8; written and read again it is the
 * same. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/submission.h"
#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[SUBMISSION_RESPONSE_MAX];
	struct submission_outcome o, again;
	size_t len;

	if (!submission_outcome_read(wire_slice(data, size), &o))
		return 0;
	CHECK((int)o.code >= ERROR_NONE && o.code < ERROR_CODE_COUNT);
	CHECK(memchr(o.text, '\0', sizeof(o.text)) != NULL);
	CHECK(utf8_is_valid(wire_text(o.text)));
	CHECK(o.code != ERROR_NONE || o.text[0] == '\0');
	len = submission_response(out, o.code, o.text);
	CHECK(submission_outcome_read(wire_slice(out, len), &again));
	CHECK(again.code == o.code && strcmp(again.text, o.text) == 0);
	return 0;
}
