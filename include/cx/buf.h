/* SPDX-License-Identifier: MIT */
/* Reference-counted bytes: written once by the maker, then shared and immutable. */
#ifndef CX_BUF_H
#define CX_BUF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cx_buf; /* opaque */

/* A buffer of len bytes with one reference, which is the caller's.
 * Thread: any (pooled on a worker, malloc elsewhere).  Aborts when memory is out:
 * a size chosen by a peer must be capped by the caller before. */
struct cx_buf *cx_buf_new(size_t len);

/* cx_buf_new and copy. */
struct cx_buf *cx_buf_copy(const void *bytes, size_t len);

/* One more reference; returns buf.  NULL is taken and returned. */
struct cx_buf *cx_buf_ref(struct cx_buf *buf);

/* Gives one reference back; the last one frees.  NULL is allowed.  Thread: any. */
void cx_buf_unref(struct cx_buf *buf);

/* The bytes.  Write only while the only reference is yours. */
uint8_t *cx_buf_data(struct cx_buf *buf);
const uint8_t *cx_buf_bytes(const struct cx_buf *buf);
size_t cx_buf_len(const struct cx_buf *buf);

/* Makes the buffer shorter (len <= the present length).  Only by its maker, before sharing. */
void cx_buf_trim(struct cx_buf *buf, size_t len);

#ifdef __cplusplus
}
#endif
#endif
