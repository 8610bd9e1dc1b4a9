/* SPDX-License-Identifier: MIT */
/* Many calls on one stream of a connection (wire/grpc_many.h).  It is asked for with the connection's first
 * bytes; a server that does not offer it says UNIMPLEMENTED, and calls have streams of their own.  When
 * the stream ends the connection does. */
#include <string.h>

#include <cx/log.h>

#include "io/grpc_client_internal.h"

static void take_due(struct grpc_client_conn *c)
{
	struct grpc_many *m = &c->many;
	struct grpc_out_call *call = m->due_head;
	const uint64_t now_ms = cx_now_ms(c->client->ctx);

	m->now = cx_buf_ref(call->request);
	m->now_len = call->request == NULL ? 0 : (uint32_t)cx_buf_len(call->request);
	m->now_at = 0;
	m->head_len = (uint8_t)grpc_many_head(
		m->head, grpc_call_id(call),
		call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 1, m->now_len);
	m->head_at = 0;
	grpc_many_leave(c, call);
}

static size_t copy_some(uint8_t *to, size_t room, const uint8_t *from, size_t left)
{
	const size_t n = room < left ? room : left;

	if (n > 0)
		memcpy(to, from, n);
	return n;
}

/* What fits of the request being written. */
static size_t copy_now(struct grpc_many *m, uint8_t *to, size_t room)
{
	const size_t head =
		copy_some(to, room, m->head + m->head_at, (size_t)(m->head_len - m->head_at));
	size_t body = 0;

	m->head_at = (uint8_t)(m->head_at + head);
	if (m->now_len > 0)
		body = copy_some(to + head, room - head, cx_buf_bytes(m->now) + m->now_at,
		                 m->now_len - m->now_at);
	m->now_at += (uint32_t)body;
	if (m->head_at == m->head_len && m->now_at == m->now_len) {
		cx_buf_unref(m->now);
		m->now = NULL;
		m->head_len = m->head_at = 0;
	}
	return head + body;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct grpc_client_conn *c = data;
	struct grpc_many *m = &c->many;
	size_t at = 0;

	(void)session;
	(void)id;
	(void)flags;
	(void)source;
	while (at < room && (m->head_len > 0 || m->due_head != NULL)) {
		if (m->head_len == 0)
			take_due(c);
		at += copy_now(m, to + at, room - at);
	}
	if (at > 0)
		return (ssize_t)at;
	m->is_deferred = true;
	return NGHTTP2_ERR_DEFERRED;
}

bool grpc_many_open(struct grpc_client_conn *c)
{
	if (c->client->conf.many_by == NULL)
		return true;
	c->many.stream_id =
		grpc_client_request(c, c->client->conf.many_by, NULL, on_read, NULL);
	c->many.state = GRPC_MANY_ASKED;
	return c->many.stream_id > 0;
}

void grpc_many_submit(struct grpc_client_conn *c, struct grpc_out_call *call)
{
	struct grpc_many *m = &c->many;

	call->is_many_due = true;
	call->many_next = NULL;
	call->many_prev = m->due_tail;
	if (m->due_tail != NULL)
		m->due_tail->many_next = call;
	else
		m->due_head = call;
	m->due_tail = call;
	c->is_dirty = true;
	if (!m->is_deferred)
		return;
	m->is_deferred = false;
	if (nghttp2_session_resume_data(c->t.session, m->stream_id) != 0)
		c->is_failing = true;
}

void grpc_many_leave(struct grpc_client_conn *c, struct grpc_out_call *call)
{
	struct grpc_many *m = &c->many;

	if (!call->is_many_due)
		return;
	call->is_many_due = false;
	if (call->many_prev != NULL)
		call->many_prev->many_next = call->many_next;
	else
		m->due_head = call->many_next;
	if (call->many_next != NULL)
		call->many_next->many_prev = call->many_prev;
	else
		m->due_tail = call->many_prev;
}

static void go_without(struct grpc_client_conn *c, const char *why)
{
	cx_log(CX_INFO, "grpc.calls_apart", "why=\"%s\"", why);
	c->many.state = GRPC_MANY_NONE;
	grpc_conn_look(c);
}

void grpc_many_give_up(struct grpc_client_conn *c)
{
	struct grpc_many *m = &c->many;

	if (m->state != GRPC_MANY_ASKED)
		return;
	if (nghttp2_submit_rst_stream(c->t.session, NGHTTP2_FLAG_NONE, m->stream_id,
	                              NGHTTP2_CANCEL) != 0)
		c->is_failing = true;
	c->is_dirty = true;
	m->stream_id = 0; /* nobody listens to it any more */
	go_without(c, "no word about a stream of calls");
}

void grpc_many_header(struct grpc_client_conn *c, struct wire_slice name,
                      struct wire_slice value)
{
	struct grpc_many *m = &c->many;
	enum grpc_status status;

