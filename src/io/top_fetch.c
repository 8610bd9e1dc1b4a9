/* SPDX-License-Identifier: MIT */
/* The asking side of the socket: `construct top` and tests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/top_socket.h"

#define CHUNK 65536
#define WAIT_SECS (TOP_PEER_MS / 1000)

static bool failed(char *text, const char *path, const char *what)
{
	snprintf(text, TOP_ERROR_MAX, "%s: %s", path, what);
	return false;
}

static const char *why_not(int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
	case ENOTSOCK:
		return "no relay listens there";
	case EAGAIN:
		return "the relay does not answer";
	default:
		return strerror(error);
	}
}

static bool ask(int fd, const char *path, char *text)
{
	static const char request[] = "figures\n";
	const struct timeval wait = { .tv_sec = WAIT_SECS };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		return failed(text, path, "is too long for a socket");
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0 ||
	    connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != sizeof(request) - 1)
		return failed(text, path, why_not(errno));
	return true;
}

/* All until the relay closes; NULL with error_text. */
static char *read_all(int fd, const char *path, size_t *len, char *text)
{
	char *all = NULL;
	ssize_t n;

	*len = 0;
	do {
		char *more = *len > TOP_TEXT_MAX ? NULL : realloc(all, *len + CHUNK);

		if (more == NULL) {
			free(all);
			failed(text, path, "the answer is too long");
			return NULL;
		}
		all = more;
		do
			n = recv(fd, all + *len, CHUNK, 0);
		while (n < 0 && errno == EINTR);
		*len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	if (n == 0 && *len > 0)
		return all;
	failed(text, path, n < 0 ? why_not(errno) : "the relay closed without an answer");
	free(all);
	return NULL;
}

bool top_socket_fetch(const char *path, struct top_figures *out,
                      char error_text[static TOP_ERROR_MAX])
{
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *text = NULL;
	size_t len = 0;
	bool is_ok;

	if (fd < 0)
		return failed(error_text, path, strerror(errno));
	if (ask(fd, path, error_text))
		text = read_all(fd, path, &len, error_text);
	close(fd);
	if (text == NULL)
		return false;
	is_ok = top_figures_decode(text, len, out);
	free(text);
	return is_ok ? true : failed(error_text, path, "who answers there is no relay");
}
