/* SPDX-License-Identifier: MIT */
/* Uses that the headers forbid: each is refused with an error, or ends the process with words. */
#include <cx/runtime.h>
#include <cx/sim.h>
#include <cx/supervisor.h>

#include <criterion/criterion.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#include <cx/log.h>

#include "support/death.h"
#include "support/wait.h"

#ifdef __SANITIZE_ADDRESS__ /* it cannot live within a limit of its address space */
#define MAY_LIMIT_MEMORY false
#else
#define MAY_LIMIT_MEMORY true
#endif

enum { POKE = CX_MSG_USER, OTHER };

TestSuite(wrong_use, .timeout = 60);

static struct cx_runtime *new_runtime(void)
{
	const struct cx_runtime_conf conf = { .workers = 1 };
	struct cx_runtime *rt = NULL;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_runtime_new(&conf, &rt) == CX_OK);
	return rt;
}

static struct cx_sim *new_sim(void)
{
	const struct cx_sim_conf conf = { .runtime = { .workers = 1 } };
	struct cx_sim *sim = NULL;

	cx_log_setup(CX_ERROR, CX_LOG_TEXT);
	cr_assert(cx_sim_new(&conf, &sim) == CX_OK);
	return sim;
}

static const struct cx_actor_type idle = { .name = "idle", .mailbox_cap = 4 };

/* ---- life of a runtime ---- */

Test(wrong_use, a_runtime_starts_once)
{
	struct cx_runtime *rt = new_runtime();

	cx_runtime_stop(rt); /* it does not run: nothing happens */
	cr_assert(cx_runtime_start(rt) == CX_OK);
	cr_assert(cx_runtime_start(rt) == CX_EINVAL);
	cx_runtime_stop(rt);
	cr_assert(cx_runtime_start(rt) == CX_EINVAL);
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
}

Test(wrong_use, who_is_spawned_after_the_stop_is_refused)
{
	const struct cx_actor_type blocks = { .name = "blocks",
		                              .mailbox_cap = 4,
		                              .placement = CX_PLACE_THREAD };
	struct cx_runtime *rt = new_runtime();
	struct cx_ref ref = { 7, 7 };

	cr_assert(cx_runtime_start(rt) == CX_OK);
	cx_runtime_stop(rt);
	cr_assert(cx_runtime_spawn(rt, &idle, NULL, 0, &ref) == CX_EGONE);
	cr_assert(cx_runtime_spawn(rt, &blocks, NULL, 0, &ref) == CX_EGONE);
	cr_assert(ref.slot == 7 && ref.gen == 7);
	cx_runtime_free(rt);
}

static void free_runtime_of_sim(void)
{
	cx_runtime_free(cx_sim_runtime(new_sim()));
}

Test(wrong_use, a_simulators_runtime_is_neither_started_nor_freed)
{
	struct cx_sim *sim = new_sim();

	cr_assert(cx_runtime_start(cx_sim_runtime(sim)) == CX_EINVAL);
	cx_runtime_stop(cx_sim_runtime(sim));
	cx_sim_free(sim);
	expect_death(free_runtime_of_sim, "cx_runtime_free of a simulator's runtime");
}

static struct cx_runtime *mine;

static enum cx_err stop_mine(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)ctx;
	(void)state;
	(void)conf;
	cx_runtime_stop(mine);
	return CX_OK;
}

static void stop_in_a_handler(void)
{
	static const struct cx_actor_type stopper = { .name = "stopper",
		                                      .mailbox_cap = 4,
		                                      .start = stop_mine };
	struct cx_ref ref;

	mine = new_runtime();
	cr_assert(cx_runtime_spawn(mine, &stopper, NULL, 0, &ref) == CX_OK);
	cr_assert(cx_runtime_start(mine) == CX_OK);
	for (;;)
		sleep_ms(1000);
}

Test(wrong_use, a_handler_that_stops_its_runtime_ends_the_process)
{
	expect_death(stop_in_a_handler, "cx_runtime_stop on a thread of this runtime");
	expect_death(stop_in_a_handler, "in actor kind stopper, message start");
}

/* ---- conf ---- */

static enum cx_err make(struct cx_runtime_conf conf)
{
	struct cx_runtime *rt = NULL;
	enum cx_err err;

	conf.workers = 1;
	err = cx_runtime_new(&conf, &rt);
	if (err == CX_OK)
		cx_runtime_free(rt);
	else
		cr_assert(rt == NULL);
	return err;
}

