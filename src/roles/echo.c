/* SPDX-License-Identifier: MIT */
/* construct echo: runtime, websocket adapters, and a connection actor that returns what it gets. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cx/log.h>
#include <cx/runtime.h>

#include "actors/echo.h"
#include "io/loop_uv.h"
#include "io/websocket.h"
#include "roles/roles.h"

#define FRAME_MAX (64 * 1024 * 1024) /* the conformance suite sends up to 16 MiB */
#define WINDOW_BYTES 262144
#define HANDSHAKE_SECS 10
#define JITTER_MS 0
#define LOOK_MS 10 /* how often the end of the drain is looked for */
#define WORKERS_MAX 64

struct echo_role {
	const struct config *config;
	struct websocket_settings settings;
	struct cx_runtime *rt;
	struct cx_ref adapters[WORKERS_MAX];
	uint16_t port;
};

static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Whole or not at all: whoever waits for the file must not read half a number. */
static bool write_port_file(const char *path, uint16_t port)
{
	char temporary[4200];
	FILE *f;
	bool is_ok;

	if (path == NULL)
		return true;
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	f = fopen(temporary, "we");
	if (f == NULL)
		return false;
	is_ok = fprintf(f, "%u\n", (unsigned)port) > 0;
	is_ok = fclose(f) == 0 && is_ok;
	return is_ok && rename(temporary, path) == 0;
}

static void fill_settings(struct echo_role *role)
{
	const struct config *c = role->config;

	role->settings = (struct websocket_settings){
		.bind = c->bind,
		.port = (uint16_t)c->port,
		.tls_cert_file = c->tls_cert_file,
		.tls_key_file = c->tls_key_file,
		.max_connections = c->max_connections,
		.max_handshakes = c->max_handshakes,
		.handshake_secs = HANDSHAKE_SECS,
		.max_frame_bytes = FRAME_MAX,
		.window_bytes = WINDOW_BYTES,
		.workers = (uint16_t)c->worker_threads,
		.endpoint = WS_ENDPOINT_ANY,
		.connection_type = &echo_type,
	};
}

static enum cx_err boot_adapters(struct echo_role *role)
{
	enum cx_err err = CX_OK;

	for (unsigned i = 0; i < role->settings.workers && err == CX_OK; i++)
		err = cx_runtime_spawn(role->rt, &websocket_type, NULL, i, &role->adapters[i]);
	if (err == CX_OK)
		err = cx_runtime_start(role->rt);
	for (unsigned i = 0; i < role->settings.workers && err == CX_OK; i++)
		err = ws_listen_post(role->rt, role->adapters[i], WS_LISTEN_START, 0);
	return err;
}

static enum cx_err boot(struct echo_role *role, const char **error_text)
{
	static const char *const names[] = {
#define X(id, type, text) text,
#include <construct/messages.def>
#undef X
	};
	const struct cx_runtime_conf conf = {
		.workers = role->config->worker_threads,
		.loop = &loop_uv_ops,
		.msg_names = names,
		.msg_name_count = CX_COUNTOF(names),
	};
	enum cx_err err = cx_runtime_new(&conf, &role->rt);

	*error_text = cx_err_text(err);
	if (err != CX_OK)
		return err;
	fill_settings(role);
	err = websocket_setup(&role->settings, &role->port, error_text);
	if (err != CX_OK)
		return err;
	err = boot_adapters(role);
	*error_text = cx_err_text(err);
	return err;
}

/* Until all clients are gone, DRAIN_SECS are over, or a second signal.  False after the latter. */
static bool drain(struct echo_role *role, const sigset_t *signals)
{
	const struct timespec look = { .tv_nsec = LOOK_MS * 1000000 };
	const unsigned looks = role->config->drain_secs * (1000 / LOOK_MS);
	struct websocket_figures f;

	for (unsigned i = 0; i < role->settings.workers; i++)
		if (ws_listen_post(role->rt, role->adapters[i], WS_LISTEN_DRAIN, JITTER_MS) !=
		    CX_OK)
			cx_log(CX_WARN, "echo.drain_refused", "worker=%u", i);
	for (unsigned i = 0; i < looks; i++) {
		const int sig = sigtimedwait(signals, NULL, &look);

		if (sig == SIGTERM || sig == SIGINT)
			return false;
		websocket_figures(&f);
		if (f.open == 0)
			break;
	}
	return true;
}

static void reload(struct echo_role *role)
{
	const char *error_text = NULL;

	if (websocket_reload_tls(role->rt, role->adapters, &error_text) != CX_OK)
		cx_log(CX_ERROR, "echo.reload_failed", "error=\"%s\"", error_text);
}

static bool serve(struct echo_role *role, const sigset_t *signals)
{
	for (;;) {
		const int sig = sigwaitinfo(signals, NULL);

		if (sig == SIGHUP)
			reload(role);
		else if (sig > 0)
			return drain(role, signals);
	}
}

static void end(struct echo_role *role)
{
	struct websocket_figures f;

	websocket_figures(&f);
	cx_runtime_stop(role->rt);
	cx_runtime_free(role->rt);
	websocket_teardown();
	cx_log(CX_INFO, "relay.stopped", "role=echo connections=%llu frames=%llu",
	       (unsigned long long)f.established, (unsigned long long)f.frames_in);
}

int role_echo_main(const struct config *c)
{
	struct echo_role role = { .config = c };
	const char *error_text = NULL;
	sigset_t signals;
	bool is_clean;

	block_signals(&signals);
	if (boot(&role, &error_text) != CX_OK) {
		cx_log(CX_ERROR, "relay.failed", "role=echo error=\"%s\"", error_text);
		return 1;
	}
	if (!write_port_file(c->port_file, role.port)) {
		cx_log(CX_ERROR, "relay.failed", "role=echo error=\"PORT_FILE %s: %s\"",
		       c->port_file, strerror(errno));
		end(&role);
		return 1;
	}
	cx_log(CX_INFO, "relay.started", "role=echo port=%u workers=%u tls=%s", role.port,
	       c->worker_threads, c->tls_cert_file != NULL ? "on" : "off");
	is_clean = serve(&role, &signals);
	if (!is_clean) /* asked twice */
		_Exit(1);
	end(&role);
	return 0;
}
