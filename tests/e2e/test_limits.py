# SPDX-License-Identifier: MIT
"""Rate limits and quotas, each at its boundary."""
import asyncio
import re
import secrets
import time

from harness import User, b64, check, equal, is_answer, test


def slow_down(e, maximum):
    equal(e["code"], "RATE_LIMIT_WARNING", "code")
    m = re.search(r"Slow down! \((\d+)/(\d+)\)", e["message"])
    check(m and int(m[2]) == maximum, f"'Slow down! (n/{maximum})'", e["message"])
    return int(m[1])


@test("MAX_MESSAGES_PER_HOUR=10: ten pass, warnings, then blocked; also after a restart",
      timeout=120)
async def hour(t):
    s = await t.private("hour", MAX_MESSAGES_PER_HOUR="10")
    a, b, other = await t.users(s, 3)
    a2 = await t.again(s, a.user)
    sent = [await (a, a2)[i % 2].post(b.user) for i in range(10)]  # one bucket for a user
    counts = []
    for i in range(5):  # half of the maximum may be refused
        counts.append(slow_down(await (a, a2)[i % 2].refused(
            a.chat(b.user), "RATE_LIMIT_WARNING"), 10))
    await a.refused(a.chat(b.user), "RATE_LIMIT_BLOCKED")
    for c in (a, a2, a):
        await c.refused(c.chat(b.user), "USER_BLOCKED")
    for m in sent:
        await b.get(m)
    sentinel = await other.post(b.user)  # nobody else is limited
    await b.get(sentinel)
    equal(b.count("message"), 11, "messages delivered")
    await s.restart()
    a = await t.again(s, a.user)
    other = await t.again(s, other.user)
    await a.refused(a.chat(b.user), "USER_BLOCKED")
    for _ in range(9):
        await other.post(b.user)
    await other.refused(other.chat(b.user), "RATE_LIMIT_WARNING")
    check(counts[0] == 11 and counts == sorted(counts),
          "n counts the refused ones too, as in the vectors' (1001/1000)", counts)


@test("over the limit in the middle of many in flight: the answers keep their order")
async def hour_in_flight(t):
    s = await t.server("limits")
    a, b = await t.users(s, 2)
    msgs = [a.chat(b.user) for _ in range(40)]
    for m in msgs:
        await a.send("sendMessage", m)
    answers = [await a.take(is_answer) for _ in msgs]
    equal([x["payload"]["messageId"] for x in answers], [m["id"] for m in msgs],
          "order of the answers")
    equal([x["payload"].get("code", "accepted") for x in answers], ["accepted"] * 10
          + ["RATE_LIMIT_WARNING"] * 5 + ["RATE_LIMIT_BLOCKED"] + ["USER_BLOCKED"] * 24, "answers")
    for m in msgs[:10]:
        await b.get(m)


@test("what is malformed or forged takes nothing of the limit; a login does not renew it")
async def structure_first(t):
    s = await t.server("limits")
    a, b = await t.users(s, 2)
    for _ in range(4):
        await a.refused(a.chat(b.user, content=""), "INVALID_MESSAGE_FORMAT", "INVALID_FORMAT")
        await a.refused(a.chat(b.user, from_=b.user.id), "FORBIDDEN")
        await a.refused(a.chat(b.user, id="x"), "INVALID_MESSAGE_ID")
    for _ in range(10):
        await a.post(b.user)
    slow_down(await a.refused(a.chat(b.user), "RATE_LIMIT_WARNING"), 10)
    c = await (await t.open(s)).login(a.user)
    await c.refused(c.chat(b.user), "RATE_LIMIT_WARNING")
    for _ in range(5):  # acknowledging is no sending
        m = await b.take("message")
        await b.settle(m["payload"]["id"])


@test("a block ends after RATE_LIMIT_BLOCK_SECONDS, and what was refused may be sent again",
      timeout=120)
