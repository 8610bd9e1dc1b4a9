/* SPDX-License-Identifier: MIT */
/* Calls on a connection: requests out, answers in, and what nghttp2 calls for them. */
#include <stdio.h>
#include <string.h>

#include "io/grpc_client_internal.h"

#define TRIES_MAX 3 /* of a call that peers refuse without carrying it out */

static struct grpc_out_call *call_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static uint32_t request_len(const struct grpc_out_call *call)
{
	return call->request == NULL ? 0 : (uint32_t)cx_buf_len(call->request);
}

/* By the stream's user data, never by source: the call may have ended meanwhile. */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct grpc_out_call *call = call_of(session, id);
	uint8_t prefix[GRPC_PREFIX_BYTES];
	uint32_t len;
	size_t at = 0, n;

	(void)source;
	if (call == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (!grpc_lane_may_send(call))
		return NGHTTP2_ERR_DEFERRED;
	len = request_len(call);
	if (call->sent < GRPC_PREFIX_BYTES) {
		grpc_prefix_write(prefix, len);
		at = GRPC_PREFIX_BYTES - call->sent;
		at = room < at ? room : at;
		memcpy(to, prefix + call->sent, at);
		call->sent += (uint32_t)at;
	}
	n = GRPC_PREFIX_BYTES + len - call->sent;
	n = room - at < n ? room - at : n;
	if (n > 0 && call->sent >= GRPC_PREFIX_BYTES) {
		memcpy(to + at, cx_buf_bytes(call->request) + call->sent - GRPC_PREFIX_BYTES,
		       n);
		call->sent += (uint32_t)n;
		at += n;
	}
	if (call->sent == GRPC_PREFIX_BYTES + len) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		grpc_lane_sent(data, call);
	}
	return (ssize_t)at;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value,
		             strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

int32_t grpc_client_request(struct grpc_client_conn *c, const char *path, const char *timeout,
                            nghttp2_data_source_read_callback read, void *user_data)
{
	const struct grpc_target *t = &c->client->targets[c->target];
	const nghttp2_data_provider provider = { .read_callback = read };
	const nghttp2_nv nva[] = {
		pair(":method", "POST"),
		pair(":scheme", t->is_tls ? "https" : "http"),
		pair(":path", path),
		pair(":authority", t->authority),
		pair("te", "trailers"),
		pair("content-type", "application/grpc"),
		pair("grpc-timeout", timeout == NULL ? "" : timeout),
	};

	c->is_dirty = true;
	return nghttp2_submit_request(c->t.session, NULL, nva,
	                              CX_COUNTOF(nva) - (timeout == NULL), &provider,
	                              user_data);
}

bool grpc_call_submit(struct grpc_client_conn *c, struct grpc_out_call *call)
{
	struct grpc_client *g = c->client;
	const uint64_t now_ms = cx_now_ms(g->ctx);
	char timeout[GRPC_TIMEOUT_CHARS];
	int32_t id = 0;

	if (!grpc_call_is_many(c, call)) {
		grpc_timeout_write(timeout,
		                   call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 0);
		id = grpc_client_request(c, call->method, timeout, on_read, call);
	}
	if (id < 0)
		return false;
	grpc_call_unlink(g, call);
	grpc_call_link(c, call);
	call->stream_id = id;
	call->tries++;
	call->http_status = 0;
	call->reader = (struct grpc_reader){ 0 };
	if (id == 0)
		grpc_many_submit(c, call);
	return true;
}

static void reset(struct grpc_out_call *call, uint32_t code)
{
	struct grpc_client_conn *c = call->conn;

	/* Nobody listens to this stream any more. */
	(void)nghttp2_session_set_stream_user_data(c->t.session, call->stream_id, NULL);
	if (nghttp2_submit_rst_stream(c->t.session, NGHTTP2_FLAG_NONE, call->stream_id, code) !=
	    0)
		c->is_failing = true;
	c->is_dirty = true;
}

static void give_up(struct grpc_client *g, struct grpc_out_call *call, enum grpc_status status,
                    const char *why)
{
	if (call->conn != NULL)
		call->conn->is_dirty = true; /* it may have been the last of one that leaves */
	if (call->conn != NULL && call->stream_id != 0)
		reset(call, NGHTTP2_CANCEL);
	grpc_call_finish(g, call, status, why);
}

void grpc_call_deadline(struct grpc_client *g, struct grpc_out_call *call)
{
	give_up(g, call, GRPC_DEADLINE_EXCEEDED, "the deadline is over");
}

