/* SPDX-License-Identifier: MIT */
/* Requests: streams, their headers and messages, until the service or a builtin has them. */
#include <stdlib.h>
#include <string.h>

#include "io/grpc_server_internal.h"
#include "wire/grpc_many.h"

static void add_chunk(struct grpc_adapter *a)
{
	const uint32_t first = a->chunk_count * GRPC_STREAM_CHUNK;
	struct grpc_stream **list =
		realloc(a->chunks, (a->chunk_count + 1) * sizeof(struct grpc_stream *));
	struct grpc_stream *chunk = calloc(GRPC_STREAM_CHUNK, sizeof(*chunk));

	cx_assert(list != NULL && chunk != NULL);
	a->chunks = list;
	a->chunks[a->chunk_count++] = chunk;
	for (uint32_t i = GRPC_STREAM_CHUNK; i-- > 0;) {
		chunk[i].index = first + i;
		chunk[i].next = a->free_streams;
		a->free_streams = &chunk[i];
	}
}

static struct grpc_stream *stream_new(struct grpc_conn *c, int32_t id)
{
	struct grpc_adapter *a = c->adapter;
	struct grpc_stream *s;
	struct cx_timer timer;

	if (a->free_streams == NULL)
		add_chunk(a);
	s = a->free_streams;
	a->free_streams = s->next;
	timer = s->timer; /* its seq tells stale messages from its next life */
	*s = (struct grpc_stream){
		.conn = c,
		.id = id,
		.index = s->index,
		.gen = s->gen,
		.phase = GRPC_PHASE_HEAD,
		.timer = timer,
		.next = c->streams,
	};
	if (s->next != NULL)
		s->next->prev = s;
	c->streams = s;
	c->stream_count++;
	return s;
}

struct grpc_stream *grpc_stream_at(struct grpc_adapter *a, uint32_t index, uint32_t gen)
{
	struct grpc_stream *s;

	if (index >= a->chunk_count * GRPC_STREAM_CHUNK)
		return NULL;
	s = &a->chunks[index / GRPC_STREAM_CHUNK][index % GRPC_STREAM_CHUNK];
	return s->phase != GRPC_PHASE_FREE && s->gen == gen ? s : NULL;
}

/* What a message of this length counts against GRPC_PARTIAL_MAX.  Small ones do not: their number is
 * bounded by the streams, and big ones that do not come must not keep them out. */
static uint32_t partial_of(size_t len)
{
	return len <= GRPC_SMALL_MAX ? 0 : (uint32_t)len;
}

static void drop_partial(struct grpc_stream *s)
{
	if (s->msg == NULL)
		return;
	s->conn->partial_bytes -= partial_of(cx_buf_len(s->msg));
	cx_buf_unref(s->msg);
	s->msg = NULL;
}

void grpc_stream_free(struct grpc_stream *s)
{
	struct grpc_conn *c = s->conn;
	struct grpc_adapter *a = c->adapter;

	cx_timer_cancel(a->ctx, &s->timer);
	drop_partial(s);
	grpc_out_drop(s);
	c->held_bytes -= s->held;
	grpc_many_forget(s);
	if (s->next != NULL)
		s->next->prev = s->prev;
	if (s->prev != NULL)
		s->prev->next = s->next;
	else
		c->streams = s->next;
	c->stream_count--;
	if (c->phase == GRPC_CONN_OPEN)
		c->since_ms = cx_now_ms(a->ctx);
	s->phase = GRPC_PHASE_FREE;
	s->gen++;
	s->prev = NULL;
	s->next = a->free_streams;
	a->free_streams = s;
}

static void count_ping(struct grpc_conn *c)
{
	const uint64_t now_ms = cx_now_ms(c->adapter->ctx);
	const uint64_t elapsed_ms = now_ms - c->bucket_ms;
	const uint64_t fresh = elapsed_ms >= 1000 * GRPC_PINGS_BURST / GRPC_PINGS_A_SECOND
	                               ? GRPC_PINGS_BURST
	                               : elapsed_ms * GRPC_PINGS_A_SECOND / 1000;

	if (fresh > 0) {
		c->ping_tokens += (uint32_t)fresh;
		c->ping_tokens =
			c->ping_tokens < GRPC_PINGS_BURST ? c->ping_tokens : GRPC_PINGS_BURST;
		c->bucket_ms = now_ms;
	}
	if (c->ping_tokens > 0) {
		c->ping_tokens--;
		return;
	}
	grpc_count(&c->adapter->figures.flooded, 1);
	if (nghttp2_session_terminate_session(c->t.session, NGHTTP2_ENHANCE_YOUR_CALM) != 0)
		c->is_failing = true;
}

