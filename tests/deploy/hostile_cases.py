# SPDX-License-Identifier: MIT
"""What goes wrong on purpose: odd words, two at once, a machine's own variables in the way."""
import fcntl
import os
import re
import stat
import subprocess

from harness import APPS, ROOT, Place, good_env, test

PROGRAM = os.path.join(ROOT, "build/release/construct")
ODD_WORD = "it's $(touch hit) $(shell touch hit) `touch hit` \"x\" ; touch hit #"


def unharmed(p):
    return not os.path.exists(p.path("hit"))


@test
def words_of_the_operator_are_never_run():
    with Place() as p:
        p.env_file(good_env())
        p.state("apps", list(APPS.values()))
        for command, variable in (("secrets-check", "ROLE"), ("check-config", "ROLE"), ("scale-server", "COUNT"), ("scale-server", "SIZE"),
                                  ("scale-server", "MEMORY"), ("rollback-server", "VERSION"), ("secrets-all", "ENV_FILE"), ("run-server", "ENV_FILE")):
            code, out = p.run(f"make {command}", **{variable: ODD_WORD})
            assert code != 0 and unharmed(p), f"{command} {variable}: {code} {out}"
            code, out = p.run(f"make DRY_RUN=1 {command}", **{variable: ODD_WORD})
            assert unharmed(p) and "Syntax error" not in out and "unexpected EOF" not in out, f"{command} {variable}: {out}"
            assert not any("deploy" in line or "scale" in line for line in p.lines()), f"{command} {variable}: {p.lines()}"
        os.rename(p.path(".env"), p.path(f"{ODD_WORD.replace('/', '')}.env"))
        code, out = p.run("make secrets-all", ENV_FILE=f"{ODD_WORD}.env")
        assert code == 0 and unharmed(p) and p.sent(APPS["server"]), f"a name is a name: {out}"


@test
def a_hostile_name_of_an_app_is_refused_wherever_it_comes_from():
    with Place() as p:
        p.env_file(good_env())
        for name, value in (("FLY_APP_SERVER", "-c/etc/passwd"), ("FLY_APP_SERVER", "a b"), ("FLY_APP_GATEWAY", "x'}) or vector(1) #"),
                            ("FLY_ORG", "$(touch hit)"), ("FLY_APP_WORKER", ".*"), ("FLY_COUNT_WORKER", "many"), ("FLY_MEMORY_SERVER", "1024;id"),
                            ("FLY_REGION", "ams\nfra")):
            for command in ("make deploy-all", "make secrets-all", "make status-all"):
                p.forget()
                code, out = p.run(command, **{name: value})
                assert code == 78 or "Error 78" in out, f"{command} {name}={value!r}: {code} {out}"
                assert name in out and p.calls() == [] and unharmed(p), f"{command} {name}={value!r}: {p.lines()} {out}"


@test
def two_deployments_at_once_are_one():
    with Place() as p:
        p.env_file(good_env())
        p.state("apps", list(APPS.values()))
        with open(p.path("ops/fly.conf"), "rb") as lock:  # as the first one holds it
            fcntl.flock(lock, fcntl.LOCK_EX)
            for command in ("make deploy-all", "make secrets-all", "make rollback-server", "make scale-server COUNT=2"):
                p.forget()
                code, out = p.run(command)
                assert code != 0 and "under way" in out and p.calls() == [], f"{command}: {p.lines()} {out}"
            code, out = p.run("make status-all")
            assert code == 0, f"one may look: {out}"
        # The agent that fly leaves behind must not hold the lock.
        os.rename(os.path.join(p.bin, "fly"), os.path.join(p.bin, "fly-real"))
        with open(os.path.join(p.bin, "fly"), "w", encoding="utf-8") as f:
            f.write("#!/bin/bash\nsleep 5 >/dev/null 2>&1 &\nexec fly-real \"$@\"\n")
        os.chmod(os.path.join(p.bin, "fly"), 0o755)
        for _ in range(2):
            code, out = p.run("make secrets-server deploy-server")
            assert code == 0, f"the first one is over: {out}"


