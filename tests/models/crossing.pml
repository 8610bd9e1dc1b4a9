/* SPDX-License-Identifier: MIT */
/* How messages cross between workers (src/runtime/crossing.c: cx__cross, cx__cross_alone, cx__parcel_push,
 * take_stack, take_parcel, settle, cx__has_room; mailbox.c: push_local, push_any; turn.c: settle_any;
 * worker.c: run_round, poll_loop, cx_io_enter).
 *
 * Properties (rules 1, 6 and 7 of internal.h)
 *   in_order       one sender's messages to one receiver come in their order, each once
 *   causal         what was sent to C before something was told is there before what that led to
 *   nothing_waits  who sleeps has no open parcel, and nothing on its stack or in a list
 *   nothing_stuck  when everything stands still each message came, and each was answered
 *   given_back     a parcel is not written to again before all was copied out of it
 *   room_true      refused is only what found the mailbox full when it was asked for
 *   bound          with one sending worker the limit is overshot by what is in one parcel at most
 *
 * Two parts, since all at once is too much to search:
 *   (default)  A on worker W sends to C and D on worker X, to B on worker Y, to G, which any worker runs, and
 *              writes to a socket that a callback of X's loop reads.  Who gets something from A sends to C.
 *              Each send in a parcel or alone.
 *   ROOM       one sender, one receiver, and the parcels' way back.  ALONE: one message goes alone.
 *
 * What is appended to C's list is taken as handled: the list keeps its order.  A worker may push its open
 * parcel after each turn, and has to before it polls.  It sleeps when its stack is empty at the last look:
 * wake.pml has the flag.  The token of G is in mailbox.pml.
 *
 * Memory.  A push and a take-all are one step each (pool_return.pml), and ordered with all around them.  A
 * parcel is given back by a release store; local_depth is stored after that (on ARM too, if that is a release),
 * and the sender's reads stay in their order.
 *
 *   NO_FLUSH_SWITCH  a parcel for another worker is opened while one is open   must break the order
 *   ALONE_FIRST      what goes alone does not wait for the open parcel         must break the order
 *   NO_FLUSH_ANY     nor does what goes to G                                   must break the order
 *   NO_FLUSH_WRITE   nor does what is written to a socket                      must break the order
 *   FLUSH_LATE       another worker may run G before its messages are pushed   must break the order
 *   NO_TAKE_ENTER    a callback does not take the stack first                  must break the order
 *   ANY_DIRECT       G appends to C's list when X runs it                      must break the order
 *   NO_TURN_ROUND    the stack is taken newest first                           must break the order
 *   NO_FLUSH_POLL    sleeps with an open parcel                                must leave it waiting
 *   ROOM: BACK_EARLY    given back before it is copied out       must overwrite it
 *         COUNT_FIRST   counted in local_depth, then given back  must refuse
 *         SETTLE_FIRST  looks what is back, then at local_depth  must refuse
 *         LOOK_ONCE     not again when more came back            must overshoot
 *         ALONE: DEPTH_OLD  reads depth, then local_depth        must refuse */
#ifndef ROOM
#define SENDS 3

/* workers; W has nothing on its stack */
#define X 0
#define Y 1
#define W 2
/* whom A sends to */
#define C 1
#define D 2
#define B 3
#define G 4
#define SOCKET 5

/* messages: 1..SENDS are A's, the others to C, each for the one that led to it */
#define answer_to(m) (m + SENDS)
#define bit(m) (1 << (m - 1))

chan mail[3] = [2 * SENDS] of { byte, byte }; /* a parcel: one message or two */
chan list[3] = [SENDS] of { byte };           /* of D, of B */
byte first[3], second[3];                     /* open parcels: W's to X, W's to Y, Y's to X */
chan socket = [SENDS] of { byte };
byte to[SENDS + 1];

chan g_mail = [SENDS] of { byte };
chan g_list = [SENDS] of { byte };
byte g_depth;
bool g_queued;

/* for the properties only; sets of messages */
byte seen, due, sent_to_c;
byte knows[6], did_send[6]; /* of an actor: what A had sent to C before, what it sent itself */
byte led_by[2 * SENDS + 1], sent_before[2 * SENDS + 1]; /* the same, of a message */
bool in_order = true, causal = true, nothing_waits = true, nothing_stuck = true;

inline see(m)
{
	in_order = (seen & bit(m)) == 0 && (sent_before[m] & ~seen) == 0;
	assert(in_order);
	causal = (led_by[m] & ~seen) == 0;
	assert(causal);
	seen = seen | bit(m)
}

inline note_sent(m)
{
	if
	:: to[m] == C ->
		sent_before[m] = sent_to_c;
		sent_to_c = sent_to_c | bit(m);
		due = due | bit(m)
	:: else -> due = due | bit(answer_to(m))
	fi
}

/* Actor who handles m, and has its answer ready. */
inline note_handled(who, m)
{
	knows[who] = knows[who] | (sent_to_c & (bit(m) - 1));
	led_by[answer_to(m)] = knows[who];
	sent_before[answer_to(m)] = did_send[who];
	did_send[who] = did_send[who] | bit(answer_to(m))
}

