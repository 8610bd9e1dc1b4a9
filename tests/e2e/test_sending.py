# SPDX-License-Identifier: MIT
"""sendMessage: delivery online and offline, ids, what is refused."""
import asyncio

from harness import DOMAIN, Raw, accepted, check, equal, frame, is_answer, mid, test, vectors

FORMAT = ("INVALID_MESSAGE_FORMAT", "INVALID_FORMAT")


@test("a message reaches an online recipient as it was sent")
async def online(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    for over in ({}, {"messageNumber": 0}, {"messageNumber": 2**32 - 1}, {"timestamp": 0},
                 {"timestamp": 2**33}, {"ephemeralPublicKey": bytes(32)}, {"content": "QQ=="},
                 {"ephemeralPublicKey": b"\xff" * 32}):
        await b.get(await a.post(b.user, **over))


@test("both ways on two connections")
async def both_ways(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    for _ in range(5):
        await b.get(await a.post(b.user))
        await a.get(await b.post(a.user))


@test("a message waits for an offline recipient, and comes after connectSuccess")
async def offline(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    await b.close()
    sent = [await a.post(b.user) for _ in range(3)]
    c = await t.again(s, b.user)
    for m in sent:
        await c.get(m)
    equal(c.seen[0]["type"], "connectSuccess", "the first frame")


@test("nothing of the inbox before loginSuccess")
async def first_frame(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    await b.close()
    m = await a.post(b.user)
    c = await t.open(s)
    await c.fails("login", {"username": b.user.name, "password": "Wrong-Pass-1"},
                  "INVALID_CREDENTIALS")
    await c.login(b.user)
    await c.get(m)
    equal([f["type"] for f in c.seen], ["error", "loginSuccess", "message"], "frames in order")


@test("an upper-case id is echoed as sent, and is the same id in lower case")
async def upper(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user, id=mid().upper())
    await b.get(m)
    for form in (m["id"].lower(), m["id"], m["id"].title()):
        e = await a.refused({**m, "id": form}, "DUPLICATE_MESSAGE")
        equal(e["messageId"], form, "the id in the answer, as sent this time")
    await b.settle(m["id"].lower())
    await a.delivered(m["id"])
    await b.get(await a.post(b.user))


@test("ids of any UUID version are taken, ids that are none: INVALID_MESSAGE_ID")
async def ids(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    # Version 1, version 7, and one that is of no version at all: new in each run.
    for make in (lambda u: u[:14] + "1" + u[15:], lambda u: u[:14] + "7" + u[15:],
                 lambda u: u[:14] + "0" + u[15:19] + "0" + u[20:]):
        await b.get(await a.post(b.user, id=make(mid())))
    u = mid()
    await a.send("sendMessage", a.chat(b.user, id=""))
    e = await a.take("error")  # an empty id may be no id to echo
    equal((e["payload"]["code"], e["payload"].get("messageId", "")), ("INVALID_MESSAGE_ID", ""),
          "an empty id")
    for bad in ("1", u[:-1], u + "0", u.replace("-", ""), "{" + u + "}", "g" + u[1:],
                u.replace("-", "_"), " " + u[1:]):
        await a.refused(a.chat(b.user, id=bad), "INVALID_MESSAGE_ID")
    equal(b.count("message"), 3, "messages delivered")


@test("an id that is refused is echoed exactly too, whatever is in it")
async def odd_ids(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    for bad in ("\u0436" * 20, "a\tb\n", "\u202e\U0001f600", mid()[:35] + "\0", "x\0y"):
        m = a.chat(b.user, id=bad)
        await a.send("sendMessage", m)
        e = await a.take("error")
        equal((e["payload"]["code"], e["payload"].get("messageId")), ("INVALID_MESSAGE_ID", bad),
              "the answer")
    long = "z" * 5_000
    await a.send("sendMessage", a.chat(b.user, id=long))
    e = (await a.take("error"))["payload"]
    equal(e["code"], "INVALID_MESSAGE_ID", "code")
    equal(e.get("messageId", long), long, "too long to echo, or echoed whole")
    await b.get(await a.post(b.user))


@test("a field missing or of a wrong type: refused, with the id where it can be read")
async def fields(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    for over in ({"from_": None}, {"to": None}, {"ephemeralPublicKey": None},
                 {"messageNumber": None}, {"content": None}, {"timestamp": None},
                 {"content": ""}, {"content": 5}, {"content": b"QUJD"}, {"to": 5},
                 {"from_": ["x"]}, {"messageNumber": -1}, {"messageNumber": 2**32},
                 {"messageNumber": "7"}, {"messageNumber": 7.0}, {"timestamp": "now"},
                 {"content": "no base64!"}, {"content": "QUJ"}):
        over = dict(over)
        to = over.pop("to", b.user)
        m = a.chat(b.user)
        m["to"] = getattr(to, "id", to)
        for k, v in over.items():
            m["from" if k == "from_" else k] = v
        m = {k: v for k, v in m.items() if v is not None}
        await a.refused(m, *FORMAT)
    for bad in (None, 5, b"id"):
        m = a.chat(b.user)
        m["id"] = bad
        await a.send("sendMessage", {k: v for k, v in m.items() if v is not None})
        e = await a.take(lambda f: is_answer(f))
        check(e["type"] == "error" and e["payload"]["code"] in FORMAT + ("INVALID_MESSAGE_ID",),
              "no usable id", e)
    await b.get(await a.post(b.user))


@test("from another user: FORBIDDEN, nothing delivered")
async def forged(t):
    s = await t.server()
    a, b, c = await t.users(s, 3)
    await a.refused(a.chat(b.user, from_=c.user.id), "FORBIDDEN")
    await a.refused(a.chat(b.user, from_=b.user.id), "FORBIDDEN")
    await a.refused(a.chat(b.user, from_=mid()), "FORBIDDEN")
    await a.refused(a.chat(b.user, from_=f"{a.user.id}@elsewhere.example.net"), "FORBIDDEN")
    await a.refused(a.chat(b.user, from_="nobody"), "FORBIDDEN", *FORMAT)
    await b.get(await a.post(b.user))
    equal(b.count("message"), 1, "messages delivered")


@test("a recipient that does not exist: USER_NOT_FOUND; the id can be used afterwards")
async def unknown(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = a.chat(mid())
    for _ in range(3):
        await a.refused(m, "USER_NOT_FOUND")
    await a.refused({**m, "to": m["to"].upper()}, "USER_NOT_FOUND")
    m = await a.post(b.user, id=m["id"])
    await b.get(m)


@test("a recipient that was asked for too early is found after his registration")
async def not_yet(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    await a.refused(a.chat(mid()), "USER_NOT_FOUND")
    c = await t.user(s)
    await c.get(await a.post(c.user))


@test("a recipient id that is none is refused")
async def bad_to(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    for to in ("", "nobody", b.user.id[:-1], b.user.id + "x", b.user.id + "@"):
        await a.refused(a.chat(to), "INVALID_USER_ID", *FORMAT)
    # Another instance: this one does not federate.
    e = await a.refused(a.chat(f"{b.user.id}@elsewhere.example.net"), "USER_NOT_FOUND",
                        "INVALID_USER_ID", "FORBIDDEN", "KAFKA_FAILURE", "SERVER_ERROR", *FORMAT)
    check(e["message"], "a text")
    await b.get(await a.post(f"{b.user.id}@{DOMAIN}"))
    equal(b.count("message"), 1, "messages delivered")


@test("the frames of the vectors are read, and answered as their ids deserve")
async def vector_frames(t):
    s = await t.server()
    a = await t.user(s)
    for v in vectors("client_frames")["frames"]:
        if not v["name"].startswith("sendMessage"):
            continue
        await a.raw(bytes.fromhex(v["hex"]))  # from somebody else
        e = await a.answer(v["json"]["payload"]["id"])
        equal(e["payload"].get("code"), "FORBIDDEN", v["name"])


# ---------------------------------------------------------------- one id, one effect

@test("a repeated id: DUPLICATE_MESSAGE, delivered once, also after the acknowledgement")
async def duplicate(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await a.refused(m, "DUPLICATE_MESSAGE")
    await b.get(m)
    await a.refused({**m, "content": "QUJDRA=="}, "DUPLICATE_MESSAGE")
    await b.settle(m["id"])
    await a.delivered(m["id"])
    await a.refused(m, "DUPLICATE_MESSAGE")
    await a.close()
    a2 = await t.again(s, a.user)
    await a2.refused(m, "DUPLICATE_MESSAGE")
    sentinel = await a2.post(b.user)
    await b.get(sentinel)
    equal(b.count("message"), 2, "messages that reached the recipient")


@test("the same id to another recipient is still a duplicate: the key is sender and id")
async def duplicate_other(t):
    s = await t.server()
    a, b, c = await t.users(s, 3)
    m = await a.post(b.user)
    await a.refused({**m, "to": c.user.id}, "DUPLICATE_MESSAGE")
    await c.get(await b.post(c.user))
    equal(c.count("message"), 1, "messages of the other recipient")


@test("two senders may use one id")
async def two_senders(t):
    s = await t.server()
    a, b, r = await t.users(s, 3)
    m1 = await a.post(r.user)
    await r.get(m1)
    m2 = await b.post(r.user, id=m1["id"])
    await r.get(m2)


@test("one id sent many times at once from several connections: one message")
async def concurrent(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    cs = [a] + [await t.again(s, a.user) for _ in range(3)]
    for _ in range(10):
        m = a.chat(b.user)
        for c in cs:
            for _ in range(3):
                await c.send("sendMessage", m)
        answers = []
        for c in cs:
            for _ in range(3):
                answers.append(await c.answer(m["id"]))
        check(accepted(m["id"]) in answers, "one of them is accepted", answers)
        check(all(x["type"] == "ack" or x["payload"]["code"] == "DUPLICATE_MESSAGE"
                  for x in answers), "accepted or DUPLICATE_MESSAGE", answers)
        await b.get(m)
    sentinel = await a.post(b.user)
    await b.get(sentinel)
    equal(b.count("message"), 11, "messages delivered")


@test("each send has exactly one answer, and it has its id", timeout=90)
async def one_answer(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    sent, kinds = [], ("good", "again", "forged", "empty", "unknown", "badkey")
    last = None
    for i in range(120):
        kind = kinds[i % 6]
        m = a.chat(b.user)
        if kind == "again":
            m = last
        elif kind == "forged":
            m["from"] = b.user.id
        elif kind == "empty":
            m["content"] = ""
        elif kind == "unknown":
            m["to"] = mid()
        elif kind == "badkey":
            m["ephemeralPublicKey"] = b"short"
        last = m if kind == "good" else last
        sent.append(m["id"])
        await a.send("sendMessage", m)
    for _ in sent:
        await a.take(lambda f: is_answer(f))
    final = await a.post(b.user)
    got = sorted(f["payload"]["messageId"] for f in a.seen if is_answer(f))
    equal(got, sorted(sent + [final["id"]]), "the ids that were answered")


@test("a connection that breaks after its sends loses none that was accepted")
async def broken(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    sent = [a.chat(b.user) for _ in range(50)]
    for m in sent:
        await a.send("sendMessage", m)
    await a.answer(sent[0]["id"])
    a.abort()
    a2 = await t.again(s, a.user)
    for m in sent:  # a retry tells for each: it is there now, whatever came before
        await a2.send("sendMessage", m)
    for m in sent:
        x = await a2.answer(m["id"])
        check(x["type"] == "ack" or x["payload"]["code"] == "DUPLICATE_MESSAGE",
              "accepted or DUPLICATE_MESSAGE", x)
    sentinel = await a2.post(b.user)
    while (await b.take("message"))["payload"]["id"] != sentinel["id"]:
        pass
    got = [f["payload"]["id"] for f in b.seen if f["type"] == "message"]
    equal(sorted(got), sorted([m["id"] for m in sent] + [sentinel["id"]]), "each once")


@test("a message to oneself is delivered like any other, or clearly refused")
async def to_oneself(t):
    s = await t.server()
    a = await t.user(s)
    m = a.chat(a.user)
    await a.send("sendMessage", m)
    x = await a.answer(m["id"])
    if x["type"] == "ack":
        await a.get(m)
        await a.settle(m["id"])
        await a.delivered(m["id"])
    else:
        check(x["payload"]["code"] in ("FORBIDDEN", *FORMAT), "a code that fits", x)


@test("one frame in many TCP segments, many frames in one")
async def segments(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    r = await t.raw(s)
    r.write(Raw.frame(2, frame("connect", {"sessionToken": a.user.token})))
    op, _ = await r.recv()
    equal(op, 2, "connectSuccess")
    m = a.chat(b.user)
    for byte in Raw.frame(2, frame("sendMessage", m)):
        r.write(bytes([byte]))
        await r.w.drain()
        await asyncio.sleep(0.0005)
    await b.get(m)
    many = [a.chat(b.user) for _ in range(20)]
    r.write(b"".join(Raw.frame(2, frame("sendMessage", m)) for m in many))
    for m in many:
        await b.get(m)
