/* SPDX-License-Identifier: MIT */
/* A connection between a fake socket and the fakes of fixture.h, and its client.  One test file includes
 * this once, instead of fixture.h. */
#ifndef TESTS_ACTORS_CONNECTION_FIXTURE_H
#define TESTS_ACTORS_CONNECTION_FIXTURE_H

#include "actors/connection.h"

#include "actors/fixture.h"
#include "wire/client_frame.h"

static struct cx_ref conn, ws;

static void set_up(void)
{
	struct ws_connection_conf conf = { .context = &relay, .window_bytes = 65536 };

	fixture_start();
	ws = fake();
	conf.handle.adapter = ws;
	conn = spawn_at(&connection_type, &conf);
}

static void frame(struct cx_buf *buf, size_t len)
{
	cr_assert(len <= cx_buf_len(buf));
	cx_buf_trim(buf, len);
	TELL(ws, conn, WS_FRAME, struct ws_frame_in, buf, .is_text = 0);
	cx_buf_unref(buf);
}

#define FRAME(writer, ...)                                             \
	do {                                                           \
		struct cx_buf *b_ = cx_buf_new(2048);                  \
		frame(b_, writer(cx_buf_data(b_), 2048, __VA_ARGS__)); \
	} while (0)

static void send_login(void)
{
	const struct client_login login = { .username = wire_text("anna"),
		                            .password = wire_text("Password12") };

	FRAME(client_frame_login, &login);
}

static void account_answers(enum account_effect effect, uint32_t user, uint32_t jti)
{
	struct cx_buf *buf = cx_buf_new(1);

	ANSWER(take(fake_account, ACCOUNT_REQUEST), ACCOUNT_ANSWER, struct account_answer, buf,
	       .effect = effect, .user = uuid_of(user), .jti = uuid_of(jti));
	cx_buf_unref(buf);
	take(ws, WS_SEND);
	quiet();
}

static void log_in_as(uint32_t user, uint32_t jti)
{
	send_login();
	account_answers(ACCOUNT_AUTHENTICATED, user, jti);
}

UNUSED static void log_in(void)
{
	log_in_as(1, 70);
}

/* The connection closes with that code; pings and pongs before it do not matter. */
UNUSED static void expect_closed(uint16_t code)
{
	for (;;) {
		const struct ws_control_msg *m =
			GOT(struct ws_control_msg, take(ws, WS_CONTROL));

		if (m->code == 0)
			continue;
		cr_assert_eq(m->code, code);
		return;
	}
}

static int closes(void)
{
	int n = 0;

	quiet();
	for (const struct got *g = fx.first; g != NULL; g = g->next)
		n += g->type == WS_CONTROL && GOT(struct ws_control_msg, g)->code != 0;
	return n;
}

#endif
