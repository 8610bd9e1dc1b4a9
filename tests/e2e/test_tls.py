# SPDX-License-Identifier: MIT
"""Native TLS by TLS_CERT_FILE and TLS_KEY_FILE."""
import asyncio
import os
import signal
import ssl

from harness import Client, Raw, check, command, equal, free_port, test, until


async def certificate(folder):
    p = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days",
        "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
    equal(await p.wait(), 0, "openssl req")
    ctx = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    return {"TLS_CERT_FILE": str(folder / "cert.pem"), "TLS_KEY_FILE": str(folder / "key.pem")}, ctx


async def get_over_tls(server, ctx):
    r, w = await asyncio.wait_for(asyncio.open_connection(
        "127.0.0.1", server.port, ssl=ctx, server_hostname="localhost"), 20)
    c = Raw(r, w)
    c.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    try:
        return await c.http(), w.get_extra_info("ssl_object")
    finally:
        c.close()


@test("wss and https on the port, a plain client gets nothing and harms nobody", timeout=90)
async def tls(t):
    folder = t.suite.tmp_path("tls")
    env, ctx = await certificate(folder)
    s = await t.private("tls", **env)
    url = f"wss://localhost:{s.port}/"

    async def user():
        c = await Client.open(s, url=url, ssl=ctx, host="127.0.0.1")
        t.clients.append(c)
        return await c.register()

    a, b = await user(), await user()
    await b.get(await a.post(b.user))
    for size in (1_000, 30_000, 70_000):
        import base64
        m = await a.post(b.user, content=base64.b64encode(os.urandom(size)).decode())
        await b.get(m)
        await b.settle(m["id"])
    (status, _, body), obj = await get_over_tls(s, ctx)
    equal((status, body.strip()), (200, b"OK"), "https")
    check(obj.version() in ("TLSv1.2", "TLSv1.3"), "TLS 1.2 or 1.3", obj.version())
    alpn = ssl.create_default_context(cafile=env["TLS_CERT_FILE"])
    alpn.set_alpn_protocols(["h2", "http/1.1"])
    (status, _, _), obj = await get_over_tls(s, alpn)
    equal((status, obj.selected_alpn_protocol()), (200, "http/1.1"), "HTTP/1.1 only")
    c = await Raw.tcp(s)
    c.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        status, _, _ = await c.http(timeout=15)
    except (ConnectionError, AssertionError):
        status = 0
    check(status in (0, 400), "plain HTTP to a TLS port", status)
    c.close()
    await b.get(await a.post(b.user))
    code, _ = await s.stop()
    equal(code, 0, "exit code")
    equal(await a.close_code(), 1012, "close code")


async def shown(port, alpn):
    """The certificate that a port shows, DER."""
    ctx = ssl.create_default_context()
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    ctx.set_alpn_protocols([alpn])
    _, w = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, ssl=ctx), 20)
    try:
        return w.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        w.close()


@test("after SIGHUP both ports show the new certificate, and the old one when the new is no good", timeout=90)
async def renewed(t):
    folder, grpc_port = t.suite.tmp_path("tls-renewed"), free_port()
    env, _ = await certificate(folder)
    s = await t.private("tls-renewed", GRPC_PORT=str(grpc_port), **env)

    async def both():
        return await shown(s.port, "http/1.1"), await shown(grpc_port, "h2")

    async def said(event):
        async def has():
            return event in s.text()
        await until(has, 20, event)

    first = await both()
    equal(first[0], first[1], "one certificate")
    await certificate(folder)
    s.proc.send_signal(signal.SIGHUP)
    await said("tls.reloaded")
    second = await both()
    equal(second[0], second[1], "one certificate after SIGHUP")
    check(second != first, "a new one", "the old one")
    (folder / "key.pem").write_text("no key\n")
    s.proc.send_signal(signal.SIGHUP)
    await said("tls.reload_failed")
    equal(await both(), second, "the pair that was there")


@test("a certificate and a key that do not fit are named before anything starts")
async def unfit(t):
    folder, other = t.suite.tmp_path("tls-unfit"), t.suite.tmp_path("tls-unfit-2")
    env, _ = await certificate(folder)
    await certificate(other)
    base = {"DATABASE_URL": f"sqlite:{folder}/data/construct.db", "BIND": "127.0.0.1", "PORT": "0"}
    code, out, err = await command(t, "check-config", env=base | env)
    equal(code, 0, f"a good pair {(out + err)[-200:]}")
    for variable, file in (("TLS_KEY_FILE", other / "key.pem"), ("TLS_KEY_FILE", folder / "cert.pem"),
                           ("TLS_CERT_FILE", folder / "key.pem"), ("TLS_CERT_FILE", folder / "none")):
        for what in ("check-config", "all"):
            code, out, err = await command(t, what, env=base | env | {variable: str(file)}, timeout=20)
            equal(code, 78, f"{what} with {variable}={file.name}")
            check(variable in out + err and str(file) in out + err, "variable and file", out + err)
    check(not (folder / "data").exists(), "nothing was made")


@test("probe with ws:// against TLS, and the other way round, says what to try", timeout=60)
async def hints(t):
    env, _ = await certificate(t.suite.tmp_path("tls-hints"))
    plain, tls_ = await t.private("plain"), await t.private("tls-hints", **env)
    for url, hint in ((f"wss://127.0.0.1:{plain.port}/", "ws://"), (f"ws://127.0.0.1:{tls_.port}/", "wss://")):
        code, out, err = await command(t, "probe", url, timeout=30)
        check(code != 0 and f"try {hint}" in out + err, "the hint", out + err)


@test("old TLS versions are refused")
async def old(t):
    folder = t.suite.tmp_path("tls-old")
    env, ctx = await certificate(folder)
    s = await t.private("tls-old", **env)
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ctx.minimum_version = ctx.maximum_version = ssl.TLSVersion.TLSv1_1
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    try:
        await get_over_tls(s, ctx)
    except (ssl.SSLError, ConnectionError, OSError, asyncio.TimeoutError):
        return
    check(False, "TLS 1.1 must be refused")
