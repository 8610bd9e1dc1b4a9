/* SPDX-License-Identifier: MIT */
#include "wire/delivery_event.h"

#include <stdio.h>

#include "wire/secret.h"
#include "wire/vectors.h"

static void set_up(void)
{
	cr_assert(secret_init());
}

TestSuite(delivery_event, .timeout = 20, .init = set_up);

#define HASHES "tests/vectors/hashes.json"
#define RECORDS "tests/vectors/log_records.json"

static struct delivery_key vector_key(const json_t *hashes)
{
	uint8_t secret[HASH_KEY_LEN];
	struct delivery_key key;

	cr_assert(hash_key_parse(text_at(hashes, "delivery_secret_key"), secret));
	delivery_key_init(&key, secret);
	return key;
}

static void check_hex(const uint8_t hash[HASH_LEN], struct wire_slice hex)
{
	char text[HASH_HEX_LEN];

	hash_hex(hash, HASH_LEN, text);
	cr_assert(wire_slice_equal(wire_slice(text, sizeof(text)), hex));
}

/* Also the id in upper case: the hash is of the text as the client wrote it. */
Test(delivery_event, hashes_are_those_of_the_vectors)
{
	json_t *root = vectors_load(HASHES), *vector;
	const struct delivery_key key = vector_key(root);
	uint8_t hash[HASH_LEN], plain[HASH_LEN];
	struct uuid id;
	uint32_t id_case;
	size_t i, upper = 0;

	json_array_foreach(json_object_get(root, "hmac"), i, vector)
	{
		cr_assert(uuid_parse(text_at(vector, "of"), &id, &id_case));
		delivery_message_hash(&key, &id, id_case, hash);
		check_hex(hash, text_at(vector, "hex"));
		delivery_message_hash(&key, &id, 0, plain);
		cr_assert((memcmp(plain, hash, sizeof(hash)) == 0) == (id_case == 0));
		upper += id_case != 0;
	}
	cr_assert(i == 4 && upper == 1);
	json_decref(root);
}

Test(delivery_event, that_of_an_older_server_is_read)
{
	json_t *root = vectors_load(RECORDS), *hashes = vectors_load(HASHES);
	const json_t *vector = json_object_get(root, "delivery_event_older");
	const struct delivery_key key = vector_key(hashes);
	struct delivery_event event;
	uint8_t hash[HASH_LEN];
	char text[UUID_TEXT_LEN];

	cr_assert(delivery_event_read(&key, text_at(vector, "value"), &event) == DELIVERY_OK);
	cr_assert(!event.has_route && event.has_message_id && event.message_case == 0);
	cr_assert(event.delivered_at == 1767225602);
	uuid_format(&event.message, text);
	cr_assert(memcmp(text, "3f6c1d9e-8a47-4f05-b1d2-6e0c9a7b5d33", sizeof(text)) == 0);
	check_hex(event.message_hash, text_at(vector, "key"));
	check_hex(
		event.sender_hash,
		wire_text("659e52ac1c8180dc468c13ef610dcd1ded4684b100faff4a0b5f105db7f1db11"));
	check_hex(
		event.recipient_hash,
		wire_text("750853fea46d8abcefa1758ded0fb5a3e72d88c623e9419d3596c715e8472675"));
	delivery_message_hash(&key, &event.message, event.message_case, hash);
	cr_assert(memcmp(hash, event.message_hash, HASH_LEN) == 0);
	json_decref(root);
	json_decref(hashes);
}

struct sample {
	struct delivery_key key;
	struct uuid sender, recipient, message;
	uint32_t message_case;
	char text[DELIVERY_EVENT_LEN_MAX];
	size_t len;
};

static void make_sample(struct sample *s)
{
	static const uint8_t secret[HASH_KEY_LEN] = { 5, 6 };

	memset(s, 0, sizeof(*s));
	delivery_key_init(&s->key, secret);
	s->sender.b[0] = 0xab;
	s->recipient.b[15] = 0xcd;
	cr_assert(uuid_parse(wire_text("E621E1F8-C36C-495a-93FC-0C247A3E6E5F"), &s->message,
	                     &s->message_case));
	s->len = delivery_event_write(&s->key, &s->sender, &s->recipient, &s->message,
	                              s->message_case, 1767225602, s->text, sizeof(s->text));
	cr_assert(s->len <= sizeof(s->text));
}

