/* SPDX-License-Identifier: MIT */
/* Records of the message topic: what is read fits, and written again it is the same message. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/envelope.h"
#include "wire/json_view.h"

static bool is_same(const struct envelope *a, const struct envelope *b)
{
	const struct chat_message *m = &a->message, *n = &b->message;

	return uuid_equal(&m->id, &n->id) && m->id_case == n->id_case &&
	       uuid_equal(&a->sender, &b->sender) && uuid_equal(&a->recipient, &b->recipient) &&
	       wire_slice_equal(a->sender_domain, b->sender_domain) &&
	       wire_slice_equal(a->recipient_domain, b->recipient_domain) &&
	       wire_slice_equal(a->origin_server, b->origin_server) &&
	       wire_slice_equal(m->content, n->content) && m->timestamp == n->timestamp &&
	       memcmp(m->key, n->key, sizeof(m->key)) == 0 &&
	       m->message_number == n->message_number && a->suite_id == b->suite_id &&
	       a->federated == b->federated;
}

static void check_again(const struct envelope *e)
{
	char *out;
	const size_t len = envelope_write(NULL, 0, e);
	struct envelope back;

	out = (char *)exact(len);
	CHECK(envelope_write(out, len, e) == len);
	/* Domains and origin have no escapes that count here, the content may have. */
	CHECK(len <= ENVELOPE_LEN_MAX(JSON_ESCAPED_LEN_MAX(e->message.content.len +
	                                                   e->origin_server.len)));
	if (len <= ENVELOPE_BYTES_MAX) {
		CHECK(envelope_read(wire_slice(out, len), &back) == ENVELOPE_OK);
		CHECK(is_same(e, &back));
		envelope_free(&back);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope e;
	const enum envelope_fault fault = envelope_read(wire_slice(data, size), &e);

	CHECK(fault < ENVELOPE_FAULTS && fault != ENVELOPE_NO_MEMORY);
	if (fault == ENVELOPE_OK) {
		CHECK(e.message.content.len > 0);
		CHECK(e.message.from.domain.len == 0 && e.message.to.domain.len == 0);
		if (e.scratch == NULL) {
			check_inside(e.message.content, data, size);
			check_inside(e.sender_domain, data, size);
			check_inside(e.recipient_domain, data, size);
			check_inside(e.origin_server, data, size);
		}
		check_again(&e);
	}
	envelope_free(&e);
	CHECK(e.scratch == NULL);
	return 0;
}
