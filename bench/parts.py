# SPDX-License-Identifier: MIT
"""The parts of bench/run.py.  A part fills its section of the report or raises CannotRun."""

import shutil

import benchlib
from benchlib import (CPUS, CannotRun, Redis, Series, Server, alternate, generator, run_tsv,
                      say)
from idle_memory import slope

SIZE = 256
# Senders, in flight, target messages/s, and about how many of those one commit finds waiting.
RELAY_MODES = ((64, 16, 50000, 300), (256, 1, 30000, 100))
USERS_PER_CONNECTIONS = 5  # MAX_CONNECTIONS_PER_USER's default


def need(opt, name):
    path = opt.peers / name
    if not path.exists():
        raise CannotRun(f"{path} is not built: make bench-build")
    return path


def need_binary(opt):
    if not opt.binary.exists():
        raise CannotRun(f"{opt.binary} is not built: make")
    return opt.binary


def fresh(opt, name):
    folder = opt.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def relay(opt, folder, **env):
    """`construct all` with its store in `folder` and no limit on messages."""
    return Server([need_binary(opt), "all"], folder, env={
        "DATABASE_URL": f"sqlite:{folder}/construct.db",
        "MAX_MESSAGES_PER_HOUR": "0",
        **env,
    })


def latency_ms(result, phase, series, which="p99"):
    return result["latency_ns"][phase][series][which] / 1e6


# --- what the disk and SQLite alone can do -----------------------------------------------------


def ms(ns):
    return f"{int(ns) / 1e6:.2f}"


def disk_rows(opt, seconds):
    folder = fresh(opt, "disk")
    rows = run_tsv([need(opt, "fdatasync"), folder, seconds], timeout=600)
    return {row[1]: row for row in rows}


def disk_p99_ms(opt):
    """p99 of a sync of 64 KB over an existing file: SQLite's usual commit."""
    return int(disk_rows(opt, 0.5)["rewrite,65536"][5]) / 1e6


def disk(opt, report):
    for what, row in disk_rows(opt, opt.seconds / 2).items():
        way, size = what.split(",")
        report.row("disk", f"{way} {int(size) // 1024} KB", f"{int(row[3]):,}", ms(row[4]),
                   ms(row[5]), ms(row[6]))


def floor_rows(opt):
    folder = fresh(opt, "floor")
    return run_tsv([need(opt, "floor_sqlite"), folder, max(1, opt.seconds / 2)], timeout=900)


def floor(opt, report):
    for row in floor_rows(opt):
        way, batch = row[1].split(",")
        report.row("floor", f"{way}, {batch} a transaction",
                   f"{int(row[3]):,} ({int(row[6]):,}-{int(row[7]):,})", ms(row[4]), ms(row[5]))


# --- echo --------------------------------------------------------------------------------------


def echo_rate(opt, server, connections, cpu_us):
    result = generator(opt.binary, server.url(), "--mode", "echo", "--connections", connections,
                       "--inflight", 1, "--size", SIZE, "--duration", opt.seconds, "--warmup", 1,
                       "--server-pid", server.pid, cpu=CPUS[-1])
    cpu_us.add(result["server_cpu_us_each"])
    return result["per_s"]


def echo(opt, report):
    binary, peer = need_binary(opt), need(opt, "peer_epoll_echo")
    folder = fresh(opt, "echo")
    with Server([peer, "PORT_FILE"], folder / "peer", cpu=CPUS[0]) as theirs, \
            Server([binary, "echo"], folder / "ours", env={"WORKER_THREADS": "1"},
                   cpu=CPUS[0]) as ours:
        for connections in (100, 1000, 10000):
            cpu_us = {"ours": Series(), "theirs": Series()}
            got = alternate(opt.runs,
                            ours=lambda: echo_rate(opt, ours, connections, cpu_us["ours"]),
                            theirs=lambda: echo_rate(opt, theirs, connections, cpu_us["theirs"]))
            share = got["ours"].median / got["theirs"].median
            report.row("echo", f"{connections:,}", got["ours"].text(), got["theirs"].text(),
                       f"{share:.2f}",
                       f"{cpu_us['ours'].median:.2f} / {cpu_us['theirs'].median:.2f}",
                       report.judge("echo", f"{connections} connections, {share:.2f}",
                                    share >= 0.9, "at least 0.9"))


# --- memory ------------------------------------------------------------------------------------


