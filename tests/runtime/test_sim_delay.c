/* SPDX-License-Identifier: MIT */
/* The simulator's delayed sends: when they arrive, what they hold up, and where they end. */
#include <cx/sim.h>

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

enum { GET = CX_MSG_USER, GOT, ADD, TICK, NOTE };

struct number {
	struct cx_msg hdr;
	uint32_t value;
	uint32_t sender;
};

/* ---- a cell: answers GET, takes ADD ---- */

static uint32_t cell_value;

static void cell_get(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct number *m = CX_MSG_NEW(ctx, GOT, struct number);

	(void)state;
	m->value = cell_value;
	cx_reply(ctx, msg, &m->hdr);
}

static void cell_add(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	cell_value += CX_MSG_AS(struct number, msg)->value;
}

static const struct cx_handler cell_handlers[] = {
	CX_ON(GET, struct number, cell_get),
	CX_ON(ADD, struct number, cell_add),
};

static const struct cx_actor_type cell_type = {
	.name = "cell",
	.mailbox_cap = 8,
	.handlers = cell_handlers,
	.handler_count = CX_COUNTOF(cell_handlers),
};

/* ---- asks a cell once ---- */

static int answers, errors;
static enum cx_err error; /* the last one */

static void asker_got(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	answers++;
}

static void asker_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	errors++;
	error = CX_MSG_AS(struct cx_msg_error, msg)->err;
}

static enum cx_err asker_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct number *m = CX_MSG_NEW(ctx, GET, struct number);
	uint64_t corr;

	(void)state;
	return cx_ask(ctx, *(const struct cx_ref *)conf, &m->hdr, 1000, &corr);
}

static const struct cx_handler asker_handlers[] = {
	CX_ON(GOT, struct number, asker_got),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, asker_error),
};

static const struct cx_actor_type asker_type = {
	.name = "asker",
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = 8,
	.start = asker_start,
	.handlers = asker_handlers,
	.handler_count = CX_COUNTOF(asker_handlers),
};

/* ---- a reader that minds the order of each sender ---- */

static uint32_t seen[3];
static int order_broken;

static void on_note(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct number *m = CX_MSG_AS(struct number, msg);

	(void)ctx;
	(void)state;
	order_broken += m->value != ++seen[m->sender];
}

static const struct cx_handler reader_handlers[] = { CX_ON(NOTE, struct number, on_note) };

static const struct cx_actor_type reader_type = {
	.name = "reader",
	.mailbox_cap = 256,
	.handlers = reader_handlers,
	.handler_count = CX_COUNTOF(reader_handlers),
};

/* ---- a passer that sends on to it what it gets ---- */

static void note(struct cx_ctx *ctx, struct cx_ref to, uint32_t sender, uint32_t value)
{
	struct number *m = CX_MSG_NEW(ctx, NOTE, struct number);

	m->sender = sender;
	m->value = value;
	cr_assert(cx_send(ctx, to, &m->hdr) == CX_OK);
}

static void on_pass(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	const struct number *m = CX_MSG_AS(struct number, msg);

	note(ctx, *(struct cx_ref *)state, m->sender, m->value);
}

static enum cx_err passer_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	*(struct cx_ref *)state = *(const struct cx_ref *)conf;
	return CX_OK;
}

static const struct cx_handler passer_handlers[] = { CX_ON(NOTE, struct number, on_pass) };

static const struct cx_actor_type passer_type = {
	.name = "passer",
	.state_size = sizeof(struct cx_ref),
	.conf_size = sizeof(struct cx_ref),
	.mailbox_cap = 64,
	.start = passer_start,
	.handlers = passer_handlers,
	.handler_count = CX_COUNTOF(passer_handlers),
};

/* ---- a writer to two addresses in turn ---- */

struct writer_conf {
	struct cx_ref to[2];
	uint64_t every_ms;
	uint32_t sender;
};

struct writer {
	struct writer_conf conf;
	struct cx_timer timer;
	uint32_t sent;
};

