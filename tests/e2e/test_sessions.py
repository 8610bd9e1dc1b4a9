# SPDX-License-Identifier: MIT
"""Session tokens: what is in them, which are taken, how they end."""
import asyncio
import hashlib
import hmac
import time
import uuid

import websockets

from harness import SHARED, Closed, accepted, check, equal, jwt, jwt_parts, test, vectors


def refused(m):
    return m["type"] == "sessionExpired" or m["payload"].get("code") == "INVALID_TOKEN"


@test("connect with the session of register and of login")
async def connect(t):
    s = await t.server()
    a = await t.user(s)
    await t.again(s, a.user)
    await (await t.open(s)).login(a.user)
    await t.again(s, a.user)


@test("the token is an HS256 JWT with sub, jti, iat, exp and iss, for 30 days")
async def token(t):
    s = await t.server()
    a = await t.user(s)
    head, claims, sig, signed = jwt_parts(a.user.token)
    equal(head["alg"], "HS256", "alg")
    equal(sig, hmac.new(SHARED["main"]["JWT_SECRET"].encode(), signed, hashlib.sha256).digest(),
          "signature under JWT_SECRET")
    equal(claims["sub"], a.user.id, "sub")
    equal(claims["iss"], "construct-server", "iss")
    uuid.UUID(claims["jti"])
    check(abs(claims["iat"] - time.time()) < 60, "iat is now", claims["iat"])
    equal(claims["exp"], a.user.expires, "exp is what `expires` says")
    check(abs(claims["exp"] - time.time() - 30 * 86400) < 60, "30 days", claims["exp"])


@test("SESSION_TTL_DAYS and JWT_ISSUER are obeyed")
async def ttl(t):
    s = await t.server("limits")
    a = await t.user(s)
    check(abs(a.user.expires - time.time() - 86400) < 60, "1 day", a.user.expires)


