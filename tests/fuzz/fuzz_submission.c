/* SPDX-License-Identifier: MIT */
/* A submission that is read fits what it is used for; every code makes a response. */
#include "fuzz/fuzz.h"
#include "wire/submission.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[SUBMISSION_RESPONSE_MAX];
	volatile uint8_t last;
	struct submission s;
	const enum error_code code = submission_read(wire_slice(data, size), &s);

	if (code == ERROR_NONE) {
		CHECK(s.ciphertext_len > 0 && s.ciphertext_len <= SUBMISSION_CONTENT_BYTES_MAX);
		last = s.ciphertext[s.ciphertext_len - 1];
		(void)last;
		CHECK(s.has_timestamp || s.message.timestamp == 0);
	}
	submission_free(&s);
	CHECK(submission_response(out, code, NULL) <= sizeof(out));
	return 0;
}