static void on_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct writer *w = state;

	(void)msg;
	for (unsigned i = 0; i < CX_COUNTOF(w->conf.to); i++)
		note(ctx, w->conf.to[i], w->conf.sender, ++w->sent);
	if (w->sent < 200)
		cx_timer_arm(ctx, &w->timer, w->conf.every_ms, TICK);
}

static enum cx_err writer_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct writer *w = state;

	w->conf = *(const struct writer_conf *)conf;
	cx_timer_arm(ctx, &w->timer, 1, TICK);
	return CX_OK;
}

static const struct cx_handler writer_handlers[] = {
	CX_ON(TICK, struct cx_msg_timer, on_tick),
};

static const struct cx_actor_type writer_type = {
	.name = "writer",
	.state_size = sizeof(struct writer),
	.conf_size = sizeof(struct writer_conf),
	.mailbox_cap = 4,
	.start = writer_start,
	.handlers = writer_handlers,
	.handler_count = CX_COUNTOF(writer_handlers),
};

/* ---- faults ---- */

static enum cx_sim_fate delay_all(void *arg, const char *from, const char *to,
                                  const struct cx_msg *msg, uint64_t random)
{
	(void)arg;
	(void)from;
	(void)to;
	(void)msg;
	(void)random;
	return CX_SIM_DELAY;
}

/* Half of what a writer sends. */
static enum cx_sim_fate delay_half(void *arg, const char *from, const char *to,
                                   const struct cx_msg *msg, uint64_t random)
{
	(void)arg;
	(void)to;
	(void)msg;
	return strcmp(from, "writer") == 0 && random % 2 == 0 ? CX_SIM_DELAY : CX_SIM_DELIVER;
}

static struct cx_sim *sim_new(uint64_t seed, cx_sim_fault_fn *fault, uint32_t delay_max_us,
                              FILE *trace)
{
	const struct cx_sim_conf conf = {
		.runtime = { .seed = seed, .workers = 2 },
		.delay_max_us = delay_max_us,
		.fault = fault,
		.trace = trace,
	};
	struct cx_sim *s;

	cell_value = 0;
	answers = errors = order_broken = 0;
	memset(seen, 0, sizeof(seen));
	cr_assert(cx_sim_new(&conf, &s) == CX_OK);
	return s;
}

static struct cx_ref spawn(struct cx_sim *s, const struct cx_actor_type *type, const void *conf,
                           uint64_t key)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(cx_sim_runtime(s), type, conf, key, &ref) == CX_OK);
	return ref;
}

static enum cx_err post_add(struct cx_sim *s, struct cx_ref cell)
{
	struct number *m = (struct number *)(void *)cx_post_new(ADD, sizeof(*m));

	m->value = 1;
	return cx_post(cx_sim_runtime(s), cell, &m->hdr);
}

TestSuite(sim_delay, .timeout = 60);

Test(sim_delay, a_send_arrives_within_five_milliseconds_drawn_from_the_seed)
{
	uint64_t latest_ms = 0, soon = 0;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct cx_sim *s = sim_new(seed, delay_all, 0, NULL);
		const struct cx_ref cell = spawn(s, &cell_type, NULL, 1);
		const uint64_t began_ms = cx_sim_now_ms(s);
		uint64_t took_ms;

		cr_assert(post_add(s, cell) == CX_OK);
		while (cell_value == 0)
			cr_assert(cx_sim_step(s));
		took_ms = cx_sim_now_ms(s) - began_ms;
		latest_ms = took_ms > latest_ms ? took_ms : latest_ms;
		soon += took_ms == 0;
		cr_assert(!cx_sim_step(s));
		cx_sim_free(s);
	}
	cr_assert(latest_ms >= 4 && latest_ms <= 5, "%u ms", (unsigned)latest_ms);
	cr_assert(soon > 5 && soon < 50, "%u of 100", (unsigned)soon);
}

/* Three writers, with homes on both workers. */
Test(sim_delay, each_senders_order_is_kept)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cx_sim *s = sim_new(seed, delay_half, 0, NULL);
		struct writer_conf conf = { .every_ms = 1 };

		conf.to[0] = conf.to[1] = spawn(s, &reader_type, NULL, 1);
		for (conf.sender = 0; conf.sender < 3; conf.sender++)
			spawn(s, &writer_type, &conf, conf.sender);
		cx_sim_run_ms(s, 3000);
		for (int i = 0; i < 3; i++)
			cr_assert(seen[i] == 200);
		cr_assert(order_broken == 0);
		cx_sim_free(s);
	}
}

