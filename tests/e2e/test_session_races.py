# SPDX-License-Identifier: MIT
"""Two requests at once about one session, and a second login on one connection."""
import asyncio

from harness import check, equal, frame, test

FREE = {"MAX_PASSWORD_CHANGES_PER_DAY": "0", "MAX_FAILED_LOGIN_ATTEMPTS": "0",
        "MAX_CONNECTIONS_PER_USER": "50"}


def change(user, token, new):
    return {"sessionToken": token, "oldPassword": user.password, "newPassword": new,
            "newPasswordConfirm": new}


@test("a login by the old password while it is changed leaves no session behind", timeout=90)
async def login_beside_change(t):
    s = await t.private("races", **FREE)
    a = await t.user(s)
    old, survived = a.user.password, 0
    for i in range(8):
        other = await t.open(s)
        new = f"Another-Pass-{i}7"
        await a.send("changePassword", change(a.user, a.user.token, new))
        await asyncio.sleep(0.001 + 0.012 * (i % 5))
        await other.send("login", {"username": a.user.name, "password": old})
        await a.take("changePasswordSuccess", 30)
        m = await other.take(lambda m: m["type"] in ("loginSuccess", "error"), 30)
        if m["type"] == "loginSuccess":
            x = await (await t.open(s)).ask("connect", {"sessionToken": m["payload"]["sessionToken"]})
            survived += x["type"] == "connectSuccess"
        a.user.password = old = new
    equal(survived, 0, "sessions by the old password")


@test("connect beside logout: no connection outlives its session", timeout=90)
async def connect_beside_logout(t):
    s = await t.private("races", **FREE)
    a = await t.user(s)
    user, open_ones = a.user, 0
    for i in range(12):
        clients = await asyncio.gather(*(t.open(s) for _ in range(16)))
        for k, c in enumerate(clients):
            await c.raw(frame("connect", {"sessionToken": user.token}))
            if k == 5 + i % 8:
                await a.send("logout", {"sessionToken": user.token})
        await a.take("logoutSuccess")
        for c in clients:
            m = await c.take(lambda m: m["type"] != "message")
            if m["type"] == "connectSuccess":
                equal(await c.close_code(), 4401, "its session has ended")
                open_ones += 1
            await c.close()
        a = await (await t.open(s)).login(user)
        user = a.user
    check(open_ones > 0, "some connected before the logout", open_ones)


@test("a password changed by another session's token closes the asking connection with 4401")
async def change_by_other_token(t):
    s = await t.private("races", **FREE)
    a = await t.user(s)
    first = a.user.token
    b = await (await t.open(s)).login(a.user)
    second = b.user.token
    c = await t.again(s, a.user)
    m = await a.ask("changePassword", change(a.user, second, "Another-Pass-77"), 60)
    equal(m, {"type": "changePasswordSuccess"}, "changePassword")
    equal(await a.close_code(), 4401, "its own session ended")
    await b.alive()
    await c.alive()
    m = await (await t.open(s)).ask("connect", {"sessionToken": first})
    equal(m, {"type": "sessionExpired"}, "the first session")


@test("the same user again on one connection: no message comes twice")
async def same_user_again(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    for _ in range(2):
        await b.connect(b.user)
    await b.ask("logout", {"sessionToken": b.user.token})
    await b.login(b.user)
    n = await a.post(b.user)
    await b.get(n)
    await b.settle(m["id"])
    await b.settle(n["id"])
    await asyncio.sleep(0.3)
    equal(sum(x["type"] == "message" for x in b.seen), 2, "messages")


@test("another user on one connection gets his own messages, and none of the one before")
async def other_user(t):
    s = await t.server()
    a, b, c = await t.users(s, 3)
    m = await a.post(b.user)
    await b.get(m)
    n = await a.post(c.user)
    await b.connect(c.user)
    await b.get(n)
