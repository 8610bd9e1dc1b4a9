/* SPDX-License-Identifier: MIT */
/* Who looks after actors that may run anywhere (src/runtime/steal.c, poll_loop in worker.c): an owner that
 * pushes quick ones wakes nobody for them, unless nobody watches; it, and whoever takes one, may
 * turn out to be in a turn without an end.
 *
 * Property
 *   nothing_waits   when everything stands still, no actor waits on the deque of an owner that is stuck
 *                   while another worker is idle
 *
 * Time.  1 ms passes in any sleep, and nowhere else.  A watcher's sleep ends by itself; all others only when
 * somebody wakes.  What the deque itself promises is in run_queue.pml, sleep and wake-up in wake.pml; here
 * a take is one step, and all operations are seq_cst as they are in the code.
 *
 *   LOOK_FIRST    looks at the deque, then sets the flag          must leave one waiting
 *   PUSH_LATE     looks for a watcher and a sleeper, then pushes  must leave one waiting
 *   NO_RECHECK    stops watching without looking again            must leave one waiting
 *   NO_HAND_ON    the watcher takes one and wakes nobody          must leave one waiting
 *   ALL_SLEEP     an idle worker that sees something sleeps       must leave one waiting
 */
#define IDLE 2
#define PUSHES 3

byte top, bottom;
bool owner_stuck;
byte watcher; /* number + 1 */
bool sleeping[IDLE], eventfd[IDLE], is_stuck[IDLE];
bool nothing_waits = true;

inline wake(who)
{
	atomic {
		if
		:: sleeping[who] -> sleeping[who] = 0; eventfd[who] = 1
		:: else
		fi
	}
}

/* not the one that watches, not oneself; in any order */
inline wake_sleeper(self)
{
	if
	:: self != 0 && sleeping[0] && watcher != 1 -> wake(0)
	:: self != 1 && sleeping[1] && watcher != 2 -> wake(1)
	:: !((self != 0 && sleeping[0] && watcher != 1) ||
	     (self != 1 && sleeping[1] && watcher != 2))
	fi
}

active proctype owner()
{
	byte n;

	do
	:: n < PUSHES ->
#ifdef PUSH_LATE
		if
		:: watcher == 0 -> wake_sleeper(IDLE)
		:: else
		fi;
		bottom++;
#else
		bottom++;
		if
		:: watcher == 0 -> wake_sleeper(IDLE)
		:: else
		fi;
#endif
		n++
	:: atomic { top < bottom -> top++ } /* and runs it */
	:: owner_stuck = 1; break
	od
}

/* may_take: what is there has stood still for 1 ms */
inline look()
{
	may_take = 0;
	t = top;
	if
	:: t != seen -> seen = t; is_fresh = 1; is_worth = 1
	:: else
	fi;
	if
	:: top >= bottom -> is_fresh = 1
	:: else -> is_worth = 1; may_take = !is_fresh
	fi
}

proctype idle(byte me)
{
	byte seen, t;
	bool is_fresh = 1, is_worth, may_take, is_watching;

turn:	look();
	if
	:: may_take ->
		atomic {
			if
			:: top == t && top < bottom -> top++; seen = t + 1
			:: else -> may_take = 0
			fi
		}
	:: else
	fi;
	if
	:: may_take ->
		if
		:: is_watching -> /* cx__watch_no_more */
			is_watching = 0;
			watcher = 0;
#ifndef NO_HAND_ON
			if
			:: top < bottom -> wake_sleeper(me)
			:: else
			fi
#endif
		:: else
		fi;
		if
		:: goto turn
		:: is_stuck[me] = 1; goto end_stuck
		fi
	:: else
	fi;
#ifdef LOOK_FIRST
	look();
	sleeping[me] = 1;
#else
	sleeping[me] = 1;
	look();
#endif
	if
	:: may_take -> goto woken
	:: else
	fi;
	/* cx__watch */
	t = is_worth;
	is_worth = 0;
	if
#ifndef ALL_SLEEP
	:: t == 1 ->
		if
		:: is_watching
		:: else ->
			atomic {
				if
				:: watcher == 0 -> watcher = me + 1; is_watching = 1
				:: else
				fi
			}
		fi
#endif
	:: t == 0 && is_watching ->
		is_watching = 0;
		watcher = 0;
#ifndef NO_RECHECK
		if
		:: top < bottom -> goto woken
		:: else
		fi
#endif
	:: else
	fi;
	if
	:: is_watching -> eventfd[me] = 0 /* 1 ms */
	:: else ->
end_asleep:	eventfd[me] -> eventfd[me] = 0
	fi;
	is_fresh = 0;
woken:	sleeping[me] = 0;
	goto turn;
end_stuck:
	false
}

active proctype standstill()
{
	timeout -> nothing_waits = !(owner_stuck && top < bottom && !(is_stuck[0] && is_stuck[1]));
	assert(nothing_waits)
}

init {
	atomic {
		run idle(0);
		run idle(1)
	}
}
