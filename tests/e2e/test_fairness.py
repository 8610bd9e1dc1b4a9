# SPDX-License-Identifier: MIT
"""What one client address may take from the others: hashes of passwords, new accounts."""
import asyncio
import sqlite3
import time

from harness import User, check, equal, mid, test


def behind_proxy(address):
    """The tests come from this machine, as a proxy would: it tells whom it speaks for."""
    return {"additional_headers": {"X-Forwarded-For": address}}


@test("one address that floods logins keeps nobody else out, and writes no more than is hashed", timeout=180)
async def flood(t):
    s = await t.private("flood")
    a = await t.user(s)
    flooders = await asyncio.gather(
        *(t.open(s, **behind_proxy("198.51.100.7")) for _ in range(100)))
    end, busy, wrong = asyncio.Event(), 0, 0

    async def go(c):
        nonlocal busy, wrong
        while not end.is_set():
            m = await c.ask("login", {"username": "x" + mid()[:12], "password": "Wrong-pass-123A"}, 30)
            busy += m["payload"]["code"] == "SERVER_ERROR"
            wrong += m["payload"]["code"] == "INVALID_CREDENTIALS"
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(go(c)) for c in flooders]
    try:
        await asyncio.sleep(1)
        for i in range(10):
            c = await t.open(s, **behind_proxy(f"203.0.113.{i}"))
            m = await c.ask("login", {"username": a.user.name, "password": a.user.password}, 30)
            equal(m["type"], "loginSuccess", "an honest login")
    finally:
        end.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    check(busy > 0 and wrong > 0, "some were hashed, some were told to come later", busy, wrong)
    if t.on_stack:
        return
    db = sqlite3.connect(f"file:{s.dir}/data/construct.db?mode=ro", uri=True)
    rows = db.execute("select count(*) from limits").fetchone()[0]
    db.close()
    check(rows <= wrong + 140, "no row without a hash", rows, wrong)


@test("an address registers a burst of 120, then RATE_LIMIT_EXCEEDED; others go on", timeout=240)
async def registrations(t):
    """One more comes back each second, so what may pass is counted against the clock: a machine that
    hashes less than two passwords a second meets no refusal, and says so."""
    s = await t.private("registrations")
    began, codes = time.monotonic(), []

    async def register(address, n):
        c = await t.open(s, **(behind_proxy(address) if address else {}))
        for _ in range(n):
            u = User()
            m = await c.ask("register", {"username": u.name, "password": u.password,
                                         "publicKey": u.bundle()}, 60)
            codes.append(m["payload"].get("code") or m["type"])
            if time.monotonic() - began > 110:
                return

    def within_limit(what):
        check(set(codes) <= {"registerSuccess", "RATE_LIMIT_EXCEEDED"}, "answers", set(codes))
        good, most = codes.count("registerSuccess"), 121 + time.monotonic() - began
        check(good <= most, f"{what}: 120 and one a second", good, most)
        check(good >= min(120, len(codes)), "the first 120 pass", good, len(codes))

    await asyncio.gather(*(register("2001:db8:0:7::1", 28) for _ in range(6)))
    within_limit("one address")
    await register("2001:db8:0:7:ffff::9", 6)
    within_limit("another address of the same /64 counts with it")
    if "RATE_LIMIT_EXCEEDED" not in codes:
        t.suite.notes.append("the limit of registrations was not reached: this machine hashed "
                             f"{len(codes)} passwords in {time.monotonic() - began:.0f} s (unit tests)")
    codes.clear()
    await register("198.51.100.7", 1)
    await register(None, 3)
    equal(codes, ["registerSuccess"] * 4, "another address, and this machine itself")
