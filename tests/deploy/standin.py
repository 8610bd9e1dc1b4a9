# SPDX-License-Identifier: MIT
"""Takes the place of fly, docker and what is run inside a machine: main(NAME).
Writes each call to $RECORD/calls (one JSON line: arguments, standard input, environment), refuses
what the real one would refuse, and answers from $RECORD/state."""
import json
import os
import sys

import flyctl

RECORD = os.environ["RECORD"]
STATE = os.path.join(RECORD, "state")


def state(name, value=None):
    path = os.path.join(STATE, name)
    if value is not None:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(value, f)
        return value
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def flag(given, *names):
    return next((given[n][-1] for n in names if n in given), None)


def config_of(given):
    import tomllib
    path = flag(given, "-c", "--config")
    if not path:
        raise flyctl.Refused("deploy without -c")
    with open(path, "rb") as f:
        config = tomllib.load(f)
    unknown = list(flyctl.unknown_keys(config))
    if unknown:
        raise flyctl.Refused(f"{path}: unrecognized: {', '.join(unknown)}")
    dockerfile = config.get("build", {}).get("dockerfile")
    if dockerfile and not os.path.exists(os.path.join(os.path.dirname(path), dockerfile)):
        raise flyctl.Refused(f"{path}: no {dockerfile}")
    return config


def fly(words, stdin):
    name, given, _rest = flyctl.parse_fly(words)
    app = flag(given, "-a", "--app")
    apps = state("apps") or []
    if name == "apps create":
        if _rest[0] in apps:
            raise flyctl.Refused("Name has already been taken")
        state("apps", apps + [_rest[0]])
    elif name == "apps list":
        print(json.dumps([{"ID": a, "Name": a, "Status": "deployed"} for a in apps], indent=4))
    elif name in ("auth login", "version") or name.startswith("tokens"):
        pass
    elif app not in apps:
        raise flyctl.Refused(f"Could not find App {app!r}")
    elif name == "secrets import":
        values = flyctl.parse_secrets(stdin)
        if not values:
            raise flyctl.Refused("requires at least one SECRET=VALUE pair")
        had = state(f"secrets-{app}") or {}
        state(f"secrets-{app}", had | {k: v.decode("latin-1") for k, v in values.items()})
    elif name == "secrets list":
        for one in state(f"secrets-{app}") or {}:
            print(f"{one}  │ 0123456789abcdef")
    elif name == "deploy":
        config_of(given)
        if state(f"unhealthy-{app}"):
            raise flyctl.Refused("timeout reached waiting for health checks to pass")
        state(f"machines-{app}", max(1, state(f"machines-{app}") or 0))
    elif name == "machine list":
        for n in range(state(f"machines-{app}") or 0):
            print(f"  {0x17815F5E9D0000 + n:014x}  ")
    elif name == "scale count":
        state(f"machines-{app}", int(_rest[0]))
    elif name == "releases":
        if "--json" in given:
            print(json.dumps(state(f"releases-{app}") or [], indent=4))
    elif name == "status" and state(f"unhealthy-{app}"):
        return 1
    return 0


def docker(words, _stdin):
    name, _given, _rest = flyctl.parse_docker(words)
    return 1 if state(f"fail-{name}") else 0


def main(me):
    words = sys.argv[1:]
    # Nobody waits for a terminal here; only what is piped in is read.
    stdin = b"" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
    with open(os.path.join(RECORD, "calls"), "a", encoding="utf-8") as f:
        f.write(json.dumps({"argv": [me, *words], "stdin": stdin.decode("latin-1"),
                            "env": {k: v for k, v in os.environ.items() if k not in ("RECORD",)}}) + "\n")
    try:
        if me == "fly":
            return fly(words, stdin)
        if me == "docker":
            return docker(words, stdin)
        if me == "curl":
            print("exit 0")  # the installer, which is not to be run here
        return 0
    except flyctl.Refused as e:
        print(f"Error: {e}", file=sys.stderr)
        return 1

