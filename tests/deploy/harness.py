# SPDX-License-Identifier: MIT
"""A private copy of the project with stand-ins in its PATH, and tests that are sentences."""
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TIMEOUT = 300
TESTS = []
ROLES = ("server", "gateway", "worker")
APPS = {"server": "construct-server", "gateway": "construct-message-gateway", "worker": "construct-delivery-worker"}

# Programs that the scripts start: each gets a wrapper that notes arguments and environment.
WATCHED = ("awk", "base64", "bash", "chmod", "cmp", "cp", "cut", "dirname", "flock", "grep", "head", "iconv", "ls",
           "make", "mkdir", "mv", "od", "openssl", "printf", "readlink", "rm", "sed", "sh", "sort", "sync", "tail", "tr")


def test(function):
    TESTS.append(function)
    return function


def good_env():
    """All that the guide lists, and the key that it forgot, fit to be sent; secrets differ in each run."""
    strong = secrets.token_urlsafe
    return {
        "DATABASE_URL": f"postgresql://relay:{strong(24)}@db.relay.net:5432/relay?sslmode=verify-full",
        "REDIS_URL": f"rediss://default:{strong(24)}@redis.relay.net:6379",
        "JWT_SECRET": strong(64), "JWT_ISSUER": "construct-server", "LOG_HASH_SALT": strong(24),
        "KAFKA_ENABLED": "true", "KAFKA_BROKERS": "broker.relay.net:9092", "KAFKA_TOPIC": "cnstrct-msg",
        "KAFKA_CONSUMER_GROUP": "cnstrct-dlvr-wrkrs", "KAFKA_SSL_ENABLED": "true", "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "ABCDEFGHIJKLMNOP", "KAFKA_SASL_PASSWORD": strong(48),
        "DELIVERY_ACK_MODE": "kafka", "DELIVERY_SECRET_KEY": secrets.token_hex(32), "DELIVERY_EXPIRY_DAYS": "7",
        "DELIVERY_ACK_ENABLE_BATCHING": "true", "DELIVERY_ACK_BATCH_BUFFER_SECS": "5",
        "INSTANCE_DOMAIN": "chat.relay.net", "FEDERATION_BASE_DOMAIN": "relay.net", "FEDERATION_ENABLED": "false",
        "APNS_DEVICE_TOKEN_ENCRYPTION_KEY": secrets.token_hex(32),
    }


def listed():
    """ops/secrets.list: name -> (roles, what, kind, need)."""
    table = {}
    with open(os.path.join(ROOT, "ops/secrets.list"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, roles, what, kind, need = line.split()
                table[name] = (ROLES if roles == "all" else tuple(roles.split(",")), what, kind, need)
    return table


def quoted(value):
    """A value as .env takes it, between double quotes."""
    for char in ("\\", '"', "$", "`"):
        value = value.replace(char, "\\" + char)
    return '"' + value.replace("\r", "\\r") + '"'


class Place:
    """One private copy; used as `with Place() as p`."""

    def __enter__(self):
        self.top = tempfile.mkdtemp(prefix="deploy-test-")
        self.tree, self.bin, self.record = (os.path.join(self.top, n) for n in ("tree", "bin", "record"))
        for folder in (self.bin, self.record, os.path.join(self.record, "state")):
            os.makedirs(folder)
        names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"],
                               capture_output=True, check=True).stdout.decode().split("\0")
        for name in names:
            if name and name.split("/")[0] not in ("tests", "docs", "bench") and os.path.exists(os.path.join(ROOT, name)):
                os.makedirs(os.path.dirname(os.path.join(self.tree, name)), exist_ok=True)
                shutil.copy2(os.path.join(ROOT, name), os.path.join(self.tree, name))
        for name in ("fly", "docker", "curl", "nc", "psql", "redis-cli", "systemctl", "journalctl"):
            self.stand_in(name)
        for name in WATCHED:
            self.watch(name)
        self.program("construct-server", "message-gateway", "delivery-worker", "construct")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.top)

    def stand_in(self, name):
        path = os.path.join(self.bin, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {HERE!r})\n"
                    f"import standin\nsys.exit(standin.main({name!r}))\n")
        os.chmod(path, 0o755)

    def watch(self, name):
        real = shutil.which(name)
        assert real, f"{name} is not installed"
        path = os.path.join(self.bin, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\n/bin/cat /proc/$$/cmdline /proc/$$/environ >>{self.record}/children\n"
                    f"exec {real} \"$@\"\n")
        os.chmod(path, 0o755)

    def program(self, *names):
        """What a role is here: it says by what name it was called and keeps its environment."""
        folder = os.path.join(self.top, "programs")
        os.makedirs(folder, exist_ok=True)
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\n/bin/cat /proc/$$/environ >{self.record}/role-environ\necho \"{name} $*\" >>{self.record}/roles\n")
            os.chmod(path, 0o755)
        return folder

    def path(self, name):
        return os.path.join(self.tree, name)

    def env_file(self, values=None, text=None):
        with open(self.path(".env"), "w", encoding="utf-8", newline="") as f:
            f.write(text if text is not None else "".join(f"{k}={quoted(v)}\n" for k, v in values.items()))

    def state(self, name, value):
        with open(os.path.join(self.record, "state", name), "w", encoding="utf-8") as f:
            json.dump(value, f)

    def sent(self, app):
        """What an app was given, as bytes."""
        try:
            with open(os.path.join(self.record, "state", f"secrets-{app}"), encoding="utf-8") as f:
                return {k: v.encode("latin-1") for k, v in json.load(f).items()}
        except FileNotFoundError:
            return {}

    def calls(self):
        try:
            with open(os.path.join(self.record, "calls"), encoding="utf-8") as f:
                return [json.loads(line) for line in f]
        except FileNotFoundError:
            return []

    def lines(self):
        return [" ".join(c["argv"]) for c in self.calls()]

    def forget(self):
        for name in ("calls", "children", "roles"):
            if os.path.exists(os.path.join(self.record, name)):
                os.remove(os.path.join(self.record, name))

    def run(self, command, cwd=None, **env):
        """(exit code, output of both) of a shell command in the copy; never waits for a terminal."""
        clean = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": self.top, "RECORD": self.record,
                 "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": self.top, "BUILD": self.program(), **env}
        done = subprocess.run(["/bin/bash", "-o", "pipefail", "-c", command], cwd=cwd or self.tree, env=clean,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
        return done.returncode, done.stdout.decode("utf-8", "replace")


def late(*_):
    raise TimeoutError("took too long")


def main():
    passed = failed = 0
    signal.signal(signal.SIGALRM, late)
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    for function in TESTS:
        if only not in function.__name__:
            continue
        began = time.monotonic()
        try:
            signal.alarm(TIMEOUT)
            function()
            signal.alarm(0)
            passed += 1
            print(f"  ok   {function.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as e:  # an assert, a timeout, a missing file: each is a failed test
            signal.alarm(0)
            failed += 1
            print(f"  FAIL {function.__name__.replace('_', ' ')}: {type(e).__name__}: {e}", flush=True)
    print(f"deploy: {passed} passed, {failed} failed")
    return failed > 0 or passed == 0