/* ---- the sending worker ---- */

#define open_of(home) (me == Y -> 2 : home)
#define has_open() ((me == W && (first[0] || first[1])) || (me == Y && first[2]))

inline parcel_push(o)
{
	atomic {
		mail[o % 2]!first[o], second[o];
		first[o] = 0;
		second[o] = 0
	}
}

/* There is one at most, but for a mistake. */
inline flush()
{
	do
	:: has_open() ->
		o = (me == Y -> 2 : (first[0] -> 0 : 1));
		parcel_push(o);
		o = 0
	:: else -> break
	od
}

inline cross(home, m)
{
#ifndef NO_FLUSH_SWITCH
	if
	:: first[open_of(home)] == 0 -> flush()
	:: else
	fi;
#endif
	if
	:: first[open_of(home)] == 0 -> first[open_of(home)] = m
	:: else -> second[open_of(home)] = m; parcel_push(open_of(home))
	fi
}

inline alone(home, m)
{
#ifndef ALONE_FIRST
	flush();
#endif
	mail[home]!m, 0
}

inline send(home, m)
{
	if
	:: skip -> cross(home, m)
	:: skip -> alone(home, m)
	fi
}

inline push_any(m)
{
#ifndef NO_FLUSH_ANY
	flush();
#endif
	atomic { g_depth++; left = g_depth };
	g_mail!m;
	if
	:: left == 1 -> g_queued = true
	:: else
	fi;
	left = 0
}

inline a_sends()
{
	sent++;
	if
	:: to[sent] = C
	:: to[sent] = D
	:: to[sent] = B
	:: to[sent] = G
	:: to[sent] = SOCKET
	fi;
	d_step { note_sent(sent) };
	if
	:: to[sent] == C || to[sent] == D -> send(X, sent)
	:: to[sent] == B -> send(Y, sent)
	:: to[sent] == G -> push_any(sent)
	:: to[sent] == SOCKET ->
#ifndef NO_FLUSH_WRITE
		flush();
#endif
		socket!sent
	fi
}

/* ---- the receiving worker ---- */

inline append(m)
{
	if
	:: m > SENDS || to[m] == C -> see(m)
	:: else -> list[me]!m
	fi
}

inline take_mail()
{
	d_step {
		do
		:: nempty(mail[me]) ->
#ifdef NO_TURN_ROUND
			left = len(mail[me]) - 1;
			do
			:: left > 0 -> mail[me]?m, m2; mail[me]!m, m2; left--
			:: left == 0 -> break
			od;
#endif
			mail[me]?m, m2;
			append(m);
			if
			:: m2 -> append(m2)
			:: else
			fi
		:: empty(mail[me]) -> break
		od;
		m = 0;
		m2 = 0
	}
}

/* ---- a worker ---- */

#define has_work() ((me == W && sent < SENDS) || len(mail[me]) || len(list[me]) || \
                    (me == X && len(socket)) || g_queued)

proctype worker(byte me)
{
	byte sent, m, m2, left, o;
	bool is_any;

next:	do
	:: me == W && sent < SENDS -> a_sends()
	:: nempty(mail[me]) -> take_mail()
	:: me == X && nempty(list[me]) -> /* push_local */
		d_step { list[me]?m; note_handled(D, m); see(answer_to(m)); m = 0 }
	:: me == Y && nempty(list[me]) ->
		d_step { list[me]?m; note_handled(B, m) };
		goto answer
	:: me == X && nempty(socket) -> /* cx_io_enter */
#ifndef NO_TAKE_ENTER
		take_mail();
#endif
		d_step { socket?m; note_handled(D, m); see(answer_to(m)); m = 0 }
	:: atomic { g_queued -> g_queued = false; is_any = true };
		d_step {
			do
			:: g_mail?m -> g_list!m
			:: empty(g_mail) -> break
			od;
			m = 0
		};
		if
		:: nempty(g_list) -> d_step { g_list?m; note_handled(G, m) }; goto answer
		:: empty(g_list) -> goto settle /* it is not pushed yet */
		fi
	:: has_open() -> flush() /* kept back for long enough */
	:: !has_work() -> /* poll_loop */
#ifndef NO_FLUSH_POLL
		flush();
#endif
end:		has_work()
	od;

answer:
	if
	:: me != X -> send(X, answer_to(m))
#ifdef ANY_DIRECT
	:: me == X -> d_step { see(answer_to(m)) }
#else
	:: me == X -> mail[X]!answer_to(m), 0 /* on its own stack */
#endif
	fi;
settle:
	if
	:: is_any ->
#ifndef FLUSH_LATE
		flush();
#endif
		atomic {
			g_depth = g_depth - (m -> 1 : 0);
			g_queued = g_depth > 0;
			is_any = false
		}
	:: else
	fi;
	m = 0;
	goto next
}

active proctype standstill()
{
	timeout;
	nothing_waits = first[0] == 0 && first[1] == 0 && first[2] == 0 && empty(mail[X]) &&
	                empty(mail[Y]) && empty(list[X]) && empty(list[Y]);
	assert(nothing_waits);
	nothing_stuck = seen == due && g_depth == 0 && !g_queued && empty(g_mail) &&
	                empty(g_list) && empty(socket);
	assert(nothing_stuck)
}

