/* SPDX-License-Identifier: MIT */
/* Kafka and Redis doing the relay's work with no relay between: the floor of bench/stack.sh.
 *
 *   peer_stack_floor TOPIC WINDOW RATE SECONDS [USERS [LINGER_MS [REDIS_PID [BROKER_PID]]]]
 *   (REDIS_URL and KAFKA_BROKERS from the environment; no TLS)
 *
 * RATE 0: closed loop, WINDOW messages under way.  Else open loop, timed from when each was due.
 *
 *   sender    `SET NX PX` a message, pipelined; then produce (lz4, idempotent, acks=all)
 *   worker    consume; `XADD`s of what came and one `PUBLISH` with all of it, in one call
 *   receiver  by `SUBSCRIBE`; `XDEL` in bulk, one a user; its answer is the end of the message
 *
 *   1. What a good client would do: everything is pipelined, whatever waits goes together.
 *   2. It does less than a relay has to: no ids remembered, no receipts, no routes.
 *   3. Each message is counted and must come once.
 * One TSV row: name, params, threads, messages/s, p50/p99/p999 ns of due to acknowledged, to accepted,
 * to delivered, and of accepted to delivered (0 where that was before), CPU us a message of this process, of Redis and of the broker (0 without its pid). */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>

#include "stack_floor.h"

enum {
	USERS_MAX = 4096,
	BATCH_MAX = 512,
	GATHERED_MAX = 65536,
	SAMPLES_MAX = 4000000,
	VALUE_BYTES = 600, /* an envelope with 256 bytes of content */
	ENTRY_BYTES = 480, /* its frame and head */
	NOISE_BYTES = 65536,
	CLAIM_MS = 15000,
	TICK_NS = 500000, /* open loop: what is due goes this often, together */
	RING = 1 << 20,   /* more than can be under way */
};

struct head { /* first bytes of each value */
	uint64_t due_ns, place, number;
	uint32_t user;
};

enum { ACKED, ACCEPTED, DELIVERED, TRANSIT, SERIES };

static struct {
	const char *topic;
	uint64_t window, rate, seconds;
	uint32_t users;
	int linger_ms, wake_fd;
	char channel[48], prefix[48];
	_Atomic uint64_t sent, acked, from_ns; /* from_ns: counting begins; 0 not yet */
	_Atomic bool stop, is_counting;
} peer;

static struct series series[SERIES];
static char noise[NOISE_BYTES + VALUE_BYTES];

/* When a message was due and accepted, by its number; accepted: 0 not yet, 1 delivered before that. */
static uint64_t due_of[RING];
static _Atomic uint64_t accepted_of[RING];

/* One thread adds to each series; what was due before the begin is warm-up. */
static void sample_ns(int which, uint64_t due_ns, uint64_t ns)
{
	struct series *const s = &series[which];

	if (atomic_load(&peer.is_counting) && due_ns >= atomic_load(&peer.from_ns) &&
	    s->n < SAMPLES_MAX)
		s->ns[s->n++] = ns;
}

static void sample(int which, uint64_t due_ns)
{
	sample_ns(which, due_ns, now_ns() - due_ns);
}

static void on_accepted(uint64_t number)
{
	uint64_t not_yet = 0;

	atomic_compare_exchange_strong(&accepted_of[number % RING], &not_yet, now_ns());
	sample(ACCEPTED, due_of[number % RING]);
}

static void on_delivered(const struct head *head)
{
	const uint64_t accepted_ns = atomic_exchange(&accepted_of[head->number % RING], 1);

	sample(DELIVERED, head->due_ns);
	sample_ns(TRANSIT, head->due_ns, accepted_ns > 1 ? now_ns() - accepted_ns : 0);
}

/* ---- sender ---- */

static void take_reports(rd_kafka_queue_t *queue)
{
	rd_kafka_event_t *event;
	const rd_kafka_message_t *m;

	while ((event = rd_kafka_queue_poll(queue, 0)) != NULL) {
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
			fail("kafka", rd_kafka_event_error_string(event));
		while ((m = rd_kafka_event_message_next(event)) != NULL) {
			if (m->err != 0)
				fail("produce", rd_kafka_err2str(m->err));
			on_accepted((uint64_t)(uintptr_t)m->_private);
		}
		rd_kafka_event_destroy(event);
	}
}

