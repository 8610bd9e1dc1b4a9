# SPDX-License-Identifier: MIT
"""A deployment that can be broken in every joint: backends of ops/stack.sh, two servers, gateways and
workers, and a proxy on each link between two of them."""
import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

import proxy

REPO = Path(__file__).resolve().parent.parent.parent
ROLES = ("gateway", "worker", "server")
COPIES = 2
PARTITIONS = 6
TOPIC = "fault-messages"
START_SECS = 180  # on a busy machine, with a backend that comes back meanwhile
# Each kind of role and the backends it speaks to.
LINKS = {"server": ("redis", "postgres", "kafka"), "gateway": ("redis", "postgres", "kafka"),
         "worker": ("redis", "kafka")}
LOCAL = re.compile(r"127\.0\.0\.1:\d+")


class Backends:
    """Kafka, PostgreSQL and Redis in a folder; killed, stopped and started one by one."""

    def __init__(self, folder):
        self.dir = Path(folder)
        self.env = {}

    async def script(self, *args, **env):
        # Into a file: what it starts lives on and would hold a pipe open.
        self.dir.parent.mkdir(parents=True, exist_ok=True)
        with open(self.dir.parent / "stack.log", "a+b") as log:
            done = await asyncio.to_thread(
                subprocess.run, [str(REPO / "ops/stack.sh"), *args, str(self.dir)],
                env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if done.returncode:
                log.seek(0)
                raise RuntimeError(f"ops/stack.sh {' '.join(args)} ended with {done.returncode}:\n"
                                   + log.read()[-2000:].decode(errors="replace"))

    async def up(self, via):
        """`via`: (name, port) of proxies that brokers are reached by."""
        await self.script("up", KAFKA_TOPIC=TOPIC,
                          STACK_KAFKA_VIA=" ".join(f"{n}={p}" for n, p in via))
        lines = (self.dir / "env").read_text().splitlines()
        self.env = dict(ln.split("=", 1) for ln in lines if ln and not ln.startswith("#"))

    def port(self, name):
        try:
            return int((self.dir / "ports" / name).read_text())
        except (OSError, ValueError):
            return None

    def pid(self, name):
        return int((self.dir / f"{name}.pid").read_text().split()[0])

    def signal(self, name, sig):
        os.kill(self.pid(name), sig)

    async def kill(self, name):
        """kill -9, and waits until it is gone."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            await asyncio.sleep(0.01)

    async def start(self, name):
        await self.script("up", "--only", name)

    async def stop(self, name):
        await self.script("down", "--only", name)

    async def redis(self, *words):
        env = {**os.environ, "REDISCLI_AUTH": self.env["REDIS_URL"].split(":")[2].split("@")[0]}
        proc = await asyncio.create_subprocess_exec(
            "redis-cli", "-p", str(self.port("redis")), *words, env=env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = await asyncio.wait_for(proc.communicate(), 20)
        return out.decode(errors="replace").strip()

    def redis_tail(self):
        """(file that Redis appends to, its size)."""
        files = sorted((self.dir / "redis/data/appendonlydir").glob("*.incr.aof"),
                       key=lambda p: int(p.name.split(".")[-3]))
        return files[-1], files[-1].stat().st_size

    @property
    def admin(self):
        return f"127.0.0.1:{self.port('kafka-admin')}"


class Process:
    """One process of a role; `died` counts ends that nobody asked for."""

    def __init__(self, relay, role, number):
        self.relay, self.role, self.number = relay, role, number
        self.name = f"{role}-{number}"
        self.proc = self.port = None
        self.expected = False
        self.links = {}      # what it speaks to -> Proxy

    async def make_links(self, targets):
        for name, upstream in targets.items():
            self.links[name] = await proxy.Proxy(f"{self.name}~{name}", upstream).start()

    def env(self):
        e = {k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ}
        e.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        e.update(self.relay.backends.env)
        for variable, name in (("REDIS_URL", "redis"), ("DATABASE_URL", "postgres"),
                               ("KAFKA_BROKERS", "kafka")):
            if name in self.links:
                e[variable] = LOCAL.sub(f"127.0.0.1:{self.links[name].port}", e[variable])
        e.update(PORT="0", HEALTH_PORT="0", BIND="127.0.0.1", WORKER_THREADS="1",
                 PORT_FILE=str(self.relay.dir / f"{self.name}.port"), LOG_FORMAT="text",
                 TOP_SOCKET="off", DB_MAX_CONNECTIONS="2", MAX_MESSAGES_PER_HOUR="0",
                 MAX_FAILED_LOGIN_ATTEMPTS="0", DELIVERY_ACK_BATCH_BUFFER_SECS="1",
                 HEARTBEAT_INTERVAL_SECS="3", SERVER_REGISTRY_TTL_SECS="10",
                 KAFKA_CONSUMER_GROUP="fault-workers")
        if self.role == "server":
            e["MESSAGE_GATEWAY_URL"] = ",".join(
                f"http://127.0.0.1:{p.port}" for n, p in self.links.items() if "gateway" in n)
        return e

    def alive(self):
        return self.proc is not None and self.proc.returncode is None

    async def start(self):
        """One that ends at its start is started again, as a supervisor does, and counted."""
        end = asyncio.get_running_loop().time() + START_SECS
        while not await self._try(end):
            self.relay.note("restart", who=self.name, code=self.proc.returncode)
            await asyncio.sleep(0.5)
        self.expected = False
        task = asyncio.create_task(self._watch(self.proc))
        self.relay.tasks.add(task)
        task.add_done_callback(self.relay.tasks.discard)

    async def _try(self, end):
        port = Path(self.env()["PORT_FILE"])
        port.unlink(missing_ok=True)
        with open(self.relay.dir / f"{self.name}.log", "ab") as log:
            self.proc = await asyncio.create_subprocess_exec(
                self.relay.binary, self.role, env=self.env(), cwd=self.relay.dir,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        (self.relay.dir / f"{self.name}.pid").write_text(str(self.proc.pid))  # for stack.sh's end
        while not (port.exists() and port.read_text().endswith("\n")):
            if self.proc.returncode is not None:
                return False
            if asyncio.get_running_loop().time() > end:
                raise RuntimeError(f"{self.name} opened no port in {START_SECS} s:\n" + self.tail())
            await asyncio.sleep(0.02)
        self.port = int(port.read_text())
        return True

    async def _watch(self, proc):
        code = await proc.wait()
        if not self.expected and proc is self.proc:
            self.relay.note("died", who=self.name, code=code)
            self.port = None
            await self.start()

    async def kill(self):
        self.expected, self.port = True, None
        if self.alive():
            self.proc.kill()
            await self.proc.wait()

    async def stop(self, limit=60):
        """SIGTERM; its exit code, or None when it had to be killed."""
        self.expected = True
        if not self.alive():
            return self.proc and self.proc.returncode
        self.proc.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.proc.wait(), limit)
        except asyncio.TimeoutError:
            await self.kill()
            return None
        finally:
            self.port = None

    def signal(self, sig):
        self.proc.send_signal(sig)

    def tail(self, lines=15):
        text = (self.relay.dir / f"{self.name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


class Deployment:
    """`note(kind, **fields)` writes into the history."""

    def __init__(self, binary, folder, rng, note):
        self.binary = os.path.abspath(binary)
        self.dir = Path(folder).resolve()
        self.rng, self.note = rng, note
        self.backends = Backends(self.dir / "stack")
        self.tasks = set()
        self.parts = [Process(self, role, n) for role in ROLES for n in range(COPIES)]
        self.spare = Process(self, "worker", COPIES)  # comes and goes

    def of(self, role):
        return [p for p in self.parts if p.role == role]

    def links(self):
        return [link for p in self.parts for link in p.links.values()]

    @property
    def port(self):
        """Of one of the servers: a client goes to either."""
        ports = [p.port for p in self.of("server") if p.port]
        return self.rng.choice(ports) if ports else 1

    async def _links_of(self, part):
        behind = {"kafka": f"kafka-via-{part.role.upper()}{part.number}"}
        targets = {name: (lambda n=behind.get(name, name): self.backends.port(n))
                   for name in LINKS[part.role]}
        if part.role == "server":
            targets.update({g.name: (lambda g=g: g.port) for g in self.of("gateway")})
        await part.make_links(targets)

    async def start(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        for part in [*self.parts, self.spare]:
            await self._links_of(part)
        await self.backends.up([(f"{p.role.upper()}{p.number}", p.links["kafka"].port)
                                for p in [*self.parts, self.spare]])
        done = await asyncio.to_thread(subprocess.run, [self.binary, "migrate"],
                                       env={**os.environ, **self.backends.env},
                                       stdout=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"construct migrate ended with {done.returncode}")
        for role in ROLES:
            await asyncio.gather(*(p.start() for p in self.of(role)))

    async def stop(self):
        """Exit codes that are not 0, by name."""
        codes = {}
        for role in reversed(ROLES):
            parts = [p for p in [*self.parts, self.spare] if p.role == role and p.proc]
            for part, code in zip(parts, await asyncio.gather(*(p.stop() for p in parts))):
                if code not in (0, -signal.SIGKILL) or part.proc.returncode is None:
                    codes[part.name] = code
        return codes

    async def end(self):
        """For clean-up paths: nothing of it is left running."""
        for task in list(self.tasks):
            task.cancel()
        for part in [*self.parts, self.spare]:
            await part.kill()
            for link in part.links.values():
                link.close()
        await self.backends.script("down")
