# SPDX-License-Identifier: MIT
"""Five users who do the four things while a backend is away, and look afterwards for what was accepted.

ann (server 0) and bob (server 1) are connected before; cid has never been, dan has a session and a message
that waits for him, eve has her password only.
"""
import asyncio
import time

from harness import Client, Closed, Failure, User, check, is_answer

ANSWER_SECS = 15  # protocol.md 2, "What an answer means", 1
SLACK_SECS = 2    # of a busy machine
LIVE_SECS = 10
LATER_SECS = 2
RETRY_SECS = 1
QUIET_USERS = 3  # whose partitions may see nothing else during the row
AFTER_SECS = 100  # more than HEARTBEAT_INTERVAL_SECS, after which lost routes are back


class Letter:
    """A message, and what was said about it."""

    def __init__(self, body, sender, reader, what):
        self.body, self.id, self.sender, self.reader = body, body["id"], sender, reader
        self.what = what
        self.answer = None

    @property
    def is_accepted(self):
        return self.answer in ("accepted", "DUPLICATE_MESSAGE")


def outcome(frame):
    if frame["type"] == "ack":
        return frame["payload"]["status"]
    return frame["payload"]["code"] if frame["type"] == "error" else frame["type"]


async def answer_to(client, kind, payload, message_id=None):
    """What came within the 15 s: a type or code; `closed`; `silence`, which no row allows."""
    def fits(m):
        if message_id is not None:
            return is_answer(m) and m["payload"].get("messageId") == message_id
        return m["type"] not in ("message", "ack")
    try:
        await client.send(kind, payload)
        return outcome(await client.take(fits, ANSWER_SECS + SLACK_SECS, kind))
    except Closed:
        return "closed"
    except Failure as e:
        if "nothing within" not in str(e):
            raise
        return "silence"


