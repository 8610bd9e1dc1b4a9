# SPDX-License-Identifier: MIT
"""construct top: the figures of a running relay over its Unix socket."""
import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import socket
import stat
import struct
import termios

from prometheus_client.parser import text_string_to_metric_families

from harness import Failure, Leaks, check, command, equal, get, test, until

KINDS = ("connection", "gateway", "user_limiter", "sqlite_writer", "partition", "inbox", "hub")


def path_of(s):
    return s.dir / "data" / "construct.sock"


async def traffic(t, s, messages=20):
    a, b = await t.users(s, 2)
    for _ in range(messages):
        await b.get(await a.post(b.user))


async def document(t, s):
    code, out, err = await command(t, "top", "--socket", str(path_of(s)), "--once", "--json",
                                   "--interval", "0.2")
    equal(code, 0, f"exit code ({err[-300:]})")
    equal(err, "", "standard error")
    return json.loads(out)


@test("top --once --json has every kind of actor on a message's way, each worker, and rates")
async def top_json(t):
    s = await t.private("top-json", MAX_MESSAGES_PER_HOUR="0")
    a, b = await t.users(s, 2)

    done = asyncio.Event()

    async def send():
        while not done.is_set():
            await b.get(await a.post(b.user))

    sending = asyncio.ensure_future(send())
    try:
        code, out, err = await command(t, "top", "--socket", str(path_of(s)), "--json")
    finally:
        done.set()
        await sending
    equal(code, 0, f"exit code ({err[-300:]})")
    doc = json.loads(out)
    equal(doc["pid"], s.proc.pid, "pid")
    kinds = {k["name"]: k for k in doc["kinds"]}
    for name in KINDS:
        check(name in kinds, f"kind {name}", list(kinds))
        k = kinds[name]
        check(k["messages"] > 0 and k["messages_per_s"] > 0, f"{name} handled messages", k)
        check(0 < k["handler_p50_ns"] <= k["handler_p99_ns"], f"{name}: handler times", k)
        check(k["depth_max"] > 0 and "depth" in k, f"{name}: mailbox", k)
    equal(kinds["connection"]["live"], 2, "connections")
    workers = {w["name"]: w for w in doc["workers"]}
    for name in ("cx-worker-0", "cx-worker-1", "sqlite_writer"):
        check(name in workers, f"worker {name}", list(workers))
        check(0 <= workers[name]["busy_share"] <= 1, f"busy share of {name}", workers[name])
        check("run_queue" in workers[name] and "steals" in workers[name], name, workers[name])
    check(any(w["busy_share"] > 0 for w in doc["workers"]), "some worker works", workers)
    check(100 < doc["interval_ms"] < 20_000, "an interval of about a second", doc["interval_ms"])


@test("top without a terminal prints one table, and finds the socket by the relay's environment")
async def top_table(t):
    s = await t.private("top-table")
    await traffic(t, s)
    code, out, err = await command(t, "top", "--interval", "0.2", env={
        "DATABASE_URL": f"sqlite:{s.dir}/data/construct.db"})
    equal(code, 0, f"exit code ({err[-300:]})")
    check("\033" not in out, "no escape sequences", out[:80])
    for word in (*KINDS, "cx-worker-0", "MSG/S", "P99", "MAILBOX", "REFUSED", "DEAD", "BUSY"):
        check(word in out, word, out)


@test("/metrics has the figures of top")
async def metrics(t):
    s = await t.private("top-metrics")
    await traffic(t, s)
    _, _, body = await get(s, "/metrics")
    families = {f.name: f for f in text_string_to_metric_families(body.decode())}
    for name in ("construct_actor_mailbox", "construct_actor_handler_nanoseconds",
                 "construct_worker_run_queue", "construct_worker_steals",
                 "construct_slow_handlers"):
        check(name in families, name, sorted(families))
    times = families["construct_actor_handler_nanoseconds"]
    equal(times.type, "summary", "type of handler times")
    got = {(x.labels["kind"], x.labels.get("quantile")): x.value for x in times.samples
           if "quantile" in x.labels}
    for kind in KINDS:
        check(0 < got[kind, "0.5"] <= got[kind, "0.99"], f"handler times of {kind}", got)


