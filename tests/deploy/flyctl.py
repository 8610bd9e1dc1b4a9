# SPDX-License-Identifier: MIT
"""What flyctl and `docker compose` accept: subcommands, flags, arguments.  Written from flyctl's own
command definitions (August 2026) and the documentation of Compose v2; a stand-in refuses the rest.
Also the reader of `fly secrets import` and the known keys of fly.toml."""
import re

APP = {"-a": 1, "--app": 1, "-c": 1, "--config": 1}
JSON = {"-j": 0, "--json": 0}
YES = {"-y": 0, "--yes": 0}
ORG = {"-o": 1, "--org": 1}
VM = {"--vm-size": 1, "--vm-cpus": 1, "--vm-cpu-kind": 1, "--vm-memory": 1, "--vm-gpus": 1, "--vm-gpu-kind": 1}
SECRETS = {**APP, "--detach": 0, "--stage": 0, "--dns-checks": 0}
GLOBAL = {"-t": 1, "--access-token": 1, "--debug": 0, "--verbose": 0, "-h": 0, "--help": 0}

# subcommand -> (flags, fewest and most arguments); 1 after a flag: it takes a value
FLY = {
    "apps list": ({**JSON, **ORG, "-q": 0, "--quiet": 0}, 0, 0),
    "apps create": ({**JSON, **ORG, **YES, "--name": 1, "--generate-name": 0, "--network": 1, "--save": 0}, 0, 1),
    "auth login": ({"-i": 0, "--interactive": 0, "--email": 1, "--password": 1, "--otp": 1}, 0, 0),
    "checks list": ({**APP, **JSON, "--check-name": 1}, 0, 0),
    "deploy": ({**APP, **YES, **VM, "-i": 1, "--image": 1, "--now": 0, "--remote-only": 0, "--local-only": 0,
                "--push": 0, "--detach": 0, "--strategy": 1, "--dockerfile": 1, "--ignorefile": 1,
                "--image-label": 1, "--build-arg": 1, "--build-secret": 1, "--build-target": 1, "--no-cache": 0,
                "-e": 1, "--env": 1, "--wait-timeout": 1, "--release-command-timeout": 1, "--lease-timeout": 1,
                "--ha": 0, "--smoke-checks": 0, "--dns-checks": 0, "--max-unavailable": 1, "--no-public-ips": 0,
                "--flycast": 0, "--file-local": 1, "--file-literal": 1, "--file-secret": 1,
                "--primary-region": 1, "--regions": 1, "--exclude-regions": 1, "--only-machines": 1,
                "--exclude-machines": 1, "--process-groups": 1, "--label": 1, "--max-concurrent": 1,
                "--volume-initial-size": 1, "-s": 1, "--signal": 1, "--deploy-retries": 1, "--update-only": 0,
                "--skip-release-command": 0, "--build-only": 0}, 0, 1),
    "logs": ({**APP, **JSON, "-r": 1, "--region": 1, "--machine": 1, "-n": 0, "--no-tail": 0, "-s": 0, "--select": 0}, 0, 0),
    "machine list": ({**APP, **JSON, "-q": 0, "--quiet": 0}, 0, 0),
    "releases": ({**APP, **JSON, "--image": 0}, 0, 0),
    "scale count": ({**APP, **YES, **VM, "-g": 1, "--process-group": 1, "--max-per-region": 1, "-r": 1, "--region": 1,
                     "--with-new-volumes": 0, "--from-snapshot": 1, "-e": 1, "--env": 1}, 1, 99),
    "scale memory": ({**APP, "-g": 1, "--process-group": 1}, 1, 1),
    "scale show": ({**APP, **JSON}, 0, 0),
    "scale vm": ({**APP, "--vm-memory": 1, "-g": 1, "--process-group": 1}, 1, 1),
    "secrets import": (SECRETS, 0, 0),
    "secrets list": ({**APP, **JSON}, 0, 0),
    "secrets set": (SECRETS, 1, 99),
    "secrets unset": (SECRETS, 1, 99),
    "secrets deploy": ({**APP, "--detach": 0, "--dns-checks": 0}, 0, 0),
    "ssh console": ({**APP, **ORG, "-C": 1, "--command": 1, "--machine": 1, "-s": 0, "--select": 0, "-r": 1,
                     "--region": 1, "-q": 0, "--quiet": 0, "-A": 1, "--address": 1, "--container": 1, "--pty": 0,
                     "-u": 1, "--user": 1, "-g": 1, "--process-group": 1}, 0, 1),
    "status": ({**APP, **JSON, "--all": 0, "--deployment": 0, "--watch": 0, "--rate": 1}, 0, 0),
    "tokens create deploy": ({**APP, **JSON, "-n": 1, "--name": 1, "-x": 1, "--expiry": 1}, 0, 0),
    "tokens create readonly": ({**ORG, **JSON, "-n": 1, "--name": 1, "-x": 1, "--expiry": 1}, 0, 1),
    "version": (JSON, 0, 0),
}
COMPOSE_GLOBAL = {"-f": 1, "--file": 1, "-p": 1, "--project-name": 1, "--project-directory": 1, "--profile": 1,
                  "--env-file": 1, "--progress": 1}
