/* SPDX-License-Identifier: MIT */
/* A mailbox with its scheduling edge, of an actor that any worker may run (src/runtime/mailbox.c:
 * push_any, cx__drain; turn.c: run_full, run_messages, settle_any, park; actor.c: cx__actor_end,
 * go_down): threads send to one slot, workers take it from the run queue and run a turn.
 *
 * Properties (rules 1 to 5 of internal.h)
 *   one_runner     queued once, or running, or parked: never two of these, never twice
 *   depth_true     depth is never negative; the cap is overshot by senders - 1 at most
 *   in_order       messages of a sender are handled in its order, each once, none unseen
 *   nothing_stuck  when everything stands still: depth 0, nobody queued or parked, all queues empty,
 *                  each accepted message handled or bounced
 *
 * Three parts, since all at once is too much to search:
 *   (default)  bounded senders, two workers, turns shorter than the queue
 *   RESTART    a supervised actor fails (by a message, by a timer), is parked, restarted, stopped
 *   REUSE      the actor ends under late senders, and its slot is spawned into again
 *
 * Memory.  Push and take-all of the stacks are one step each (pool_return.pml has them in detail).
 * depth and parked are changed by read-modify-writes alone, which are never buffered; an early read
 * of depth (relaxed) is a read before the add, which is modelled.  So one pair is left where
 * store-load order matters: the runner stores `parked` and reads the control stack, the sender pushes
 * and reads `parked`.  WEAK_ variants let the read come first, as release/acquire would.
 *
 *   UNDO             add first, undo when full                    must queue twice
 *   PUSH_FIRST       push, then add                               must count below 0
 *   SPLIT_SUB        the end of a turn reads depth, then stores   must lose a message
 *   RESTART: WEAK_PARK, WEAK_PUSH   see above                     must be stuck
 *            NO_PARK_CHECK    parks without looking again         must be stuck
 *            PARK_BLIND       looks at the stack only, not at what it had drained   must be stuck
 *            PLAIN_UNPARK     parked is read and stored           must queue twice
 *   REUSE:   CONTROL_FIRST    control lane drained before the ordinary one   must skip a message
 * (crossing.pml has the way to actors with a home, and the parcels that go out before depth is added to here,
 * or taken from.) */
#if defined(RESTART)
#define SENDERS 1
#define EACH 2
#define WORKERS 2
#define CAP 1
#define BATCH 1
#elif defined(REUSE)
#define SENDERS 3 /* two to the first actor, one to the second */
#define EACH 1
#define WORKERS 1
#define CAP 4 /* a new actor's first message is not held up by the old one's */
#define BATCH 1
#else
#define SENDERS 3
#define EACH 2
#define WORKERS 2
#define CAP 1
#define BATCH 2
#endif
#if defined(RESTART) || defined(REUSE)
#define CONTROLS 3 /* control messages under way at once, at most */
#else
#define CONTROLS 1
#endif

/* messages: 1..SENDERS * EACH are ordinary */
#define ORDINARY (SENDERS * EACH)
#define START 20
#define RESTART_IT 21
#define STOP 22
#define TIMER 23 /* its handler fails */
#define START_2 30 /* of the actor that gets the slot next */
/* the generation that a message was sent to: it is told by its number here */
#ifdef REUSE
#define gen_of(m) ((m == START_2 || m == 3) -> 3 : 1)
#else
#define gen_of(m) 1
#endif
#ifdef RESTART
#define fails(m) (m == TIMER || m == 1)
#else
#define fails(m) false
#endif

mtype = { FREE, LIVE, DOWN };                 /* status */
mtype = { IDLE, QUEUED, RUNNING, PARKED };    /* who has the slot: a ghost, but for QUEUED */

chan mail = [ORDINARY] of { byte };
chan control = [CONTROLS] of { byte };
chan mail_head = [ORDINARY] of { byte }; /* drained */
chan control_head = [CONTROLS] of { byte };
short depth;
bool parked;
byte gen = 1;
mtype status = FREE;
bool ending, failed;
byte dropped; /* ended with, not yet off depth */
bool slot_free;

bool supervised, supervisor_lives;
byte notices; /* CX__MSG_FAILED at the supervisor */

