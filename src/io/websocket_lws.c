/* SPDX-License-Identifier: MIT */
/* The handshake, by libwebsockets: the HTTP head, the 101.  The rules of its use are in
 * docs/decisions/0002-websocket-data-plane.md; `rule n` below is the n-th of the dependency notes.
 *
 * It gets a head that websocket_head.c has found whole and good, and a duplicate of the socket; with TLS
 * one end of a pair of sockets, whose other end gives the answer that goes out through OpenSSL.  When it
 * has done its part (WebSocket established, or a request seen) a callback takes the connection: the
 * duplicate becomes a dead socket, so that whatever it still does to end its side touches nobody. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libwebsockets.h>

#include <cx/log.h>

#include "io/websocket_internal.h"

#define SERV_BUF_BYTES 16384
#define HEADER_BYTES 16384 /* of libwebsockets' own form of WS_HEAD_MAX bytes */
#define HANDSHAKE_SECS 30  /* ours are shorter */
#define ANSWER_BYTES 512   /* more than a 101 */

static char last_error[200]; /* of libwebsockets, at setup */

static void on_log(int level, const char *line)
{
	(void)level;
	snprintf(last_error, sizeof(last_error), "%.*s", (int)strcspn(line, "\n"), line);
}

/* The socket stops being libwebsockets'. */
static void take(struct ws_conn *c, struct lws *wsi)
{
	const int fd = lws_get_socket_fd(wsi);

	/* The loop must forget the duplicate while it still is the socket: an epoll registration goes
	 * by file, not by number, and would stay for ever.  Fails harmlessly when it is not in yet. */
	epoll_ctl(uv_backend_fd(c->adapter->loop), EPOLL_CTL_DEL, fd, NULL);
	cx_assert(dup3(ws_shared.dead_fd, fd, O_CLOEXEC) == fd);
	lws_set_opaque_user_data(wsi, NULL);
	c->wsi = NULL;
}

/* libwebsockets gave up.  A plain socket it has shut down. */
static void on_destroy(struct ws_conn *c)
{
	c->wsi = NULL;
	ws_count(&c->adapter->figures.handshakes_failed, 1);
	c->fin_sent = c->tls == NULL;
	ws_begin_closing(c, WS_AWAIT_END, WS_LIST_LINGER);
}

static bool is_endpoint(const struct ws_adapter *a, const char *path, size_t len)
{
	if (a->settings->endpoint != WS_ENDPOINT_ROOT)
		return a->settings->endpoint == WS_ENDPOINT_ANY;
	return (len == 1 && path[0] == '/') || (len == 3 && memcmp(path, "/ws", 3) == 0);
}

static int take_and_refuse(struct ws_conn *c, struct lws *wsi, uint16_t status)
{
	take(c, wsi);
	ws_refuse(c, status);
	return -1;
}

static int on_confirm_upgrade(struct ws_conn *c, struct lws *wsi, const char *protocol)
{
	char version[8] = "";
	char *path;
	int len;

	if (c == NULL || strcasecmp(protocol, "websocket") != 0)
		return -1; /* rule 7: no h2c */
	if (lws_http_get_uri_and_method(wsi, &path, &len) != 0)
		return take_and_refuse(c, wsi, 400);
	if (!is_endpoint(c->adapter, path, (size_t)len))
		return take_and_refuse(c, wsi, 404);
	if (lws_hdr_copy(wsi, version, sizeof(version), WSI_TOKEN_VERSION) <= 0 ||
	    strcmp(version, "13") != 0)
		return take_and_refuse(c, wsi, 426); /* rule 10 */
	if (!ws_reserve_open(c))
		return take_and_refuse(c, wsi, 503);
	return 0;
}

/* With TLS the 101 is in the pair of sockets. */
static bool pass_answer(struct ws_conn *c)
{
	char answer[ANSWER_BYTES];
	const ssize_t n = recv(c->adapter->answer_fd, answer, sizeof(answer), 0);
	struct cx_buf *buf;

	if (n <= 0 || n == (ssize_t)sizeof(answer))
		return false;
	buf = cx_buf_copy(answer, (size_t)n);
	ws_out_push(c, buf, 0, (uint32_t)n, WS_OUT_RAW);
	cx_buf_unref(buf);
	return true;
}

