#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges the history of a run on the stack: the rules of checker.py, and what the stack adds.

    stack_checker.py HISTORY.jsonl

Redis may lose data: protocol.md ("What an answer means", 4) allows then that an acknowledged message
comes once more when its acknowledgement had not yet left, and whoever's session is gone logs in again.
The events `loss` say when and what (stack_faults.py), so nothing is excused without one:

  again           excused once for each loss, for messages acknowledged in what was lost (or,
                  seen there, within REBUILD_SECS after it), whose `delivered` nobody had seen
  session         excused for a session that was made in what was lost
  accepted_twice  excused when the first acceptance was remembered in what was lost, or when Redis was
                  not to be had (appends go on without it: io/kafka_log.c, 5), which is also what a
                  gateway that was frozen believes for a second: its questions are late.  Also after
                  5 s while no worker has the first yet (one has ended or stands still): claims
                  last so long, and here, behind proxies, servers do not agree on a sender's
                  gateway, which would remember it (decision 0006, 4).  That the second has no effect is still asked for, by `again` and `twice`
  order           of sends without an answer it is known only while no deadline can have refused one
                  of them unseen

  outage          while PostgreSQL was away, a send of a connected user was refused, or too few were
                  accepted and delivered as fast as else
  stuck           no conversation came back after a fault
  died            a process ended by itself, or not in order after SIGTERM
  dead_letter     a poisoned record is not among the dead letters, or a good one is