/* By the table of the document "gRPC status codes" for answers without grpc-status. */
static enum grpc_status status_of_http(unsigned http)
{
	switch (http) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

static enum grpc_status status_of_reset(uint32_t code)
{
	switch (code) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

uint16_t grpc_http_status(struct wire_slice value)
{
	/* nghttp2 takes three digits only */
	return value.len != 3 ? 0
	                      : (uint16_t)((value.at[0] - '0') * 100 +
	                                   (value.at[1] - '0') * 10 + (value.at[2] - '0'));
}

static void take_header(struct grpc_out_call *call, struct wire_slice name,
                        struct wire_slice value)
{
	enum grpc_status status;

	if (wire_slice_is(name, ":status")) {
		call->http_status = grpc_http_status(value);
	} else if (wire_slice_is(name, "content-type")) {
		call->is_grpc = grpc_content_type_is_grpc(value);
	} else if (wire_slice_is(name, "grpc-status")) {
		if (!grpc_status_parse(value, &status))
			status = GRPC_UNKNOWN;
		call->status = (uint8_t)status;
		call->has_status = true;
	} else if (wire_slice_is(name, "grpc-message")) {
		grpc_message_decode(call->message, sizeof(call->message), value);
	}
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *data)
{
	struct grpc_out_call *call = call_of(session, frame->hd.stream_id);
	struct grpc_client_conn *c = data;

	(void)flags;
	if (frame->hd.stream_id == c->many.stream_id)
		grpc_many_header(c, wire_slice(name, name_len), wire_slice(value, value_len));
	else if (call != NULL)
		take_header(call, wire_slice(name, name_len), wire_slice(value, value_len));
	return 0;
}

/* False: the call was given up. */
static bool begin_message(struct grpc_client *g, struct grpc_out_call *call)
{
	if (call->msg != NULL || call->reader.is_compressed) {
		give_up(g, call, GRPC_INTERNAL, "the server sent what was not asked for");
		return false;
	}
	if (call->reader.len > g->conf.max_message_bytes) {
		give_up(g, call, GRPC_RESOURCE_EXHAUSTED, "the answer is too big");
		return false;
	}
	call->msg = cx_buf_new(call->reader.len);
	call->msg_len = 0;
	return true;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id,
                         const uint8_t *bytes, size_t len, void *data)
{
	struct grpc_client_conn *c = data;
	struct grpc_out_call *call = call_of(session, id);

	(void)flags;
	if (id == c->many.stream_id) {
		grpc_many_data(c, bytes, len);
		return 0;
	}
	if (call == NULL || !call->is_grpc || call->http_status != 200)
		return 0; /* a page of a proxy */
	while (len > 0) {
		struct wire_slice part;
		size_t used;
		const enum grpc_read read =
			grpc_reader_next(&call->reader, bytes, len, &used, &part);

		if (read == GRPC_READ_START && !begin_message(c->client, call))
			return 0;
		if (read == GRPC_READ_DATA) {
			memcpy(cx_buf_data(call->msg) + call->msg_len, part.at, part.len);
			call->msg_len += (uint32_t)part.len;
		}
		bytes += used;
		len -= used;
	}
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct grpc_client_conn *c = data;
	const uint8_t type = frame->hd.type;

	(void)session;
	if (type == NGHTTP2_SETTINGS) {
		grpc_conn_greeted(c);
	} else if (type == NGHTTP2_GOAWAY) {
		c->is_goaway = true;
	} else if ((type == NGHTTP2_HEADERS || type == NGHTTP2_DATA) &&
	           frame->hd.stream_id == c->many.stream_id) {
		if (type == NGHTTP2_HEADERS)
			grpc_many_headers_end(c);
		if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
			grpc_many_end(c);
	}
	return 0;
}

static void finish(struct grpc_client *g, struct grpc_out_call *call)
{
	enum grpc_status status = (enum grpc_status)call->status;

	if (status == GRPC_OK && (call->msg == NULL || !grpc_reader_is_idle(&call->reader))) {
		grpc_call_finish(g, call, GRPC_INTERNAL, "the answer has no whole message");
		return;
	}
	grpc_call_finish(g, call, status, call->message);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	struct grpc_client_conn *c = data;
	struct grpc_out_call *call = call_of(session, id);
	char text[40];

	if (id == c->many.stream_id)
		grpc_many_closed(c);
	if (call == NULL)
		return 0;
	if (call->has_status) {
		finish(c->client, call);
	} else if (code == NGHTTP2_REFUSED_STREAM && call->lane == NULL &&
	           call->tries < TRIES_MAX) { /* in a lane it would come behind later ones */
		grpc_call_again(c->client, call);
	} else if (call->http_status != 0 && code == NGHTTP2_NO_ERROR) {
		snprintf(text, sizeof(text), "HTTP status %u", call->http_status);
		grpc_call_finish(c->client, call, status_of_http(call->http_status), text);
	} else {
		snprintf(text, sizeof(text), "the server reset the call: %u", (unsigned)code);
		grpc_call_finish(c->client, call, status_of_reset(code), text);
	}
	return 0;
}

void grpc_client_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