static void send_batch(redisContext *redis, rd_kafka_topic_t *topic, uint64_t first, size_t n,
                       const uint64_t *due_ns)
{
	char key[80], px[12], value[VALUE_BYTES];
	const char *argv[] = { "SET", key, "0123456789abcdef", "NX", "PX", px };
	size_t len[] = { 3, 0, 16, 2, 2, 0 };

	len[5] = (size_t)snprintf(px, sizeof(px), "%d", CLAIM_MS);
	for (size_t i = 0; i < n; i++) {
		len[1] = (size_t)snprintf(key, sizeof(key), "%sclaim:%032" PRIx64, peer.prefix,
		                          first + i);
		append(redis, 6, argv, len);
	}
	settle(redis, n);
	for (size_t i = 0; i < n; i++) {
		const struct head head = { due_ns[i], 0, first + i,
			                   (uint32_t)((first + i) % peer.users) };

		due_of[(first + i) % RING] = due_ns[i];
		atomic_store(&accepted_of[(first + i) % RING], 0);
		memcpy(value, noise + (first + i) * 7 % NOISE_BYTES, sizeof(value));
		memcpy(value, &head, sizeof(head));
		len[1] = (size_t)snprintf(key, sizeof(key),
		                          "%08" PRIx32 "-0000-4000-8000-000000000000",
		                          head.user);
		while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
		                        value, sizeof(value), key, len[1],
		                        (void *)(uintptr_t)(first + i)) != 0)
			usleep(1000); /* its queue is full */
	}
}

/* How many go now, and when each was due. */
static size_t take_due(uint64_t start_ns, uint64_t *due_ns)
{
	const uint64_t now = now_ns(), sent = atomic_load(&peer.sent);
	size_t n = 0;

	if (peer.rate == 0) {
		const uint64_t room = peer.window - (sent - atomic_load(&peer.acked));

		for (; n < room && n < BATCH_MAX; n++)
			due_ns[n] = now;
		return n;
	}
	for (; n < BATCH_MAX; n++) {
		due_ns[n] = start_ns + (uint64_t)((double)(sent + n) * 1e9 / (double)peer.rate);
		if (due_ns[n] > now)
			break;
	}
	return n;
}

static void *run_sender(void *arg)
{
	redisContext *const redis = connect_redis();
	rd_kafka_t *const rk = make_client(RD_KAFKA_PRODUCER, NULL, peer.linger_ms);
	rd_kafka_topic_t *const topic = rd_kafka_topic_new(rk, peer.topic, NULL);
	rd_kafka_queue_t *const queue = rd_kafka_queue_get_main(rk);
	const int fd = eventfd(0, EFD_NONBLOCK);
	const uint64_t start_ns = now_ns();
	const struct timespec wait = { .tv_nsec = peer.rate ? TICK_NS : 100 * 1000 * 1000 };
	uint64_t due_ns[BATCH_MAX], one = 1;

	(void)arg;
	rd_kafka_queue_io_event_enable(queue, fd, &one, sizeof(one));
	while (!atomic_load(&peer.stop)) {
		struct pollfd fds[] = { { .fd = peer.wake_fd, .events = POLLIN },
			                { .fd = fd, .events = POLLIN } };
		const size_t n = take_due(start_ns, due_ns);

		if (n > 0) {
			/* Counted first: what is acknowledged was sent. */
			send_batch(redis, topic, atomic_fetch_add(&peer.sent, n), n, due_ns);
		}
		if (n < BATCH_MAX && ppoll(fds, 2, &wait, NULL) < 0 && errno != EINTR)
			fail("poll", strerror(errno));
		for (int i = 0; i < 2; i++)
			if (fds[i].revents && read(fds[i].fd, &one, sizeof(one)) < 0)
				fail("eventfd", strerror(errno));
		take_reports(queue);
	}
	if (rd_kafka_flush(rk, 10000) != 0)
		take_reports(queue);
	return NULL; /* the process ends soon */
}

/* ---- worker ---- */

static void write_batch(redisContext *redis, rd_kafka_message_t **messages, size_t n)
{
	static char push[BATCH_MAX * ENTRY_BYTES];
	char key[96], id[32];
	const char *argv[] = { "XADD", key, id, "e", NULL };
	size_t len[] = { 4, 0, 0, 1, ENTRY_BYTES };
	const char *publish[] = { "PUBLISH", peer.channel, push };
	const size_t publish_len[] = { 7, strlen(peer.channel), n * ENTRY_BYTES };

	for (size_t i = 0; i < n; i++) {
		char *const entry = push + i * ENTRY_BYTES;
		struct head head;

		if (messages[i]->err != 0 || messages[i]->len != VALUE_BYTES)
			fail("consume", rd_kafka_err2str(messages[i]->err));
		memcpy(entry, messages[i]->payload, ENTRY_BYTES);
		memcpy(&head, entry, sizeof(head));
		head.place = (uint64_t)messages[i]->offset + 1;
		memcpy(entry, &head, sizeof(head));
		len[1] = (size_t)snprintf(key, sizeof(key), "%sinbox:{%" PRIu32 "}",
		                          peer.prefix, head.user);
		len[2] = (size_t)snprintf(id, sizeof(id), "%" PRIu64 "-0", head.place);
		argv[4] = entry;
		append(redis, 5, argv, len);
		rd_kafka_message_destroy(messages[i]);
	}
	append(redis, 3, publish, publish_len);
	settle(redis, n + 1);
}