@test
def secrets_go_before_the_deployment_even_with_j():
    with Place() as p:
        p.env_file(good_env())
        p.state("apps", list(APPS.values()))
        code, out = p.run("make -j4 deploy-all secrets-all")
        assert code == 0, out
        lines = p.lines()
        assert max(i for i, x in enumerate(lines) if "import" in x) < min(i for i, x in enumerate(lines) if "fly deploy" in x), lines
        assert all("--stage" in x for x in lines if "import" in x), lines


@test
def two_that_generate_at_once_leave_one_whole_file():
    with Place() as p:
        p.env_file(text="A=1\n")
        lock = os.open(p.tree, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(p.path(".env.new"), "w", encoding="utf-8") as f:
                f.write("of the first one")
            code, out = p.run("make secrets-generate")
            assert code != 0 and "another one writes" in out, out
            assert os.path.exists(p.path(".env.new")), "the second one deleted what the first one writes"
        finally:
            os.close(lock)
        os.remove(p.path(".env.new"))
        code, out = p.run("for n in 1 2 3 4; do ops/secrets-generate.sh & done; wait")
        with open(p.path(".env"), encoding="utf-8") as f:
            names = re.findall(r"^([A-Z_]+)=.", f.read(), re.M)
        assert names[0] == "A" and sorted(set(names)) == sorted(names) and "JWT_SECRET" in names, f"{names}: {out}"
        left = [n for n in os.listdir(p.tree) if n.startswith(".env.") and n != ".env.example"]
        assert left == [], left
        assert stat.S_IMODE(os.stat(p.path(".env")).st_mode) == 0o600


@test
def docker_never_reads_the_env_file_of_the_apps():
    with Place() as p:
        p.env_file(text="nonsense that compose would not read\n")
        for command in ("up", "logs", "down", "build", "rebuild", "probe"):
            code, out = p.run(f"make docker-{command}")
            assert code == 0, out
        calls = [line for line in p.lines() if "compose" in line and not line.endswith("version")]
        assert calls and all(line.startswith("docker compose --env-file /dev/null ") for line in calls), calls


@test
def what_only_the_guide_lists_is_enough():
    # Whoever follows the old guide has no key for device tokens: the guide never named it.
    with Place() as p:
        values = good_env()
        del values["APNS_DEVICE_TOKEN_ENCRYPTION_KEY"]
        p.env_file(values)
        code, out = p.run("make secrets-all")
        assert code == 0 and "APNS_DEVICE_TOKEN_ENCRYPTION_KEY" not in p.sent(APPS["server"]), out
        for role in APPS:
            done = subprocess.run([PROGRAM, "--env-file", p.path(".env"), "check-config", "--role", role], env={}, capture_output=True, timeout=60)
            assert done.returncode == 0, f"{role}: {done.stderr}"


@test
def a_role_is_started_without_the_secrets_of_the_others():
    of = {"server": (), "gateway": ("JWT_SECRET", "LOG_HASH_SALT", "DELIVERY_SECRET_KEY", "APNS_DEVICE_TOKEN_ENCRYPTION_KEY"),
          "worker": ("JWT_SECRET", "LOG_HASH_SALT", "DATABASE_URL", "APNS_DEVICE_TOKEN_ENCRYPTION_KEY")}
    for role, without in of.items():
        env = {k: v for k, v in good_env().items() if k not in without}
        done = subprocess.run([PROGRAM, "check-config", "--role", role], env=env, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{role}: {done.stderr}"


@test
def single_quotes_mean_the_same_to_a_shell_and_to_us():
    odd = {f"ODD_{n}": v for n, v in enumerate((" a b ", "$HOME", "#", "a # b", '"', "\\n", "=", "one\ntwo", "`id`", "ü", "&;|<>()"))}
    with Place() as p:
        p.env_file(text="".join(f"{k}='{v}'\n" for k, v in odd.items()))
        code, out = p.run("set -a; . ./.env; set +a; env -0 >shell; BUILD=$BUILD ENV_FILE=.env env -i PATH=$PATH RECORD=$RECORD BUILD=$BUILD make run-server")
        assert code == 0, out
        for path in (p.path("shell"), os.path.join(p.record, "role-environ")):
            with open(path, "rb") as f:
                got = dict(pair.split(b"=", 1) for pair in f.read().split(b"\0") if b"=" in pair)
            for name, value in odd.items():
                assert got[name.encode()] == value.encode(), f"{path}: {name} {got[name.encode()]!r}"
