# SPDX-License-Identifier: MIT
"""A steady open-loop load of pairs, with the latency of every message.

A message is due at its moment whether or not earlier ones came back, and its latency
counts from that moment, so a pause of the server is seen by everything that fell into it.
"""
import asyncio
import time

import accounts
import wsclient


def percentile(values, share):
    if not values:
        return float("nan")
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


class Pair:
    def __init__(self, sender, recipient):
        self.sender = sender
        self.recipient = recipient
        self.out = self.into = None
        self.due = {}      # id -> (due, list for its latency)
        self.lost_answers = 0
        self.errors = []

    async def connect(self, port):
        self.out = await wsclient.dial_authenticated(port, self.sender.token)
        self.into = await wsclient.dial_authenticated(port, self.recipient.token)
        self.out.on_app = self._answer
        self.into.on_app = self._arrival

    def _answer(self, _, msg):
        if msg["type"] == "error":
            self.errors.append(msg["payload"])

    def _arrival(self, conn, msg):
        if msg["type"] != "message":
            return
        now = time.monotonic()
        message_id = msg["payload"]["id"]
        due, into = self.due.pop(message_id, (None, None))
        if due is not None:
            into.append(now - due)
        conn.send("acknowledgeMessage", {"messageId": message_id, "status": "delivered"})


class Steady:
    def __init__(self, pairs, rate, rng):
        self.pairs = pairs
        self.rate = rate
        self.rng = rng

    async def connect(self, port):
        await asyncio.gather(*(p.connect(port) for p in self.pairs))

    async def measure(self, seconds):
        """Latencies of `rate * seconds` messages; what did not come in 10 s counts as 10 s."""
        loop = asyncio.get_running_loop()
        latencies = []
        prepared = [accounts.chat(p.sender.id, p.recipient.id, self.rng, 256)
                    for p in self.pairs for _ in range(int(self.rate * seconds
                                                           / len(self.pairs)))]
        self.rng.shuffle(prepared)
        by_id = {p.sender.id: p for p in self.pairs}
        start = time.monotonic() + 0.05
        for i, msg in enumerate(prepared):
            due = start + i / self.rate
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            pair = by_id[msg["from"]]
            pair.due[msg["id"]] = (due, latencies)
            pair.out.send("sendMessage", msg)
        end = loop.time() + 10
        while len(latencies) < len(prepared) and loop.time() < end:
            await asyncio.sleep(0.02)
        missing = len(prepared) - len(latencies)
        for pair in self.pairs:
            pair.due.clear()
        return latencies + [10.0] * missing, missing

    def errors(self):
        return [e for p in self.pairs for e in p.errors]

    def broken(self):
        return sum(1 for p in self.pairs if not (p.out.open and p.into.open))
