/* SPDX-License-Identifier: MIT */
/* Reference-counted bytes: written once by the maker, then shared and immutable. */
#ifndef CX_BUF_H
#define CX_BUF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Shared bytes, opaque.  Each reference is given back by cx_buf_unref, or travels with the message
 * in whose buf it stands. */
struct cx_buf;

/* A buffer of len bytes with one reference.  Ends the process when memory is out, also when len is more
 * than there can be: a size chosen by a peer must be capped by the caller before.
 * Thread: any (pooled on a worker, malloc elsewhere).
 * Returns the buffer, never NULL, its bytes not set; the reference is the caller's. */
struct cx_buf *cx_buf_new(size_t len);

/* cx_buf_new with len bytes copied into it.
 * Thread: any.
 * Keeps: nothing; bytes may be NULL when len is 0.
 * Returns the buffer, never NULL; the reference is the caller's. */
struct cx_buf *cx_buf_copy(const void *bytes, size_t len);

/* One more reference.
 * Thread: any that has a reference or borrows one.
 * Returns buf; NULL is taken and returned. */
struct cx_buf *cx_buf_ref(struct cx_buf *buf);

/* Gives one reference back; the last one frees.  NULL is allowed.
 * Thread: any.
 * Keeps: the caller's reference, which is gone. */
void cx_buf_unref(struct cx_buf *buf);

/* The bytes and their number.  Write only while the only reference is yours.
 * Thread: any that has a reference or borrows one.
 * Returns the first byte, valid as long as the reference, or the number of bytes. */
uint8_t *cx_buf_data(struct cx_buf *buf);
const uint8_t *cx_buf_bytes(const struct cx_buf *buf);
size_t cx_buf_len(const struct cx_buf *buf);

/* Makes the buffer shorter; len in bytes, at most the present length.
 * Thread: the maker's, before sharing. */
void cx_buf_trim(struct cx_buf *buf, size_t len);

#ifdef __cplusplus
}
#endif
#endif