class Scene:
    @classmethod
    async def make(cls, d):
        """The users, once for all rows."""
        self = cls()
        self.d, self.letters, self.clients, self.past = d, [], {}, []
        self.ann, self.bob, self.cid, self.dan, self.eve = (User() for _ in range(5))
        self.quiet = [User() for _ in range(QUIET_USERS)]
        for u in (self.ann, self.bob, self.cid, self.dan, self.eve, *self.quiet):
            c = await self.d.open(0)
            await c.register(u)
            await c.close()
        return self

    async def open(self, number):
        c = await self.d.open(number)
        self.past.append(c)
        return c

    async def enter(self, user, number):
        """Connected by the session, or by the password when that session is known to be lost."""
        c = await self.open(number)
        if user.token and await answer_to(
                c, "connect", {"sessionToken": user.token}) == "connectSuccess":
            c.user = user
        else:
            await c.login(user)
        return c

    async def begin(self):
        """What is there before the row: two who are connected, a message that waits, one to be settled."""
        self.letters = []
        self.home = {self.ann: 0, self.bob: 1}
        for user, number in self.home.items():
            self.clients[user] = await self.enter(user, number)
        self.waiting = await self.post(self.ann, self.dan, "the one that waited")
        check(self.waiting.is_accepted, "sends are accepted before the row", self.waiting.answer)
        for user in self.quiet:
            await self.post(self.ann, user, "the one of a quiet partition")
        for letter in self.letters:
            c = await self.enter(letter.reader, 0)
            await self.read(c, letter, AFTER_SECS)  # so it lies in the inbox, and is not settled
            self.past.remove(c)
            await c.close()
        self.settled = await self.post(self.ann, self.bob, "the one to be acknowledged")
        await self.read(self.clients[self.bob], self.settled, AFTER_SECS)

    async def post(self, sender, reader, what):
        c = self.clients[sender]
        letter = Letter(c.chat(reader), sender, reader, what)
        self.letters.append(letter)
        letter.answer = await answer_to(c, "sendMessage", letter.body, letter.id)
        return letter

    @staticmethod
    async def read(client, letter, secs):
        m = await client.take(lambda m: m["type"] == "message" and m["payload"]["id"] == letter.id,
                              secs, letter.what)
        check(m["payload"]["content"] == letter.body["content"], "the message as it was sent")

    # -- the row

    async def reconnect(self):
        """Who was thrown out comes back by his session, where he can."""
        for user, number in self.home.items():
            if self.clients[user].done:
                c = await self.open(number)
                if await answer_to(c, "connect",
                                   {"sessionToken": user.token}) == "connectSuccess":
                    c.user = user
                    self.clients[user] = c

    async def connect(self, number, live_secs):
        """(answer, does what waits for him come)"""
        c = await self.d.open(number)
        said = await answer_to(c, "connect", {"sessionToken": self.dan.token})
        came = "later"
        if said == "connectSuccess":
            came = await self.came(c, self.waiting, live_secs)
        c.abort()
        return said, came

    async def login(self, number):
        c = await self.d.open(number)
        said = await answer_to(c, "login", {"username": self.eve.name,
                                            "password": self.eve.password})
        c.abort()
        return said

    async def came(self, client, letter, secs):
        try:
            await self.read(client, letter, secs)
            return "now"
        except Closed:
            return "later"
        except Failure as e:
            if "nothing within" not in str(e):
                raise
            return "later"

    async def acknowledge(self, letter):
        """`pong`: it counts as processed; SERVER_ERROR: the message comes again."""
        c = self.clients[self.bob]
        try:
            await c.acknowledge(letter.id)
            await c.ping(ANSWER_SECS + SLACK_SECS)
        except asyncio.TimeoutError:
            return "silence"
        except Exception:
            return "closed"
        errors = [m for m in c.frames if m["type"] == "error"
                  and m["payload"].get("messageId") == letter.id]
        return outcome(errors[0]) if errors else "pong"

    async def send_and_look(self, sender, reader, wait, what):
        letter = await self.post(sender, reader, what)
        secs = LIVE_SECS if "now" in wait else LATER_SECS
        if not letter.is_accepted or reader not in self.clients:
            return letter.answer, None
        return letter.answer, await self.came(self.clients[reader], letter, secs)

    async def act(self, cells, numbers):
        """All at once; {column: [what was seen]}."""
        await self.reconnect()
        wait = cells["receive"]
        secs = LIVE_SECS if "now" in cells["waiting"] else LATER_SECS
        acts = [self.connect(n, secs) for n in numbers]
        sends = [self.send_and_look(self.ann, self.bob, wait, "ann's to bob"),
                 self.send_and_look(self.bob, self.ann, wait, "bob's to ann"),
                 self.send_and_look(self.ann, self.cid, wait, "ann's to cid")]
        got = await asyncio.gather(self.login(numbers[0]), self.acknowledge(self.settled), *sends, *acts)
        login, ack, rest = got[0], got[1], got[2:]
        sent, connected = rest[:len(sends)], rest[len(sends):]
        return {"connect": [c[0] for c in connected],
                "waiting": [c[1] for c in connected if c[0] == "connectSuccess"],
                "login": [login], "acknowledge": [ack], "send": [s[0] for s in sent],
                "receive": [s[1] for s in sent if s[1] is not None]}

    # -- after it

    async def end(self):
        """Everything accepted is there; what was refused passes now, with its own id; receipts come."""
        for user, number in self.home.items():
            if self.clients[user].done:
                self.clients[user] = await self.enter(user, number)
        for letter in self.letters:
            until = time.monotonic() + AFTER_SECS
            while not letter.is_accepted and time.monotonic() < until:
                letter.answer = await answer_to(self.clients[letter.sender], "sendMessage",
                                                letter.body, letter.id)
                await asyncio.sleep(0 if letter.is_accepted else RETRY_SECS)
            check(letter.is_accepted, "a refused message may be sent again", letter.answer)
        for user in (self.cid, self.dan, *self.quiet):
            self.clients[user] = await self.enter(user, 1)
        for letter in self.letters:
            await self.arrived(letter)
        for letter in self.letters:
            await self.receipt(letter)

    def heard(self, user, fits):
        """Has any of his connections of this row seen it?"""
        return any(fits(m) for c in self.past if c.user is user for m in c.seen)

    async def arrived(self, letter):
        c = self.clients[letter.reader]
        if not self.heard(letter.reader,
                          lambda m: m["type"] == "message" and m["payload"]["id"] == letter.id):
            await self.read(c, letter, AFTER_SECS)
        await c.acknowledge(letter.id)
        await c.ping(ANSWER_SECS + SLACK_SECS)

    async def receipt(self, letter):
        def fits(m):
            return m["type"] == "ack" and m["payload"] == {"messageId": letter.id,
                                                           "status": "delivered"}
        if not self.heard(letter.sender, fits):
            await self.clients[letter.sender].take(
                fits, AFTER_SECS, f"the receipt of {letter.what}")

    async def leave(self):
        for c in self.past:
            c.abort()
        self.clients, self.past = {}, []
