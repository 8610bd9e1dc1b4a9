# SPDX-License-Identifier: MIT
"""Starts relays, speaks to them with stock libraries, and runs the tests.

Everything here knows the outside of the relay only: its environment, its port, its log.
"""
import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import tempfile
import time
import traceback
import uuid
from pathlib import Path

import msgpack
import websockets
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from websockets.asyncio.client import connect as ws_connect

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
VECTORS = Path(os.environ.get("E2E_VECTORS", REPO / "tests" / "vectors"))
PATIENCE = float(os.environ.get("E2E_PATIENCE", "2"))  # times a test's own limit, on a busy machine
OP = float(os.environ.get("E2E_OP_TIMEOUT", "20"))  # one answer, also from a sanitizer build
DOMAIN = "relay.example.org"
FRAME_MAX = 100_000

ERROR_CODES = set("""
INVALID_FORMAT AUTH_REQUIRED UNAUTHORIZED FORBIDDEN INVALID_MESSAGE_FORMAT INVALID_MESSAGE_ID
DUPLICATE_MESSAGE INBOX_FULL RATE_LIMIT_WARNING RATE_LIMIT_BLOCKED USER_BLOCKED
RATE_LIMIT_EXCEEDED KAFKA_FAILURE WEAK_PASSWORD INVALID_KEY_BUNDLE INVALID_BUNDLE
REGISTRATION_FAILED INVALID_CREDENTIALS INVALID_TOKEN INVALID_USER_ID USER_NOT_FOUND INVALID_PASSWORD PASSWORD_MISMATCH SAME_PASSWORD
INVALID_DEVICE_TOKEN INVALID_FILTER DEVICE_TOKEN_NOT_FOUND SESSION_CREATION_FAILED
TOO_MANY_CONNECTIONS SERVER_ERROR""".split())

# What the server may say: type -> (needed keys, keys that may stand beside them).
SERVER_TYPES = {
    "registerSuccess": ({"userId", "username", "sessionToken", "expires"}, set()),
    "loginSuccess": ({"userId", "username", "sessionToken", "expires"}, set()),
    "connectSuccess": ({"userId", "username"}, set()),
    "publicKeyBundle": ({"userId", "username", "identityPublic", "signedPrekeyPublic", "signature",
                         "verifyingKey"}, set()),
    "message": ({"id", "from", "to", "ephemeralPublicKey", "messageNumber", "content",
                 "timestamp"}, set()),
    "ack": ({"messageId", "status"}, set()),
    "error": ({"code", "message"}, {"messageId"}),
    "sessionExpired": None, "keyRotationSuccess": None, "changePasswordSuccess": None,
    "logoutSuccess": None, "deleteAccountSuccess": None, "deviceTokenRegistered": None,
    "deviceTokenUnregistered": None, "deviceTokenPreferencesUpdated": None,
}


class Failure(AssertionError):
    """What the relay did is not what the specification says."""


def check(cond, text, *got):
    if not cond:
        raise Failure(text + ("" if not got else ": got " + ", ".join(short(g) for g in got)))


def equal(got, want, text):
    if got != want:
        raise Failure(f"{text}: wanted {short(want)}, got {short(got)}")


def short(v):
    s = repr(v)
    return s if len(s) <= 400 else s[:300] + f"... ({len(s)} characters)"


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def b64(data):
    return base64.b64encode(data).decode()


def pack(obj):
    return msgpack.packb(obj, use_bin_type=True)


def frame(kind, payload=None):
    return pack({"type": kind} if payload is None else {"type": kind, "payload": payload})


def mid():
    return str(uuid.uuid4())


# ---------------------------------------------------------------- what a log must not hold

