# SPDX-License-Identifier: MIT
"""Frames: what is read, what gets INVALID_FORMAT, what closes."""
import secrets

import msgpack

from harness import FRAME_MAX, Raw, b64, check, equal, frame, mid, pack, test, vectors


async def bad_format(c, data, what):
    await c.raw(data)
    m = await c.take(lambda m: m["type"] not in ("message", "ack"), what=what)
    check(m["type"] == "error" and m["payload"]["code"] == "INVALID_FORMAT",
          f"{what}: INVALID_FORMAT", m)


async def works(c):
    m = await c.ask("getPublicKey", {"userId": mid()})
    equal(m["payload"].get("code"), "USER_NOT_FOUND", "the connection goes on working")


def pairs(*kv):
    """A map written pair by pair: may hold a key twice."""
    p = msgpack.Packer(autoreset=False)
    p.pack_map_header(len(kv))
    out = p.bytes()
    for k, v in kv:
        out += pack(k) + (v if isinstance(v, bytes) else pack(v))
    return out


def sized(chat, size):
    """A sendMessage frame of exactly `size` bytes: long content, an ignored key to fill up."""
    room = size - len(frame("sendMessage", {**chat, "content": "", "pad": ""})) - 8
    chat["content"] = b64(secrets.token_bytes((room - 120) // 4 * 3))
    for n in range(32, 256):
        f = frame("sendMessage", {**chat, "pad": "x" * n})
        if len(f) == size:
            return f
    raise AssertionError("no such frame")


@test("every invalid frame of the vectors: INVALID_FORMAT, connection open")
async def invalid(t):
    s = await t.server()
    c = await t.user(s)
    for v in vectors("client_frames")["invalid"]:
        await bad_format(c, bytes.fromhex(v["hex"]), v["name"])
    await works(c)


@test("the same before login")
async def invalid_before(t):
    s = await t.server()
    c = await t.open(s)
    for v in vectors("client_frames")["invalid"]:
        await bad_format(c, bytes.fromhex(v["hex"]), v["name"])
    await c.register()


@test("a text frame: INVALID_FORMAT, connection open")
async def text(t):
    s = await t.server()
    c = await t.open(s)
    await bad_format(c, '{"type":"login"}', "JSON as text")
    await bad_format(c, "", "empty text")
    await bad_format(c, "x" * FRAME_MAX, "long text")
    await c.register()
    await bad_format(c, "hello", "text after login")
    await works(c)


@test("type unknown, missing or no text; payload missing or no map: INVALID_FORMAT")
async def shapes(t):
    s = await t.server()
    c = await t.user(s)
    for obj in ({"type": "noSuchThing", "payload": {}}, {"type": "", "payload": {}},
                {"payload": {}}, {}, {"type": None}, {"type": b"login", "payload": {}},
                {"type": "login"}, {"type": "login", "payload": None},
                {"type": "login", "payload": []}, {"type": "sendMessage"},
                {"type": "acknowledgeMessage"}, {"type": "LOGIN", "payload": {}},
                {"type": "message", "payload": {}}, {"type": "login\0", "payload": {}},
                {"type": "x" * 300, "payload": {}}, [], 5, None, "login", b"\x81", True, 1.5):
        await bad_format(c, pack(obj), f"{obj!r:.60}")
    await works(c)


@test("a key twice, in the frame, the payload, a bundle or an ignored map: INVALID_FORMAT")
async def twice(t):
    s = await t.server()
    c = await t.user(s)
    uid = c.user.id
    good = {"userId": uid}
    for what, data in (
            ("frame", pairs(("type", "getPublicKey"), ("payload", good), ("payload", good))),
            ("type", pairs(("type", "getPublicKey"), ("type", "getPublicKey"), ("payload", good))),
            ("payload", pairs(("type", "getPublicKey"),
                              ("payload", pairs(("userId", uid), ("userId", uid))))),
            ("extra key", pairs(("type", "getPublicKey"),
                                ("payload", pairs(("userId", uid), ("x", 1), ("x", 1))))),
            ("ignored map", pairs(("type", "getPublicKey"), ("payload", good),
                                  ("more", pairs(("a", 1), ("b", 2), ("a", 3)))))):
        await bad_format(c, data, f"twice: {what}")
    await works(c)


@test("unknown keys are ignored, keys come in any order")
async def extra(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = a.chat(b.user)
    junk = {"zz": [1, {"a": None}], "later": b"x", "f": 1.5, "n": -1, "t": True}
    await a.raw(pack({"junk": junk, "payload": {**junk, **dict(reversed(m.items()))}, **junk,
                      "type": "sendMessage"}))
    equal((await a.answer(m["id"]))["type"], "ack", "answer")
    got = await b.get(m)
    equal(set(got), set(m), "the keys that arrive")


@test("nesting of 16 is read, of 17 refused")
async def nesting(t):
    s = await t.server()
    c = await t.user(s)

    def nested(depth, opener):
        inner = b"\x90"
        for _ in range(depth - 3):  # the frame's map, the payload's map, the innermost
            inner = opener + inner
        return pairs(("type", "getPublicKey"),
                     ("payload", pairs(("userId", c.user.id), ("x", inner))))

    for opener in (b"\x91", b"\x81\xa1k"):
        await c.raw(nested(16, opener))
        equal((await c.take(what="answer"))["type"], "publicKeyBundle", "nesting of 16")
        await bad_format(c, nested(17, opener), "nesting of 17")
    await bad_format(c, nested(90_000, b"\x91"), "nesting of 90,000")
    await works(c)


@test("a frame of 100,000 bytes is taken and delivered, one of 100,001 closes with 1009")
async def size(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = a.chat(b.user)
    await a.raw(sized(m, FRAME_MAX))
    equal((await a.answer(m["id"]))["type"], "ack", "a frame of 100,000 bytes")
    await b.get(m)
    await a.raw(sized(a.chat(b.user), FRAME_MAX + 1))
    equal(await a.close_code(), 1009, "a frame of 100,001 bytes")
    c = await t.open(s)
    await c.raw(bytes(FRAME_MAX + 1))
    equal(await c.close_code(), 1009, "100,001 bytes before login")
    c = await t.open(s)
    await c.raw("x" * (FRAME_MAX + 1))
    equal(await c.close_code(), 1009, "text of 100,001 bytes")
    await works(b)


@test("the limit counts the whole message, in however many pieces it comes")
async def fragments(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = a.chat(b.user)
    data = sized(m, FRAME_MAX)
    await a.raw(data[i:i + 9_999] for i in range(0, FRAME_MAX, 9_999))
    equal((await a.answer(m["id"]))["type"], "ack", "100,000 bytes in 11 pieces")
    await b.get(m)
    r = await t.raw(s)
    for i in range(11):
        r.write(Raw.frame(2 if i == 0 else 0, bytes(10_000), fin=False))
    op, body = await r.recv()
    equal((op, body[:2]), (8, (1009).to_bytes(2, "big")), "110,000 bytes, no end yet")
    r = await t.raw(s)  # the announced length is enough to say no
    r.write(Raw.frame(2, bytes(200_000))[:5_000])
    op, body = await r.recv()
    equal((op, body[:2]), (8, (1009).to_bytes(2, "big")), "200,000 bytes announced")


@test("the key as array of integers is the same message")
async def key_array(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user, ephemeralPublicKey=[0, 255] + list(range(100, 130)))
    await b.get(m)
    for key in ([1] * 31, [1] * 33, [1] * 31 + [256], [1] * 31 + [-1], [1] * 31 + ["1"], [],
                [1] * 31 + [1.0], b"k" * 31, b"k" * 33, b"", "k" * 32, 5):
        await a.refused(a.chat(b.user, ephemeralPublicKey=key), "INVALID_MESSAGE_FORMAT",
                        "INVALID_FORMAT")
    equal(b.count("message"), 1, "messages delivered")


@test("every MessagePack width of a number and a text is read")
async def widths(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = a.chat(b.user, messageNumber=7)
    for number in (b"\x07", b"\xcc\x07", b"\xcd\x00\x07", b"\xce\0\0\0\x07", b"\xcf" + bytes(7) +
                   b"\x07", b"\xd0\x07", b"\xd1\x00\x07", b"\xd2\0\0\0\x07", b"\xd3" + bytes(7) +
                   b"\x07"):
        m["id"] = mid()
        idtext = b"\xdb\0\0\0\x24" + m["id"].encode()
        body = [(k, number if k == "messageNumber" else idtext if k == "id" else pack(v))
                for k, v in m.items()]
        await a.raw(pairs(("type", b"\xda\0\x0bsendMessage"), ("payload", pairs(*body))))
        equal((await a.answer(m["id"]))["type"], "ack", f"number as {number[:1].hex()}")
        await b.get(m)


@test("bytes that are no UTF-8 in a text are refused, connection open")
async def utf8(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = a.chat(b.user)
    body = [(k, pack(v) if k != "content" else b"\xa4\xff\xfe\xfd\xfc") for k, v in m.items()]
    await a.raw(pairs(("type", "sendMessage"), ("payload", pairs(*body))))
    got = await a.take(lambda m: m["type"] == "error")
    check(got["payload"]["code"] in ("INVALID_FORMAT", "INVALID_MESSAGE_FORMAT"), "refused", got)
    await bad_format(a, pairs(("type", b"\xa4\xff\xfe\xfd\xfc"), ("payload", {})), "type")
    await works(a)


@test("compression is not agreed to, and offering it does no harm")
async def deflate(t):
    s = await t.server()
    c = await t.open(s, compression="deflate")
    equal(c.ws.protocol.extensions, [], "extensions agreed on")
    await c.register()


@test("pings are answered with their own payload, also in a burst")
async def pings(t):
    s = await t.server()
    r = await t.raw(s)
    r.write(b"".join(Raw.frame(9, str(i).encode()) for i in range(100)))
    for i in range(100):
        equal(await r.recv(), (10, str(i).encode()), f"pong {i}")


@test("a client's close is answered with its code")
async def close(t):
    s = await t.server()
    r = await t.raw(s)
    r.write(Raw.frame(8, (1000).to_bytes(2, "big")))
    op, body = await r.recv()
    equal((op, body[:2]), (8, (1000).to_bytes(2, "big")), "close answered")
    equal(await r.recv(), (None, b""), "and the stream ended")


@test("an unmasked frame harms nobody, and what follows it is judged like any frame")
async def unmasked(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    r = await t.raw(s)
    r.write(b"\x82\x01\xc0")  # RFC 6455 wants a close; the library under the relay reads on
    op, body = await r.recv()
    if op == 8:
        equal(body[:2], (1002).to_bytes(2, "big"), "closed for a protocol error")
    elif op is not None:
        equal(msgpack.unpackb(body)["payload"]["code"], "INVALID_FORMAT", "read as a frame")
    await b.get(await a.post(b.user))
