# SPDX-License-Identifier: MIT
"""The commands of the program: probe, bench, check-config, help, version."""
import asyncio
import json
import socket

from harness import check, command, equal, test


@test("probe passes against a running relay and leaves nothing behind", timeout=90)
async def probe(t):
    s = await t.private("probe")
    for url in (s.url("/"), s.url("/ws")):
        code, out, err = await command(t, "probe", url, timeout=60)
        equal(code, 0, f"exit code ({(out + err)[-500:]})")
        check(len(out.splitlines()) >= 5, "each step is printed", out)
        check("ms" in out, "with its latency", out)


@test("probe against a dead port: not 0, and a clear text")
async def probe_dead(t):
    with socket.socket() as k:
        k.bind(("127.0.0.1", 0))
        port = k.getsockname()[1]  # ours, and nobody listens: no other relay here can get it
        code, out, err = await command(t, "probe", f"ws://127.0.0.1:{port}", timeout=60)
    check(code not in (0, None) and code > 0, "exit code", code)
    check("refused" in (out + err).lower() or str(port) in out + err, "what is wrong", out, err)
    for bad in ("http://127.0.0.1:1", "nonsense", "ws://"):
        code, out, err = await command(t, "probe", bad, timeout=40)
        check(code > 0 and (out + err).strip(), f"probe {bad}", code, out, err)


@test("probe against something that is no relay: not 0, in bounded time", timeout=90)
async def probe_stranger(t):
    async def talk(r, w):
        await r.read(100)
        w.write(b"SSH-2.0-nothing\r\n")

    srv = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = srv.sockets[0].getsockname()[1]
    try:
        code, out, err = await command(t, "probe", f"ws://127.0.0.1:{port}", timeout=80)
        check(code > 0 and (out + err).strip(), "exit code and text", code, out, err)
    finally:
        srv.close()


@test("bench: two seconds, nothing lost, repeated or out of order", timeout=120)
async def bench(t):
    s = await t.private("bench", MAX_MESSAGES_PER_HOUR="0")
    code, out, err = await command(t, "bench", s.url("/"), "--pairs", "4", "--duration",
                                   "2", "--json", timeout=90)
    equal(code, 0, f"exit code ({(out + err)[-600:]})")
    rows = [json.loads(ln) for ln in out.splitlines() if ln.startswith("{")] or [json.loads(out)]
    flat = {}

    def walk(prefix, v):
        for k, x in v.items():
            walk(prefix + k + ".", x) if isinstance(x, dict) else flat.update({prefix + k: x})
    walk("", rows[-1])
    for word in ("lost", "repeated", "order"):
        hits = {k: v for k, v in flat.items() if word in k.lower()}
        check(hits and not any(hits.values()), f"{word}: 0", hits or flat)
    check(any(isinstance(v, (int, float)) and v >= 100 for v in flat.values()), "messages", flat)


def base(**over):
    return {"DATABASE_URL": "sqlite:data/construct.db", **over}


@test("check-config names the variable that is wrong, and prints no secret")
async def check_config(t):
    secret = "s3cr3t-text-of-this-test-0123456789abcdefghij"
    code, out, err = await command(t, "check-config", env=base(JWT_SECRET=secret))
    equal(code, 0, f"exit code of a good one ({(out + err)[-300:]})")
    check(secret not in out + err, "a secret is never printed")
    for name, value in (("PORT", "99999"), ("PORT", "-1"), ("PORT", "http"), ("PORT", ""),
                        ("PORT", "80 80"), ("JWT_SECRET", "short"), ("JWT_SECRET", "x" * 31),
                        ("MAX_MESSAGES_PER_HOUR", "many"), ("MAX_MESSAGES_PER_HOUR", "-5"),
                        ("MAX_MESSAGES_PER_HOUR", "99999999999999999999"),
                        ("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"),
                        ("KEY_BUNDLE_VERIFY", "maybe"), ("DATABASE_URL", "mysql://x/y"),
                        ("KAFKA_SASL_MECHANISM", "MAGIC"), ("INBOX_MAX_BYTES", "lots"),
                        ("DRAIN_SECS", "soon"), ("SESSION_TTL_DAYS", "0"),
                        ("DELIVERY_SECRET_KEY", "zz" * 32), ("DELIVERY_SECRET_KEY", "ab"),
                        ("DEDUPLICATION_WINDOW_HOURS", "1"), ("INSTANCE_DOMAIN", "no domain"),
                        ("LOG_USER_IDENTIFIERS", "perhaps"), ("WORKER_THREADS", "-1"),
                        ("SERVER_REGISTRY_TTL_SECS", "10"), ("TLS_CERT_FILE", "missing.pem")):
        if value == "":
            continue
        code, out, err = await command(t, "check-config", env=base(**{name: value}))
        check(code > 0, f"{name}={value!r} is refused", code, out + err)
        check(name in out + err, f"{name}={value!r}: the variable is named", out + err)


