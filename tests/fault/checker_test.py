# SPDX-License-Identifier: MIT
"""The checker's own tests: a good history passes, and each broken rule is found.

`Story` writes histories in short form; each bad story differs from a good one in the one
thing that its rule forbids.
"""
import checker

A, B, C = 0, 1, 2
IDS = ["aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000",
       "cccccccc-0000-4000-8000-000000000000"]


class Story:
    """Users A, B, C; connection numbers are given by the tests."""

    def __init__(self):
        self.events = []
        self.time = 0.0
        self.to = {}
        for u in (A, B, C):
            self.add("user", u=u, name=f"u{u}", id=IDS[u])

    def add(self, kind, **fields):
        self.time = round(self.time + 0.01, 6)
        self.events.append({"e": kind, "t": self.time, **fields})
        return self

    def wait(self, seconds):
        self.time += seconds
        return self

    def open(self, c, u):
        return self.add("dial", c=c, u=u, role="main").add("open", c=c)

    def close(self, c):
        return self.add("close", c=c, code=1006, by="peer")

    def send(self, c, m, to=B):
        self.to[m] = to
        return self.add("send", c=c, m=m, to=to, h="h" + m)

    def accepted(self, c, m):
        return self.add("answer", c=c, m=m, r="accepted", code=None)

    def error(self, c, m, code="DUPLICATE_MESSAGE"):
        return self.add("answer", c=c, m=m, r="error", code=code)

    def recv(self, c, m, sender=A, to=B, h=None):
        return self.add("recv", c=c, m=m, **{"from": IDS[sender]}, to=IDS[to], h=h or "h" + m)

    def ack(self, c, m, sender=A):
        return self.add("ack", c=c, m=m, **{"from": IDS[sender]})

    def sync(self, c, p):
        return self.add("ping", c=c, p=p).add("pong", c=c, p=p)

    def delivered(self, c, m):
        return self.add("delivered", c=c, m=m)

    def whole(self, a, b, m, p):
        """The full life of one message from connection a to connection b."""
        return (self.send(a, m).accepted(a, m).recv(b, m).ack(b, m).sync(b, p)
                .delivered(a, m))


def base():
    return Story().open(1, A).open(2, B)


def good_plain():
    s = base()
    for n in range(5):
        s.whole(1, 2, f"m{n}", n)
    return s


def good_in_flight():
    """Several in flight, acknowledged in bulk, answers of two recipients interleaved."""
    s = base().open(3, C)
    s.send(1, "m1").send(1, "n1", C).send(1, "m2").send(1, "n2", C)
    s.accepted(1, "n1").accepted(1, "n2").accepted(1, "m1").accepted(1, "m2")
    s.recv(2, "m1").recv(2, "m2").recv(3, "n1", to=C).recv(3, "n2", to=C)
    for c, m in ((2, "m2"), (2, "m1"), (3, "n1"), (3, "n2")):
        s.ack(c, m)
    s.sync(2, 1).sync(3, 1)
    for m in ("m1", "m2", "n1", "n2"):
        s.delivered(1, m)
    return s.delivered(1, "m1")  # at least once


def good_kill():
    """Killed with two in flight: one had been accepted unseen, the other not."""
    s = base().send(1, "m1").send(1, "m2").add("kill").close(1).close(2)
    s.add("start").open(3, A).open(4, B).recv(4, "m1")
    s.send(3, "m1").send(3, "m2").error(3, "m1").accepted(3, "m2").recv(4, "m2")
    s.ack(4, "m1").ack(4, "m2").sync(4, 1).delivered(3, "m1").delivered(3, "m2")
    return s


def good_withheld():
    """Not acknowledged, so it comes again on the next connection, in order."""
    s = base().send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(2, "m1").close(2)
    s.open(3, B).recv(3, "m1").ack(3, "m1").sync(3, 9).delivered(1, "m1")
    return s


def good_second_connection():
    """A connection that was open already may still see what another one settles."""
    s = base().open(3, B).send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(2, "m1").sync(2, 1)
    return s.recv(3, "m1").delivered(1, "m1")


