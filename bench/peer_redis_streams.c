/* SPDX-License-Identifier: MIT */
/* Redis Streams doing the relay's work: the peer of `construct bench --mode relay`.
 *
 *   peer_redis_streams PORT|SOCKET SENDERS IN_FLIGHT SECONDS [STREAMS [WRITERS [READERS]]]
 *
 * A number is a TCP port of 127.0.0.1, the way a relay's clients come; anything else a Unix socket.
 *
 * A message's full cycle: XADD by the sender's side (256 bytes of content and the fields a
 * relay needs), XREADGROUP by the recipients' side, XACK and XDEL once it has been read.  The
 * server is to run with `appendfsync always`, so each answer comes after a sync.
 *
 *   1. A sender has at most IN_FLIGHT messages between its XADD and the answer to their XDEL.
 *   2. What a good client would do, not a naive one: everything is pipelined, and
 *      acknowledgements go in bulk, in one flight with the next XREADGROUP.
 *   3. Senders are spread over WRITERS connections, by default one each as with a relay.
 *      Sharing fewer helps Redis where each sender waits for one message (less work for a
 *      socket) and hurts with many in flight (it reads 16 KB of a connection, then syncs).
 *   4. One reader serves all streams, as a worker would.  With as many READERS as STREAMS each stream
 *      has a connection of its own, which blocks on it, as each recipient has with a relay.
 *   5. Order within each sender is checked, and that each message comes exactly once.
 *
 * One TSV row: name, params, threads, messages/s, p50/p99/p999 ns of a full cycle. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hiredis/hiredis.h>

#define SENDERS_MAX 4096
#define STREAMS_MAX 256
#define WRITERS_MAX 256
#define READ_COUNT 1000 /* entries of one XREADGROUP */
/* 256 of content, two 36-byte user ids, a 32-byte key, two numbers. */
#define ENVELOPE_BYTES (256 + 2 * 36 + 32 + 2 * 8)
#define ID_BYTES 48
#define DELIVERIES_MAX 131072 /* all senders with all they may have */
#define ASKED_MAX 1024        /* a power of two */
#define SAMPLES_MAX 4000000
#define WARM_UP_PART 5 /* the first fifth of the time is not counted */

struct sender {
	uint64_t next;     /* number of its next message */
	uint64_t expected; /* number its recipient has to see next */
	uint32_t waiting;  /* messages whose cycle is not closed */
};

struct delivery { /* read, its XACK and XDEL under way */
	uint32_t sender;
	uint64_t sent_ns;
};

/* Replies come in the order of commands, so a queue of what was asked tells what they mean. */
enum command { READ, ACK, DEL };

struct asked {
	enum command command;
	uint32_t entries; /* DEL: how many deliveries its answer closes */
};

struct reader {
	redisContext *ctx;
	uint32_t first, streams; /* that it reads */
	struct asked asked[ASKED_MAX];
	uint32_t asked_head, asked_tail;
	/* Read and not yet deleted, a ring: XDELs are answered in the order of the reads. */
	struct delivery *read;
	uint64_t read_head, read_tail, read_max; /* a power of two */
};

static struct {
	redisContext *writer[WRITERS_MAX];
	struct reader readers[STREAMS_MAX];
	struct sender senders[SENDERS_MAX];
	uint32_t sender_count, in_flight, streams, writers, reader_count;
	uint64_t adds_waiting;
	uint64_t done, counted_from_ns;
	bool sending;
} peer;

static uint64_t sample_ns[SAMPLES_MAX];
static size_t sample_count;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "peer_redis_streams: %s: %s\n", what, why);
	exit(1);
}

static redisContext *connect_to(const char *where)
{
	const int port = atoi(where);
	redisContext *ctx =
		port > 0 ? redisConnect("127.0.0.1", port) : redisConnectUnix(where);

	if (ctx == NULL || ctx->err)
		fail(where, ctx != NULL ? ctx->errstr : "out of memory");
	return ctx;
}

