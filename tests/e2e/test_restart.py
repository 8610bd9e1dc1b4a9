# SPDX-License-Identifier: MIT
"""SIGTERM, and a second start on the same data."""
import stat
import time

from harness import Raw, check, equal, test


@test("SIGTERM: clients get 1012, exit 0 in time; the next start finds everything", timeout=120)
async def restart(t):
    s = await t.private("restart", JWT_SECRET=None, LOG_HASH_SALT=None)
    a, b, c = await t.users(s, 3)
    away = await t.user(s)
    await away.close()
    stranger = await t.open(s)
    settled = await a.post(b.user)
    await b.get(settled)
    await b.settle(settled["id"])
    await a.delivered(settled["id"])
    seen = await a.post(b.user)
    await b.get(seen)                                   # and not acknowledged
    waiting = [await a.post(away.user) for _ in range(5)]
    code, secs = await s.stop()
    equal(code, 0, "exit code")
    check(secs < 27, "inside DRAIN_SECS", secs)
    for who, what in ((a, "a sender"), (b, "a recipient"), (c, "an idle one"),
                      (stranger, "one not logged in")):
        equal(await who.close_code(), 1012, f"close code of {what}")
    await s.start()
    a = await t.again(s, a.user)                        # the old session
    await a.refused(settled, "DUPLICATE_MESSAGE")
    await a.refused(waiting[0], "DUPLICATE_MESSAGE")
    b = await t.again(s, b.user)
    await b.get(seen)
    equal(b.count("message"), 1, "what was acknowledged does not come again")
    away = await (await t.open(s)).login(away.user)     # name and password
    for m in waiting:
        await away.get(m)
    await away.get(await a.post(away.user))             # order goes on
    for m in waiting:
        await away.settle(m["id"])
        await a.delivered(m["id"])


@test("logout, deletion, password and key of before the restart still hold", timeout=120)
async def accounts(t):
    s = await t.private("restart-accounts")
    out, gone, changed, rotated = await t.users(s, 4)
    equal(await out.ask("logout", {"sessionToken": out.user.token}), {"type": "logoutSuccess"}, "")
    equal(await gone.ask("deleteAccount", {"sessionToken": gone.user.token,
                                           "password": gone.user.password}, 60),
          {"type": "deleteAccountSuccess"}, "")
    old, new = changed.user.password, "Brand-New-Password-1"
    equal(await changed.ask("changePassword", {
        "sessionToken": changed.user.token, "oldPassword": old, "newPassword": new,
        "newPasswordConfirm": new}, 60), {"type": "changePasswordSuccess"}, "")
    equal(await rotated.ask("rotatePrekey", {"userId": rotated.user.id,
                                             "update": rotated.user.bundle(rotated.user.id)}),
          {"type": "keyRotationSuccess"}, "")
    key = await rotated.ask("getPublicKey", {"userId": rotated.user.id})
    await s.restart()
    c = await t.open(s)
    for who in (out, gone):
        m = await c.ask("connect", {"sessionToken": who.user.token})
        check(m["type"] == "sessionExpired" or m["payload"]["code"] == "INVALID_TOKEN",
              "a session that ended", m)
    await c.fails("login", {"username": gone.user.name, "password": gone.user.password},
                  "INVALID_CREDENTIALS")
    await c.fails("login", {"username": changed.user.name, "password": old},
                  "INVALID_CREDENTIALS")
    changed.user.password = new
    await c.login(changed.user)
    equal(await c.ask("getPublicKey", {"userId": rotated.user.id}), key, "the rotated key")
    await c.fails("getPublicKey", {"userId": gone.user.id}, "USER_NOT_FOUND")


@test("a `delivered` that waits for an offline sender survives the restart", timeout=90)
async def delivered(t):
    s = await t.private("restart-delivered")
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await a.close()
    await b.get(m)
    await b.settle(m["id"])
    await s.restart()
    a = await t.again(s, a.user)
    await a.delivered(m["id"])
    b = await t.again(s, b.user)
    sentinel = await a.post(b.user)
    await b.get(sentinel)


