# SPDX-License-Identifier: MIT
"""systemd's own opinion of the units, and the program inside the limits that they set."""
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time

from harness import ROLES, ROOT, test

PROGRAM = os.path.join(ROOT, "build/release/construct")
UNITS = {"construct.service": "construct.service"} | {f"construct@{role}.service": "construct@.service" for role in ROLES}


def tool(name):
    path = shutil.which(name)
    assert path, f"{name} is not installed: ops/install-deps.sh test"
    return path


def run(*words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **more)
    return done.returncode, done.stdout


def read(unit):
    with open(os.path.join(ROOT, "ops/systemd", UNITS[unit]), encoding="utf-8") as f:
        return f.read()


class Units:
    """A folder with all four, which start the program that is built."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="deploy-units-")
        for unit in UNITS:
            with open(os.path.join(self.dir, unit), "w", encoding="utf-8") as f:
                f.write(read(unit).replace("/usr/local/bin/construct", PROGRAM))
        return lambda unit: os.path.join(self.dir, unit)

    def __exit__(self, *_):
        shutil.rmtree(self.dir)


def exposure(path):
    code, out = run(tool("systemd-analyze"), "security", "--offline=true", "--no-pager", path)
    assert code == 0, out
    return float(re.search(r"exposure level for \S+: ([0-9.]+)", out).group(1))


@test
def systemd_takes_the_units_without_a_word():
    assert os.path.exists(PROGRAM), f"{PROGRAM} is not built: make"
    with Units() as path:
        for unit in UNITS:
            code, out = run(tool("systemd-analyze"), "verify", "--man=no", path(unit))
            ours = [line for line in out.splitlines() if unit in line or "construct" in line]
            assert code == 0 and not ours, f"{unit}: {out}"
        with open(path("construct.service"), "a", encoding="utf-8") as f:
            f.write("[Service]\nProtectSytem=strict\n")
        assert "ProtectSytem" in run(tool("systemd-analyze"), "verify", "--man=no", path("construct.service"))[1], "it takes everything"


@test
def each_unit_is_exposed_less_than_two_points():
    with Units() as path:
        for unit in UNITS:
            assert exposure(path(unit)) < 2.0, f"{unit}: {exposure(path(unit))}"
        with open(path("construct.service"), "a", encoding="utf-8") as f:
            f.write("[Service]\nProtectSystem=no\nSystemCallFilter=\nProtectHome=no\nPrivateDevices=no\n")
        assert exposure(path("construct.service")) >= 2.0, "it likes everything"


def system_calls(name):
    """Every system call of a set of systemd's, the sets in it too."""
    found = set()
    for word in run(tool("systemd-analyze"), "syscall-filter", "--no-pager", name)[1].splitlines():
        word = word.split("#")[0].strip()
        if word.startswith("@") and word != name:
            found |= system_calls(word)
        elif word and word != name:
            found.add(word)
    assert found, f"{name} was not understood"
    return found


def allowed(unit):
    """What SystemCallFilter= of a unit leaves: a list, then what is taken from it."""
    calls = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", read(unit), re.M):
        names = set().union(*(system_calls(w) if w.startswith("@") else {w} for w in words.lstrip("~").split()))
        calls = calls - names if words.startswith("~") else calls | names
    # The filter allows these always: systemd puts @default into every list.
    return calls | system_calls("@default")


# What may be refused: the fault is taken as an answer, see the comments in the units.
HARMLESS = {"io_uring_setup"}


def calls_in(trace):
    with open(trace, encoding="utf-8", errors="replace") as f:
        return set(re.findall(r"^\d+ +([a-z_0-9]+)\(", f.read(), re.M))


@test
def a_relay_that_serves_makes_no_system_call_that_its_unit_refuses():
    assert os.path.exists(PROGRAM), f"{PROGRAM} is not built: make"
    with tempfile.TemporaryDirectory(prefix="deploy-unit-run-") as d:
        program = shutil.copy(PROGRAM, d)
        # SQLite does more for root, which the units never are.
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        if nobody:
            os.chown(d, 65534, 65534)
        env = {"PATH": os.environ["PATH"], "DATABASE_URL": f"sqlite:{d}/construct.db", "PORT": "0", "PORT_FILE": f"{d}/port", "BIND": "127.0.0.1"}
        with open(f"{d}/log", "wb") as log:
            relay = subprocess.Popen([tool("strace"), "-f", "-qq", "-o", f"{d}/trace", program, "all"], env=env, cwd=d,
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, **nobody)
        try:
            until = time.monotonic() + 60
            while not os.path.exists(f"{d}/port") or not os.path.getsize(f"{d}/port"):
                assert time.monotonic() < until and relay.poll() is None, open(f"{d}/log", encoding="utf-8").read()
                time.sleep(0.1)
            with open(f"{d}/port", encoding="utf-8") as f:
                code, out = run(PROGRAM, "probe", f"ws://127.0.0.1:{f.read().strip()}")
            assert code == 0, out
        finally:
            # strace hands the signal on to what it started.
            children = subprocess.run(["pgrep", "-P", str(relay.pid)], capture_output=True, text=True, timeout=10).stdout.split()
            for child in children:
                os.kill(int(child), signal.SIGTERM)
            code = relay.wait(timeout=60)
        used = calls_in(f"{d}/trace")
    assert code == 0 and len(used) > 30, f"exit code {code}, {len(used)} system calls were seen"
    for unit in UNITS:
        refused = used - allowed(unit) - HARMLESS
        assert not refused, f"{unit} refuses {sorted(refused)}"


@test
def a_role_without_backends_makes_no_system_call_that_its_unit_refuses():
    nowhere = {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1", "KAFKA_BROKERS": "127.0.0.1:1",
               "KAFKA_ENABLED": "true", "DELIVERY_ACK_MODE": "kafka", "MESSAGE_GATEWAY_ADDRS": "127.0.0.1:1", "PORT": "0", "HEALTH_PORT": "0"}
    hex_keys = {name: secrets.token_hex(32) for name in ("DELIVERY_SECRET_KEY", "JWT_SECRET", "LOG_HASH_SALT", "APNS_DEVICE_TOKEN_ENCRYPTION_KEY")}
    with tempfile.TemporaryDirectory(prefix="deploy-unit-roles-") as d:
        env = {"PATH": os.environ["PATH"], **nowhere, **hex_keys}
        running = {role: subprocess.Popen(["timeout", "-s", "TERM", "8", tool("strace"), "-f", "-qq", "-o", f"{d}/{role}", PROGRAM, role], env=env,
                                          cwd=d, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                   for role in ROLES}
        for role, process in running.items():
            said = process.communicate(timeout=60)[0]
            used = calls_in(f"{d}/{role}")
            assert "relay.stopped" in said and len(used) > 30, f"{role}: {said[-2000:]}, {len(used)} system calls"
            refused = used - allowed(f"construct@{role}.service") - HARMLESS
            assert not refused, f"construct@{role}.service refuses {sorted(refused)}"