class Leaks:
    """Remembers who the tests pretended to be, to look for it in every log."""
    ids, other = set(), set()

    @classmethod
    def find(cls, text):
        found = []
        low = text.lower()
        for u in set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", low)) & cls.ids:
            found.append(f"the user or message id {u}")
        for n in set(re.findall(r"(?:e2e|node)_[0-9a-f]{10}\w*", text)):
            found.append(f"the username {n}")
        if re.search(r"eyJ[\w-]{10,}\.[\w-]+", text):
            found.append("a session token")
        found += [f"a secret or key ({s[:6]}...)" for s in cls.other if s in text]
        return found


# ---------------------------------------------------------------- users

class User:
    def __init__(self, name=None, password=None):
        self.name = name or f"e2e_{secrets.token_hex(5)}"
        self.password = password or f"Secret-{secrets.token_hex(6)}-A1"
        self.signing = ed25519.Ed25519PrivateKey.generate()
        self.id = self.token = None
        Leaks.other.add(self.password)

    def bundle(self, owner="", suites=None, raw=None):
        """A key bundle signed by this user's master key."""
        if suites is None:
            suites = [suite()]
        data = raw if raw is not None else json.dumps({
            "userId": owner, "timestamp": "2026-01-01T00:00:00Z", "supportedSuites": suites,
        }).encode()
        key = self.signing.public_key().public_bytes_raw()
        Leaks.other.add(b64(key))
        return {"masterIdentityKey": b64(key), "bundleData": b64(data),
                "signature": b64(self.signing.sign(data))}


def suite():
    def key():
        return b64(x25519.X25519PrivateKey.generate().public_key().public_bytes_raw())
    return {"suiteId": 1, "identityKey": key(), "signedPrekey": key()}


def jwt(claims, secret, header=None):
    def enc(b):
        return base64.urlsafe_b64encode(b).rstrip(b"=")
    head = enc(json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode())
    body = head + b"." + enc(json.dumps(claims).encode())
    return (body + b"." + enc(hmac.new(secret.encode(), body, hashlib.sha256).digest())).decode()


def jwt_parts(token):
    def dec(s):
        return base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))
    head, body, sig = token.split(".")
    return json.loads(dec(head)), json.loads(dec(body)), dec(sig), f"{head}.{body}".encode()


# ---------------------------------------------------------------- the relay