async def block_ends(t):
    s = await t.private("block", MAX_MESSAGES_PER_HOUR="900", RATE_LIMIT_BLOCK_SECONDS="10")
    a, b = await t.users(s, 2)
    t0 = time.monotonic()
    codes, passed, warned, m = [], 0, 0, None
    for _ in range(4000):
        batch = [a.chat(b.user) for _ in range(50)]
        for x in batch:
            await a.send("sendMessage", x)
        for x in batch:
            r = await a.answer(x["id"])
            codes.append(r["payload"].get("code", "accepted"))
            m = x
        if "RATE_LIMIT_BLOCKED" in codes:
            break
    spent = time.monotonic() - t0
    blocked_at = codes.index("RATE_LIMIT_BLOCKED")
    passed, warned = codes.count("accepted"), codes.count("RATE_LIMIT_WARNING")
    check(900 <= passed <= 901 + spent / 4, "900 pass (one more each 4 s)", passed, spent)
    check(450 <= warned <= 451, "half of 900 are warned", warned)
    check(all(c == "USER_BLOCKED" for c in codes[blocked_at + 1:]), "then USER_BLOCKED",
          codes[blocked_at:])
    await a.refused(m, "USER_BLOCKED")
    await asyncio.sleep(10.5)
    await a.post(b.user, id=m["id"])  # tokens came back meanwhile


@test("MAX_MESSAGES_PER_MINUTE: refilled evenly, a refused id passes later", timeout=60)
async def minute(t):
    s = await t.private("minute", MAX_MESSAGES_PER_MINUTE="30", MAX_MESSAGES_PER_HOUR="0")
    a, b = await t.users(s, 2)
    t0, n = time.monotonic(), 0
    while True:
        m = a.chat(b.user)
        await a.send("sendMessage", m)
        r = await a.answer(m["id"])
        if r["type"] == "error":
            break
        n += 1
        check(n < 100, "the limit holds", n)
    slow_down(r["payload"], 30)
    check(30 <= n <= 31 + (time.monotonic() - t0) / 2, "30 pass", n)
    await asyncio.sleep(3)
    await a.post(b.user, id=m["id"])


@test("MAX_MESSAGES_PER_HOUR=0 switches the limit off", timeout=90)
async def off(t):
    s = await t.server("free")
    a, b = await t.users(s, 2)
    for _ in range(24):
        batch = [a.chat(b.user) for _ in range(100)]
        for m in batch:
            await a.send("sendMessage", m)
        for m in batch:
            equal((await a.answer(m["id"]))["type"], "ack", "answer")


@test("failed logins: as many as allowed, then RATE_LIMIT_EXCEEDED, for unknown names too",
      timeout=90)
async def logins(t):
    for server, n in (("main", 5), ("limits", 3)):
        s = await t.server(server)
        known, bystander = await t.users(s, 2)
        c = await t.open(s)
        for name in (known.user.name, User().name):
            p = {"username": name, "password": "Wrong-Pass-1"}
            for _ in range(n):
                await c.fails("login", p, "INVALID_CREDENTIALS")
            await c.fails("login", p, "RATE_LIMIT_EXCEEDED")
        await c.fails("login", {"username": known.user.name, "password": known.user.password},
                      "RATE_LIMIT_EXCEEDED")
        await t.again(s, known.user)          # sessions are not concerned
        await (await t.open(s)).login(bystander.user)


@test("one failure less than allowed, and the right password still works")
async def logins_below(t):
    s = await t.server()
    a = await t.user(s)
    c = await t.open(s)
    for _ in range(4):
        await c.fails("login", {"username": a.user.name, "password": "Wrong-Pass-1"},
                      "INVALID_CREDENTIALS")
    await c.login(a.user)


@test("right logins are not counted as failures")
async def logins_right(t):
    s = await t.server("limits")
    a = await t.user(s)
    for _ in range(5):
        c = await (await t.open(s)).login(a.user)
        await c.close()


@test("MAX_PASSWORD_CHANGES_PER_DAY=2: the third is RATE_LIMIT_EXCEEDED", timeout=90)
async def changes(t):
    s = await t.server("limits")
    a = await t.user(s)

    def payload(new):
        return {"sessionToken": a.user.token, "oldPassword": a.user.password,
                "newPassword": new, "newPasswordConfirm": new}

    for _ in range(2):
        new = User().password
        equal(await a.ask("changePassword", payload(new), 60),
              {"type": "changePasswordSuccess"}, "changePassword")
        a.user.password = new
    await a.fails("changePassword", payload(User().password), "RATE_LIMIT_EXCEEDED")
    await (await t.open(s)).login(a.user)


