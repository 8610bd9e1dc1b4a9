/* SPDX-License-Identifier: MIT */
#include "roles/top_terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define COLUMNS_UNTOLD 80
#define ROWS_UNTOLD 24

#define ALTERNATE_ON "\033[?1049h\033[?25l\033[2J" /* and the cursor hidden */
#define ALTERNATE_OFF "\033[0m\033[?25h\033[?1049l"
#define HOME "\033[H"
#define REVERSE "\033[7m"
#define PLAIN "\033[0m"
#define REST_OF_LINE "\033[K"
#define REST_OF_SCREEN "\033[J"

static struct termios before;
static int pipe_fds[2]; /* signals arrive as bytes, so that poll cannot miss them */

static void on_signal(int sig)
{
	const int saved = errno;
	const char byte = sig == SIGWINCH ? 'w' : 'e';

	if (write(pipe_fds[1], &byte, 1) < 0)
		errno = saved; /* full: enough of them wait */
	errno = saved;
}

static void set_signals(void (*handler)(int))
{
	static const int signals[] = { SIGWINCH, SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

enum cx_err top_terminal_open(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &before) != 0)
		return CX_EIO;
	if (pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) != 0)
		return CX_EIO;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped, it would leave the screen as it is */
	set_signals(on_signal);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	fputs(ALTERNATE_ON, stdout);
	fflush(stdout);
	return CX_OK;
}

void top_terminal_close(void)
{
	fputs(ALTERNATE_OFF, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	set_signals(SIG_DFL);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

void top_terminal_size(unsigned *columns, unsigned *rows)
{
	struct winsize size = { 0 };

	*columns = COLUMNS_UNTOLD;
	*rows = ROWS_UNTOLD;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 &&
	    size.ws_row > 0) {
		*columns = size.ws_col;
		*rows = size.ws_row;
	}
}

void top_terminal_show(const struct top_screen *screen)
{
	fputs(HOME, stdout);
	for (unsigned i = 0; i < screen->count; i++)
		printf("%s%s%s%s" REST_OF_LINE, i > 0 ? "\r\n" : "",
		       screen->is_heading[i] ? REVERSE : "", screen->line[i],
		       screen->is_heading[i] ? PLAIN : "");
	fputs(REST_OF_SCREEN, stdout);
	fflush(stdout);
}

enum top_event top_terminal_wait(int timeout_ms, unsigned char *key)
{
	struct pollfd fds[] = {
		{ .fd = pipe_fds[0], .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	char byte;

	if (poll(fds, 2, timeout_ms) < 0)
		fds[0].revents = POLLIN; /* EINTR: a signal, so there is a byte */
	if (fds[0].revents != 0 && read(pipe_fds[0], &byte, 1) == 1)
		return byte == 'w' ? TOP_EVENT_RESIZED : TOP_EVENT_END;
	if (fds[1].revents == 0)
		return TOP_EVENT_TIME;
	return read(STDIN_FILENO, key, 1) == 1 ? TOP_EVENT_KEY : TOP_EVENT_END; /* hung up */
}