class Server:
    def __init__(self, suite_, name, env):
        self.suite, self.name, self.extra = suite_, name, env
        self.dir = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=suite_.tmp))
        self.log, self.out = self.dir / "log", self.dir / "out"
        self.proc, self.port, self.exits, self.odd = None, None, [], []
        self.args = []
        suite_.made.append(self)

    def env(self):
        keep = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE")
        e = {k: v for k, v in os.environ.items() if k in keep or k.endswith("SAN_OPTIONS")}
        e.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        e.update(PORT="0", BIND="127.0.0.1", PORT_FILE=str(self.dir / "port"), LOG_FORMAT="json",
                 DATABASE_URL=f"sqlite:{self.dir}/data/construct.db", WORKER_THREADS="2",
                 INSTANCE_DOMAIN=DOMAIN, DELIVERY_ACK_BATCH_BUFFER_SECS="1")
        e.update(self.extra)
        return {k: v for k, v in e.items() if v is not None}

    async def start(self, wait=30):
        (self.dir / "data").mkdir(exist_ok=True)
        (self.dir / "port").unlink(missing_ok=True)
        with open(self.log, "ab") as log, open(self.out, "ab") as out:
            # SIGXFSZ is ignored so that a test can make every write of the store fail.
            self.proc = await asyncio.create_subprocess_exec(
                "env", "--ignore-signal=XFSZ", str(self.suite.binary), "all", *self.args,
                env=self.env(),
                cwd=self.dir, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=log,
                start_new_session=True)
        end = time.monotonic() + wait
        while not (self.dir / "port").exists():
            if self.proc.returncode is not None:
                raise Failure(f"relay {self.name} ended with {self.proc.returncode} at its start: "
                              + self.text()[-600:])
            if time.monotonic() > end:
                raise Failure(f"relay {self.name} wrote no PORT_FILE within {wait} s")
            await asyncio.sleep(0.02)
        self.port = int((self.dir / "port").read_text())
        await self.opened()
        return self

    async def opened(self):
        """PORT_FILE says that the port is open: a refusal after it is a finding."""
        for _ in range(200):
            try:
                _, w = await asyncio.open_connection("127.0.0.1", self.port)
                w.close()
                return
            except ConnectionRefusedError:
                self.odd = ["PORT_FILE was written before the port was open"]
                await asyncio.sleep(0.01)

    async def stop(self, wait=40):
        """SIGTERM; returns (exit code, seconds)."""
        if self.proc is None:
            return None, 0.0
        t0 = time.monotonic()
        if self.proc.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.proc.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self.proc.wait(), wait)
        except asyncio.TimeoutError:
            self.proc.kill()
            await self.proc.wait()
            code = f"none within {wait} s of SIGTERM (killed)"
        self.proc = None
        self.exits.append(code)
        return code, time.monotonic() - t0

    async def restart(self):
        await self.stop()
        return await self.start()

    def kill_now(self):
        if self.proc is not None and self.proc.returncode is None:
            self.proc.kill()

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def url(self, path="/"):
        return f"ws://127.0.0.1:{self.port}{path}"

    def findings(self):
        """What is wrong with its exits and its log."""
        bad = [f"exit code {c}" for c in self.exits if c != 0] + self.odd
        text = self.text()
        for pat in (r"ERROR: \w+Sanitizer.*", r"WARNING: ThreadSanitizer.*", r"runtime error: .*",
                    r"SUMMARY: \w+Sanitizer.*", r".*assert\w* failed.*", r".*Assertion .* failed.*",
                    r".*[Ss]egmentation fault.*", r".*\bpanic\b.*"):
            bad += [f"log: {m[:200]}" for m in re.findall(pat, text)[:3]]
        bad += [f"log holds {what}" for what in Leaks.find(text + self.out.read_text())[:5]]
        if self.env().get("LOG_FORMAT") == "json":
            odd = [ln for ln in text.splitlines() if ln and not is_json(ln)]
            if odd:
                bad.append(f"LOG_FORMAT=json, and a line is none: {odd[0][:200]!r}")
        if not text:
            bad.append("the log is empty")
        return bad


