/* SPDX-License-Identifier: MIT */
/* Errors of the actor library: one table makes codes, names and texts. */
#ifndef CX_ERR_H
#define CX_ERR_H

/* The table of errors: XX(name, text) for each. */
#define CX_ERR_MAP(XX)                                      \
	XX(OK, "ok")                                        \
	XX(ENOMEM, "out of memory, or over a size limit")   \
	XX(EFULL, "mailbox or queue is full, try later")    \
	XX(EGONE, "the actor does not exist any more")      \
	XX(ETIMEOUT, "no answer before the deadline")       \
	XX(EINVAL, "the caller gave a value it must not")   \
	XX(EPROTO, "a peer sent what the protocol forbids") \
	XX(EIO, "an outside system failed")

/* The result of a call.  Out-parameters are written on CX_OK only. */
enum cx_err {
#define CX_ERR_ENUM(name, text) CX_##name,
	CX_ERR_MAP(CX_ERR_ENUM)
#undef CX_ERR_ENUM
		CX_ERR_COUNT
};

/* Marks a function whose result must be looked at. */
#define CX_NODISCARD __attribute__((warn_unused_result))

#ifdef __cplusplus
extern "C" {
#endif

/* The code's name ("CX_EFULL") and its text.
 * Thread: any.
 * Returns a constant text, never NULL. */
const char *cx_err_name(enum cx_err err);
const char *cx_err_text(enum cx_err err);

#ifdef __cplusplus
}
#endif
#endif