static void take_timeout(struct grpc_stream *s, struct wire_slice value)
{
	const uint64_t now_ms = cx_now_ms(s->conn->adapter->ctx);
	uint64_t ms;

	if (!grpc_timeout_parse(value, &ms)) {
		s->is_bad_timeout = true;
		return;
	}
	s->has_timeout = true;
	s->deadline_ms = now_ms + ms;
}

static void take_header(struct grpc_stream *s, struct wire_slice name, struct wire_slice value)
{
	s->header_bytes += (uint32_t)(name.len + value.len) + 32;
	if (wire_slice_is(name, ":method"))
		s->is_post = wire_slice_is(value, "POST");
	else if (wire_slice_is(name, ":path"))
		s->kind = (uint8_t)grpc_method_find(s->conn->adapter, value, &s->method);
	else if (wire_slice_is(name, "content-type"))
		s->is_grpc = grpc_content_type_is_grpc(value);
	else if (wire_slice_is(name, "grpc-timeout"))
		take_timeout(s, value);
}

bool grpc_stream_is_streaming(const struct grpc_stream *s)
{
	return s->kind == GRPC_KIND_HEALTH_WATCH || s->kind == GRPC_KIND_REFLECTION ||
	       s->kind == GRPC_KIND_MANY;
}

/* Every call ends: by the caller's deadline or ours.  Streams without a deadline may last. */
static void arm_deadline(struct grpc_stream *s)
{
	struct grpc_adapter *a = s->conn->adapter;
	const uint64_t now_ms = cx_now_ms(a->ctx);
	const uint64_t max_ms = now_ms + UINT64_C(1000) * a->settings->call_secs;

	if (grpc_stream_is_streaming(s) && !s->has_timeout) {
		cx_timer_cancel(a->ctx, &s->timer);
		return;
	}
	if (!s->has_timeout || (s->deadline_ms > max_ms && !grpc_stream_is_streaming(s)))
		s->deadline_ms = max_ms;
	cx_timer_arm(a->ctx, &s->timer, s->deadline_ms - now_ms, TIMER_B);
}

/* The headers are whole. */
static void begin_call(struct grpc_stream *s)
{
	struct grpc_adapter *a = s->conn->adapter;

	grpc_count(&a->figures.calls, 1);
	s->phase = GRPC_PHASE_BODY;
	arm_deadline(s);
	if (!s->is_post)
		grpc_refuse_http(s, "405");
	else if (!s->is_grpc)
		grpc_refuse_http(s, "415");
	else if (s->header_bytes > GRPC_HEADER_LIST_MAX)
		grpc_end(s, GRPC_RESOURCE_EXHAUSTED, "too many header bytes");
	else if (s->is_bad_timeout)
		grpc_end(s, GRPC_INTERNAL, "grpc-timeout cannot be read");
	else if (s->kind == GRPC_KIND_NONE)
		grpc_end(s, GRPC_UNIMPLEMENTED, "no such method");
	else if (grpc_stream_is_streaming(s) && a->is_draining)
		grpc_end(s, GRPC_UNAVAILABLE, "the server ends");
	else if (s->kind == GRPC_KIND_MANY)
		grpc_many_begin(s);
}

enum cx_err grpc_dispatch(struct grpc_stream *s, uint64_t id, uint64_t deadline_ms,
                          struct cx_buf *buf)
{
	struct grpc_adapter *a = s->conn->adapter;
	struct grpc_call *m = CX_MSG_NEW(a->ctx, GRPC_CALL, struct grpc_call);
	const uint32_t held = (uint32_t)cx_buf_len(buf);

