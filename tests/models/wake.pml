/* SPDX-License-Identifier: MIT */
/* Sleep and wake-up of a worker (src/runtime/worker.c: poll_loop, wake, cx__make_runnable;
 * loop.c): several senders push on `inject` of one worker that sleeps on an eventfd.
 *
 * Properties
 *   nothing_waits      when everything stands still, no pushed actor waits on a sleeping worker
 *   one_write_a_sleep  an eventfd write for each time the worker announced its sleep, at most
 *
 * Memory.  Stores of the worker to `sleeping` and pushes of a sender go through a store buffer each:
 * what follows in program order may be done before they are visible to others.  A seq_cst operation
 * drains the buffer of its thread.  That is x86-TSO; for the push it is more than TSO, where a
 * locked instruction is never late: it is what a release compare-and-swap may do on ARM.  Reads that
 * overtake reads are not modelled: each side reads one variable after its write.
 *
 * The poll has no time limit here: in the code a lost wake-up would last until the next timer.
 *
 *   WEAK_SLEEPER   `sleeping = 1` is a release store         must lose a wake-up
 *   WEAK_SENDER    the push is a release operation           must lose a wake-up
 *   NO_RECHECK     sleeps without looking again              must lose a wake-up
 *   FLAG_LATE      looks again, then sets the flag           must lose a wake-up
 *   LOOK_FIRST     the sender reads the flag, then pushes    must lose a wake-up
 *   NO_EXCHANGE    the sender clears the flag with a store   must write more than once
 *   WEAK_CLEAR     `sleeping = 0` is a release store         does no harm */
#define SENDERS 2
#define EACH 2

byte inject; /* actors on the stack */
bool sleeping;
byte eventfd;

/* store buffer of the worker; `late` pushes of each sender */
chan stores = [2] of { bool };
byte late[SENDERS];

/* for the properties only */
bool announced; /* and not yet answered by a sender */
bool nothing_waits = true, one_write_a_sleep = true;

active proctype buffers()
{
	bool value;
	byte s;

end:	do
	:: atomic { stores?value -> sleeping = value }
#ifdef WEAK_SENDER
	:: atomic { late[0] > 0 -> late[0]--; inject++ }
	:: atomic { late[1] > 0 -> late[1]--; inject++ }
#endif
	od
}

inline set_sleeping()
{
#ifdef WEAK_SLEEPER
	atomic { stores!1; announced = 1 }
#else
	atomic { empty(stores) -> sleeping = 1; announced = 1 } /* exchange */
#endif
}

inline clear_sleeping()
{
#if defined(WEAK_CLEAR) || defined(WEAK_SLEEPER)
	stores!0
#else
	atomic { empty(stores) -> sleeping = 0 } /* seq_cst */
#endif
}

active proctype worker()
{
	bool has_work;

turn:	if /* run_round */
	:: inject > 0 -> inject = 0 /* exchange */
	:: inject == 0
	fi;
	/* poll_loop */
	has_work = inject > 0;
	if
	:: has_work -> goto poll_now
	:: else
	fi;
#ifdef FLAG_LATE
	has_work = inject > 0;
	set_sleeping();
#else
	set_sleeping();
#ifndef NO_RECHECK
	has_work = inject > 0;
#endif
#endif
	if
	:: has_work -> goto poll_now
	:: else
	fi;
end:	eventfd > 0; /* poll(-1) */
	eventfd = 0; /* read */
	goto woken;
poll_now:
	if /* a loop may or may not look at its eventfd when it does not wait */
	:: eventfd = 0
	:: skip
	fi;
woken:	clear_sleeping();
	goto turn
}

inline push()
{
#ifdef WEAK_SENDER
	late[_pid - first]++
#else
	inject++
#endif
}

byte first; /* pid of the first sender */

proctype sender()
{
	byte n;
	bool seen;

	do
	:: n < EACH ->
#ifdef LOOK_FIRST
		seen = sleeping;
		push();
#else
		push();
		seen = sleeping;
#endif
		if
		:: seen ->
			atomic {
#ifndef NO_EXCHANGE
				seen = sleeping;
#endif
				sleeping = 0;
				if
				:: seen ->
					one_write_a_sleep = announced;
					assert(one_write_a_sleep);
					announced = 0
				:: else
				fi
			}
			if
			:: seen -> eventfd = 1
			:: else
			fi
		:: else
		fi;
		n++
	:: else -> break
	od
}

active proctype standstill()
{
	timeout -> nothing_waits = inject == 0;
	assert(nothing_waits)
}

init {
	atomic {
		first = _nr_pr;
		run sender();
		run sender()
	}
}