static void append(redisContext *ctx, int argc, const char **argv, const size_t *len)
{
	if (redisAppendCommandArgv(ctx, argc, argv, len) != REDIS_OK)
		fail("append", ctx->errstr);
}

static void create_groups(redisContext *ctx)
{
	for (uint32_t i = 0; i < peer.streams; i++) {
		redisReply *r = redisCommand(ctx, "XGROUP CREATE inbox:%u relay $ MKSTREAM", i);

		if (r == NULL || r->type == REDIS_REPLY_ERROR)
			fail("XGROUP", r != NULL ? r->str : ctx->errstr);
		freeReplyObject(r);
	}
}

/* XADD inbox:S * id .. m ..: the envelope packed into one field, as a client would that cares
 * for speed (seven fields cost Redis 4 us a message more). */
static void send_one(uint32_t from)
{
	static char packed[ENVELOPE_BYTES];
	struct sender *s = &peer.senders[from];
	char stream[24], id[ID_BYTES];
	const char *argv[] = { "XADD", stream, "*", "id", id, "m", packed };
	size_t len[] = { 4, 0, 1, 2, 0, 1, sizeof(packed) };
	const uint64_t now = now_ns();

	len[1] =
		(size_t)snprintf(stream, sizeof(stream), "inbox:%" PRIu32, from % peer.streams);
	len[4] = (size_t)snprintf(id, sizeof(id), "%08" PRIx32 "-0000-4000-8000-%012" PRIx64,
	                          from, s->next++);
	memcpy(packed, &now, sizeof(now));
	append(peer.writer[from % peer.writers], 7, argv, len);
	s->waiting++;
	peer.adds_waiting++;
}

static void ask(struct reader *reader, enum command command, uint32_t entries)
{
	if (reader->asked_tail - reader->asked_head == ASKED_MAX)
		fail("ask", "too many commands under way");
	reader->asked[reader->asked_tail++ % ASKED_MAX] = (struct asked){ command, entries };
}

static void ask_for_more(struct reader *reader)
{
	static char names[STREAMS_MAX][24];
	const char *argv[8 + 2 * STREAMS_MAX] = { "XREADGROUP", "GROUP", "relay", "c1",
		                                  "COUNT",      "1000",  "BLOCK", "1000" };
	size_t len[9 + 2 * STREAMS_MAX];
	int argc = 8;
	const char *all[9 + 2 * STREAMS_MAX];

	memcpy(all, argv, 8 * sizeof(argv[0]));
	all[argc++] = "STREAMS";
	for (uint32_t i = 0; i < reader->streams; i++) {
		snprintf(names[i], sizeof(names[i]), "inbox:%" PRIu32, reader->first + i);
		all[argc++] = names[i];
	}
	for (uint32_t i = 0; i < reader->streams; i++)
		all[argc++] = ">";
	for (int i = 0; i < argc; i++)
		len[i] = strlen(all[i]);
	append(reader->ctx, argc, all, len);
	ask(reader, READ, 0);
}

/* The fields of one entry: [id, [name, value, ..]]. */
static void take_entry(struct reader *reader, const redisReply *entry)
{
	const redisReply *fields = entry->element[1];
	struct delivery *d = &reader->read[reader->read_tail++ % reader->read_max];
	const char *id = fields->element[1]->str;
	char *end;

	d->sender = (uint32_t)strtoul(id, &end, 16);
	if (d->sender >= peer.sender_count || fields->element[3]->len != ENVELOPE_BYTES)
		fail("entry", "not what was sent");
	if (strtoull(id + 24, NULL, 16) != peer.senders[d->sender].expected++)
		fail("order", "lost, repeated or overtaken");
	memcpy(&d->sent_ns, fields->element[3]->str, sizeof(d->sent_ns));
}