COMPOSE = {
    "version": ({"--short": 0}, 0, 0),
    "up": ({"-d": 0, "--detach": 0, "--build": 0, "--wait": 0, "--wait-timeout": 1, "--force-recreate": 0,
            "--no-deps": 0, "--remove-orphans": 0, "--pull": 1, "--no-build": 0, "--scale": 1}, 0, 99),
    "down": ({"-v": 0, "--volumes": 0, "--remove-orphans": 0, "-t": 1, "--timeout": 1, "--rmi": 1}, 0, 99),
    "logs": ({"-f": 0, "--follow": 0, "--tail": 1, "-t": 0, "--since": 1}, 0, 99),
    "build": ({"--no-cache": 0, "--pull": 0, "--build-arg": 1, "-q": 0}, 0, 99),
    "run": ({"--rm": 0, "--no-deps": 0, "-d": 0, "-T": 0, "-e": 1, "--build": 0, "-q": 0}, 1, 99),
    "ps": ({"-a": 0, "--format": 1}, 0, 99),
}


class Refused(Exception):
    pass


def split(words, flags):
    """Flags and arguments of a command, or Refused as cobra would."""
    given, rest, words = {}, [], list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in flags:
            raise Refused(f"unknown flag: {name}")
        if flags[name]:
            if not equals:
                if not words:
                    raise Refused(f"flag needs an argument: {name}")
                value = words.pop(0)
        elif not equals:
            value = "true"
        elif value not in ("true", "false"):
            raise Refused(f"invalid argument {value!r} for {name}")
        given.setdefault(name, []).append(value)
    return given, rest


def parse_fly(words):
    """(subcommand, flags, arguments) of a call of fly."""
    for n in (3, 2, 1):
        name = " ".join(words[:n])
        if name in FLY:
            flags, fewest, most = FLY[name]
            given, rest = split(words[n:], {**GLOBAL, **flags})
            if not fewest <= len(rest) <= most:
                raise Refused(f"{name}: {len(rest)} arguments: {' '.join(rest)}")
            return name, given, rest
    raise Refused(f"unknown command: fly {' '.join(words[:2])}")


def parse_docker(words):
    if words[:1] != ["compose"]:
        raise Refused(f"unknown command: docker {' '.join(words[:1])}")
    at, words = 0, words[1:]
    while at < len(words) and words[at].startswith("-"):
        if words[at] not in COMPOSE_GLOBAL:
            raise Refused(f"unknown flag: {words[at]}")
        at += 2
    if at >= len(words) or words[at] not in COMPOSE:
        raise Refused(f"unknown command: docker compose {' '.join(words[at:at + 1])}")
    name = words[at]
    flags, fewest, most = COMPOSE[name]
    given, rest = split(words[at + 1:], flags)
    if not fewest <= len(rest) <= most:
        raise Refused(f"compose {name}: {len(rest)} arguments")
    return name, given, rest


