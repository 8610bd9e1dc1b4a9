/* SPDX-License-Identifier: MIT */
/* Blocks of a pool that are freed on other threads (src/runtime/pool.c: cx__pool_take, collect,
 * cx__pool_give) and the stack they come home by (stack.h, Concurrency Kit's ck_stack: push by
 * compare-and-swap, take all by exchange), step by step.  The mailbox and the inject stack are the
 * same stack; mailbox.pml takes from here that push and take-all are atomic.
 *
 * One size class.  The owner takes blocks, uses them (which overwrites the link), frees some itself
 * and hands others to two remote threads, which free them.
 *
 * Properties
 *   held_once     a block is handed out only while nobody has it
 *   all_gathered  take-all gets each block whose push was done
 *   memory_flat   never more blocks than were in use at once
 *   nothing_lost  at the end every block is in the pool
 *
 * Memory.  The store to a block's link goes through a store buffer of the thread; a release
 * compare-and-swap leaves after it, a relaxed one may overtake it (on x86 none is relaxed).
 *
 *   STORE_HEAD    push by load and store             must lose a block
 *   STORE_TAKE    take-all by load and store         must lose a block or hand it out twice
 *   RELAXED_PUSH  relaxed compare-and-swap           must follow an old link
 *   LINK_LATE     link written after the push        must follow an old link
 *   WALK_LATE     link read after the block rests    must lose a block
 *   FOREIGN_REST  remote threads use the owner's list must lose a block or hand it out twice
 *   NO_COLLECT    nobody looks at the stack          must grow */
#define REMOTES 2
#define MOST 3  /* blocks in use at once */
#define TAKES 5 /* by the owner */

#define NONE 0
#define JUNK 7 /* what a user wrote over the link */

byte head, rest_head; /* block numbers from 1; NONE: empty */
byte link[MOST + 2];
byte pending[REMOTES]; /* store buffer of a remote thread: block whose link it holds ... */
byte pending_link[REMOTES]; /* ... and its value */
chan given = [MOST] of { byte };

/* for the properties only */
bool held[MOST + 2]; /* from take until its push is done or it rests */
byte in_use, carved, pushed;
bool held_once = true, all_gathered = true, memory_flat = true, nothing_lost = true;

inline put_to_rest(b)
{
	link[b] = rest_head;
	rest_head = b
}

inline push_done(b)
{
	held[b] = false;
	in_use--;
	pushed++
}

/* cx__pool_give on another thread */
inline give_remote(b)
{
#ifdef FOREIGN_REST
	link[b] = rest_head;
	atomic { rest_head = b; held[b] = false; in_use-- };
#else
	old = head;
again:
#ifndef LINK_LATE
	pending_link[me] = old;
	pending[me] = b;
#ifndef RELAXED_PUSH
	pending[me] == NONE; /* the fence: visible before the compare-and-swap */
#endif
#endif
#ifdef STORE_HEAD
	atomic { head = b; push_done(b) }
#else
	atomic {
		if
		:: head == old ->
			head = b;
			push_done(b)
		:: else ->
			old = head;
#ifdef RELAXED_PUSH
			pending[me] = NONE; /* the next store to the link goes over it */
#endif
			goto again
		fi
	}
#endif
#ifdef LINK_LATE
	link[b] = old
#endif
#endif
}

active proctype buffers()
{
end:	do
	:: atomic { pending[0] != NONE -> link[pending[0]] = pending_link[0]; pending[0] = NONE; pending_link[0] = 0 }
	:: atomic { pending[1] != NONE -> link[pending[1]] = pending_link[1]; pending[1] = NONE; pending_link[1] = 0 }
	od
}

active [REMOTES] proctype remote()
{
	byte b, old;
	byte me = _pid - 1;

end:	do
	:: given?b ->
		link[b] = JUNK; /* used */
		give_remote(b);
		atomic { b = NONE; old = NONE }
	od
}

/* Rule 2 of pool.h */
inline collect()
{
#ifdef STORE_TAKE
	at = head;
	d_step { head = NONE; n = pushed; pushed = 0 };
#else
	d_step { at = head; head = NONE; n = pushed; pushed = 0 }; /* exchange */
#endif
	do
	:: at != NONE ->
		all_gathered = at <= carved && n > 0;
		assert(all_gathered); /* else not a block, or one too many */
		n--;
#ifdef WALK_LATE
		put_to_rest(at);
		at = link[at]
#else
		following = link[at];
		put_to_rest(at);
		at = following
#endif
	:: else -> break
	od;
	following = NONE;
	all_gathered = n == 0;
	assert(all_gathered)
}

inline take(b)
{
	if
#ifndef NO_COLLECT
	:: rest_head == NONE -> collect()
#endif
	:: else
	fi;
	if
	:: rest_head == NONE -> /* carve */
		d_step {
			memory_flat = carved < MOST;
			assert(memory_flat);
			carved++;
			rest_head = carved
		}
	:: else
	fi;
	b = rest_head;
	rest_head = link[b];
	d_step {
		held_once = b != NONE && b <= carved && !held[b];
		assert(held_once);
		held[b] = true;
		in_use++
	}
	link[b] = JUNK /* used */
}

active proctype owner()
{
	byte b, at, following, n, takes;

	do
	:: takes < TAKES && in_use < MOST ->
		take(b);
		takes++;
		if
		:: given!b
		:: d_step { held[b] = false; in_use-- }; put_to_rest(b) /* cx__pool_give at home */
		fi;
		b = NONE
	:: takes == TAKES -> break
	od;
	in_use == 0;
#ifndef NO_COLLECT
#ifndef FOREIGN_REST
	collect();
#endif
#endif
	at = rest_head;
	do
	:: at != NONE && n <= carved -> n++; at = link[at]
	:: else -> break
	od;
	nothing_lost = n == carved;
	assert(nothing_lost)
}