	m->handle = (struct grpc_handle){ a->self, s->index, s->gen, held, id };
	m->deadline_ms = deadline_ms;
	m->method = s->method;
	m->hdr.buf = cx_buf_ref(buf);
	s->held += held;
	s->conn->held_bytes += held;
	return cx_send(a->ctx, a->settings->service[a->index], &m->hdr);
}

static void dispatch(struct grpc_stream *s)
{
	struct cx_buf *buf = s->msg;
	enum cx_err err;

	s->conn->partial_bytes -= partial_of(cx_buf_len(buf));
	s->msg = NULL;
	s->phase = GRPC_PHASE_SERVICE;
	err = grpc_dispatch(s, 0, s->deadline_ms, buf);
	cx_buf_unref(buf);
	switch (err) {
	case CX_OK:
		break;
	case CX_EFULL:
		grpc_end(s, GRPC_UNAVAILABLE, "busy, try again later");
		break;
	default:
		grpc_end(s, GRPC_UNAVAILABLE, "the service has ended");
		break;
	}
}

static void end_input(struct grpc_stream *s)
{
	s->is_input_over = true;
	if (s->is_over)
		return;
	if (!grpc_reader_is_idle(&s->reader))
		grpc_end(s, GRPC_INTERNAL, "the message is cut off");
	else if (s->kind == GRPC_KIND_REFLECTION)
		grpc_end(s, GRPC_OK, NULL);
	else if (s->kind == GRPC_KIND_MANY)
		grpc_many_finish(s);
	else if (s->msg == NULL)
		grpc_end(s, GRPC_UNIMPLEMENTED, "a call of this method has one message");
	else if (s->kind == GRPC_KIND_SERVICE)
		dispatch(s);
	else
		grpc_builtin(s);
}

static uint32_t request_max(const struct grpc_stream *s)
{
	const uint32_t max = s->conn->adapter->settings->max_message_bytes;

	switch ((enum grpc_kind)s->kind) {
	case GRPC_KIND_SERVICE:
		return max;
	case GRPC_KIND_MANY:
		return max < UINT32_MAX - GRPC_MANY_HEAD_MAX ? max + GRPC_MANY_HEAD_MAX : max;
	default:
		return GRPC_REFLECTION_REQUEST_MAX;
	}
}

static void begin_message(struct grpc_stream *s)
{
	struct grpc_conn *c = s->conn;
	const uint32_t len = s->reader.len;
	const uint32_t max = request_max(s);

	if (s->reader.is_compressed)
		grpc_end(s, GRPC_UNIMPLEMENTED, "compressed messages are not taken");
	else if (s->msg != NULL)
		grpc_end(s, GRPC_UNIMPLEMENTED, "a call of this method has one message");
	else if (len > max)
		grpc_end(s, GRPC_RESOURCE_EXHAUSTED, "the message is too big");
	else if (c->partial_bytes + partial_of(len) > GRPC_PARTIAL_MAX)
		grpc_end(s, GRPC_RESOURCE_EXHAUSTED, "too many big messages at once");
	if (s->is_over)
		return;
	s->msg = cx_buf_new(len);
	s->msg_len = 0;
	c->partial_bytes += partial_of(len);
}

static void on_whole(struct grpc_stream *s)
{
	if (s->kind == GRPC_KIND_MANY)
		grpc_many_take(s, wire_slice(cx_buf_bytes(s->msg), cx_buf_len(s->msg)));
	else if (s->kind == GRPC_KIND_REFLECTION)
		grpc_builtin(s);
	else
		return; /* its END_STREAM has to come, and nothing else before */
	drop_partial(s);
}

/* Messages that lie whole in these bytes are not put together first.  Returns what was used. */
static size_t take_whole(struct grpc_stream *s, const uint8_t *bytes, size_t len)
{
	struct wire_slice message;
	size_t used = 0;

	while (!s->is_over && grpc_reader_is_idle(&s->reader) &&
	       grpc_whole_message(wire_slice(bytes + used, len - used), &message) &&
	       message.len <= request_max(s)) {
		grpc_many_take(s, message);
		used += GRPC_PREFIX_BYTES + message.len;
	}
	return used;
}

