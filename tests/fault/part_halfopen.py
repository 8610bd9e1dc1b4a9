# SPDX-License-Identifier: MIT
"""2,000 half-open handshakes do not stop a new client, plain and over TLS."""
import asyncio
import os
import socket
import ssl
import subprocess
import time

import accounts
import server
import wsclient

COUNT = 2000
# Seconds for a new client to be in and to have sent.  This process opens the 2,000 beside it; a place
# that only the server's own limit of 10 s frees would take longer.
LIMIT = 6.0
ATTEMPTS_AT = (0.0, 0.5, 1.5, 3.0, 6.0)
REAPED_WITHIN = 45
SPARE_FDS = 16


def request_part(rng):
    """Nothing, or some of a request, never its end."""
    whole = wsclient.handshake_request(wsclient.new_key())
    return rng.choice([b"", b"G", whole[:rng.randint(2, len(whole) - 1)], whole[:-2],
                       b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2000])


class Half:
    """One half-open connection; notices when the server ends it."""

    def __init__(self, sock):
        self.sock = sock
        self.head = b""
        self.gone = False

    def poll(self):
        if self.gone:
            return True
        try:
            data = self.sock.recv(4096)
            self.head = self.head or data[:12]
            self.gone = not data
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True
        return self.gone


async def tcp(port):
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


class Tls:
    """A TLS handshake by hand, to stop it wherever we like."""

    def __init__(self, sock):
        self.sock = sock
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.obj = client_context().wrap_bio(self.into, self.out, server_hostname="localhost")

    def step(self):
        """True when the handshake is complete."""
        try:
            self.obj.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    async def finish(self):
        loop = asyncio.get_running_loop()
        while not self.step():
            await loop.sock_sendall(self.sock, self.out.read())
            data = await loop.sock_recv(self.sock, 16384)
            if not data:
                raise ConnectionError("closed in the TLS handshake")
            self.into.write(data)
        await loop.sock_sendall(self.sock, self.out.read())


_context = None


def client_context():
    global _context
    if _context is None:
        _context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _context.check_hostname = False
        _context.verify_mode = ssl.CERT_NONE
    return _context


async def half_plain(port, rng):
    half = Half(await tcp(port))
    part = request_part(rng)
    if part:
        half.sock.send(part)
    return half


async def half_tls(port, rng):
    half = Half(await tcp(port))
    tls = Tls(half.sock)
    dice = rng.random()
    if dice < 0.25:
        return half                                        # nothing at all
    tls.step()
    hello = tls.out.read()
    if dice < 0.5:
        half.sock.send(hello[:rng.randint(1, len(hello) - 1)])
    elif dice < 0.75:
        half.sock.send(hello)                              # its answer is never taken up
    else:
        half.sock.send(hello)
        await asyncio.wait_for(finish_after_hello(tls), 8)
        tls.obj.write(request_part(rng) or b"G")
        half.sock.send(tls.out.read())
    return half


async def finish_after_hello(tls):
    data = await asyncio.get_running_loop().sock_recv(tls.sock, 16384)
    if not data:
        raise ConnectionError("closed in the TLS handshake")
    tls.into.write(data)
    await tls.finish()


async def open_halves(make, port, rng):
    """As many as asked for, as fast as it goes; refused ones count as gone."""
    halves, refused = [], 0
    gate = asyncio.Semaphore(100)

    async def one():
        nonlocal refused
        async with gate:
            try:
                halves.append(await make(port, rng))
            except (OSError, ssl.SSLError, asyncio.TimeoutError):
                refused += 1

    await asyncio.gather(*(one() for _ in range(COUNT)))
    return halves, refused


