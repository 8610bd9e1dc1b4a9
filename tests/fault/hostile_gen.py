# SPDX-License-Identifier: MIT
"""Hostile input: mutated application frames, broken WebSocket framing, HTTP garbage.

Everything comes from one random generator, so a seed repeats it.
"""
import struct
import uuid

import msgpack

import accounts
import wsclient

NAMES = ["mallory", "trudy", "eve"]
KINDS = ["register", "login", "connect", "logout", "changePassword", "deleteAccount",
         "getPublicKey", "rotatePrekey", "sendMessage", "acknowledgeMessage",
         "registerDeviceToken", "unregisterDeviceToken", "updateDeviceTokenPreferences"]
# Hashing and signature checks are slow by design; a flood of them tests only the machine.
WEIGHTS = [1, 1, 3, 5, 1, 1, 8, 3, 40, 20, 5, 5, 5]


def new_id(rng):
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


class Frames:
    """Application frames: valid ones, and what becomes of them."""

    def __init__(self, rng, me, others):
        self.rng = rng
        self.me = me          # account id
        self.others = others  # ids to write to
        self.seen = []        # (from, id) of messages that came, to acknowledge some

    def base(self):
        rng = self.rng
        kind = rng.choices(KINDS, WEIGHTS)[0]
        token = "eyJhbGciOiJIUzI1NiJ9." + accounts.b64(rng.randbytes(30)) + ".AAAA"
        bundle = accounts.key_bundle(rng, self.me)
        payload = {
            "register": lambda: {"username": rng.choice(NAMES), "password": "weak",
                                 "publicKey": bundle},
            "login": lambda: {"username": rng.choice(NAMES), "password": "Wrong-Horse-1"},
            "connect": lambda: {"sessionToken": token},
            "logout": lambda: {"sessionToken": token},
            "changePassword": lambda: {"sessionToken": token, "oldPassword": "x",
                                       "newPassword": "y", "newPasswordConfirm": "y"},
            "deleteAccount": lambda: {"sessionToken": token, "password": "x"},
            "getPublicKey": lambda: {"userId": rng.choice(self.others)},
            "rotatePrekey": lambda: {"userId": self.me, "update": bundle},
            "sendMessage": lambda: accounts.chat(self.me, rng.choice(self.others), rng,
                                                 rng.choice([20, 200, 3000])),
            "acknowledgeMessage": self._ack,
            "registerDeviceToken": lambda: {"deviceToken": "a" * rng.randint(0, 130),
                                            "notificationFilter": "silent"},
            "unregisterDeviceToken": lambda: {"deviceToken": "aaaa"},
            "updateDeviceTokenPreferences": lambda: {
                "deviceToken": "aaaa", "notificationFilter": "visible_all", "enabled": True},
        }[kind]()
        return {"type": kind, "payload": payload}

    def _ack(self):
        if self.seen and self.rng.random() < 0.5:
            sender, message_id = self.seen.pop()
        else:
            sender, message_id = self.me, new_id(self.rng)
        return {"messageId": message_id, "from": sender, "status": "delivered"}

    def weird(self, depth=0):
        """Any value that MessagePack can carry."""
        rng = self.rng
        return rng.choice([
            lambda: None, lambda: True, lambda: -1, lambda: 1 << 63, lambda: -(1 << 63),
            lambda: (1 << 64) - 1, lambda: 1 << 32, lambda: float("nan"), lambda: 1e308,
            lambda: "", lambda: "\0", lambda: "a" * rng.choice([1, 36, 256, 5000]),
            lambda: new_id(rng).upper(), lambda: new_id(rng) + "@other.example",
            lambda: "\u202e\U0001f600" * 40, lambda: "../../etc/passwd",
            lambda: "' OR 1=1;--", lambda: rng.randbytes(rng.choice([0, 31, 32, 33, 4000])),
            lambda: [rng.randrange(-5, 300) for _ in range(rng.choice([0, 31, 32, 33]))],
            lambda: {}, lambda: [], lambda: {"type": "connect"},
            lambda: msgpack.ExtType(rng.randrange(128), rng.randbytes(rng.randrange(40))),
            lambda: msgpack.Timestamp(rng.randrange(1 << 32)),
            lambda: [self.weird(depth + 1) for _ in range(3)] if depth < 3 else 0,
            lambda: {self.text_key(): self.weird(depth + 1)} if depth < 3 else 0,
        ])()

    def near(self, value):
        """Nearly the same value, so that it gets past the first checks."""
        rng = self.rng
        if isinstance(value, dict) and value:
            key = rng.choice(list(value))
            return {**value, key: self.near(value[key])}
        if isinstance(value, (bytes, str)) and value:
            cut = rng.randrange(len(value))
            return rng.choice([
                lambda: value[:cut], lambda: value + value[:cut + 1], lambda: value[::-1],
                lambda: value[:cut] + value[cut + 1:], lambda: value * 3,
                lambda: value.upper(), lambda: value.swapcase(), lambda: value.title(),
                lambda: value[:cut] + ("\u00e9\0" if isinstance(value, str) else b"\0\xff")
                + value[cut + 1:]])()
        if isinstance(value, int):
            return value + rng.choice([-1, 1, 1 << 31, 1 << 32, -(1 << 40)])
        return self.weird()

    def text_key(self):
        return self.rng.choice(["id", "from", "to", "type", "payload", "x" * 300, "", "status"])

    def reshaped(self, msg):
        """The same map with something else in it, away, or beside it."""
        rng = self.rng
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            where = msg["payload"] if rng.random() < 0.85 and isinstance(
                msg.get("payload"), dict) else msg
            if not where:
                return msg
            key = rng.choice(list(where))
            dice = rng.random()
            if dice < 0.4:
                where[key] = self.near(where[key])
            elif dice < 0.6:
                where[key] = self.weird()
            elif dice < 0.75:
                del where[key]
            elif dice < 0.9:
                where[self.text_key()] = self.weird()
            else:
                where[rng.choice([0, -1, None, 3.5, b"id"])] = self.weird()
        return msg

    def bytes(self):
        """One hostile application frame's payload."""
        rng = self.rng
        dice = rng.random()
        if dice < 0.04:
            return rng.randbytes(rng.choice([0, 1, 2, 5, 50, 500, 3000]))
        if dice < 0.08:
            return self.nested()
        if dice < 0.11:
            return self.huge_lengths()
        msg = self.base()
        if dice < 0.70:
            msg = self.reshaped(msg)
        try:
            raw = bytearray(msgpack.packb(msg, use_bin_type=rng.random() < 0.9))
        except (ValueError, OverflowError):
            raw = bytearray(rng.randbytes(100))
        if dice < 0.15:
            return bytes(raw) + bytes(raw)                      # two in one frame
        if dice < 0.18:
            return bytes(raw) + rng.randbytes(rng.randint(1, 9))  # trailing bytes
        if dice > 0.60 and rng.random() < 0.8:
            mutate(rng, raw)
        return bytes(raw)

    def nested(self):
        rng = self.rng
        depth = rng.choice([15, 16, 17, 18, 100, 5000, 40000])
        opener = rng.choice([b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\x81\xa7payload"])
        deep = opener * depth + b"\xc0" * rng.randint(0, 2)
        if rng.random() < 0.5:
            deep = b"\x82\xa4type\xabsendMessage\xa7payload" + deep
        return deep[:99000]

    def huge_lengths(self):
        rng = self.rng
        head = rng.choice([b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
        size = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00",
                           b"\x00\x01\x00\x00", b"\x10\x00\x00\x00"])
        tail = rng.randbytes(rng.randint(0, 60))
        if rng.random() < 0.6:
            return b"\x82\xa4type\xabsendMessage\xa7payload" + head + size + tail
        return head + size + tail


def mutate(rng, raw):
    """Some wounds to a byte string, in place."""
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        if not raw:
            return
        at = rng.randrange(len(raw))
        dice = rng.randrange(7)
        if dice == 0:
            raw[at] ^= 1 << rng.randrange(8)
        elif dice == 1:
            raw[at] = rng.choice([0, 0x7F, 0x80, 0xC1, 0xD9, 0xDF, 0xFF, rng.randrange(256)])
        elif dice == 2:
            del raw[at:]
        elif dice == 3:
            del raw[at:at + rng.randint(1, 8)]
        elif dice == 4:
            raw[at:at] = rng.randbytes(rng.randint(1, 8))
        elif dice == 5:
            piece = raw[at:at + rng.randint(1, 40)]
            raw[at:at] = piece
        else:
            other = rng.randrange(len(raw))
            raw[at], raw[other] = raw[other], raw[at]


def bad_frames(rng, valid):
    """Bytes after a good handshake that break the framing rules (or look like it)."""
    f = wsclient.frame
    n = rng.choice([0, 1, 125, 126, 2000])
    junk = rng.randbytes(n)
    small = junk[:125]

    def length(size, tail):
        return bytes([0x82, 0x80 | 127]) + struct.pack(">Q", size) + rng.randbytes(4 + tail)

    def headers():
        raw = bytearray(f(2, valid))
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(min(len(raw), 14))] = rng.randrange(256)
        return bytes(raw)

    def flood():
        parts = [f(2, b"", fin=False)]
        parts += [f(0, junk[:rng.randint(0, 2)], fin=False)
                  for _ in range(rng.choice([10, 300, 1500]))]
        return b"".join(parts) + (f(0, b"") if rng.random() < 0.5 else b"")

    def too_long():
        piece = rng.randbytes(30000)
        return f(2, piece, fin=False) + b"".join(
            f(0, piece, fin=i == 3) for i in range(4))

    return rng.choice([
        lambda: rng.randbytes(rng.randint(1, 2000)),
        lambda: f(rng.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), small),
        lambda: f(2, junk, rsv=rng.randint(1, 7)),
        lambda: f(rng.choice([8, 9, 10]), small, rsv=rng.randint(1, 7)),
        lambda: bytes([0x82, min(n, 125)]) + small,               # not masked
        lambda: length(1 << 63, 10), lambda: length((1 << 63) - 1, 10),
        lambda: length(1 << 40, 300), lambda: length(0xFFFFFFFF, 5), lambda: length(5, 5),
        lambda: length(100001, 500),
        lambda: bytes([0x82, 0xFE, 0, 5]) + rng.randbytes(9),     # length not shortest
        flood, too_long, headers, headers,
        lambda: f(0, junk),                                      # nothing to continue
        lambda: f(2, junk, fin=False) + f(2, junk),              # a second start
        lambda: f(2, junk, fin=False) + f(9, b"x") + f(0, junk),
        lambda: b"".join(f(9, small) for _ in range(rng.choice([20, 400]))),
        lambda: b"".join(f(10, small) for _ in range(rng.choice([20, 400]))),
        lambda: f(9, junk[:100], fin=False) + f(0, b""),
        lambda: bytes([0x89, 0xFE]) + struct.pack(">H", 126) + rng.randbytes(130),
        lambda: f(8, b"\x03"), lambda: f(8, b""),
        lambda: f(8, struct.pack(">H", rng.choice([0, 999, 1004, 1005, 1006, 1015, 2999, 5000,
                                                    65535])) + small[:50]),
        lambda: f(8, b"\x03\xe8\xff\xfe\xfd") + f(2, valid),
        lambda: f(1, b"\xff\xfe\xed\xa0\x80"), lambda: f(1, b"text " * 20),
        lambda: f(1, b"\xce\xba\xe1", fin=False) + f(0, b"\xbd\xb9"),
        lambda: b"".join(f(2, b"") for _ in range(50)),
        lambda: f(2, rng.randbytes(100001)),
        lambda: f(2, valid)[:rng.randint(1, 20)],
    ])()