def good_refused_then_sent_again():
    """A failed send may be repeated after a younger one: then it is the younger."""
    s = base().send(1, "m1").error(1, "m1", "INBOX_FULL").send(1, "m2").accepted(1, "m2")
    s.send(1, "m1").accepted(1, "m1").recv(2, "m2").recv(2, "m1")
    s.ack(2, "m1").ack(2, "m2").sync(2, 1).delivered(1, "m1").delivered(1, "m2")
    return s


def good_same_id():
    """Two senders use one id."""
    s = base().open(3, C).send(1, "m1").accepted(1, "m1").send(3, "m1").accepted(3, "m1")
    s.recv(2, "m1").recv(2, "m1", sender=C).ack(2, "m1").ack(2, "m1", C).sync(2, 1)
    return s.delivered(1, "m1").delivered(3, "m1")


def good_probe():
    """Sent again after its acceptance: a duplicate, delivered once."""
    s = base().whole(1, 2, "m1", 1)
    return s.send(1, "m1").error(1, "m1")


def good_broken_ack():
    """The acknowledgement could not be stored: the message comes again."""
    s = base().send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(2, "m1").add("ping", c=2, p=1)
    s.add("ackerr", c=2, m="m1", code="SERVER_ERROR").add("pong", c=2, p=1).close(2)
    return s.open(3, B).recv(3, "m1").ack(3, "m1").sync(3, 1).delivered(1, "m1")


def bad_lost():
    return base().send(1, "m1").accepted(1, "m1")


def bad_lost_duplicate():
    s = base().send(1, "m1").add("kill").close(1).open(3, A)
    return s.send(3, "m1").error(3, "m1")


def bad_order():
    return (base().send(1, "m1").send(1, "m2").accepted(1, "m1").accepted(1, "m2")
            .recv(2, "m2").recv(2, "m1"))


def bad_order_on_second_connection():
    """The first sights are in order; the repeated ones are not."""
    s = base().send(1, "m1").send(1, "m2").accepted(1, "m1").accepted(1, "m2")
    s.recv(2, "m1").recv(2, "m2").close(2).open(3, B)
    return s.recv(3, "m2").recv(3, "m1")


def bad_order_after_kill():
    s = base().send(1, "m1").send(1, "m2").add("kill").close(1).close(2)
    s.open(3, A).open(4, B).send(3, "m1").send(3, "m2").accepted(3, "m1").error(3, "m2")
    return s.recv(4, "m2").recv(4, "m1")


def bad_first_order():
    """Each connection for itself is in order; m2 was seen while m1 had not come yet."""
    s = base().send(1, "m1").send(1, "m2").accepted(1, "m1").accepted(1, "m2")
    return s.recv(2, "m2").close(2).open(3, B).recv(3, "m1").recv(3, "m2")


def bad_twice():
    return base().send(1, "m1").accepted(1, "m1").recv(2, "m1").recv(2, "m1")


def bad_again_after_pong():
    s = base().whole(1, 2, "m1", 1)
    return s.close(2).open(3, B).recv(3, "m1")


def bad_again_after_delivered():
    s = base().send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(2, "m1").delivered(1, "m1")
    return s.close(2).open(3, B).recv(3, "m1")


def bad_unanswered():
    s = base().whole(1, 2, "m0", 1).send(1, "m1").wait(20)
    return s.close(1)


def bad_unanswered_at_end():
    return base().send(1, "m1").recv(2, "m1")


def bad_late_answer():
    return base().send(1, "m1").recv(2, "m1").wait(17).accepted(1, "m1")


def bad_two_answers():
    return base().whole(1, 2, "m1", 1).accepted(1, "m1")


def bad_answer_to_nothing():
    return base().accepted(1, "m7")


def bad_answer_order():
    return (base().send(1, "m1").send(1, "m2").accepted(1, "m2").accepted(1, "m1")
            .recv(2, "m1").recv(2, "m2"))


def bad_refusal_overtakes():
    return (base().send(1, "m1").send(1, "m2").error(1, "m2", "INBOX_FULL")
            .accepted(1, "m1").recv(2, "m1"))


def bad_not_delivered():
    return base().send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(2, "m1").sync(2, 1)


def bad_not_delivered_at_end():
    """No ping, but the run ended without the message coming again: it was settled."""
    s = base().send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(2, "m1").close(2)
    return s.open(3, B).add("end")