async def come_in_and_send(port, people, rng, tls):
    """Connects as often as it takes and sends one message; (seconds, attempts)."""
    began = time.monotonic()
    attempts = 0
    while True:
        attempts += 1
        left = LIMIT * 2 - (time.monotonic() - began)
        conn = None
        try:
            conn = await wsclient.dial_authenticated(port, people[0].token, ssl=tls,
                                                     timeout=max(0.05, left))
            msg = accounts.chat(people[0].id, people[1].id, rng)
            answer = conn.expect(lambda m: m.get("payload", {}).get("messageId") == msg["id"])
            conn.send("sendMessage", msg)
            got = await asyncio.wait_for(answer, max(0.05, left))
            conn.close()
            return time.monotonic() - began, attempts, got["type"] == "ack"
        except (OSError, wsclient.DialError, ConnectionError, asyncio.TimeoutError):
            if conn:
                conn.abort()
            if left <= 0:
                return time.monotonic() - began, attempts, False
            await asyncio.sleep(0.005)


async def honest(ctx, name, port, people, tls):
    """New clients during the attack; then the figures."""
    start = time.monotonic()
    results = []
    for at in ATTEMPTS_AT:
        await asyncio.sleep(max(0.0, start + at - time.monotonic()))
        results.append(await come_in_and_send(port, people, ctx.rng, tls))
    slowest = max(r[0] for r in results)
    ctx.check(f"{name}: a new client is in and has sent within {LIMIT:g} s",
              slowest < LIMIT and all(r[2] for r in results),
              "seconds, attempts, accepted: " + ", ".join(map(str, results)))
    ctx.say(f"{name}: slowest {slowest * 1000:.0f} ms, most attempts "
            f"{max(r[1] for r in results)}")


async def reaped(ctx, name, srv, halves, before):
    """The server ends every one of them, and its descriptors are free again."""
    end = time.monotonic() + REAPED_WITHIN
    began = time.monotonic()
    open_now = len(halves)
    while time.monotonic() < end:
        open_now = sum(not h.poll() for h in halves)
        if open_now == 0 and srv.fds() <= before + SPARE_FDS:
            break
        await asyncio.sleep(0.2)
    fds = srv.fds()
    ctx.check(f"{name}: all are closed by the server in {REAPED_WITHIN} s", open_now == 0,
              f"{open_now} are still open")
    ctx.check(f"{name}: descriptors come back down", fds <= before + SPARE_FDS,
              f"{before} before, {fds} after")
    ctx.say(f"{name}: reaped after {time.monotonic() - began:.1f} s; descriptors {before} "
            f"before, {fds} after; first bytes answered: "
            f"{sorted({h.head for h in halves})[:4]}")


async def attack(ctx, name, srv, people, make, tls):
    await asyncio.sleep(0.3)
    before = srv.fds()
    began = time.monotonic()
    opening = asyncio.create_task(open_halves(make, srv.port, ctx.rng))
    early = asyncio.create_task(honest(ctx, f"{name}, while they open", srv.port, people, tls))
    halves, refused = await opening
    ctx.say(f"{name}: {len(halves)} half-open after {time.monotonic() - began:.2f} s, "
            f"{refused} cut off at once, server holds {srv.fds()} descriptors")
    await early
    halves_new, refused_new = await open_halves(make, srv.port, ctx.rng)
    ctx.say(f"{name}: {len(halves_new)} more, {refused_new} cut off at once")
    await honest(ctx, f"{name}, all at hand", srv.port, people, tls)
    await reaped(ctx, name, srv, halves + halves_new, before)
    for half in halves + halves_new:
        half.sock.close()
    ctx.check(f"{name}: the process lives", srv.alive(), srv.log_tail())


def certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", cert,
                    "-keyout", key], check=True, capture_output=True)
    return {"TLS_CERT_FILE": cert, "TLS_KEY_FILE": key}


async def run(ctx):
    for name, make, env, tls in (
            ("plain", half_plain, {}, None),
            ("TLS", half_tls, certificate(ctx.folder), client_context())):
        srv = server.Server(ctx.binary, ctx.path(name), env)
        try:
            await srv.start()
            people = await accounts.register_many(srv.port, 2, ctx.rng, ssl=tls)
            await attack(ctx, name, srv, people, make, tls)
            ctx.check(f"{name}: ends in order", await srv.stop() == 0, srv.log_tail())
        finally:
            srv.kill_now()
