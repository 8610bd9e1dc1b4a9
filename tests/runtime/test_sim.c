/* SPDX-License-Identifier: MIT */
/* The simulator: real actors, a schedule from a seed. */
#include <cx/sim.h>
#include <cx/supervisor.h>

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

enum { GET = CX_MSG_USER, GOT, SET, ADD, TICK, NOTE, WORK, LOST };

struct number {
	struct cx_msg hdr;
	uint32_t value;
	uint32_t sender;
};

/* ---- a cell: answers GET, takes SET and ADD ---- */

static uint32_t cell_value;

static void cell_get(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct number *m = CX_MSG_NEW(ctx, GOT, struct number);

	m->value = *(uint32_t *)state;
	cx_reply(ctx, msg, &m->hdr);
}

static void cell_set(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	cell_value = *(uint32_t *)state = CX_MSG_AS(struct number, msg)->value;
}

static void cell_add(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	cell_value = *(uint32_t *)state += CX_MSG_AS(struct number, msg)->value;
}

static const struct cx_handler cell_handlers[] = {
	CX_ON(GET, struct number, cell_get),
	CX_ON(SET, struct number, cell_set),
	CX_ON(ADD, struct number, cell_add),
};

static const struct cx_actor_type cell_type = {
	.name = "cell",
	.state_size = sizeof(uint32_t),
	.mailbox_cap = 64,
	.handlers = cell_handlers,
	.handler_count = CX_COUNTOF(cell_handlers),
};

/* ---- a client that adds 1: in two steps (wrong when others do too), or in one ---- */

struct client_conf {
	struct cx_ref cell;
	bool in_two_steps;
};

struct client {
	struct client_conf conf;
	uint64_t corr;
	uint32_t left;
};

static int ask_errors, refusals;

static void put(struct cx_ctx *ctx, struct client *c, uint32_t type, uint32_t value)
{
	struct number *m = CX_MSG_NEW(ctx, type, struct number);

	m->value = value;
	if (cx_send(ctx, c->conf.cell, &m->hdr) != CX_OK)
		refusals++;
}

static void next_add(struct cx_ctx *ctx, struct client *c)
{
	struct number *m;

	if (c->left == 0)
		return;
	if (!c->conf.in_two_steps) {
		while (c->left > 0) {
			put(ctx, c, ADD, 1);
			c->left--;
		}
		return;
	}
	m = CX_MSG_NEW(ctx, GET, struct number);
	if (cx_ask(ctx, c->conf.cell, &m->hdr, 1000, &c->corr) != CX_OK)
		refusals++;
}

static void client_got(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	struct client *c = state;

	put(ctx, c, SET, CX_MSG_AS(struct number, msg)->value + 1);
	c->left--;
	next_add(ctx, c);
}

static void client_error(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
	ask_errors++;
}

static enum cx_err client_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct client *c = state;

	c->conf = *(const struct client_conf *)conf;
	c->left = 5;
	next_add(ctx, c);
	return CX_OK;
}

static const struct cx_handler client_handlers[] = {
	CX_ON(GOT, struct number, client_got),
	CX_ON(CX_MSG_ERROR, struct cx_msg_error, client_error),
};

static const struct cx_actor_type client_type = {
	.name = "client",
	.state_size = sizeof(struct client),
	.conf_size = sizeof(struct client_conf),
	.mailbox_cap = 64,
	.start = client_start,
	.handlers = client_handlers,
	.handler_count = CX_COUNTOF(client_handlers),
};

static struct cx_sim *sim_new(uint64_t seed, cx_sim_fault_fn *fault, FILE *trace)
{
	const struct cx_sim_conf conf = {
		.runtime = { .seed = seed, .workers = 2 },
		.fault = fault,
		.trace = trace,
	};
	struct cx_sim *s;

