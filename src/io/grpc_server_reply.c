/* SPDX-License-Identifier: MIT */
/* Answers: messages, then trailers with grpc-status; or the status alone (Trailers-Only). */
#include <stdlib.h>
#include <string.h>

#include "io/grpc_server_internal.h"

#define PIECES_MAX 64   /* of one stream: who asks and does not read is ended */
#define PIECES_A_CALL 2 /* the same, where many calls are on a stream */
#define PIECE_BYTES 96  /* of memory beside the bytes of a message, about */

static const char refusal[] = "this is a server of gRPC: POST application/grpc\n";

#define NV(name_text, value_text, value_len)                                             \
	{                                                                                \
		(uint8_t *)(uintptr_t)(name_text), (uint8_t *)(uintptr_t)(value_text),   \
			sizeof(name_text) - 1, (value_len), NGHTTP2_NV_FLAG_NO_COPY_NAME \
	}

static void failed(struct grpc_stream *s)
{
	s->conn->is_failing = true; /* out of memory: nothing better is left */
}

/* grpc-status, and what belongs to it, behind what stands in nva; the memory of the texts is given. */
struct status_text {
	char number[4];
	char message[GRPC_MESSAGE_CHARS];
};

static size_t add_status(const struct grpc_stream *s, struct status_text *text, nghttp2_nv *nva,
                         size_t n)
{
	size_t len = 1;

	text->number[0] = (char)('0' + s->status % 10);
	if (s->status >= 10) {
		text->number[0] = (char)('0' + s->status / 10);
		text->number[1] = (char)('0' + s->status % 10);
		len = 2;
	}
	nva[n++] = (nghttp2_nv)NV("grpc-status", text->number, len);
	len = grpc_message_encode(text->message, wire_text(s->message));
	if (len > 0)
		nva[n++] = (nghttp2_nv)NV("grpc-message", text->message, len);
	if (s->status == GRPC_UNIMPLEMENTED)
		nva[n++] = (nghttp2_nv)NV("grpc-accept-encoding", "identity", 8);
	return n;
}

static struct grpc_piece *take_piece(struct grpc_adapter *a)
{
	struct grpc_piece *p = a->free_pieces;

	if (p == NULL) {
		p = malloc(sizeof(*p));
		cx_assert(p != NULL);
	} else {
		a->free_pieces = p->next;
	}
	return p;
}

static void drop_first(struct grpc_stream *s)
{
	struct grpc_adapter *a = s->conn->adapter;
	struct grpc_piece *p = s->out_head;

	s->out_head = p->next;
	if (s->out_head == NULL)
		s->out_tail = NULL;
	s->out_at = 0;
	s->out_count--;
	s->conn->out_bytes -= p->len + PIECE_BYTES;
	cx_buf_unref(p->buf);
	p->next = a->free_pieces;
	a->free_pieces = p;
}

void grpc_out_drop(struct grpc_stream *s)
{
	while (s->out_head != NULL)
		drop_first(s);
}

/* Copy what fits of prefix and bytes of the first piece; true: it is done. */
static bool copy_first(struct grpc_stream *s, uint8_t *to, size_t room, size_t *used)
{
	const struct grpc_piece *p = s->out_head;
	uint8_t prefix[GRPC_PREFIX_BYTES];
	size_t n;

	if (s->out_at < GRPC_PREFIX_BYTES) {
		grpc_prefix_write(prefix, p->len);
		n = GRPC_PREFIX_BYTES - s->out_at;
		n = room < n ? room : n;
		memcpy(to, prefix + s->out_at, n);
		s->out_at += (uint32_t)n;
		*used = n;
		return s->out_at == GRPC_PREFIX_BYTES && p->len == 0;
	}
	n = p->len - (s->out_at - GRPC_PREFIX_BYTES);
	n = room < n ? room : n;
	if (n > 0)
		memcpy(to, cx_buf_bytes(p->buf) + (s->out_at - GRPC_PREFIX_BYTES), n);
	s->out_at += (uint32_t)n;
	*used = n;
	return s->out_at == GRPC_PREFIX_BYTES + p->len;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct grpc_stream *s = source->ptr;
	struct status_text text;
	nghttp2_nv nva[3];
	size_t at = 0, n;

	(void)data;
	while (s->out_head != NULL && at < room) {
		if (copy_first(s, to + at, room - at, &n))
			drop_first(s);
		at += n;
	}
	if (s->out_head == NULL && s->is_over) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		n = add_status(s, &text, nva, 0);
		if (nghttp2_submit_trailer(session, id, nva, n) != 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	} else if (at == 0) {
		s->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)at;
}

