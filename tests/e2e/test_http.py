# SPDX-License-Identifier: MIT
"""HTTP on the port of the WebSocket."""
import asyncio
import json
import re

from prometheus_client.parser import text_string_to_metric_families

from harness import Raw, check, equal, get, handshake, http, test


def refusal(answer, status):
    """A refusal has its status and, in JSON, a text."""
    got, headers, body = answer
    equal(got, status, "status")
    try:
        text = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        text = None
    check(isinstance(text, str) and text, '{"error": text}', body)
    return headers


@test("/health is 200 OK")
async def health(t):
    s = await t.server()
    status, headers, body = await get(s, "/health")
    equal((status, body.strip()), (200, b"OK"), "/health")
    check("content-type" in headers, "a content type", headers)
    equal((await get(s, "/health?x=1"))[0], 200, "with a query")


@test("/health/live says that the process is up, /health/ready names each backend")
async def ready(t):
    s = await t.server()
    equal((await get(s, "/health/live"))[0], 200, "/health/live")
    status, headers, body = await get(s, "/health/ready")
    equal(status, 200, "/health/ready")
    check(headers["content-type"].startswith("application/json"), "JSON", headers)
    check(isinstance(json.loads(body), dict) and json.loads(body), "one entry a backend", body)


@test("/metrics is Prometheus text 0.0.4 that a stock parser reads")
async def metrics(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    status, headers, body = await get(s, "/metrics")
    equal(status, 200, "/metrics")
    check(headers["content-type"].startswith("text/plain") and "version=0.0.4"
          in headers["content-type"], "content type", headers["content-type"])
    text = body.decode()
    families = list(text_string_to_metric_families(text))
    check(len(families) >= 5, "families", [f.name for f in families])
    samples = [(x.name, tuple(sorted(x.labels.items()))) for f in families for x in f.samples]
    equal(len(samples), len(set(samples)), "each sample once")
    for f in families:
        check(f.type != "unknown" and f.documentation, "TYPE and HELP", f.name)
    check(text.endswith("\n"), "the last line ends")


@test("counters only grow, under messages too")
async def counters(t):
    s = await t.server("free")

    async def read():
        _, _, body = await get(s, "/metrics")
        return {(x.name, tuple(sorted(x.labels.items()))): x.value
                for f in text_string_to_metric_families(body.decode()) if f.type == "counter"
                for x in f.samples if not x.name.endswith("_created")}

    before = await read()
    a, b = await t.users(s, 2)
    for _ in range(10):
        await b.get(await a.post(b.user))
    after = await read()
    less = [k for k, v in before.items() if after.get(k, 0) < v]
    check(not less, "no counter went back", less)
    check(any(after[k] >= before.get(k, 0) + 10 for k in after), "ten messages show somewhere")


@test("unknown paths: 404 with a JSON error")
async def not_found(t):
    s = await t.server()
    for path in ("/nope", "/health/", "/healthz", "/metrics/x", "/%2e%2e/etc/passwd",
                 "/../../etc/passwd", "/" + "a" * 500):
        refusal(await get(s, path), 404)


@test("another method: 405 with Allow")
async def method(t):
    s = await t.server()
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        for verb in ("POST", "PUT", "DELETE", "PATCH"):
            headers = refusal(await http(s, (f"{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: "
                                             "close\r\nContent-Length: 2\r\n\r\n{}").encode()), 405)
            check("GET" in headers.get("allow", ""), f"Allow of {verb} {path}", headers)


async def next_request(t, s, c, headers):
    """The connection for one more request: the same, unless the answer said otherwise."""
    if headers.get("connection", "").lower() != "close":
        return c
    equal(await asyncio.wait_for(c.r.read(), 10), b"", "closed, as announced")
    return await t.tcp(s)


@test("HEAD answers like GET without the body")
async def head(t):
    s = await t.server()
    c = await t.tcp(s)
    for path in ("/health", "/metrics"):
        c.write(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, headers, _ = await c.http(head=True)
        equal(status, 200, f"HEAD {path}")
        c = await next_request(t, s, c, headers)
    c.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    status, _, body = await c.http()
    equal((status, body.strip()), (200, b"OK"), "the next answer starts where it should")


@test("many requests: on one connection, or each answer announces its close")
async def keep_alive(t):
    s = await t.server()
    c = await t.tcp(s)
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(5):
        c.write(one)
        status, headers, body = await c.http()
        equal((status, body.strip()), (200, b"OK"), "one after the other")
        c = await next_request(t, s, c, headers)
    c.write(one * 5)
    for _ in range(5):
        status, headers, body = await c.http()
        equal((status, body.strip()), (200, b"OK"), "pipelined")
        if headers.get("connection", "").lower() == "close":
            break


@test("HTTP/1.0 is answered and the connection closed")
async def http10(t):
    s = await t.server()
    c = await t.tcp(s)
    c.write(b"GET /health HTTP/1.0\r\n\r\n")
    status, headers, body = await c.http()
    equal((status, body.strip()), (200, b"OK"), "HTTP/1.0")
    equal(await asyncio.wait_for(c.r.read(), 10), b"", "closed")


@test("what is no HTTP: 400, and closed")
async def garbage(t):
    s = await t.server()
    for data in (b"NONSENSE\r\n\r\n", b"GET\r\n\r\n", b"GET /health\r\n\r\n",
                 b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n",
                 b"get /health HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET health HTTP/1.1\r\nHost: x\r\n\r\n"):
        status, _, _ = await http(s, data)
        check(status in (400, 405, 505), f"{data[:20]!r}: 400", status)
    c = await t.tcp(s)
    c.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200))  # TLS to a plain port
    status, _, _ = await c.http()
    check(status in (0, 400), "TLS hello: 400 or closed", status)
    equal((await get(s, "/health"))[0], 200, "and the relay goes on")


