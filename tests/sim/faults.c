/* SPDX-License-Identifier: MIT */
#include "sim/faults.h"

#include <stdarg.h>
#include <string.h>

static const char *const names[FAULT_KINDS] = {
	[FAULT_PUSH] = "push lost",         [FAULT_SEND] = "send refused",
	[FAULT_CUT] = "connection cut",     [FAULT_SESSION] = "session ended",
	[FAULT_COMMIT] = "commit failed",   [FAULT_READ] = "read failed",
	[FAULT_WALL] = "wall clock jumped", [FAULT_UNTOLD] = "message not acknowledged",
	[FAULT_STALL] = "reader stalled",   [FAULT_FORGED] = "frame forged",
	[FAULT_KILL] = "process killed",    [FAULT_DELAY] = "send delayed",
	[FAULT_CRASH] = "log crashed",      [FAULT_LOST] = "send to an adapter lost",
};

static struct {
	const struct fault_set *only;
	const struct cx_sim *sim;
	FILE *list, *trace;
	uint32_t drawn[FAULT_KINDS];
	unsigned life;
} faults;

void faults_begin(const struct fault_set *only, FILE *list, FILE *trace)
{
	faults.only = only;
	faults.list = list;
	faults.trace = trace;
	memset(faults.drawn, 0, sizeof(faults.drawn));
}

void faults_life(const struct cx_sim *sim, unsigned life)
{
	faults.sim = sim;
	faults.life = life;
}

uint32_t faults_drawn(enum fault_kind kind)
{
	return faults.drawn[kind];
}

static bool is_left_out(enum fault_kind kind, uint32_t number)
{
	if (faults.only == NULL)
		return false;
	return number >= FAULTS_MAX ||
	       (faults.only->bits[kind][number / 8] >> number % 8 & 1) == 0;
}

static void write_line(FILE *out, const char *margin, enum fault_kind kind, const char *where)
{
	if (out != NULL)
		fprintf(out, "%sfault: life %u, step %llu, %llu ms: %s (%u): %s\n", margin,
		        faults.life, (unsigned long long)cx_sim_steps(faults.sim),
		        (unsigned long long)cx_sim_now_ms(faults.sim), names[kind],
		        faults.drawn[kind], where);
}

bool fault_happens(enum fault_kind kind, const char *format, ...)
{
	char where[96];
	va_list args;

	if (is_left_out(kind, ++faults.drawn[kind]))
		return false;
	if (faults.list == NULL && faults.trace == NULL)
		return true;
	va_start(args, format);
	vsnprintf(where, sizeof(where), format, args);
	va_end(args);
	write_line(faults.list, "  ", kind, where);
	write_line(faults.trace, "", kind, where);
	return true;
}
