/* SPDX-License-Identifier: MIT */
/* The rows of bench_runtime (its head says what they are) in CAF, the C++ Actor Framework 0.17.
 *
 *   peer_caf ROW OPS same|across
 *
 * same: one thread of its scheduler; across: two, and CAF places its actors itself.  Written as its
 * manual does: function-based actors with state, plain async sends, an answer is what a handler
 * returns; streams use the same credits as bench_runtime.  CAF's delayed messages cannot be
 * cancelled: timers-cancel exits with 3, "not offered".  An actor's turn has no end by default, so
 * latency-busy sets it to one message.
 *
 * Prints the TSV row of bench_runtime. */
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <caf/all.hpp>

using caf::actor;
using caf::atom;
using caf::atom_constant;
using caf::behavior;
using caf::result;
using caf::scoped_actor;
using caf::stateful_actor;
using std::chrono::milliseconds;

namespace {

using last_atom = atom_constant<atom("last")>;
using grant_atom = atom_constant<atom("grant")>;
using begin_atom = atom_constant<atom("begin")>;
using report_atom = atom_constant<atom("report")>;
using close_atom = atom_constant<atom("close")>;
using ping_atom = atom_constant<atom("ping")>;
using pong_atom = atom_constant<atom("pong")>;
using done_atom = atom_constant<atom("done")>;
using arm_atom = atom_constant<atom("arm")>;
using fired_atom = atom_constant<atom("fired")>;
using tick_atom = atom_constant<atom("tick")>;
using spin_atom = atom_constant<atom("spin")>;

const auto last = last_atom::value;
const auto grant = grant_atom::value;
const auto begin = begin_atom::value;
const auto report = report_atom::value;

struct outcome {
	uint64_t ops = 0, ns = 0, bytes_each = 0;
	uint64_t p50_ns = 0, p99_ns = 0, p999_ns = 0;
};

struct bench {
	caf::actor_system &system;
	scoped_actor &main;
	uint64_t ops;
	bool across;
};

uint64_t now_ns()
{
	return uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
}

uint64_t rss_bytes()
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == nullptr || fscanf(f, "%*u %lu", &pages) != 1)
		exit(1);
	fclose(f);
	return pages * uint64_t(sysconf(_SC_PAGESIZE));
}

uint32_t lehmer(uint32_t &seed)
{
	return seed = uint32_t(uint64_t(seed) * 16807 % 2147483647);
}

uint64_t wait_reports(bench &b, uint64_t count)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < count; i++)
		b.main->receive([&](report_atom, uint64_t value) { sum += value; });
	return sum;
}

void check(bool is_right, const char *what)
{
	if (is_right)
		return;
	fprintf(stderr, "peer_caf: %s\n", what);
	exit(1);
}

/* --- streams --------------------------------------------------------------------------------- */

struct receiver_state {
	uint64_t left;
	uint64_t sum = 0;
};

behavior receiver(stateful_actor<receiver_state> *self, actor main, uint64_t messages)
{
	self->state.left = messages;
	auto add = [=](uint64_t value) {
		self->state.sum += value;
		if (--self->state.left == 0)
			self->send(main, report, self->state.sum);
	};
	return {
		[=](uint64_t value) { add(value); },
		[=](last_atom, uint64_t value) -> result<grant_atom, uint64_t> {
			add(value);
			return { grant, value };
		},
	};
}

struct sender_state {
	std::vector<actor> receivers;
	uint64_t round = 1, credit;
	uint64_t grants[2] = { 0, 0 };
};

behavior sender(stateful_actor<sender_state> *self, std::vector<actor> receivers,
                uint64_t window, uint64_t rounds)
{
	const uint64_t half = window / 2;

	self->state.receivers = std::move(receivers);
	self->state.credit = window;
	auto send_rounds = [=] {
		auto &s = self->state;

		for (; s.credit > 0 && s.round <= rounds; s.round++, s.credit--)
			for (auto &to : s.receivers) {
				if (s.round % half == 0)
					self->send(to, last, s.round);
				else
					self->send(to, s.round);
			}
	};
	return {
		[=](begin_atom) { send_rounds(); },
		[=](grant_atom, uint64_t round) {
			auto &s = self->state;
			auto &grants = s.grants[round / half % 2];

			if (++grants < s.receivers.size())
				return;
			grants = 0;
			s.credit += half;
			send_rounds();
		},
	};
}

