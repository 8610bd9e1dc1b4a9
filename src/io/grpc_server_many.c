/* SPDX-License-Identifier: MIT */
/* Many calls on one stream (wire/grpc_many.h).  No state for a call: the handle that comes back with the
 * reply has it all, and its end by a deadline is the caller's. */
#include <string.h>

#include "io/grpc_server_internal.h"
#include "wire/grpc_many.h"

void grpc_many_begin(struct grpc_stream *s)
{
	grpc_go_on(s);
}

void grpc_many_forget(struct grpc_stream *s)
{
	s->conn->many_calls -= s->calls;
	s->calls = 0;
}

static void answer(struct grpc_stream *s, uint64_t id, enum grpc_status status,
                   struct wire_slice message, struct wire_slice response)
{
	const struct grpc_many_answer a = { id, status, message, response };
	const size_t len = grpc_many_answer(NULL, 0, &a);
	struct cx_buf *buf = cx_buf_new(len);

	grpc_count(&s->conn->adapter->figures.replies, 1);
	if (status != GRPC_OK)
		grpc_count(&s->conn->adapter->figures.errors, 1);
	grpc_many_answer(cx_buf_data(buf), len, &a);
	if (!grpc_push(s, buf))
		grpc_end(s, GRPC_RESOURCE_EXHAUSTED, "answers are not read");
	cx_buf_unref(buf);
}

static void refuse(struct grpc_stream *s, uint64_t id, enum grpc_status status, const char *why)
{
	answer(s, id, status, wire_text(why), wire_slice(NULL, 0));
}

static void take_back(struct grpc_stream *s, uint32_t held)
{
	s->held -= held;
	s->conn->held_bytes -= held;
	s->calls--;
	s->conn->many_calls--;
	if (s->conn->phase == GRPC_CONN_OPEN)
		s->conn->since_ms = cx_now_ms(s->conn->adapter->ctx);
}

static void submit(struct grpc_stream *s, const struct grpc_many_request *r)
{
	const struct grpc_adapter *a = s->conn->adapter;
	const uint64_t max_ms = UINT64_C(1000) * a->settings->call_secs;
	const uint64_t ms =
		r->timeout_ms == 0 || r->timeout_ms > max_ms ? max_ms : r->timeout_ms;
	struct cx_buf *buf = cx_buf_copy(r->request.at, r->request.len);
	enum cx_err err;

	s->calls++;
	s->conn->many_calls++;
	err = grpc_dispatch(s, r->id, cx_now_ms(a->ctx) + ms, buf);
	if (err != CX_OK) {
		take_back(s, (uint32_t)cx_buf_len(buf));
		refuse(s, r->id, GRPC_UNAVAILABLE,
		       err == CX_EFULL ? "busy, try again later" : "the service has ended");
	}
	cx_buf_unref(buf);
}

void grpc_many_take(struct grpc_stream *s, struct wire_slice message)
{
	struct grpc_conn *c = s->conn;
	struct grpc_many_request r;

	grpc_count(&c->adapter->figures.calls, 1);
	grpc_count(&c->adapter->figures.many, 1);
	if (!grpc_many_read_request(message, &r)) {
		/* The connection, too: else what is under way would not count any more. */
		grpc_end(s, GRPC_INVALID_ARGUMENT, "not a request of this method");
		c->is_failing = true;
	} else if (s->is_last_due) {
		refuse(s, r.id, GRPC_UNAVAILABLE, "the server ends");
	} else if (r.request.at == NULL) {
		refuse(s, r.id, GRPC_INVALID_ARGUMENT, "there is no request");
	} else if (c->many_calls >= c->adapter->settings->max_streams) {
		refuse(s, r.id, GRPC_RESOURCE_EXHAUSTED, "too many calls at once");
	} else {
		submit(s, &r);
	}
}

static void end_with_last(struct grpc_stream *s)
{
	if (!s->is_last_due || s->calls > 0)
		return;
	if (s->is_input_over)
		grpc_end(s, GRPC_OK, NULL);
	else /* what the peer has sent meanwhile has no answer */
		grpc_end(s, GRPC_UNAVAILABLE, "the server ends");
}

void grpc_many_reply(struct grpc_stream *s, const struct grpc_handle *handle,
                     enum grpc_status status, const char *message, struct cx_buf *buf)
{
	const struct wire_slice response =
		buf == NULL ? wire_slice(NULL, 0)
			    : wire_slice(cx_buf_bytes(buf), cx_buf_len(buf));

	take_back(s, handle->held);
	answer(s, handle->id, status, wire_text(message), response);
	end_with_last(s);
}

void grpc_many_finish(struct grpc_stream *s)
{
	s->is_last_due = true;
	end_with_last(s);
}
