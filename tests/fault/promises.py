# SPDX-License-Identifier: MIT
"""Kills at the very moment of a promise: the pong behind acknowledgements.

The crowd of part_kill meets these moments seldom; here they are the rule.
"""
import asyncio

import accounts
import wsclient

ROUNDS = 12
MESSAGES = 150


class Reader:
    """Collects messages and the moment of its pong."""

    def __init__(self):
        self.seen = []
        self.conn = None
        self.pong = asyncio.get_running_loop().create_future()

    async def connect(self, port, token):
        """Messages count from connectSuccess on, so the handlers are there before it."""
        self.conn = await wsclient.dial(port)
        self.conn.on_app = self._on_app
        self.conn.on_pong = lambda *_: self.pong.done() or self.pong.set_result(None)
        await self.conn.ask("connect", {"sessionToken": token}, "connectSuccess")

    def _on_app(self, _, msg):
        if msg["type"] == "message":
            self.seen.append(msg["payload"]["id"])

    async def wait_for(self, count, timeout=40):
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while len(self.seen) < count and loop.time() < end:
            await asyncio.sleep(0.002)
        return len(self.seen) >= count

    def acknowledge_all(self):
        for message_id in self.seen:
            self.conn.send("acknowledgeMessage", {"messageId": message_id,
                                                  "status": "delivered"})


async def one_round(srv, people, rng, readers):
    """Everyone acknowledges everything, the last one asks; killed at his pong.
    Returns how many came again, None when the round could not be set up."""
    sender = await wsclient.dial_authenticated(srv.port, people[0].token)
    crowd = [Reader() for _ in range(readers)]
    for reader in crowd:
        await reader.connect(srv.port, people[1].token)
    for _ in range(MESSAGES):
        sender.send("sendMessage", accounts.chat(people[0].id, people[1].id, rng, 100))
    for reader in crowd:
        if not await reader.wait_for(MESSAGES):
            return None
    for reader in crowd:
        reader.acknowledge_all()
    # Killed where the pong is read: any later, and the disk may have caught up.
    crowd[-1].conn.on_pong = lambda *_: (srv.proc.kill(), crowd[-1].pong.set_result(None))
    crowd[-1].conn.ping(b"?")
    await asyncio.wait_for(crowd[-1].pong, 15)
    await srv.kill()
    for conn in [sender] + [r.conn for r in crowd]:
        conn.abort()
    await srv.start()
    late = Reader()
    await late.connect(srv.port, people[1].token)
    await late.wait_for(1, 0.4)
    again = len(late.seen)
    late.acknowledge_all()
    late.conn.ping(b"?")
    await asyncio.wait_for(late.pong, 15)
    late.conn.close()
    return again


async def check(ctx, srv, people):
    for readers, name in ((1, "acknowledged and asked"),
                          (2, "acknowledged by two, the second asked")):
        results = [await one_round(srv, people, ctx.rng, readers) for _ in range(ROUNDS)]
        ctx.check(f"killed at the pong, {name}: none comes again", set(results) == {0},
                  f"{MESSAGES} messages a round; came again: {results}")
