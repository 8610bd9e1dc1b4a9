/* SPDX-License-Identifier: MIT */
#include "roles/probe.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/random.h>

#include "roles/bench_message.h"
#include "roles/probe_peer.h"

#define MS UINT64_C(1000000)
#define CONTENT_BYTES 256
#define SILENCE_NS (400 * MS)

struct options {
	struct ws_client_target_conf target;
	const char *second_url; /* B's server; NULL: the same */
	double timeout_s;
};

struct probe {
	struct probe_net net;
	struct probe_peer a, b;
	struct bench_message a_to_b, b_to_a;
	bool has_messages;
	uint64_t step_ns; /* when the present step began */
	uint64_t done_ns; /* when it ended; 0: now */
};

static const char help[] =
	"usage: construct probe URL [URL2] [options]\n"
	"\n"
	"Registers two throw-away users on the server, sends messages both ways, online and\n"
	"offline, acknowledges them, repeats an id, and deletes the users again.  Prints each\n"
	"step with its latency.  URL: ws://host:port/, wss://, http:// or https://.  With "
	"URL2\n"
	"the second user is there: another server of the same deployment.\n"
	"\n"
	"  --timeout SECS   for each step (15)\n"
	"  --insecure       wss: do not check the server's certificate\n"
	"  --cafile FILE    wss: trust the certificates in FILE (PEM) instead of the system's\n"
	"\n"
	"exit code: 0 every step was as it must be, 1 one was not, 2 wrong options\n";

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static void begin(struct probe *p)
{
	p->step_ns = ws_client_now_ns();
	p->done_ns = 0;
}

