/* SPDX-License-Identifier: MIT */
/* An actor with a home and its two ways in (src/runtime/mailbox.c: push_local, push_shared; worker.c:
 * take_injected, take_token; turn.c: settle, park, unpark; actor.c: cx__actor_end): its own worker
 * appends to a list, threads push on the stacks and bring the token through the inject stack.
 *
 * Properties (rules 2, 3 and 5 of internal.h)
 *   linked_once    the actor is on the inject stack once at most: nobody pushes a link that is in use
 *   depth_true     depth is never negative
 *   handled_once   each message is handled or bounced once
 *   causal         what was on the stack when the home worker sent is handled before what it sent
 *   nothing_stuck  when everything stands still: depth 0, nothing on a stack, in a list or queued,
 *                  each message handled or bounced
 *
 * The handler of a message marked to fail leaves the (supervised) actor down: ordinary messages wait,
 * until RESTART, which the supervisor sends from the home worker or from elsewhere (a thread here).
 * A callback of the home worker's loop may end the actor between turns; its slot lives on.
 *
 * Memory.  The home worker's own state is seen by no other thread.  depth, parked and the stacks are
 * changed by read-modify-writes alone; the one pair where store-load order matters (parked against
 * the control stack) is weakened in mailbox.pml.
 *
 * A turn that reads depth 0 does not look at the stacks (turn.c: take_in, is_quiet).  That is a turn here
 * which looked before the push: depth is added to first, and its token is still to come.
 *
 * NO_FAIL: nothing fails, so nothing is parked.
 *
 *   NO_FAIL: TAKE_EARLY     handled messages are taken off depth without the token    must link twice
 *            END_TAKES_OFF  a callback's end takes what it bounced off depth at once  must link twice
 *   NO_UNPARK      a turn does not look whether a sender took the token      must link twice
 *   PARK_ANYHOW    parks without the token                                   must be stuck
 *   STAY_PARKED    a token that arrives does not end being parked            must be stuck
 *   NO_PARK_CHECK  parks without looking again                               must be stuck
 *   FORGET_TOKEN   does not queue again while the token is there             must be stuck
 *   LIST_FIRST     what the home worker sends does not wait for the stack     must break the order
 *   LOCAL_TAKEN    what came over the list is taken off depth too            must count below 0 */
#define SENDERS 2
#define EACH 2
#define LOCALS 2
#define BATCH 2

/* 1..4: over the stack (2 fails); 5, 6: from the home worker; 7: RESTART */
#define SHARED (SENDERS * EACH)
#define ALL (SHARED + LOCALS)
#define RESTART_IT 7
#ifdef NO_FAIL
#define FAILS 0
#else
#define FAILS 2
#endif

chan mail = [SHARED] of { byte };
chan control = [1] of { byte };
bool linked; /* on the inject stack */
short depth;
bool parked;

/* the home worker's */
chan mail_head = [ALL] of { byte };
chan control_head = [2] of { byte };
bool queued, has_token, is_parked, down;
byte taken, ended;

/* for the properties only */
byte sent, senders_done;
short seen_mask, waiting, before_local;
bool restart_due; /* the supervisor was told */
bool restart_remote;
bool linked_once = true, depth_true = true, handled_once = true, causal = true, nothing_stuck = true;

inline inject()
{
	atomic {
		linked_once = !linked;
		assert(linked_once);
		linked = true
	}
}

inline see(m)
{
	handled_once = !(seen_mask & (1 << m));
	assert(handled_once);
	seen_mask = seen_mask | (1 << m);
	waiting = waiting & ~(1 << m); /* so it says no more than the mailbox does */
	before_local = before_local & ~(1 << m);
	if
	:: m == SHARED + LOCALS ->
		causal = before_local == 0;
		assert(causal)
	:: else
	fi
}

/* ---- push_shared ---- */

proctype sender(byte me)
{
	byte n, m;
	short before;

	do
	:: n == EACH -> break
	:: n < EACH ->
		m = me * EACH + n + 1;
		atomic { before = depth; depth++ };
		atomic { mail!m; waiting = waiting | (1 << m) };
		if
		:: before == 0 -> inject()
		:: else
		fi;
		before = 0;
		n++
	od;
	atomic { senders_done++; n = 0; m = 0 }
}

/* A supervisor on another worker. */
active proctype supervisor()
{
	short before;
	bool was;

end:	do
	:: atomic { restart_due && restart_remote -> restart_due = false };
		atomic { before = depth; depth++ };
		control!RESTART_IT;
		if
		:: before == 0 -> inject()
		:: before > 0 && parked ->
			atomic { was = parked; parked = false };
			if
			:: was -> inject()
			:: else
			fi
		:: else
		fi;
		before = 0;
		was = false
	od
}

