# SPDX-License-Identifier: MIT
"""The files of ops/ themselves: TOML, YAML and Dockerfile by parsers and linters that are not ours."""
import fnmatch
import os
import re
import shutil
import subprocess
import tempfile
import tomllib

import yaml

import flyctl
from harness import APPS, ROOT, listed, test

FILES = {"server": "ops/fly.toml", "gateway": "ops/fly.gateway.toml", "worker": "ops/fly.worker.toml"}


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def load(name):
    return tomllib.loads(read(name))


@test
def fly_files_hold_keys_that_fly_knows_and_the_names_of_the_apps():
    for role, name in FILES.items():
        table = load(name)
        assert list(flyctl.unknown_keys(table)) == [], name
        assert table["app"] == APPS[role] and table["primary_region"] == "ams"
        assert os.path.exists(os.path.join(ROOT, "ops", table["build"]["dockerfile"]))
        assert table["deploy"]["release_command"] == "construct migrate"
    auto = load("ops/fly.autoscaler.toml")
    assert list(flyctl.unknown_keys(auto)) == [] and auto["env"]["FAS_APP_NAME"] == APPS["server"]
    conf = dict(re.findall(r"^(FLY_[A-Z_]+)=(\S+)$", read("ops/fly.conf"), re.M))
    assert [conf[f"FLY_APP_{r.upper()}"] for r in FILES] == list(APPS.values()) and conf["FLY_REGION"] == "ams"
    assert int(conf["FLY_COUNT_WORKER"]) >= 2


@test
def machines_are_stopped_by_sigterm_and_have_time_to_drain():
    for name in FILES.values():
        table = load(name)
        assert table["kill_signal"] == "SIGTERM"
        assert int(table["env"]["DRAIN_SECS"]) < table["kill_timeout"] <= 300, name


@test
def fly_checks_ask_for_real_readiness():
    server, gateway, worker = (load(FILES[r]) for r in FILES)
    http = server["http_service"]
    assert http["force_https"] and http["auto_stop_machines"] == "off" and http["concurrency"]["type"] == "connections"
    assert http["internal_port"] == int(server["env"]["PORT"]) == server["metrics"][0]["port"]
    assert http["checks"][0]["path"] == "/health/ready"
    for table in (gateway, worker):
        check = table["checks"]["ready"]
        assert (check["port"], check["path"]) == (int(table["env"]["HEALTH_PORT"]), "/health/ready") and table["metrics"][0]["port"] == check["port"]
    port = gateway["services"][0]["ports"][0]
    assert port["tls_options"]["alpn"] == ["h2"] and port["http_options"]["h2_backend"] and "tls" in port["handlers"]
    assert gateway["services"][0]["internal_port"] == int(gateway["env"]["PORT"]) != int(gateway["env"]["HEALTH_PORT"])
    assert server["env"]["MESSAGE_GATEWAY_URL"] == f"http://{APPS['gateway']}.internal:{gateway['env']['PORT']}"
    assert "services" not in worker and "http_service" not in worker, "the worker serves nobody"


@test
def no_secret_is_in_a_file_and_each_role_is_started_by_its_name():
    secret = {name for name, (_, what, _, _) in listed().items() if what == "secret"}
    for role, program in (("server", "construct-server"), ("gateway", "message-gateway"), ("worker", "delivery-worker")):
        table = load(FILES[role])
        assert not secret & set(table["env"]) and table["processes"] == {"app": program}
        assert re.search(rf"/usr/local/bin/{program}\b", read("ops/Dockerfile")), program
    done = subprocess.run(["git", "-C", ROOT, "check-ignore", ".env", ".env.new", "ops/fly.local.conf", "data/docker/jwt_secret"],
                          capture_output=True, text=True)
    assert len(done.stdout.split()) == 4, f"git would take one of them: {done.stdout}"


