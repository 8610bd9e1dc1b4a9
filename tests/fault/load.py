# SPDX-License-Identifier: MIT
"""A crowd of users with random habits, writing down everything they see.

Habits that make the written history judgeable: a user sends on one connection at a time,
and after a reconnect sends what has no answer yet again, in the old order and with the
same ids, before anything new.
"""
import asyncio
import uuid

import accounts
import history
import wsclient

WINDOW = 8       # unanswered sends of a user
FRIENDS = 5      # most messages go to these, so that order has something to break
RETRY_SECS = 0.5  # after an error
SESSION_GONE = ("sessionExpired", "INVALID_TOKEN")


class Habits:
    """How the crowd behaves; changed while it runs."""

    def __init__(self):
        self.sending = True
        self.leaving = True       # disconnect now and then
        self.withhold = 0.15      # share of messages not acknowledged at first
        self.late = 0.15          # share acknowledged after a while
        self.pause = 0.15         # seconds between two steps of a user, mean
        self.logs_in = False      # with his password, when his session is gone
        self.sync_every = None    # seconds between pings that confirm acknowledgements
        self.stopped = False


class Crowd:
    def __init__(self, server, hist, rng, people, habits=None, listeners=0.15):
        self.server = server
        self.hist = hist
        self.rng = rng
        self.habits = habits or Habits()
        self.next_conn = 0
        self.unexpected = {}  # kind of frame or error -> count
        self.errors = []      # of the test itself
        self.shared_ids = set()  # message ids that two senders use
        self.users = [User(self, i, account) for i, account in enumerate(people)]
        for user in self.users:
            others = [u for u in self.users if u is not user]
            user.friends = rng.sample(others, min(FRIENDS, len(others)))
            user.listens = rng.random() < listeners
            hist.add("user", u=user.number, name=user.account.name, id=user.account.id)
        self.by_id = {u.account.id.lower(): u for u in self.users}
        self.tasks = []

    def start(self):
        for user in self.users:
            self.tasks.append(asyncio.create_task(user.live()))
            if user.listens:
                self.tasks.append(asyncio.create_task(user.listen()))

    def connected(self):
        return [s for u in self.users for s in u.sessions]

    async def sent_enough(self, accepted, timeout=90.0):
        """Goes on until as many sends were accepted: a slow machine needs longer than the faults take."""
        end = asyncio.get_running_loop().time() + timeout
        while self.hist.accepted < accepted and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.1)

    def undone(self):
        """Messages that still wait for something, as (unanswered, not delivered, not seen)."""
        return (sum(len(u.pending) for u in self.users),
                sum(len(u.undelivered) for u in self.users),
                sum(len(u.withheld) for u in self.users))

    async def drain(self, timeout):
        """No new sends; everyone reconnects, acknowledges all, until nothing is left."""
        h = self.habits
        h.sending = h.leaving = False
        h.withhold = h.late = 0.0
        h.sync_every = 0.5
        self.reconnect_all()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while any(self.undone()) and loop.time() < end:
            await asyncio.sleep(0.1)
        left = self.undone()
        await asyncio.sleep(1.5)  # syncs, and second copies that should not come
        return left

    def reconnect_all(self):
        for session in self.connected():
            session.leave(clean=self.rng.random() < 0.5)

    async def stop(self):
        self.habits.stopped = True
        for session in self.connected():
            session.leave(clean=True)
        # Again and again: wait_for() of Python before 3.12 may swallow a cancellation.
        left = set(self.tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1.0)
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        for error in self.errors + [r for r in results if isinstance(r, Exception)]:
            raise error


