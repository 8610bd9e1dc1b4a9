# SPDX-License-Identifier: MIT
"""Puts the backends of a stack of ops/stack.sh into the states of docs/failure-modes.md, and heals them.

Kafka is asked by its own protocol (ops/kafka/admin.py), the others by their stock programs.
"""
import asyncio
import os
import signal
import struct
import sys
from pathlib import Path
from urllib.parse import urlsplit

from harness import Failure, REPO

sys.path.insert(0, str(REPO / "ops/kafka"))
import admin  # noqa: E402

# Sources: the Kafka protocol guide (DeleteTopics v1, DeleteRecords v0, IncrementalAlterConfigs v0).
DELETE_TOPICS, DELETE_RECORDS, ALTER_CONFIGS = 20, 21, 44
OF_TOPIC, SET, DELETE = 2, 0, 1
TO_THE_END = -1
ASK_MS = 10000


async def run(*args, env=None, timeout=120):
    p = await asyncio.create_subprocess_exec(
        *(str(a) for a in args), env={**os.environ, **(env or {})}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        out = (await asyncio.wait_for(p.communicate(), timeout))[0].decode(errors="replace")
    finally:
        if p.returncode is None:
            p.kill()
    if p.returncode != 0:
        raise Failure(f"{Path(args[0]).name} {args[1]} ended with {p.returncode}: {out[-400:]}")
    return out.strip()


def working_in(folder):
    """Processes whose working folder is there: PostgreSQL's are many."""
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            if (os.readlink(proc / "cwd") + "/").startswith(f"{folder}/"):
                yield int(proc.name)
        except OSError:
            pass


class Backends:
    def __init__(self, folder, env):
        self.dir, self.urls = Path(folder).resolve(), env
        self.admin = "127.0.0.1:" + (self.dir / "ports/kafka-admin").read_text().strip()

    async def stop(self, name):
        await run(REPO / "ops/stack.sh", "down", "--only", name, self.dir)

    async def start(self, name):
        await run(REPO / "ops/stack.sh", "up", "--only", name, self.dir)

    def main_pid(self, name):
        return int((self.dir / f"{name}.pid").read_text().split()[0])

    def freeze(self, name):
        """Its port is open and takes bytes; nothing answers."""
        os.kill(self.main_pid(name), signal.SIGSTOP)  # first: it makes no new children
        for pid in working_in(self.dir / name):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, name):
        os.kill(self.main_pid(name), signal.SIGCONT)
        for pid in working_in(self.dir / name):
            os.kill(pid, signal.SIGCONT)

    async def sql(self, *statements):
        u = urlsplit(self.urls["DATABASE_URL"])
        for one in statements:
            await run("psql", "-XAtq", "-h", u.hostname, "-p", u.port, "-U", u.username, "-d",
                      u.path[1:], "-c", one, env={"PGPASSWORD": u.password})

    async def redis(self, *words):
        u = urlsplit(self.urls["REDIS_URL"])
        out = await run("redis-cli", "-h", u.hostname, "-p", u.port, *words,
                        env={"REDISCLI_AUTH": u.password or ""})
        if out != "OK":
            raise Failure(f"redis-cli {words[0]}: {out}")

    # -- topics

    async def topic_limit(self, name, max_bytes):
        """No record above max_bytes; None: the broker's own limit again."""
        value = struct.pack(">h", -1) if max_bytes is None else admin.text(str(max_bytes))
        body = (struct.pack(">ib", 1, OF_TOPIC) + admin.text(name) + struct.pack(">i", 1)
                + admin.text("max.message.bytes")
                + struct.pack(">b", DELETE if max_bytes is None else SET) + value + b"\0")
        answer = await asyncio.to_thread(admin.ask, self.admin, ALTER_CONFIGS, 0, body)
        answer.take("i")
        self.no_errors("limit", answer.each(lambda: (answer.take("h"), answer.text(),
                                                     answer.take("b"), answer.text())[0]))

    async def topic_empty(self, name, partitions):
        body = struct.pack(">i", 1) + admin.text(name) + struct.pack(">i", partitions)
        for p in range(partitions):
            body += struct.pack(">iq", p, TO_THE_END)
        answer = await asyncio.to_thread(admin.ask, self.admin, DELETE_RECORDS, 0,
                                         body + struct.pack(">i", ASK_MS))
        answer.take("i")

        def topic():
            answer.text()
            return answer.each(lambda: answer.take("iqh")[2])

        for codes in answer.each(topic):
            self.no_errors("records", codes)

    async def topic_delete(self, name):
        body = struct.pack(">i", 1) + admin.text(name) + struct.pack(">i", ASK_MS)
        answer = await asyncio.to_thread(admin.ask, self.admin, DELETE_TOPICS, 1, body)
        answer.take("i")
        self.no_errors("topic", answer.each(lambda: (answer.text(), answer.take("h"))[1]))

    async def topic_make(self, name, partitions):
        await asyncio.to_thread(admin.create_all, self.admin, partitions, [name])

    @staticmethod
    def no_errors(what, codes):
        if not codes or any(codes):
            raise Failure(f"Kafka refuses ({what}): {codes}")


class Cable:
    """A TCP relay in front of one port, which can be cut."""

    def __init__(self, port):
        self.target, self.server, self.port, self.ends = port, None, 0, set()

    async def plug(self):
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def cut(self):
        self.server.close()
        for w in list(self.ends):
            w.transport.abort()

    async def carry(self, r, w):
        self.ends.add(w)
        try:
            r2, w2 = await asyncio.open_connection("127.0.0.1", self.target)
            self.ends.add(w2)
            await asyncio.gather(self.copy(r, w2), self.copy(r2, w))
            self.ends.discard(w2)
        except OSError:
            w.transport.abort()
        finally:
            self.ends.discard(w)

    @staticmethod
    async def copy(r, w):
        try:
            while data := await r.read(65536):
                w.write(data)
                await w.drain()
        except OSError:
            pass
        finally:
            w.close()
