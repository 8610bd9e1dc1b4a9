/* SPDX-License-Identifier: MIT */
/* What an envelope and a delivery event cost, written and read, and what jansson's tree of the same
 * text costs.
 *
 *   bench_envelope [CONTENT_BYTES]       256 without
 *
 * One thread on one CPU; the median, lowest and highest of five runs of 100000 each, in ns of CPU.
 * One TSV row: name, bytes of JSON, ns (median), lowest, highest. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/base64.h"
#include "wire/delivery_event.h"
#include "wire/envelope.h"
#include "wire/secret.h"

#define RUNS 5
#define ROUNDS 100000
#define CONTENT_BYTES_MAX 65536

struct bench {
	struct envelope envelope;
	struct delivery_key key;
	char text[ENVELOPE_LEN_MAX(BASE64_TEXT_LEN(CONTENT_BYTES_MAX))];
	char event[DELIVERY_EVENT_LEN_MAX];
	size_t text_len, event_len;
};

static void must(bool is_good, const char *what)
{
	if (!is_good) {
		fprintf(stderr, "failed: %s\n", what);
		exit(1);
	}
}

static void write_envelope(struct bench *b)
{
	b->envelope.message.message_number++;
	b->text_len = envelope_write(b->text, sizeof(b->text), &b->envelope);
}

static void read_envelope(struct bench *b)
{
	struct envelope e;

	must(envelope_read(wire_slice(b->text, b->text_len), &e) == ENVELOPE_OK, "reading");
	envelope_free(&e);
}

/* Only the tree: none of the fields is judged. */
static void read_with_jansson(struct bench *b)
{
	json_t *root = json_loadb(b->text, b->text_len, JSON_REJECT_DUPLICATES, NULL);

	must(root != NULL, "jansson");
	json_decref(root);
}

static void write_event(struct bench *b)
{
	const struct envelope *e = &b->envelope;

	b->event_len = delivery_event_write(&b->key, &e->sender, &e->recipient, &e->message.id,
	                                    e->message.id_case, 1767225602, b->event,
	                                    sizeof(b->event));
}

static void read_event(struct bench *b)
{
	struct delivery_event event;

	must(delivery_event_read(&b->key, wire_slice(b->event, b->event_len), &event) ==
	             DELIVERY_OK,
	     "reading an event");
}

static double run_ns(void (*fn)(struct bench *), struct bench *b)
{
	struct timespec from, to;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (int i = 0; i < ROUNDS; i++)
		fn(b);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
	       ROUNDS;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, void (*fn)(struct bench *), struct bench *b,
                    const size_t *len)
{
	double ns[RUNS];

	run_ns(fn, b);
	for (int i = 0; i < RUNS; i++)
		ns[i] = run_ns(fn, b);
	qsort(ns, RUNS, sizeof(*ns), compare);
	printf("%s\t%zu\t%.0f\t%.0f\t%.0f\n", name, *len, ns[RUNS / 2], ns[0], ns[RUNS - 1]);
}

int main(int argc, char **argv)
{
	static struct bench b;
	static uint8_t bytes[CONTENT_BYTES_MAX];
	static char content[BASE64_TEXT_LEN(CONTENT_BYTES_MAX)];
	const size_t len = argc > 1 ? (size_t)atoi(argv[1]) : 256;
	uint8_t secret[HASH_KEY_LEN];
	struct chat_message *m = &b.envelope.message;

	must(secret_init() && len > 0 && len <= sizeof(bytes), "CONTENT_BYTES");
	secret_random(bytes, len);
	secret_random(secret, sizeof(secret));
	secret_random(&b.envelope.sender, sizeof(b.envelope.sender));
	secret_random(&b.envelope.recipient, sizeof(b.envelope.recipient));
	secret_random(&m->id, sizeof(m->id));
	secret_random(m->key, sizeof(m->key));
	m->timestamp = 1767225600;
	m->content = wire_slice(content, base64_encode(bytes, len, content));
	delivery_key_init(&b.key, secret);
	measure("envelope_write", write_envelope, &b, &b.text_len);
	measure("envelope_read", read_envelope, &b, &b.text_len);
	measure("jansson_loadb", read_with_jansson, &b, &b.text_len);
	measure("delivery_event_write", write_event, &b, &b.event_len);
	measure("delivery_event_read", read_event, &b, &b.event_len);
	delivery_key_wipe(&b.key);
	return 0;
}
