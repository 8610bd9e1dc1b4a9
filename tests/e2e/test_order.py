# SPDX-License-Identifier: MIT
"""Promise 3: order of sending = of acceptance = of the answers = of delivery."""
import asyncio

from harness import check, equal, is_answer, mid, test

IN_FLIGHT = 200


async def flood(c, msgs):
    """All at once; the answers in the order in which they came."""
    for m in msgs:
        await c.send("sendMessage", m)
    return [await c.take(lambda f: is_answer(f), what="an answer") for _ in msgs]


def ids(frames):
    return [f["payload"].get("messageId") for f in frames]


async def receive(c, n):
    return [(await c.take("message"))["payload"]["id"] for _ in range(n)]


@test("200 in flight: answers and deliveries in the order of sending", timeout=90)
async def in_flight(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    msgs = [a.chat(b.user, messageNumber=i) for i in range(IN_FLIGHT)]
    answers = await flood(a, msgs)
    equal(ids(answers), [m["id"] for m in msgs], "order of the answers")
    check(all(x["type"] == "ack" for x in answers), "all accepted")
    equal(await receive(b, IN_FLIGHT), [m["id"] for m in msgs], "order of delivery")


@test("refusals in the middle of 200 in flight do not overtake", timeout=90)
async def refusals(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    msgs, good = [], []
    for i in range(IN_FLIGHT):
        m = a.chat(b.user, messageNumber=i)
        if i % 10 == 3:
            m = dict(good[-2])             # pending or accepted already
        elif i % 10 == 5:
            m["content"] = ""
        elif i % 10 == 7:
            m["from"] = b.user.id
        elif i % 10 == 9:
            m["ephemeralPublicKey"] = b"short"
        else:
            good.append(m)
        msgs.append(m)
    answers = await flood(a, msgs)
    equal(ids(answers), [m["id"] for m in msgs], "order of the answers")
    codes = {i: x["payload"].get("code", "accepted") for i, x in enumerate(answers)}
    for i, want in ((3, ("DUPLICATE_MESSAGE", "accepted")), (7, ("FORBIDDEN",)), (0, ("accepted",)),
                    (5, ("INVALID_MESSAGE_FORMAT", "INVALID_FORMAT"))):
        check(all(codes[k] in want for k in range(i, IN_FLIGHT, 10)), f"each {i}th: {want}", codes)
    sentinel = await a.post(b.user)
    got = await receive(b, len(good) + 1)
    equal(got, [m["id"] for m in good] + [sentinel["id"]], "order of delivery")


@test("order holds for each of three recipients of one connection", timeout=90)
async def three(t):
    s = await t.server()
    a, *rs = await t.users(s, 4)
    msgs = [a.chat(rs[i % 3].user, messageNumber=i) for i in range(150)]
    answers = await flood(a, msgs)
    for k, r in enumerate(rs):
        want = [m["id"] for m in msgs[k::3]]
        mine = set(want)
        equal([i for i in ids(answers) if i in mine], want, "order of the answers")
        equal(await receive(r, 50), want, "order of delivery")


@test("unknown recipients between others do not disturb their order")
async def unknown(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    msgs = [a.chat(b.user if i % 2 else mid()) for i in range(60)]
    answers = {x["payload"]["messageId"]: x for x in await flood(a, msgs)}
    equal(len(answers), 60, "answers")
    for m in msgs[0::2]:
        equal(answers[m["id"]]["payload"].get("code"), "USER_NOT_FOUND", "unknown recipient")
    equal(await receive(b, 30), [m["id"] for m in msgs[1::2]], "order of delivery")


@test("an offline recipient gets 200 messages in order, and again after a break", timeout=90)
async def offline(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    await b.close()
    msgs = [a.chat(b.user, messageNumber=i) for i in range(IN_FLIGHT)]
    await flood(a, msgs)
    want = [m["id"] for m in msgs]
    c = await t.again(s, b.user)
    equal(await receive(c, IN_FLIGHT), want, "order of delivery")
    for m in want[:100]:
        await c.acknowledge(m)
    await c.ping()
    c.abort()
    d = await t.again(s, b.user)
    equal(await receive(d, 100), want[100:], "what was not acknowledged, in order")


@test("order across going away and coming back in the middle of a stream", timeout=90)
async def flapping(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    msgs = [a.chat(b.user, messageNumber=i) for i in range(300)]

    async def send():
        for i, m in enumerate(msgs):
            await a.send("sendMessage", m)
            if i % 10 == 9:
                await asyncio.sleep(0.01)

    sender = asyncio.create_task(send())
    got, conn = [], b
    try:
        while len(got) < len(msgs):
            on_this = []
            for _ in range(min(40, len(msgs) - len(got))):
                m = (await conn.take("message"))["payload"]["id"]
                on_this.append(m)
                await conn.acknowledge(m)
            await conn.ping()
            equal(len(set(on_this)), len(on_this), "none twice on one connection")
            check(not set(on_this) & set(got), "none again after its acknowledgement")
            got += on_this
            # Frames that came and were not acknowledged come again: unread ones count as such.
            if len(got) < len(msgs):
                conn.abort()
                conn = await t.again(s, b.user)
    finally:
        await sender
    equal(got, [m["id"] for m in msgs], "order of delivery")


@test("two connections of one sender: each one's order holds", timeout=90)
async def two_connections(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    a2 = await t.again(s, a.user)
    m1 = [a.chat(b.user) for _ in range(60)]
    m2 = [a.chat(b.user) for _ in range(60)]
    await asyncio.gather(flood(a, m1), flood(a2, m2))
    got = await receive(b, 120)
    for ms in (m1, m2):
        mine = {m["id"] for m in ms}
        equal([g for g in got if g in mine], [m["id"] for m in ms], "order of delivery")