	cell_value = 0;
	ask_errors = refusals = 0;
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

/* Two clients add 5 each to one cell; what is in it at the end. */
static uint32_t two_clients(uint64_t seed, bool in_two_steps, cx_sim_fault_fn *fault,
                            FILE *trace)
{
	struct cx_sim *s = sim_new(seed, fault, trace);
	struct client_conf conf = { .cell = spawn(s, &cell_type, NULL, 1),
		                    .in_two_steps = in_two_steps };

	spawn(s, &client_type, &conf, 2);
	spawn(s, &client_type, &conf, 3);
	cx_sim_run_ms(s, 5000);
	cx_sim_free(s);
	return cell_value;
}

TestSuite(sim, .timeout = 60);

Test(sim, the_same_seed_gives_the_same_trace_byte_for_byte)
{
	char *text[3];
	size_t len[3];

	for (int i = 0; i < 3; i++) {
		FILE *trace = open_memstream(&text[i], &len[i]);

		two_clients(i == 2 ? 8 : 7, true, NULL, trace);
		fclose(trace);
	}
	cr_assert(len[0] > 200);
	cr_assert(len[0] == len[1] && memcmp(text[0], text[1], len[0]) == 0);
	cr_assert(len[0] != len[2] || memcmp(text[0], text[2], len[0]) != 0);
	for (int i = 0; i < 3; i++)
		free(text[i]);
}

Test(sim, finds_a_lost_update_and_blames_nobody_innocent)
{
	unsigned found = 0;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		found += two_clients(seed, true, NULL, NULL) != 10;
		cr_assert(two_clients(seed, false, NULL, NULL) == 10);
	}
	cr_assert(found > 20, "%u of 100", found);
}

static enum cx_sim_fate lose_answers(void *arg, const char *from, const char *to,
                                     const struct cx_msg *msg, uint64_t random)
{
	(void)arg;
	(void)random;
	return strcmp(from, "cell") == 0 && strcmp(to, "client") == 0 && msg->type == GOT
	               ? CX_SIM_LOSE
	               : CX_SIM_DELIVER;
}

Test(sim, an_ask_whose_answer_is_lost_ends_at_its_deadline)
{
	two_clients(3, true, lose_answers, NULL);
	cr_assert(ask_errors == 2);
	cr_assert(cell_value == 0);
}

static enum cx_sim_fate refuse_adds(void *arg, const char *from, const char *to,
                                    const struct cx_msg *msg, uint64_t random)
{
	(void)arg;
	(void)from;
	(void)to;
	return msg->type == ADD && random % 2 == 0 ? CX_SIM_REFUSE : CX_SIM_DELIVER;
}

Test(sim, the_sender_of_a_refused_message_is_told)
{
	cr_assert(two_clients(3, false, refuse_adds, NULL) == 10u - (unsigned)refusals);
	cr_assert(refusals > 0 && refusals < 10);
}

/* ---- order ---- */

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
	.mailbox_cap = 64,
	.handlers = reader_handlers,
	.handler_count = CX_COUNTOF(reader_handlers),
};

struct writer_conf {
	struct cx_ref reader;
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
	for (int i = 0; i < 3; i++) {
		struct number *m = CX_MSG_NEW(ctx, NOTE, struct number);

		m->sender = w->conf.sender;
		m->value = ++w->sent;
		cr_assert(cx_send(ctx, w->conf.reader, &m->hdr) == CX_OK);
	}
	if (w->sent < 300)
		cx_timer_arm(ctx, &w->timer, cx_random(ctx) % 4, TICK);
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
	.mailbox_cap = 64,
	.start = writer_start,
	.handlers = writer_handlers,
	.handler_count = CX_COUNTOF(writer_handlers),
};

Test(sim, keeps_the_order_of_each_sender)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct cx_sim *s = sim_new(seed, NULL, NULL);
		struct writer_conf conf = { .reader = spawn(s, &reader_type, NULL, 1) };

		memset(seen, 0, sizeof(seen));
		for (conf.sender = 0; conf.sender < 3; conf.sender++)
			spawn(s, &writer_type, &conf, conf.sender);
		cx_sim_run_ms(s, 3000);
		for (int i = 0; i < 3; i++)
			cr_assert(seen[i] == 300);
		cr_assert(order_broken == 0);
		cx_sim_free(s);
	}
}

/* ---- time ---- */

static uint64_t ticked_ms;
static int64_t ticked_wall_ms;

static void on_late_tick(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)state;
	(void)msg;
	ticked_ms = cx_now_ms(ctx);
	ticked_wall_ms = cx_wall_ms(ctx);
}

