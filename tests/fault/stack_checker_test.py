# SPDX-License-Identifier: MIT
"""The stack checker's own tests: a good history passes, and what each rule forbids is found, beside
everything that the plain checker finds."""
import checker_test
import stack_checker
from checker_test import A, B, Story


class StackStory(Story):
    def loss(self, since=None):
        """Without `since` Redis was emptied."""
        return self.add("loss", lost="tail" if since else "emptied", since=since or 0.0)

    def reopen(self, c, u):
        return self.add("dial", c=c, u=u, role="main").add("open", c=c)

    def refused(self, c, u, code="sessionExpired"):
        self.add("dial", c=c, u=u, role="main").add("connect", c=c)
        return self.add("refused", c=c, code=code)

    def outage(self, sends=60, answer=0.1, refuse=(), lose=0):
        self.add("fault", what="postgres_stop", phase="begin").wait(4)
        for n in range(sends):
            m = f"o{n}"
            self.send(1, m).wait(answer)
            if n in refuse:
                self.error(1, m, "SERVER_ERROR").send(1, m)
            self.accepted(1, m)
            if n < sends - lose:
                self.recv(2, m).ack(2, m).delivered(1, m)
        self.wait(4).add("fault", what="postgres_stop", phase="end")
        for n in range(sends - lose, sends):
            self.recv(2, f"o{n}").ack(2, f"o{n}").delivered(1, f"o{n}")
        return self

    def once(self, m):
        """Acknowledged and confirmed; the sender has not heard of it."""
        return self.send(1, m).accepted(1, m).recv(2, m).ack(2, m).sync(2, 1)


def base():
    return StackStory().open(1, A).open(2, B)


def good_again_after_emptied():
    s = base().once("m1").loss().reopen(3, B).recv(3, "m1").ack(3, "m1").sync(3, 1)
    return s.delivered(1, "m1")


def good_again_after_tail():
    s = base().wait(9).once("m1")
    return s.loss(s.time - 1).reopen(3, B).recv(3, "m1").ack(3, "m1").delivered(1, "m1")


def good_pong_after_loss():
    """What the lost acknowledgement brings about counts for nothing."""
    s = base().send(1, "m1").accepted(1, "m1").recv(2, "m1").ack(2, "m1").add("ping", c=2, p=1)
    s.loss().add("pong", c=2, p=1).delivered(1, "m1").reopen(3, B).recv(3, "m1")
    return s.ack(3, "m1").sync(3, 1)


def good_acknowledged_while_empty():
    s = base().send(1, "m1").accepted(1, "m1").recv(2, "m1").loss().ack(2, "m1").sync(2, 1)
    return s.reopen(3, B).recv(3, "m1").ack(3, "m1").delivered(1, "m1")


def good_login_after_loss():
    return base().loss().refused(3, A).add("login", u=A).reopen(4, A)


def good_login_beside_a_refusal():
    s = base().loss().wait(9).add("dial", c=3, u=A, role="main").add("connect", c=3)
    return s.add("login", u=A).add("refused", c=3, code="sessionExpired").reopen(4, A)


def good_accepted_again_after_loss():
    s = base().whole(1, 2, "m1", 1).loss().send(1, "m1").accepted(1, "m1")
    return s.delivered(1, "m1")


def good_accepted_again_without_redis():
    s = base().whole(1, 2, "m1", 1).add("fault", what="redis_freeze", phase="begin", who="")
    s.send(1, "m1").accepted(1, "m1").add("fault", what="redis_freeze", phase="end", who="")
    return s.wait(3).send(1, "m1").accepted(1, "m1")


def good_accepted_again_after_gateway_froze():
    s = base().whole(1, 2, "m1", 1).add("fault", what="gateway_freeze", phase="begin", who="gateway-1")
    s.wait(3).add("fault", what="gateway_freeze", phase="end", who="gateway-1")
    return s.wait(0.5).send(1, "m1").accepted(1, "m1")


def bad_accepted_twice_after_server_froze():
    s = base().whole(1, 2, "m1", 1).add("fault", what="server_freeze", phase="begin", who="server-1")
    s.wait(3).add("fault", what="server_freeze", phase="end", who="server-1")
    return s.wait(0.5).send(1, "m1").accepted(1, "m1")


def worker_killed():
    s = base().add("fault", what="worker_kill", phase="begin", who="worker-1")
    return s.wait(1).add("fault", what="worker_kill", phase="end", who="worker-1")


def good_accepted_again_while_no_worker_has_it():
    s = worker_killed().send(1, "m1").accepted(1, "m1").wait(6)
    return s.send(1, "m1").accepted(1, "m1").recv(2, "m1")


def bad_accepted_twice_within_the_claim():
    s = worker_killed().send(1, "m1").accepted(1, "m1").wait(4)
    return s.send(1, "m1").accepted(1, "m1").recv(2, "m1")


def bad_accepted_twice_though_a_worker_had_it():
    s = worker_killed().send(1, "m1").accepted(1, "m1").recv(2, "m1").wait(6)
    return s.send(1, "m1").accepted(1, "m1")


def bad_accepted_twice_with_all_workers_there():
    s = base().send(1, "m1").accepted(1, "m1").wait(6)
    return s.send(1, "m1").accepted(1, "m1").recv(2, "m1")


def good_refused_unseen():
    """m1 may have met its deadline before m2 went on."""
    s = base().send(1, "m1").send(1, "m2").wait(9).close(1).open(3, A).send(3, "m1").send(3, "m2")
    s.recv(2, "m2").recv(2, "m1").accepted(3, "m1").error(3, "m2")
    return s