class Session:
    """One authenticated connection of a user."""

    def __init__(self, user, number, conn, role):
        self.user = user
        self.crowd = user.crowd
        self.number = number
        self.conn = conn
        self.role = role
        self.pings = 0
        self.unsynced = []
        self.left_by_us = False
        self.gone = asyncio.Event()
        self.refusal = None
        self.answered = asyncio.Event()  # `connect` has its answer, or the connection is gone
        conn.on_app = self.on_app
        conn.on_pong = self.on_pong
        conn.on_closed = self.on_closed

    def note(self, kind, **fields):
        self.crowd.hist.add(kind, c=self.number, **fields)

    # what we do
    def send(self, msg):
        self.note("send", u=self.user.number, m=msg["id"], h=history.digest(msg),
                  to=self.crowd.by_id[msg["to"].lower()].number)
        self.conn.send("sendMessage", msg)

    def ack(self, message_id, sender, name_sender):
        payload = {"messageId": message_id, "status": "delivered"}
        if name_sender:
            payload["from"] = sender
        self.note("ack", m=message_id, **{"from": sender})
        self.conn.send("acknowledgeMessage", payload)
        self.user.acked.add((sender, message_id))
        self.user.withheld.pop((sender, message_id), None)

    def sync(self):
        self.pings += 1
        self.note("ping", p=self.pings)
        self.conn.ping(str(self.pings).encode())

    def leave(self, clean):
        self.left_by_us = True
        if clean:
            self.conn.close()
        else:
            self.conn.abort()

    # what we see
    def on_app(self, _, msg):
        kind, body = msg["type"], msg.get("payload", {})
        if kind == "message":
            self._on_message(body)
        elif kind == "ack" and body["status"] == "accepted":
            self.note("answer", m=body["messageId"], r="accepted", code=None)
            self.user.settle(body["messageId"])
        elif kind == "ack" and body["status"] == "delivered":
            self.note("delivered", m=body["messageId"])
            self.user.delivered.add(body["messageId"])
            self.user.undelivered.pop(body["messageId"], None)
        elif kind == "error" and "messageId" in body:
            self._on_error(body)
        elif not self.answered.is_set():
            self._on_connected(kind, body)
        else:
            self._count(f"{kind} {body.get('code', '')}".strip())

    def _on_connected(self, kind, body):
        if kind == "connectSuccess":
            self.note("open")
            self.user.sessions.add(self)
        else:
            self.refusal = body.get("code", kind)
            self.note("refused", code=self.refusal)
            self._count(f"connect: {self.refusal}")
        self.answered.set()

    def _count(self, what):
        self.crowd.unexpected[what] = self.crowd.unexpected.get(what, 0) + 1

    def _on_error(self, body):
        message_id, code = body["messageId"], body["code"]
        mine = message_id in self.user.pending or message_id in self.user.probes
        if not mine:
            self.note("ackerr", m=message_id, code=code)
            self._count(f"acknowledgement: {code}")
            return
        self.note("answer", m=message_id, r="error", code=code)
        if code == "DUPLICATE_MESSAGE":
            self.user.settle(message_id)
        else:
            self._count(f"send: {code}")
            self.user.probes.discard(message_id)
            asyncio.get_running_loop().call_later(RETRY_SECS, self._again, message_id)

    def _again(self, message_id):
        msg = self.user.pending.get(message_id)
        if msg and self.conn.open and self.user.main is self:
            self.send(msg)

    def _on_message(self, body):
        sender, message_id = body["from"], body["id"]
        self.note("recv", m=message_id, to=body["to"], h=history.digest(body),
                  **{"from": sender})
        rng, habits = self.crowd.rng, self.crowd.habits
        name_sender = message_id in self.crowd.shared_ids or rng.random() < 0.5
        if (sender, message_id) not in self.user.acked:
            self.user.withheld[(sender, message_id)] = True
        dice = rng.random()
        if dice < habits.withhold:
            return
        if dice < habits.withhold + habits.late:
            asyncio.get_running_loop().call_later(
                rng.uniform(0.05, 1.5), self.user.late_ack, message_id, sender, name_sender)
            return
        self.ack(message_id, sender, name_sender)
        if rng.random() < 0.1:
            self.sync()

    def on_pong(self, _, payload):
        self.note("pong", p=int(payload))

    def on_closed(self, _, code):
        self.note("close", code=code, by="us" if self.left_by_us else "peer")
        self.user.sessions.discard(self)
        self.answered.set()
        self.gone.set()