/* XACK and XDEL of all entries of one stream's part of the reply. */
static void settle_stream(struct reader *reader, const redisReply *part)
{
	const char *stream = part->element[0]->str;
	const redisReply *entries = part->element[1];
	const char *argv[3 + READ_COUNT] = { "XACK", stream, "relay" };
	size_t len[3 + READ_COUNT] = { 4, strlen(stream), 5 };

	for (size_t i = 0; i < entries->elements; i++) {
		const redisReply *id = entries->element[i]->element[0];

		take_entry(reader, entries->element[i]);
		argv[3 + i] = id->str;
		len[3 + i] = (size_t)id->len;
	}
	append(reader->ctx, (int)(3 + entries->elements), argv, len);
	ask(reader, ACK, 0);
	argv[1] = "XDEL";
	argv[2] = stream;
	len[1] = 4;
	len[2] = strlen(stream);
	append(reader->ctx, (int)(2 + entries->elements), argv + 1, len + 1);
	ask(reader, DEL, (uint32_t)entries->elements);
}

static void close_cycles(struct reader *reader, uint32_t entries)
{
	const uint64_t now = now_ns();

	for (uint32_t i = 0; i < entries; i++) {
		const struct delivery *d =
			&reader->read[reader->read_head++ % reader->read_max];

		peer.senders[d->sender].waiting--;
		if (!peer.sending)
			continue;
		if (now >= peer.counted_from_ns) {
			peer.done++;
			if (sample_count < SAMPLES_MAX)
				sample_ns[sample_count++] = now - d->sent_ns;
		}
		send_one(d->sender);
	}
}

static void on_reader_reply(struct reader *reader, const redisReply *r)
{
	const struct asked asked = reader->asked[reader->asked_head++ % ASKED_MAX];

	switch (asked.command) {
	case READ: /* NIL: nothing came in a second */
		for (size_t i = 0; i < r->elements; i++)
			settle_stream(reader, r->element[i]);
		ask_for_more(reader);
		return;
	case ACK:
		return;
	case DEL:
		if (r->integer != asked.entries)
			fail("XDEL", "not every entry was there");
		close_cycles(reader, asked.entries);
		return;
	}
}

/* reader: whose connection it is; NULL: a writer's. */
static void read_replies(redisContext *ctx, struct reader *reader)
{
	redisReply *r;

	if (redisBufferRead(ctx) != REDIS_OK)
		fail("read", ctx->errstr);
	for (;;) {
		if (redisGetReplyFromReader(ctx, (void **)&r) != REDIS_OK)
			fail("reply", ctx->errstr);
		if (r == NULL)
			return;
		if (r->type == REDIS_REPLY_ERROR)
			fail("redis", r->str);
		if (reader != NULL)
			on_reader_reply(reader, r);
		else
			peer.adds_waiting--;
		freeReplyObject(r);
	}
}

static void write_all(redisContext *ctx)
{
	int done = 0;

	while (!done) {
		if (redisBufferWrite(ctx, &done) != REDIS_OK)
			fail("write", ctx->errstr);
	}
}

static bool all_settled(void)
{
	for (uint32_t i = 0; i < peer.sender_count; i++)
		if (peer.senders[i].waiting > 0)
			return false;
	return peer.adds_waiting == 0;
}

