# SPDX-License-Identifier: MIT
"""A small WebSocket client on asyncio.

Written by hand for two reasons: it tells exactly what left the socket and what came
back (a library hides frames behind queues), and it is cheap enough that hundreds of
connections in one process never become the bottleneck of a measurement.
"""
import asyncio
import base64
import hashlib
import os
import socket
import struct

import msgpack

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class DialError(Exception):
    """The handshake did not end in 101; `status` is the HTTP status, 0 without one."""

    def __init__(self, text, status=0):
        super().__init__(text)
        self.status = status


class Refused(Exception):
    """`connect` was answered with something else than connectSuccess."""

    def __init__(self, answer):
        super().__init__(f"connect refused: {answer}")
        self.code = answer.get("payload", {}).get("code", answer["type"])


def handshake_request(key, path="/ws", host="localhost", extra=""):
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def new_key():
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def mask(payload, key):
    n = len(payload)
    whole = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(n, "big")


def frame(opcode, payload, fin=True, rsv=0, key=None):
    """One masked client frame."""
    if key is None:
        key = os.urandom(4)
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    n = len(payload)
    if n < 126:
        head += bytes([0x80 | n])
    elif n < 65536:
        head += struct.pack(">BH", 0x80 | 126, n)
    else:
        head += struct.pack(">BQ", 0x80 | 127, n)
    return head + key + mask(payload, key)


def app(kind, payload=None):
    """An application message as bytes."""
    out = {"type": kind}
    if payload is not None:
        out["payload"] = payload
    return msgpack.packb(out, use_bin_type=True)


class FrameReader:
    """Cuts a byte stream from the server into (opcode, payload)."""

    def __init__(self):
        self.buf = bytearray()
        self.parts = []
        self.part_opcode = 0

    def feed(self, data):
        self.buf += data
        out = []
        pos = 0
        buf = self.buf
        have = len(buf)
        while have - pos >= 2:
            size = buf[pos + 1]
            if size & 0x80:
                raise ValueError("server sent a masked frame")
            at = pos + 2
            if size == 126:
                if have - at < 2:
                    break
                size = struct.unpack_from(">H", buf, at)[0]
                at += 2
            elif size == 127:
                if have - at < 8:
                    break
                size = struct.unpack_from(">Q", buf, at)[0]
                at += 8
            if have - at < size:
                break
            self._frame(buf[pos], bytes(buf[at:at + size]), out)
            pos = at + size
        if pos:
            del buf[:pos]
        return out

    def _frame(self, first, payload, out):
        opcode = first & 0x0F
        if first & 0x70:
            raise ValueError("server set a reserved bit")
        if opcode >= 8:
            out.append((opcode, payload))
            return
        if opcode:
            self.part_opcode = opcode
            self.parts = [payload]
        else:
            self.parts.append(payload)
        if first & 0x80:
            out.append((self.part_opcode, b"".join(self.parts)))
            self.parts = []