def is_json(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


# ---------------------------------------------------------------- a client

class Closed(Failure):
    pass


class Client:
    """One WebSocket of the stock library; frames are kept in order of arrival."""

    def __init__(self, ws, server):
        self.ws, self.server, self.user = ws, server, None
        self.frames, self.seen = [], []
        self.bell = asyncio.Event()
        self.done = False
        self.reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, server, path="/", url=None, **kw):
        kw.setdefault("compression", None)
        ws = await ws_connect(url or server.url(path), max_size=None, ping_interval=None,
                              open_timeout=OP, close_timeout=3, proxy=None, max_queue=None, **kw)
        return cls(ws, server)

    async def _read(self):
        try:
            async for data in self.ws:
                msg = parse_server_frame(data)
                self.frames.append(msg)
                self.seen.append(msg)
                self.bell.set()
        except websockets.ConnectionClosed:
            pass
        except Failure as e:
            self.frames.append({"type": "*bad*", "why": str(e)})
        finally:
            self.done = True
            self.bell.set()

    async def raw(self, data):
        await self.ws.send(data)

    async def send(self, kind, payload=None):
        await self.ws.send(frame(kind, payload))

    async def take(self, want=None, timeout=None, what=None):
        """The oldest frame that fits (a type, or a test of the frame); others stay."""
        fits = (lambda m: True) if want is None else \
            (lambda m: m["type"] == want) if isinstance(want, str) else want
        end = time.monotonic() + (timeout or OP)
        while True:
            for i, m in enumerate(self.frames):
                if m["type"] == "*bad*":
                    raise Failure(m["why"])
                if fits(m):
                    return self.frames.pop(i)
            if self.done:
                raise Closed(f"closed ({self.ws.close_code}) while waiting for {what or want}; "
                             f"unread: {short([m['type'] for m in self.frames])}")
            self.bell.clear()
            left = end - time.monotonic()
            try:
                await asyncio.wait_for(self.bell.wait(), max(left, 0.001))
            except asyncio.TimeoutError:
                raise Failure(f"nothing within {timeout or OP:.0f} s for {what or want}; unread: "
                              f"{short(self.frames)}") from None

    async def ask(self, kind, payload=None, timeout=None):
        """Send, and the answer to it: the next frame that is neither mail nor receipt."""
        await self.send(kind, payload)
        return await self.take(lambda m: m["type"] not in ("message", "ack"), timeout,
                               f"the answer to {kind}")

    async def fails(self, kind, payload, *codes):
        m = await self.ask(kind, payload)
        check(m["type"] == "error" and m["payload"]["code"] in codes,
              f"{kind} should get {' or '.join(codes)}", m)
        return m["payload"]

    async def ping(self, timeout=None):
        pong = await self.ws.ping()
        await asyncio.wait_for(pong, timeout or OP)

    async def alive(self):
        """The connection still works in both directions."""
        await self.ping()

    async def close_code(self, timeout=None):
        try:
            await asyncio.wait_for(self.ws.wait_closed(), timeout or OP)
        except asyncio.TimeoutError:
            raise Failure(f"not closed within {timeout or OP:.0f} s") from None
        return self.ws.close_code

    async def close(self):
        await self.ws.close()

    def abort(self):
        """The network is gone: no close frame."""
        self.ws.transport.abort()

    # -- the protocol

    async def register(self, user=None, bundle=None):
        self.user = user or User()
        m = await self.ask("register", {"username": self.user.name, "password": self.user.password,
                                        "publicKey": bundle or self.user.bundle()}, 3 * OP)
        check(m["type"] == "registerSuccess", "register", m)
        self._authenticated(m["payload"])
        return self

    async def login(self, user):
        self.user = user
        m = await self.ask("login", {"username": user.name, "password": user.password}, 3 * OP)
        check(m["type"] == "loginSuccess", "login", m)
        self._authenticated(m["payload"])
        return self

    async def connect(self, user):
        self.user = user
        m = await self.ask("connect", {"sessionToken": user.token})
        equal(m, {"type": "connectSuccess", "payload": {"userId": user.id, "username": user.name}},
              "connect")
        return self

    def _authenticated(self, p):
        u = self.user
        equal(p["username"], u.name, "username of the answer")
        check(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                           p["userId"]), "userId is a lower-case UUID v4", p["userId"])
        check(u.id in (None, p["userId"]), "the same user id at each login")
        u.id, u.token, u.expires = p["userId"], p["sessionToken"], p["expires"]
        Leaks.ids.add(u.id)

    def chat(self, to, **over):
        """A chat message from this user; a key set to None is left out."""
        m = {"id": mid(), "from": self.user.id, "to": getattr(to, "id", to),
             "ephemeralPublicKey": secrets.token_bytes(32), "messageNumber": 7,
             "content": b64(secrets.token_bytes(72)), "timestamp": int(time.time())}
        for k, v in over.items():
            m[{"from_": "from"}.get(k, k)] = v
        m = {k: v for k, v in m.items() if v is not None}
        if isinstance(m.get("id"), str):
            Leaks.ids.add(m["id"].lower())
        if isinstance(m.get("content"), str) and len(m["content"]) > 20:
            Leaks.other.add(m["content"][:64])
        return m

    async def answer(self, message_id, timeout=None):
        return await self.take(lambda m: is_answer(m) and m["payload"].get("messageId")
                               == message_id, timeout, f"the answer to message {message_id!r}")

    async def post(self, to, **over):
        """Send a message, wait for `accepted`; returns the message."""
        m = self.chat(to, **over)
        await self.send("sendMessage", m)
        a = await self.answer(m["id"])
        equal(a, accepted(m["id"]), "answer to sendMessage")
        return m

    async def refused(self, msg, *codes):
        """Send a message that must be refused, with its id beside the code."""
        await self.send("sendMessage", msg)
        a = await self.answer(msg.get("id"))
        check(a["type"] == "error" and a["payload"]["code"] in codes,
              f"sendMessage should get {' or '.join(codes)}", a)
        return a["payload"]

    async def get(self, msg, timeout=None):
        """The next message; it is the given one, unchanged."""
        m = await self.take("message", timeout)
        same_message(m["payload"], msg)
        return m["payload"]

    async def acknowledge(self, message_id, sender=None, status="delivered"):
        p = {"messageId": message_id, "status": status}
        if sender is not None:
            p["from"] = sender
        await self.send("acknowledgeMessage", p)

    async def settle(self, message_id, sender=None):
        """Acknowledge, and make sure that it was processed (protocol, promise 4)."""
        await self.acknowledge(message_id, sender)
        await self.ping()

    async def delivered(self, message_id, timeout=None):
        return await self.take(lambda m: m["type"] == "ack" and m["payload"] == {
            "messageId": message_id, "status": "delivered"}, timeout,
            f"delivered for {message_id}")

    def count(self, kind, **payload):
        return sum(1 for m in self.seen if m["type"] == kind
                   and all(m["payload"].get(k) == v for k, v in payload.items()))