class User:
    def __init__(self, crowd, number, account):
        self.crowd = crowd
        self.number = number
        self.account = account
        self.friends = []
        self.listens = False
        self.main = None
        self.sessions = set()
        self.pending = {}      # id -> message without a good answer, in order of sending
        self.probes = set()    # ids sent once more after their acceptance
        self.undelivered = {}  # id -> accepted and not known as delivered
        self.delivered = set()
        self.withheld = {}     # (sender, id) -> seen and never acknowledged
        self.acked = set()     # (sender, id) acknowledged at least once
        self.done = []         # messages that were accepted
        self.next_number = 0

    def settle(self, message_id):
        self.probes.discard(message_id)
        msg = self.pending.pop(message_id, None)
        if msg:
            if message_id not in self.delivered:
                self.undelivered[message_id] = True
            self.done.append(msg)

    def late_ack(self, message_id, sender, name_sender):
        """On whatever connection is there by then; none: it stays withheld."""
        for session in self.sessions:
            if session.conn.open and (sender, message_id) in self.withheld:
                session.ack(message_id, sender, name_sender)
                return

    async def open(self, role):
        """Tries until it is in; None when the run has stopped."""
        crowd = self.crowd
        while not crowd.habits.stopped:
            number = crowd.next_conn
            crowd.next_conn += 1
            crowd.hist.add("dial", c=number, u=self.number, role=role)
            conn = None
            try:
                conn = await wsclient.dial(crowd.server.port, timeout=5)
                session = Session(self, number, conn, role)
                crowd.hist.add("connect", c=number)
                conn.send("connect", {"sessionToken": self.account.token})
                await asyncio.wait_for(session.answered.wait(), 15)
                if session in self.sessions:
                    return session
                conn.abort()
                if crowd.habits.logs_in and session.refusal in SESSION_GONE:
                    await self.log_in()
            except (OSError, wsclient.DialError, asyncio.TimeoutError):
                if conn:
                    conn.abort()
            await asyncio.sleep(crowd.rng.uniform(0.02, 0.1))
        return None

    async def log_in(self):
        token = await accounts.login(self.crowd.server.port, self.account)
        if token:
            self.account.token = token
            self.crowd.hist.add("login", u=self.number)

    async def live(self):
        while not self.crowd.habits.stopped:
            session = await self.open("main")
            if session is None:
                return
            self.main = session
            self.probes.clear()
            for msg in list(self.pending.values()):
                session.send(msg)
            life = asyncio.create_task(self._steps(session))
            life.add_done_callback(self._step_ended)
            await session.gone.wait()
            life.cancel()

    def _step_ended(self, task):
        if not task.cancelled() and task.exception():
            self.crowd.errors.append(task.exception())
            self.main.leave(clean=False)

    async def listen(self):
        """A second device: only receives and acknowledges."""
        rng, habits = self.crowd.rng, self.crowd.habits
        while not habits.stopped:
            session = await self.open("listener")
            if session is None:
                return
            while not session.gone.is_set():
                await self._pause(session, 0.5)
                if habits.leaving and rng.random() < 0.05:
                    session.leave(clean=rng.random() < 0.5)
            await session.gone.wait()

    async def _pause(self, session, mean):
        habits = self.crowd.habits
        await asyncio.sleep(min(self.crowd.rng.expovariate(1.0 / mean), 2.0)
                            if habits.sync_every is None else habits.sync_every)
        if habits.sync_every is not None and session.conn.open:
            session.sync()

    async def _steps(self, session):
        rng, habits = self.crowd.rng, self.crowd.habits
        while session.conn.open:
            await self._pause(session, habits.pause)
            if habits.leaving and rng.random() < 0.01:
                session.leave(clean=rng.random() < 0.5)
                return
            if habits.sending:
                self._talk(session)
            if rng.random() < 0.05:
                session.sync()

    def _talk(self, session):
        rng = self.crowd.rng
        if self.done and rng.random() < 0.03:
            msg = rng.choice(self.done)
            if msg["id"] not in self.probes:
                self.probes.add(msg["id"])
                session.send(msg)
        to = rng.choice(self.friends) if rng.random() < 0.8 else rng.choice(self.crowd.users)
        if to is self:
            to = self.friends[0]
        for _ in range(1 if rng.random() < 0.7 else rng.randint(2, 6)):
            if len(self.pending) >= WINDOW:
                return
            msg = self._message(to)
            self.pending[msg["id"]] = msg
            session.send(msg)

    def _message(self, to):
        rng = self.crowd.rng
        size = rng.randint(20, 400) if rng.random() < 0.97 else rng.randint(5000, 60000)
        self.next_number += 1
        message_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        dice = rng.random()
        if dice < 0.2:
            message_id = message_id.upper()
        elif dice < 0.21 and to.done:
            # An id that its recipient has used himself: keys are sender + id.
            other = rng.choice(to.done)["id"]
            if other not in self.pending and other not in self.undelivered \
                    and all(m["id"] != other for m in self.done):
                message_id = other
                self.crowd.shared_ids.add(other)
        return accounts.chat(self.account.id, to.account.id, rng, size, message_id,
                             self.next_number)
