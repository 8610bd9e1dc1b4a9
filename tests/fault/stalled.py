# SPDX-License-Identifier: MIT
"""A client that stops reading, and one who fills its inbox."""
import asyncio
import socket

import accounts
import history
import wsclient


class Stalled:
    """Authenticates with a tiny receive buffer and then does not read.

    The kernel takes some hundred KB on the server's side and next to nothing here; all
    else has to wait in the server, and there it has to be bounded.
    """

    def __init__(self, account):
        self.account = account
        self.conn = None
        self.seen = []   # (from, id, digest) in order of sight
        self.bytes = 0

    async def connect(self, port):
        self.conn = await wsclient.dial(port, rcvbuf=4096)
        self.conn.on_app = self._on_app
        done = self.conn.expect(lambda m: m["type"] == "connectSuccess")
        # Set by hand, so that not one byte is read after the success.
        done.add_done_callback(lambda _: self.conn.transport.pause_reading())
        self.conn.send("connect", {"sessionToken": self.account.token})
        await asyncio.wait_for(done, 30)

    def _on_app(self, _, msg):
        if msg["type"] == "message":
            body = msg["payload"]
            self.seen.append((body["from"], body["id"], history.digest(body)))
            self.bytes += len(body["content"])

    async def resume(self, count, timeout):
        """Reads on until `count` messages were seen, then a moment longer for surplus."""
        sock = self.conn.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.conn.transport.resume_reading()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while len(self.seen) < count and loop.time() < end and self.conn.open:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)

    async def acknowledge(self):
        """Acknowledges everything and makes sure that it counted."""
        pong = asyncio.get_running_loop().create_future()
        self.conn.on_pong = lambda _, payload: payload == b"sure" and pong.set_result(None)
        for sender, message_id, _ in self.seen:
            self.conn.send("acknowledgeMessage", {"messageId": message_id, "from": sender,
                                                  "status": "delivered"})
        self.conn.ping(b"sure")
        await asyncio.wait_for(pong, 60)


class Filler:
    """Sends large messages to one user, some in flight, and counts the answers."""

    WINDOW = 8

    def __init__(self, account, to, rng):
        self.account = account
        self.to = to
        self.rng = rng
        self.conn = None
        self.sent = []      # (from, id, digest) in order
        self.accepted = []  # ids in order of the answers
        self.refused = []   # error payloads
        self.bytes = 0
        self.room = asyncio.Semaphore(self.WINDOW)

    async def connect(self, port):
        self.conn = await wsclient.dial_authenticated(port, self.account.token)
        self.conn.on_app = self._on_app

    def _on_app(self, _, msg):
        body = msg.get("payload", {})
        if msg["type"] == "ack" and body["status"] == "accepted":
            self.accepted.append(body["messageId"])
            self.room.release()
        elif msg["type"] == "error":
            self.refused.append(body)
            self.room.release()

    async def send(self, size):
        await asyncio.wait_for(self.room.acquire(), 60)
        msg = accounts.chat(self.account.id, self.to.id, self.rng, size)
        self.sent.append((msg["from"], msg["id"], history.digest(msg)))
        self.bytes += len(msg["content"])
        self.conn.send("sendMessage", msg)

    async def fill(self, total, low, high):
        """Sends until `total` bytes of content have gone out, and waits for the answers."""
        end = self.bytes + total
        while self.bytes < end:
            await self.send(self.rng.randint(low, high))
        await self.settled()

    async def settled(self):
        for _ in range(self.WINDOW):
            await asyncio.wait_for(self.room.acquire(), 60)
        for _ in range(self.WINDOW):
            self.room.release()
