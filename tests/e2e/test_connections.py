# SPDX-License-Identifier: MIT
"""Several connections of a user, displacement, pings of the server."""
import asyncio
import time

import websockets

from harness import Failure, Raw, check, equal, frame, test, until


@test("each connection of the recipient gets the message, the first acknowledgement settles")
async def several(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    b2, b3 = await t.again(s, b.user), await t.again(s, b.user)
    m = await a.post(b.user)
    for c in (b, b2, b3):
        await c.get(m)
    await b2.settle(m["id"])
    await a.delivered(m["id"])
    await b3.settle(m["id"])  # too late: no effect
    sentinel = await a.post(b.user)
    b4 = await t.again(s, b.user)
    await b4.get(sentinel)
    for c in (b, b2, b3):
        await c.get(sentinel)
        equal(c.count("message"), 2, "messages on each connection")


@test("a new connection gets what waits, though an older one has it already")
async def late_one(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    b2 = await t.again(s, b.user)
    await b2.get(m)
    b.abort()
    sentinel = await a.post(b.user)
    await b2.get(sentinel)


@test("the sixth connection displaces the oldest with 4409, the others go on")
async def displace(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    conns = [b] + [await t.again(s, b.user) for _ in range(4)]
    for c in conns:
        await c.alive()
    m = await a.post(b.user)
    for c in conns:
        await c.get(m)
    sixth = await t.again(s, b.user)
    equal((await conns[0].take("error"))["payload"]["code"], "TOO_MANY_CONNECTIONS", "before it goes")
    equal(await conns[0].close_code(), 4409, "the oldest connection")
    await sixth.get(m)
    m2 = await a.post(b.user)
    for c in conns[1:] + [sixth]:
        await c.get(m2)
    seventh = await (await t.open(s)).login(b.user)
    equal(await conns[1].close_code(), 4409, "the next oldest")
    m3 = await a.post(b.user)
    await seventh.get(m)
    await seventh.get(m2)
    for c in conns[2:] + [sixth, seventh]:
        await c.get(m3)


@test("MAX_CONNECTIONS_PER_USER is obeyed; a closed connection leaves its place")
async def displace_two(t):
    s = await t.server("limits")
    b = await t.user(s)
    for _ in range(4):
        c = await t.again(s, b.user)
        await c.close()
    c = await t.again(s, b.user)
    await b.alive()
    await t.again(s, b.user)
    equal(await b.close_code(), 4409, "the oldest of three")
    await c.alive()


@test("the end of an old connection does not remove the new one")
async def fenced(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    old = b
    for _ in range(10):
        new = await t.again(s, b.user)
        old.abort()
        m = await a.post(b.user)
        await new.get(m)
        await new.settle(m["id"])
        old = new


@test("both paths serve, others do not upgrade")
async def paths(t):
    s = await t.server()
    for path in ("/", "/ws"):
        c = await t.open(s, path)
        await c.register()
    for path in ("/nope", "/wsx", "/ws/deeper", "/health"):
        try:
            await t.open(s, path)
        except websockets.InvalidStatus as e:
            equal(e.response.status_code, 404 if path != "/health" else e.response.status_code,
                  f"upgrade on {path}")
            check(e.response.status_code >= 400 or path == "/health", "no upgrade", path)
        else:
            check(False, f"an upgrade on {path} must be refused")


@test("a ping each 30 s; without a pong the connection is closed", timeout=170, idle=True)
async def server_pings(t):
    s = await t.server()
    a = await t.user(s)
    polite, rude = await t.raw(s), await t.raw(s)
    t0 = time.monotonic()
    for r in (polite, rude):
        r.write(Raw.frame(2, frame("connect", {"sessionToken": a.user.token})))
        op, _ = await r.recv()
        equal(op, 2, "connectSuccess")

    async def watch(r, answer, until):
        pings = []
        while time.monotonic() - t0 < until["s"]:
            try:
                op, data = await r.recv(1)
            except asyncio.TimeoutError:
                continue
            if op == 9:
                pings.append(time.monotonic() - t0)
                if answer:
                    r.write(Raw.frame(10, data))
            elif op in (8, None):
                return pings, time.monotonic() - t0
        return pings, None

    until = {"s": 130}

    async def watch_rude():
        found = await watch(rude, False, until)
        until["s"] = min(until["s"], time.monotonic() - t0 + 20)
        return found

    (p1, end1), (p2, end2) = await asyncio.gather(watch(polite, True, until), watch_rude())
    check(p2 and end2 is not None and 55 < end2 < 130, "who does not is closed", p2, end2)
    check(p1 and 25 < p1[0] < 42, "the first ping after 30 s", p1)
    check(end1 is None, "who answers stays", end1, p1)
    check(all(20 < next - last < 42 for last, next in zip(p1, p1[1:])) and p1[-1] > until["s"] - 42,
          "a ping each 30 s", p1, until)
    await a.alive()


@test("MAX_CONNECTIONS: what is above is turned away, the others do not notice", timeout=90)
async def maximum(t):
    s = await t.private("few", MAX_CONNECTIONS="8")
    a, b = await t.users(s, 2)
    opened, refused = [], 0
    for _ in range(12):
        try:
            c = await asyncio.wait_for(t.open(s), 15)
            await c.ping(15)
            opened.append(c)
        except Exception:
            refused += 1
    check(4 <= len(opened) <= 7 and refused >= 5, "about 8 connections in all", len(opened),
          refused)
    await b.get(await a.post(b.user))
    for c in opened:
        await c.close()

    async def in_again():
        try:
            await (await t.open(s)).login(b.user)
            return True
        except (OSError, Failure, websockets.WebSocketException, asyncio.TimeoutError):
            return False

    await until(in_again, 30, "a place that was left serves again")
