# SPDX-License-Identifier: MIT
"""Hostile input against the sanitizer build, while an honest client is served."""
import asyncio
import collections
import json
import os
import re
import sys
import time

import accounts
import server
import steady
import wsclient

TOTAL = 100000
SHARES = {"authenticated": 0.45, "unauthenticated": 0.2, "framing": 0.1, "handshake": 0.1,
          "http": 0.15}
WORKERS = 2
PEOPLE = 8          # accounts of each worker
TIME_LIMIT = 420    # hangs are failures; a usual run takes much less
ROUND_TRIP_LIMIT = 2.0   # of 19 in 20
SLOWEST_LIMIT = 12.0     # the workers, the sanitizers and this process share the machine
BEAT = 0.2
SANITIZER = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:strict_string_checks=1:"
                    "detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=0",
}
REPORT = re.compile(r"runtime error:|ERROR: (Address|Leak|Thread)Sanitizer|Sanitizer:DEADLY"
                    r"|SUMMARY: \w*Sanitizer")


def sanitizer_binary(ctx):
    here = os.path.dirname(os.path.abspath(__file__))
    for path in (os.environ.get("ASAN_BINARY"), ctx.binary,
                 os.path.join(here, "../../build/asan/construct")):
        if path and server.is_asan(path):
            return path
    return None


class Honest:
    """Two people who talk, and somebody who comes in anew, all the time."""

    def __init__(self, srv, pair, rng):
        self.srv = srv
        self.pair = pair
        self.rng = rng
        self.trips = []
        self.entries = []
        self.faults = []
        self.arrived = {}
        self.stopped = False

    async def connect(self):
        self.out = await wsclient.dial_authenticated(self.srv.port, self.pair[0].token)
        self.into = await wsclient.dial_authenticated(self.srv.port, self.pair[1].token)
        self.into.on_app = self.on_app

    def on_app(self, conn, msg):
        if msg["type"] == "message":
            fut = self.arrived.get(msg["payload"]["id"])
            if fut and not fut.done():
                fut.set_result(None)
            conn.send("acknowledgeMessage", {"messageId": msg["payload"]["id"],
                                             "status": "delivered"})

    async def talk(self):
        while not self.stopped:
            msg = accounts.chat(self.pair[0].id, self.pair[1].id, self.rng)
            fut = self.arrived[msg["id"]] = asyncio.get_running_loop().create_future()
            began = time.monotonic()
            if not (self.out.open and self.into.open):
                self.faults.append(f"closed: {self.out.close_code} {self.into.close_code}")
                return
            self.out.send("sendMessage", msg)
            try:
                await asyncio.wait_for(fut, 15)
            except asyncio.TimeoutError:
                self.faults.append("a message did not come in 15 s")
            took = time.monotonic() - began
            self.trips.append(took)
            del self.arrived[msg["id"]]
            await asyncio.sleep(max(0.0, BEAT - took))

    async def enter(self):
        """A new connection each second; over the cap it may try again at once."""
        while not self.stopped:
            began = time.monotonic()
            try:
                await enter_within(self.srv.port, self.pair[0].token, 10)
            except (OSError, asyncio.TimeoutError, wsclient.DialError, wsclient.Refused) as why:
                self.faults.append(f"could not come in: {why!r}")
            self.entries.append(time.monotonic() - began)
            await asyncio.sleep(1.0)


async def enter_within(port, token, seconds, ssl=None):
    """connect as often as it takes; closes again.  Returns the number of attempts."""
    end = time.monotonic() + seconds
    attempts = 0
    while True:
        attempts += 1
        try:
            conn = await wsclient.dial_authenticated(
                port, token, ssl=ssl, timeout=max(0.05, end - time.monotonic()))
            conn.close()
            return attempts
        except (OSError, wsclient.DialError, ConnectionError, asyncio.TimeoutError):
            if time.monotonic() >= end:
                raise
            await asyncio.sleep(0.01)


