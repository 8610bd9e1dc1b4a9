# SPDX-License-Identifier: MIT
"""What one client address may take from the others: hashes of passwords, new accounts."""
import asyncio
import sqlite3

from harness import User, check, equal, mid, test


def behind_proxy(address):
    """The tests come from this machine, as a proxy would: it tells whom it speaks for."""
    return {"additional_headers": {"X-Forwarded-For": address}}


@test("one address that floods logins keeps nobody else out, and writes no more than is hashed", timeout=90)
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
            m = await c.ask("login", {"username": a.user.name, "password": a.user.password}, 12)
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


@test("an address registers a burst of 120, then RATE_LIMIT_EXCEEDED; others go on", timeout=120)
async def registrations(t):
    s = await t.private("registrations")

    async def register(c, n):
        codes = []
        for _ in range(n):
            u = User()
            m = await c.ask("register", {"username": u.name, "password": u.password,
                                         "publicKey": u.bundle()}, 30)
            codes.append(m["payload"].get("code") or m["type"])
        return codes

    many = await asyncio.gather(*(t.open(s, **behind_proxy("2001:db8:0:7::1")) for _ in range(6)))
    codes = [x for part in await asyncio.gather(*(register(c, 28) for c in many)) for x in part]
    good = codes.count("registerSuccess")
    equal(set(codes), {"registerSuccess", "RATE_LIMIT_EXCEEDED"}, "answers")
    check(120 <= good <= 150, "a burst of 120, and one a second", good)
    same = await t.open(s, **behind_proxy("2001:db8:0:7:ffff::9"))
    equal("RATE_LIMIT_EXCEEDED" in await register(same, 6), True, "another address of the same /64")
    equal(await register(await t.open(s, **behind_proxy("198.51.100.7")), 1), ["registerSuccess"],
          "another address")
    equal(await register(await t.open(s), 3), ["registerSuccess"] * 3, "this machine itself")