def good_outage():
    return base().outage()


def good_poison():
    return base().add("poison", n=0).add("dead", n=0, text="").add("dead", n=0, text="")


def good_term():
    return base().add("term", who="server-0", code=0)


def bad_again_though_delivered():
    s = base().whole(1, 2, "m1", 1).loss()
    return s.reopen(3, B).recv(3, "m1").ack(3, "m1")


def bad_again_before_tail():
    s = base().once("m1").wait(9)
    s.loss(s.time - 1).reopen(3, B).recv(3, "m1").ack(3, "m1")
    return s.delivered(1, "m1")


def bad_again_twice():
    s = base().once("m1").loss().wait(90).reopen(3, B).recv(3, "m1").ack(3, "m1").sync(3, 1)
    return s.reopen(4, B).recv(4, "m1").ack(4, "m1").delivered(1, "m1")


def bad_twice_after_loss():
    return base().once("m1").loss().recv(2, "m1").ack(2, "m1").delivered(1, "m1")


def bad_acknowledged_long_after():
    s = base().send(1, "m1").accepted(1, "m1").recv(2, "m1").loss().wait(90).ack(2, "m1")
    return s.sync(2, 1).reopen(3, B).recv(3, "m1").ack(3, "m1").delivered(1, "m1")


def bad_lost_in_redis():
    return base().send(1, "m1").accepted(1, "m1").loss()


def bad_never_delivered_after_loss():
    return base().once("m1").loss().add("end")


def bad_session_without_loss():
    return base().refused(3, A)


def bad_session_after_login():
    return base().loss().wait(9).add("login", u=A).refused(3, A)


def bad_session_named_after_login():
    s = base().loss().wait(9).add("dial", c=3, u=A, role="main").add("login", u=A)
    return s.add("connect", c=3).add("refused", c=3, code="sessionExpired")


def bad_session_before_tail():
    s = base().wait(9)
    return s.loss(s.time - 1).refused(3, A)


def bad_accepted_twice_long_after():
    s = base().loss().wait(9).whole(1, 2, "m1", 1)
    return s.send(1, "m1").accepted(1, "m1").delivered(1, "m1")


def bad_accepted_twice_long_after_freeze():
    s = base().whole(1, 2, "m1", 1).add("fault", what="redis_freeze", phase="begin", who="")
    s.add("fault", what="redis_freeze", phase="end", who="").wait(9)
    return s.send(1, "m1").accepted(1, "m1")


def bad_order_unanswered():
    s = base().send(1, "m1").send(1, "m2").wait(2).close(1).open(3, A).send(3, "m1").send(3, "m2")
    s.recv(2, "m2").recv(2, "m1").accepted(3, "m1").error(3, "m2")
    return s


def bad_outage_refused():
    return base().outage(refuse=(3,))


def bad_outage_slow():
    return base().outage(answer=4)


def bad_outage_silent():
    return base().outage(sends=3)


def bad_outage_not_delivered():
    return base().outage(lose=10)


def bad_stuck():
    return base().add("stuck", after="kafka_kill", reached=0.0)


def bad_died():
    return base().add("died", who="worker-0", code=-6)


def bad_term():
    return base().add("term", who="worker-0", code=None)


def bad_poison_gone():
    return base().add("poison", n=0).add("poison", n=1).add("dead", n=0, text="")


def bad_good_one_dead():
    return base().add("poison", n=0).add("dead", n=0, text="").add("dead", n=None, text="{}")


GOOD = [v for k, v in list(globals().items()) if k.startswith("good_")]
BAD = {
    bad_again_though_delivered: "again", bad_again_before_tail: "again", bad_again_twice: "again",
    bad_twice_after_loss: "twice", bad_acknowledged_long_after: "again",
    bad_lost_in_redis: "lost", bad_never_delivered_after_loss: "not_delivered",
    bad_session_without_loss: "session", bad_session_after_login: "session",
    bad_session_named_after_login: "session",
    bad_session_before_tail: "session", bad_accepted_twice_long_after: "accepted_twice",
    bad_accepted_twice_long_after_freeze: "accepted_twice",
    bad_accepted_twice_within_the_claim: "accepted_twice",
    bad_accepted_twice_though_a_worker_had_it: "accepted_twice",
    bad_accepted_twice_with_all_workers_there: "accepted_twice",
    bad_accepted_twice_after_server_froze: "accepted_twice", bad_order_unanswered: "order",
    bad_outage_refused: "outage", bad_outage_slow: "outage", bad_outage_silent: "outage",
    bad_outage_not_delivered: "outage", bad_stuck: "stuck", bad_died: "died", bad_term: "died",
    bad_poison_gone: "dead_letter", bad_good_one_dead: "dead_letter",
}


async def run(ctx):
    for story in [*checker_test.GOOD, *GOOD]:
        violations, _, _ = stack_checker.check(story().events)
        ctx.check(f"stack: passes {story.__name__}", not violations, str(violations[:3]))
    for story, rule in {**checker_test.BAD, **BAD}.items():
        violations, _, _ = stack_checker.check(story().events)
        rules = {v[0] for v in violations}
        extra = rules - {rule} - ({"first_order"} if rule == "order" else set())
        ctx.check(f"stack: finds {story.__name__[4:]}", rule in rules and not extra,
                  f"reported {sorted(rules)}, wanted {rule}")
    missing = [k for k, v in globals().items() if k.startswith("bad_") and v not in BAD]
    ctx.check("stack: each rule has a bad history, each bad history a rule",
              not missing and set(stack_checker.RULES) <= set(BAD.values()), missing)