def is_answer(m):
    return m["type"] == "error" or (m["type"] == "ack" and m["payload"]["status"] == "accepted")


def accepted(message_id):
    return {"type": "ack", "payload": {"messageId": message_id, "status": "accepted"}}


def same_message(got, sent):
    want = {k: v for k, v in sent.items() if k in SERVER_TYPES["message"][0]}
    if isinstance(want["ephemeralPublicKey"], list):
        want["ephemeralPublicKey"] = bytes(want["ephemeralPublicKey"])
    check(isinstance(got["ephemeralPublicKey"], bytes), "byte fields are written as bin",
          got["ephemeralPublicKey"])
    equal(plain({k: got[k] for k in want}), plain(want), "the message as sent")


def plain(msg):
    """User ids are written in lower case, and those of the own domain are bare ids."""
    return {k: re.sub(rf"@{re.escape(DOMAIN)}$", "", v.lower()) if k in ("from", "to") else v
            for k, v in msg.items()}


def parse_server_frame(data):
    """Holds every frame of the server against the table of protocol.md section 2."""
    check(isinstance(data, bytes), "the server sent a text frame", data)
    try:
        m = msgpack.unpackb(data, raw=False)
    except Exception as e:
        raise Failure(f"the server sent no MessagePack ({e}): {data[:60].hex()}") from None
    check(isinstance(m, dict) and isinstance(m.get("type"), str) and set(m) <= {"type", "payload"},
          "a server frame is {type, payload}", m)
    check(m["type"] in SERVER_TYPES, "a type of the protocol", m)
    keys = SERVER_TYPES[m["type"]]
    if keys is None:
        check("payload" not in m, "a type without data has no payload key", m)
    else:
        p = m.get("payload")
        check(isinstance(p, dict) and keys[0] <= set(p) <= keys[0] | keys[1],
              f"the keys of {m['type']}", m)
    if m["type"] == "error":
        check(m["payload"]["code"] in ERROR_CODES, "a documented error code", m)
        check(isinstance(m["payload"]["message"], str) and m["payload"]["message"],
              "an error has a text", m)
    if m["type"] == "ack":
        check(m["payload"]["status"] in ("accepted", "delivered"), "a documented status", m)
    return m


# ---------------------------------------------------------------- below the libraries