@test("MAX_KEY_ROTATIONS_PER_DAY=3: the fourth is RATE_LIMIT_EXCEEDED, the key stays")
async def rotations(t):
    s = await t.server("limits")
    a = await t.user(s)
    for _ in range(3):
        equal(await a.ask("rotatePrekey", {"userId": a.user.id,
                                           "update": a.user.bundle(a.user.id)}),
              {"type": "keyRotationSuccess"}, "rotatePrekey")
    before = await a.ask("getPublicKey", {"userId": a.user.id})
    await a.fails("rotatePrekey", {"userId": a.user.id, "update": a.user.bundle(a.user.id)},
                  "RATE_LIMIT_EXCEEDED")
    equal(await a.ask("getPublicKey", {"userId": a.user.id}), before, "the bundle")


# ---------------------------------------------------------------- the inbox

@test("INBOX_MAX_MESSAGES=5: the sixth is INBOX_FULL; acknowledged, the same id passes")
async def inbox_messages(t):
    s = await t.private("quota", INBOX_MAX_MESSAGES="5")
    a, b, c = await t.users(s, 3)
    await b.close()
    sent = [await a.post(b.user) for _ in range(5)]
    over = a.chat(b.user)
    for _ in range(2):
        await a.refused(over, "INBOX_FULL")
    await c.refused(c.chat(b.user), "INBOX_FULL")
    await a.post(c.user)                      # others are not concerned
    await a.refused(sent[0], "DUPLICATE_MESSAGE", "INBOX_FULL")
    b = await t.again(s, b.user)
    for m in sent:
        await b.get(m)
    await a.refused(over, "INBOX_FULL")       # seen is not acknowledged
    await b.settle(sent[2]["id"])
    await a.post(b.user, id=over["id"])
    await a.refused(a.chat(b.user), "INBOX_FULL")
    equal((await b.take("message"))["payload"]["id"], over["id"], "the one that was refused first")
    equal(b.count("message"), 6, "messages delivered")


@test("INBOX_FULL with many in flight: the first five, in order")
async def inbox_in_flight(t):
    s = await t.private("quota-flight", INBOX_MAX_MESSAGES="5")
    a, b = await t.users(s, 2)
    await b.close()
    msgs = [a.chat(b.user) for _ in range(40)]
    for m in msgs:
        await a.send("sendMessage", m)
    answers = [await a.take(is_answer) for _ in msgs]
    equal([x["payload"]["messageId"] for x in answers], [m["id"] for m in msgs],
          "order of the answers")
    equal([x["payload"].get("code", "accepted") for x in answers],
          ["accepted"] * 5 + ["INBOX_FULL"] * 35, "five pass")
    b = await t.again(s, b.user)
    for m in msgs[:5]:
        await b.get(m)


@test("INBOX_MAX_BYTES: a full inbox by size, and room again after an acknowledgement")
async def inbox_bytes(t):
    s = await t.private("quota-bytes", INBOX_MAX_BYTES="200000")
    a, b = await t.users(s, 2)
    await b.close()

    def big():
        return a.chat(b.user, content=b64(secrets.token_bytes(30_000)))  # 40,000 characters

    sent, over = [], None
    for _ in range(8):
        m = big()
        await a.send("sendMessage", m)
        if (await a.answer(m["id"]))["type"] == "error":
            over = m
            break
        sent.append(m)
    check(len(sent) in (4, 5), "200,000 bytes hold four or five of 40,000", len(sent))
    await a.refused(over, "INBOX_FULL")
    b = await t.again(s, b.user)
    for m in sent:
        await b.get(m)
    await b.settle(sent[0]["id"])
    await a.send("sendMessage", over)
    equal((await a.answer(over["id"]))["type"], "ack", "the same id, now")
    await b.get(over)


@test("quota and inbox survive a restart")
async def inbox_restart(t):
    s = await t.private("quota-restart", INBOX_MAX_MESSAGES="3")
    a, b = await t.users(s, 2)
    await b.close()
    sent = [await a.post(b.user) for _ in range(3)]
    await s.restart()
    a = await t.again(s, a.user)
    await a.refused(a.chat(b.user), "INBOX_FULL")
    b = await t.again(s, b.user)
    for m in sent:
        await b.get(m)
        await b.settle(m["id"])
    for _ in range(3):
        await a.post(b.user)
    await a.refused(a.chat(b.user), "INBOX_FULL")