static int on_established(struct ws_conn *c, struct lws *wsi)
{
	if (c == NULL)
		return -1;
	/* 129 bytes did not fit into a fresh socket */
	if (lws_partial_buffered(wsi) != 0 || (c->tls != NULL && !pass_answer(c)))
		return -1;
	take(c, wsi);
	ws_established(c);
	return -1;
}

/* 0, or the status of the refusal. */
static uint16_t check_body(struct lws *wsi, bool is_post, uint32_t *len)
{
	char text[24] = "";
	int n = 0;
	int32_t body = 0;

	*len = 0;
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0)
		return 501;
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0) {
		n = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH);
		body = n <= 0 ? -1 : ws_head_body_len(text, (size_t)n);
	} else if (is_post) {
		return 411;
	}
	if (body < 0)
		return 400; /* rule 8: libwebsockets takes negative ones */
	if (body > WS_BODY_MAX)
		return 413;
	*len = (uint32_t)body;
	return 0;
}

static int on_http(struct ws_conn *c, struct lws *wsi, const char *path, size_t len)
{
	enum http_method method = HTTP_OTHER;
	uint32_t body_len;
	uint16_t status;
	char *uri;
	int uri_len;

	if (c == NULL)
		return -1;
	switch (lws_http_get_uri_and_method(wsi, &uri, &uri_len)) {
	case LWSHUMETH_GET:
		method = HTTP_GET;
		break;
	case LWSHUMETH_HEAD:
		method = HTTP_HEAD;
		break;
	case LWSHUMETH_POST:
		method = HTTP_POST;
		break;
	default:
		break;
	}
	status = check_body(wsi, method == HTTP_POST, &body_len);
	if (status != 0)
		return take_and_refuse(c, wsi, status);
	if (method != HTTP_POST || body_len == 0) {
		take(c, wsi);
		ws_request(c, method, path, (uint32_t)len);
		return -1; /* rule 3: one request a connection */
	}
	c->path_len = (uint32_t)len;
	c->msg = cx_buf_new(len + body_len);
	memcpy(cx_buf_data(c->msg), path, len);
	c->msg_len = (uint32_t)len;
	/* Not here: what it was given when it adopted the socket it takes for the body, and frees
	 * it while it is still reading it. */
	take(c, wsi);
	c->phase = WS_BODY;
	return -1;
}

static void on_instantiated(struct lws *wsi)
{
	struct ws_adapter *a = lws_context_user(lws_get_context(wsi));
	struct ws_conn *c = a->adopting;

	if (c == NULL)
		return;
	lws_set_opaque_user_data(wsi, c);
	c->wsi = wsi;
}