def in_time(took):
    return took and max(took) < SLOWEST_LIMIT and steady.percentile(took, 0.95) < ROUND_TRIP_LIMIT


async def attack(ctx, srv, people):
    """Starts the workers; returns (done, notes, exit codes)."""
    here = os.path.dirname(os.path.abspath(__file__))
    total = int(os.environ.get("HOSTILE_FRAMES") or TOTAL)
    procs = []
    for n in range(WORKERS):
        mine = people[n * PEOPLE:(n + 1) * PEOPLE]
        task = {"port": srv.port, "number": n, "seed": ctx.seed, "folder": ctx.folder,
                "quota": {k: int(total * s / WORKERS) + 1 for k, s in SHARES.items()},
                "people": [{"id": p.id, "token": p.token} for p in mine]}
        proc = await asyncio.create_subprocess_exec(
            sys.executable, os.path.join(here, "hostile_worker.py"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        procs.append((proc, asyncio.create_task(proc.communicate(json.dumps(task).encode()))))
    end = time.monotonic() + TIME_LIMIT
    while any(not t.done() for _, t in procs) and srv.alive() and time.monotonic() < end:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.0 if srv.alive() else 1.5)  # the workers note their last input
    done, notes, codes = collections.Counter(), collections.Counter(), []
    for proc, task in procs:
        if not task.done():
            proc.kill()
        out, _ = await task
        codes.append(proc.returncode)
        if out:
            figures = json.loads(out)
            done.update(figures["done"])
            notes.update(figures["notes"])
    return done, notes, codes, total


def sanitizer_reports(srv):
    with open(srv.log_path, errors="replace") as f:
        lines = f.read().splitlines()
    hits = [i for i, line in enumerate(lines) if REPORT.search(line)]
    return "\n".join("\n".join(lines[i:i + 25]) for i in hits[:3])


async def run(ctx):
    binary = sanitizer_binary(ctx)
    if not ctx.check("a sanitizer build is there", binary,
                     "build it, or name it with ASAN_BINARY"):
        return
    srv = server.Server(binary, ctx.path("data"), SANITIZER)
    try:
        await srv.start(60)
        people = await accounts.register_many(srv.port, 2 + WORKERS * PEOPLE, ctx.rng)
        honest = Honest(srv, people[:2], ctx.rng)
        await honest.connect()
        tasks = [asyncio.create_task(honest.talk()), asyncio.create_task(honest.enter())]
        began = time.monotonic()
        done, notes, codes, total = await attack(ctx, srv, people[2:])
        took = time.monotonic() - began
        honest.stopped = True
        alive = srv.alive()
        if alive:
            await asyncio.gather(*tasks)
        else:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        count = sum(done.values())
        ctx.say(f"{count} in {took:.1f} s: {dict(done)}")
        ctx.say(f"seen: {dict(notes.most_common(24))}")
        ctx.check(f"{total} hostile frames and requests were read", count >= total,
                  f"{count}; workers ended with {codes}")
        ctx.check("the process lives", alive, f"code {srv.proc.returncode}\n{srv.log_tail(60)}")
        ctx.check(f"the honest client was served {len(honest.trips)} times",
                  not honest.faults and in_time(honest.trips),
                  f"{honest.faults[:5]}, slowest {max(honest.trips, default=0):.3f} s")
        ctx.check(f"and came in anew {len(honest.entries)} times",
                  in_time(honest.entries),
                  f"slowest {max(honest.entries, default=0):.3f} s")
        ctx.say(f"honest: slowest message {max(honest.trips, default=0) * 1000:.0f} ms, "
                f"slowest entry {max(honest.entries, default=0) * 1000:.0f} ms")
        code = await srv.stop(60)
        ctx.check("ends in order, without a leak", code == 0,
                  f"code {code}\n{srv.log_tail(60)}")
        reports = sanitizer_reports(srv)
        ctx.check("no sanitizer report", not reports, reports)
    finally:
        srv.kill_now()
