# SPDX-License-Identifier: MIT
"""One process of attackers.  Reads its task as JSON from stdin, prints its figures as JSON.

Counted is only what the server is sure to have read: a frame when a ping behind it was
answered (or, at the end of a connection, the one that closed it), a request when the server
had answered, closed, or had had its time.
"""
import asyncio
import collections
import json
import os
import random
import sys

import uvloop

import hostile_gen
import wsclient

BATCH = 25  # frames between two pings


class Worker:
    def __init__(self, task):
        self.port = task["port"]
        self.quota = dict(task["quota"])  # kind -> how many are still to be done
        self.people = task["people"]
        self.folder = task["folder"]
        self.number = task["number"]
        self.rng = random.Random(f"hostile:{task['seed']}:{self.number}")
        self.done = collections.Counter()
        self.notes = collections.Counter()
        self.recent = collections.deque(maxlen=400)  # (kind, bytes), for a crash

    def sent(self, kind, data):
        self.recent.append(f"{kind} {data.hex()}")

    def finished(self, kind, count):
        self.done[kind] += count
        self.quota[kind] -= count

    # application frames on living connections
    async def frames(self, kind, account, rng):
        ids = [p["id"] for p in self.people]
        while self.quota[kind] > 0:
            gen = hostile_gen.Frames(rng, account["id"], ids)
            conn = await self.enter(kind, account)
            if conn is None:
                continue
            conn.on_app = lambda _, m: self.on_app(gen, m)
            while conn.open and self.quota[kind] > 0:
                batch = [gen.bytes() for _ in range(BATCH)]
                for raw in batch:
                    self.sent(kind, raw)
                    conn.send_raw(wsclient.frame(wsclient.BINARY if rng.random() < 0.996
                                                 else wsclient.TEXT, raw))
                alive = await self.pong(conn)
                self.finished(kind, BATCH if alive else 1)
                if alive is None:
                    self.notes["no pong in 10 s"] += 1
            if not conn.open:
                self.notes[f"{kind}: closed with {conn.close_code}"] += 1
            conn.abort()

    def on_app(self, gen, msg):
        if isinstance(msg, dict):
            body = msg.get("payload") or {}
            self.notes["answer " + str(body.get("code") or body.get("status")
                                       or msg.get("type"))] += 1
            if msg.get("type") == "message" and len(gen.seen) < 100:
                gen.seen.append((body.get("from"), body.get("id")))

    async def enter(self, kind, account):
        try:
            if kind == "authenticated":
                return await wsclient.dial_authenticated(self.port, account["token"])
            return await wsclient.dial(self.port)
        except wsclient.Refused as why:
            self.notes[f"connect refused: {why.code}"] += 1
        except (OSError, wsclient.DialError, asyncio.TimeoutError) as why:
            self.notes[f"no connection: {type(why).__name__}"] += 1
        await asyncio.sleep(0.05)
        return None

    async def pong(self, conn):
        """True: answered; False: closed; None: neither in time."""
        got = asyncio.get_running_loop().create_future()
        conn.on_pong = lambda *_: got.done() or got.set_result(True)
        conn.ping(b"b")
        await asyncio.wait({got, conn.closed}, timeout=10,
                           return_when=asyncio.FIRST_COMPLETED)
        if got.done():
            return True
        if conn.closed.done():
            return False
        conn.abort()
        return None

    # one connection for each
    async def requests(self, kind, rng):
        while self.quota[kind] > 0:
            data = hostile_gen.http(rng) if kind == "http" else hostile_gen.handshake(rng)
            if await self.exchange(kind, data, rng):
                self.finished(kind, 1)
            else:
                await asyncio.sleep(0.05)

    async def framing(self, kind, rng):
        gen = hostile_gen.Frames(rng, self.people[0]["id"], [self.people[0]["id"]])
        while self.quota[kind] > 0:
            data = hostile_gen.bad_frames(rng, gen.bytes())
            hello = wsclient.handshake_request(wsclient.new_key())
            if await self.exchange(kind, data, rng, hello):
                self.finished(kind, 1)
            else:
                await asyncio.sleep(0.05)

    async def exchange(self, kind, data, rng, hello=None):
        """Connects, sends, reads what comes for a moment, and leaves in one way or another."""
        self.sent(kind, data)
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", self.port), 5)
        except (OSError, asyncio.TimeoutError) as why:
            self.notes[f"no connection: {type(why).__name__}"] += 1
            return False
        good = True
        try:
            if hello:
                writer.write(hello)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                good = head.startswith(b"HTTP/1.1 101")
                self.notes["framing without 101"] += not good
            if rng.random() < 0.1 and len(data) > 2:
                cut = rng.randrange(1, len(data))
                writer.write(data[:cut])
                await asyncio.sleep(0.002)
                data = data[cut:]
            writer.write(data)
            if rng.random() < 0.1:
                writer.write_eof()
            await self.listen(kind, reader, hello)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass
        if rng.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()
        return good

    async def listen(self, kind, reader, hello):
        first = True
        while True:
            try:
                data = await asyncio.wait_for(reader.read(65536), 0.05)
            except asyncio.TimeoutError:
                return
            if not data:
                return
            if first and not hello:
                self.notes[f"{kind}: {data[:12].decode('latin-1')!r}"] += 1
            first = False

    async def run(self):
        jobs = []
        for i, account in enumerate(self.people):
            kind = "authenticated" if i % 2 == 0 else "unauthenticated"
            jobs.append(self.frames(kind, account, self.fork(i)))
        for i in range(12):
            jobs.append(self.requests("http", self.fork(100 + i)))
            jobs.append(self.requests("handshake", self.fork(200 + i)))
            jobs.append(self.framing("framing", self.fork(300 + i)))
        dump = asyncio.create_task(self.keep_recent())
        await asyncio.gather(*jobs)
        dump.cancel()

    def fork(self, i):
        return random.Random(f"{self.rng.random()}:{i}")

    async def keep_recent(self):
        """The last input, on disk, for the case that the server falls over."""
        path = os.path.join(self.folder, f"recent-{self.number}.txt")
        while True:
            await asyncio.sleep(0.5)
            if self.notes["no connection: ConnectionRefusedError"]:
                with open(path, "w") as f:
                    f.write("\n".join(self.recent) + "\n")
                return


def main():
    worker = Worker(json.load(sys.stdin))
    os.nice(5)  # the honest client and the server come first
    uvloop.run(worker.run())
    print(json.dumps({"done": worker.done, "notes": worker.notes}))


if __name__ == "__main__":
    main()
