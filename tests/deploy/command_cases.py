# SPDX-License-Identifier: MIT
"""The Makefile's targets one by one, and what the stand-ins refuse."""
import os
import re
import stat

import flyctl
from harness import APPS, Place, good_env, test

RELEASES = [{"ID": f"r{n}", "Version": n, "Stable": False, "InProgress": False, "Reason": "", "Description": "Release, {odd}",
             "Status": status, "User": {"ID": "u", "Email": "a@relay.net"}, "ImageRef": f"hub/app:deployment-{image}"}
            for n, status, image in ((45, "failed", "E"), (44, "complete", "D"), (43, "complete", "D"), (42, "complete", "C"), (41, "complete", "B"))]


def ready(p):
    p.env_file(good_env())
    p.state("apps", list(APPS.values()))


@test
def deploy_all_goes_gateway_worker_server_with_migrations_first():
    with Place() as p:
        ready(p)
        code, out = p.run("make deploy-all")
        assert code == 0, out
        deploys = [line for line in p.lines() if line.startswith("fly deploy")]
        assert [re.search("-a ([a-z-]+)", d).group(1) for d in deploys] == [APPS["gateway"], APPS["worker"], APPS["server"]], deploys
        assert not any("--skip-release-command" in d for d in deploys), "no migrations"
        assert "fly scale count 2 -a construct-delivery-worker --region ams --yes" in p.lines(), "two workers at least"
        p.forget()
        p.state("machines-construct-delivery-worker", 5)
        assert p.run("make deploy-worker")[0] == 0
        assert not any("scale" in line for line in p.lines()), "five workers are not made two"


@test
def deploy_all_stops_at_the_first_app_that_is_not_healthy():
    for sick, left in (("gateway", ("worker", "server")), ("worker", ("server",))):
        with Place() as p:
            ready(p)
            p.state(f"unhealthy-{APPS[sick]}", True)
            code, out = p.run("make deploy-all")
            assert code != 0 and f"{sick} is not healthy" in out, out
            for role in left:
                assert not any(f"-a {APPS[role]} " in line for line in p.lines()), f"{role} was touched"


@test
def status_all_looks_at_every_app_and_counts_a_sick_one():
    with Place() as p:
        ready(p)
        assert p.run("make status-all")[0] == 0
        p.state(f"unhealthy-{APPS['server']}", True)
        p.forget()
        code, _ = p.run("make status-all")
        assert code != 0 and len(p.lines()) == 3, p.lines()


@test
def secrets_are_staged_when_a_deployment_follows():
    with Place() as p:
        ready(p)
        assert p.run("make secrets-all deploy-all")[0] == 0
        lines = p.lines()
        assert sum("--stage" in line for line in lines) == 3, lines
        assert max(i for i, x in enumerate(lines) if "import" in x) < min(i for i, x in enumerate(lines) if "deploy" in x)
        p.forget()
        assert p.run("make secrets-server")[0] == 0 and not any("--stage" in line for line in p.lines())
        assert [line for line in p.lines() if "import" in line] == ["fly secrets import -a construct-server"]
        p.forget()
        assert p.run("make STAGE=1 secrets-worker")[0] == 0 and "fly secrets import -a construct-delivery-worker --stage" in p.lines()


@test
def rollback_takes_the_image_before_and_no_migrations():
    with Place() as p:
        ready(p)
        p.state(f"releases-{APPS['server']}", RELEASES)
        for command, image in (("make rollback-server", "C"), ("make rollback-server VERSION=41", "B"), ("make rollback-server VERSION=v42", "C")):
            p.forget()
            code, out = p.run(command)
            assert code == 0, out
            last = p.lines()[-1]
            assert f"--image hub/app:deployment-{image} " in last and "--skip-release-command" in last and "-a construct-server" in last, last
        for command in ("make rollback-server VERSION=45", "make rollback-server VERSION=7", "make rollback-worker"):
            p.forget()
            assert p.run(command)[0] != 0 and not any("deploy" in line for line in p.lines()), command


@test
def scale_changes_count_size_and_memory():
    with Place() as p:
        ready(p)
        for command, calls in (
                ("make scale-server COUNT=3", ["fly scale count 3 -a construct-server --yes"]),
                ("make scale-worker COUNT=5", ["fly scale count 5 -a construct-delivery-worker --yes"]),
                ("make scale-gateway SIZE=shared-cpu-2x MEMORY=2048 COUNT=2",
                 ["fly scale vm shared-cpu-2x -a construct-message-gateway --vm-memory 2048", "fly scale count 2 -a construct-message-gateway --yes"]),
                ("make scale-server MEMORY=2048", ["fly scale memory 2048 -a construct-server"])):
            p.forget()
            code, out = p.run(command)
            assert code == 0 and p.lines() == calls, f"{command}: {p.lines()} {out}"
        for command in ("make scale-server", "make scale-worker COUNT=1", "make scale-server COUNT=many"):
            p.forget()
            assert p.run(command)[0] != 0 and p.lines() == [], command


@test
def ssh_and_logs_go_to_the_app_of_the_role():
    with Place() as p:
        ready(p)
        for role, app in APPS.items():
            p.forget()
            assert p.run(f"make ssh-{role} logs-{role}")[0] == 0
            assert p.lines() == [f"fly ssh console -a {app}", f"fly logs -a {app}"]