class Raw:
    """A WebSocket by hand: sends any bytes, answers nothing by itself."""

    def __init__(self, reader, writer):
        self.r, self.w = reader, writer

    @classmethod
    async def tcp(cls, server):
        return cls(*await asyncio.wait_for(asyncio.open_connection("127.0.0.1", server.port), OP))

    @classmethod
    async def open(cls, server, path="/", *lines):
        c = await cls.tcp(server)
        c.w.write(handshake(path, *lines))
        status, headers, _ = await c.http(body=False)
        equal(status, 101, "WebSocket handshake")
        return c

    @staticmethod
    def frame(op, data=b"", fin=True, mask=b"\x11\x22\x33\x44"):
        n = len(data)
        head = bytes([(0x80 if fin else 0) | op])
        if n < 126:
            head += bytes([0x80 | n])
        elif n < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", n)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", n)
        key = (mask * (n // 4 + 1))[:n]
        return head + mask + (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
                              ).to_bytes(n, "big")

    def write(self, data):
        self.w.write(data)

    async def recv(self, timeout=None):
        """(opcode, payload) of the next frame; (None, b'') at the end of the stream."""
        async def one():
            try:
                b0, b1 = await self.r.readexactly(2)
                n = b1 & 0x7f
                check(not b1 & 0x80, "a server frame is not masked")
                if n == 126:
                    n = struct.unpack(">H", await self.r.readexactly(2))[0]
                elif n == 127:
                    n = struct.unpack(">Q", await self.r.readexactly(8))[0]
                return b0 & 0x0f, await self.r.readexactly(n)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None, b""
        return await asyncio.wait_for(one(), timeout or OP)

    async def http(self, body=True, head=False, timeout=None):
        """(status, headers, body) of an HTTP response; status 0 when the stream just ended."""
        async def one():
            raw = b""
            while b"\r\n\r\n" not in raw:
                try:
                    b = await self.r.read(1)
                except ConnectionError:
                    b = b""
                if not b:
                    check(not raw, "a cut off HTTP response", raw)
                    return 0, {}, b""
                raw += b
            lines = raw.decode("latin-1").split("\r\n")
            check(re.fullmatch(r"HTTP/1\.[01] \d{3}( .*)?", lines[0]), "a status line", lines[0])
            status = int(lines[0].split()[1])
            headers = {}
            for ln in lines[1:]:
                if ln:
                    k, _, v = ln.partition(":")
                    headers[k.strip().lower()] = v.strip()
            data = b""
            if body and not head and status not in (101, 204, 304):
                if "content-length" in headers:
                    data = await self.r.readexactly(int(headers["content-length"]))
                elif headers.get("transfer-encoding", "").lower() == "chunked":
                    data = await self.chunks()
                else:
                    data = await self.r.read(-1)
            return status, headers, data
        return await asyncio.wait_for(one(), timeout or OP)

    async def chunks(self):
        data = b""
        while True:
            n = int((await self.r.readline()).split(b";")[0], 16)
            data += await self.r.readexactly(n)
            await self.r.readline()
            if n == 0:
                return data

    def close(self):
        self.w.close()


def handshake(path="/", *lines, version="13"):
    key = base64.b64encode(os.urandom(16)).decode()
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket",
                        "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
                        f"Sec-WebSocket-Version: {version}", *lines, "", ""]).encode()


async def http(server, request, head=False):
    """One request on a connection of its own."""
    c = await Raw.tcp(server)
    try:
        c.write(request)
        return await c.http(head=head)
    finally:
        c.close()


async def get(server, path, *lines):
    return await http(server, "\r\n".join(
        [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]).encode())


# ---------------------------------------------------------------- the runner

TESTS = []


def test(title, timeout=60, idle=False, alone=False):
    """Registers a test.  idle: mostly waits, so it takes no slot.  alone: nothing beside it."""
    def deco(fn):
        TESTS.append({"title": title, "fn": fn, "timeout": timeout, "idle": idle, "alone": alone,
                      "area": fn.__module__.removeprefix("test_")})
        return fn
    return deco