static void turn(void)
{
	struct pollfd fds[WRITERS_MAX + STREAMS_MAX];
	struct pollfd *const reads = fds + peer.writers;

	for (uint32_t i = 0; i < peer.writers; i++) {
		write_all(peer.writer[i]);
		fds[i] = (struct pollfd){ .fd = peer.writer[i]->fd, .events = POLLIN };
	}
	for (uint32_t i = 0; i < peer.reader_count; i++) {
		write_all(peer.readers[i].ctx);
		reads[i] = (struct pollfd){ .fd = peer.readers[i].ctx->fd, .events = POLLIN };
	}
	if (poll(fds, peer.writers + peer.reader_count, 10000) <= 0)
		fail("poll", "no answer in 10 s");
	for (uint32_t i = 0; i < peer.writers; i++)
		if (fds[i].revents)
			read_replies(peer.writer[i], NULL);
	for (uint32_t i = 0; i < peer.reader_count; i++)
		if (reads[i].revents)
			read_replies(peer.readers[i].ctx, &peer.readers[i]);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(double seconds)
{
	if (sample_count == 0)
		fail("report", "nothing was delivered");
	qsort(sample_ns, sample_count, sizeof(sample_ns[0]), compare_u64);
	printf("peer_redis_streams\tsenders=%" PRIu32 ",in_flight=%" PRIu32 ",streams=%" PRIu32
	       ",writers=%" PRIu32 ",readers=%" PRIu32 "\t1\t%.0f\t%" PRIu64 "\t%" PRIu64
	       "\t%" PRIu64 "\n",
	       peer.sender_count, peer.in_flight, peer.streams, peer.writers, peer.reader_count,
	       (double)peer.done / seconds, sample_ns[sample_count / 2],
	       sample_ns[sample_count * 99 / 100], sample_ns[sample_count * 999 / 1000]);
}

static uint32_t number(int argc, char **argv, int at, uint32_t otherwise, uint32_t max)
{
	const unsigned long n = argc > at ? strtoul(argv[at], NULL, 10) : otherwise;

	if (n < 1 || n > max)
		fail("argument out of range", argv[at]);
	return (uint32_t)n;
}

static void run(uint64_t seconds)
{
	const uint64_t count_ns = seconds * UINT64_C(1000000000);
	const uint64_t warm_ns = count_ns / WARM_UP_PART;
	const uint64_t start = now_ns();

	peer.counted_from_ns = start + warm_ns;
	peer.sending = true;
	for (uint32_t n = 0; n < peer.in_flight; n++)
		for (uint32_t i = 0; i < peer.sender_count; i++)
			send_one(i);
	for (uint32_t i = 0; i < peer.reader_count; i++)
		ask_for_more(&peer.readers[i]);
	while (now_ns() < start + warm_ns + count_ns)
		turn();
	peer.sending = false;
	while (!all_settled())
		turn();
}

static void open_readers(const char *where)
{
	const uint32_t each = peer.streams / peer.reader_count;
	const uint64_t may_wait =
		(uint64_t)peer.in_flight * (peer.sender_count / peer.reader_count + 1);

	for (uint32_t i = 0; i < peer.reader_count; i++) {
		struct reader *const r = &peer.readers[i];

		*r = (struct reader){ .ctx = connect_to(where),
			              .first = i * each,
			              .streams = each,
			              .read_max = 1 };
		while (r->read_max < may_wait)
			r->read_max *= 2;
		r->read = calloc(r->read_max, sizeof(*r->read));
		if (r->read == NULL)
			fail("readers", "out of memory");
	}
}

int main(int argc, char **argv)
{
	if (argc < 5 || argc > 8) {
		fprintf(stderr,
		        "usage: peer_redis_streams PORT|SOCKET SENDERS IN_FLIGHT SECONDS"
		        " [STREAMS [WRITERS [READERS]]]\n");
		return 2;
	}
	peer.sender_count = number(argc, argv, 2, 1, SENDERS_MAX);
	peer.in_flight = number(argc, argv, 3, 1, DELIVERIES_MAX / SENDERS_MAX);
	peer.streams = number(argc, argv, 5, 1, STREAMS_MAX);
	peer.writers = number(argc, argv, 6, peer.sender_count, WRITERS_MAX);
	peer.reader_count = number(argc, argv, 7, 1, STREAMS_MAX);
	const uint32_t seconds = number(argc, argv, 4, 5, 3600);

	if (peer.reader_count != 1 && peer.reader_count != peer.streams)
		fail("READERS", "one, or one for each stream");
	for (uint32_t i = 0; i < peer.writers; i++)
		peer.writer[i] = connect_to(argv[1]);
	open_readers(argv[1]);
	create_groups(peer.readers[0].ctx);
	run(seconds);
	report(seconds);
	for (uint32_t i = 0; i < peer.writers; i++)
		redisFree(peer.writer[i]);
	for (uint32_t i = 0; i < peer.reader_count; i++) {
		redisFree(peer.readers[i].ctx);
		free(peer.readers[i].read);
	}
	return 0;
}