static enum delivery_fault fault_of(const struct sample *s, const char *text, size_t len)
{
	struct delivery_event event;
	uint8_t *bytes = malloc(len > 0 ? len : 1);
	enum delivery_fault fault;

	cr_assert(bytes != NULL);
	memcpy(bytes, text, len);
	fault = delivery_event_read(&s->key, wire_slice(bytes, len), &event);
	free(bytes);
	return fault;
}

Test(delivery_event, what_is_written_is_read_back_with_the_ids_case)
{
	struct sample s;
	struct delivery_event event;
	uint8_t hash[HASH_LEN];

	make_sample(&s);
	cr_assert(delivery_event_read(&s.key, wire_slice(s.text, s.len), &event) ==
	          DELIVERY_OK);
	cr_assert(event.has_route && !event.has_message_id && event.delivered_at == 1767225602);
	cr_assert(uuid_equal(&event.sender, &s.sender) &&
	          uuid_equal(&event.message, &s.message));
	cr_assert(event.message_case == s.message_case && s.message_case != 0);
	delivery_message_hash(&s.key, &s.message, s.message_case, hash);
	cr_assert(memcmp(hash, event.message_hash, HASH_LEN) == 0);
	delivery_message_hash(&s.key, &s.recipient, 0, hash);
	cr_assert(memcmp(hash, event.recipient_hash, HASH_LEN) == 0);
}

Test(delivery_event, names_no_id_and_is_never_the_same_twice)
{
	struct sample s, again;
	char id[UUID_TEXT_LEN];

	make_sample(&s);
	make_sample(&again);
	cr_assert(s.len == again.len && memcmp(s.text, again.text, s.len) != 0);
	uuid_format(&s.sender, id);
	cr_assert(memmem(s.text, s.len, id, sizeof(id)) == NULL);
	uuid_format(&s.recipient, id);
	cr_assert(memmem(s.text, s.len, id, sizeof(id)) == NULL);
	uuid_format_case(&s.message, s.message_case, id);
	cr_assert(memmem(s.text, s.len, id, sizeof(id)) == NULL);
}

/* They are made many at once. */
Test(delivery_event, has_a_route_of_its_own_each_of_many_times)
{
	enum { MANY = 300 };
	struct sample *const all = calloc(MANY, sizeof(*all));

	cr_assert_not_null(all);
	for (unsigned i = 0; i < MANY; i++) {
		make_sample(&all[i]);
		for (unsigned k = 0; k < i; k++)
			cr_assert(memcmp(all[i].text, all[k].text, all[i].len) != 0);
	}
	free(all);
}

Test(delivery_event, needs_the_bytes_that_it_says_and_no_room_is_overrun)
{
	struct sample s;

	make_sample(&s);
	for (size_t room = 0; room <= s.len; room++) {
		char *out = malloc(room > 0 ? room : 1);

		cr_assert(out != NULL);
		cr_assert(delivery_event_write(&s.key, &s.sender, &s.recipient, &s.message,
		                               s.message_case, 1767225602, out, room) == s.len);
		if (room == s.len)
			cr_assert(fault_of(&s, out, room) == DELIVERY_OK);
		free(out);
	}
}

/* The text with the first `from` replaced by `to` of the same length. */
static void replace(struct sample *s, const char *from, const char *to)
{
	char *at = memmem(s->text, s->len, from, strlen(from));

	cr_assert(at != NULL && strlen(from) == strlen(to));
	memcpy(at, to, strlen(to));
}

Test(delivery_event, each_field_is_judged)
{
	static const char *const names[] = { "messageHash", "senderIdHash", "recipientIdHash",
		                             "deliveredAt", "route" };
	struct sample s;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char other[32];

		make_sample(&s);
		snprintf(other, sizeof(other), "%s", names[i]);
		other[0] = 'X';
		replace(&s, names[i], other);
		cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_FIELD_MISSING, "%s",
		          names[i]);
	}
	make_sample(&s);
	replace(&s, "\"messageHash\":\"", "\"messageHash\" \"");
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_NOT_JSON);
	make_sample(&s);
	replace(&s, ":1767225602", ":176722560.");
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_NOT_JSON);
	make_sample(&s);
	replace(&s, ":1767225602", ":17672256.2");
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_FIELD_INVALID);
	make_sample(&s);
	replace(&s, ":1767225602", ":\"67225602\"");
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_FIELD_INVALID);
	make_sample(&s);
	s.text[strlen("{\"messageHash\":\"")] = 'g';
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_BAD_HASH);
	for (size_t len = 0; len < s.len; len++)
		cr_assert(fault_of(&s, s.text, len) == DELIVERY_NOT_JSON);
}

