# SPDX-License-Identifier: MIT
"""The faults of a deployment, each written into the history, in an order that a seed gives.

  fault   what phase who     phase: begin, end
  loss    lost since         Redis is without what was written after `since` (emptied: 0)
  poison  n                  a record that nobody can read was put into the message topic
  term    who code           SIGTERM by us, and how it ended
  stuck   after              no conversation came back within PROGRESS_SECS of the end of a fault
"""
import asyncio
import shutil
import signal
import subprocess
import time

import stack_roles

PROGRESS_SECS = 60
POSTPONED_SECS = 2.5  # Redis holds its log back as long when the disk is busy
POISONS = ("poison-{} is not JSON", '{{"messageId":"poison-{}"}}', '["poison-{}"]',
           '{{"messageId":"poison-{}","senderId":7,"recipientId":null}}')


async def kcat(*args, data=None, limit=20):
    proc = await asyncio.create_subprocess_exec(
        "kcat", *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = await asyncio.wait_for(proc.communicate(data), limit)
    except asyncio.TimeoutError:
        proc.kill()
        await proc.wait()
        return None
    return out if proc.returncode == 0 else None


class Faults:
    """`watch`: the history, which also knows who got a new message (stack_run.Watch)."""

    def __init__(self, dep, watch, habits, rng, seconds):
        self.dep, self.watch, self.habits, self.rng = dep, watch, habits, rng
        self.seconds = seconds
        self.poisons = 0
        self.slowest = (0.0, "none")
        self.ran = {}
        self.deck = []
        self.kinds = {
            **{f"{r}_kill": (lambda r=r: self.role_kill(r)) for r in stack_roles.ROLES},
            **{f"{r}_freeze": (lambda r=r: self.role_freeze(r)) for r in stack_roles.ROLES},
            "role_term": self.role_term, "worker_comes_or_goes": self.worker_comes_or_goes,
            "worker_goes_or_comes": self.worker_comes_or_goes,
            "link_cut": self.link_cut, "link_stall": self.link_stall, "link_slow": self.link_slow,
            "kafka_kill": lambda: self.backend_kill("kafka"),
            "kafka_freeze": lambda: self.backend_freeze("kafka"),
            "redis_freeze": lambda: self.backend_freeze("redis"),
            "redis_kill": self.redis_kill, "redis_tail_lost": self.redis_tail_lost,
            "redis_flushed": self.redis_flushed, "redis_wiped": self.redis_wiped,
            "postgres_stop": self.postgres_stop, "poison": self.poison,
        }
        # Beside another fault only what touches one process or one link.
        self.small = [k for k in self.kinds if k.endswith(("_freeze", "_cut", "_stall", "_slow"))]

    def note(self, what, phase, **fields):
        self.watch.add("fault", what=what, phase=phase, **fields)
        print(f"      stack: {time.monotonic() - self.watch.start:7.1f} {what} {phase} "
              + " ".join(f"{k}={v}" for k, v in fields.items()), flush=True)

    async def run(self, only=None):
        end = time.monotonic() + self.seconds
        kinds = only or list(self.kinds)
        assert set(kinds) <= set(self.kinds), f"kinds of faults: {', '.join(self.kinds)}"
        while time.monotonic() < end:
            if not self.deck:
                self.deck = self.rng.sample(kinds, len(kinds))
            what = self.deck.pop()
            work = [self._one(what)]
            if not only and what != "postgres_stop" and self.rng.random() < 0.15:
                work.append(self._one(self.rng.choice([k for k in self.small if k != what])))
            await asyncio.gather(*work)
            await self.progress(what)
            await asyncio.sleep(self.rng.uniform(0.3, 2.0))

    async def _one(self, what):
        self.ran[what] = self.ran.get(what, 0) + 1
        await self.kinds[what]()

    async def progress(self, what):
        """Half of the users get something that was sent after the fault."""
        began = time.monotonic()
        self.watch.look_on()
        while self.watch.reached() < 0.5:
            if time.monotonic() - began > PROGRESS_SECS:
                self.watch.add("stuck", after=what, reached=self.watch.reached())
                print(f"      stack: STUCK after {what}", flush=True)
                return
            await asyncio.sleep(0.05)
        self.slowest = max(self.slowest, (time.monotonic() - began, what))

    def not_run(self):
        return sorted(set(self.kinds) - set(self.ran))

    # roles
    async def role_kill(self, role):
        part = self.rng.choice(self.dep.of(role))
        pause = self.rng.uniform(0.0, 1.0)
        self.note(f"{role}_kill", "begin", who=part.name)
        await part.kill()
        await asyncio.sleep(pause)
        await part.start()
        self.note(f"{role}_kill", "end", who=part.name)

    async def role_freeze(self, role):
        part, pause = self.rng.choice(self.dep.of(role)), self.rng.uniform(2.0, 8.0)
        if not part.alive():
            return  # killed by the fault beside this one
        self.note(f"{role}_freeze", "begin", who=part.name)
        proc = part.proc
        proc.send_signal(signal.SIGSTOP)
        await asyncio.sleep(pause)
        if proc.returncode is None:
            proc.send_signal(signal.SIGCONT)
        self.note(f"{role}_freeze", "end", who=part.name)

    async def role_term(self):
        part = self.rng.choice(self.dep.parts)
        self.note("role_term", "begin", who=part.name)
        code = await part.stop()
        self.watch.add("term", who=part.name, code=code)
        await part.start()
        self.note("role_term", "end", who=part.name)

    async def worker_comes_or_goes(self):
        spare = self.dep.spare
        what = "worker_goes" if spare.alive() else "worker_comes"
        self.note(what, "begin")
        if spare.alive():
            self.watch.add("term", who=spare.name, code=await spare.stop())
        else:
            await spare.start()
        self.note(what, "end")

    # links
    async def _link(self, what, act):
        link, pause = self.rng.choice(self.dep.links()), self.rng.uniform(1.0, 6.0)
        self.note(what, "begin", who=link.name)
        act(link)
        await asyncio.sleep(pause)
        link.heal()
        self.note(what, "end", who=link.name)

    async def link_cut(self):
        await self._link("link_cut", lambda link: link.cut())

    async def link_stall(self):
        await self._link("link_stall", lambda link: link.stall())

    async def link_slow(self):
        delay = self.rng.uniform(0.05, 0.5)
        await self._link("link_slow", lambda link: link.slow(delay))

    # backends
    async def backend_kill(self, name):
        self.note(f"{name}_kill", "begin")
        await self.dep.backends.kill(name)
        await asyncio.sleep(self.rng.uniform(0.0, 4.0))
        await self.dep.backends.start(name)
        self.note(f"{name}_kill", "end")

    async def backend_freeze(self, name):
        pause = self.rng.uniform(2.0, 8.0)
        self.note(f"{name}_freeze", "begin")
        self.dep.backends.signal(name, signal.SIGSTOP)
        await asyncio.sleep(pause)
        self.dep.backends.signal(name, signal.SIGCONT)
        self.note(f"{name}_freeze", "end")

    def _now(self):
        return round(time.monotonic() - self.watch.start, 6)

    async def redis_kill(self):
        self.note("redis_kill", "begin")
        await self.dep.backends.kill("redis")
        self.watch.add("loss", lost="tail", since=self._now() - POSTPONED_SECS)
        await asyncio.sleep(self.rng.uniform(0.0, 2.0))
        await self.dep.backends.start("redis")
        self.note("redis_kill", "end")

    async def redis_tail_lost(self):
        """As after a power failure: the last second of the log never reached the disk."""
        self.note("redis_tail_lost", "begin")
        since = self._now() - POSTPONED_SECS
        path, size = self.dep.backends.redis_tail()
        await asyncio.sleep(1.0)
        await self.dep.backends.kill("redis")
        if self.dep.backends.redis_tail()[0] == path:  # not rewritten meanwhile
            with open(path, "r+b") as f:
                f.truncate(size)
        self.watch.add("loss", lost="tail", since=since)
        await self.dep.backends.start("redis")
        self.note("redis_tail_lost", "end")

    async def redis_flushed(self):
        self.note("redis_flushed", "begin")
        answer = await self.dep.backends.redis("FLUSHALL")
        assert answer == "OK", answer
        self.watch.add("loss", lost="emptied", since=0.0)
        self.note("redis_flushed", "end")

    async def redis_wiped(self):
        self.note("redis_wiped", "begin")
        await self.dep.backends.kill("redis")
        shutil.rmtree(self.dep.backends.dir / "redis/data/appendonlydir")
        self.watch.add("loss", lost="emptied", since=0.0)
        await self.dep.backends.start("redis")
        self.note("redis_wiped", "end")

    async def postgres_stop(self):
        """Nobody leaves meanwhile: those who are connected must not notice."""
        pause = 30.0 if self.seconds < 600 else self.rng.uniform(30.0, 60.0)
        self.habits.leaving = False
        await asyncio.sleep(2.0)
        await self.dep.backends.stop("postgres")
        self.note("postgres_stop", "begin")
        await asyncio.sleep(pause)
        self.note("postgres_stop", "end")
        await self.dep.backends.start("postgres")
        self.habits.leaving = True

    async def poison(self):
        number, self.poisons = self.poisons, self.poisons + 1
        value = POISONS[number % len(POISONS)].format(number).encode()
        self.note("poison", "begin")
        args = ["-P", "-b", self.dep.backends.admin, "-t", stack_roles.TOPIC, "-p",
                str(self.rng.randrange(stack_roles.PARTITIONS)), "-X", "acks=all"]
        while await kcat(*args, data=value) is None:
            await asyncio.sleep(0.5)
        self.watch.add("poison", n=number)
        self.note("poison", "end")

    async def dead_letters(self):
        """What lies in the topic of dead letters, as texts."""
        out = await kcat("-C", "-b", self.dep.backends.admin, "-t",
                         f"{stack_roles.TOPIC}-dead-letter", "-o", "beginning", "-e", "-q",
                         "-f", "%s\\n", limit=60)
        return [] if out is None else out.decode(errors="replace").splitlines()