/* ---- the home worker ---- */

inline take_all(from, into)
{
	d_step {
		do
		:: from?m -> into!m
		:: empty(from) -> break
		od;
		m = 0
	}
}

/* Returns what is left on depth. */
inline take_off()
{
	atomic {
		depth = depth - taken;
		left = depth;
		depth_true = left >= 0;
		assert(depth_true)
	};
	taken = 0
}

inline take_token()
{
	d_step {
		has_token = true;
#ifndef STAY_PARKED
		is_parked = false;
#endif
		queued = true
	}
}

inline unpark()
{
	is_parked = false;
	atomic { was = parked; parked = false };
	if
	:: !was -> has_token = false
	:: else
	fi;
	was = false
}

inline park()
{
	is_parked = true;
	parked = true; /* exchange */
	was = nempty(control);
#ifdef NO_PARK_CHECK
	was = false;
#endif
	if
	:: was ->
		atomic { was = parked; parked = false };
		if
		:: was -> is_parked = false; queued = true
		:: else
		fi
	:: else
	fi;
	was = false
}

inline count(m)
{
#ifdef LOCAL_TAKEN
	taken++
#else
	if
	:: m <= SHARED || (m == RESTART_IT && restart_remote) -> taken++
	:: else
	fi
#endif
}

inline settle()
{
	if
#ifdef TAKE_EARLY
	:: taken > 0 ->
#else
	:: has_token && taken > 0 ->
#endif
		take_off();
		if
		:: left == 0 -> has_token = false
		:: else
		fi;
		left = 0
	:: else
	fi;
	if
#ifdef PARK_ANYHOW
	:: down && empty(control_head) && !queued -> park()
	:: down && empty(control_head) && queued
#else
	:: down && empty(control_head) && has_token && !queued -> park()
	:: down && empty(control_head) && (!has_token || queued)
#endif
	:: !down || nempty(control_head) ->
		if
#ifdef FORGET_TOKEN
		:: nempty(mail_head) || nempty(control_head) -> queued = true
#else
		:: nempty(mail_head) || nempty(control_head) || has_token -> queued = true
#endif
		:: else
		fi
	fi
}

inline turn()
{
	queued = false;
#ifndef NO_UNPARK
	if
	:: is_parked -> unpark()
	:: else
	fi;
#endif
	take_all(mail, mail_head);
	take_all(control, control_head);
	d_step {
		do
		:: nempty(control_head) -> control_head?m; count(m); down = false; m = 0
		:: empty(control_head) -> break
		od;
		do
		:: n < BATCH && nempty(mail_head) && !down ->
			mail_head?m;
			count(m);
			see(m);
			n++;
			if
			:: m == FAILS -> down = true; restart_due = true
			:: else
			fi;
			m = 0
		:: n == BATCH || empty(mail_head) || down -> break
		od;
		n = 0
	};
	settle();
	/* the supervisor lives on this worker: it sends over the list */
	if
	:: restart_due && !restart_remote ->
		restart_due = false;
		d_step { control_head!RESTART_IT; queued = true }
	:: else
	fi
}

/* push_local.  What led to it was pushed before this begins.  The property looks at the last one only:
 * fewer states. */
inline send_here()
{
	d_step {
		if
		:: sent == LOCALS - 1 -> before_local = waiting
		:: else
		fi
	};
#ifndef LIST_FIRST
	take_all(mail, mail_head);
#endif
	d_step {
		sent++;
		mail_head!(SHARED + sent);
		queued = true
	}
}

/* cx__actor_end between turns: what waits is bounced; the slot is spawned into by nobody here, so
 * later messages are handled by what stands for the next actor. */
inline end_it()
{
	take_all(mail, mail_head);
	take_all(control, control_head);
	d_step {
		do
		:: control_head?m -> count(m)
		:: empty(control_head) -> break
		od;
		do
		:: mail_head?m -> count(m); see(m)
		:: empty(mail_head) -> break
		od;
		m = 0;
		down = false
	}
#ifdef END_TAKES_OFF
	;
	take_off();
	left = 0
#endif
}

active proctype home()
{
	byte m, n;
	short left;
	bool was;

	if /* where the supervisor is */
	:: restart_remote = true
	:: restart_remote = false
	fi;
	atomic { run sender(0); run sender(1) };
end:	do
	:: sent < LOCALS -> send_here()
	:: linked -> atomic { linked = false; take_token() }
	:: queued -> turn()
	:: ended == 0 && !down -> ended = 1; end_it()
	:: timeout ->
		nothing_stuck = depth == 0 && !linked && !queued && !parked && taken == 0 &&
		                seen_mask == 126 && sent == LOCALS &&
		                empty(mail) && empty(mail_head) && empty(control);
		assert(nothing_stuck);
		break
	od
}