@test("logout ends the session, and the connection may not act any more")
async def logout(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    token = a.user.token
    equal(await a.ask("logout", {"sessionToken": token}), {"type": "logoutSuccess"}, "logout")
    try:
        await a.refused(a.chat(b.user), "AUTH_REQUIRED")
    except (Closed, websockets.ConnectionClosed):
        pass
    c = await t.open(s)
    m = await c.ask("connect", {"sessionToken": token})
    check(refused(m), "a session that was logged out", m)
    await c.login(a.user)


@test("logout leaves the user's other sessions")
async def logout_one(t):
    s = await t.server()
    a = await t.user(s)
    first = a.user.token
    b = await (await t.open(s)).login(a.user)
    equal(await b.ask("logout", {"sessionToken": b.user.token}), {"type": "logoutSuccess"},
          "logout")
    a.user.token = first
    await t.again(s, a.user)


@test("logout with a bad token: INVALID_TOKEN")
async def logout_bad(t):
    s = await t.server()
    a = await t.user(s)
    for bad in ("", "x", "x.y.z", a.user.token[:-2]):
        await a.fails("logout", {"sessionToken": bad}, "INVALID_TOKEN")
    await a.fails("logout", {}, "INVALID_FORMAT")
    await t.again(s, a.user)


@test("forged, cut, expired and foreign tokens are refused (vectors)")
async def forged(t):
    s = await t.server()
    v = vectors("sessions")
    c = await t.open(s)
    for bad in v["invalid"]:
        m = await c.ask("connect", {"sessionToken": bad["token"]})
        if bad["name"] == "expired":  # the store is asked first, and does not know it
            equal(m, {"type": "sessionExpired"}, bad["name"])
        else:
            check(m["type"] == "error" and m["payload"]["code"] == "INVALID_TOKEN",
                  f"{bad['name']}: INVALID_TOKEN", m)
    m = await c.ask("connect", {"sessionToken": v["valid"]})
    check(refused(m), "a well signed token whose session the store does not know", m)
    for odd in ("", "..", "x" * 5000, "\u0000", "a.b.c"):
        await c.fails("connect", {"sessionToken": odd}, "INVALID_TOKEN")
    for odd in (5, None, b"bytes"):
        await c.fails("connect", {"sessionToken": odd}, "INVALID_FORMAT")
    await c.alive()


@test("a well signed token with another user's id and a live session id is refused")
async def mixed(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    secret = SHARED["main"]["JWT_SECRET"]
    _, own, _, _ = jwt_parts(a.user.token)
    c = await t.open(s)
    for claims in ({**own, "sub": b.user.id}, {**own, "jti": str(uuid.uuid4())},
                   {**own, "iss": "someone"}, {k: v for k, v in own.items() if k != "sub"}):
        m = await c.ask("connect", {"sessionToken": jwt(claims, secret)})
        check(refused(m), "a token that was not given out", claims, m)
    for head in ({"alg": "none"}, {"alg": "hs256", "typ": "JWT"}, {"alg": "HS512"}):
        await c.fails("connect", {"sessionToken": jwt(own, secret, head)}, "INVALID_TOKEN")
    await c.connect(a.user)


@test("expiry is the session store's to judge: a clock that jumped ahead logs nobody out")
async def expiry(t):
    s = await t.server()
    a = await t.user(s)
    _, own, _, _ = jwt_parts(a.user.token)
    old = jwt({**own, "exp": int(time.time()) - 60}, SHARED["main"]["JWT_SECRET"])
    c = await t.open(s)
    equal((await c.ask("connect", {"sessionToken": old}))["type"], "connectSuccess", "by the old token")
    await c.fails("deleteAccount", {"sessionToken": old, "password": "wrong"}, "INVALID_PASSWORD")
    equal(await c.ask("logout", {"sessionToken": old}), {"type": "logoutSuccess"}, "logout")
    equal(await c.ask("connect", {"sessionToken": old}), {"type": "sessionExpired"}, "after it")


@test("iat is not judged: a token from tomorrow works")
async def iat(t):
    s = await t.server()
    a = await t.user(s)
    _, own, _, _ = jwt_parts(a.user.token)
    a.user.token = jwt({**own, "iat": int(time.time()) + 86400}, SHARED["main"]["JWT_SECRET"])
    await t.again(s, a.user)


@test("before login: AUTH_REQUIRED for messages, acknowledgements and key rotation")
async def before_login(t):
    s = await t.server()
    b = await t.user(s)
    c = await t.open(s)
    c.user = b.user
    await c.refused(c.chat(b.user), "AUTH_REQUIRED")
    await c.fails("acknowledgeMessage", {"messageId": str(uuid.uuid4()), "status": "delivered"},
                  "AUTH_REQUIRED")
    await c.fails("rotatePrekey", {"userId": b.user.id, "update": b.user.bundle(b.user.id)},
                  "AUTH_REQUIRED")
    await c.alive()
    equal(b.count("message"), 0, "messages that went through")


@test("device tokens: put, changed, taken away; UNAUTHORIZED before login")
async def device_tokens(t):
    s = await t.server()
    token, other = "ab" * 32, "x" * 128
    asks = [("registerDeviceToken", {"deviceToken": token}, "deviceTokenRegistered"),
            ("registerDeviceToken", {"deviceToken": token, "deviceName": "phone \U0001f4f1" * 200,
                                     "notificationFilter": "visible_dm"}, "deviceTokenRegistered"),
            ("registerDeviceToken", {"deviceToken": other}, "deviceTokenRegistered"),
            ("updateDeviceTokenPreferences", {"deviceToken": token, "enabled": False,
                                              "notificationFilter": "visible_contacts"},
             "deviceTokenPreferencesUpdated"),
            ("unregisterDeviceToken", {"deviceToken": token}, "deviceTokenUnregistered")]
    c = await t.open(s)
    for kind, p, _ in asks:
        await c.fails(kind, p, "UNAUTHORIZED")
    await c.fails("registerDeviceToken", {"deviceToken": ""}, "UNAUTHORIZED")
    await c.register()
    for kind, p, good in asks:
        m = await c.ask(kind, p)
        equal(m["type"], good, f"{kind} {p}")
        check("payload" not in m, "no payload key", m)
    stranger = await t.user(s)
    gone = {"deviceToken": token}
    for who, p in ((c, gone), (stranger, {"deviceToken": other}), (c, {"deviceToken": "never"})):
        await who.fails("unregisterDeviceToken", p, "DEVICE_TOKEN_NOT_FOUND")
        await who.fails("updateDeviceTokenPreferences",
                        dict(p, enabled=True, notificationFilter="silent"),
                        "DEVICE_TOKEN_NOT_FOUND")
    for kind, p, code in (("registerDeviceToken", {"deviceToken": ""}, "INVALID_DEVICE_TOKEN"),
                          ("registerDeviceToken", {"deviceToken": "x" * 129}, "INVALID_DEVICE_TOKEN"),
                          ("registerDeviceToken", {"deviceToken": "x", "notificationFilter": "loud"},
                           "INVALID_FILTER"),
                          ("updateDeviceTokenPreferences",
                           {"deviceToken": "x", "notificationFilter": "", "enabled": True},
                           "INVALID_FILTER"),
                          ("registerDeviceToken", {}, "INVALID_FORMAT")):
        await c.fails(kind, p, code)
    for file in (f for f in (s.dir / "data").glob("*") if f.is_file()):  # none on the stack
        check(token.encode() not in file.read_bytes(), f"a device token in clear in {file.name}")
    await c.alive()


@test("a message is not held up by a password change on its connection")
async def message_passes_password(t):
    s = await t.server()
    a, b = await t.user(s), await t.user(s)
    m = a.chat(b.user)
    await a.send("changePassword", {"sessionToken": a.user.token, "oldPassword": a.user.password,
                                    "newPassword": "Another-Pass-77",
                                    "newPasswordConfirm": "Another-Pass-77"})
    await a.send("sendMessage", m)
    first = await a.take()
    equal(first, accepted(m["id"]), "the first answer")
    await a.take("changePasswordSuccess")


@test("not authenticated within 30 s: closed with 4401", timeout=75, idle=True)
async def unauthenticated(t):
    s = await t.server()
    quiet, busy, late = await t.open(s), await t.open(s), await t.open(s)
    t0 = time.monotonic()

    async def keep_busy():
        while not busy.done:
            try:
                await busy.send("login", {"username": "nobody-here", "password": 5})
                await busy.ping()
            except (websockets.ConnectionClosed, asyncio.TimeoutError):
                return
            await asyncio.sleep(2)

    async def come_late():
        await asyncio.sleep(12)  # not later: hashing may take long here
        await late.register()

    tasks = [asyncio.create_task(keep_busy()), asyncio.create_task(come_late())]
    for c, what in ((quiet, "a silent one"), (busy, "one that fails and fails")):
        equal(await c.close_code(60), 4401, what)
        check(27 < time.monotonic() - t0 < 45, "after 30 s", time.monotonic() - t0)
    await asyncio.gather(*tasks)
    await asyncio.sleep(max(0, 36 - (time.monotonic() - t0)))
    await late.alive()
