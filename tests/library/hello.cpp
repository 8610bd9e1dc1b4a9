// SPDX-License-Identifier: MIT
// A C++ program on the installed library: spawns two actors, one asks, the other answers.
#include <cstdio>
#include <future>

#include <cx/actor.h>
#include <cx/buf.h>
#include <cx/io.h>
#include <cx/log.h>
#include <cx/runtime.h>
#include <cx/sim.h>
#include <cx/supervisor.h>

namespace
{

enum : uint32_t { DOUBLE = CX_MSG_USER, DOUBLED };

struct number {
	cx_msg hdr;
	uint64_t value;
};

struct conf {
	cx_ref doubler;
	std::promise<uint64_t> *result;
};

void on_double(cx_ctx *ctx, void *, const cx_msg *msg)
{
	number *answer = CX_MSG_NEW(ctx, DOUBLED, number);

	answer->value = 2 * CX_MSG_AS(number, msg)->value;
	cx_reply(ctx, msg, &answer->hdr);
}

cx_err start_asker(cx_ctx *ctx, void *state, const void *given)
{
	conf *self = static_cast<conf *>(state);
	number *question = CX_MSG_NEW(ctx, DOUBLE, number);
	uint64_t corr;

	*self = *static_cast<const conf *>(given);
	cx_assert(cx_ref_none(CX_NOBODY) && !cx_ref_is(self->doubler, CX_NOBODY));
	question->value = 21;
	return cx_ask(ctx, self->doubler, &question->hdr, 5000, &corr);
}

void on_doubled(cx_ctx *ctx, void *state, const cx_msg *msg)
{
	static_cast<conf *>(state)->result->set_value(CX_MSG_AS(number, msg)->value);
	cx_stop(ctx);
}

void on_error(cx_ctx *ctx, void *state, const cx_msg *msg)
{
	static_cast<conf *>(state)->result->set_value(0);
	cx_fail(ctx, CX_MSG_AS(cx_msg_error, msg)->err);
}

const cx_handler doubles[] = { CX_ON(DOUBLE, number, on_double) };
const cx_handler answers[] = {
	CX_ON(DOUBLED, number, on_doubled),
	CX_ON(CX_MSG_ERROR, cx_msg_error, on_error),
};

cx_actor_type type_of(const char *name, const cx_handler *handlers, size_t count)
{
	cx_actor_type type = {};

	type.name = name;
	type.mailbox_cap = 8;
	type.handlers = handlers;
	type.handler_count = count;
	return type;
}

} // namespace

int main()
{
	const cx_actor_type doubler = type_of("doubler", doubles, CX_COUNTOF(doubles));
	cx_actor_type asker = type_of("asker", answers, CX_COUNTOF(answers));
	std::promise<uint64_t> result;
	conf given = { CX_NOBODY, &result };
	cx_runtime_conf two = {};
	cx_runtime *rt;
	cx_ref ref;
	uint64_t value;

	asker.state_size = sizeof(conf);
	asker.conf_size = sizeof(conf);
	asker.start = start_asker;
	two.workers = 2;
	if (cx_runtime_new(&two, &rt) != CX_OK ||
	    cx_runtime_spawn(rt, &doubler, nullptr, 1, &given.doubler) != CX_OK ||
	    cx_runtime_spawn(rt, &asker, &given, 2, &ref) != CX_OK ||
	    cx_runtime_start(rt) != CX_OK)
		return 1;
	value = result.get_future().get();
	cx_runtime_stop(rt);
	cx_runtime_free(rt);
	std::printf("%llu\n", static_cast<unsigned long long>(value));
	return value == 42 ? 0 : 1;
}