# The figures one by one: key of the JSON, family and labels of /metrics.
GROWING_OF_KINDS = {
    "messages": "construct_actor_messages_total", "refused": "construct_actor_refused_total",
    "dead_letters": "construct_actor_dead_letters_total",
    "depth_max": "construct_actor_mailbox_max", "slow": "construct_actor_slow_handlers_total",
    "busy_ns": "construct_actor_busy_nanoseconds_total"}
NOW_OF_KINDS = {"live": "construct_actors", "depth": "construct_actor_mailbox"}
QUANTILES = {"handler_p50_ns": "0.5", "handler_p99_ns": "0.99"}
GROWING_OF_WORKERS = {
    "steals": "construct_worker_steals_total", "wakeups": "construct_worker_wakeups_total",
    "busy_ns": "construct_worker_busy_nanoseconds_total", "turns": "construct_worker_turns_total"}
NOW_OF_WORKERS = {"run_queue": "construct_worker_run_queue"}


async def samples(s):
    """{(name, label value, ...): value} of /metrics."""
    _, _, body = await get(s, "/metrics")
    return {(x.name, *x.labels.values()): x.value
            for f in text_string_to_metric_families(body.decode()) for x in f.samples}


@test("each figure of top is in /metrics, and what only grows lies between two samples of it")
async def figures(t):
    s = await t.private("top-figures", MAX_MESSAGES_PER_HOUR="0")
    a, b = await t.users(s, 2)
    done = asyncio.Event()

    async def send():
        while not done.is_set():
            await b.get(await a.post(b.user))

    async def sample():
        before = await samples(s)
        return before, await document(t, s), await samples(s)

    sending = asyncio.ensure_future(send())
    try:
        await traffic(t, s, 5)
        before, doc, after = await sample()
    finally:
        done.set()
        await sending
    seconds = doc["interval_ms"] / 1e3  # cut to whole milliseconds

    def between(value, family, *labels):
        at = (family, *labels)
        check(at in after, f"/metrics has {at}", sorted(after)[:3])
        check(before.get(at, 0) <= value <= after[at], f"{at} of top", before.get(at), value,
              after[at])

    def rate_within(rate, *at):
        """top's interval lies between the two samples."""
        check(0 <= rate * seconds <= after[at] - before.get(at, 0) + 1e-3, f"rate of {at}", rate,
              before.get(at), after[at])

    for k in doc["kinds"]:
        name = k["name"]
        for key, family in GROWING_OF_KINDS.items():
            between(k[key], family, name)
        for key, family in NOW_OF_KINDS.items():
            check(k[key] >= 0 and after[family, name] >= 0, f"{key} of {name}", k[key])
        for quantile in QUANTILES.values():
            check(("construct_actor_handler_nanoseconds", name, quantile) in after, name, quantile)
        p50, p99 = (k[key] for key in QUANTILES)
        check(0 <= p50 <= p99, f"handler times of {name}", p50, p99)
        rate_within(k["messages_per_s"], "construct_actor_messages_total", name)
    for i, w in enumerate(doc["workers"]):
        for key, family in GROWING_OF_WORKERS.items():
            between(w[key], family, str(i))
        for key, family in NOW_OF_WORKERS.items():
            check(w[key] >= 0 and after[family, str(i)] >= 0, f"{key} of {w['name']}", w[key])
        rate_within(w["busy_share"] * 1e9, "construct_worker_busy_nanoseconds_total", str(i))
        rate_within(w["wakeups_per_s"], "construct_worker_wakeups_total", str(i))
        rate_within(w["steals_per_s"], "construct_worker_steals_total", str(i))
    check(any(k["messages_per_s"] > 0 for k in doc["kinds"]), "messages were handled", doc["kinds"])
    check(any(w["busy_share"] > 0 for w in doc["workers"]), "somebody was busy", doc["workers"])
    check(any(w["wakeups"] > 0 for w in doc["workers"]), "somebody was woken", doc["workers"])
    for slow in doc["slow_handlers"]:
        between(slow["count"], "construct_slow_handlers_total", slow["kind"], slow["message"])
        between(slow["longest_ms"], "construct_slow_handler_max_milliseconds", slow["kind"],
                slow["message"])
    check(set(KINDS) <= {k["name"] for k in doc["kinds"]}, "every kind on the way", doc["kinds"])
    missing = {n[1] for n in before if n[0] == "construct_actors"} - {k["name"] for k in doc["kinds"]}
    check(not missing, "top has what /metrics had before it", missing)
    equal(len(doc["workers"]), len({n[1] for n in after if n[0] == "construct_worker_turns_total"}),
          "workers")