void stream(bench &b, outcome &out, unsigned senders, unsigned receivers, uint64_t window)
{
	const uint64_t rounds = b.ops / senders / receivers;
	const uint64_t flows = uint64_t(senders) * receivers;
	std::vector<actor> to, from;

	for (unsigned i = 0; i < receivers; i++)
		to.push_back(b.system.spawn(receiver, actor(b.main), rounds * senders));
	for (unsigned i = 0; i < senders; i++)
		from.push_back(b.system.spawn(sender, to, window, rounds));
	const uint64_t began_ns = now_ns();

	for (auto &s : from)
		b.main->send(s, begin);
	const uint64_t sum = wait_reports(b, receivers);

	out.ns = now_ns() - began_ns;
	out.ops = rounds * flows;
	check(sum == flows * (rounds * (rounds + 1) / 2), "messages were lost");
}

/* --- ring ------------------------------------------------------------------------------------ */

struct node_state {
	actor next;
};

behavior node(stateful_actor<node_state> *self, actor main, actor next)
{
	self->state.next = next;
	return {
		[=](uint64_t left) {
			if (left == 0)
				self->send(main, report, uint64_t(0));
			else
				self->send(self->state.next, left - 1);
		},
		[=](close_atom, const actor &to) { self->state.next = to; },
	};
}

void ring(bench &b, outcome &out, unsigned nodes, unsigned hops_an_op)
{
	actor first = b.system.spawn(node, actor(b.main), actor());
	actor next = first;

	for (unsigned i = 1; i < nodes; i++)
		next = b.system.spawn(node, actor(b.main), next);
	b.main->send(first, close_atom::value, next);
	b.main->send(first, uint64_t(nodes));
	wait_reports(b, 1);
	const uint64_t began_ns = now_ns();

	b.main->send(first, b.ops * hops_an_op);
	wait_reports(b, 1);
	out.ns = now_ns() - began_ns;
	out.ops = b.ops;
}

/* --- many to many ---------------------------------------------------------------------------- */

constexpr uint32_t big_actors = 120;

struct big_state {
	uint64_t left;
	uint32_t seed;
};

behavior big_actor(stateful_actor<big_state> *self, actor main, std::vector<actor> *all,
                   uint32_t index, uint64_t pings)
{
	self->state = { pings, index + 1 };
	auto ping = [=] {
		uint32_t other = lehmer(self->state.seed) % (big_actors - 1);

		if (other >= index)
			other++;
		self->send((*all)[other], ping_atom::value, self->state.left);
	};
	return {
		[=](begin_atom) { ping(); },
		[](ping_atom, uint64_t value) -> result<pong_atom, uint64_t> {
			return { pong_atom::value, value };
		},
		[=](pong_atom, uint64_t) {
			if (--self->state.left == 0)
				self->send(main, report, pings);
			else
				ping();
		},
	};
}

void big(bench &b, outcome &out)
{
	static std::vector<actor> all; /* complete before the first message, then only read */

	for (uint32_t i = 0; i < big_actors; i++)
		all.push_back(b.system.spawn(big_actor, actor(b.main), &all, i,
		                             b.ops / big_actors));
	const uint64_t began_ns = now_ns();

	for (auto &a : all)
		b.main->send(a, begin);
	out.ops = wait_reports(b, big_actors);
	out.ns = now_ns() - began_ns;
}

/* --- children -------------------------------------------------------------------------------- */

constexpr uint64_t at_once = 1000, warm_up = 2000;

struct child_state {
	uint64_t value;
};

behavior child(stateful_actor<child_state> *self, bool is_staying)
{
	return {
		[=](uint64_t value) -> result<done_atom, uint64_t> {
			self->state.value = value;
			if (!is_staying)
				self->quit();
			return { done_atom::value, value };
		},
	};
}

