/* SPDX-License-Identifier: MIT */
/* Run queue with stealing (src/runtime/deque.h, used by worker.c: push_any, next_runnable, steal):
 * one owner pushes and takes, two thieves take, the ring is smaller than what passes through it, so
 * that it fills and wraps round.  What finds it full goes to the owner's private list.
 *
 * Properties
 *   taken_once    no item is taken twice, none that was not pushed
 *   nothing_lost  when the owner has found it empty and the thieves have ended, all were taken
 *
 * Memory.  The owner's stores to the ring go through a store buffer (its loads see through it); a
 * release or seq_cst store to `bottom` leaves after them, a relaxed one may overtake them: more than
 * x86-TSO, where stores stay in order.  Reads that overtake reads are modelled by hand, in the one
 * place where they would matter (READ_EARLY).  `top` is only changed by compare-and-swap.
 *
 *   RELAXED_BOTTOM  `bottom` is a relaxed store              must hand out an old entry
 *   BOTTOM_FIRST    `bottom` first, then the entry           must hand out an old entry
 *   READ_EARLY      the entry is read before `bottom`        must hand out an old entry
 *   READ_LATE       the entry is read after the exchange     must hand out a new entry twice
 *   PLAIN_TOP       `top` is stored, not exchanged           must hand out an entry twice
 *   FULL_LATE       one entry more than the ring holds       must hand out an entry twice */
#define SIZE 2
#define ITEMS 4
#define THIEVES 2

byte top, bottom;
byte ring[SIZE];
chan stores = [SIZE + 1] of { byte, byte }; /* the owner's: place, item */

/* for the properties only */
byte seen; /* bit n: item n was taken, or run from the private list */
byte idle; /* thieves that ended */
bool taken_once = true, nothing_lost = true;

#define ALL ((1 << (ITEMS + 1)) - 2) /* items 1..ITEMS; 0 is an entry never written */

inline note(item)
{
	taken_once = item > 0 && !(seen & (1 << item));
	assert(taken_once);
	seen = seen | (1 << item)
}

active proctype buffer()
{
	byte place, item;

end:	do
	:: atomic { stores?place, item -> ring[place] = item }
	od
}

/* cx__deque_take; 0: empty, or lost a race */
inline take(item)
{
	t = top;
#ifdef READ_EARLY
	item = ring[t % SIZE];
#endif
	if
	:: t >= bottom -> item = 0
	:: else ->
#if !defined(READ_EARLY) && !defined(READ_LATE)
		item = ring[t % SIZE];
#endif
#ifdef PLAIN_TOP
		atomic { top = t + 1; note(item) }
#else
		atomic { /* compare-and-swap */
			if
			:: top == t ->
				top = t + 1;
#ifndef READ_LATE
				note(item)
#else
				item = 1
#endif
			:: else -> item = 0
			fi
		}
#ifdef READ_LATE
		if
		:: item > 0 -> atomic { item = ring[t % SIZE]; note(item) }
		:: else
		fi
#endif
#endif
	fi;
	t = 0
}

/* cx__deque_push */
inline push(item)
{
	t = top; /* acquire: may be old, which only says full too early */
	if
#ifdef FULL_LATE
	:: bottom - t > SIZE ->
#else
	:: bottom - t >= SIZE ->
#endif
		atomic { note(item) } /* push_local: run from there */
	:: else ->
#ifdef BOTTOM_FIRST
		bottom++;
		stores!((bottom - 1) % SIZE), item
#else
		stores!(bottom % SIZE), item;
#ifdef RELAXED_BOTTOM
		bottom++
#else
		atomic { empty(stores) -> bottom++ }
#endif
#endif
	fi;
	t = 0
}

active proctype owner()
{
	byte t, n, item;

	do
	:: n < ITEMS -> /* something became runnable */
		n++;
		push(n)
	:: empty(stores) -> /* what is in the buffer it sees itself: then it is as if it was out */
		take(item);
		if
		:: n == ITEMS && top == bottom -> break
		:: else
		fi;
		item = 0
	od;
	idle == THIEVES;
	nothing_lost = seen == ALL;
	assert(nothing_lost)
}

active [THIEVES] proctype thief()
{
	byte t, item;

	do
	:: take(item);
		item = 0
	:: break
	od;
	idle++
}