/* for the properties only */
mtype has = IDLE;
byte ready; /* gen of the actor that senders may know */
short accepted, handled_mask;
bool one_runner = true, depth_true = true, in_order = true, nothing_stuck = true;

inline make_runnable(from)
{
	atomic {
		one_runner = has == from;
		assert(one_runner);
		has = QUEUED
	}
}

inline seen(m)
{
	d_step {
		in_order = !(handled_mask & (1 << m));
		assert(in_order);
		handled_mask = handled_mask | (1 << m)
	}
}

/* ---- cx__deliver ---- */

inline add()
{
	atomic {
		before = depth;
		depth++;
#if !defined(RESTART) && !defined(REUSE) && !defined(UNDO) /* control messages are not bounded by the cap */
		depth_true = depth <= CAP + SENDERS - 1;
#endif
		assert(depth_true)
	}
}

inline deliver_control(m)
{
	if
	:: gen == gen_of(m) ->
		add();
#ifdef WEAK_PUSH
		if
		:: control!m; was_parked = parked
		:: was_parked = parked; control!m
		fi;
#else
		control!m;
		was_parked = parked;
#endif
		if
		:: before == 0 -> make_runnable(IDLE)
		:: before > 0 && was_parked -> unpark()
		:: else
		fi;
		was_parked = false;
		before = 0
	:: else
	fi
}

inline unpark()
{
#ifdef PLAIN_UNPARK
	parked = false;
#else
	atomic { was_parked = parked; parked = false }; /* exchange */
#endif
	if
	:: was_parked -> make_runnable(PARKED)
	:: else
	fi
}

proctype sender(byte me; byte to)
{
	byte n, m;
	short before;

	ready >= to;
	do
	:: n == EACH -> break
	:: n < EACH ->
		m = me * EACH + n + 1;
		if
		:: gen != to -> break /* CX_EGONE */
		:: gen == to
		fi;
#ifdef UNDO
		add();
		if
		:: before >= CAP -> depth--; goto again /* CX_EFULL: tries again */
		:: else
		fi;
#else
		/* CX_EFULL while this waits: refusing changes nothing */
		depth < CAP;
#ifdef PUSH_FIRST
		mail!m;
#endif
		add();
#endif
		atomic {
#ifndef PUSH_FIRST
			mail!m;
#endif
			accepted = accepted | (1 << m)
		};
		if
		:: before == 0 -> make_runnable(IDLE)
		:: else
		fi;
		n++;
again:		before = 0
	od
}

/* ---- a turn ---- */

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

inline drain()
{
#ifdef CONTROL_FIRST
	take_all(control, control_head);
	take_all(mail, mail_head)
#else
	take_all(mail, mail_head);
	take_all(control, control_head)
#endif
}

inline fail(is_failure)
{
	if
	:: !ending -> ending = true; failed = is_failure
	:: else
	fi
}

inline dispatch()
{
	handled++;
	if
	:: gen_of(m) != gen -> /* dead letter */
		if
		:: m <= ORDINARY -> seen(m)
		:: else
		fi
	:: gen_of(m) == gen && (m == START || m == START_2) -> status = LIVE
	:: gen_of(m) == gen && m == RESTART_IT ->
		if
		:: status == DOWN -> status = LIVE
		:: else
		fi
	:: gen_of(m) == gen && m == STOP -> fail(false)
	:: gen_of(m) == gen && m == TIMER ->
		if
		:: status == LIVE -> fail(true)
		:: else
		fi
	:: gen_of(m) == gen && m <= ORDINARY ->
		in_order = status == LIVE &&
		           ((m - 1) % EACH == 0 || (handled_mask & (1 << (m - 1))));
		assert(in_order);
		seen(m);
		if
		:: fails(m) -> fail(true)
		:: else
		fi
	fi;
	m = 0
}

inline bounce_all(head)
{
	do
	:: head?m ->
		dropped++;
		if
		:: m <= ORDINARY -> seen(m)
		:: else
		fi
	:: empty(head) -> break
	od;
	m = 0
}

