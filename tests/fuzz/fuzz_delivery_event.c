/* SPDX-License-Identifier: MIT */
/* Records of the delivery-ack topic: nobody without the key makes a route, and what is written with
 * ids from the input is read back. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "wire/delivery_event.h"
#include "wire/secret.h"

static void check_written(const struct delivery_key *key, const uint8_t *data, size_t size)
{
	uint8_t bytes[60] = { 0 };
	struct uuid sender, recipient, message;
	uint32_t mask, canonical;
	int64_t at;
	char text[UUID_TEXT_LEN], out[DELIVERY_EVENT_LEN_MAX];
	struct delivery_event event;
	size_t len;

	memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
	memcpy(sender.b, bytes, 16);
	memcpy(recipient.b, bytes + 16, 16);
	memcpy(message.b, bytes + 32, 16);
	memcpy(&mask, bytes + 48, 4);
	memcpy(&at, bytes + 52, 8);
	if (at == INT64_MIN)
		return; /* never read, see json_view_integer */
	uuid_format_case(&message, mask, text);
	CHECK(uuid_parse(wire_slice(text, sizeof(text)), &message, &canonical));
	len = delivery_event_write(key, &sender, &recipient, &message, mask, at, out,
	                           sizeof(out));
	CHECK(len <= sizeof(out));
	CHECK(delivery_event_read(key, wire_slice(out, len), &event) == DELIVERY_OK);
	CHECK(event.has_route && uuid_equal(&event.sender, &sender) &&
	      event.delivered_at == at);
	CHECK(uuid_equal(&event.message, &message) && event.message_case == canonical);
	out[size % len] ^= 1;
	(void)!delivery_event_read(key, wire_slice(out, len), &event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t secret[HASH_KEY_LEN] = { 3, 1, 4 };
	struct delivery_key key;
	struct delivery_event event;
	enum delivery_fault fault;

	if (data == NULL || !secret_init())
		return 0;
	delivery_key_init(&key, secret);
	fault = delivery_event_read(&key, wire_slice(data, size), &event);
	CHECK(fault < DELIVERY_FAULTS);
	if (fault == DELIVERY_OK)
		CHECK(event.has_message_id && !event.has_route);
	check_written(&key, data, size);
	return 0;
}
