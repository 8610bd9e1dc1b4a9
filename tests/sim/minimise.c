/* SPDX-License-Identifier: MIT */
/* Delta debugging (Zeller and Hildebrandt 2002: ddmin) of the set of faults, after whole kinds.  A run without some of them
 * fails the same way when the same promise is broken, be it about another message: from the first
 * fault that is left out on, the schedule is another one.  So a failure that needs a rare schedule, and not
 * only its faults, keeps most of them: hardly more goes than what came after it. */
#include "sim/minimise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/faults.h"
#include "sim/run.h"
#include "sim/world.h"

#define RUNS_MAX 200
#define STEPS_IN_ALL 6000000 /* some seconds */
#define TRACE_LINES 60
#define FAULT_LINES 40 /* the last ones: nearest to what they broke */
#define LINES_MAX 60

struct search {
	uint64_t seed;
	const char *promise; /* the one that has to be broken */
	unsigned runs;
	uint64_t steps;
	struct fault {
		enum fault_kind kind;
		uint32_t number;
	} faults[FAULT_KINDS * FAULTS_MAX]; /* that are left, by kind */
	uint32_t count;
};

/* Those of `s` but [from, to). */
static void set_without(struct fault_set *set, const struct search *s, uint32_t from,
                        uint32_t to)
{
	memset(set, 0, sizeof(*set));
	for (uint32_t i = 0; i < s->count; i++)
		if (i < from || i >= to)
			set->bits[s->faults[i].kind][s->faults[i].number / 8] |=
				(uint8_t)(1 << s->faults[i].number % 8);
}

static bool fails_without(struct search *s, uint32_t from, uint32_t to)
{
	struct fault_set set;
	bool is_good;

	if (s->runs == RUNS_MAX || s->steps > STEPS_IN_ALL)
		return false;
	set_without(&set, s, from, to);
	is_good = run_seed(s->seed, &(struct run_watch){ .only = &set });
	s->runs++;
	s->steps += world.steps;
	return !is_good && world.promise == s->promise;
}

static void drop(struct search *s, uint32_t from, uint32_t to)
{
	memmove(s->faults + from, s->faults + to, (s->count - to) * sizeof(s->faults[0]));
	s->count -= to - from;
}

/* All but one part.  (One part alone, ddmin's other try, hardly ever fails: faults are many, needed ones
 * few.)  The latest go first: that leaves the run before them as it was. */
static bool reduce(struct search *s, uint32_t *parts)
{
	for (uint32_t p = *parts; p-- > 0;) {
		const uint32_t from = s->count * p / *parts, to = s->count * (p + 1) / *parts;

		if (fails_without(s, from, to)) {
			drop(s, from, to);
			*parts = *parts > 2 ? *parts - 1 : 2;
			return true;
		}
	}
	return false;
}

/* A whole kind at a time: most failures need one or two, and it reads better than a choice of all. */
static void drop_kinds(struct search *s)
{
	for (uint32_t from = 0, to; from < s->count; from = to) {
		for (to = from; to < s->count && s->faults[to].kind == s->faults[from].kind;)
			to++;
		if (fails_without(s, from, to)) {
			drop(s, from, to);
			to = from;
		}
	}
}

static void search(struct search *s)
{
	uint32_t parts = 2;

	if (fails_without(s, 0, s->count)) {
		s->count = 0;
		return;
	}
	drop_kinds(s);
	while (s->count >= 2) {
		if (reduce(s, &parts))
			continue;
		if (parts == s->count)
			break;
		parts = 2 * parts < s->count ? 2 * parts : s->count;
	}
}

/* A client's timer is most of a trace; only the one that ends it tells something. */
static bool is_idle(const char *line, size_t len)
{
	return memmem(line, len, " fake_client/", 13) != NULL && len > 10 &&
	       memcmp(line + len - 10, " timer_a<0", 10) == 0;
}

/* The last so many lines of a text in which each ends with a newline. */
static void print_last(const char *text, size_t len, unsigned max)
{
	const char *lines[LINES_MAX];
	const char *end = text + len;
	unsigned count = 0;

	cx_assert(max <= LINES_MAX);
	while (end > text && count < max) {
		const char *before = memrchr(text, '\n', (size_t)(end - 1 - text));
		const char *at = before == NULL ? text : before + 1;

		if (end == text + len || !is_idle(at, (size_t)(end - 1 - at)))
			lines[count++] = at;
		end = at;
	}
	if (end > text)
		printf("  ...\n");
	while (count-- > 0)
		printf("%.*s\n", (int)strcspn(lines[count], "\n"), lines[count]);
}

static void report(const struct search *s, uint32_t of)
{
	struct fault_set set;
	struct run_watch watch = { .only = &set };
	char *list = NULL, *trace = NULL;
	size_t list_len, trace_len;

	watch.list = open_memstream(&list, &list_len);
	watch.trace = open_memstream(&trace, &trace_len);
	cx_assert(watch.list != NULL && watch.trace != NULL);
	set_without(&set, s, 0, 0);
	run_seed(s->seed, &watch);
	fclose(watch.list);
	fclose(watch.trace);
	printf("sim: seed %llu fails with %u of its %u faults (%u runs): %s\n",
	       (unsigned long long)s->seed, s->count, of, s->runs, world.broken);
	print_last(list, list_len, FAULT_LINES);
	printf("  the end of that run's trace, without the clients' timers:\n");
	print_last(trace, trace_len, TRACE_LINES);
	free(list);
	free(trace);
}

void minimise(uint64_t seed)
{
	static struct search s;
	uint32_t drawn = 0;

	s = (struct search){ .seed = seed, .promise = world.promise };
	for (enum fault_kind kind = 0; kind < FAULT_KINDS; kind++) {
		drawn += faults_drawn(kind);
		for (uint32_t n = 1; n <= faults_drawn(kind) && n < FAULTS_MAX; n++)
			s.faults[s.count++] = (struct fault){ kind, n };
	}
	search(&s);
	report(&s, drawn);
}