Test(wrong_use, a_conf_over_its_bounds_is_refused)
{
	static const char *const names[] = { "poke", NULL };
	struct cx_sim_conf sim = { .runtime = { .max_actors = 4194305 } };
	struct cx_sim *none;

	cr_assert(make((struct cx_runtime_conf){ .offload_threads = 1024 }) == CX_OK);
	cr_assert(make((struct cx_runtime_conf){ .offload_threads = 1025 }) == CX_EINVAL);
	cr_assert(make((struct cx_runtime_conf){ .offload_queue = 1048576 }) == CX_OK);
	cr_assert(make((struct cx_runtime_conf){ .offload_queue = 1048577 }) == CX_EINVAL);
	cr_assert(make((struct cx_runtime_conf){ .max_actors = 4194304 }) == CX_OK);
	cr_assert(make((struct cx_runtime_conf){ .max_actors = 4194305 }) == CX_EINVAL);
	cr_assert(make((struct cx_runtime_conf){ .max_actors = UINT_MAX }) == CX_EINVAL);
	cr_assert(make((struct cx_runtime_conf){ .msg_name_count = 1 }) == CX_EINVAL);
	cr_assert(make((struct cx_runtime_conf){ .msg_names = names, .msg_name_count = 2 }) ==
	          CX_EINVAL);
	cr_assert(make((struct cx_runtime_conf){ .msg_names = names, .msg_name_count = 1 }) ==
	          CX_OK);
	cr_assert(cx_sim_new(&sim, &none) == CX_EINVAL);
}

/* ---- out of memory ---- */

static void largest_buffer(void)
{
	cx_buf_new(SIZE_MAX);
}

static void nearly_largest_buffer(void)
{
	cx_buf_new(SIZE_MAX - 8);
}

Test(wrong_use, a_buffer_larger_than_there_can_be_ends_the_process)
{
	expect_death(largest_buffer, "out of memory: a buffer, 18446744073709551615 bytes");
	expect_death(nearly_largest_buffer, "out of memory: a buffer, ");
}

static void limit_memory(rlim_t bytes)
{
	const struct rlimit limit = { bytes, bytes };

	cr_assert(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void start_an_obese(void)
{
	static const struct cx_actor_type obese = { .name = "obese",
		                                    .mailbox_cap = 4,
		                                    .state_size = UINT32_MAX };
	struct cx_runtime *rt = new_runtime();
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(rt, &obese, NULL, 0, &ref) == CX_OK);
	limit_memory(UINT64_C(1) << 30);
	cr_assert(cx_runtime_start(rt) == CX_OK);
	for (;;)
		sleep_ms(1000);
}

static void start_too_many_threads(void)
{
	const struct cx_runtime_conf conf = { .workers = 1, .offload_threads = 1024 };
	struct cx_runtime *rt = NULL;

	cr_assert(cx_runtime_new(&conf, &rt) == CX_OK);
	limit_memory(UINT64_C(1) << 30);
	cr_assert(cx_runtime_start(rt) == CX_OK);
}

Test(wrong_use, who_runs_out_of_memory_or_threads_is_told_so, .disabled = !MAY_LIMIT_MEMORY)
{
	expect_death(start_an_obese, "out of memory: a block, 4294967295 bytes\n"
	                             "  in actor kind obese, message start");
	expect_death(start_too_many_threads, "cannot make a thread: ");
}

/* ---- types of actors ---- */

static struct cx_actor_type wrong;
static struct cx_handler two[255];

static void on_any(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	(void)msg;
}

static void spawn_wrong(void)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(new_runtime(), &wrong, NULL, 0, &ref) == CX_OK);
}

static void spawn_nothing(void)
{
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(new_runtime(), NULL, NULL, 0, &ref) == CX_OK);
}

static void spawn_65_kinds(void)
{
	static struct cx_actor_type kinds[65];
	struct cx_runtime *rt = new_runtime();
	struct cx_ref ref;

	for (unsigned i = 0; i < CX_COUNTOF(kinds); i++) {
		kinds[i] = idle;
		cr_assert(cx_runtime_spawn(rt, &kinds[i], NULL, 0, &ref) == CX_OK);
	}
}

static enum cx_err spawn_none(struct cx_ctx *ctx, void *state, const void *conf)
{
	struct cx_ref ref;

	(void)state;
	(void)conf;
	return cx_spawn(ctx, NULL, NULL, 0, &ref);
}

static void spawn_nothing_in_a_handler(void)
{
	const struct cx_actor_type parent = { .name = "parent",
		                              .mailbox_cap = 4,
		                              .start = spawn_none };
	struct cx_sim *sim = new_sim();
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(cx_sim_runtime(sim), &parent, NULL, 0, &ref) == CX_OK);
	cx_sim_run_ms(sim, 10);
}