@test
def variables_of_the_list_and_of_the_files_are_known_to_the_program():
    known = set(re.findall(r'^PARAM\(\w+, \w+, "([A-Z_]+)"', read("include/construct/params.def"), re.M))
    assert len(known) > 50
    for name in list(listed()) + [k for f in FILES.values() for k in load(f)["env"]]:
        assert name in known or name.startswith("FAS_"), f"{name} is not in params.def"


@test
def dockerfile_passes_the_linter():
    tool = os.environ.get("HADOLINT")
    assert tool, "HADOLINT is not set: tests/deploy/run.sh sets it"
    done = subprocess.run([tool, "--no-color", os.path.join(ROOT, "ops/Dockerfile")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    with tempfile.TemporaryDirectory() as d:
        bad = os.path.join(d, "Dockerfile")
        with open(bad, "w", encoding="utf-8") as f:
            f.write("FROM debian:latest\nRUN cd /x && sudo apt-get install foo\n")
        assert subprocess.run([tool, bad], capture_output=True, timeout=60).returncode != 0, "the linter passes everything"


def last_stage():
    return re.split(r"^FROM ", read("ops/Dockerfile"), flags=re.M)[-1]


@test
def image_is_pinned_and_runs_as_nobody_in_particular_without_a_compiler():
    text = read("ops/Dockerfile")
    assert re.search(r"^ARG DEBIAN=debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}$", text, re.M)
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["${DEBIAN}"] * 2
    stage = last_stage()
    assert re.search(r"^USER 10001:10001$", stage, re.M) and re.search(r"^HEALTHCHECK ", stage, re.M)
    assert not re.search(r"\b(gcc|clang|make|build-essential|\S+-dev)\b", stage), "a compiler in the image"
    assert not re.search(r"^(ARG|ENV) .*(SECRET|PASSWORD|_KEY|SALT)", text, re.M)
    copied = re.findall(r"^COPY (?:--from=build )?(\S+)", stage, re.M)
    assert copied == ["/src/build/release/construct", "ops/healthcheck.sh", "migrations/"], copied


@test
def image_holds_the_libraries_that_the_program_needs():
    program = os.path.join(ROOT, "build/release/construct")
    if not os.path.exists(program):
        print("       NOT CHECKED: build/release/construct is not built (make), so its libraries are unknown", flush=True)
        return
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=60)
    direct = subprocess.run(["objdump", "-p", program], capture_output=True, text=True, check=True, timeout=60)
    needed = re.findall(r"NEEDED +(\S+)", direct.stdout)
    assert len(needed) > 5
    for name in needed:
        path = re.search(rf"{re.escape(name)} => (\S+)", done.stdout)
        if not path or name in ("libc.so.6", "libm.so.6", "libgcc_s.so.1"):
            continue
        owner = ""
        for tried in (path.group(1), os.path.realpath(path.group(1))):
            for form in (tried, tried.removeprefix("/usr")):
                owner = owner or subprocess.run(["dpkg-query", "-S", form], capture_output=True, text=True, timeout=60).stdout.split(":")[0]
        assert owner, f"nobody owns {name}"
        assert re.search(rf"(?<![\w-]){re.escape(owner)}(?![\w-])", last_stage()), f"the image lacks {owner} ({name})"


def let_through(name):
    """Does .dockerignore let a file of the project into the build?"""
    verdict = True
    for line in read(".dockerignore").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.lstrip("!").rstrip("/")
        parts = name.split("/")
        prefixes = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if pattern.startswith("**/"):
            hit = any(fnmatch.fnmatchcase(part, pattern[3:]) for part in parts)
        else:
            hit = any(fnmatch.fnmatchcase(p, pattern) for p in prefixes) if "/" in pattern else fnmatch.fnmatchcase(parts[0], pattern)
        if hit:
            verdict = line.startswith("!")
    return verdict


@test
def the_build_needs_nothing_that_dockerignore_keeps_back():
    for name in (".env", ".git/config", "data/docker/jwt_secret", "build/release/construct", "ops/.env.new", "ops/fly.local.conf", "stack/env", "src/x.pem"):
        assert not let_through(name), f"{name} would go to the builder"
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "-co", "--exclude-standard"], capture_output=True, check=True).stdout.decode().split("\0")
    with tempfile.TemporaryDirectory() as d:
        for name in names:
            if name and os.path.exists(os.path.join(ROOT, name)) and let_through(name):
                os.makedirs(os.path.dirname(os.path.join(d, name)), exist_ok=True)
                shutil.copy2(os.path.join(ROOT, name), os.path.join(d, name))
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))} | {"CONSTRUCT_VERSION": "7.7.7"}
        done = subprocess.run(["make", "-n", "CONF=release", "all"], cwd=d, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "-o build/release/construct" in done.stdout, done.stderr
        version = subprocess.run(["ops/version.sh"], cwd=d, env=env, capture_output=True, text=True, timeout=20)
        assert version.stdout == "7.7.7\n"


SERVICE = {"image", "build", "restart", "read_only", "tmpfs", "cap_drop", "security_opt", "stop_grace_period", "depends_on", "secrets",
           "command", "environment", "ports", "volumes", "healthcheck", "profiles"}


@test
def composition_is_whole_and_starts_in_the_order_of_health():
    table = yaml.safe_load(read("ops/docker-compose.yml"))
    services = table["services"]
    assert set(services) == {"postgres", "redis", "kafka", "migrate", "gateway", "worker", "server", "probe"}
    assert all(k in ("name", "services", "volumes", "secrets") or k.startswith("x-") for k in table)
    for name, service in services.items():
        assert set(service) <= SERVICE, f"{name}: {set(service) - SERVICE}"
        assert re.fullmatch(r"construct:local|(postgres|redis|apache/kafka):\d+\.\d+(\.\d+)?(-bookworm)?", service["image"]), service["image"]
        assert set(service.get("secrets", [])) <= set(table["secrets"]), name
        assert {v.split(":")[0] for v in service.get("volumes", [])} <= set(table["volumes"]), name
        for other, how in dict(service["depends_on"] or {}).items() if "depends_on" in service else ():
            if how["condition"] == "service_healthy":
                assert "test" in services[other].get("healthcheck", {}) or services[other]["image"] == "construct:local", other
            else:
                assert how["condition"] == "service_completed_successfully" and services[other]["restart"] == "no", other
        for key, value in (service.get("environment") or {}).items():
            if key.endswith("_FILE") and value.startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {key}"
            assert key.removesuffix("_FILE") == key or not re.search("example|change", str(value))
    assert set(services["server"]["depends_on"]) == {"migrate", "redis", "kafka", "gateway", "worker"}
    redis = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in redis and "--maxmemory-policy noeviction" in redis
    assert services["kafka"]["environment"]["KAFKA_PROCESS_ROLES"] == "broker,controller"
    made = re.search(r"for name in ([a-z_ ]+);", read("ops/docker.sh")).group(1).split() + ["database_url"]
    assert {os.path.basename(s["file"]) for s in table["secrets"].values()} == set(made), "secrets that nobody makes"


@test
def the_health_check_believes_only_a_200():
    import http.server
    import threading

    class Front(http.server.BaseHTTPRequestHandler):
        code = 200

        def do_GET(self):
            self.send_response(self.code if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    closed = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
    nobody = str(closed.server_address[1])
    closed.server_close()
    port = str(server.server_address[1])

    def check(**env):
        return subprocess.run([os.path.join(ROOT, "ops/healthcheck.sh")], env={"PATH": os.environ["PATH"], **env}, timeout=20).returncode

    try:
        assert check(PORT=port, HEALTH_PORT=nobody) == 0 and check(PORT=nobody, HEALTH_PORT=port) == 0
        Front.code = 503
        assert check(PORT=port, HEALTH_PORT=port) == 1
        assert check(PORT=nobody, HEALTH_PORT=nobody) == 1
    finally:
        server.shutdown()
        server.server_close()