static _Noreturn void *run_worker(void *arg)
{
	static rd_kafka_message_t *messages[BATCH_MAX];
	redisContext *const redis = connect_redis();
	rd_kafka_t *const rk = arg;
	rd_kafka_queue_t *const queue = rd_kafka_queue_get_consumer(rk);

	for (;;) { /* to the end of the process */
		ssize_t more;

		messages[0] = rd_kafka_consumer_poll(rk, 50);
		if (messages[0] == NULL)
			continue;
		more = rd_kafka_consume_batch_queue(queue, 0, messages + 1, BATCH_MAX - 1);
		write_batch(redis, messages, 1 + (more > 0 ? (size_t)more : 0));
	}
}

/* ---- receiver ---- */

static struct head gathered[GATHERED_MAX];

static size_t take_push(const redisReply *r, size_t n)
{
	const redisReply *const payload = r->elements == 3 ? r->element[2] : NULL;

	if (payload == NULL || payload->type != REDIS_REPLY_STRING)
		return n; /* the answer to SUBSCRIBE */
	for (size_t at = 0; at < payload->len; at += ENTRY_BYTES) {
		if (n == GATHERED_MAX)
			fail("receiver", "too many at once");
		memcpy(&gathered[n], payload->str + at, sizeof(gathered[0]));
		on_delivered(&gathered[n++]);
	}
	return n;
}

/* One XDEL a user with all of his ids.  Returns how many. */
static size_t delete_all(redisContext *redis, size_t n)
{
	static uint32_t first[USERS_MAX], next[GATHERED_MAX];
	static char ids[GATHERED_MAX][24];
	static const char *argv[GATHERED_MAX + 2] = { "XDEL" };
	static size_t len[GATHERED_MAX + 2] = { 4 };
	char key[96];
	size_t commands = 0;

	for (uint32_t i = 0; i < n; i++) {
		next[i] = first[gathered[i].user];
		first[gathered[i].user] = i + 1;
	}
	argv[1] = key;
	for (uint32_t user = 0; user < peer.users; user++) {
		int argc = 2;

		for (uint32_t i = first[user]; i != 0; i = next[i - 1], argc++) {
			len[argc] = (size_t)snprintf(ids[argc], sizeof(ids[0]), "%" PRIu64 "-0",
			                             gathered[i - 1].place);
			argv[argc] = ids[argc];
		}
		first[user] = 0;
		if (argc == 2)
			continue;
		len[1] = (size_t)snprintf(key, sizeof(key), "%sinbox:{%" PRIu32 "}",
		                          peer.prefix, user);
		append(redis, argc, argv, len);
		commands++;
	}
	return commands;
}

static _Noreturn void *run_receiver(void *arg)
{
	redisContext *const sub = arg, *const redis = connect_redis();
	const uint64_t one = 1;
	redisReply *r;

	for (;;) { /* to the end of the process */
		size_t n = 0;

		if (redisGetReply(sub, (void **)&r) != REDIS_OK)
			fail("SUBSCRIBE", sub->errstr);
		do {
			n = take_push(r, n);
			freeReplyObject(r);
			if (n + BATCH_MAX > GATHERED_MAX)
				break;
			if (redisGetReplyFromReader(sub, (void **)&r) != REDIS_OK)
				fail("SUBSCRIBE", sub->errstr);
		} while (r != NULL);
		if (settle(redis, delete_all(redis, n)) != n)
			fail("XDEL", "not every entry was there");
		for (size_t i = 0; i < n; i++)
			sample(ACKED, gathered[i].due_ns);
		atomic_fetch_add(&peer.acked, n);
		if (write(peer.wake_fd, &one, sizeof(one)) < 0)
			fail("eventfd", strerror(errno));
	}
}

/* ---- the run ---- */