init {
	atomic {
		run worker(X);
		run worker(Y);
		run worker(W)
	}
}

#else /* ROOM */

#define MSGS 7
#define CAP 3
#define HALF 2
#define SHARE 1
#define LINES 2 /* messages in a parcel */
#define PARCELS (CAP + LINES + 2)
#define NONE PARCELS
#define ALONE_ONE (PARCELS + 1) /* an entry that is no parcel */
#ifdef ALONE
#define OVER (LINES + 1) /* it may be taken between the two looks */
#else
#define OVER LINES
#endif

chan mail = [PARCELS + 1] of { byte };
byte count[PARCELS];
bool back[PARCELS];
byte depth, local_depth;
bool filling;

/* the sender's */
chan ring = [PARCELS] of { byte };    /* pushed, and not known to be back */
chan settled = [PARCELS] of { byte }; /* free */
byte made, under_way, open = NONE;

/* for the properties only */
byte waiting; /* sent and not handled */
byte uncopied[PARCELS];
byte handled, refused;
bool given_back = true, room_true = true, bound = true, nothing_stuck = true;

inline parcel_push()
{
	d_step { ring!open; back[open] = false };
	mail!open;
	open = NONE
}

inline settle()
{
	do
	:: empty(ring) -> break
	:: nempty(ring) ->
		atomic {
			ring?<p>;
			if
			:: back[p] ->
				ring?p;
				settled!p;
				under_way = under_way - count[p];
				more = true
			:: else -> p = 0; break
			fi;
			p = 0
		}
	od
}

/* cx__has_room_at_once, cx__has_room */
inline look()
{
	was_full = waiting >= CAP;
	if
	:: !filling && under_way < SHARE -> has_room = true
	:: else ->
#ifdef SETTLE_FIRST
		settle();
		listed_then = local_depth;
#else
		do
		:: more = false;
#ifdef DEPTH_OLD
			alone = depth;
#endif
			listed_then = local_depth;
#ifndef DEPTH_OLD
			alone = depth;
#endif
			settle();
#ifdef LOOK_ONCE
			more = false;
#endif
			if
			:: !more -> break
			:: else
			fi
		od;
#endif
		has_room = under_way + listed_then + alone < CAP;
		room_true = has_room || was_full;
		assert(room_true)
	fi;
	d_step { listed_then = 0; alone = 0; more = false; was_full = false }
}

inline send()
{
	d_step {
		waiting++;
		bound = waiting <= CAP + OVER;
		assert(bound);
		sent++
	}
}

inline cross()
{
	d_step {
		if
		:: open == NONE && nempty(settled) -> settled?open; count[open] = 0
		:: open == NONE && empty(settled) -> open = made; made++
		:: open != NONE
		fi;
		given_back = uncopied[open] == count[open]; /* 0, when it was just opened */
		assert(given_back);
		count[open]++;
		uncopied[open]++;
		under_way++
	};
	send();
	if
	:: count[open] == LINES -> parcel_push()
	:: else
	fi
}

active proctype sender()
{
	byte sent, p, listed_then, alone;
	bool has_room, more, was_full;
#ifdef ALONE
	bool did_alone;
#endif

	do
	:: sent < MSGS ->
		look();
		if
		:: has_room -> cross()
#ifdef ALONE
		:: has_room && !did_alone ->
			did_alone = true;
			if
			:: open != NONE -> parcel_push()
			:: else
			fi;
			depth++;
			send();
			mail!ALONE_ONE
#endif
		:: else -> refused = 1
		fi;
		has_room = false
	:: open != NONE -> parcel_push()
	:: sent == MSGS && open == NONE -> break
	od
}

inline copy()
{
	uncopied[p] = 0
}

inline give_back()
{
	back[p] = true
}

inline add_local(n)
{
	do
	:: n > 0 ->
		local_depth++;
		filling = filling || local_depth == HALF;
		n--
	:: n == 0 -> break
	od
}

active proctype receiver()
{
	byte p, n, listed;

end:	do
	:: mail?p ->
		if
		:: p == ALONE_ONE -> depth--; n = 1; listed++
		:: else ->
			d_step { n = count[p]; listed = listed + n };
#ifdef BACK_EARLY
			give_back();
			copy();
#else
			copy();
#ifndef COUNT_FIRST
			give_back();
#endif
#endif
		fi;
		add_local(n);
#ifdef COUNT_FIRST
		if
		:: p != ALONE_ONE -> give_back()
		:: else
		fi;
#endif
		p = 0
	:: listed > 0 -> /* a turn */
		d_step { listed--; handled++; waiting--; local_depth-- };
		if
		:: filling && local_depth <= HALF / 2 -> filling = false
		:: else
		fi
	od
}

active proctype standstill()
{
	timeout;
	nothing_stuck = handled == MSGS && waiting == 0 && depth == 0 && local_depth == 0 &&
	                !filling && empty(mail) && open == NONE;
	assert(nothing_stuck)
}
#endif
