/* SPDX-License-Identifier: MIT */
/* The handshake, by libwebsockets: TLS, the HTTP head, the 101.  The rules of its use are in
 * docs/decisions/0002-websocket-data-plane.md; `rule n` below is the n-th of the dependency notes.
 *
 * libwebsockets works on a duplicate of the socket.  When it has done its part (WebSocket established,
 * or a request whole) a callback takes the connection: the duplicate becomes a dead socket, so that
 * whatever libwebsockets still does to end its side touches nobody. */
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

static char last_error[200]; /* of libwebsockets, at setup */

static void on_log(int level, const char *line)
{
	(void)level;
	snprintf(last_error, sizeof(last_error), "%.*s", (int)strcspn(line, "\n"), line);
}

/* The socket stops being libwebsockets'. */
static void take(struct ws_conn *c, struct lws *wsi)
{
	struct ws_adapter *a = c->adapter;
	const int fd = lws_get_socket_fd(wsi);
	struct epoll_event ev = { .events = EPOLLIN, .data = { .fd = fd } };

	/* The loop must forget the duplicate while it still is the socket: an epoll registration goes
	 * by file, not by number, and would stay for ever.  Fails harmlessly when it is not in yet. */
	epoll_ctl(uv_backend_fd(a->loop), EPOLL_CTL_DEL, fd, NULL);
	cx_assert(dup3(ws_shared.dead_fd, fd, O_CLOEXEC) == fd);
	if (c->tls == NULL) {
		lws_set_opaque_user_data(wsi, NULL);
		c->wsi = NULL;
		return;
	}
	/* libwebsockets closes the descriptor that SSL_get_fd tells, so it must stay till then. With both
	 * flags set SSL_shutdown sends nothing, and SSL_read reads nothing. */
	cx_assert(SSL_up_ref(c->tls) == 1);
	/* libwebsockets goes on for one turn of the loop: libuv must find what it believes is there, or
	 * it aborts. */
	epoll_ctl(uv_backend_fd(a->loop), EPOLL_CTL_ADD, fd, &ev);
	SSL_set_shutdown(c->tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	c->is_held = true;
}

/* libwebsockets' side has ended. */
static void on_destroy(struct ws_conn *c)
{
	c->wsi = NULL;
	if (!c->is_held) { /* it gave up, and has shut the socket down */
		ws_count(&c->adapter->figures.handshakes_failed, 1);
		c->tls = NULL;
		c->fin_sent = true;
		ws_begin_closing(c, WS_AWAIT_END, WS_LIST_LINGER);
		return;
	}
	c->is_held = false;
	SSL_set_shutdown(c->tls, 0);
	cx_assert(SSL_set_fd(c->tls, c->watch.fd) == 1);
	ws_mark_dirty(c);
	if (c->is_early)
		ws_fail(c, WS_CLOSE_PROTOCOL);
	else if (c->phase == WS_OPEN)
		ws_open_readable(c);
}

static bool is_endpoint(const struct ws_adapter *a, const char *path, size_t len)
{
	return a->settings->endpoint == WS_ENDPOINT_ANY || (len == 1 && path[0] == '/') ||
	       (len == 3 && memcmp(path, "/ws", 3) == 0);
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

static int on_established(struct ws_conn *c, struct lws *wsi)
{
	if (c == NULL)
		return -1;
	if (lws_partial_buffered(wsi) != 0) { /* 129 bytes did not fit into a fresh socket */
		ws_count(&c->adapter->figures.handshakes_failed, 1);
		return -1;
	}
	take(c, wsi);
	ws_established(c);
	if (c->tls == NULL)
		return -1;
	/* Frames that came with the request are still to be seen (LWS_CALLBACK_RECEIVE). */
	lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
	return 0;
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
	if (c->tls != NULL)
		return 0; /* libwebsockets reads it */
	/* Not here: what it was given when it adopted the socket it takes for the body, and frees
	 * it while it is still reading it. */
	take(c, wsi);
	c->phase = WS_BODY;
	return -1;
}

static int on_body(struct ws_conn *c, const void *bytes, size_t len)
{
	if (c == NULL || c->msg == NULL || c->msg_len + len > cx_buf_len(c->msg))
		return -1;
	memcpy(cx_buf_data(c->msg) + c->msg_len, bytes, len);
	c->msg_len += (uint32_t)len;
	return 0;
}

static int on_body_end(struct ws_conn *c, struct lws *wsi)
{
	if (c == NULL || c->msg == NULL)
		return -1;
	take(c, wsi);
	ws_request(c, HTTP_POST, NULL, c->path_len);
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
	c->tls = lws_get_ssl(wsi);
}

static int on_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                       size_t len)
{
	struct ws_adapter *a;
	struct ws_conn *c;

	(void)user;
	if (reason == LWS_CALLBACK_HTTP_CONFIRM_UPGRADE &&
	    !lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE))
		return -1; /* rule 3: the header table is gone, and `in` with it */
	if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS) {
		a = lws_context_user(lws_get_context(wsi));
		a->tls = user;
		ws_tls_prepare(a->tls);
		return 0;
	}
	if (reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED) {
		on_instantiated(wsi);
		return 0;
	}
	switch (reason) {
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_HTTP:
	case LWS_CALLBACK_HTTP_BODY:
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
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
	case LWS_CALLBACK_RECEIVE:
		if (c != NULL)
			c->is_early = true;
		return 0;
	case LWS_CALLBACK_HTTP:
		return on_http(c, wsi, in, len);
	case LWS_CALLBACK_HTTP_BODY:
		return on_body(c, in, len);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return on_body_end(c, wsi);
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
	info->alpn = "http/1.1"; /* rule 7 */
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
	if (s->tls_cert_file != NULL) {
		info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
		/* else it makes one of its own for each vhost, with all the system's authorities */
		info->provided_client_ssl_ctx = a->unused_tls;
		info->ssl_cert_filepath = s->tls_cert_file;
		info->ssl_private_key_filepath = s->tls_key_file;
	}
}

enum cx_err ws_lws_open(struct ws_adapter *a, const char **error_text)
{
	struct lws_context_creation_info info;
	void *loops[1] = { a->loop };

	last_error[0] = '\0';
	a->unused_tls = SSL_CTX_new(TLS_client_method());
	cx_assert(a->unused_tls != NULL);
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
	SSL_CTX_free(a->unused_tls);
	a->unused_tls = NULL;
}

void ws_lws_adopt(struct ws_conn *c, const char *bytes, size_t len)
{
	struct ws_adapter *a = c->adapter;
	const int fd = fcntl(c->watch.fd, F_DUPFD_CLOEXEC, 0);
	const uint32_t gen = c->gen;

	if (fd < 0) {
		ws_conn_free(c);
		return;
	}
	c->phase = WS_LWS;
	a->adopting = c;
	if (len == 0)
		lws_adopt_socket_vhost(a->vhost, fd);
	else
		lws_adopt_socket_vhost_readbuf(a->vhost, fd, bytes, len);
	a->adopting = NULL;
	if (c->gen != gen || c->phase != WS_LWS)
		return;
	if (c->wsi == NULL) {
		ws_count(&a->figures.handshakes_failed, 1);
		ws_conn_free(c);
		return;
	}
	lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0); /* rule 2: deadlines are ours */
}

void ws_lws_abandon(struct ws_conn *c)
{
	struct lws *wsi = c->wsi;

	if (wsi == NULL)
		return;
	lws_set_opaque_user_data(wsi, NULL);
	c->wsi = NULL;
	if (!c->is_held) { /* the SSL is libwebsockets' alone */
		c->tls = NULL;
		lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	}
}