static enum cx_err sleeper_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)conf;
	cx_timer_arm(ctx, state, 365 * UINT64_C(86400000), TICK);
	return CX_OK;
}

static const struct cx_handler sleeper_handlers[] = {
	CX_ON(TICK, struct cx_msg_timer, on_late_tick),
};

static const struct cx_actor_type sleeper_type = {
	.name = "sleeper",
	.state_size = sizeof(struct cx_timer),
	.mailbox_cap = 4,
	.start = sleeper_start,
	.handlers = sleeper_handlers,
	.handler_count = CX_COUNTOF(sleeper_handlers),
};

Test(sim, a_year_passes_in_no_time_and_the_wall_clock_may_jump)
{
	struct cx_sim *s = sim_new(5, NULL, NULL);

	spawn(s, &sleeper_type, NULL, 1);
	cx_sim_run_ms(s, 1000);
	cx_sim_jump_wall(s, -3600000);
	cx_sim_run_ms(s, 366 * UINT64_C(86400000));
	cr_assert(ticked_ms - 1000 >= 365 * UINT64_C(86400000));
	cr_assert(ticked_wall_ms ==
	          INT64_C(1704067200000) + (int64_t)ticked_ms - 1000 - 3600000);
	cx_sim_free(s);
}

Test(sim, does_not_run_past_the_time_asked_for_when_a_timer_is_far_away)
{
	struct cx_sim *s = sim_new(5, NULL, NULL);
	const uint64_t began_ms = cx_sim_now_ms(s);

	spawn(s, &sleeper_type, NULL, 1);
	for (unsigned i = 1; i <= 100; i++) {
		cx_sim_run_ms(s, 10);
		cr_assert(cx_sim_now_ms(s) - began_ms >= UINT64_C(10) * i);
		cr_assert(cx_sim_now_ms(s) - began_ms <= UINT64_C(11) * i);
	}
	cx_sim_free(s);
}

/* ---- failures ---- */

static int starts, stops;

static enum cx_err count_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	starts++;
	return CX_OK;
}

static void count_stop(struct cx_ctx *ctx, void *state)
{
	(void)ctx;
	(void)state;
	stops++;
}

static const struct cx_actor_type fragile_type = {
	.name = "fragile",
	.mailbox_cap = 4,
	.start = count_start,
	.stop = count_stop,
};

Test(sim, a_crashed_child_is_started_again_with_backoff)
{
	struct cx_sim *s = sim_new(9, NULL, NULL);
	struct cx_ref child;
	const struct cx_child children[] = { { .type = &fragile_type, .ref = &child } };
	const struct cx_supervisor_conf conf = { .children = children, .child_count = 1 };

	spawn(s, &cx_supervisor_type, &conf, 1);
	cx_sim_run_ms(s, 10);
	for (int i = 0; i < 3; i++) {
		cx_sim_crash(s, child, CX_EIO);
		cx_sim_run_ms(s, 1000);
	}
	cr_assert(starts == 4);
	cx_sim_free(s);
	cr_assert(stops == 4);
}

/* ---- offload ---- */

static void square(struct cx_msg *job)
{
	struct number *m = (struct number *)(void *)job;

	m->value *= m->value;
}

static uint32_t squared;

static void on_work(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	squared = CX_MSG_AS(struct number, msg)->value;
}

static enum cx_err worker_start(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct number *job = CX_MSG_NEW(ctx, WORK, struct number);

	(void)state;
	(void)conf;
	job->value = 12;
	return cx_offload(ctx, &job->hdr, square);
}

static const struct cx_handler worker_handlers[] = { CX_ON(WORK, struct number, on_work) };

static const struct cx_actor_type worker_type = {
	.name = "worker",
	.mailbox_cap = 4,
	.start = worker_start,
	.handlers = worker_handlers,
	.handler_count = CX_COUNTOF(worker_handlers),
};

Test(sim, a_job_runs_off_the_worker_and_comes_back)
{
	struct cx_sim *s = sim_new(2, NULL, NULL);

	spawn(s, &worker_type, NULL, 1);
	cx_sim_run_ms(s, 10);
	cr_assert(squared == 144);
	cr_assert(!cx_sim_step(s));
	cx_sim_free(s);
}