inline actor_end()
{
	down = false;
	if
	:: status == LIVE && failed && supervised -> /* go_down */
		status = DOWN;
		ending = false;
		atomic {
			if
			:: supervisor_lives -> notices++; down = true
			:: else -> supervised = false; ending = true
			fi
		}
	:: else
	fi;
	if
	:: !down ->
		status = FREE;
		gen++;
		drain();
		d_step {
			bounce_all(control_head);
			bounce_all(mail_head);
			ending = false;
			failed = false;
			supervised = false
		};
		slot_free = true
	:: else
	fi;
	down = false
}

inline settle()
{
	is_down = status == DOWN;
	handled = handled + dropped;
	dropped = 0;
#ifdef SPLIT_SUB
	left = depth - handled;
	atomic { depth = left;
#else
	atomic { /* fetch_sub */
		left = depth - handled;
		depth = left;
#endif
		depth_true = left >= 0;
		assert(depth_true);
		if
		:: left == 0 -> one_runner = has == RUNNING; assert(one_runner); has = IDLE
		:: else
		fi;
		handled = 0
	};
	if
	:: left == 0
#ifdef PARK_BLIND
	:: left > 0 && !is_down -> make_runnable(RUNNING)
	:: left > 0 && is_down ->
#else
	:: left > 0 && (!is_down || nempty(control_head)) -> make_runnable(RUNNING)
	:: left > 0 && is_down && empty(control_head) ->
#endif
#ifdef WEAK_PARK
		if
		:: atomic { parked = true; has = PARKED }; was_parked = nempty(control)
		:: was_parked = nempty(control); atomic { parked = true; has = PARKED }
		fi;
#else
		atomic { parked = true; has = PARKED }; /* exchange */
		was_parked = nempty(control);
#endif
#ifdef NO_PARK_CHECK
		was_parked = false;
#endif
		if
		:: was_parked -> unpark()
		:: else
		fi;
		was_parked = false
	fi;
	left = 0;
	is_down = false
}

active [WORKERS] proctype worker()
{
	byte m, n, handled;
	short left, before;
	bool is_down, down, was_parked;

end:	do
	:: atomic { has == QUEUED -> has = RUNNING };
		drain();
		d_step { /* run_messages: nobody else looks at what this reads and writes */
			do
			:: nempty(control_head) && !ending -> control_head?m; dispatch()
			:: empty(control_head) || ending -> break
			od;
			do
			:: n < BATCH && nempty(mail_head) && !ending && status != DOWN ->
				mail_head?m;
				dispatch();
				n++
			:: n == BATCH || empty(mail_head) || ending || status == DOWN -> break
			od;
			n = 0
		};
		if
		:: ending -> actor_end()
		:: else
		fi;
		settle()
	od
}

#ifdef RESTART
active proctype supervisor()
{
	short before;
	bool was_parked, stops;

	ready >= 1;
	if /* chosen once: else all would end stopped */
	:: stops = true
	:: stops = false
	fi;
end:	do
	:: notices > 0 -> notices--; deliver_control(RESTART_IT)
	:: stops -> deliver_control(STOP); break
	od;
	supervisor_lives = false
}

active proctype timer()
{
	short before;
	bool was_parked;

	ready >= 1;
	deliver_control(TIMER)
}
#endif

#ifdef REUSE
active proctype stopper()
{
	short before;
	bool was_parked;

	ready >= 1;
	deliver_control(STOP)
}

active proctype spawner()
{
	short before;
	bool was_parked;

end:	slot_free;
	slot_free = false;
	gen++;
	deliver_control(START_2);
	ready = 3
}
#endif

active proctype standstill()
{
	timeout;
	nothing_stuck = depth == 0 && has == IDLE && empty(mail) && empty(control) &&
	                empty(mail_head) && empty(control_head) && dropped == 0 &&
	                accepted == handled_mask;
	assert(nothing_stuck)
}

init {
	atomic {
#ifdef RESTART
		supervised = true;
		supervisor_lives = true;
#endif
		depth = 1; /* cx__spawn, before anybody has the ref */
		control!START;
		has = QUEUED;
		ready = 1;
		run sender(0, 1);
#if SENDERS == 3
		run sender(1, 1);
#ifdef REUSE
		run sender(2, 3)
#else
		run sender(2, 1)
#endif
#endif
	}
}