static struct cx_actor_type *right_type(void)
{
	two[0] = (struct cx_handler)CX_ON(POKE, struct cx_msg, on_any);
	two[1] = (struct cx_handler)CX_ON(OTHER, struct cx_msg, on_any);
	wrong = (struct cx_actor_type){
		.name = "wrong", .mailbox_cap = 4, .handlers = two, .handler_count = 2
	};
	return &wrong;
}

Test(wrong_use, each_mistake_in_a_type_has_words_of_its_own)
{
	right_type()->name = NULL;
	expect_death(spawn_wrong, "actor type without a name: its name is NULL");
	wrong.placement = CX_PLACE_THREAD; /* which names its thread by it */
	expect_death(spawn_wrong, "actor type without a name: its name is NULL");
	right_type()->placement = (enum cx_placement)4;
	expect_death(spawn_wrong, "actor type wrong: its placement is none of");
	right_type()->mailbox_cap = 0;
	expect_death(spawn_wrong, "actor type wrong: its mailbox_cap is 0");
	right_type()->mailbox_cap = (uint32_t)INT32_MAX + 1;
	expect_death(spawn_wrong, "actor type wrong: its mailbox_cap is over");
	right_type()->conf_size = 4033;
	expect_death(spawn_wrong, "actor type wrong: its conf_size is over 4032");
	right_type()->conf_size = 8;
	expect_death(spawn_wrong, "conf is NULL, but the type has a conf_size");
	expect_death(spawn_nothing, "the type of an actor is NULL");
	expect_death(spawn_nothing_in_a_handler, "the type of an actor is NULL");
	expect_death(spawn_65_kinds, "actor type idle: there are 64 kinds of actors already");
}

Test(wrong_use, each_mistake_in_a_table_of_handlers_has_words_of_its_own)
{
	right_type()->handlers = NULL;
	expect_death(spawn_wrong, "actor type wrong: it has a handler_count, but");
	right_type()->handler_count = 255;
	expect_death(spawn_wrong, "actor type wrong: it has more than 254 handlers");
	right_type();
	two[1].fn = NULL;
	expect_death(spawn_wrong, "actor type wrong: the function of a handler is NULL");
	right_type();
	two[1].type = two[0].type;
	expect_death(spawn_wrong, "actor type wrong: two handlers have one message id");
	right_type();
	two[1].type = CX_MSG_LIMIT;
	expect_death(spawn_wrong, "actor type wrong: a handler's message id is not below");
	right_type();
	two[1].size = sizeof(struct cx_msg) - 1;
	expect_death(spawn_wrong, "actor type wrong: a handler's struct is smaller than");
}

Test(wrong_use, the_largest_conf_and_table_are_right)
{
	static const char conf[4032];
	struct cx_runtime *rt = new_runtime();
	struct cx_ref ref;

	right_type()->conf_size = sizeof(conf);
	wrong.handler_count = 191; /* all ids of users, but one */
	for (unsigned i = 0; i < 191; i++)
		two[i] = (struct cx_handler)CX_ON(CX_MSG_USER + i, struct cx_msg, on_any);
	wrong.mailbox_cap = INT32_MAX;
	cr_assert(cx_runtime_spawn(rt, &wrong, conf, 0, &ref) == CX_OK);
	cx_runtime_free(rt);
}

/* ---- supervisors ---- */

static struct cx_supervisor_conf family;

static void start_family(void)
{
	struct cx_sim *sim = new_sim();
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(cx_sim_runtime(sim), &cx_supervisor_type, &family, 0,
	                           &ref) == CX_OK);
	cx_sim_run_ms(sim, 10);
	cx_sim_free(sim);
}

Test(wrong_use, each_mistake_in_a_supervisors_conf_has_words_of_its_own)
{
	static struct cx_child children[33];

	for (unsigned i = 0; i < CX_COUNTOF(children); i++)
		children[i].type = &idle;
	family = (struct cx_supervisor_conf){ .children = children, .child_count = 32 };
	start_family();
	family.child_count = 33;
	expect_death(start_family, "a supervisor has more than 32 children");
	family = (struct cx_supervisor_conf){ .child_count = 1 };
	expect_death(start_family, "a supervisor has a child_count, but its children are NULL");
	family = (struct cx_supervisor_conf){ .children = children, .child_count = 32 };
	children[31].type = NULL;
	expect_death(start_family, "the type of a supervisor's child is NULL");
	children[31].type = right_type();
	wrong.placement = CX_PLACE_THREAD;
	expect_death(start_family, "a supervisor's child is CX_PLACE_THREAD");
}

