# SPDX-License-Identifier: MIT
"""Every command block of the deployment guide that this system was asked for (deployment-guide.txt), and
of our own (ops/README.md), run line by line.  What comes of it is compared with guide.calls and
readme.calls; `run.py --write` writes both anew, to be read before they are committed.

A block that opens a shell in a machine (fly ssh console) goes on in it: its lines run where /app is
what the Dockerfile puts there, with the variables that the app was given."""
import difflib
import os
import re
import secrets
import shutil
import tomllib

import flyctl
from harness import APPS, HERE, ROOT, Place, good_env, listed, test

GUIDE, README = os.path.join(HERE, "deployment-guide.txt"), os.path.join(ROOT, "ops/README.md")
RECORDS = {GUIDE: os.path.join(HERE, "guide.calls"), README: os.path.join(HERE, "readme.calls")}
# What the reader fills in.
PLACEHOLDERS = {"<KAFKA_BROKERS>": "broker.relay.net 9092", "<version>": "41", "<stable-version>": "41"}


def blocks(page):
    """(heading, language, lines) of each fenced block."""
    with open(page, encoding="utf-8") as f:
        text = f.read()
    heading, found, inside = "", [], None
    for line in text.split("\n"):
        fence = re.match(r"\s*```(\w*)$", line)
        if fence and inside is None:
            inside = (heading, fence.group(1), [])
        elif fence:
            found.append(inside)
            inside = None
        elif inside is not None:
            inside[2].append(line.strip() if inside[1] == "bash" else line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert inside is None and len(found) > 20, f"{page} was not understood"
    return found


def shown(call):
    """A recorded call in one line; of standard input only the names."""
    words = " ".join(call["argv"])
    # Inside a machine the guide itself hands psql and redis-cli their URL.
    words = re.sub(r"(postgresql|rediss)://\S+", r"\1://...", re.sub(r"VERSION=\S+", "VERSION=...", words))
    names = sorted(flyctl.parse_secrets(call["stdin"].encode("latin-1"))) if "secrets import" in words else []
    return f"  {words}" + (f"  < {' '.join(names)}" if names else "")


def machine(p, app):
    """/app and the variables of a machine of `app`."""
    folder = os.path.join(p.top, "machine", "app")
    with open(p.path("ops/Dockerfile"), encoding="utf-8") as f:
        dockerfile = f.read()
    assert re.search(r"^WORKDIR /app$", dockerfile, re.M) and "COPY migrations/ /app/migrations/" in dockerfile
    for tool in ("netcat-openbsd", "postgresql-client", "redis-tools"):
        assert tool in dockerfile, f"the image lacks {tool}"
    shutil.copytree(p.path("migrations"), os.path.join(folder, "migrations"), dirs_exist_ok=True)
    return folder, {k: v.decode() for k, v in p.sent(app).items()}


def run_block(p, lines):
    """The written record of one block."""
    inside = None
    for line in lines:
        if line == "# Put them into .env":
            with open(p.path(".env"), "a", encoding="utf-8") as f:
                f.write(f"FAS_API_TOKEN={secrets.token_hex(20)}\nFAS_PROMETHEUS_TOKEN={secrets.token_hex(20)}\n")
        if not line or line.startswith("#"):
            continue
        command = line
        for mark, value in PLACEHOLDERS.items():
            command = command.replace(mark, value)
        p.forget()
        if inside and not command.startswith(("fly ", "make ")):
            folder, env = machine(p, inside)
            code, out = p.run(command.replace("cd /app", f"cd {folder}"), **env)
            yield f"$ [in a machine of {inside}] {command}"
        else:
            code, out = p.run(command)
            opened = re.fullmatch(r"fly ssh console -a (\S+)", command)
            inside = opened.group(1) if opened else None
            yield f"$ {command}"
        for call in p.calls():
            yield shown(call)
        if os.path.exists(os.path.join(p.record, "roles")):
            with open(os.path.join(p.record, "roles"), encoding="utf-8") as f:
                yield f"  became {f.read().strip()}"
        if code:
            yield f"  = exit code {code}: {out.strip().splitlines()[-1] if out.strip() else ''}"
        if command == "cp .env.example .env":
            assert os.path.exists(p.path(".env")), out
            p.env_file(good_env())  # "edit .env with your credentials"


def run_page(page):
    with Place() as p:
        for app in APPS.values():
            p.state(f"releases-{app}", [{"Version": v, "Status": "complete", "ImageRef": f"hub/{app}:deployment-{v}"} for v in (43, 42, 41)])
        for heading, language, lines in blocks(page):
            if language == "bash":
                yield f"## {heading}"
                yield from run_block(p, lines)


def write():
    for page, calls in RECORDS.items():
        record = list(run_page(page))
        with open(calls, "w", encoding="utf-8") as f:
            f.write("\n".join(record) + "\n")


def compare(page):
    with open(RECORDS[page], encoding="utf-8") as f:
        wanted = f.read().splitlines()
    got = list(run_page(page))
    diff = list(difflib.unified_diff(wanted, got, os.path.basename(RECORDS[page]), "what happened", lineterm=""))
    assert not diff, "\n".join(diff[:40])


def failures(page):
    with open(RECORDS[page], encoding="utf-8") as f:
        return re.findall(r"^\$ (.*)\n(?:  .*\n)*?  = exit code", f.read(), re.M)


@test
def every_command_of_the_guide_does_what_is_written():
    compare(GUIDE)


@test
def every_command_of_our_own_guide_does_what_is_written():
    compare(README)


@test
def no_command_of_the_guide_fails_but_the_rollback_that_fly_no_longer_has():
    assert failures(GUIDE) == ["fly releases rollback 41 -a construct-server"] * 2, failures(GUIDE)
    assert failures(README) == [], failures(README)


@test
def our_own_guide_has_every_part_of_the_guide_and_all_its_targets():
    def targets(page):
        return {word for _, language, lines in blocks(page) if language == "bash" for line in lines
                for word in re.findall(r"[a-z]+-[a-z]+", line) if line.startswith("make ")}

    missing = targets(GUIDE) - targets(README)
    assert not missing and len(targets(GUIDE)) > 20, f"not in ops/README.md: {missing}"
    with open(README, encoding="utf-8") as f:
        text = f.read()
    wanted = ["Files", "Architecture", "Quick start", "Deployment commands", "Configuration", "Local development", "Monitoring and debugging",
              "Security", "Troubleshooting", "Performance", "Rollback", "More", "Workflows"]
    assert re.findall(r"^## (.*)$", text, re.M) == wanted


@test
def the_table_of_our_own_guide_is_the_list_of_secrets():
    with open(README, encoding="utf-8") as f:
        rows = re.findall(r"^\| `([A-Z_]+)` \| `(\w+)` \| (yes)? ?\|", f.read(), re.M)
    written = {name: (roles, secret == "yes") for name, roles, secret in rows}
    wanted = {name: ("".join(r[0] for r in APPS if r in roles), what == "secret") for name, (roles, what, _, need) in listed().items()
              if need in ("must", "made") and not name.startswith("FAS_")}
    assert written == wanted and len(rows) == len(wanted), set(written.items()) ^ set(wanted.items())


@test
def the_old_autoscaling_section_is_no_key_of_fly_toml_and_the_rest_of_the_guide_is():
    tables = [tomllib.loads("\n".join(lines)) for _, language, lines in blocks(GUIDE) if language == "toml"]
    assert len(tables) == 2
    unknown = [key for table in tables for key in flyctl.unknown_keys(table)]
    assert unknown == ["autoscaling"], unknown
    ours = [tomllib.loads("\n".join(lines)) for _, language, lines in blocks(README) if language == "toml"]
    with open(os.path.join(ROOT, "ops/fly.toml"), "rb") as f:
        env = tomllib.load(f)["env"]
    assert ours and all(env[name] == value for table in ours for name, value in table["env"].items()), "not what fly.toml says"