@test
def one_file_changes_names_region_and_sizes():
    with Place() as p:
        ready(p)
        p.state("apps", ["my-relay", "my-gate"])
        with open(p.path("ops/fly.local.conf"), "w", encoding="utf-8") as f:
            f.write("# mine\nFLY_APP_SERVER=my-relay\nFLY_APP_GATEWAY=my-gate\nFLY_REGION=fra\nFLY_SIZE_SERVER=performance-2x\nFLY_MEMORY_SERVER=4096\n")
        code, out = p.run("make deploy-server")
        assert code == 0, out
        last = p.lines()[-1]
        for words in ("-a my-relay ", "--primary-region fra", "MESSAGE_GATEWAY_URL=http://my-gate.internal:8080", "--vm-size performance-2x", "--vm-memory 4096"):
            assert words in last, f"{words} is not in {last}"
        with open(p.path("ops/fly.local.conf"), "a", encoding="utf-8") as f:
            f.write("FLY_APP_WORKER=$(id)\n")
        assert p.run("make status-all")[0] != 0, "a setting that is no name was taken"


@test
def the_autoscaler_gets_its_own_tokens_and_names():
    with Place() as p:
        p.env_file({"FAS_API_TOKEN": "FlyV1 fm2_0123456789abcdefghij", "FAS_PROMETHEUS_TOKEN": "FlyV1 fm2_klmnopqrstuvwxyz=="})
        code, out = p.run("make secrets-autoscaler deploy-autoscaler")
        assert code == 0, out
        assert set(p.sent("construct-autoscaler")) == {"FAS_API_TOKEN", "FAS_PROMETHEUS_TOKEN"}


@test
def dry_run_prints_and_calls_nothing():
    with Place() as p:
        ready(p)
        for command, words in (("deploy-all", "fly deploy -a construct-message-gateway"), ("secrets-all", "fly secrets import -a construct-server"),
                               ("docker-up", "docker compose"), ("run-worker", "delivery-worker"), ("scale-server COUNT=2", "fly scale count 2"),
                               ("rollback-worker VERSION=3", "fly releases -a construct-delivery-worker"), ("ssh-gateway", "fly ssh console"),
                               ("db-migrate", "construct migrate")):
            p.forget()
            code, out = p.run(f"make DRY_RUN=1 {command}")
            assert code == 0 and words in out, f"{command}: {out}"
            # Asking docker whether it has its plugin changes nothing.
            assert [x for x in p.lines() if x != "docker compose version"] == [], f"{command}: {p.lines()}"
            assert not os.path.exists(os.path.join(p.record, "roles"))


@test
def a_missing_fly_or_docker_is_one_clear_sentence():
    with Place() as p:
        ready(p)
        os.remove(os.path.join(p.bin, "fly"))
        os.remove(os.path.join(p.bin, "docker"))
        for command, words in (("deploy-server", "fly is not installed"), ("secrets-all", "fly is not installed"), ("logs-worker", "fly is not installed"),
                               ("docker-up", "docker is not installed")):
            # Whatever this machine has: only the folders of plain tools.
            code, out = p.run(f"PATH={p.bin}:{bare(p)} make {command}")
            lines = [line for line in out.splitlines() if not line.startswith("make")]
            assert code != 0 and len(lines) == 1 and words in lines[0], f"{command}: {out}"


def bare(p):
    """A folder of links to all programs but fly and docker."""
    folder = os.path.join(p.top, "bare")
    os.makedirs(folder, exist_ok=True)
    for place in ("/usr/bin", "/bin"):
        for name in os.listdir(place):
            if name not in ("fly", "flyctl", "docker") and not os.path.lexists(os.path.join(folder, name)):
                os.symlink(os.path.join(place, name), os.path.join(folder, name))
    return folder


@test
def docker_up_ends_when_a_probe_has_crossed():
    with Place() as p:
        code, out = p.run("make docker-up")
        assert code == 0, out
        compose = "docker compose --env-file /dev/null -f ops/docker-compose.yml --project-directory . "
        assert p.lines()[1:] == [compose + "up -d --build --wait --wait-timeout 300", compose + "run --rm --no-deps probe"], p.lines()
        folder = p.path("data/docker")
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700, "others may read the secrets"
        files = {name: open(os.path.join(folder, name), encoding="utf-8").read() for name in os.listdir(folder)}
        assert len(files) == 6 and all(files.values()), files.keys()
        assert not any(v in str(p.calls()) for v in files.values()), "a secret reached docker's arguments or environment"
        assert p.run("make docker-up")[0] == 0
        assert files["jwt_secret"] == open(os.path.join(folder, "jwt_secret"), encoding="utf-8").read(), "made anew"
        p.state("fail-up", True)
        p.forget()
        assert p.run("make docker-up")[0] != 0 and not any(line.endswith("probe") for line in p.lines())


@test
def make_help_lists_every_target_in_its_group():
    with Place() as p:
        code, out = p.run("make help")
        assert code == 0, out
        for words in ("secrets-all", "secrets-check", "secrets-generate", "deploy-all", "status-all", "logs-server", "run-server", "docker-up",
                      "db-migrate", "scale-server", "rollback-server", "ssh-server", "DRY_RUN=1", "deploy-test"):
            assert words in out, f"{words} is not in make help"
        for group in ("Roles", "Docker", "Secrets", "Fly.io"):
            assert re.search(f"^{group} +make", out, re.M), f"no group {group}"


@test
def the_stand_ins_refuse_what_todays_tools_do_not_know():
    for words in ("releases rollback 41 -a x", "autoscale set -a x", "deploy --detatch -a x", "secrets import --stdin -a x", "scale count -a x",
                  "secrets import A=b -a x", "status -a", "deploy --ha=maybe -a x", "scale vm a b -a x", "launch"):
        try:
            flyctl.parse_fly(words.split())
        except flyctl.Refused:
            continue
        raise AssertionError(f"fly {words}: was taken")
    for words in ("compose up --waits", "compose -x up", "compose restart-all", "swarm init", "compose"):
        try:
            flyctl.parse_docker(words.split())
        except flyctl.Refused:
            continue
        raise AssertionError(f"docker {words}: was taken")