/* ---- messages and timers ---- */

static uint32_t id;

static void make_for_post(void)
{
	cx_msg_drop(cx_post_new(id, sizeof(struct cx_msg)));
}

static enum cx_err make_of_id(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)state;
	(void)conf;
	cx_msg_drop(cx_msg_new(ctx, id, sizeof(struct cx_msg)));
	return CX_OK;
}

static enum cx_err arm(struct cx_ctx *ctx, void *state, const void *conf)
{
	(void)conf;
	cx_timer_arm(ctx, state, 1, id);
	return CX_OK;
}

static void start_wrong(void)
{
	struct cx_sim *sim = new_sim();
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(cx_sim_runtime(sim), &wrong, NULL, 0, &ref) == CX_OK);
	cx_sim_run_ms(sim, 10);
	cx_sim_free(sim);
}

Test(wrong_use, a_message_id_of_the_runtimes_own_ends_the_process)
{
	const char *const why = "a message id that is the runtime's alone";
	const uint32_t refused[] = { CX_MSG_NONE, CX_MSG_START, CX_MSG_RESTART,
		                     CX_MSG_SYSTEM_MAX, CX_MSG_LIMIT };
	const uint32_t allowed[] = { CX_MSG_ERROR, CX_MSG_DOWN, CX_MSG_STOP, CX_MSG_USER,
		                     CX_MSG_LIMIT - 1 };

	right_type()->start = make_of_id;
	for (unsigned i = 0; i < CX_COUNTOF(refused); i++) {
		id = refused[i];
		expect_death(make_for_post, why);
		expect_death(start_wrong, why);
	}
	for (unsigned i = 0; i < CX_COUNTOF(allowed); i++) {
		id = allowed[i];
		make_for_post();
		start_wrong();
	}
}

Test(wrong_use, a_timer_that_no_handler_waits_for_ends_the_process)
{
	const char *const why = "no handler of a struct cx_msg_timer for this timer";

	right_type()->state_size = sizeof(struct cx_timer);
	wrong.start = arm;
	two[1] = (struct cx_handler)CX_ON(OTHER, struct cx_msg_timer, on_any);
	id = OTHER;
	start_wrong();
	id = OTHER + 1;
	expect_death(start_wrong, why);
	id = POKE; /* it has a handler, but of another struct */
	expect_death(start_wrong, why);
	id = CX_MSG_LIMIT;
	expect_death(start_wrong, why);
}

/* ---- names of messages ---- */

static void on_wrong(struct cx_ctx *ctx, void *state, const struct cx_msg *msg)
{
	(void)ctx;
	(void)state;
	cx_assert(msg->size == 0);
}

static void poke_wrong(void)
{
	struct cx_sim *sim = new_sim();
	struct cx_runtime *rt = cx_sim_runtime(sim);
	struct cx_ref ref;

	cr_assert(cx_runtime_spawn(rt, &wrong, NULL, 0, &ref) == CX_OK);
	cr_assert(cx_post(rt, ref, cx_post_new(255, sizeof(struct cx_msg))) == CX_OK);
	cx_sim_run_ms(sim, 10);
}

Test(wrong_use, an_assertion_names_a_message_without_a_name_by_its_number)
{
	right_type();
	two[1] = (struct cx_handler)CX_ON(255, struct cx_msg, on_wrong);
	expect_death(poke_wrong, "assertion failed: msg->size == 0 (");
	expect_death(poke_wrong, "  in actor kind wrong, message 255, mailbox ");
}

Test(wrong_use, the_trace_of_a_simulator_too)
{
	char *text = NULL;
	size_t len = 0;
	FILE *trace = open_memstream(&text, &len);
	const struct cx_sim_conf conf = { .runtime = { .workers = 1 }, .trace = trace };
	struct cx_sim *sim = NULL;
	struct cx_ref ref;

	cr_assert(cx_sim_new(&conf, &sim) == CX_OK);
	cr_assert(cx_runtime_spawn(cx_sim_runtime(sim), right_type(), NULL, 0, &ref) == CX_OK);
	cr_assert(cx_post(cx_sim_runtime(sim), ref, cx_post_new(POKE, sizeof(struct cx_msg))) ==
	          CX_OK);
	cx_sim_run_ms(sim, 10);
	cx_sim_free(sim);
	fclose(trace);
	cr_assert(strstr(text, " start<0") != NULL && strstr(text, " 64<0") != NULL, "%s",
	          text);
	free(text);
}