void grpc_go_on(struct grpc_stream *s)
{
	nghttp2_session *session = s->conn->t.session;
	const nghttp2_data_provider provider = { .source = { .ptr = s },
		                                 .read_callback = on_read };
	const nghttp2_nv nva[] = {
		NV(":status", "200", 3),
		NV("content-type", "application/grpc", 16),
	};

	grpc_mark_dirty(s->conn);
	if (!s->is_head_sent) {
		s->is_head_sent = true;
		if (nghttp2_submit_response(session, s->id, nva, CX_COUNTOF(nva), &provider) !=
		    0)
			failed(s);
		return;
	}
	if (!s->is_deferred)
		return;
	s->is_deferred = false;
	if (nghttp2_session_resume_data(session, s->id) != 0)
		failed(s);
}

static uint32_t pieces_max(const struct grpc_stream *s)
{
	return s->kind == GRPC_KIND_MANY
	               ? PIECES_A_CALL * s->conn->adapter->settings->max_streams
	               : PIECES_MAX;
}

bool grpc_push(struct grpc_stream *s, struct cx_buf *buf)
{
	struct grpc_piece *p;

	if (s->out_count >= pieces_max(s))
		return false;
	p = take_piece(s->conn->adapter);
	*p = (struct grpc_piece){
		.buf = cx_buf_ref(buf),
		.len = buf == NULL ? 0 : (uint32_t)cx_buf_len(buf),
	};
	if (s->out_tail != NULL)
		s->out_tail->next = p;
	else
		s->out_head = p;
	s->out_tail = p;
	s->out_count++;
	s->conn->out_bytes += p->len + PIECE_BYTES;
	if (grpc_stream_is_streaming(s))
		grpc_go_on(s); /* others follow with grpc_end at once */
	return true;
}

static void trailers_only(struct grpc_stream *s)
{
	struct status_text text;
	nghttp2_nv nva[5] = {
		NV(":status", "200", 3),
		NV("content-type", "application/grpc", 16),
	};
	const size_t n = add_status(s, &text, nva, 2);

	s->is_head_sent = true;
	grpc_mark_dirty(s->conn);
	if (nghttp2_submit_response(s->conn->t.session, s->id, nva, n, NULL) != 0)
		failed(s);
}

void grpc_end(struct grpc_stream *s, enum grpc_status status, const char *message)
{
	struct grpc_adapter *a = s->conn->adapter;
	size_t len;

	if (s->is_over)
		return; /* inv. 3 */
	len = message == NULL ? 0 : strnlen(message, GRPC_MESSAGE_BYTES_MAX);
	if (len > 0)
		memcpy(s->message, message, len);
	s->message[len] = '\0';
	s->status = (uint8_t)status;
	s->is_over = true;
	s->is_watching = false;
	s->phase = GRPC_PHASE_REPLY;
	s->conn->held_bytes -= s->held;
	s->held = 0;
	grpc_many_forget(s);
	grpc_count(&a->figures.replies, 1);
	if (status != GRPC_OK)
		grpc_count(&a->figures.errors, 1);
	if (!s->is_head_sent && s->out_head == NULL)
		trailers_only(s);
	else
		grpc_go_on(s);
}

static ssize_t on_read_text(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct grpc_stream *s = source->ptr;
	const size_t left = sizeof(refusal) - 1 - s->out_at;
	const size_t n = left < room ? left : room;

	(void)session;
	(void)id;
	(void)data;
	memcpy(to, refusal + s->out_at, n);
	s->out_at += (uint32_t)n;
	if (n == left)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

void grpc_refuse_http(struct grpc_stream *s, const char *status)
{
	const nghttp2_data_provider provider = { .source = { .ptr = s },
		                                 .read_callback = on_read_text };
	const nghttp2_nv nva[] = {
		NV(":status", status, 3),
		NV("content-type", "text/plain", 10),
	};

	s->is_over = s->is_head_sent = true;
	s->phase = GRPC_PHASE_REPLY;
	grpc_count(&s->conn->adapter->figures.errors, 1);
	grpc_mark_dirty(s->conn);
	if (nghttp2_submit_response(s->conn->t.session, s->id, nva, CX_COUNTOF(nva),
	                            &provider) != 0)
		failed(s);
}