/* Prints the step that began with begin(), and begins the next.  Returns ok. */
static bool step(struct probe *p, bool ok, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool step(struct probe *p, bool ok, const char *format, ...)
{
	const uint64_t done_ns = p->done_ns ? p->done_ns : ws_client_now_ns();
	const double took_ms = (double)(done_ns - p->step_ns) / 1e6;
	va_list args;

	if (ok && interrupted) {
		ok = false;
		snprintf(p->net.why, sizeof(p->net.why), "interrupted");
	}
	printf("  %-5s%9.2f ms  ", ok ? "ok" : "FAIL", took_ms);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("%s%s\n", ok ? "" : ": ", ok ? "" : p->net.why);
	fflush(stdout);
	begin(p);
	return ok;
}

static bool fail(struct probe *p, const char *what)
{
	snprintf(p->net.why, sizeof(p->net.why), "%s", what);
	return false;
}

static void send_message(struct probe_peer *from, struct bench_message *m, uint32_t number)
{
	bench_message_patch(m, number, (uint32_t)time(NULL));
	probe_peer_send(from, m->send, m->send_len);
}

static bool expect_ack(struct probe *p, struct probe_peer *peer, const struct bench_message *m,
                       uint32_t number, const char *status)
{
	struct bench_frame f;
	uint32_t got;

	if (!probe_peer_expect(peer, BENCH_FRAME_ACK, &f))
		return false;
	if (!bench_slice_is(f.status, status)) {
		snprintf(p->net.why, sizeof(p->net.why), "%c got ack %.*s instead of %s",
		         peer->label, (int)f.status.len, f.status.at ? f.status.at : "",
		         status);
		return false;
	}
	return (bench_message_number(m, f.message_id, &got) && got == number) ||
	       fail(p, "the ack names another message");
}

static bool expect_message(struct probe *p, struct probe_peer *peer,
                           const struct probe_peer *from, struct bench_message *m,
                           uint32_t number)
{
	struct bench_frame f;
	uint32_t got;

	if (!probe_peer_expect(peer, BENCH_FRAME_MESSAGE, &f))
		return false;
	if (!bench_message_number(m, f.message_id, &got) || got != number)
		return fail(p, "another message came");
	if (!bench_message_is_intact(m, &f, number) || !bench_slice_is(f.from, from->id) ||
	    !bench_slice_is(f.to, peer->id))
		return fail(p, "the message is not as it was sent");
	bench_message_patch_ack(m, f.message_id);
	return true;
}

static bool sign_up(struct probe *p, struct probe_peer *peer)
{
	if (!step(p, probe_peer_open(peer), "%c connects: WebSocket handshake", peer->label))
		return false;
	return step(p, probe_peer_register(peer), "%c registers as %s", peer->label,
	            peer->username);
}

static bool get_key(struct probe *p)
{
	uint8_t bytes[256];
	struct bench_frame f;
	bool ok;

	probe_peer_send(&p->a, bytes,
	                bench_frame_texts(bytes, "getPublicKey", "userId", p->b.id, NULL));
	ok = probe_peer_expect(&p->a, BENCH_FRAME_PUBLIC_KEY_BUNDLE, &f);
	if (ok && (!bench_slice_is(f.user_id, p->b.id) ||
	           !bench_slice_is(f.identity, p->b.identity.identity_key)))
		ok = fail(p, "the keys are not those that B registered with");
	return step(p, ok, "A gets B's public keys");
}

/* send, accepted, received, acknowledged, delivered */
static bool converse(struct probe *p, struct probe_peer *from, struct probe_peer *to,
                     struct bench_message *m, uint32_t number)
{
	const uint64_t sent_ns = ws_client_now_ns();
	const char f = from->label;
	const char t = to->label;
	bool ok;

	send_message(from, m, number);
	ok = expect_ack(p, from, m, number, "accepted");
	p->done_ns = ok ? from->stamp_ns : 0;
	if (!step(p, ok, "%c sends to %c, both online: accepted (stored safely)", f, t))
		return false;
	ok = expect_message(p, to, from, m, number);
	p->step_ns = sent_ns;
	p->done_ns = ok ? to->stamp_ns : 0;
	if (!step(p, ok, "%c receives it, unchanged (since it was sent)", t))
		return false;
	probe_peer_send(to, m->ack, m->ack_len);
	return step(p, expect_ack(p, from, m, number, "delivered"),
	            "%c acknowledges: %c is told that it was delivered", t, f);
}

static bool repeat_id(struct probe *p, uint32_t number)
{
	struct bench_frame f;
	uint32_t got;
	bool ok;

	send_message(&p->a, &p->a_to_b, number);
	ok = probe_peer_expect(&p->a, BENCH_FRAME_ERROR, &f);
	if (ok && (!bench_slice_is(f.code, "DUPLICATE_MESSAGE") ||
	           !bench_message_number(&p->a_to_b, f.message_id, &got) || got != number)) {
		snprintf(p->net.why, sizeof(p->net.why), "got %.*s", (int)f.code.len,
		         f.code.at ? f.code.at : "");
		ok = false;
	}
	return step(p, ok, "A repeats the same id: DUPLICATE_MESSAGE");
}

static bool send_offline(struct probe *p, uint32_t number)
{
	if (!step(p, probe_peer_close(&p->b), "B closes its connection"))
		return false;
	send_message(&p->a, &p->a_to_b, number);
	if (!step(p, expect_ack(p, &p->a, &p->a_to_b, number, "accepted"),
	          "A sends to B, who is offline: accepted") ||
	    !step(p, probe_peer_connect(&p->b), "B connects with its session token") ||
	    !step(p, expect_message(p, &p->b, &p->a, &p->a_to_b, number),
	          "B receives it, and the repeated one did not come twice"))
		return false;
	probe_peer_send(&p->b, p->a_to_b.ack, p->a_to_b.ack_len);
	return step(p, probe_peer_ping(&p->b), "B acknowledges, a ping's pong confirms it") &&
	       step(p, expect_ack(p, &p->a, &p->a_to_b, number, "delivered"),
	            "A is told that it was delivered");
}

static bool come_again(struct probe *p)
{
	return step(p, probe_peer_close(&p->b), "B closes its connection") &&
	       step(p, probe_peer_connect(&p->b), "B connects again") &&
	       step(p, probe_peer_expect_silence(&p->b, SILENCE_NS),
	            "nothing comes a second time");
}

static bool make_messages(struct probe *p)
{
	uint64_t seeds[2];

	if (getrandom(seeds, sizeof(seeds), 0) != sizeof(seeds))
		return fail(p, "the system gives no random bytes");
	bench_message_init(&p->a_to_b, p->a.id, p->b.id, CONTENT_BYTES, seeds[0]);
	bench_message_init(&p->b_to_a, p->b.id, p->a.id, CONTENT_BYTES, seeds[1]);
	p->has_messages = true;
	return true;
}

static bool run_steps(struct probe *p)
{
	return sign_up(p, &p->a) && sign_up(p, &p->b) && make_messages(p) && get_key(p) &&
	       converse(p, &p->a, &p->b, &p->a_to_b, 1) &&
	       converse(p, &p->b, &p->a, &p->b_to_a, 1) && repeat_id(p, 1) &&
	       send_offline(p, 2) && come_again(p);
}

/* Also after a failure: nobody is left behind. */
static bool clean_up(struct probe *p)
{
	bool ok = true;

	interrupted = 0;
	begin(p);
	if (p->a.id[0])
		ok = step(p, probe_peer_delete(&p->a), "A's account is deleted");
	if (p->b.id[0])
		ok = step(p, probe_peer_delete(&p->b), "B's account is deleted") && ok;
	return ok;
}

static bool open_target(struct probe *p, const struct ws_client_target_conf *conf,
                        struct ws_client_target **target)
{
	if (!step(p,
	          ws_client_target_open(conf, target, p->net.why, sizeof(p->net.why)) == CX_OK,
	          "the name resolves, and the port answers"))
		return false;
	printf("  %s\n", ws_client_target_name(*target));
	return true;
}

static bool open_targets(struct probe *p, const struct options *o,
                         struct ws_client_target *targets[2])
{
	struct ws_client_target_conf second = o->target;

	if (!open_target(p, &o->target, &targets[0]))
		return false;
	second.url = o->second_url;
	return second.url == NULL || open_target(p, &second, &targets[1]);
}

static bool run_users(struct probe *p, struct ws_client_target *const targets[2])
{
	const struct ws_client_loop_conf loop_conf = { .connections = 4,
		                                       .seed = ws_client_now_ns() };
	const struct ws_client_target *b = targets[1] != NULL ? targets[1] : targets[0];
	bool ok = false;

	if (ws_client_loop_new(&loop_conf, &p->net.loop) != CX_OK ||
	    !probe_peer_init(&p->a, &p->net, targets[0], 'A') ||
	    !probe_peer_init(&p->b, &p->net, b, 'B')) {
		fprintf(stderr, "probe: no descriptors or random bytes left\n");
	} else {
		begin(p);
		ok = run_steps(p);
		ok = clean_up(p) && ok;
		if (p->has_messages) {
			bench_message_free(&p->a_to_b);
			bench_message_free(&p->b_to_a);
		}
		probe_peer_free(&p->a);
		probe_peer_free(&p->b);
	}
	ws_client_loop_free(p->net.loop);
	return ok;
}

static bool run_probe(const struct options *o)
{
	struct probe p = { .net.timeout_ns = (uint64_t)(o->timeout_s * 1e9) };
	struct ws_client_target *targets[2] = { NULL, NULL };
	bool ok;

	begin(&p);
	ok = open_targets(&p, o, targets) && run_users(&p, targets);
	for (int i = 0; i < 2; i++)
		if (targets[i] != NULL)
			ws_client_target_close(targets[i]);
	return ok;
}

static int wrong(const char *what, const char *which)
{
	fprintf(stderr, "probe: %s%s (see construct probe --help)\n", what, which);
	return 2;
}

/* Returns 0, or the exit code. */
static int parse(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		char *end = NULL;

		if (strcmp(arg, "--insecure") == 0) {
			o->target.insecure = true;
		} else if (strcmp(arg, "--cafile") == 0 || strcmp(arg, "--timeout") == 0) {
			if (++i == argc)
				return wrong("a value is missing after ", arg);
			if (arg[2] == 'c') {
				o->target.ca_file = argv[i];
				continue;
			}
			o->timeout_s = strtod(argv[i], &end);
			if (*end || !(o->timeout_s >= 0.1 && o->timeout_s <= 3600))
				return wrong("--timeout wants 0.1 to 3600 seconds, not ",
				             argv[i]);
		} else if (arg[0] == '-') {
			return wrong("unknown option ", arg);
		} else if (o->target.url != NULL) {
			if (o->second_url)
				return wrong("two URLs are enough: ", arg);
			o->second_url = arg;
		} else {
			o->target.url = arg;
		}
	}
	return o->target.url ? 0 : wrong("the URL is missing: construct probe URL", "");
}

int probe_main(int argc, char **argv)
{
	struct options o = { .timeout_s = 15 };
	const struct sigaction action = { .sa_handler = on_interrupt,
		                          .sa_flags = (int)SA_RESETHAND };
	int rc;
	bool ok;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(help, stdout);
			return 0;
		}
	rc = parse(&o, argc, argv);
	if (rc)
		return rc;
	o.target.timeout_ms = (uint32_t)(o.timeout_s * 1e3);
	signal(SIGPIPE, SIG_IGN); /* TLS writes without MSG_NOSIGNAL */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	printf("probe of %s\n", o.target.url);
	ok = run_probe(&o);
	printf("%s\n", ok ? "ok: the server keeps its promises" : "FAILED");
	return ok ? 0 : 1;
}
