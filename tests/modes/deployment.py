# SPDX-License-Identifier: MIT
"""The relay of these tests: two servers, two gateways, two workers that can each be killed, frozen and
brought back at its old port."""
import asyncio
import os
import signal
import time
from urllib.parse import urlsplit

import stack_server
from backends import Cable
from harness import Client, Failure

READY_SECS = 90


class Part(stack_server.Process):
    extra = {}
    frozen = False

    def env(self):
        e = {**super().env(), **self.extra}
        if self.port and self.role != "worker":
            e["PORT"] = str(self.port)  # others know it
        return e

    def lives(self):
        return self.proc is not None and self.proc.returncode is None

    def freeze(self):
        self.frozen = True
        os.kill(self.proc.pid, signal.SIGSTOP)

    def thaw(self):
        self.frozen = False
        os.kill(self.proc.pid, signal.SIGCONT)

    async def crash(self):
        self.proc.kill()
        await self.proc.wait()
        self.proc = None


class Deployment(stack_server.StackServer):
    def __init__(self, suite, backends):
        super().__init__(suite, "modes", {})
        self.backends = backends
        self.parts = [Part(self, p.role, p.number) for p in self.parts]
        self.topic = f"e2e-{self.id}"

    async def start(self, wait=60):
        """The first server reaches Redis through a cable of its own."""
        url = self.backends.urls["REDIS_URL"]
        port = urlsplit(url).port
        self.cable = await Cable(port).plug()
        self.of("server")[0].extra = {"REDIS_URL": url.replace(f":{port}", f":{self.cable.port}")}
        return await super().start(wait)

    def servers(self):
        """Those that clients can reach."""
        return [p for p in self.of("server") if p.lives() and not p.frozen]

    async def open(self, number):
        """A client on that server, or on another one if it is gone."""
        there = self.servers()
        part = next((p for p in there if p.number == number), there[0])
        return await Client.open(self, url=f"ws://127.0.0.1:{part.port}/")

    async def heal(self):
        """Whatever is gone comes back; returns the seconds until all say that they are ready."""
        t0 = time.monotonic()
        for part in self.parts:
            if part.frozen:
                part.thaw()
            ended = part.proc is not None and part.proc.returncode is not None
            if ended:
                raise Failure(f"{part.name} ended by itself with {part.proc.returncode}: "
                              + self.text()[-800:])
        await asyncio.gather(*(p.start() for p in self.parts if not p.lives()))
        await asyncio.gather(*(p.ready(READY_SECS) for p in self.parts))
        return time.monotonic() - t0

    def kill_now(self):
        for p in self.parts:
            if p.frozen and p.lives():
                p.thaw()
        super().kill_now()
