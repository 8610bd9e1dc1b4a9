# SPDX-License-Identifier: MIT
"""The process under test: start, wait until it listens, kill, look at it from outside."""
import asyncio
import os
import signal
import socket
import subprocess
import time


def is_asan(binary):
    try:
        with open(binary, "rb") as f:
            return b"__asan_init" in f.read()
    except OSError:
        return False


class Server:
    """`construct all` on one data folder, restarted at will; the log is appended."""

    KEEP = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")

    def __init__(self, binary, folder, env=None, role="all"):
        self.binary = os.path.abspath(binary)
        self.folder = os.path.abspath(folder)
        self.role = role
        self.port = 0
        self.proc = None
        self.starts = 0
        self.too_early = 0  # starts whose port file came before the port was open
        self.log_path = os.path.join(self.folder, "server.log")
        os.makedirs(self.folder, exist_ok=True)
        # Nothing of the caller's configuration may leak in.
        self.env = {k: os.environ[k] for k in self.KEEP if k in os.environ}
        self.port_file = os.path.join(self.folder, "port")
        self.env.update({
            "PORT": "0",
            "PORT_FILE": self.port_file,
            "BIND": "127.0.0.1",
            "DATABASE_URL": f"sqlite:{self.folder}/construct.db",
            "MAX_MESSAGES_PER_HOUR": "0",
            "LOG_FORMAT": "json",
        })
        self.env.update(env or {})

    def spawn(self):
        """Starts the process and does not wait for it."""
        assert self.proc is None or self.proc.poll() is not None
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        self.starts += 1
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen([self.binary, self.role], cwd=self.folder,
                                         env=self.env, stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log)

    async def ready(self, timeout=30.0):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise RuntimeError(f"server ended with {self.proc.returncode} at start:\n"
                                   + self.log_tail())
            try:
                with open(self.port_file) as f:
                    text = f.read()
                if text.endswith("\n"):
                    self.port = int(text)
                    await self._reachable(end)
                    return
            except OSError:
                pass
            await asyncio.sleep(0.005)
        raise RuntimeError("server does not listen:\n" + self.log_tail())

    async def _reachable(self, end):
        """The port file promises this; a start that breaks the promise is counted."""
        first = True
        while time.monotonic() < end and self.alive():
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except ConnectionRefusedError:
                self.too_early += first
                first = False
                await asyncio.sleep(0.002)

    async def start(self, timeout=30.0):
        self.spawn()
        await self.ready(timeout)

    async def wait(self, timeout):
        """Exit code, or None when the process still runs after `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.proc.poll() is None and time.monotonic() < end:
            await asyncio.sleep(0.005)
        return self.proc.poll()

    async def kill(self):
        self.proc.send_signal(signal.SIGKILL)
        await self.wait(10)

    def term(self):
        self.proc.send_signal(signal.SIGTERM)

    async def stop(self, timeout=40):
        """Ends it in order; returns the exit code, None when it had to be killed."""
        if self.proc is None or self.proc.poll() is not None:
            return self.proc and self.proc.returncode
        self.term()
        code = await self.wait(timeout)
        if code is None:
            await self.kill()
        return code

    def kill_now(self):
        """For clean-up paths: never leaves a process behind."""
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def memory_kb(self):
        """(RssAnon, VmRSS) in KiB."""
        fields = {}
        with open(f"/proc/{self.proc.pid}/status") as f:
            for line in f:
                name, _, rest = line.partition(":")
                if name in ("RssAnon", "VmRSS"):
                    fields[name] = int(rest.split()[0])
        return fields["RssAnon"], fields["VmRSS"]

    def fds(self):
        return len(os.listdir(f"/proc/{self.proc.pid}/fd"))

    def log_tail(self, lines=30):
        try:
            with open(self.log_path, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return ""
