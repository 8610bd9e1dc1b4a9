# SPDX-License-Identifier: MIT
"""SIGTERM under load: 1012 for everyone, exit 0 in time, and nothing is lost."""
import asyncio
import time

import accounts
import history
import load
import part_kill
import server
import stalled

USERS = 60
DRAIN_SECS = 10
LIMIT_SECOND = DRAIN_SECS / 2  # "at once", on a busy machine too
LEFT_OVER = 2       # seconds: what a busy machine takes to end what has drained
ALL_BACK = 30       # seconds until a crowd has reconnected
STALLED_BYTES = 4 << 20


def habits():
    h = load.Habits()
    h.pause = 0.06      # a busy crowd
    h.leaving = False   # so that every close is the server's
    return h


async def stall(srv, pair, rng):
    """A client that will neither read nor answer the close frame."""
    victim, filler = stalled.Stalled(pair[0]), stalled.Filler(pair[1], pair[0], rng)
    await victim.connect(srv.port)
    await filler.connect(srv.port)
    await filler.fill(STALLED_BYTES, 20000, 60000)
    filler.conn.close()
    return victim


async def one_round(ctx, srv, hist, crowd, name, pair=None):
    victim = await stall(srv, pair, ctx.rng) if pair else None
    end = time.monotonic() + ALL_BACK
    while len(crowd.connected()) < USERS and time.monotonic() < end:
        await asyncio.sleep(0.05)
    await asyncio.sleep(ctx.rng.uniform(0.8, 1.8))
    present = crowd.connected()
    hist.add("term")
    began = time.monotonic()
    srv.term()
    code = await srv.wait(DRAIN_SECS + 5)
    took = time.monotonic() - began
    if victim:
        victim.conn.abort()
    ctx.check(f"{name}: exit code 0", code == 0, f"code {code}\n{srv.log_tail()}")
    ctx.check(f"{name}: exits inside DRAIN_SECS", code is not None and took <= DRAIN_SECS + LEFT_OVER,
              f"{took:.2f} s")
    end = time.monotonic() + ALL_BACK  # the last bytes are still to be read
    while any(s.conn.open for s in present) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    codes = {}
    for session in present:
        status = session.conn.close_code or 1006
        codes[status] = codes.get(status, 0) + 1
    ctx.check(f"{name}: {len(present)} clients, each closed with 1012",
              len(present) >= USERS and set(codes) == {1012}, f"codes {codes}")
    ctx.say(f"{name}: ended after {took:.2f} s")
    if code is None:
        await srv.kill()
    await srv.start()
    hist.add("start", port=srv.port)


async def second_signal(ctx, srv, hist, pair):
    victim = await stall(srv, pair, ctx.rng)
    hist.add("term")
    srv.term()
    await asyncio.sleep(0.3)  # sooner it might count as the first one once more
    held = srv.alive()
    began = time.monotonic()
    if held:
        srv.term()
    code = await srv.wait(DRAIN_SECS + 5)
    took = time.monotonic() - began
    victim.conn.abort()
    ctx.check("a second SIGTERM ends it at once", code is not None and took < LIMIT_SECOND,
              f"{took:.2f} s, code {code}")
    ctx.say(f"second signal: {'still draining' if held else 'had ended before it'}, "
            f"ended {took:.3f} s later with {code}")
    await srv.start()
    hist.add("start", port=srv.port)


async def run(ctx):
    srv = server.Server(ctx.binary, ctx.path("data"), {"DRAIN_SECS": str(DRAIN_SECS)})
    path = ctx.path("history.jsonl")
    hist = history.History(path)
    try:
        await srv.start()
        people = await accounts.register_many(srv.port, USERS + 4, ctx.rng)
        crowd = load.Crowd(srv, hist, ctx.rng, people[4:], habits())
        crowd.start()
        await asyncio.sleep(0.5)
        await one_round(ctx, srv, hist, crowd, "first")
        await one_round(ctx, srv, hist, crowd, "again")
        await one_round(ctx, srv, hist, crowd, "with a stalled client", people[0:2])
        await second_signal(ctx, srv, hist, people[2:4])
        await asyncio.sleep(1.0)
        await crowd.sent_enough(1500)
        left = await crowd.drain(90)
        ctx.check("everything came to rest", left == (0, 0, 0),
                  "left: %d unanswered, %d not delivered, %d not acknowledged" % left)
        crowd.reconnect_all()
        await asyncio.sleep(1.0)
        hist.add("end")
        await crowd.stop()
        ctx.check("ends in order without clients", await srv.stop() == 0, srv.log_tail())
    finally:
        srv.kill_now()
        hist.close()
    ctx.say(f"other frames: {crowd.unexpected or 'none'}")
    part_kill.whole_database(ctx, srv.folder)
    part_kill.judge(ctx, path, {"accepted": 1000, "confirmed": 1000, "pairs_in_order": 500})