@test("failed logins are remembered over a restart", timeout=90)
async def logins(t):
    s = await t.private("restart-logins", MAX_FAILED_LOGIN_ATTEMPTS="3")
    a = await t.user(s)
    p = {"username": a.user.name, "password": "Wrong-Pass-1"}
    c = await t.open(s)
    for _ in range(3):
        await c.fails("login", p, "INVALID_CREDENTIALS")
    await s.restart()
    await (await t.open(s)).fails("login", p, "RATE_LIMIT_EXCEEDED")


@test("generated secrets and the store are for their owner only")
async def modes(t):
    s = await t.private("modes", JWT_SECRET=None)
    await t.user(s)
    files = [f for f in (s.dir / "data").iterdir() if f.is_file()]
    check(any(f.name.startswith("construct.db") for f in files), "the store is where it was asked",
          files)
    others = [f for f in files if not f.name.startswith("construct.db")]
    check(others, "a file for the generated secrets", files)
    open_ = [(f.name, oct(f.stat().st_mode)) for f in others
             if stat.S_IMODE(f.stat().st_mode) & 0o077]
    check(not open_, "mode 0600", open_)


@test("while it drains, a new connection is turned away and /health is not 200", timeout=90)
async def draining(t):
    import asyncio
    import signal
    s = await t.private("drain")
    a, b = await t.users(s, 2)
    slow = await Raw.open(s)
    proc, t0 = s.proc, time.monotonic()
    proc.send_signal(signal.SIGTERM)
    equal(await a.close_code(30), 1012, "close code")
    try:
        c = await asyncio.wait_for(Raw.tcp(s), 5)
        c.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status, _, _ = await c.http(timeout=10)
        check(status in (0, 503), "no new work", status)
    except (ConnectionError, OSError, AssertionError, asyncio.TimeoutError):
        pass
    slow.close()
    equal(await asyncio.wait_for(proc.wait(), 30), 0, "exit code")
    check(time.monotonic() - t0 < 27, "inside DRAIN_SECS")


# make and the like: ends when its child does, and hands SIGTERM on to it.
HANDS_ON = """
import signal, subprocess, sys, time
child = subprocess.Popen(sys.argv[1:])
def hand_on(*_):
    time.sleep(0.3)
    child.send_signal(signal.SIGTERM)
signal.signal(signal.SIGTERM, hand_on)
sys.exit(child.wait())
"""


@test("SIGTERM to a process group, handed on by the parent too, is one request; a later one ends it at once", timeout=120)
async def group_signal(t):
    for how in ("group", "twice", "later"):
        s = await t.private(f"group-{how}", DRAIN_SECS="8")
        await s.stop()
        await group_case(t, s, how)


async def group_case(t, s, how):
    import asyncio
    import os
    import signal
    import sys
    (s.dir / "port").unlink(missing_ok=True)
    words = [str(t.binary), "all"]
    if how == "group":
        words = [sys.executable, "-c", HANDS_ON, *words]
    with open(s.dir / "group.log", "wb") as log:
        proc = await asyncio.create_subprocess_exec(*words, env=s.env(), cwd=s.dir, stdin=asyncio.subprocess.DEVNULL,
                                                    stdout=log, stderr=log, start_new_session=True)
    try:
        while not (s.dir / "port").exists():
            check(proc.returncode is None, "it starts", (s.dir / "group.log").read_text()[-300:])
            await asyncio.sleep(0.05)
        s.port = int((s.dir / "port").read_text())
        slow = await Raw.open(s)  # the drain waits for it
        began = time.monotonic()
        os.killpg(proc.pid, signal.SIGTERM)
        await asyncio.sleep({"group": 1.0, "twice": 0.01, "later": 1.0}[how])
        if how != "group":
            os.killpg(proc.pid, signal.SIGTERM)
        code = await asyncio.wait_for(proc.wait(), 30)
        took = time.monotonic() - began
        slow.close()
        text = (s.dir / "group.log").read_text()
        if how == "later":
            check(code == 1 and "relay.killed" in text and took < 3, "it ends at once", code, took, text[-300:])
        else:
            check(code == 0 and "relay.killed" not in text and "relay.stopped" in text, f"{how}: it drains", code, took, text[-300:])
            check(took > 1.5, f"{how}: the drain waited", took)
    finally:
        if proc.returncode is None:
            os.killpg(proc.pid, signal.SIGKILL)
