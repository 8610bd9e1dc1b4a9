# SPDX-License-Identifier: MIT
"""acknowledgeMessage and `delivered` (promises 4 and 5)."""
import asyncio

import msgpack

from harness import Raw, check, equal, frame, is_answer, mid, test


async def next_is(t, s, user, sentinel, what):
    """On a new connection the first message is the sentinel: nothing older waits."""
    c = await t.again(s, user)
    m = (await c.take("message"))["payload"]
    equal(m["id"], sentinel["id"], what)
    return c


@test("acknowledged, ponged, gone: it does not come again")
async def ack_then_ping(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    conn = b
    for _ in range(5):
        m = await a.post(b.user)
        await conn.get(m)
        await conn.acknowledge(m["id"])
        await conn.ping()
        conn.abort()
        sentinel = await a.post(b.user)
        conn = await next_is(t, s, b.user, sentinel, "the first message after reconnecting")
        await conn.settle(sentinel["id"])


@test("not acknowledged, it comes again on each new connection")
async def again(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    b.abort()
    for _ in range(2):
        c = await t.again(s, b.user)
        await c.get(m)
        await c.close()


@test("many acknowledgements and pings in one segment: each ping its pong", timeout=90)
async def pipelined(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    await b.close()
    msgs = [await a.post(b.user) for _ in range(60)]
    r = await t.raw(s)
    r.write(Raw.frame(2, frame("connect", {"sessionToken": b.user.token})))
    got = []
    while len(got) < len(msgs):
        op, data = await r.recv()
        check(op in (2, 9), "frames of the inbox", op)
        m = msgpack.unpackb(data) if op == 2 else {"type": "ping"}
        if m["type"] == "message":
            got.append(m["payload"]["id"])
    equal(got, [m["id"] for m in msgs], "the inbox, once")
    r.write(b"".join(Raw.frame(2, frame("acknowledgeMessage", {"messageId": i, "status":
                     "delivered"})) + Raw.frame(9, i.encode()) for i in got[:50]))
    pongs = []
    while len(pongs) < 50:
        op, data = await r.recv()
        check(op in (9, 10), "pongs and nothing else", op, data)
        if op == 10:
            pongs.append(data.decode())
    equal(pongs, got[:50], "the pongs in order, each with its payload")
    r.close()
    c = await t.again(s, b.user)
    rest = [(await c.take("message"))["payload"]["id"] for _ in range(10)]
    equal(rest, got[50:], "what was not acknowledged")
    for m in msgs[:50]:
        await a.delivered(m["id"])


@test("`delivered` reaches every connection of the sender")
async def delivered_all(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    a2, a3 = await t.again(s, a.user), await t.again(s, a.user)
    m = await a.post(b.user)
    await b.get(m)
    await b.settle(m["id"])
    for c in (a, a2, a3):
        await c.delivered(m["id"])
    equal([c.count("ack", status="accepted") for c in (a, a2, a3)], [1, 0, 0],
          "accepted goes to the sending connection only")


@test("`delivered` waits for a sender who is away")
async def delivered_waits(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    sent = [await a.post(b.user) for _ in range(3)]
    await a.close()
    for m in sent:
        await b.get(m)
        await b.settle(m["id"])
    c = await t.again(s, a.user)
    for m in sent:
        await c.delivered(m["id"])
    equal(c.seen[0]["type"], "connectSuccess", "the first frame")


@test("a `delivered` that came does not come again at each later connection")
async def delivered_ends(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    sent = [await a.post(b.user) for _ in range(3)]
    for m in sent:
        await b.get(m)
        await b.settle(m["id"])
    for m in sent:
        await a.delivered(m["id"])
    for _ in range(5):  # at least once: a relay that is not sure says it once more
        await a.ping()
        await a.close()
        a = await t.again(s, a.user)
        await asyncio.sleep(0.3)
        sentinel = await b.post(a.user)
        await a.get(sentinel)
        await a.settle(sentinel["id"])
        if a.count("ack", status="delivered") == 0:
            return
    check(False, "old receipts came on five later connections")


@test("receipts do not fill the inbox of who sends much", timeout=90)
async def receipts_quota(t):
    s = await t.private("receipts", INBOX_MAX_MESSAGES="5")
    a, b = await t.users(s, 2)
    for _ in range(12):
        m = await a.post(b.user)
        await b.get(m)
        await b.settle(m["id"])
        await a.delivered(m["id"])
    await a.get(await b.post(a.user))


@test("only status `delivered` acts; other words have no effect and no answer")
async def other_status(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    for word in ("read", "failed", "", "DELIVERED"):
        await b.acknowledge(m["id"], status=word)
    await b.ping()
    await b.fails("getPublicKey", {"userId": mid()}, "USER_NOT_FOUND")
    equal(b.count("error"), 1, "answers to the others")
    b.abort()
    c = await t.again(s, b.user)
    await c.get(m)
    equal(a.count("ack", status="delivered"), 0, "delivered acks")


@test("acknowledging unknown and foreign messages has no effect and no answer")
async def foreign(t):
    s = await t.server()
    a, b, thief = await t.users(s, 3)
    m = await a.post(b.user)
    await b.get(m)
    for who in (thief, a):
        await who.acknowledge(m["id"])
        await who.acknowledge(m["id"], a.user.id)
        await who.acknowledge(m["id"].upper(), b.user.id)
        await who.acknowledge(mid())
        await who.ping()
        await who.fails("getPublicKey", {"userId": mid()}, "USER_NOT_FOUND")
        equal(who.count("error"), 1, "answers to the acknowledgements")
    b.abort()
    c = await t.again(s, b.user)
    await c.get(m)
    equal(a.count("ack", status="delivered"), 0, "delivered acks")
    await c.settle(m["id"])
    await a.delivered(m["id"])


@test("acknowledging twice has no second effect and no answer")
async def twice(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    await b.settle(m["id"])
    await b.settle(m["id"])
    await a.delivered(m["id"])
    await b.fails("getPublicKey", {"userId": mid()}, "USER_NOT_FOUND")
    equal(b.count("error"), 1, "answers to the second acknowledgement")


@test("`from` beside the id settles that sender's message only")
async def with_from(t):
    s = await t.server()
    a, b, r = await t.users(s, 3)
    m1 = await a.post(r.user)
    m2 = await b.post(r.user, id=m1["id"])
    await r.get(m1)
    await r.get(m2)
    await r.settle(m1["id"], b.user.id)
    await b.delivered(m1["id"])
    r.abort()
    c = await t.again(s, r.user)
    await c.get(m1)
    sentinel = await b.post(r.user)
    await c.get(sentinel)
    equal(a.count("ack", status="delivered"), 0, "delivered acks of the other sender")
    await c.settle(m1["id"], a.user.id.upper())
    await a.delivered(m1["id"])


@test("without `from` the oldest waiting message with that id is settled")
async def without_from(t):
    s = await t.server()
    a, b, r = await t.users(s, 3)
    m1 = await a.post(r.user)
    m2 = await b.post(r.user, id=m1["id"])
    await r.get(m1)
    await r.get(m2)
    await r.settle(m1["id"])
    await a.delivered(m1["id"])
    r.abort()
    c = await t.again(s, r.user)
    await c.get(m2)
    await c.settle(m1["id"])
    await b.delivered(m1["id"])


@test("a wrong `from` settles nothing")
async def wrong_from(t):
    s = await t.server()
    a, b, r = await t.users(s, 3)
    m = await a.post(r.user)
    await r.get(m)
    await r.settle(m["id"], b.user.id)
    r.abort()
    c = await t.again(s, r.user)
    await c.get(m)
    equal(a.count("ack", status="delivered"), 0, "delivered acks")


@test("an acknowledgement of no UUID, or without a field, gets an error, connection open")
async def malformed(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    await b.fails("acknowledgeMessage", {"messageId": "nothing", "status": "delivered"},
                  "INVALID_MESSAGE_ID")
    for p in ({"messageId": m["id"]}, {"status": "delivered"}, {"messageId": 5, "status":
              "delivered"}, {"messageId": m["id"], "status": 5}):
        await b.fails("acknowledgeMessage", p, "INVALID_FORMAT", "INVALID_MESSAGE_FORMAT",
                      "INVALID_MESSAGE_ID")
    b.abort()
    c = await t.again(s, b.user)
    await c.get(m)


@test("an acknowledgement out of order settles just that message")
async def out_of_order(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    msgs = [await a.post(b.user) for _ in range(5)]
    for m in msgs:
        await b.get(m)
    for k in (3, 1):
        await b.settle(msgs[k]["id"])
    b.abort()
    c = await t.again(s, b.user)
    for k in (0, 2, 4):
        await c.get(msgs[k])


@test("sends and acknowledgements in both directions at once", timeout=90)
async def busy(t):
    s = await t.server()
    a, b = await t.users(s, 2)

    async def side(me, other):
        for m in [me.chat(other.user) for _ in range(100)]:
            await me.send("sendMessage", m)
            if me.frames:
                await drain(me)

    async def drain(me):
        for f in list(me.frames):
            if f["type"] == "message":
                me.frames.remove(f)
                await me.acknowledge(f["payload"]["id"])

    await asyncio.gather(side(a, b), side(b, a))
    for me in (a, b):
        while me.count("message") < 100:
            f = await me.take("message")
            await me.acknowledge(f["payload"]["id"])
        await drain(me)
        await me.ping()
    for me in (a, b):
        while sum(1 for f in me.seen if is_answer(f)) < 100:
            await me.take(is_answer)
        while me.count("ack", status="delivered") < 100:
            await me.take("ack")
    for me, other in ((a, b), (b, a)):
        me.abort()
        await asyncio.sleep(0)
        sentinel = await (await t.again(s, other.user)).post(me.user)
        await next_is(t, s, me.user, sentinel, "all was acknowledged")


@test("DELIVERY_ACK_MODE=off: acknowledging settles, and nobody is told")
async def mode_off(t):
    s = await t.private("no-receipts", DELIVERY_ACK_MODE="off")
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    await b.settle(m["id"])
    b.abort()
    sentinel = await a.post(b.user)
    await next_is(t, s, b.user, sentinel, "the first message after reconnecting")
    a2 = await t.again(s, a.user)
    await a2.get(await (await t.again(s, b.user)).post(a.user))
    for c in (a, a2):
        equal(c.count("ack", status="delivered"), 0, "delivered acks")
