# SPDX-License-Identifier: MIT
"""What bench/stack.py runs on: a stack of ops/stack.sh, one process of each role, figures of each."""

import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import time
import urllib.parse

from benchlib import ROOT, CannotRun

ROLES = ("gateway", "worker", "server")
BACKENDS = ("redis", "kafka", "postgres")
TICK = os.sysconf("SC_CLK_TCK")
PARTITIONS = 6
READY_S = 60


class RedisClient:
    """Commands to the stack's Redis, pipelined; answers as bytes, numbers and lists."""

    def __init__(self, url):
        at = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((at.hostname, at.port))
        self.file = self.socket.makefile("rb")
        if at.password:
            self.ask("AUTH", at.password)

    @staticmethod
    def encode(command):
        parts = [str(p).encode() if not isinstance(p, bytes) else p for p in command]
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)

    def answer(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise CannotRun(f"redis: {rest.decode()}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return rest

    def all(self, commands):
        """Answers to all of them, asked a thousand at a time."""
        answers = []
        for i in range(0, len(commands), 1000):
            part = commands[i:i + 1000]
            self.socket.sendall(b"".join(self.encode(c) for c in part))
            answers += [self.answer() for _ in part]
        return answers

    def ask(self, *command):
        return self.all([command])[0]

    def info(self, section):
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self):
        """Commands since its start, by name; not those of scripts apart, which it counts as well."""
        stats = self.info("commandstats")
        return {k[len("cmdstat_"):]: int(re.match(r"calls=(\d+)", v).group(1))
                for k, v in stats.items()}

    def used_bytes(self):
        return int(self.info("memory")["used_memory"])

    def scan(self, pattern):
        cursor = b"0"
        while True:
            cursor, keys = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            yield from keys
            if cursor == b"0":
                return


def stat(pid):
    """(parent, CPU seconds with those of ended children) of a process."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2:].split()
    return int(fields[1]), sum(int(fields[i]) for i in (11, 12, 13, 14)) / TICK


def cpu_s(pid):
    """Of a process and its children, who in PostgreSQL are the sessions."""
    total = stat(pid)[1]
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent, seconds = stat(entry.name)
            except (OSError, ValueError):
                continue  # gone meanwhile
            if parent == pid:
                total += seconds
    return total


def pss_bytes(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1)) * 1024


def compiling_s(pid):
    """CPU of a Java machine's compiler threads so far."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            if (task / "comm").read_text().startswith(("C1 Compiler", "C2 Compiler")):
                text = (task / "stat").read_text()
                total += sum(map(int, text[text.rindex(")") + 2:].split()[11:13])) / TICK
        except OSError:
            continue  # gone meanwhile
    return total


class Stack:
    """A running stack of ops/stack.sh."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        lines = (self.folder / "env").read_text().splitlines()
        self.env = dict(ln.split("=", 1) for ln in lines if ln and not ln.startswith("#"))
        self.pids = {b: int((self.folder / f"{b}.pid").read_text().split()[0]) for b in BACKENDS}
        self.admin = "127.0.0.1:" + (self.folder / "ports/kafka-admin").read_text().strip()
        self.redis = RedisClient(self.env["REDIS_URL"])

    def topics(self, *names):
        subprocess.run(["python3", "-B", str(ROOT / "ops/kafka/admin.py"), "create", self.admin,
                        str(PARTITIONS), *names], check=True)

    def psql(self, sql, rows=None):
        """Output of one statement; rows: what its COPY reads."""
        done = subprocess.run(["psql", "-XAtqv", "ON_ERROR_STOP=1", self.env["DATABASE_URL"], "-c",
                               sql], input=rows, capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotRun(f"psql: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()


class Relay:
    """One gateway, one worker, one server, with topics and a prefix of Redis keys of their own."""

    def __init__(self, stack, binary, folder, env=None):
        self.stack, self.binary, self.folder = stack, binary, folder
        self.name = f"bench-{secrets.token_hex(4)}"
        self.prefix = f"{self.name}:"
        folder.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, **stack.env, "KAFKA_TOPIC": self.name,
                    "KAFKA_CONSUMER_GROUP": self.name, "DELIVERY_QUEUE_PREFIX": self.prefix,
                    "ONLINE_CHANNEL": self.name, "MAX_MESSAGES_PER_HOUR": "0",
                    # Else a message's cycle lasts as long as receipts are gathered: 5 s.
                    "DELIVERY_ACK_ENABLE_BATCHING": "false",
                    "BIND": "127.0.0.1", "LOG_LEVEL": "warn", "TOP_SOCKET": "off", **(env or {})}
        self.processes = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        subprocess.run([str(self.binary), "migrate"], check=True, env=self.env,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.topics(self.name, f"{self.name}-delivery-ack", f"{self.name}-dead-letter")
        self.launch("gateway", PORT="0", HEALTH_PORT="0")
        self.launch("worker", HEALTH_PORT="0")
        gateway = self.port("gateway")
        self.launch("server", PORT="0", MESSAGE_GATEWAY_URL=f"http://127.0.0.1:{gateway}")
        for role in ROLES:
            self.await_ready(role)

    def launch(self, role, **env):
        for end in ("port", "port.health"):
            (self.folder / f"{role}.{end}").unlink(missing_ok=True)
        with open(self.folder / f"{role}.log", "wb") as log:
            self.processes[role] = subprocess.Popen(
                [str(self.binary), role], cwd=self.folder, stdout=log, stderr=log,
                env={**self.env, "PORT_FILE": str(self.folder / f"{role}.port"), **env})

    def port(self, role, end="port"):
        path = self.folder / f"{role}.{end}"
        deadline = time.monotonic() + READY_S
        while not (path.exists() and path.read_text().strip()):
            if self.processes[role].poll() is not None or time.monotonic() > deadline:
                raise CannotRun(f"{role} does not start: {self.log(role)}")
            time.sleep(0.05)
        return int(path.read_text())

    def log(self, role):
        return (self.folder / f"{role}.log").read_text(errors="replace")[-400:].strip()

    def http(self, role, path):
        port = self.port(role, "port.health" if role == "gateway" else "port")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            with link.makefile("rb") as answer:
                return answer.read().decode()

    def await_ready(self, role):
        deadline = time.monotonic() + READY_S
        self.port(role)
        while time.monotonic() < deadline:
            try:
                if " 200 " in self.http(role, "/health/ready").split("\n")[0]:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise CannotRun(f"{role} is not ready after {READY_S} s: {self.log(role)}")

    def stop(self):
        for role in reversed(ROLES):
            process = self.processes.get(role)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        keys = list(self.stack.redis.scan(f"{self.prefix}*"))
        self.stack.redis.all([("UNLINK", k) for k in keys])

    def url(self):
        return f"ws://127.0.0.1:{self.port('server')}/"

    def pids(self):
        return {**{r: p.pid for r, p in self.processes.items()}, **self.stack.pids}

    def cpu(self):
        for role, process in self.processes.items():
            if process.poll() is not None:
                raise CannotRun(f"the {role} ended with {process.returncode}: {self.log(role)}")
        return {name: cpu_s(pid) for name, pid in self.pids().items()}

    def memory(self):
        return {r: pss_bytes(p.pid) for r, p in self.processes.items()}