def make_certificate(folder):
    files = folder / "cert.pem", folder / "key.pem"
    done = benchlib.subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", files[1], "-out", files[0]],
        capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotRun(f"openssl req: {done.stderr.strip()[-200:]}")
    return files


def memory_row(opt, report, scheme, limit_kb, **env):
    folder = fresh(opt, f"memory-{scheme}")
    if scheme == "wss":
        cert, key = make_certificate(folder)
        env |= {"TLS_CERT_FILE": str(cert), "TLS_KEY_FILE": str(key)}
    with relay(opt, folder, **env) as server:
        hold = [str(opt.binary), "bench", server.url(scheme), "--mode", "hold",
                "--connections", "{n}", "--per-user", str(USERS_PER_CONNECTIONS),
                "--duration", "3600", "--tokens", str(folder / "users"), "--insecure"]
        each, small, large = slope(server.pid, 1000, 10000, hold)
    report.row("memory", scheme, f"{small / 2**20:.1f}", f"{large / 2**20:.1f}",
               f"{each / 1024:.2f}",
               report.judge("memory", f"{scheme} {each / 1024:.2f} KB", each <= limit_kb * 1024,
                            f"at most {limit_kb} KB"))


def memory(opt, report):
    memory_row(opt, report, "ws", 5)
    memory_row(opt, report, "wss", 20)


# --- connecting --------------------------------------------------------------------------------


def connect(opt, report):
    folder = fresh(opt, "connect")
    with relay(opt, folder) as server:
        common = ["--mode", "connect", "--tokens", folder / "users", "--per-user",
                  USERS_PER_CONNECTIONS]

        def rate():
            return generator(opt.binary, server.url(), *common, "--duration", opt.seconds,
                             "--warmup", 1)["per_s"]

        got = alternate(opt.runs, ours=rate)["ours"]
        report.row("connect", "handshake and `connect`, a second", got.text(),
                   report.judge("connect", f"{got.median:,.0f}/s", got.median >= 10000,
                                "at least 10,000/s"))
        served, before, during = Series(), Series(), Series()
        for _ in range(opt.runs):
            storm = generator(opt.binary, server.url(), *common, "--storm", 10000, "--pairs", 64,
                              "--duration", max(10, opt.seconds), timeout=900)
            served.add(latency_ms(storm, "storm", "served", "max") / 1e3)
            before.add(latency_ms(storm, "quiet", "receipt"))
            during.add(latency_ms(storm, "storm", "receipt"))
        report.row("connect", "10,000 at once, the last served after s", served.text(2),
                   report.judge("connect", f"storm {served.median:.2f} s", served.median <= 3,
                                "at most 3 s"))
        report.row("connect", "p99 of conversations, ms: before", before.text(2), "")
        report.row("connect", "p99 of conversations, ms: meanwhile", during.text(2),
                   "they go on")


# --- relay -------------------------------------------------------------------------------------


def relay_options(senders, in_flight, folder):
    return ["--pairs", senders, "--inflight", in_flight, "--size", SIZE, "--tokens",
            folder / f"users-{senders}"]


def redis_rate(opt, senders, in_flight, way, *more):
    """way: "port" (TCP, as the relay's clients) or "socket" (Unix)."""
    with Redis(opt.folder / "redis") as redis:
        row = run_tsv([need(opt, "peer_redis_streams"), getattr(redis, way), senders, in_flight,
                       max(1, round(opt.seconds)), *more], timeout=120)[0]
    return float(row[3])


def floor_rate(opt, way, batch):
    row = run_tsv([need(opt, "floor_sqlite"), opt.folder / "relay", max(1, opt.seconds / 2),
                   f"{way},{batch}"], timeout=120)[0]
    return float(row[3])


def relay_mode(opt, report, server, folder, senders, in_flight, target, batch):
    """One row; returns the messages/s reached."""
    options = relay_options(senders, in_flight, folder)
    got = alternate(
        opt.runs,
        ours=lambda: generator(opt.binary, server.url(), *options, "--duration",
                               opt.seconds)["per_s"],
        redis=lambda: redis_rate(opt, senders, in_flight, "port"),
        unix=lambda: redis_rate(opt, senders, in_flight, "socket"),
        each=lambda: redis_rate(opt, senders, in_flight, "port", senders, senders, senders),
        ids=lambda: floor_rate(opt, "ids", batch),
        rows=lambda: floor_rate(opt, "rows", batch))
    mode = f"{senders} x {in_flight}"
    ours, redis, ids = got["ours"].median, got["redis"].median, got["ids"].median
    verdicts = [report.judge("relay", f"{mode}: {ours:,.0f}/s", ours >= target,
                             f"at least {target:,}/s")]
    if in_flight == 1:
        verdicts.append(report.judge("relay", f"{mode}: {ours / redis:.2f} of Redis Streams",
                                     ours > redis, "ahead of Redis Streams"))
    else:
        verdicts.append(report.judge("relay", f"{mode}: {ours / ids:.2f} of the floor",
                                     ours >= 0.8 * ids, "at least 0.8 of the floor, ids"))
    peers = ("redis", "unix", "each", "ids", "rows")
    report.row("relay", mode, *(got[k].text() for k in ("ours", *peers)),
               ", ".join(f"{ours / got[k].median:.2f}" for k in peers),
               "; ".join(verdicts))
    return ours