LONGEST_LINE = 64 * 1024


def parse_secrets(text):
    """The values that `fly secrets import` makes of its standard input (bytes)."""
    values, key, parts = {}, None, None
    for line in text.split(b"\n")[:-1] if text.endswith(b"\n") else text.split(b"\n"):
        if len(line) >= LONGEST_LINE:
            break  # the scanner gives up, and nobody looks at its error
        if line.endswith(b"\r"):
            line = line[:-1]
        if parts is not None:
            if line.endswith(b'"""'):
                values[key] = b"".join(parts) + line[:-3]
                parts = None
            else:
                parts.append(line + b"\n")
            continue
        if line.startswith(b"#") or not line.strip():
            continue
        name, equals, value = line.partition(b"=")
        if not equals:
            raise Refused("Secrets must be provided as NAME=VALUE pairs")
        value = value.lstrip(b" ")
        left, mark, _ = value.partition(b"#")
        if mark and left.count(b'"') % 2 == 0:
            value = left.rstrip(b" ")
        if value.startswith(b'"""') and value.endswith(b'"""') and len(value) >= 6:
            values[name.strip()] = value[3:-3]
        elif value.startswith(b'"""'):
            key, parts = name.strip(), [value[3:] + b"\n"]
        else:
            for quote in (b'"', b"'"):
                if value.startswith(quote) and value.endswith(quote):
                    value = value[1:-1]
                    break
            values[name.strip()] = value
    return {k.decode(): v for k, v in values.items()}


# Keys of fly.toml: {} any below, None a value; the same for a table and a list of tables.
CHECK = {k: None for k in ("interval", "timeout", "grace_period", "method", "path", "protocol", "tls_skip_verify",
                           "tls_server_name")} | {"headers": {}}
CONCURRENCY = {"type": None, "soft_limit": None, "hard_limit": None}
TLS = {"alpn": None, "versions": None, "default_self_signed": None}
HTTP = {"compress": None, "response": {}, "h2_backend": None, "idle_timeout": None, "headers_read_timeout": None}
PROXY = {k: None for k in ("processes", "internal_port", "auto_stop_machines", "auto_start_machines",
                           "min_machines_running")} | {"concurrency": CONCURRENCY}
TOML = {
    "app": None, "primary_region": None, "kill_signal": None, "kill_timeout": None, "swap_size_mb": None,
    "console_command": None,
    "build": {"builder": None, "args": {}, "image": None, "dockerfile": None, "ignorefile": None, "build-target": None},
    "deploy": {k: None for k in ("strategy", "max_unavailable", "wait_timeout", "release_command",
                                 "release_command_timeout", "seed_command")} | {"release_command_vm": {}},
    "env": {}, "processes": {}, "mounts": {}, "files": {}, "statics": {}, "experimental": {},
    "http_service": PROXY | {"force_https": None, "tls_options": TLS, "http_options": HTTP, "checks": CHECK},
    "services": PROXY | {
        "protocol": None, "tcp_checks": {"interval": None, "timeout": None, "grace_period": None}, "http_checks": CHECK,
        "ports": {"port": None, "start_port": None, "end_port": None, "handlers": None, "force_https": None,
                  "tls_options": TLS, "http_options": HTTP, "proxy_proto_options": {}}},
    "checks": {"*": CHECK | {"port": None, "type": None, "processes": None}},
    "restart": {"policy": None, "retries": None, "processes": None},
    "vm": {k: None for k in ("size", "memory", "cpu_kind", "cpus", "memory_mb", "gpus", "gpu_kind", "processes")},
    "metrics": {"port": None, "path": None, "https": None, "processes": None},
}


def unknown_keys(table, known=TOML, where=""):
    """Keys that fly would not recognise."""
    for key, value in table.items():
        below = known.get(key, known.get("*", False))
        if below is False:
            yield where + key
        elif below:
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    yield from unknown_keys(one, below, f"{where}{key}.")
                else:
                    yield f"{where}{key} (not a table)"


def region_is_known(region):
    return re.fullmatch(r"[a-z]{3}", region) is not None