# Relays that many tests share; a test that needs other settings starts its own.
SHARED = {
    "main": {"LOG_LEVEL": "debug", "LOG_HASH_SALT": "e2e-salt-0123456789",
             "JWT_SECRET": vectors("sessions")["secret"] if VECTORS.exists() else None},
    "limits": {"MAX_MESSAGES_PER_HOUR": "10", "MAX_PASSWORD_CHANGES_PER_DAY": "2",
               "MAX_KEY_ROTATIONS_PER_DAY": "3", "MAX_FAILED_LOGIN_ATTEMPTS": "3",
               "MAX_CONNECTIONS_PER_USER": "2", "SESSION_TTL_DAYS": "1", "LOG_FORMAT": "text"},
    "free": {"MAX_MESSAGES_PER_HOUR": "0"},
}


class T:
    """What a test gets: relays and clients that are tidied up after it."""

    def __init__(self, suite_):
        self.suite, self.binary = suite_, suite_.binary
        self.clients, self.own = [], []

    @property
    def on_stack(self):
        """The relay is several processes; there is no file to look into."""
        return self.suite.stack is not None

    async def server(self, name="main"):
        return await self.suite.shared(name)

    async def private(self, _name="own", _args=(), **env):
        s = self.suite.server_class(self.suite, _name, env)
        s.args = list(_args)
        self.own.append(s)
        return await s.start()

    async def open(self, server, path="/", **kw):
        c = await Client.open(server, path, **kw)
        self.clients.append(c)
        return c

    async def raw(self, server, path="/", *lines):
        c = await Raw.open(server, path, *lines)
        self.clients.append(c)
        return c

    async def tcp(self, server):
        c = await Raw.tcp(server)
        self.clients.append(c)
        return c

    async def user(self, server, user=None, **kw):
        """A new registered user on a connection of his own."""
        async with self.suite.hashing:
            return await (await self.open(server)).register(user, **kw)

    async def users(self, server, n):
        return await asyncio.gather(*(self.user(server) for _ in range(n)))

    async def again(self, server, user):
        """One more connection of a user, by his session."""
        return await (await self.open(server)).connect(user)

    async def tidy(self):
        for c in self.clients:
            with contextlib.suppress(Exception):
                c.abort() if isinstance(c, Client) else c.close()
        bad = []
        for s in self.own:
            await s.stop()
            bad += [f"{s.name}: {f}" for f in s.findings()]
        return bad