@test("check-config --role names all that this role lacks, and takes what is whole")
async def check_config_role(t):
    code, out, err = await command(t, "check-config", "--role", "gateway", env={})
    check(code == 78, "exit code", code, out + err)
    for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_ENABLED"):
        check(name in err, f"{name} is named", err)
    check(not any(n in err for n in ("JWT_SECRET", "LOG_HASH_SALT", "DELIVERY_SECRET_KEY")), "a gateway needs no secret of the server", err)
    good = {"DATABASE_URL": "postgresql://u:pw-of-this-test@db/x", "REDIS_URL": "redis://r", "KAFKA_ENABLED": "true",
            "KAFKA_BROKERS": "k:9092"}
    code, out, err = await command(t, "check-config", "--role", "gateway", env=good)
    check(code == 0 and "HEALTH_PORT" in out and "KAFKA_CONSUMER_GROUP" not in out, "only what it uses is shown", code, out + err)
    check("pw-of-this-test" not in out + err, "no secret is printed")
    code, out, err = await command(t, "check-config", "--role", "nobody", env=good)
    check(code == 2 and "usage" in err, "a role that is none", code, out + err)


@test("a relay with a wrong variable does not start, and opens nothing")
async def wrong_start(t):
    folder = t.suite.tmp_path("wrong")
    db = folder / "data" / "construct.db"
    for name, value in (("MAX_MESSAGES_PER_HOUR", "many"), ("PORT", "70000"),
                        ("JWT_SECRET", "short")):
        env = {"DATABASE_URL": f"sqlite:{db}", "BIND": "127.0.0.1", "PORT": "0", name: value}
        code, out, err = await command(t, "all", env=env, timeout=20)
        check(code > 0 and name in out + err, f"{name}={value}", code, out + err)
        check(not db.exists(), "nothing is opened")


@test("a port that is taken: not 0, and it says so")
async def taken(t):
    folder = t.suite.tmp_path("taken")
    with socket.socket() as k:
        k.bind(("127.0.0.1", 0))
        k.listen()
        port = k.getsockname()[1]
        code, out, err = await command(t, "all", timeout=30, env={
            "DATABASE_URL": f"sqlite:{folder}/construct.db", "BIND": "127.0.0.1",
            "PORT": str(port)})
    check(code > 0 and (str(port) in out + err or "PORT" in out + err), "exit code and text", code,
          out + err)


@test("the log has a summary at the start and at the end")
async def summaries(t):
    s = await t.private("summary")
    a, b = await t.users(s, 2)
    await b.get(await a.post(b.user))
    await s.stop()
    lines = [json.loads(ln) for ln in s.text().splitlines()]
    first = [ln for ln in lines if ln.get("event") == "relay.started"]
    equal(len(first), 1, "lines relay.started")
    equal(first[0]["port"], s.port, "port")
    for word in ("role", "workers"):
        check(word in first[0], f"{word} at the start", first[0])
    last = " ".join(lines[-1])
    check("uptime" in last and "closed" in last and ("messages" in last or "records" in last),
          "uptime, messages and clients closed at the end", lines[-1])


@test("the program answers to its other names")
async def names(t):
    for name in ("construct-server", "message-gateway", "delivery-worker"):
        link = t.binary.parent / name
        check(link.exists() and link.resolve() == t.binary, f"{name} stands beside it")
        code, out, _ = await command(t, "--version", program=link)
        check(code == 0 and out.strip(), f"{name} --version", code, out)


@test("--help, --version, unknown commands")
async def usage(t):
    code, out, err = await command(t, "--help")
    equal(code, 0, "--help")
    for word in ("all", "echo", "probe", "bench", "check-config", "PORT", "DATABASE_URL"):
        check(word in out, f"--help names {word}", out[:300])
    for word in ("all", "echo", "check-config", "probe", "bench"):
        code, out, err = await command(t, word, "--help")
        check(code == 0 and word in out, f"{word} --help", code, out, err)
    code, out, _ = await command(t, "--version")
    check(code == 0 and out.strip(), "--version", code, out)
    code, out, err = await command(t, "frobnicate")
    check(code > 0 and "frobnicate" in out + err, "an unknown command", code, out, err)


@test("echo returns each frame, text and binary, also in pieces")
async def echo(t):
    import os
    from harness import ws_connect
    folder = t.suite.tmp_path("echo")
    p = await asyncio.create_subprocess_exec(
        str(t.binary), "echo", stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=open(folder / "log", "wb"), cwd=folder,
        env={"PATH": os.environ["PATH"], "PORT": "0", "BIND": "127.0.0.1",
             "PORT_FILE": str(folder / "port")})
    try:
        for _ in range(500):
            if (folder / "port").exists():
                break
            check(p.returncode is None, "echo starts", (folder / "log").read_text()[-300:])
            await asyncio.sleep(0.05)
        port = int((folder / "port").read_text())
        async with ws_connect(f"ws://127.0.0.1:{port}/", compression=None, proxy=None,
                              ping_interval=None) as ws:
            for data in ("", "text", "ж" * 1000, b"", b"\0\1\2", bytes(60_000)):
                await ws.send(data)
                equal(await asyncio.wait_for(ws.recv(), 10), data, "the same frame")
            await ws.send([b"one", b"two", b"three"])
            equal(await asyncio.wait_for(ws.recv(), 10), b"onetwothree", "pieces")
        p.terminate()
        equal(await asyncio.wait_for(p.wait(), 30), 0, "exit code on SIGTERM")
    finally:
        if p.returncode is None:
            p.kill()
