# SPDX-License-Identifier: MIT
"""Redis loses what it has: all of it, or its last writes.  Two workers make the inboxes again from the
log, without what was acknowledged (decision 0006, section 7).  On a Redis of the test's own."""
import asyncio
import contextlib
import re

from harness import Failure, check, equal, free_port, test, until

RECIPIENTS = 8      # of six partitions: some for each of two workers
REPAIRED = 60       # seconds


class Redis:
    """Keeps nothing over a kill but what it was told to save."""

    def __init__(self, folder):
        self.dir, self.proc = folder, None
        self.port = free_port()  # again and again over its restarts

    async def start(self):
        self.proc = await asyncio.create_subprocess_exec(
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(self.dir), stdout=asyncio.subprocess.DEVNULL)

        async def answers():
            with contextlib.suppress(OSError, Failure):
                return await self.ask("PING") == "+PONG"

        await until(answers, 20, "a Redis that answers")
        return self

    async def ask(self, command):
        r, w = await asyncio.open_connection("127.0.0.1", self.port)
        w.write(f"{command}\r\n".encode())
        line = await asyncio.wait_for(r.readline(), 10)
        w.close()
        return line.decode().strip()

    async def kill(self):
        if self.proc is not None and self.proc.returncode is None:
            self.proc.kill()
            await self.proc.wait()


@contextlib.asynccontextmanager
async def relay(t, name):
    """Two servers, two gateways, two workers on a Redis of their own."""
    redis = Redis(t.suite.tmp_path(name))
    try:
        await redis.start()
        yield redis, await t.private(name, REDIS_URL=f"redis://127.0.0.1:{redis.port}")
    finally:
        for s in t.own:
            await s.stop()
        await redis.kill()


async def figure(process, name):
    _, text = await process.get("/metrics")
    found = re.search(rf"^construct_{name} (\d+)$", text, re.M)
    check(found is not None, f"the worker has the figure {name}")
    return int(found[1])


async def exchange(a, recipients, settled):
    """Five messages to each, `settled` of which are acknowledged; the others, by recipient."""
    left = []
    for b in recipients:
        msgs = [await a.post(b.user) for _ in range(5)]
        for m in msgs:
            await b.get(m)
        for i in settled:
            await b.settle(msgs[i]["id"])
        left.append([m for i, m in enumerate(msgs) if i not in settled])
    return left


async def expect_exactly(a, c, left):
    """On this new connection: these in order, once, then the next that is sent."""
    for m in left:
        await c.get(m, REPAIRED)
    sentinel = await a.post(c.user)
    await c.get(sentinel, REPAIRED)
    equal(c.count("message"), len(left) + 1, "messages on a new connection")


@test("Redis is emptied: exactly what was not acknowledged comes, from both workers", timeout=240)
async def emptied(t):
    async with relay(t, "emptied") as (redis, s):
        a = await t.user(s)
        recipients = await t.users(s, RECIPIENTS)
        away = await t.user(s)
        await away.close()
        waiting = [await a.post(away.user) for _ in range(4)]
        # Of the last ones the servers hold the acknowledgements for another second.
        left = await exchange(a, recipients, {0, 2, 4})
        for b in recipients:
            b.abort()
        equal(await redis.ask("FLUSHALL"), "+OK", "FLUSHALL")
        a = await (await t.open(s)).login(a.user)
        for b, msgs in zip(recipients, left):
            await expect_exactly(a, await (await t.open(s)).login(b.user), msgs)
        await expect_exactly(a, await (await t.open(s)).login(away.user), waiting)
        for w in s.of("worker"):
            check(await figure(w, "delivery_rewinds_total") > 0, f"{w.name} went back")
            check(await figure(w, "acks_rebuilt_total") >= 3 * RECIPIENTS,
                  f"{w.name} knows the acknowledgements of all")
        check('"stack.rewound"' in s.text(), "the log says so")


@test("Redis lost its last writes: those come again without what was acknowledged", timeout=240)
async def last_writes(t):
    async with relay(t, "last-writes") as (redis, s):
        a = await t.user(s)
        recipients = await t.users(s, RECIPIENTS)
        before = await exchange(a, recipients, {0, 1, 2, 3})
        equal(await redis.ask("SAVE"), "+OK", "SAVE")
        after = await exchange(a, recipients, {1, 3})
        for b in recipients:
            b.abort()
        await redis.kill()
        await redis.start()
        a = await t.again(s, a.user)
        for b, old, new in zip(recipients, before, after):
            await expect_exactly(a, await t.again(s, b.user), old + new)


@test("a worker dies while it makes inboxes again: the other goes on, nothing comes twice",
      timeout=240)
async def half_way(t):
    async with relay(t, "half-way") as (redis, s):
        a = await t.user(s)
        recipients = await t.users(s, RECIPIENTS)
        left = await exchange(a, recipients, {1, 2})
        for b in recipients:
            b.abort()
        equal(await redis.ask("FLUSHALL"), "+OK", "FLUSHALL")
        await until(lambda: figure(s.of("worker")[0], "delivery_rewinds_total"), 30, "a rewind")
        victim = s.of("worker")[0]
        victim.kill()
        await victim.proc.wait()
        victim.proc = None
        a = await (await t.open(s)).login(a.user)
        for b, msgs in zip(recipients, left):
            await expect_exactly(a, await (await t.open(s)).login(b.user), msgs)