struct parent_state {
	uint64_t left = 0, waiting = 0, sum = 0;
	std::vector<actor> kept; /* an actor lives as long as somebody knows it */
};

behavior parent(stateful_actor<parent_state> *self, actor main, bool is_staying)
{
	auto spawn_some = [=] {
		auto &s = self->state;

		for (; s.left > 0 && s.waiting < at_once; s.left--, s.waiting++) {
			actor c = self->spawn<caf::lazy_init>(child, is_staying);

			self->send(c, uint64_t(1));
			if (is_staying)
				s.kept.push_back(c);
		}
	};
	return {
		[=](begin_atom, uint64_t count) {
			self->state.kept.reserve(is_staying ? count + warm_up : 0);
			self->state.left = count;
			self->state.sum = 0;
			spawn_some();
		},
		[=](done_atom, uint64_t value) {
			auto &s = self->state;

			s.sum += value;
			if (--s.waiting > 0)
				return;
			if (s.left > 0)
				spawn_some();
			else
				self->send(main, report, s.sum);
		},
	};
}

void children(bench &b, outcome &out, bool is_staying)
{
	actor p = b.system.spawn(parent, actor(b.main), is_staying);

	b.main->send(p, begin, warm_up);
	wait_reports(b, 1);
	const uint64_t before_bytes = rss_bytes();
	const uint64_t began_ns = now_ns();

	b.main->send(p, begin, b.ops);
	check(wait_reports(b, 1) == b.ops, "children were lost");
	out.ops = b.ops;
	if (is_staying)
		out.bytes_each = (rss_bytes() - before_bytes) / b.ops - sizeof(child_state) -
		                 sizeof(actor); /* the list of them is not the actors' */
	else
		out.ns = now_ns() - began_ns;
}

/* --- timers ---------------------------------------------------------------------------------- */

constexpr unsigned holders = 1000;

struct holder_state {
	uint64_t fired = 0;
	uint32_t seed;
};

behavior holder(stateful_actor<holder_state> *self, actor main, uint64_t count, uint32_t seed)
{
	self->state.seed = seed;
	return {
		[=](arm_atom, uint32_t least_ms, uint32_t spread_ms) {
			for (uint64_t i = 0; i < count; i++)
				self->delayed_send(
					self,
					milliseconds(least_ms +
			                             lehmer(self->state.seed) % spread_ms),
					fired_atom::value);
			if (least_ms > 1)
				self->send(main, report, count);
		},
		[=](fired_atom) {
			if (++self->state.fired == count)
				self->send(main, report, count);
		},
	};
}

void timers(bench &b, outcome &out, uint32_t least_ms, uint32_t spread_ms)
{
	std::vector<actor> all;

	for (unsigned i = 0; i < holders; i++)
		all.push_back(b.system.spawn(holder, actor(b.main), b.ops / holders, i + 1));
	const uint64_t began_ns = now_ns();

	for (auto &a : all)
		b.main->send(a, arm_atom::value, least_ms, spread_ms);
	out.ops = wait_reports(b, holders);
	out.ns = now_ns() - began_ns;
}

/* --- latency --------------------------------------------------------------------------------- */

constexpr unsigned busy_actors = 16;
constexpr uint64_t busy_ns = 1000;

behavior stamped(caf::event_based_actor *self, actor main, std::vector<uint64_t> *ns,
                 uint64_t count)
{
	return {
		[=](uint64_t sent_ns) {
			if (ns->size() == count)
				return;
			ns->push_back(now_ns() - sent_ns);
			if (ns->size() == count)
				self->send(main, report, count);
		},
	};
}

behavior ticker(caf::event_based_actor *self, actor to)
{
	return {
		[=](tick_atom) {
			self->send(to, now_ns());
			self->delayed_send(self, milliseconds(1), tick_atom::value);
		},
	};
}

behavior busy(caf::event_based_actor *self)
{
	return {
		[=](spin_atom) {
			const uint64_t end_ns = now_ns() + busy_ns;

			while (now_ns() < end_ns)
				;
			self->send(self, spin_atom::value);
		},
	};
}

