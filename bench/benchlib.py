# SPDX-License-Identifier: MIT
"""What the parts of bench/run.py share: processes, repeated runs, the report."""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPUS = sorted(os.sched_getaffinity(0))


class CannotRun(Exception):
    """A part, or one measurement of it, that could not be made, and why."""


def raise_fd_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def only_on(cpu):
    """preexec_fn that pins a process, or None when there is nothing to choose."""
    return None if cpu is None or len(CPUS) < 2 else lambda: os.sched_setaffinity(0, {cpu})


class Server:
    """A process that writes its port to a file once it listens; SIGTERM ends it."""

    def __init__(self, argv, folder, env=None, cpu=None):
        self.name = pathlib.Path(argv[0]).name
        folder.mkdir(parents=True, exist_ok=True)
        port_file = folder / "port"
        port_file.unlink(missing_ok=True)
        self.log = folder / f"{self.name}.log"
        argv = [str(port_file) if a == "PORT_FILE" else str(a) for a in argv]
        full_env = dict(os.environ, PORT="0", BIND="127.0.0.1", PORT_FILE=str(port_file),
                        LOG_LEVEL="warn", **(env or {}))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, cwd=folder, env=full_env, stdout=log, stderr=log,
                                            preexec_fn=only_on(cpu))
        self.pid = self.process.pid
        self.port = self._wait_port(port_file)

    def _wait_port(self, port_file):
        for _ in range(600):
            if port_file.exists() and port_file.read_text().strip():
                return int(port_file.read_text())
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        tail = self.log.read_text(errors="replace")[-400:].strip()
        raise CannotRun(f"{self.name} does not listen: {tail or 'it said nothing'}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def url(self, scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.port}/"

    def rss_bytes(self):
        text = pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Rss:\s+(\d+) kB", text, re.M).group(1)) * 1024

    def open_fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Redis:
    """redis-server with every write synced, in a private folder, on a free port and a socket."""

    # A rewrite of the append-only file in the middle of a run would only hurt it.
    OPTIONS = ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", "",
               "--auto-aof-rewrite-percentage", "0", "--daemonize", "no"]

    def __init__(self, folder):
        program = shutil.which("redis-server")
        if not program:
            raise CannotRun("redis-server is not installed (Debian: apt-get install redis-server)")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.socket = folder, folder / "s"
        if len(str(self.socket)) > 100:
            raise CannotRun(f"the path of the socket is too long: {self.socket}")
        self.port = free_port()
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [program, *self.OPTIONS, "--port", str(self.port), "--dir", str(folder),
                 "--unixsocket", str(self.socket)],
                stdout=log, stderr=log)
        for _ in range(200):
            if self.socket.exists():
                return
            time.sleep(0.05)
        self.stop()
        raise CannotRun("redis-server does not listen")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def run_tsv(argv, timeout):
    """The TSV rows a bench program prints, as lists of strings."""
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise CannotRun(f"{pathlib.Path(argv[0]).name}: {done.stderr.strip()[-300:]}")
    return [line.split("\t") for line in done.stdout.splitlines()]


class Series:
    """The values of one measurement over its runs."""

    def __init__(self):
        self.values = []

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    def text(self, digits=0):
        low, high = min(self.values), max(self.values)
        form = f",.{digits}f"
        return f"{self.median:{form}} ({low:{form}}-{high:{form}})"


def alternate(runs, **measures):
    """Warm-up of each, then A B A B ..: {name: Series}.  A measure returns a number."""
    series = {name: Series() for name in measures}
    for turn in range(runs + 1):
        for name, measure in measures.items():
            value = measure()
            if turn > 0:
                series[name].add(value)
            print(f"    {name} {'warm-up' if turn == 0 else turn}: {value:,.0f}", flush=True)
    return series


class Report:
    """Rows of the parts that ran; rewrites their sections of docs/benchmarks.md."""

    def __init__(self):
        self.sections = {}
        self.not_run = []
        self.missed = []

    def section(self, part, title, header):
        self.sections[part] = {"title": title, "header": header, "rows": [], "notes": []}

    def row(self, part, *cells):
        self.sections[part]["rows"].append([str(c) for c in cells])
        print("  " + " | ".join(str(c) for c in cells), flush=True)

    def note(self, part, text):
        self.sections[part]["notes"].append(text)

    def judge(self, part, what, met, text):
        """A target: the word for its cell; a miss is repeated at the end."""
        if not met:
            self.missed.append(f"{part}: {what}: {text}")
        return f"{text}: {'met' if met else 'MISSED'}"

    def cannot(self, part, why):
        self.not_run.append(f"{part}: {why}")
        print(f"  !! NOT RUN: {part}: {why}", flush=True)

    def markdown(self, part):
        s = self.sections[part]
        lines = ["| " + " | ".join(s["header"]) + " |", "|" + " --- |" * len(s["header"])]
        lines += ["| " + " | ".join(row) + " |" for row in s["rows"]]
        for note in s["notes"]:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def write(self, path):
        text = path.read_text()
        for part in self.sections:
            begin, end = f"<!-- bench:{part} -->\n", f"<!-- end:{part} -->\n"
            if begin not in text or end not in text:
                raise SystemExit(f"bench: {path} has no section for {part}")
            head, rest = text.split(begin, 1)
            _, tail = rest.split(end, 1)
            text = head + begin + "\n" + self.markdown(part) + "\n" + end + tail
        path.write_text(text)


def busy_percent():
    """What others use of the CPUs now, over a second."""

    def ticks():
        fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
        return sum(fields[:8]), fields[3] + fields[4]

    total, idle = ticks()
    time.sleep(1)
    total_after, idle_after = ticks()
    return 100 - 100 * (idle_after - idle) / max(1, total_after - total)


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    name = model.group(1).strip() if model else "unknown CPU"
    return f"{len(CPUS)} cores of {name}, commit {commit}, {time.strftime('%Y-%m-%d')}"


def generator(binary, url, *options, timeout=300, cpu=None):
    """One run of `construct bench`; its JSON.  A broken guarantee ends the part."""
    argv = [str(binary), "bench", url, "--json", *[str(o) for o in options]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout,
                          preexec_fn=only_on(cpu))
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip()[-300:]
        raise CannotRun(f"construct bench {' '.join(argv[2:])}: exit {done.returncode}: {tail}")
    return json.loads(done.stdout)


def say(text):
    print(text, file=sys.stdout, flush=True)