"""
import sys

import checker
import history

IN_FLIGHT_SECS = 5.0    # seen after a loss, done before it
REBUILD_SECS = 60.0     # for the inboxes to be made again from the log
REFUSABLE_SECS = 5.0    # a send that waits as long may be refused by a deadline
CLAIM_SECS = 5.0        # io/kafka_log_claim.c
WORKER_AWAY_SECS = 15.0  # until others have its partitions
OUTAGE_MARGIN_SECS = 3.0
OUTAGE_SLOW_SECS = 3.0
OUTAGE_SENDS = 50       # fewer say nothing
OUTAGE_SHARE = 0.95
RULES = ("outage", "stuck", "died", "dead_letter")


class StackChecker(checker.Checker):
    def __init__(self):
        super().__init__()
        self.losses = []       # (at, time, since)
        self.logins = {}       # user -> time of his session
        self.named = {}        # connection -> time of the session it named
        self.acked_time = {}   # message key -> last acknowledgement
        self.recv_time = {}    # message key -> first sight
        self.excused = {}      # message key -> has come again, and may be acknowledged anew
        self.once_excused = set()
        self.outages = []      # [begin, end]
        self.poisons = {}      # number -> found
        self.excuses = dict.fromkeys(("again", "session", "accepted_twice"), 0)
        self.by_delivered = False
        self.without_redis = []  # [begin, end] at some gateway
        self.worker_faults = []  # [begin, end]
        self.closed_time = {}  # connection -> time

    # losses and what they excuse
    def on_loss(self, ev):
        self.losses.append((self.at, self.now, ev["since"]))
        for key, msg in self.messages.items():
            if msg.delivered_at is None and self.acked_time.get(key, -1.0) >= ev["since"]:
                self._excuse(msg)

    def _excuse(self, msg):
        self.excused[msg.key] = False
        self.once_excused.add(msg.key)
        msg.confirmed_at = None
        for conn in self.conns.values():
            if conn.closed:
                continue
            for acks in [conn.acks, *conn.pings.values()]:
                acks[:] = [m for m in acks if m is not msg]

    def on_user(self, ev):
        super().on_user(ev)
        self.logins[ev["u"]] = self.now

    def on_login(self, ev):
        self.logins[ev["u"]] = self.now

    def on_connect(self, ev):
        self.named[ev["c"]] = self.logins[self.conns[ev["c"]].user]

    def on_refused(self, ev):
        user = self.conns[ev["c"]].user
        made = self.named.get(ev["c"], self.logins[user])  # not that of a login meanwhile
        if any(since <= made < time + IN_FLIGHT_SECS for _, time, since in self.losses):
            self.excuses["session"] += ev["code"] not in checker.TRANSIENT
            return
        super().on_refused(ev)

    def on_ack(self, ev):
        super().on_ack(ev)
        msg = self.messages.get((self.names.get(ev["from"].lower()), ev["m"]))
        if msg is None or msg.to != self.conns[ev["c"]].user:
            return
        self.acked_time[msg.key] = self.now
        if self.excused.get(msg.key):
            del self.excused[msg.key]  # this one counts
        elif msg.delivered_at is None and self._unbuilt(self.recv_time.get(msg.key, 0.0)):
            self._excuse(msg)  # acknowledged where nothing was

    def _unbuilt(self, seen):
        """The message came before a loss that may have taken it, and is not surely back."""
        return any(since <= seen < time + IN_FLIGHT_SECS and self.now < time + REBUILD_SECS
                   for _, time, since in self.losses)

    def on_recv(self, ev):
        super().on_recv(ev)
        key = (self.names.get(str(ev["from"]).lower()), ev["m"])
        self.recv_time.setdefault(key, self.now)
        if key in self.excused:
            self.excuses["again"] += not self.excused[key]
            self.excused[key] = True

    def _confirm(self, msg):
        if msg.key in self.excused or self.by_delivered and msg.key in self.once_excused:
            return  # it may be the acknowledgement that was lost which speaks here
        super()._confirm(msg)

    def on_delivered(self, ev):
        self.by_delivered = True
        super().on_delivered(ev)
        self.by_delivered = False

    def _judge_answer(self, msg, attempt, answer):
        if answer == "accepted":
            good = [a for a in msg.attempts if a.at < attempt.at and a.answer in checker.OK]
            if good and (self._alone(attempt) or all(self._forgotten(a) for a in good)
                         or self._unseen(msg, good, attempt)):
                self.stats["accepted"] += 1
                self.excuses["accepted_twice"] += 1
                return
        super()._judge_answer(msg, attempt, answer)

    def _forgotten(self, attempt):
        return any(since <= attempt.time < time + IN_FLIGHT_SECS for _, time, since in self.losses)

    def _unseen(self, msg, good, attempt):
        """Its claim has lapsed and no worker has it yet."""
        return (msg.first_recv is None and all(attempt.time - a.time >= CLAIM_SECS for a in good)
                and any(begin <= attempt.time and (end is None or a.time < end + WORKER_AWAY_SECS)
                        for begin, end in self.worker_faults for a in good))

    def _alone(self, attempt):
        """Redis may have been out of reach while it was sent and answered."""
        return any(begin <= self.now and (end is None or attempt.time < end + IN_FLIGHT_SECS)
                   for begin, end in self.without_redis)

    def on_close(self, ev):
        super().on_close(ev)
        self.closed_time[ev["c"]] = self.now

    def _surely_before(self, one, other, candidates):
        for a in one.attempts:
            if a.answer is None and self.closed_time.get(a.conn, self.now) - a.time > REFUSABLE_SECS:
                return super()._surely_before(self._answered(one), other, candidates)
        return super()._surely_before(one, other, candidates)

    @staticmethod
    def _answered(msg):
        """The message with those sends only whose end is known."""
        known = checker.Message(msg.key, msg.to, msg.digest)
        known.attempts = [a for a in msg.attempts if a.answer is not None]
        known.refused_before = msg.refused_before
        return known

    # the backends and processes
    def on_fault(self, ev):
        what, who = ev["what"], ev.get("who", "")
        if what.startswith(("redis_", "gateway_freeze")) or who.startswith("gateway") and who.endswith("~redis"):
            if ev["phase"] == "begin":
                self.without_redis.append([self.now, None])
            else:
                next(w for w in self.without_redis if w[1] is None)[1] = self.now
        if what.startswith("worker_") or what == "role_term" and who.startswith("worker"):
            if ev["phase"] == "begin":
                self.worker_faults.append([self.now, None])
            else:
                next(w for w in self.worker_faults if w[1] is None)[1] = self.now
        if ev["what"] == "postgres_stop":
            if ev["phase"] == "begin":
                self.outages.append([self.now, None])
            else:
                self.outages[-1][1] = self.now

    def on_stuck(self, ev):
        self.bad("stuck", f"after {ev['after']}, at {self.now:.1f} s")

    def on_died(self, ev):
        self.bad("died", f"{ev['who']} ended by itself with {ev['code']} at {self.now:.1f} s")

    def on_term(self, ev):
        if ev["code"] != 0:
            self.bad("died", f"{ev['who']}: {ev['code']} after SIGTERM at {self.now:.1f} s")

    def on_poison(self, ev):
        self.poisons[ev["n"]] = False

    def on_dead(self, ev):
        if ev["n"] is None or ev["n"] not in self.poisons:
            self.bad("dead_letter", f"not one of ours: {ev['text']}")
        else:
            self.poisons[ev["n"]] = True

    def run(self, events):
        self.times = [ev["t"] for ev in events]
        return super().run(events)

    def finish(self):
        super().finish()
        self.bad_letters()
        for begin, end in self.outages:
            self._judge_outage(begin + OUTAGE_MARGIN_SECS, end or self.now)

    def bad_letters(self):
        for number, found in self.poisons.items():
            if not found:
                self.bad("dead_letter", f"poison {number} is not there")

    def _judge_outage(self, begin, end):
        sends = fast = 0
        for msg in self.messages.values():
            for a in msg.attempts:
                if not begin <= a.time < end - OUTAGE_SLOW_SECS:
                    continue
                sends += 1
                if a.answer is not None and a.answer not in checker.OK:
                    self.bad("outage", f"a send was refused: {a.answer}", msg.key)
                seen = self.recv_time.get(msg.key)
                fast += a.answer in checker.OK and seen is not None \
                    and self.times[a.answered_at] - a.time < OUTAGE_SLOW_SECS \
                    and seen - a.time < OUTAGE_SLOW_SECS
        if sends < OUTAGE_SENDS or fast < OUTAGE_SHARE * sends:
            self.bad("outage", f"{begin:.1f} to {end:.1f} s: {sends} sends, {fast} delivered "
                     f"in {OUTAGE_SLOW_SECS:.0f} s")


def check(events):
    """(violations, stats, excuses)."""
    judge = StackChecker()
    violations, stats = judge.run(events)
    return violations, stats, judge.excuses


def main():
    events = history.load(sys.argv[1])
    violations, stats, excuses = check(events)
    print(stats, "excused:", excuses)
    if violations:
        print(checker.report(events, violations))
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