class Conn(asyncio.Protocol):
    """One client connection.  Callbacks run on the loop, in the order of the frames:
    on_app(conn, message), on_pong(conn, payload), on_closed(conn, code)."""

    def __init__(self, key):
        self.key = key
        self.head = bytearray()
        self.reader = FrameReader()
        loop = asyncio.get_running_loop()
        self.opened = loop.create_future()
        self.closed = loop.create_future()
        self.close_code = None
        self.close_reason = ""
        self.open = False
        self.transport = None
        self.on_app = self.on_pong = self.on_closed = None
        self.waiters = []  # (predicate, future), served before on_app
        self.can_write = asyncio.Event()
        self.can_write.set()

    # asyncio.Protocol
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if not self.open:
            data = self._handshake(data)
            if not data:
                return
        try:
            frames = self.reader.feed(data)
        except ValueError as why:
            self._lost(f"protocol error of the server: {why}")
            return
        for opcode, payload in frames:
            self._dispatch(opcode, payload)

    def connection_lost(self, exc):
        self.open = False
        self.can_write.set()
        code = self.close_code or 1006
        if not self.opened.done():
            self.opened.set_exception(DialError("closed in the handshake"))
        if not self.closed.done():
            self.closed.set_result(code)
        for _, fut in self.waiters:
            if not fut.done():
                fut.set_exception(ConnectionError(f"closed with {code}"))
        self.waiters = []
        if self.on_closed:
            self.on_closed(self, code)

    def pause_writing(self):
        self.can_write.clear()

    def resume_writing(self):
        self.can_write.set()

    # inside
    def _lost(self, why):
        self.close_reason = why
        self.close_code = 1002
        self.transport.abort()

    def _handshake(self, data):
        self.head += data
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            return b""
        lines = self.head[:end].decode("latin-1").split("\r\n")
        rest = bytes(self.head[end + 4:])
        status = lines[0].split(" ")
        code = int(status[1]) if len(status) > 1 and status[1].isdigit() else 0
        names = {k.strip().lower(): v.strip() for k, _, v in
                 (line.partition(":") for line in lines[1:])}
        if code != 101 or names.get("sec-websocket-accept") != accept_of(self.key):
            if not self.opened.done():
                self.opened.set_exception(DialError(f"handshake: {lines[0]}", code))
            self.transport.abort()
            return b""
        self.open = True
        if not self.opened.done():
            self.opened.set_result(None)
        return rest

    def _dispatch(self, opcode, payload):
        if opcode == BINARY:
            msg = msgpack.unpackb(payload, raw=False, strict_map_key=False)
            for i, (want, fut) in enumerate(self.waiters):
                if want(msg):
                    del self.waiters[i]
                    if not fut.done():
                        fut.set_result(msg)
                    return
            if self.on_app:
                self.on_app(self, msg)
        elif opcode == PING:
            self._write(frame(PONG, payload))
        elif opcode == PONG:
            if self.on_pong:
                self.on_pong(self, payload)
        elif opcode == CLOSE:
            if len(payload) >= 2:
                self.close_code = struct.unpack(">H", payload[:2])[0]
                self.close_reason = payload[2:].decode("utf-8", "replace")
            else:
                self.close_code = 1005
            self._write(frame(CLOSE, payload[:2]))
            self.transport.close()

    def _write(self, data):
        if self.transport and not self.transport.is_closing():
            self.transport.write(data)

    # for the tests
    def send(self, kind, payload=None):
        self._write(frame(BINARY, app(kind, payload)))

    def send_raw(self, data):
        self._write(data)

    def ping(self, payload):
        self._write(frame(PING, payload))

    def close(self, code=1000):
        """Starts the closing handshake; the server's close frame ends it."""
        self._write(frame(CLOSE, struct.pack(">H", code)))

    def abort(self):
        if self.transport:
            self.transport.abort()

    def expect(self, want):
        """Future of the next message for which want(message) is true."""
        fut = asyncio.get_running_loop().create_future()
        if not self.transport or self.transport.is_closing():
            fut.set_exception(ConnectionError("closed"))
        else:
            self.waiters.append((want, fut))
        return fut

    async def ask(self, kind, payload, *types, timeout=15):
        """Sends and waits for one of the named answer types, or an error without messageId."""
        fut = self.expect(lambda m: m["type"] in types
                          or m["type"] == "error" and "messageId" not in m["payload"])
        self.send(kind, payload)
        return await asyncio.wait_for(fut, timeout)


async def dial(port, ssl=None, timeout=15.0, rcvbuf=None, path="/ws"):
    """Connects and shakes hands; raises DialError, OSError or TimeoutError."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    key = new_key()
    conn = None

    async def whole():
        nonlocal conn
        await loop.sock_connect(sock, ("127.0.0.1", port))
        _, conn = await loop.create_connection(
            lambda: Conn(key), sock=sock, ssl=ssl,
            server_hostname="localhost" if ssl else None)
        conn.send_raw(handshake_request(key, path))
        await conn.opened

    try:
        await asyncio.wait_for(whole(), timeout)
    except BaseException:
        if conn:
            conn.abort()
        else:
            sock.close()
        raise
    return conn


async def dial_authenticated(port, token, **how):
    """A connection that `connect` has authenticated; raises what dial() raises, or Refused."""
    conn = await dial(port, **how)
    try:
        answer = await conn.ask("connect", {"sessionToken": token}, "connectSuccess",
                                "sessionExpired", timeout=how.get("timeout", 15.0))
    except BaseException:
        conn.abort()
        raise
    if answer["type"] != "connectSuccess":
        conn.abort()
        raise Refused(answer)
    return conn