static void take_data(struct grpc_stream *s, const uint8_t *bytes, size_t len)
{
	while (len > 0 && !s->is_over) {
		struct wire_slice data;
		size_t used = s->kind == GRPC_KIND_MANY ? take_whole(s, bytes, len) : 0;

		bytes += used;
		len -= used;
		if (len == 0 || s->is_over)
			break;
		switch (grpc_reader_next(&s->reader, bytes, len, &used, &data)) {
		case GRPC_READ_MORE:
			break;
		case GRPC_READ_START:
			begin_message(s);
			if (!s->is_over && s->reader.left == 0)
				on_whole(s);
			break;
		case GRPC_READ_DATA:
			memcpy(cx_buf_data(s->msg) + s->msg_len, data.at, data.len);
			s->msg_len += (uint32_t)data.len;
			if (s->reader.left == 0)
				on_whole(s);
			break;
		}
		bytes += used;
		len -= used;
	}
	if (s->is_over)
		drop_partial(s);
}

void grpc_deadline(struct grpc_stream *s)
{
	struct grpc_conn *c = s->conn;

	grpc_count(&c->adapter->figures.deadlines, 1);
	if (s->phase == GRPC_PHASE_HEAD) {
		c->is_failing = true; /* half a header block: nothing else can be said on it */
	} else if (!s->is_over) {
		grpc_end(s, GRPC_DEADLINE_EXCEEDED, "the deadline is over");
		/* For the answer to leave; then the stream goes, whatever the peer does. */
		cx_timer_arm(c->adapter->ctx, &s->timer, 10000, TIMER_B);
	} else if (nghttp2_submit_rst_stream(c->t.session, NGHTTP2_FLAG_NONE, s->id,
	                                     NGHTTP2_CANCEL) != 0) {
		c->is_failing = true;
	}
	grpc_mark_dirty(c);
}

/* What nghttp2 calls.  user_data: the connection; the stream's own data: ours, or NULL. */

static struct grpc_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct grpc_conn *c = data;
	struct grpc_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = stream_new(c, frame->hd.stream_id);
	arm_deadline(s);
	return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *data)
{
	struct grpc_stream *s = stream_of(session, frame->hd.stream_id);

	(void)flags;
	(void)data;
	if (s != NULL && s->phase == GRPC_PHASE_HEAD)
		take_header(s, wire_slice(name, name_len), wire_slice(value, value_len));
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id,
                         const uint8_t *bytes, size_t len, void *data)
{
	struct grpc_conn *c = data;
	struct grpc_stream *s = stream_of(session, id);

	(void)flags;
	c->unconsumed += len;
	if (s == NULL)
		return nghttp2_session_consume_stream(session, id, len);
	if (!s->is_over)
		take_data(s, bytes, len);
	/* What a call may still send is bounded by its message, whose memory is counted. */
	return nghttp2_session_consume_stream(session, id, len);
}

static void on_settings(struct grpc_conn *c)
{
	if (c->phase != GRPC_CONN_OPENING)
		return;
	c->phase = GRPC_CONN_OPEN;
	c->since_ms = cx_now_ms(c->adapter->ctx);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct grpc_conn *c = data;
	struct grpc_stream *s;

	switch (frame->hd.type) {
	case NGHTTP2_SETTINGS:
		on_settings(c);
		return 0;
	case NGHTTP2_PING:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
			grpc_say_goodbye(c);
		else
			count_ping(c);
		return 0;
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		break;
	default:
		return 0;
	}
	s = stream_of(session, frame->hd.stream_id);
	if (s == NULL)
		return 0;
	if (s->phase == GRPC_PHASE_HEAD)
		begin_call(s);
	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
		end_input(s);
	return 0;
}

/* The answer is out and the peer still sends: it may stop.  (Not after DATA, which ends the answer to
 * those who do not speak gRPC: what they send until their deadline is dropped.) */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	const struct grpc_stream *s;

	(void)data;
	if (frame->hd.type != NGHTTP2_HEADERS ||
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return 0;
	s = stream_of(session, frame->hd.stream_id);
	if (s == NULL || s->is_input_over)
		return 0;
	return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
	                                 NGHTTP2_NO_ERROR);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	struct grpc_stream *s = stream_of(session, id);

	(void)code;
	(void)data;
	if (s != NULL)
		grpc_stream_free(s);
	return 0;
}

void grpc_call_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
