/* SPDX-License-Identifier: MIT */
/* Pending asks of one worker's actors.  corr = sequence << 24 | place in the table; an answer counts
 * while its place still holds this corr, so corr never means another ask. */
#include <stdlib.h>
#include <string.h>

#include "runtime/internal.h"

#define PAGE 256
#define PLACE_BITS 24
#define PLACE_MASK ((UINT64_C(1) << PLACE_BITS) - 1)

static void add_page(struct cx_worker *w)
{
	const size_t pages = (size_t)w->ask_page_count + 1;
	struct cx__ask **list = realloc(w->ask_pages, pages * sizeof(struct cx__ask *));
	struct cx__ask *page = calloc(PAGE, sizeof(*page));

	if (list == NULL || page == NULL)
		cx__out_of_memory("pending asks", pages * sizeof(*list) + PAGE * sizeof(*page));
	cx_assert(pages * PAGE <= PLACE_MASK);
	list[w->ask_page_count] = page;
	w->ask_pages = list;
	for (unsigned i = PAGE; i-- > 0;) {
		page[i].deadline.seq = w->ask_page_count * PAGE + i; /* its place, for good */
		page[i].next = w->ask_free;
		w->ask_free = &page[i];
	}
	w->ask_page_count++;
}

uint64_t cx__ask_open(struct cx_worker *w, struct cx__actor *a, uint32_t timeout_ms)
{
	struct cx__ask *ask;

	if (w->ask_free == NULL)
		add_page(w);
	ask = w->ask_free;
	w->ask_free = ask->next;
	ask->corr = ++w->ask_seq << PLACE_BITS | ask->deadline.seq;
	ask->actor = a;
	ask->next = a->asks;
	ask->prev = &a->asks;
	if (ask->next != NULL)
		ask->next->prev = &ask->next;
	a->asks = ask;
	ask->deadline.msg_type = 0;
	ask->deadline.due_ms = cx__now_ms(w) + timeout_ms + 1;
	cx__wheel_add(&w->wheel, &ask->deadline);
	return ask->corr;
}

static void release(struct cx_worker *w, struct cx__ask *ask)
{
	*ask->prev = ask->next;
	if (ask->next != NULL)
		ask->next->prev = ask->prev;
	ask->corr = 0;
	ask->next = w->ask_free;
	w->ask_free = ask;
}

bool cx__ask_close(struct cx_worker *w, const struct cx__actor *a, uint64_t corr)
{
	const uint64_t place = corr & PLACE_MASK;
	struct cx__ask *ask;

	if (place >= (uint64_t)w->ask_page_count * PAGE)
		return false;
	ask = &w->ask_pages[place / PAGE][place % PAGE];
	if (corr == 0 || ask->corr != corr || ask->actor != a)
		return false;
	cx__wheel_remove(&w->wheel, &ask->deadline);
	release(w, ask);
	return true;
}

void cx__ask_expired(struct cx_worker *w, struct cx_timer *deadline)
{
	struct cx__ask *ask = (struct cx__ask *)(void *)deadline; /* first member */
	struct cx__actor *a = ask->actor;
	struct cx_msg_error *m =
		(struct cx_msg_error *)(void *)cx__msg_new(w, CX_MSG_ERROR, sizeof(*m));
	const struct cx_ref to = { a->slot, atomic_load_explicit(&cx__front(a)->gen,
		                                                 memory_order_relaxed) };
	enum cx_err err;

	m->hdr.corr = ask->corr;
	m->hdr.flags = CX__ANSWER | CX__FINAL;
	m->err = CX_ETIMEOUT;
	release(w, ask);
	err = cx__deliver(w->rt, w, to, &m->hdr, CX__CONTROL);
	cx_assert(err == CX_OK); /* asks end with their actor, on this worker */
}

void cx__ask_close_all(struct cx_worker *w, struct cx__actor *a)
{
	while (a->asks != NULL) {
		cx__wheel_remove(&w->wheel, &a->asks->deadline);
		release(w, a->asks);
	}
}

enum cx_err cx_ask(struct cx_ctx *ctx, struct cx_ref to, struct cx_msg *msg,
                   uint32_t timeout_ms, uint64_t *corr)
{
	struct cx__actor *a = ctx->actor;
	uint64_t opened;
	enum cx_err err;

	cx_assert(cx__front(a)->kind->type->placement != CX_PLACE_ANY);
	opened = cx__ask_open(ctx->worker, a, timeout_ms);
	msg->corr = opened;
	msg->flags = CX__ASK;
	err = cx_send(ctx, to, msg);
	if (err != CX_OK) {
		cx_ask_cancel(ctx, opened);
		return err;
	}
	*corr = opened;
	return CX_OK;
}

void cx_ask_cancel(struct cx_ctx *ctx, uint64_t corr)
{
	const bool was_pending = cx__ask_close(ctx->worker, ctx->actor, corr);

	(void)was_pending; /* answered in the meantime: the same to the caller */
}

void cx_answer(struct cx_ctx *ctx, struct cx_caller caller, struct cx_msg *msg)
{
	enum cx_err err;

	if (caller.corr == 0) {
		cx_msg_drop(msg);
		return;
	}
	msg->corr = caller.corr;
	msg->flags = CX__ANSWER;
	err = cx_send_reserved(ctx, caller.ref, msg);
	(void)err; /* the caller ended: nobody waits, it is counted as a dead letter */
}

void cx_answer_error(struct cx_ctx *ctx, struct cx_caller caller, enum cx_err err)
{
	struct cx_msg_error *m = CX_MSG_NEW(ctx, CX_MSG_ERROR, struct cx_msg_error);

	m->err = err;
	cx_answer(ctx, caller, &m->hdr);
}

void cx_reply(struct cx_ctx *ctx, const struct cx_msg *req, struct cx_msg *msg)
{
	cx_answer(ctx, cx_caller_of(req), msg);
}

void cx_reply_error(struct cx_ctx *ctx, const struct cx_msg *req, enum cx_err err)
{
	cx_answer_error(ctx, cx_caller_of(req), err);
}