Test(delivery_event, route_under_another_key_or_touched_is_not_believed)
{
	static const uint8_t other_secret[HASH_KEY_LEN] = { 7 };
	struct sample s;
	char *route;

	make_sample(&s);
	delivery_key_init(&s.key, other_secret);
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_SEALED);
	make_sample(&s);
	route = (char *)memmem(s.text, s.len, "\"route\":\"", 9) + 9;
	route[40] = route[40] == 'A' ? 'B' : 'A';
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_SEALED);
}

Test(delivery_event, route_of_another_message_contradicts_the_hashes)
{
	struct sample s, other;
	const size_t hash_at = strlen("{\"messageHash\":\"");

	make_sample(&s);
	make_sample(&other);
	other.message.b[3] ^= 1;
	delivery_event_write(&other.key, &other.sender, &other.recipient, &other.message,
	                     other.message_case, 1767225602, other.text, sizeof(other.text));
	memcpy(s.text + hash_at, other.text + hash_at, HASH_HEX_LEN);
	cr_assert(fault_of(&s, s.text, s.len) == DELIVERY_CONTRADICTION);
}

Test(delivery_event, dead_letters_of_the_vectors_are_no_events)
{
	json_t *root = vectors_load(RECORDS), *text;
	struct sample s;
	size_t i;

	make_sample(&s);
	json_array_foreach(json_object_get(root, "dead_letters"), i, text)
	{
		const enum delivery_fault fault =
			fault_of(&s, json_string_value(text), json_string_length(text));

		cr_assert(fault != DELIVERY_OK && delivery_fault_text(fault) != NULL);
	}
	cr_assert(i == 7);
	json_decref(root);
}

Test(delivery_event, size_is_judged_first_and_every_fault_has_a_text)
{
	char big[DELIVERY_EVENT_BYTES_MAX + 1];
	struct sample s;

	make_sample(&s);
	memset(big, ' ', sizeof(big));
	memcpy(big, s.text, s.len);
	cr_assert(fault_of(&s, big, sizeof(big)) == DELIVERY_TOO_LARGE);
	cr_assert(fault_of(&s, big, sizeof(big) - 1) == DELIVERY_OK);
	for (unsigned fault = 0; fault <= DELIVERY_FAULTS; fault++)
		cr_assert(delivery_fault_text((enum delivery_fault)fault) != NULL);
}

Test(delivery_event, message_id_of_an_older_producer_keeps_its_case)
{
	static const char text[] =
		"{\"messageId\":\"E621E1F8-C36C-495A-93FC-0C247A3E6E5F\",\"messageHash\":"
		"\"ae664942b7a3c53222fa7cd706c4376221ffe7fadafcfbe92f1b93803e509b98\","
		"\"senderIdHash\":"
		"\"659e52ac1c8180dc468c13ef610dcd1ded4684b100faff4a0b5f105db7f1db11\","
		"\"recipientIdHash\":"
		"\"750853fea46d8abcefa1758ded0fb5a3e72d88c623e9419d3596c715e8472675\","
		"\"deliveredAt\":1,\"route\":null}";
	struct delivery_event event;
	struct sample s;

	make_sample(&s);
	cr_assert(delivery_event_read(&s.key, wire_text(text), &event) == DELIVERY_OK);
	cr_assert(event.has_message_id && event.message_case != 0);
	cr_assert(uuid_equal(&event.message, &s.message));
}

Test(delivery_event, wiped_key_holds_nothing)
{
	static const struct delivery_key zero;
	struct sample s;

	make_sample(&s);
	delivery_key_wipe(&s.key);
	cr_assert(memcmp(&s.key, &zero, sizeof(zero)) == 0);
}
