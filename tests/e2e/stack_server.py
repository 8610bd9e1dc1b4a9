# SPDX-License-Identifier: MIT
"""A relay as a deployment runs it: two servers, two gateways, two workers on a stack of
ops/stack.sh.  To a test it is a Server; its clients go to the two servers by turns.

Each relay has topics and a prefix of Redis keys of its own; PostgreSQL is shared, since its users are.
"""
import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

import harness
from harness import Failure, REPO, Server

ROLES = ("gateway", "worker", "server")
COPIES = 2
PARTITIONS = 6
# Relays of tests about a limit that each server has for itself.
ONE_SERVER = {"few", "registrations"}


def read_env(path):
    pairs = (ln.split("=", 1) for ln in Path(path).read_text().splitlines()
             if ln and not ln.startswith("#"))
    return {k: v for k, v in pairs}


class Stack:
    """The backends, and what has to be done once."""

    def __init__(self, folder, binary):
        self.dir, self.binary = Path(folder).resolve(), binary
        self.env = read_env(self.dir / "env")
        port = self.dir / "ports" / "kafka-admin"  # the mock has none, and makes topics by itself
        self.admin = "127.0.0.1:" + port.read_text().strip() if port.exists() else None
        subprocess.run([str(binary), "migrate"], check=True, env={**os.environ, **self.env},
                       stdout=subprocess.DEVNULL)

    def topics(self, name):
        if self.admin is None:
            return
        subprocess.run(["python3", "-B", str(REPO / "ops/kafka/admin.py"), "create", self.admin,
                        str(PARTITIONS), name, f"{name}-delivery-ack", f"{name}-dead-letter"],
                       check=True)


class Process:
    """One process of a role."""

    def __init__(self, relay, role, number):
        self.relay, self.role, self.number = relay, role, number
        self.name = f"{role}-{number}"
        self.proc = self.port = self.health = None
        self.exits = []

    def env(self):
        e = dict(self.relay.env())
        e["PORT_FILE"] = str(self.relay.dir / f"{self.name}.port")
        if self.role != "server":
            e.update(HEALTH_PORT="0")
            e.pop("TLS_CERT_FILE", None)
            e.pop("TLS_KEY_FILE", None)
        else:
            e["MESSAGE_GATEWAY_URL"] = ",".join(
                f"http://127.0.0.1:{g.port}" for g in self.relay.of("gateway"))
        return e

    async def start(self, wait=60):
        port = Path(self.env()["PORT_FILE"])
        health = Path(f"{port}.health")
        for f in (port, health):
            f.unlink(missing_ok=True)
        with open(self.relay.log, "ab") as log, open(self.relay.out, "ab") as out:
            self.proc = await asyncio.create_subprocess_exec(
                str(self.relay.suite.binary), self.role, env=self.env(), cwd=self.relay.dir,
                stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True)
        end = time.monotonic() + wait
        while not port.exists():
            if self.proc.returncode is not None:
                raise Failure(f"{self.name} of {self.relay.name} ended with "
                              f"{self.proc.returncode} at its start: "
                              + self.relay.text()[-800:])
            if time.monotonic() > end:
                raise Failure(f"{self.name} wrote no PORT_FILE within {wait} s")
            await asyncio.sleep(0.02)
        self.port = int(port.read_text())
        self.health = int(health.read_text()) if health.exists() else self.port
        return self

    async def get(self, path):
        """(status, body) of its HTTP port."""
        r, w = await asyncio.open_connection("127.0.0.1", self.health)
        w.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        data = await asyncio.wait_for(r.read(), harness.OP)
        w.close()
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    async def ready(self, wait=60):
        end = time.monotonic() + wait
        last = None
        while True:
            with contextlib.suppress(OSError, IndexError, asyncio.TimeoutError):
                last = await self.get("/health/ready")
                if last[0] == 200:
                    return
            if time.monotonic() > end:
                raise Failure(f"{self.name} is not ready within {wait} s: {last}; "
                              + self.relay.text()[-1500:])
            await asyncio.sleep(0.1)

    async def stop(self, wait=40):
        if self.proc is None:
            return 0
        if self.proc.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.proc.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self.proc.wait(), wait)
        except asyncio.TimeoutError:
            self.proc.kill()
            await self.proc.wait()
            code = f"{self.name}: none within {wait} s of SIGTERM (killed)"
        self.proc = None
        self.exits.append(code)
        return code

    def kill(self):
        if self.proc is not None and self.proc.returncode is None:
            self.proc.kill()


class StackServer(Server):
    def __init__(self, suite_, name, env):
        super().__init__(suite_, name, env)
        self.id = f"{name}-{secrets.token_hex(4)}"
        self.parts = [Process(self, role, n) for role in ROLES
                      for n in range(1 if role == "server" and name in ONE_SERVER else COPIES)]
        self.turn = 0
        self.has_topics = False

    def of(self, role):
        return [p for p in self.parts if p.role == role]

    def env(self):
        e = super().env()
        for k, v in self.suite.stack.env.items():
            if k in ("DATABASE_URL",) or k not in self.extra:
                e[k] = v
        e.update(KAFKA_TOPIC=f"e2e-{self.id}", KAFKA_CONSUMER_GROUP=f"e2e-{self.id}",
                 DELIVERY_QUEUE_PREFIX=f"e2e-{self.id}:", ONLINE_CHANNEL=f"e2e-{self.id}",
                 WORKER_THREADS="1", TOP_SOCKET="off", DB_MAX_CONNECTIONS="2")
        return e

    async def start(self, wait=60):
        if not self.has_topics:
            await asyncio.to_thread(self.suite.stack.topics, f"e2e-{self.id}")
            self.has_topics = True
        for role in ROLES:
            await asyncio.gather(*(p.start(wait) for p in self.of(role) if p.proc is None))
        await asyncio.gather(*(p.ready(wait) for p in self.parts))
        self.port, self.proc = self.of("server")[0].port, self.of("server")[0].proc
        return self

    async def stop(self, wait=40):
        t0 = time.monotonic()
        codes = []
        for role in reversed(ROLES):
            codes += await asyncio.gather(*(p.stop(wait) for p in self.of(role)))
        self.proc = None
        bad = [c for c in codes if c != 0]
        self.exits += bad
        return (bad[0] if bad else 0), time.monotonic() - t0

    def kill_now(self):
        for p in self.parts:
            p.kill()

    def url(self, path="/"):
        self.turn += 1
        servers = self.of("server")
        return f"ws://127.0.0.1:{servers[self.turn % len(servers)].port}{path}"