@test("impossible lengths and headers: 400 or 431, never taken")
async def headers(t):
    s = await t.server()
    for line, codes in (("Content-Length: -1", (400,)), ("Content-Length: 5x", (400,)),
                        ("Content-Length: 99999999999999999999", (400, 413)),
                        ("X: " + "y" * 100_000, (400, 413, 431))):
        c = await t.tcp(s)
        c.write(f"GET /health HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode())
        try:
            status, _, _ = await c.http()
        except (ConnectionError, AssertionError):
            status = 0
        check(status in codes + (0,), f"{line[:30]}: {codes}", status)
    c = await t.tcp(s)
    c.write(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        status, _, _ = await c.http()
    except ConnectionError:
        status = 0
    check(status in (0, 400, 404, 414, 431), "a path of 100,000 bytes", status)
    equal((await get(s, "/health"))[0], 200, "and the relay goes on")


@test("GET / without an upgrade is told so")
async def plain(t):
    s = await t.server()
    for path in ("/", "/ws"):
        status, _, body = await get(s, path)
        check(status in (200, 400, 404, 426), f"GET {path}", status)


@test("a WebSocket version other than 13: 426 with the version that works")
async def version(t):
    s = await t.server()
    for v in ("8", "7", "0", "12", "14", "255", "x", ""):
        status, headers, _ = await http(s, handshake(version=v))
        equal(status, 426, f"version {v!r}")
        equal(headers.get("sec-websocket-version"), "13", "the version that works")


@test("a handshake without a key, or with a POST, does not upgrade")
async def bad_handshake(t):
    s = await t.server()
    good = handshake().decode()
    for bad in (re.sub(r"Sec-WebSocket-Key: [^\r]*\r\n", "", good), good.replace("GET", "POST"),
                re.sub(r"Upgrade: websocket", "Upgrade: sockets", good, count=1)):
        status, _, _ = await http(s, bad.encode())
        check(status == 0 or 400 <= status < 500, "refused", status, bad[:40])
    for upgrade in ("WebSocket", "WEBSOCKET"):
        c = await t.tcp(s)
        c.write(good.replace("Upgrade: websocket", f"Upgrade: {upgrade}").encode())
        status, _, _ = await c.http(body=False)
        equal(status, 101, f"Upgrade: {upgrade}")


@test("Upgrade: h2c is refused")
async def h2c(t):
    s = await t.server()
    c = await t.tcp(s)
    c.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")
    status, _, _ = await c.http()
    check(status != 101, "no switch of protocols", status)
    c = await t.tcp(s)
    c.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    try:
        status, _, _ = await c.http()
    except (ConnectionError, AssertionError):
        status = 0
    check(status in (0, 400, 404, 405, 426, 505), "HTTP/2 without asking", status)
    equal((await get(s, "/health"))[0], 200, "and the relay goes on")


@test("keep-alive GET, then Upgrade: foo on the same connection: no crash")
async def upgrade_foo(t):
    s = await t.server()
    for first, second in (("/health", "foo"), ("/metrics", "foo"), ("/nope", "foo"),
                          ("/health", "h2c"), ("/health", "websocket")):
        for _ in range(3):
            c = await t.tcp(s)
            c.write(f"GET {first} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await c.http()
            c.write(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {second}"
                    "\r\n\r\n".encode())
            try:
                status, _, _ = await c.http()
            except (ConnectionError, AssertionError):
                status = 0
            check(status != 101, f"Upgrade: {second}", status)
            c.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            c.close()
    equal((await get(s, "/health"))[0], 200, "the relay lives")


@test("a keep-alive GET, then a right WebSocket handshake on the same connection")
async def then_websocket(t):
    s = await t.server()
    c = await t.tcp(s)
    c.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    equal((await c.http())[0], 200, "GET first")
    c.write(handshake())
    try:
        status, _, _ = await c.http(body=False)
    except ConnectionError:
        status = 0
    if status == 101:  # not every server allows it; who does has to mean it
        c.write(Raw.frame(9, b"hello"))
        equal(await c.recv(), (10, b"hello"), "pong")
    equal((await get(s, "/health"))[0], 200, "the relay lives")


@test("a request sent byte by byte, and one that never ends")
async def slow(t):
    s = await t.server()
    c = await t.tcp(s)
    for byte in b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n":
        c.write(bytes([byte]))
        await c.w.drain()
        await asyncio.sleep(0.002)
    equal((await c.http())[0], 200, "byte by byte")
    c = await t.tcp(s)
    c.write(b"GET /health HT")
    equal((await get(s, "/health"))[0], 200, "others are served meanwhile")