@test("top where nothing listens: exit 1 and one line that names the path")
async def nobody(t):
    folder = t.suite.tmp_path("top-nobody")
    missing = folder / "missing.sock"
    stale = folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as k:
        k.bind(str(stale))
    (folder / "file").write_text("x")
    for path in (missing, stale, folder / "file"):
        for more in ((), ("--once", "--json")):
            code, out, err = await command(t, "top", "--socket", str(path), *more)
            equal(code, 1, f"exit code at {path.name}")
            equal(len(err.splitlines()), 1, f"lines of {err!r}")
            check(str(path) in err and out == "", "names the path", err, out)


@test("top --help, wrong options")
async def usage(t):
    code, out, err = await command(t, "top", "--help")
    check(code == 0 and err == "", "--help", code, err)
    for word in ("--socket", "--once", "--json", "--interval"):
        check(word in out, word, out)
    for wrong in (("--frobnicate",), ("--interval", "0"), ("--interval", "x"),
                  ("--interval", "nan"), ("--interval",), ("--socket",)):
        code, out, err = await command(t, "top", *wrong)
        check(code == 2 and wrong[0] in err, f"{wrong}: usage", code, err)
    _, out, _ = await command(t, "--help")
    check(" top " in out and "TOP_SOCKET" in out, "construct --help names it", out[:600])


@test("the socket is its owner's, goes at the end, replaces a dead one's, not a live one's")
async def lifetime(t):
    s = await t.private("top-life")
    path = path_of(s)
    equal(stat.S_IMODE(path.stat().st_mode), 0o600, "mode")
    s.kill_now()
    await s.proc.wait()
    s.proc = None
    check(path.exists(), "kill -9 leaves it")
    await s.start()
    equal((await document(t, s))["pid"], s.proc.pid, "the new process answers")
    other = t.suite.tmp_path("top-life-other")
    code, out, err = await command(t, "all", timeout=30, env={
        "DATABASE_URL": f"sqlite:{other}/construct.db", "BIND": "127.0.0.1", "PORT": "0",
        "TOP_SOCKET": str(path)})
    check(code == 1 and str(path) in out + err, "a live one stays", code, out + err)
    equal((await document(t, s))["pid"], s.proc.pid, "and still answers")
    (other / "file").write_text("precious")
    code, out, err = await command(t, "all", timeout=30, env={
        "DATABASE_URL": f"sqlite:{other}/construct.db", "BIND": "127.0.0.1", "PORT": "0",
        "TOP_SOCKET": str(other / "file")})
    check(code == 1 and (other / "file").read_text() == "precious", "a file is kept", code, err)
    await s.stop()
    check(not path.exists(), "SIGTERM removes it")


@test("TOP_SOCKET=off: no socket, and the relay serves")
async def off(t):
    s = await t.private("top-off", TOP_SOCKET="off")
    check(not path_of(s).exists() and not list(s.dir.glob("**/*.sock")), "no socket")
    equal((await get(s, "/health"))[0], 200, "/health")


async def raw(s, data, wait=20.0):
    """What comes back until the relay closes; None: it did not close in time."""
    r, w = await asyncio.open_unix_connection(str(path_of(s)))
    try:
        w.write(data)
        return await asyncio.wait_for(r.read(), wait)
    except asyncio.TimeoutError:
        return None
    except ConnectionError:
        return b""
    finally:
        w.close()


@test("garbage on the socket is closed at once, half a request after a while", timeout=60)
async def garbage(t):
    s = await t.private("top-garbage")
    for data in (b"\n", b"GET / HTTP/1.1\r\n\r\n", b"figures\r\n", b"figures\nfigures\n", b"\0" * 16,
                 os.urandom(64), b"x" * 1_000_000):
        # At once: before a peer that came earlier and says nothing is closed, which takes 5 s.
        r, w = await asyncio.open_unix_connection(str(path_of(s)))
        idle = asyncio.ensure_future(r.read())
        equal(await raw(s, data), b"", f"the answer to {data[:20]!r}")
        check(not idle.done(), "closed at once", data[:20])
        w.close()
        idle.cancel()
    equal(await raw(s, b"figur"), b"", "half a request")
    check((await document(t, s))["kinds"], "and the next one is answered")


