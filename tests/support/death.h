/* SPDX-License-Identifier: MIT */
/* What a process says on standard error and how it ends: in a child, so that a test may see several. */
#ifndef TESTS_SUPPORT_DEATH_H
#define TESTS_SUPPORT_DEATH_H

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEATH_SECS 20 /* it did not end by itself: SIGALRM */

struct last_words {
	int status; /* of waitpid */
	char said[8192];
};

static inline void hear(struct last_words *words, void (*act)(void))
{
	size_t len = 0;
	ssize_t n;
	int fds[2];
	pid_t child;

	cr_assert(pipe(fds) == 0);
	fflush(NULL);
	child = fork();
	cr_assert(child >= 0);
	if (child == 0) {
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		alarm(DEATH_SECS);
		act();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], words->said + len, sizeof(words->said) - 1 - len)) > 0)
		len += (size_t)n;
	words->said[len] = '\0';
	close(fds[0]);
	cr_assert(waitpid(child, &words->status, 0) == child);
}

/* The process aborts, and says why. */
static inline void expect_death(void (*wrong)(void), const char *why)
{
	struct last_words words;

	hear(&words, wrong);
	cr_assert(WIFSIGNALED(words.status) && WTERMSIG(words.status) == SIGABRT,
	          "no abort (status %x) for: %s\n%s", (unsigned)words.status, why, words.said);
	cr_assert(strstr(words.said, why) != NULL, "not said: %s\nbut: %s", why, words.said);
}

#endif