def bad_early_delivered():
    return base().send(1, "m1").accepted(1, "m1").recv(2, "m1").delivered(1, "m1")


def bad_foreign_ack():
    """C acknowledges a message to B and it has an effect."""
    s = base().open(3, C).send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(3, "m1").sync(3, 1)
    return s.delivered(1, "m1")


def bad_early():
    s = base().send(1, "m1").accepted(1, "m1").add("dial", c=3, u=B, role="main")
    return s.recv(3, "m1")


def bad_content():
    return base().send(1, "m1").accepted(1, "m1").recv(2, "m1", h="other")


def bad_recipient():
    s = base().open(3, C).send(1, "m1").accepted(1, "m1").recv(2, "m1")
    return s.recv(3, "m1")


def bad_phantom():
    return base().recv(2, "m1")


def bad_refused_and_delivered():
    return base().send(1, "m1").error(1, "m1", "INBOX_FULL").recv(2, "m1")


def bad_accepted_twice():
    return base().whole(1, 2, "m1", 1).send(1, "m1").accepted(1, "m1")


def bad_false_duplicate():
    return base().send(1, "m1").error(1, "m1").recv(2, "m1")


def bad_false_duplicate_after_refusal():
    s = base().send(1, "m1").error(1, "m1", "INBOX_FULL").send(1, "m1").error(1, "m1")
    return s.recv(2, "m1")


def bad_session():
    return (base().add("kill").close(1).add("dial", c=3, u=A, role="main")
            .add("refused", c=3, code="INVALID_TOKEN"))


def good_written_though_refused():
    """KAFKA_FAILURE may be an answer that did not come; m1 was written where it was sent first."""
    s = base().send(1, "m1").error(1, "m1", "KAFKA_FAILURE").send(1, "m2").accepted(1, "m2")
    s.recv(2, "m1").recv(2, "m2").send(1, "m1").error(1, "m1")
    s.send(1, "m3").error(1, "m3", "KAFKA_FAILURE").send(1, "m4").accepted(1, "m4")
    return s.recv(2, "m3").recv(2, "m4").send(1, "m3").accepted(1, "m3")


GOOD = [good_plain, good_written_though_refused, good_in_flight, good_kill, good_withheld,
        good_second_connection,
        good_refused_then_sent_again, good_same_id, good_probe, good_broken_ack]

BAD = {
    bad_lost: "lost", bad_lost_duplicate: "lost", bad_order: "order",
    bad_order_on_second_connection: "order", bad_order_after_kill: "order",
    bad_first_order: "first_order", bad_twice: "twice", bad_again_after_pong: "again",
    bad_again_after_delivered: "again", bad_unanswered: "unanswered",
    bad_unanswered_at_end: "unanswered", bad_late_answer: "unanswered",
    bad_two_answers: "answers", bad_answer_to_nothing: "answers",
    bad_answer_order: "answer_order", bad_refusal_overtakes: "answer_order",
    bad_not_delivered: "not_delivered", bad_not_delivered_at_end: "not_delivered",
    bad_early_delivered: "early_delivered",
    bad_early: "early", bad_foreign_ack: "early_delivered", bad_content: "content",
    bad_recipient: "content",
    bad_phantom: "phantom", bad_refused_and_delivered: "phantom",
    bad_accepted_twice: "accepted_twice", bad_false_duplicate: "false_duplicate",
    bad_false_duplicate_after_refusal: "false_duplicate", bad_session: "session",
}


async def run(ctx):
    for story in GOOD:
        violations, _ = checker.check(story().events)
        ctx.check(f"passes {story.__name__}", not violations, str(violations[:3]))
    for story, rule in BAD.items():
        events = story().events
        violations, _ = checker.check(events)
        rules = {v[0] for v in violations}
        # Reversing two messages breaks both order rules; nothing else may be reported.
        extra = rules - {rule} - ({"first_order"} if rule == "order" else set())
        ctx.check(f"finds {story.__name__[4:]}", rule in rules and not extra,
                  f"reported {sorted(rules)}, wanted {rule}")
    named = {line.split()[0] for line in checker.__doc__.split("The rules:")[1].splitlines()
             if line.startswith("  ") and not line.startswith("   ")}
    ctx.check("each rule has a bad history", named == set(BAD.values()),
              sorted(named ^ set(BAD.values())))