static int on_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                       size_t len)
{
	struct ws_conn *c;

	(void)user;
	if (reason == LWS_CALLBACK_HTTP_CONFIRM_UPGRADE &&
	    !lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE))
		return -1; /* rule 3: the header table is gone, and `in` with it */
	if (reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED) {
		on_instantiated(wsi);
		return 0;
	}
	switch (reason) {
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_HTTP:
	case LWS_CALLBACK_RAW_RX:
	case LWS_CALLBACK_WSI_DESTROY:
		break;
	default:
		return 0;
	}
	c = lws_get_opaque_user_data(wsi);
	if (c != NULL)
		ws_enter(c->adapter);
	switch (reason) {
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return on_confirm_upgrade(c, wsi, in);
	case LWS_CALLBACK_ESTABLISHED:
		return on_established(c, wsi);
	case LWS_CALLBACK_HTTP:
		return on_http(c, wsi, in, len);
	case LWS_CALLBACK_RAW_RX: /* not HTTP at all */
		return c == NULL ? -1 : take_and_refuse(c, wsi, 400);
	default:
		if (c != NULL)
			on_destroy(c);
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	/* rule 4: at least the largest frame, though ours are not written here */
	{ "", on_callback, 0, 1024, 0, NULL, 1 << 20 },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

static void fill_info(struct ws_adapter *a, struct lws_context_creation_info *info,
                      void **loops)
{
	static const lws_retry_bo_t no_timers; /* rule 2 */
	const struct websocket_settings *s = a->settings;

	memset(info, 0, sizeof(*info));
	info->port = CONTEXT_PORT_NO_LISTEN_SERVER; /* rule 1: the listener is ours */
	info->protocols = protocols;
	info->extensions = NULL; /* rule 6 */
	info->options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_VALIDATE_UTF8 |
	                LWS_SERVER_OPTION_FALLBACK_TO_APPLY_LISTEN_ACCEPT_CONFIG;
	info->foreign_loops = loops;
	info->user = a;
	info->pcontext = &a->lws;
	info->retry_and_idle_policy = &no_timers;
	info->pt_serv_buf_size = SERV_BUF_BYTES;
	info->max_http_header_data = HEADER_BYTES;
	info->max_http_header_pool =
		(unsigned short)(s->max_handshakes < 65000 ? s->max_handshakes + 16 : 65016);
	info->timeout_secs = HANDSHAKE_SECS;
	info->timeout_secs_ah_idle = HANDSHAKE_SECS;
	info->server_string = "construct"; /* rule 11: an empty one is an assertion later */
	info->gid = -1;
	info->uid = -1;
}

enum cx_err ws_lws_open(struct ws_adapter *a, const char **error_text)
{
	struct lws_context_creation_info info;
	void *loops[1] = { a->loop };

	last_error[0] = '\0';
	lws_set_log_level(LLL_ERR, on_log);
	fill_info(a, &info, loops);
	a->lws = lws_create_context(&info);
	lws_set_log_level(0, NULL);
	if (a->lws == NULL) {
		*error_text =
			last_error[0] != '\0' ? last_error : "libwebsockets did not start";
		return CX_EIO;
	}
	a->vhost = lws_get_vhost_by_name(a->lws, "default");
	if (a->vhost == NULL) {
		*error_text = "libwebsockets has no vhost";
		return CX_EIO;
	}
	return CX_OK;
}

void ws_lws_close(struct ws_adapter *a)
{
	if (a->lws != NULL)
		lws_context_destroy(a->lws);
}

void ws_lws_finish(struct ws_adapter *a)
{
	if (a->lws != NULL) /* with a foreign loop the first call only began it */
		lws_context_destroy(a->lws);
}

/* What libwebsockets will have for the socket. */
static int socket_for_lws(struct ws_conn *c)
{
	int pair[2];

	if (c->tls == NULL)
		return fcntl(c->watch.fd, F_DUPFD_CLOEXEC, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	c->adapter->answer_fd = pair[1];
	return pair[0];
}

void ws_lws_adopt(struct ws_conn *c, const char *bytes, size_t len)
{
	struct ws_adapter *a = c->adapter;
	const uint32_t gen = c->gen;
	const int fd = socket_for_lws(c);

	if (fd < 0) {
		ws_refuse(c, 503);
		return;
	}
	c->phase = WS_LWS;
	a->adopting = c;
	lws_adopt_socket_vhost_readbuf(a->vhost, fd, bytes, len);
	a->adopting = NULL;
	if (a->answer_fd >= 0)
		close(a->answer_fd);
	a->answer_fd = -1;
	if (c->gen != gen || c->phase != WS_LWS)
		return;
	/* It has a table for each head that can be here, so it never has to wait for one. */
	ws_lws_abandon(c);
	ws_refuse(c, 503);
}

void ws_lws_abandon(struct ws_conn *c)
{
	struct lws *wsi = c->wsi;

	if (wsi == NULL)
		return;
	lws_set_opaque_user_data(wsi, NULL);
	c->wsi = NULL;
	lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}
