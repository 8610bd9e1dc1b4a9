/* SPDX-License-Identifier: MIT */
#include "sim/crash.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <cx/actor.h>

#define STACK_BYTES 65536 /* a run that has used up its own still says its seed */

/* There only in a build with that sanitizer, which reports faults itself. */
void __asan_init(void) __attribute__((weak));
/* What the sanitizers ask for their options: a report ends with SIGABRT, so that the seed is told. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

static volatile uint64_t current;
static volatile sig_atomic_t is_running, is_search;
static _Alignas(16) char signal_stack[STACK_BYTES];

static size_t add_text(char *line, size_t at, const char *text)
{
	memcpy(line + at, text, strlen(text));
	return at + strlen(text);
}

static size_t add_number(char *line, size_t at, uint64_t n)
{
	char digits[20];
	size_t count = 0;

	do
		digits[count++] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	while (count > 0)
		line[at++] = digits[--count];
	return at;
}

/* Async-signal-safe; once, for a death may be seen twice (a fault, then another in its handler). */
static void tell(const char *how, int signal)
{
	char line[128];
	size_t at;
	ssize_t written;

	if (!is_running)
		return;
	is_running = false;
	at = add_text(line, 0, is_search ? "sim: the search in seed " : "FAIL seed ");
	at = add_number(line, at, current);
	at = add_text(line, at, how);
	if (signal > 0)
		at = add_number(line, at, (uint64_t)signal);
	line[at++] = '\n';
	written = write(STDOUT_FILENO, line, at);
	(void)written; /* nobody is left to tell */
}

/* Then as if nobody had looked: the handler is gone. */
static void on_death(int signal)
{
	tell(": it ended by signal ", signal);
	raise(signal);
}

static void on_alarm(int signal)
{
	(void)signal;
	tell(": it did not end in time", 0);
	_exit(1);
}

const char *__asan_default_options(void)
{
	return "abort_on_error=1";
}

const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

static void handle(int signal, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler,
		                    .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK) };

	cx_assert(sigaction(signal, &action, NULL) == 0);
}

void crash_setup(void)
{
	const stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof(signal_stack) };

	cx_assert(sigaltstack(&stack, NULL) == 0);
	handle(SIGABRT, on_death);
	handle(SIGALRM, on_alarm);
	if (__asan_init != NULL)
		return;
	handle(SIGSEGV, on_death);
	handle(SIGBUS, on_death);
	handle(SIGFPE, on_death);
	handle(SIGILL, on_death);
}

void crash_begin(uint64_t seed, unsigned seconds)
{
	current = seed;
	is_search = false;
	is_running = true;
	alarm(seconds);
}

void crash_begin_search(uint64_t seed, unsigned seconds)
{
	crash_begin(seed, seconds);
	is_search = true;
}

void crash_end(void)
{
	alarm(0);
	is_running = false;
}