/* To the reader, delayed; then by way of the passer, at once. */
Test(sim_delay, what_a_send_led_to_stays_behind_it)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cx_sim *s = sim_new(seed, delay_half, 0, NULL);
		struct writer_conf conf = { .every_ms =
			                            20 }; /* the passer's has come by then */

		conf.to[0] = spawn(s, &reader_type, NULL, seed % 3);
		conf.to[1] = spawn(s, &passer_type, &conf.to[0], seed % 5);
		spawn(s, &writer_type, &conf, 2);
		cx_sim_run_ms(s, 3000);
		cr_assert(seen[0] == 200);
		cr_assert(order_broken == 0);
		cx_sim_free(s);
	}
}

/* Under AddressSanitizer a leak fails it. */
Test(sim_delay, what_is_held_counts_in_the_mailbox_and_is_freed_at_the_end)
{
	struct cx_sim *s = sim_new(4, delay_all, 0, NULL);
	const struct cx_ref cell = spawn(s, &cell_type, NULL, 1);

	for (unsigned i = 1; i < cell_type.mailbox_cap; i++) /* one is its start */
		cr_assert(post_add(s, cell) == CX_OK);
	cr_assert(post_add(s, cell) == CX_EFULL);
	cx_sim_free(s);
	cr_assert(cell_value == 0);
}

Test(sim_delay, an_ask_to_an_actor_that_ended_meanwhile_is_a_dead_letter)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cx_sim *s = sim_new(seed, delay_all, 0, NULL);
		const struct cx_ref cell = spawn(s, &cell_type, NULL, 1);
		const uint64_t began_ms = cx_sim_now_ms(s);

		cx_sim_step(s);
		spawn(s, &asker_type, &cell, 2);
		cx_sim_step(s);
		cx_sim_crash(s, cell, CX_EIO);
		while (errors == 0)
			cr_assert(cx_sim_step(s));
		cr_assert(error == CX_EGONE && answers == 0);
		cr_assert(cx_sim_now_ms(s) - began_ms <= 11); /* there and back */
		cx_sim_free(s);
	}
}

Test(sim_delay, an_answer_that_comes_after_the_deadline_is_late)
{
	unsigned late = 0, in_time = 0;

	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct cx_sim *s = sim_new(seed, delay_all, 1000000, NULL);
		const struct cx_ref cell = spawn(s, &cell_type, NULL, 1);

		spawn(s, &asker_type, &cell, 2);
		cx_sim_run_ms(s, 3000);
		cr_assert(answers + errors == 1);
		late += errors == 1 && error == CX_ETIMEOUT;
		in_time += answers == 1;
		cx_sim_free(s);
	}
	cr_assert(late + in_time == 50);
	cr_assert(late > 10 && in_time > 10, "%u late, %u in time", late, in_time);
}

Test(sim_delay, the_same_seed_gives_the_same_trace_byte_for_byte)
{
	char *text[3];
	size_t len[3];

	for (int i = 0; i < 3; i++) {
		FILE *trace = open_memstream(&text[i], &len[i]);
		struct cx_sim *s = sim_new(7, i == 2 ? NULL : delay_half, 0, trace);
		struct writer_conf conf = { .every_ms = 2 };

		conf.to[0] = conf.to[1] = spawn(s, &reader_type, NULL, 1);
		spawn(s, &writer_type, &conf, 2);
		cx_sim_run_ms(s, 1000);
		cx_sim_free(s);
		fclose(trace);
	}
	cr_assert(strstr(text[0], " late ") != NULL);
	cr_assert(len[0] == len[1] && memcmp(text[0], text[1], len[0]) == 0);
	cr_assert(len[0] != len[2] || memcmp(text[0], text[2], len[0]) != 0);
	for (int i = 0; i < 3; i++)
		free(text[i]);
}