class Suite:
    def __init__(self, binary, build, node, only, slots):
        self.binary, self.build, self.node = Path(binary).resolve(), Path(build), node
        self.only, self.tmp = only, tempfile.mkdtemp(prefix="construct-e2e-")
        self.slots = asyncio.Semaphore(slots)
        self.hashing = asyncio.Semaphore(4)
        self.servers, self.locks = {}, {}
        self.server_class, self.stack = Server, None
        self.passed, self.failed, self.notes = 0, [], []
        self.waiting, self.running, self.made = [], {}, []

    def tmp_path(self, name):
        path = Path(self.tmp, "files", name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def shared(self, name):
        lock = self.locks.setdefault(name, asyncio.Lock())
        async with lock:
            if name not in self.servers:
                s = self.server_class(self, name, SHARED[name])
                await s.start()
                self.servers[name] = s
            return self.servers[name]

    def result(self, title, secs, err=None, trace=""):
        if err is None:
            self.passed += 1
            print(f"ok    {title} ({secs:.1f} s)", flush=True)
        else:
            self.failed.append((title, err))
            print(f"FAIL  {title} ({secs:.1f} s)\n      {err}", flush=True)
            if trace:
                print("".join("      | " + ln + "\n" for ln in trace.splitlines()), end="",
                      flush=True)

    async def one(self, t):
        title = f"{t['area']}: {t['title']}"
        self.waiting.append(title)
        async with self.slots if not t["idle"] else contextlib.AsyncExitStack():
            ctx, t0, err, trace = T(self), time.monotonic(), None, ""
            self.waiting.remove(title)
            self.running[title] = t0
            try:
                await asyncio.wait_for(t["fn"](ctx), t["timeout"] * PATIENCE)
            except asyncio.TimeoutError:
                err = f"no end within {t['timeout'] * PATIENCE:.0f} s"
            except Failure as e:
                err, trace = str(e), where(e)
            except Exception as e:
                err, trace = f"{type(e).__name__}: {e}", traceback.format_exc()
            try:
                bad = await asyncio.wait_for(ctx.tidy(), 60)
            except Exception as e:
                bad = [f"tidying up: {type(e).__name__}: {e}"]
            if bad:
                err = "; ".join(([err] if err else []) + bad)
            del self.running[title]
            self.result(title, time.monotonic() - t0, err, trace)

    def out_of_time(self):
        """SIGTERM, by the time limit of all: says what hangs, since nobody else can."""
        for title, t0 in self.running.items():
            self.result(title, time.monotonic() - t0, "still ran when the time for all tests was over")
        print(f"e2e: {len(self.waiting)} tests had not begun", flush=True)
        os._exit(self.end())

    async def run(self):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.out_of_time)
        todo = [t for t in TESTS if not self.only or any(
            o in f"{t['area']}: {t['title']}" for o in self.only)]
        todo.sort(key=lambda t: not t["idle"])
        await asyncio.gather(*(self.one(t) for t in todo if not t["alone"]))
        for t in (t for t in todo if t["alone"]):
            await self.one(t)
        for name, s in self.servers.items():
            t0 = time.monotonic()
            code, secs = await s.stop()
            bad = s.findings()
            self.result(f"relay {name}: alive to the end, exit 0 on SIGTERM, a clean log",
                        time.monotonic() - t0, "; ".join(bad) if bad else None)
        for n in self.notes:
            print(f"e2e: NOT TESTED HERE: {n}")

    def end(self):
        for s in self.made:
            s.kill_now()
        if self.failed and os.environ.get("E2E_KEEP"):
            print(f"e2e: logs and data kept in {self.tmp}")
        else:
            shutil.rmtree(self.tmp, ignore_errors=True)
        if self.failed:
            print("\ne2e: failed:")
            for title, err in self.failed:
                print(f"  {title}\n      {err[:600]}")
        print(f"e2e: {self.passed} passed, {len(self.failed)} failed")
        return 1 if self.failed or not self.passed else 0


def where(e):
    """The line of the test that failed, without the harness."""
    rows = [f for f in traceback.extract_tb(e.__traceback__) if "test_" in Path(f.filename).name]
    return "".join(f"{Path(f.filename).name}:{f.lineno}: {f.line}\n" for f in rows)


async def command(t, *args, env=None, timeout=30, program=None):
    """A short command of the program: (exit code, stdout, stderr)."""
    e = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME") or k.endswith("SAN_OPTIONS")}
    e.update(env or {})
    cwd = t.suite.tmp_path("commands")
    p = await asyncio.create_subprocess_exec(
        str(program or t.binary), *args, env=e, cwd=cwd, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, err = await asyncio.wait_for(p.communicate(), timeout)
    except asyncio.TimeoutError:
        raise Failure(f"{' '.join(args)}: no end within {timeout} s") from None
    finally:
        if p.returncode is None:
            p.kill()
            await p.wait()
    return p.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def free_port():
    """A port to be bound later.  Below the range of outgoing connections, which would take it meanwhile."""
    high = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = secrets.randbelow(high - 10240) + 10240 if high > 14000 else secrets.randbelow(40000) + 20000
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


async def until(probe, timeout, what):
    """Polls until probe() is true; for things that have no message of their own."""
    end = time.monotonic() + timeout
    while True:
        if await probe():
            return
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {timeout:.0f} s")
        await asyncio.sleep(0.1)