@test("peers that say nothing or never read keep nobody out", timeout=60)
async def silent(t):
    s = await t.private("top-silent")
    idle = []
    try:
        for i in range(200):
            k = socket.socket(socket.AF_UNIX)
            k.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            idle.append(k)
            await asyncio.wait_for(asyncio.to_thread(k.connect, str(path_of(s))), 10)
            if i % 2:
                try:
                    k.sendall(b"figures\n")
                except OSError:
                    pass  # it gave way to a later one already
        for _ in range(3):
            check((await document(t, s))["pid"] == s.proc.pid, "top is answered")
        fds = os.listdir(f"/proc/{s.proc.pid}/fd")
        check(len(fds) < 100, "few descriptors are taken", len(fds))
        equal((await get(s, "/health"))[0], 200, "/health")
    finally:
        for k in idle:
            k.close()


class Terminal:
    """A pseudo terminal with top on it."""

    def __init__(self, t, path, term, columns=100, rows=30, *args):
        self.main, self.sub = pty.openpty()
        self.size(columns, rows)
        self.before = termios.tcgetattr(self.sub)
        self.seen = b""
        self.args = [str(t.binary), "top", "--socket", str(path), "--interval", "0.2", *args]
        self.env = {k: v for k, v in os.environ.items() if k == "PATH" or k.endswith("SAN_OPTIONS")}
        self.env["TERM"] = term

    def size(self, columns, rows):
        fcntl.ioctl(self.sub, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def __aenter__(self):
        def own_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.proc = await asyncio.create_subprocess_exec(
            *self.args, env=self.env, stdin=self.sub, stdout=self.sub, stderr=self.sub,
            start_new_session=True, preexec_fn=own_terminal)
        os.set_blocking(self.main, False)
        asyncio.get_running_loop().add_reader(self.main, self.read)
        return self

    async def __aexit__(self, *_):
        asyncio.get_running_loop().remove_reader(self.main)
        if self.proc.returncode is None:
            self.proc.kill()
        await self.proc.wait()
        os.close(self.main)
        os.close(self.sub)

    def read(self):
        try:
            self.seen += os.read(self.main, 65536)
        except OSError:
            pass

    def type(self, text):
        os.write(self.main, text.encode())

    def screen(self):
        """The last whole picture, without attributes."""
        pictures = self.seen.split(b"\033[H")
        text = pictures[-2] if len(pictures) > 2 else b""
        return re.sub(rb"\033\[[0-9;?]*[A-Za-z]", b"", text).decode().replace("\r", "").split("\n")

    async def shows(self, cond, what):
        async def probe():
            return cond(self.screen())
        try:
            await until(probe, 40, what)
        except Failure:
            raise Failure(f"{what}: the screen is " + "\n".join(self.screen())) from None

    async def ends(self, code):
        equal(await asyncio.wait_for(self.proc.wait(), 30), code, "exit code")
        self.read()
        check(self.seen.rstrip(b"\r\n").endswith(b"\033[?1049l"), "the screen is given back",
              self.seen[-80:])
        equal(termios.tcgetattr(self.sub), self.before, "and the terminal's modes")


def kinds_shown(screen):
    rows = [ln.split()[0] for ln in screen if ln.split()]
    return rows[rows.index("KIND") + 1:] if "KIND" in rows else []


@test("the live view: keys sort, reverse, filter, pause and help; another size; q", timeout=150)
async def live(t):
    s = await t.private("top-live")
    await traffic(t, s)
    async with Terminal(t, path_of(s), "xterm") as tty:
        await tty.shows(lambda p: "hub" in kinds_shown(p), "the kinds")
        check(b"\033[?1049h" in tty.seen, "the alternate screen", tty.seen[:40])
        for _ in range(3):
            tty.type("s")
        await tty.shows(lambda p: any("LIVE-" in ln for ln in p), "sorted by the fourth column")
        tty.type("r")
        await tty.shows(lambda p: any("LIVE+" in ln for ln in p), "reversed")
        tty.type("/part\r")
        await tty.shows(lambda p: [k for k in kinds_shown(p) if k in KINDS] == ["partition"],
                        "only what the filter takes")
        tty.type("/\r")
        await tty.shows(lambda p: "hub" in kinds_shown(p), "all again")
        tty.type(" ")
        await tty.shows(lambda p: "PAUSED" in p[0], "a pause")
        tty.type(" h")
        await tty.shows(lambda p: any("reverse the order" in ln for ln in p), "the help")
        tty.type("h")
        tty.size(50, 12)
        await tty.shows(lambda p: len(p) <= 12 and max(map(len, p)) <= 50 and kinds_shown(p)
                        and any("more" in ln for ln in p), "a smaller screen")
        tty.type("q")
        await tty.ends(0)


@test("the live view gives the screen back on Ctrl-C and SIGTERM, under TERM=screen too", timeout=150)
async def interrupted(t):
    s = await t.private("top-interrupt")
    for term, how in (("screen", "\x03"), ("xterm-256color", signal.SIGTERM)):
        async with Terminal(t, path_of(s), term) as tty:
            await tty.shows(kinds_shown, "the kinds")
            tty.type(how) if isinstance(how, str) else tty.proc.send_signal(how)
            await tty.ends(0)


@test("the live view outlives its relay and finds the next one", timeout=150)
async def outlives(t):
    s = await t.private("top-outlives")
    async with Terminal(t, path_of(s), "xterm") as tty:
        await tty.shows(kinds_shown, "the kinds")
        await s.stop()
        await tty.shows(lambda p: "no relay listens" in p[0], "that it is gone")
        await s.start()
        await tty.shows(lambda p: f"pid {s.proc.pid}" in p[0], "the new one")
        tty.type("q")
        await tty.ends(0)


@test("on a dumb terminal: one table after the other, no escape sequences", timeout=60)
async def dumb(t):
    s = await t.private("top-dumb")
    async with Terminal(t, path_of(s), "dumb") as tty:
        async def two():
            return tty.seen.count(b"KIND") >= 2
        await until(two, 40, "two tables")
        check(b"\033" not in tty.seen, "no escape sequences", tty.seen[:200])
        tty.type("\x03")
        equal(await asyncio.wait_for(tty.proc.wait(), 30), -signal.SIGINT, "Ctrl-C ends it")


@test("the live view where nothing listens: exit 1, and the screen is left alone")
async def live_nobody(t):
    folder = t.suite.tmp_path("top-live-nobody")
    async with Terminal(t, folder / "none.sock", "xterm") as tty:
        equal(await asyncio.wait_for(tty.proc.wait(), 30), 1, "exit code")
        await asyncio.sleep(0.1)
        check(b"none.sock" in tty.seen and b"\033" not in tty.seen, "one line", tty.seen)


@test("all --trace FILE: the first message's way, in causal order, and nothing that says whose")
async def trace(t):
    s = await t.private("trace", _args=("--trace", "trace.json"))
    a, b = await t.users(s, 2)
    for _ in range(3):
        await b.get(await a.post(b.user))
    await s.stop()
    text = (s.dir / "trace.json").read_text()
    events = json.loads(text)
    spans = [e for e in events if e["ph"] == "X"]
    for e in spans:
        check(e["ts"] >= 0 and e["dur"] >= 0 and e["pid"] > 0 and e["tid"] >= 0, "a span", e)
    starts = [e["ts"] for e in spans]
    equal(starts, sorted(starts), "spans in order of time")
    began = {}
    for e in spans:
        began.setdefault(e["cat"], e["ts"])
    check(set(KINDS) <= set(began), "every kind on the way", list(began))
    check([began[k] for k in KINDS] == sorted(began[k] for k in KINDS), "in causal order", began)
    equal(spans[0]["cat"], "connection", "where it begins")
    equal(len([e for e in spans if (e["cat"], e["name"]) == ("gateway", "gateway_submit")]), 1,
          "messages traced")
    sent = {e["id"]: e for e in events if e["ph"] == "s"}
    ended = [e for e in events if e["ph"] == "f"]
    check(len(ended) >= len(KINDS), "flows", len(ended))
    for e in ended:
        check(e["id"] in sent and sent[e["id"]]["ts"] <= e["ts"]
              and sent[e["id"]]["name"] == e["name"], "a flow begins before it ends", e)
    leaks = Leaks.find(text)
    check(not leaks, "no identifier", leaks)
    code, out, err = await command(t, "all", "--trace")
    check(code == 2 and "--trace FILE" in err, "--trace without a file", code, err)