def handshake(rng):
    """A WebSocket handshake with something wrong; complete in most cases."""
    raw = bytearray(wsclient.handshake_request(wsclient.new_key(), rng.choice(
        ["/", "/ws", "/WS", "/ws?x=1", "/nothing", "//ws", "/ws/%00", "*"])))
    dice = rng.random()
    if dice < 0.4:
        old, new = rng.choice([
            (b"GET", b"POST"), (b"GET", b"get"), (b"GET", b"\0ET"), (b"HTTP/1.1", b"HTTP/1.0"),
            (b"HTTP/1.1", b"HTTP/9.9"), (b"HTTP/1.1", b""), (b"websocket", b"foo"),
            (b"websocket", b"h2c"), (b"websocket", b"websocket, h2c"),
            (b"Upgrade: websocket\r\n", b""), (b"Connection: Upgrade\r\n", b""),
            (b"Version: 13", b"Version: 8"), (b"Version: 13", b"Version: -1"),
            (b"Version: 13", b"Version: 99999999999999999999"),
            (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key:"),
            (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: " + b"A" * 3000),
            (b"Host: localhost\r\n", b""), (b"Host: localhost", b"Host: " + b"h" * 2000),
            (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: " + b"a," * 200 + b"\r\n\r\n"),
            (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate; "
             b"client_max_window_bits=99\r\n\r\n"),
            (b"\r\n\r\n", b"\r\nX-Forwarded-For: " + b"1.2.3.4, " * 100 + b"\r\n\r\n"),
            (b"\r\n\r\n", b"\r\nContent-Length: 100\r\n\r\n"),
            (b"\r\n", b"\n"), (b": ", b":"), (b"\r\n\r\n", b"\r\n \r\n\t folded: x\r\n\r\n"),
        ])
        raw = raw.replace(old, new)
    elif dice < 0.9:
        mutate(rng, raw)
    return bytes(raw)


def http(rng):
    """An HTTP request, several, or part of one."""
    path = rng.choice(["/", "/health", "/health/live", "/health/ready", "/metrics", "/ws",
                       "/keys/" + new_id(rng), "/messages/send", "/" + "a" * 5000, "/%zz",
                       "/..%2f..%2fetc/passwd", "/?" + "&" * 500, "http://other/health"])
    verb = rng.choice(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT",
                       "PRI", "G" * 300, "", "\x16\x03\x01"])
    line = f"{verb} {path} HTTP/1.1\r\nHost: x\r\n"
    get = f"GET {path} HTTP/1.1\r\nHost: x\r\n"
    upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {}\r\n\r\n"
    length = rng.choice(["-1", "-9223372036854775808", "18446744073709551616", "1e3", "0x10",
                         "5, 5", "", "4294967296", "99999999", "+5", "10"])
    whole = rng.choice([
        lambda: line + "\r\n",
        lambda: line + f"Content-Length: {length}\r\n\r\nhello",
        lambda: line + "Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
        lambda: line + "Transfer-Encoding: chunked\r\n\r\n" + rng.choice(
            ["0\r\n\r\n", "ffffffffffffffff\r\n", "-1\r\nx\r\n", "5\r\nhello\r\n0\r\n\r\n"]),
        lambda: get + "X-Long: " + "a" * rng.choice([100, 4000, 9000, 70000]) + "\r\n\r\n",
        lambda: get + "".join(f"X-{i}: {i}\r\n" for i in range(rng.choice([10, 200, 2000])))
        + "\r\n",
        lambda: get + "Connection: keep-alive\r\n\r\n" + upgrade.format("foo"),
        lambda: get + "Connection: keep-alive\r\n\r\n" + upgrade.format("websocket"),
        lambda: upgrade.format(rng.choice(["foo", "h2c", "websocket", "", "TLS/1.0"])),
        lambda: get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        lambda: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\0\0\0\4\0\0\0\0\0",
        lambda: (get + "Connection: keep-alive\r\n\r\n") * rng.choice([2, 10, 50]),
        lambda: get + f"Authorization: Bearer {'x' * rng.choice([0, 10, 5000])}\r\n\r\n",
        lambda: f"GET {path}\r\n\r\n", lambda: "\r\n" * 50 + get + "\r\n", lambda: "\n\n",
        lambda: get + "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
        lambda: get + "Range: bytes=-1,9-\r\nIf-Modified-Since: x\r\nCookie: =;;=\r\n\r\n",
    ])().encode("latin-1", "replace")
    dice = rng.random()
    if dice < 0.1:
        return rng.randbytes(rng.randint(1, 3000))
    if dice < 0.35:
        whole = bytearray(whole)
        mutate(rng, whole)
        return bytes(whole)
    if dice < 0.45:
        return whole[:rng.randint(1, max(1, len(whole) - 1))]
    return whole
