/* SPDX-License-Identifier: MIT */
#include "io/kafka_record.h"

struct head {
	int64_t offset;
	int64_t timestamp_ms;
	uint32_t key_len;
	uint32_t headers_len;
	uint32_t value_len;
	uint32_t has_value;
};

struct header_head {
	uint32_t value_len;
	uint8_t name_len;
} __attribute__((packed));

static size_t payload(size_t key_len, size_t headers_len, size_t value_len)
{
	const size_t len = sizeof(struct head) + key_len + headers_len + value_len;

	return (len + 7) & ~(size_t)7;
}

static uint8_t *put(uint8_t *out, struct wire_slice s)
{
	if (s.len > 0)
		memcpy(out, s.at, s.len);
	return out + s.len;
}

size_t kafka_record_size(const struct kafka_record *record)
{
	return payload(record->key.len, record->headers.len, record->value.len);
}

void kafka_record_write(uint8_t *out, const struct kafka_record *record)
{
	const struct head head = { .offset = record->offset,
		                   .timestamp_ms = record->timestamp_ms,
		                   .key_len = (uint32_t)record->key.len,
		                   .headers_len = (uint32_t)record->headers.len,
		                   .value_len = (uint32_t)record->value.len,
		                   .has_value = record->value.at != NULL };
	uint8_t *const end = out + kafka_record_size(record);

	memcpy(out, &head, sizeof(head));
	out = put(out + sizeof(head), record->key);
	out = put(out, record->headers);
	out = put(out, record->value);
	memset(out, 0, (size_t)(end - out));
}

bool kafka_record_next(const uint8_t *bytes, size_t len, size_t *at, struct kafka_record *out)
{
	const uint8_t *from = bytes + *at;
	struct head head;

	if (*at >= len)
		return false;
	memcpy(&head, from, sizeof(head));
	from += sizeof(head);
	out->offset = head.offset;
	out->timestamp_ms = head.timestamp_ms;
	out->key = wire_slice(from, head.key_len);
	out->headers = wire_slice(from + head.key_len, head.headers_len);
	out->value = wire_slice(head.has_value ? from + head.key_len + head.headers_len : NULL,
	                        head.value_len);
	*at += payload(head.key_len, head.headers_len, head.value_len);
	return true;
}

size_t kafka_header_size(const char *name, struct wire_slice value)
{
	return sizeof(struct header_head) + strlen(name) + 1 + value.len;
}

void kafka_header_write(uint8_t *out, const char *name, struct wire_slice value)
{
	const size_t name_len = strlen(name);
	const struct header_head head = { .value_len = (uint32_t)value.len,
		                          .name_len = (uint8_t)name_len };

	memcpy(out, &head, sizeof(head));
	out += sizeof(head);
	memcpy(out, name, name_len + 1);
	put(out + name_len + 1, value);
}

bool kafka_header_next(struct wire_slice headers, size_t *at, const char **name,
                       struct wire_slice *value)
{
	const uint8_t *const from = headers.at + *at;
	struct header_head head;

	if (*at >= headers.len)
		return false;
	memcpy(&head, from, sizeof(head));
	*name = (const char *)from + sizeof(head);
	*value = wire_slice(from + sizeof(head) + head.name_len + 1, head.value_len);
	*at += sizeof(head) + head.name_len + 1u + head.value_len;
	return true;
}

bool kafka_header_find(struct wire_slice headers, const char *name, struct wire_slice *value)
{
	struct wire_slice at_hand;
	const char *its_name;
	size_t at = 0;
	bool is_found = false;

	while (kafka_header_next(headers, &at, &its_name, &at_hand)) {
		if (strcmp(its_name, name) != 0)
			continue;
		*value = at_hand;
		is_found = true;
	}
	return is_found;
}
