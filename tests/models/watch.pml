/* SPDX-License-Identifier: MIT */
/* Who looks after actors that may run anywhere (src/runtime/steal.c, poll_loop and cx_io_enter in worker.c):
 * who pushes a quick one wakes nobody for it, unless nobody watches; it, and whoever takes one, may turn out
 * to be in a turn without an end.  An idle worker pushes one too, from a callback of its loop.
 *
 * Property
 *   nothing_waits   when everything stands still, no actor waits on the deque of a worker that is stuck
 *                   while another worker is idle
 *
 * Time.  1 ms passes in any sleep, and nowhere else.  A watcher's sleep ends by itself; all others only when
 * somebody wakes.  An owner that is slow but not stuck takes all itself in the end, so that thieves help it
 * earlier (by the clock) is not modelled.  What the deque itself promises is in run_queue.pml, sleep and wake-up
 * in wake.pml; here a take is one step, and all operations are seq_cst as they are in the code.
 *
 *   LOOK_FIRST    looks at the deques, then sets the flag         must leave one waiting
 *   PUSH_LATE     looks for a watcher and a sleeper, then pushes  must leave one waiting
 *   NO_RECHECK    stops watching without looking again            must leave one waiting
 *   NO_HAND_ON    the watcher has work and wakes nobody           must leave one waiting
 *   FORGET_OWN    it wakes somebody for what others hold alone    must leave one waiting
 *   SEEN_ASLEEP   in its callback it still counts as asleep       must leave one waiting
 *   ALL_SLEEP     an idle worker that sees something sleeps       must leave one waiting */
#define IDLE 2
#define OWNER IDLE
#define PUSHES 2

byte top[IDLE + 1], bottom[IDLE + 1];
bool is_stuck[IDLE + 1];
byte watcher; /* number + 1 */
bool sleeping[IDLE], eventfd[IDLE];
bool has_called; /* one callback, of the first */
bool nothing_waits = true;

#define HOLDS(d) (top[d] < bottom[d])
#define SLEEPS(who) (sleeping[who] && watcher != who + 1)

inline wake(who)
{
	atomic {
		if
		:: sleeping[who] -> sleeping[who] = 0; eventfd[who] = 1
		:: else
		fi
	}
}

/* not the one that watches, not oneself */
inline wake_if_asleep(who)
{
	if
	:: SLEEPS(who) -> wake(who)
	:: else
	fi
}

inline owner_wakes()
{
	if
	:: watcher != 0
	:: else ->
		if
		:: SLEEPS(0) -> wake(0)
		:: SLEEPS(1) -> wake(1)
		:: !SLEEPS(0) && !SLEEPS(1)
		fi
	fi
}

inline idle_wakes()
{
	if
	:: watcher != 0
	:: else -> wake_if_asleep(1 - me)
	fi
}

active proctype owner()
{
	byte n;

	do
	:: n < PUSHES ->
#ifdef PUSH_LATE
		owner_wakes();
		bottom[OWNER]++;
#else
		bottom[OWNER]++;
		owner_wakes();
#endif
		n++
	:: atomic { HOLDS(OWNER) -> top[OWNER]++ } /* and runs it */
	:: is_stuck[OWNER] = 1; break
	od
}

/* may_take: what is there has stood still for 1 ms */
inline look(d)
{
	may_take = 0;
	if
	:: d == me
	:: else ->
		t = top[d];
		if
		:: t != seen[d] -> seen[d] = t; is_fresh[d] = 1; is_worth = 1
		:: else
		fi;
		if
		:: HOLDS(d) -> is_worth = 1; may_take = !is_fresh[d]
		:: else -> is_fresh[d] = 1
		fi
	fi
}

inline steal(d)
{
	look(d);
	if
	:: may_take ->
		atomic {
			if
			:: top[d] == t && HOLDS(d) -> top[d]++; seen[d] = t + 1
			:: else -> may_take = 0
			fi
		}
	:: else
	fi
}

#ifdef FORGET_OWN
#define SOME_WAIT(me) ((me != 0 && HOLDS(0)) || (me != 1 && HOLDS(1)) || HOLDS(OWNER))
#else
#define SOME_WAIT(me) (HOLDS(0) || HOLDS(1) || HOLDS(OWNER))
#endif

inline watch_no_more()
{
	if
	:: is_watching ->
		is_watching = 0;
		watcher = 0;
#ifndef NO_HAND_ON
		if
		:: SOME_WAIT(me) -> wake_if_asleep(1 - me)
		:: else
		fi
#endif
	:: else
	fi
}

proctype idle(byte me)
{
	byte seen[IDLE + 1], t;
	bool is_fresh[IDLE + 1], is_worth, may_take, is_watching;

turn:	t = 0; /* fewer states */
	may_take = 0;
	if /* its own first */
	:: atomic { HOLDS(me) -> top[me]++; assert(!is_watching) }; /* see callback */
		goto go
	:: !HOLDS(me)
	fi;
	steal(OWNER);
	if
	:: may_take -> goto taken
	:: else
	fi;
	steal(1 - me);
	if
	:: may_take -> goto taken
	:: else -> goto rest
	fi;
taken:	watch_no_more();
go:	if
	:: goto turn
	:: is_stuck[me] = 1; goto end_stuck
	fi;
rest:
#ifndef LOOK_FIRST
	sleeping[me] = 1;
#endif
	look(OWNER);
	if
	:: may_take -> goto woken
	:: else
	fi;
	look(1 - me);
	if
	:: may_take -> goto woken
	:: else
	fi;
#ifdef LOOK_FIRST
	sleeping[me] = 1;
#endif
	/* cx__watch */
	d_step { t = is_worth; is_worth = 0; may_take = 0 }
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
		:: SOME_WAIT(me) -> goto woken
		:: else
		fi
#endif
	:: else
	fi;
	t = 0;
	if
	:: is_watching -> eventfd[me] = 0 /* 1 ms */
	:: else ->
end_asleep:	if
		:: eventfd[me] -> eventfd[me] = 0
		:: atomic { me == 0 && !has_called -> has_called = 1 }; goto callback
		fi
	:: atomic { me == 0 && is_watching && !has_called -> has_called = 1 }; goto callback
	fi;
	is_fresh[OWNER] = 0;
	is_fresh[1 - me] = 0;
woken:	sleeping[me] = 0;
	goto turn;
callback: /* a socket or another thread had two actors of any worker for it, of which it runs one */
	if
	:: /* cx_io_enter; all of it may last for ever */
#ifndef SEEN_ASLEEP
		sleeping[me] = 0;
		watch_no_more();
#endif
		bottom[me]++;
		idle_wakes();
		if
		:: is_stuck[me] = 1; goto end_stuck
		:: sleeping[me] = 0
		fi
#ifdef SEEN_ASLEEP
		;
		watch_no_more()
#endif
	:: /* take_all_injected, then the first turn */
		sleeping[me] = 0;
		bottom[me]++;
		idle_wakes();
		watch_no_more()
	fi;
	goto go;
end_stuck:
	false
}

active proctype standstill()
{
	timeout -> nothing_waits = !((is_stuck[OWNER] && HOLDS(OWNER) && !(is_stuck[0] && is_stuck[1])) ||
	                             (is_stuck[0] && HOLDS(0) && !is_stuck[1]) ||
	                             (is_stuck[1] && HOLDS(1) && !is_stuck[0]));
	assert(nothing_waits)
}

init {
	atomic {
		run idle(0);
		run idle(1)
	}
}
