#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges a run from its written history alone (format: history.py).

    checker.py HISTORY.jsonl      prints every broken rule with its events; exit code tells

Only what the protocol promises is asked for, and an order is demanded only where the
client can know it (see `surely_before`).  The rules:

  lost              an accepted message (or DUPLICATE_MESSAGE) never reached its recipient
  order             one connection saw two messages of one sender in the wrong order
  first_order       a recipient's first sights of two messages are in the wrong order
  twice             one connection saw a message twice
  again             a message came on a connection opened after its acknowledgement counted
  unanswered        a send got no answer within the limit and its connection lived on
  answers           more answers than sends, or an answer to nothing
  answer_order      answers to one recipient's messages overtook each other
  not_delivered     acknowledged for certain (or at all, in a run that came to its `end`:
                    it would have come again), and the sender never saw `delivered`
  early_delivered   `delivered` before the recipient acknowledged
  early             a message came before connectSuccess
  content           a message changed on its way, or reached somebody else
  phantom           a message that nobody sent, or that was refused for certain
  accepted_twice    accepted again although the sender had its acceptance in hand
  false_duplicate   DUPLICATE_MESSAGE for an id that was never sent before
  session           a valid session was refused
"""
import sys

import history

ANSWER_LIMIT = 15.0
GRACE = 1.0  # our own loop may be late in looking
OK = ("accepted", "DUPLICATE_MESSAGE")
UNCERTAIN = ("KAFKA_FAILURE", "SERVER_ERROR")  # refused, but maybe written
TRANSIENT = ("SERVER_ERROR",)  # to `connect`


class Attempt:
    """One sendMessage on one connection."""
    __slots__ = ("conn", "at", "time", "answer", "answered_at")

    def __init__(self, conn, at, time):
        self.conn = conn
        self.at = at
        self.time = time
        self.answer = None
        self.answered_at = None


class Message:
    __slots__ = ("key", "to", "digest", "attempts", "first_recv", "acked_at", "confirmed_at",
                 "delivered_at", "refused_before")

    def __init__(self, key, to, digest):
        self.key = key  # (sender, id)
        self.to = to
        self.digest = digest
        self.attempts = []
        self.first_recv = None
        self.acked_at = None
        self.confirmed_at = None
        self.delivered_at = None
        self.refused_before = False  # an attempt was refused before it was accepted

    def settle(self):
        """Attempts that can be the accepted one, in order; [] when none is for certain."""
        candidates = []
        for a in self.attempts:
            if a.answer is None or a.answer == "accepted" or a.answer in UNCERTAIN:
                candidates.append(a)
            if a.answer in OK:
                return candidates
            if a.answer is not None:
                self.refused_before = True
        return []

    def accepted(self):
        return any(a.answer in OK for a in self.attempts)


class Connection:
    __slots__ = ("user", "dialed_at", "seen", "order", "waiting", "acks", "pings", "opened",
                 "closed")

    def __init__(self, user, at):
        self.user = user
        self.dialed_at = at
        self.seen = {}      # message key -> where
        self.order = {}     # sender -> keys in order of sight
        self.waiting = {}   # recipient -> attempts without an answer, in order
        self.acks = []      # acknowledged since the last ping
        self.pings = {}     # number -> acknowledged before it
        self.opened = False
        self.closed = False


class Checker:
    def __init__(self):
        self.violations = []  # (rule, text, message key or None)
        self.messages = {}
        self.conns = {}
        self.names = {}       # user id -> number
        self.ids = {}         # number -> user id
        self.firsts = {}      # (sender, recipient) -> keys in order of first sight
        self.stats = dict.fromkeys(
            ("users", "sends", "messages", "accepted", "duplicates", "received", "repeated",
             "confirmed", "kills", "pairs_in_order"), 0)
        self.ended = False
        self.now = 0.0
        self.at = 0

    def bad(self, rule, text, key=None):
        self.violations.append((rule, text, key))

    # events, one method a kind
    def on_user(self, ev):
        self.names[ev["id"].lower()] = ev["u"]
        self.ids[ev["u"]] = ev["id"].lower()
        self.stats["users"] += 1

    def on_dial(self, ev):
        self.conns[ev["c"]] = Connection(ev["u"], self.at)

    def on_open(self, ev):
        self.conns[ev["c"]].opened = True

    def on_refused(self, ev):
        if ev["code"] not in TRANSIENT:
            self.bad("session", f"connect on connection {ev['c']} refused: {ev['code']}")

    def on_send(self, ev):
        conn = self.conns[ev["c"]]
        key = (conn.user, ev["m"])
        msg = self.messages.get(key)
        if msg is None:
            msg = self.messages[key] = Message(key, ev["to"], ev["h"])
            self.stats["messages"] += 1
        attempt = Attempt(ev["c"], self.at, self.now)
        msg.attempts.append(attempt)
        conn.waiting.setdefault(ev["to"], []).append((key, attempt))
        self.stats["sends"] += 1

    def on_answer(self, ev):
        conn = self.conns[ev["c"]]
        key = (conn.user, ev["m"])
        msg = self.messages.get(key)
        waiting = conn.waiting.get(msg.to, []) if msg else []
        place = next((i for i, (k, _) in enumerate(waiting) if k == key), None)
        if place is None:
            self.bad("answers", f"an answer to no open send on connection {ev['c']}: {ev}", key)
            return
        if place:
            self.bad("answer_order", f"connection {ev['c']}: the answer overtook the one to "
                     f"{waiting[0][0]}", key)
        attempt = waiting.pop(place)[1]
        answer = ev["r"] if ev["r"] == "accepted" else ev["code"]
        self._judge_answer(msg, attempt, answer)
        attempt.answer = answer
        attempt.answered_at = self.at
        if self.now - attempt.time > ANSWER_LIMIT + GRACE:
            self.bad("unanswered", f"answered only after {self.now - attempt.time:.1f} s", key)

    def _judge_answer(self, msg, attempt, answer):
        earlier = [a for a in msg.attempts if a.at < attempt.at]
        if answer == "accepted":
            self.stats["accepted"] += 1
            if any(a.answer in OK and a.answered_at < attempt.at for a in earlier):
                self.bad("accepted_twice", "accepted although it had been accepted", msg.key)
        elif answer == "DUPLICATE_MESSAGE":
            self.stats["duplicates"] += 1
            if not any(a.answer is None or a.answer in OK + UNCERTAIN for a in earlier):
                self.bad("false_duplicate", "no earlier send can have been accepted", msg.key)

    def on_recv(self, ev):
        conn = self.conns[ev["c"]]
        sender = self.names.get(str(ev["from"]).lower())
        key = (sender, ev["m"])
        msg = self.messages.get(key)
        self.stats["received"] += 1
        if msg is None:
            self.bad("phantom", f"connection {ev['c']} got a message that nobody sent", key)
            return
        if ev["h"] != msg.digest or msg.to != conn.user:
            self.bad("content", f"connection {ev['c']} of user {conn.user} got it changed, "
                     "or it is not for him", key)
        if not conn.opened:
            self.bad("early", f"on connection {ev['c']}", key)
        if key in conn.seen:
            self.bad("twice", f"on connection {ev['c']}", key)
            return
        conn.seen[key] = self.at
        conn.order.setdefault(sender, []).append(key)
        if msg.confirmed_at is not None and msg.confirmed_at < conn.dialed_at:
            self.bad("again", f"connection {ev['c']} was opened after the acknowledgement "
                     "counted", key)
        if msg.first_recv is None:
            msg.first_recv = self.at
            self.firsts.setdefault((sender, conn.user), []).append(key)
        else:
            self.stats["repeated"] += 1

    def on_ack(self, ev):
        conn = self.conns[ev["c"]]
        msg = self.messages.get((self.names.get(ev["from"].lower()), ev["m"]))
        if msg is None or msg.to != conn.user:
            return  # not his: must have no effect
        if msg.acked_at is None:
            msg.acked_at = self.at
        conn.acks.append(msg)

    def on_ackerr(self, ev):
        """Not stored, so it does not count and the message comes again."""
        conn = self.conns[ev["c"]]
        for acks in [conn.acks, *conn.pings.values()]:
            acks[:] = [m for m in acks if m.key[1] != ev["m"]]

    def on_ping(self, ev):
        conn = self.conns[ev["c"]]
        conn.pings[ev["p"]] = conn.acks
        conn.acks = []

    def on_pong(self, ev):
        pings = self.conns[ev["c"]].pings
        for number in [n for n in pings if n <= ev["p"]]:
            for msg in pings.pop(number):
                self._confirm(msg)

    def _confirm(self, msg):
        if msg.confirmed_at is None:
            msg.confirmed_at = self.at
            self.stats["confirmed"] += 1

    def on_delivered(self, ev):
        key = (self.conns[ev["c"]].user, ev["m"])
        msg = self.messages.get(key)
        if msg is None or msg.acked_at is None:
            self.bad("early_delivered", f"connection {ev['c']}: nobody has acknowledged it",
                     key)
            return
        if msg.delivered_at is None:
            msg.delivered_at = self.at
        self._confirm(msg)

    def on_close(self, ev):
        conn = self.conns[ev["c"]]
        conn.closed = True
        self._late(ev["c"], conn)

    def on_kill(self, _):
        self.stats["kills"] += 1

    def on_end(self, _):
        self.ended = True

    # the end
    def _late(self, number, conn):
        for waiting in conn.waiting.values():
            for key, attempt in waiting:
                if self.now - attempt.time > ANSWER_LIMIT + GRACE:
                    self.bad("unanswered", f"connection {number} lived on for "
                             f"{self.now - attempt.time:.1f} s", key)

    def finish(self):
        for number, conn in self.conns.items():
            if conn.closed:
                continue
            self._late(number, conn)
            for waiting in conn.waiting.values():
                for key, attempt in waiting:
                    if self.now - attempt.time <= ANSWER_LIMIT + GRACE:
                        self.bad("unanswered", f"no answer at the end on connection {number}",
                                 key)
        for msg in self.messages.values():
            self._finish_message(msg)
        candidates = {key: m.settle() for key, m in self.messages.items()}
        for (sender, recipient), keys in self.firsts.items():
            self._in_order("first_order", f"user {recipient}", keys, candidates, True)
        for number, conn in self.conns.items():
            for keys in conn.order.values():
                self._in_order("order", f"connection {number}", keys, candidates, False)

    def _finish_message(self, msg):
        if msg.accepted():
            if msg.first_recv is None:
                self.bad("lost", f"user {msg.to} never got it", msg.key)
            settled = msg.confirmed_at is not None or self.ended and msg.acked_at is not None
            if settled and msg.delivered_at is None:
                self.bad("not_delivered", "acknowledged, and the sender was not told", msg.key)
        elif msg.first_recv is not None:
            answers = [a.answer for a in msg.attempts]
            if all(a is not None and a not in UNCERTAIN for a in answers):
                self.bad("phantom", f"refused with {answers}, and delivered", msg.key)

    def _surely_before(self, one, other, candidates):
        """True when `one` must have been accepted before `other`.

        Each send that may be the acceptance of `other` needs a send of `one` before it: an
        answered one (accepted, or known as duplicate) whose answer was read before, or which
        stood earlier on the same connection; or, when `one` was never refused, an earlier
        unanswered one on the same connection, since order of sending is order of acceptance.
        """
        theirs = candidates[other.key]
        if not theirs or not candidates[one.key]:
            return False

        def covered(b):
            for a in one.attempts:
                if a.answer in OK and a.answered_at < b.at:
                    return True
                if a.conn == b.conn and a.at < b.at and (
                        a.answer in OK or a.answer is None and not one.refused_before):
                    return True
            return False

        return all(covered(b) for b in theirs)

    def _in_order(self, rule, where, keys, candidates, count):
        msgs = [self.messages[k] for k in keys]
        for i, early in enumerate(msgs):
            for late in msgs[i + 1:]:
                if self._surely_before(late, early, candidates):
                    self.bad(rule, f"{where} saw it before {late.key}, which was accepted "
                             "earlier", early.key)
                elif count:
                    self.stats["pairs_in_order"] += 1

    def run(self, events):
        kinds = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("on_")}
        for self.at, ev in enumerate(events):
            self.now = ev["t"]
            handle = kinds.get(ev["e"])
            if handle:
                handle(ev)
        self.finish()
        return self.violations, self.stats


def check(events):
    """(violations, stats); a violation is (rule, text, key of the message or None)."""
    return Checker().run(events)


def excerpt(events, violation, limit=40):
    """The events of the message a violation is about, and of the process, as lines."""
    key = violation[2]
    if key is None:
        return []
    conns = {ev["c"] for ev in events if ev.get("m") == key[1]}
    acked = {}  # connection -> syncs to show after the acknowledgement
    lines = []
    for i, ev in enumerate(events):
        if ev["e"] == "ack" and ev["m"] == key[1]:
            acked[ev["c"]] = 4
        elif ev["e"] in ("ping", "pong") and acked.get(ev["c"]):
            acked[ev["c"]] -= 1
            lines.append((False, f"{i}: {ev}"))
        if ev.get("m") == key[1] or ev["e"] in ("kill", "term", "start") \
                or ev.get("c") in conns and ev["e"] in ("dial", "open", "close"):
            lines.append((ev.get("m") == key[1], f"{i}: {ev}"))
    first = next((i for i, line in enumerate(lines) if line[0]), 0)
    return [text for _, text in lines[max(0, first - 3):first - 3 + limit]]


def report(events, violations, most=5):
    out = []
    for violation in violations[:most]:
        rule, text, key = violation
        out.append(f"{rule}: message {key}: {text}")
        out += ["    " + line for line in excerpt(events, violation)]
    if len(violations) > most:
        out.append(f"... and {len(violations) - most} more")
    return "\n".join(out)


def main():
    events = history.load(sys.argv[1])
    violations, stats = check(events)
    print(stats)
    if violations:
        print(report(events, violations))
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