static void parse(int argc, char **argv)
{
	uint64_t number_of_run;

	peer.topic = argv[1];
	peer.window = number(argc, argv, 2, 1024, GATHERED_MAX / 2);
	peer.rate = number(argc, argv, 3, 0, 1000000);
	peer.seconds = number(argc, argv, 4, 5, 3600);
	peer.users = (uint32_t)number(argc, argv, 5, 64, USERS_MAX);
	peer.linger_ms = (int)number(argc, argv, 6, linger_at(peer.rate), 1000);
	if (peer.window == 0 || peer.seconds == 0 || peer.users == 0)
		fail("usage", "WINDOW, SECONDS and USERS are at least 1");
	fill_random(&number_of_run, sizeof(number_of_run));
	fill_random(noise, sizeof(noise));
	for (size_t i = 0; i < sizeof(noise); i++) /* content is base64: 6 bits a byte */
		noise[i] = (char)('0' + (noise[i] & 63));
	snprintf(peer.prefix, sizeof(peer.prefix), "floor-%016" PRIx64 ":", number_of_run);
	snprintf(peer.channel, sizeof(peer.channel), "floor-%016" PRIx64, number_of_run);
}

/* The threads; the sender is to be joined, the others go on to the end. */
static pthread_t start_all(void)
{
	redisContext *const sub = connect_redis();
	rd_kafka_t *const consumer = make_client(RD_KAFKA_CONSUMER, peer.prefix, 0);
	pthread_t sender, other;

	for (int i = 0; i < SERIES; i++)
		if ((series[i].ns = malloc(SAMPLES_MAX * sizeof(uint64_t))) == NULL)
			fail("samples", "out of memory");
	peer.wake_fd = eventfd(0, EFD_NONBLOCK);
	freeReplyObject(redisCommand(sub, "SUBSCRIBE %s", peer.channel));
	rd_kafka_poll_set_consumer(consumer);
	assign_ends(consumer, peer.topic);
	start(&other, run_receiver, sub);
	start(&other, run_worker, consumer);
	start(&sender, run_sender, NULL);
	return sender;
}

/* Counts for peer.seconds after a warm-up.  Returns the messages, and CPU seconds of this process
 * and of the two pids. */
static uint64_t measure(const int pids[2], double cpu_s[3])
{
	uint64_t acked;

	sleep((unsigned)(peer.seconds + 4) / 5); /* warm-up */
	cpu_since(pids, cpu_s, (const double[3]){ 0 });
	acked = atomic_load(&peer.acked);
	atomic_store(&peer.from_ns, now_ns());
	atomic_store(&peer.is_counting, true);
	sleep((unsigned)peer.seconds);
	acked = atomic_load(&peer.acked) - acked;
	cpu_since(pids, cpu_s, cpu_s);
	atomic_store(&peer.is_counting, false);
	return acked;
}

static void drain(pthread_t sender)
{
	atomic_store(&peer.stop, true);
	pthread_join(sender, NULL);
	for (int i = 0; i < 1000 && atomic_load(&peer.acked) < atomic_load(&peer.sent); i++)
		usleep(10000);
	if (atomic_load(&peer.acked) != atomic_load(&peer.sent))
		fail("count", "lost or repeated");
}

int main(int argc, char **argv)
{
	const int pids[] = { (int)number(argc, argv, 7, 0, INT32_MAX),
		             (int)number(argc, argv, 8, 0, INT32_MAX) };
	pthread_t sender;
	double cpu_s[3];
	uint64_t acked;

	if (argc < 5 || argc > 9)
		fail("usage",
		     "TOPIC WINDOW RATE SECONDS [USERS [LINGER_MS [REDIS_PID [BROKER_PID]]]]");
	parse(argc, argv);
	sender = start_all();
	acked = measure(pids, cpu_s);
	drain(sender);
	delete_inboxes(connect_redis(), peer.prefix, peer.users);
	printf("peer_stack_floor\twindow=%" PRIu64 ",rate=%" PRIu64 ",users=%" PRIu32
	       ",linger_ms=%d\t3\t%.0f",
	       peer.window, peer.rate, peer.users, peer.linger_ms,
	       (double)acked / (double)peer.seconds);
	for (int i = 0; i < SERIES; i++)
		print_percentiles(&series[i]);
	for (int i = 0; i < 3; i++)
		printf("\t%.2f", acked ? cpu_s[i] * 1e6 / (double)acked : 0);
	printf("\n");
	fflush(stdout);
	_exit(0); /* two threads wait for what does not come any more */
}