	if (wire_slice_is(name, ":status")) {
		m->http_status = grpc_http_status(value);
	} else if (wire_slice_is(name, "content-type")) {
		m->is_grpc = grpc_content_type_is_grpc(value);
	} else if (wire_slice_is(name, "grpc-status")) {
		m->has_status = true;
		m->status = grpc_status_parse(value, &status) ? (uint8_t)status : GRPC_UNKNOWN;
	}
}

void grpc_many_headers_end(struct grpc_client_conn *c)
{
	struct grpc_many *m = &c->many;

	if (m->state != GRPC_MANY_ASKED || m->has_status || m->http_status != 200 ||
	    !m->is_grpc)
		return; /* its end tells */
	m->state = GRPC_MANY_OPEN;
	grpc_conn_look(c);
}

static void take_answer(struct grpc_client_conn *c, struct wire_slice bytes)
{
	struct grpc_client *g = c->client;
	struct grpc_many_answer a;
	char message[GRPC_MESSAGE_BYTES_MAX + 1];
	struct grpc_out_call *call;
	size_t len;

	if (!grpc_many_read_answer(bytes, &a)) {
		c->is_failing = true;
		return;
	}
	call = grpc_call_of_id(g, a.id);
	if (call == NULL || call->conn != c || call->stream_id != 0)
		return; /* it came too late */
	len = copy_some((uint8_t *)message, sizeof(message) - 1, a.message.at, a.message.len);
	message[len] = '\0';
	if (a.status == GRPC_OK)
		call->msg = cx_buf_copy(a.response.at, a.response.len);
	grpc_call_finish(g, call, a.status, message);
}

/* False: it breaks the protocol. */
static bool begin_answer(struct grpc_client_conn *c)
{
	struct grpc_many *m = &c->many;

	if (m->reader.is_compressed ||
	    m->reader.len > (uint64_t)c->client->conf.max_message_bytes + GRPC_MANY_ROOM)
		return false;
	m->msg = cx_buf_new(m->reader.len);
	m->msg_len = 0;
	return true;
}

/* An answer that does not lie whole in these bytes: the next part of it.  Returns what was used. */
static size_t take_part(struct grpc_client_conn *c, const uint8_t *bytes, size_t len)
{
	struct grpc_many *m = &c->many;
	struct wire_slice part;
	size_t used;
	const enum grpc_read read = grpc_reader_next(&m->reader, bytes, len, &used, &part);

	if (read == GRPC_READ_START && !begin_answer(c)) {
		c->is_failing = true;
		return len;
	}
	if (read == GRPC_READ_DATA) {
		memcpy(cx_buf_data(m->msg) + m->msg_len, part.at, part.len);
		m->msg_len += (uint32_t)part.len;
	}
	if (read != GRPC_READ_MORE && m->reader.left == 0) {
		take_answer(c, wire_slice(cx_buf_bytes(m->msg), m->msg_len));
		cx_buf_unref(m->msg);
		m->msg = NULL;
	}
	return used;
}

void grpc_many_data(struct grpc_client_conn *c, const uint8_t *bytes, size_t len)
{
	struct grpc_many *m = &c->many;
	struct wire_slice message;

	while (len > 0 && m->state == GRPC_MANY_OPEN && !c->is_failing) {
		size_t used;

		if (grpc_reader_is_idle(&m->reader) &&
		    grpc_whole_message(wire_slice(bytes, len), &message)) {
			take_answer(c, message);
			used = GRPC_PREFIX_BYTES + message.len;
		} else {
			used = take_part(c, bytes, len);
		}
		bytes += used;
		len -= used;
	}
}

void grpc_many_end(struct grpc_client_conn *c)
{
	if (nghttp2_submit_rst_stream(c->t.session, NGHTTP2_FLAG_NONE, c->many.stream_id,
	                              NGHTTP2_NO_ERROR) != 0)
		c->is_failing = true;
	c->is_dirty = true;
	grpc_many_closed(c);
}

static bool has_calls_of_it(const struct grpc_client_conn *c)
{
	const struct grpc_out_call *call = c->calls;

	while (call != NULL && call->stream_id != 0)
		call = call->next;
	return call != NULL;
}

void grpc_many_closed(struct grpc_client_conn *c)
{
	struct grpc_many *m = &c->many;
	const bool is_busy = m->has_status && m->status == GRPC_UNAVAILABLE;

	m->stream_id = 0;
	if (m->state == GRPC_MANY_ASKED && !is_busy)
		go_without(c, "the server takes no stream of calls");
	else if (!c->is_goaway || has_calls_of_it(c))
		c->is_failing = m->is_lost = true; /* what is on it has no answer */
}

void grpc_many_free(struct grpc_client_conn *c)
{
	struct grpc_many *m = &c->many;

	cx_assert(m->due_head == NULL); /* its calls have ended */
	cx_buf_unref(m->now);
	cx_buf_unref(m->msg);
	*m = (struct grpc_many){ 0 };
}
