# SPDX-License-Identifier: MIT
"""A crowd on a deployment, a seeded schedule of faults, and the verdict of stack_checker.py.

    stack_run.py BINARY FOLDER     FAULT_SECS, FAULT_SEED, FAULT_ONLY=kind,kind (see stack_faults.py)
"""
import asyncio
import os
import random
import re
import shutil
import sys
import time
import traceback

import accounts
import checker
import fault
import history
import load
import part_kill
import stack_checker
import stack_checker_test
import stack_faults
import stack_roles

USERS = 60
DRAIN_SECS = 120
PAUSE_SECS = 0.8   # between two steps of a user, mean
SECS = 900
RULES = {**part_kill.RULES,
         "outage": "without PostgreSQL the conversations of connected users go on",
         "stuck": f"after each fault conversations go on within {stack_faults.PROGRESS_SECS} s",
         "died": "no process ended but by us, and in order after SIGTERM",
         "dead_letter": "poisoned records are dead letters, and no others"}


class Watch(history.History):
    """A history that knows who got something which was sent after a moment."""

    def __init__(self, path, users):
        super().__init__(path)
        self.users = users
        self.sent = {}
        self.mark = 0.0
        self.got = set()

    def add(self, kind, **fields):
        super().add(kind, **fields)
        if kind == "send":
            self.sent.setdefault(fields["m"], time.monotonic())
        elif kind == "recv" and self.sent.get(fields["m"], 0.0) > self.mark:
            self.got.add(fields["to"])

    def look_on(self):
        self.mark = time.monotonic()
        self.got = set()

    def reached(self):
        return len(self.got) / self.users


async def break_it(ctx, dep, hist, seconds, only):
    rng = random.Random(f"schedule:{ctx.seed}")
    people = await accounts.register_many(dep.port, USERS, ctx.rng)
    habits = load.Habits()
    habits.pause, habits.logs_in = PAUSE_SECS, True
    crowd = load.Crowd(dep, hist, ctx.rng, people, habits)
    faults = stack_faults.Faults(dep, hist, habits, rng, seconds)
    ctx.say(f"{USERS} users after {time.monotonic() - hist.start:.1f} s")
    crowd.start()
    try:
        await faults.progress("start")
        await faults.run(only)
        left = await crowd.drain(DRAIN_SECS)
        ctx.check("everything came to rest", left == (0, 0, 0),
                  "left: %d unanswered, %d not delivered, %d not acknowledged" % left)
        crowd.reconnect_all()  # an empty inbox must stay empty
        await asyncio.sleep(3.0)
        for text in await faults.dead_letters():
            number = re.search(r"poison-(\d+)", text)
            hist.add("dead", n=int(number[1]) if number else None, text=text[:200])
        hist.add("end")
    finally:
        await crowd.stop()
    codes = await dep.stop()
    ctx.check("all end in order", not codes, codes)
    ctx.say("faults: " + ", ".join(f"{n} {k}" for k, n in sorted(faults.ran.items())))
    if not only and faults.not_run():
        ctx.say(f"NOT RUN in {seconds} s: {', '.join(faults.not_run())}")
    ctx.say("slowest to come back: %.1f s after %s" % faults.slowest)
    ctx.say(f"connections through proxies: {sum(x.passed for x in dep.links())}; "
            f"other frames: {crowd.unexpected or 'none'}")


def judge(ctx, path):
    events = history.load(path)
    violations, stats, excuses = stack_checker.check(events)
    for rule, name in RULES.items():
        broken = [v for v in violations if v[0] == rule]
        ctx.check(name, not broken, f"{len(broken)} times\n" + checker.report(events, broken, 3))
    assert {v[0] for v in violations} <= set(RULES)
    ctx.say(", ".join(f"{v} {k}" for k, v in stats.items()))
    ctx.say("excused by lost data: " + ", ".join(f"{v} {k}" for k, v in excuses.items()))
    span = events[-1]["t"]
    for what in ("accepted", "received", "confirmed"):
        ctx.check(f"the run had at least 5 {what} a second", stats[what] >= 5 * span, stats[what])


async def run(ctx, seconds, only):
    await stack_checker_test.run(ctx)
    path = ctx.path("history.jsonl")
    hist = Watch(path, USERS)
    dep = stack_roles.Deployment(ctx.binary, ctx.path("run"), ctx.rng, hist.add)
    try:
        await dep.start()
        ctx.say(f"the deployment runs after {time.monotonic() - hist.start:.1f} s")
        await break_it(ctx, dep, hist, seconds, only)
    except Exception:
        ctx.check("runs to its end", False, traceback.format_exc())
    finally:
        await dep.end()
        hist.close()
    judge(ctx, path)


def keep(ctx):
    """What explains a failure, where the next build does not delete it."""
    to = os.path.join(stack_roles.REPO, "build", "fault", f"stack-{ctx.seed}")
    shutil.rmtree(to, ignore_errors=True)
    os.makedirs(to)
    for folder in (ctx.folder, ctx.path("run"), ctx.path("run", "stack", "log")):
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if name.endswith((".log", ".jsonl")):
                shutil.copy(os.path.join(folder, name), to)
    ctx.say(f"history and logs are kept in build/fault/stack-{ctx.seed}")


def main():
    binary, folder = sys.argv[1:3]
    seconds = int(os.environ.get("FAULT_SECS") or SECS)
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    only = [k for k in os.environ.get("FAULT_ONLY", "").split(",") if k]
    ctx = fault.Context("stack", binary, seed, folder)
    again = f"make test-faults FAULT_SECS={seconds} FAULT_SEED={seed}" \
        + (f" FAULT_ONLY={','.join(only)}" if only else "")
    ctx.say(again)
    import uvloop
    uvloop.run(run(ctx, seconds, only))
    if ctx.failed:
        keep(ctx)
        ctx.say(f"again: {again}")
    print(f"stack-fault: {ctx.passed} passed, {ctx.failed} failed")
    sys.exit(1 if ctx.failed else 0)


if __name__ == "__main__":
    main()