void latency(bench &b, outcome &out, unsigned busy_count)
{
	static std::vector<uint64_t> ns;
	ns.reserve(b.ops);
	actor to = b.system.spawn(stamped, actor(b.main), &ns, b.ops);

	for (unsigned i = 0; i < busy_count; i++)
		b.main->send(b.system.spawn(busy), spin_atom::value);
	if (b.across)
		b.main->send(b.system.spawn(ticker, to), tick_atom::value);
	else
		for (uint64_t i = 0; i < b.ops; i++) {
			std::this_thread::sleep_for(milliseconds(1));
			b.main->send(to, now_ns());
		}
	wait_reports(b, 1);
	std::sort(ns.begin(), ns.end());
	out.ops = b.ops;
	out.p50_ns = ns[ns.size() / 2];
	out.p99_ns = ns[ns.size() * 99 / 100];
	out.p999_ns = ns[ns.size() * 999 / 1000];
}

using row_fn = std::function<void(bench &, outcome &)>;

const std::map<std::string, row_fn> rows = {
	{ "count", [](bench &b, outcome &o) { stream(b, o, 1, 1, 1024); } },
	{ "fan-in", [](bench &b, outcome &o) { stream(b, o, 8, 1, 256); } },
	{ "fan-out", [](bench &b, outcome &o) { stream(b, o, 1, 100, 64); } },
	{ "fork-join", [](bench &b, outcome &o) { stream(b, o, 1, 64, 64); } },
	{ "ping-pong", [](bench &b, outcome &o) { ring(b, o, 2, 2); } },
	{ "ring-100", [](bench &b, outcome &o) { ring(b, o, 100, 1); } },
	{ "ring-10000", [](bench &b, outcome &o) { ring(b, o, 10000, 1); } },
	{ "big", big },
	{ "spawn", [](bench &b, outcome &o) { children(b, o, false); } },
	{ "idle", [](bench &b, outcome &o) { children(b, o, true); } },
	{ "timers-arm", [](bench &b, outcome &o) { timers(b, o, 10000, 60000); } },
	{ "timers-fire", [](bench &b, outcome &o) { timers(b, o, 1, 10); } },
	{ "latency-sleeping", [](bench &b, outcome &o) { latency(b, o, 0); } },
	{ "latency-busy", [](bench &b, outcome &o) { latency(b, o, busy_actors); } },
};

std::string ns_text(uint64_t ns)
{
	return ns == 0 ? "" : std::to_string(ns);
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 4 || (strcmp(argv[3], "same") != 0 && strcmp(argv[3], "across") != 0)) {
		fprintf(stderr, "usage: peer_caf ROW OPS same|across\n");
		return 2;
	}
	const auto row = rows.find(argv[1]);

	if (row == rows.end()) {
		fprintf(stderr, "peer_caf: no %s here\n", argv[1]);
		return 3;
	}
	const bool across = strcmp(argv[3], "across") == 0;
	caf::actor_system_config conf;

	conf.set("scheduler.max-threads", size_t(across ? 2 : 1));
	if (row->first == "latency-busy") /* else an actor that writes to itself is never left */
		conf.set("scheduler.max-throughput", size_t(1));
	caf::actor_system system{ conf };
	scoped_actor self{ system };
	bench b{ system, self, strtoull(argv[2], nullptr, 10), across };
	outcome out;

	row->second(b, out);
	const double rate = out.ns == 0 ? double(out.bytes_each)
	                                : double(out.ops) * 1e9 / double(out.ns);

	printf("%s\t%s,%llu\t%d\t%s\t%s\t%s\t%s\n", argv[1], argv[3],
	       (unsigned long long)out.ops, across ? 2 : 1,
	       rate > 0 ? std::to_string((unsigned long long)rate).c_str() : "",
	       ns_text(out.p50_ns).c_str(), ns_text(out.p99_ns).c_str(),
	       ns_text(out.p999_ns).c_str());
	fflush(stdout);
	_exit(0); /* taking the actors down is no part of any row */
}
