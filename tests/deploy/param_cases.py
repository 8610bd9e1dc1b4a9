# SPDX-License-Identifier: MIT
"""One truth: include/construct/params.def, ops/secrets.list, .env.example and the program say the same."""
import os
import re
import subprocess

from harness import ROLES, ROOT, Place, good_env, listed, test

PROGRAM = os.path.join(ROOT, "build/release/construct")
GROUPS = {"P_STACK": {"P_SERVER", "P_GATEWAY", "P_WORKER"}, "P_EVERY": {"P_SERVER", "P_GATEWAY", "P_WORKER", "P_RELAY"}}


class Param:
    """One entry of params.def."""

    def __init__(self, args):
        self.kind, _, self.name, self.min, self.max, self.preset, self.unit, flags, _ = args
        self.flags = {f for word in flags.split(" | ") for f in GROUPS.get(word, {word})}
        self.roles = {r for r in ROLES if f"P_{r.upper()}" in self.flags}


def table():
    with open(os.path.join(ROOT, "include/construct/params.def"), encoding="utf-8") as f:
        text = f.read()
    found = {}
    for body in re.findall(r'^PARAM\(((?:[^"()]|"[^"]*")*)\)$', text, re.M):
        words = re.findall(r'(?:"[^"]*"\s*)+|[^",]+', body)
        words = [re.sub(r'"\s*"', "", " ".join(w.split())).strip('" ') for w in words if w.strip() or '"' in w]
        param = Param(words)
        found[param.name] = param
    assert len(found) == len(re.findall(r"^PARAM\(", text, re.M)) > 70, "params.def was not understood"
    return found


def example():
    with open(os.path.join(ROOT, ".env.example"), encoding="utf-8") as f:
        return dict(line.rstrip("\n").split("=", 1) for line in f if re.match("[A-Z]", line))


def check_config(role, values):
    """(exit code, output) of the program on these variables alone."""
    assert os.path.exists(PROGRAM), f"{PROGRAM} is not built: make"
    done = subprocess.run([PROGRAM, "check-config", "--role", role], env=values, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@test
def the_list_of_secrets_says_what_the_table_of_the_program_says():
    params = table()
    ours = {name: row for name, row in listed().items() if not name.startswith("FAS_")}
    for name, (roles, what, kind, need) in ours.items():
        p = params[name]
        kind, _, arg = kind.partition(":")
        assert (what == "secret") == ("P_SECRET" in p.flags), f"{name}: secret in one place only"
        assert p.roles <= set(roles), f"{name}: not given to {p.roles - set(roles)}, who use it"
        assert "P_NEED" not in p.flags or need == "must", f"{name}: a role does not start without it, the list says {need}"
        assert need != "made" or kind.split(":")[0] in ("random", "hex", "seed"), f"{name}: nobody makes a {kind}"
        if kind == "number":
            assert (p.kind, f"{p.min}:{p.max}") == ("INT", arg), f"{name}: {p.min} to {p.max} or {arg}"
        elif kind in ("hex", "random"):
            assert p.min == arg and ("P_HEX" in p.flags) == (kind == "hex"), f"{name}: length {p.min} or {arg}"
        elif kind in ("bool", "true"):
            assert p.kind == "BOOL", name
        elif kind == "choice":
            assert set(arg.split("|")) <= set(p.unit.split("|")), f"{name}: {arg} or {p.unit}"
        elif kind == "url":
            assert "P_URL" in p.flags, name
        else:
            assert p.kind in ("STR", "ENUM"), name
    secret = {name for name, p in params.items() if "P_SECRET" in p.flags}
    assert secret <= set(ours), f"secrets that no app is given: {secret - set(ours)}"
    own = {name for name, p in params.items() if "P_OWN" in p.flags}
    must = {name for name, row in ours.items() if row[3] in ("must", "made")}
    assert own == must, f"in .env.example or a must, not both: {own ^ must}"


@test
def env_example_holds_every_must_and_each_is_refused_until_somebody_changed_it():
    params, values = table(), example()
    assert set(values) == {name for name, p in params.items() if "P_OWN" in p.flags}, "set, but no deployment's own"
    left = {k for k, v in values.items() if v == "" or "CHANGE_ME" in v}
    secret = {k for k in values if "P_SECRET" in params[k].flags}
    assert secret <= left, f"an example's value for {secret - left} would pass"
    with Place() as p:
        code, out = p.run("cp .env.example .env && make secrets-all")
        assert code != 0 and p.calls() == [], out
        for name in left:
            if listed()[name][3] == "made":
                continue
            assert re.search(rf"\b{name} (is|holds)\b", out), f"{name} is not named: {out}"
    for role in ROLES:
        code, out = check_config(role, values)
        assert code == 78, out
        for name in left:
            if values[name] or "P_NEED" in params[name].flags and role in params[name].roles:
                assert f"{name}:" in out, f"{role}: {name} is not named: {out}"


@test
def an_example_that_is_filled_in_and_completed_by_generate_is_fit_for_every_role():
    good = good_env()
    with Place() as p:
        with open(p.path(".env.example"), encoding="utf-8") as f:
            text = re.sub(r"^([A-Z_]+)=.*CHANGE_ME.*$", lambda m: f"{m[1]}={good[m[1]]}", f.read(), flags=re.M)
        p.env_file(text=text)
        code, out = p.run("make secrets-generate secrets-check")
        assert code == 0, out
        # The program's own opinion, on what the reader of .env hands to it.
        for role in ROLES:
            code, out = p.run(f"ops/run-role.sh check {role}", BUILD=os.path.dirname(PROGRAM))
            assert code == 0 and "configuration: ok" in out, f"{role}: {out}"
        for role in ROLES:  # what it does not need is judged too, when it is there
            code, out = p.run(f"make check-config ROLE={role}", BUILD=os.path.dirname(PROGRAM), JWT_SECRET="short")
            assert code != 0 and "JWT_SECRET:" in out, f"{role}: {out}"