def relay_latency(opt, report, server, folder, rate, is_target):
    """p99 from send to receipt at a fixed rate, beside the disk's own in the same run."""
    senders, in_flight = RELAY_MODES[0][:2]
    p99, p50, disk_p99 = Series(), Series(), Series()
    for _ in range(opt.runs):
        disk_p99.add(disk_p99_ms(opt))
        result = generator(opt.binary, server.url(), *relay_options(senders, in_flight, folder),
                           "--rate", round(rate), "--duration", opt.seconds)
        p99.add(latency_ms(result, "run", "receipt"))
        p50.add(latency_ms(result, "run", "receipt", "p50"))
    limit = 4 * disk_p99.median + 2
    text = (f"At {rate:,.0f} messages/s, open loop, p99 from send to receipt: {p99.text(2)} ms (p50"
            f" {p50.text(2)}); the disk's own p99 in the same run: {disk_p99.text(2)} ms.")
    if is_target:
        text += " " + report.judge("relay", f"p99 {p99.median:.2f} ms", p99.median <= limit,
                                   f"At most {limit:.2f} ms (4 x + 2 ms)") + "."
    say(text)
    report.note("relay", text)


def relay_part(opt, report):
    need(opt, "peer_redis_streams")
    folder = fresh(opt, "relay")
    with relay(opt, folder) as server:
        reached = [relay_mode(opt, report, server, folder, *mode) for mode in RELAY_MODES]
        relay_latency(opt, report, server, folder, RELAY_MODES[0][2] / 2, True)
        relay_latency(opt, report, server, folder, reached[0] / 2, False)


# --- logins beside conversations ---------------------------------------------------------------


def login(opt, report):
    folder = fresh(opt, "login")
    alone, beside = Series(), Series()
    # The generator logs the same users in many times at once; each attempt counts as failed
    # until its password is checked.
    with relay(opt, folder, MAX_FAILED_LOGIN_ATTEMPTS="0") as server:
        for _ in range(opt.runs):
            result = generator(opt.binary, server.url(), "--mode", "login", "--pairs", 64,
                               "--logins", 100, "--duration", max(10, opt.seconds), "--tokens",
                               folder / "users", timeout=600)
            alone.add(latency_ms(result, "quiet", "receipt"))
            beside.add(latency_ms(result, "logins", "receipt"))
    ratio = beside.median / alone.median
    report.row("login", alone.text(2), beside.text(2), f"{ratio:.2f}",
               report.judge("login", f"{ratio:.2f}", ratio <= 1.5, "at most 1.5"))


ALL = {
    "disk": ("The disk: fdatasync", ["write", "syncs/s", "p50 ms", "p99 ms", "p99.9 ms"], disk),
    "floor": ("The floor: SQLite's group commit alone",
              ["way", "messages/s", "p50 of a commit, ms", "p99, ms"], floor),
    "echo": ("Echo, 256-byte frames, one worker, frames/s",
             ["connections", "construct echo", "bare epoll", "share", "CPU us a frame, ours / theirs",
              "target"], echo),
    "memory": ("Memory of an idle authenticated connection",
               ["", "MB at 1,000", "MB at 10,000", "KB a connection", "target"], memory),
    "connect": ("Connecting", ["", "measured", "target"], connect),
    "relay": ("Relay, embedded and durable, full cycle, messages/s",
              ["senders x in flight", "construct all", "Redis Streams", "the same by Unix socket",
               "by TCP, a connection for each recipient too",
               "floor, ids", "floor, rows", "share of each", "target"], relay_part),
    "login": ("100 logins a second beside conversations, p99 send to receipt",
              ["ms alone", "ms beside", "ratio", "target"], login),
}
