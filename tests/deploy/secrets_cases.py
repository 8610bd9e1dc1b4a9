# SPDX-License-Identifier: MIT
"""Secrets: refused before anything is sent, carried byte for byte, seen nowhere else."""
import os
import random
import re
import stat
import subprocess

import flyctl
from harness import APPS, HERE, ROOT, Place, good_env, listed, quoted, test


def refused(p, values, *names, command="ops/setup-fly-secrets.sh"):
    """Nothing goes out, and every one of `names` is in the message."""
    p.forget()
    p.env_file(values)
    code, out = p.run(command)
    assert code != 0, f"{names}: sent with exit code 0"
    assert p.calls() == [], f"{names}: fly was called: {p.lines()}"
    for name in names:
        assert re.search(rf"\b{name} (is|does|has|holds|leads|must|cannot)\b", out), f"{name} is not named in: {out}"
    for value in values.values():
        assert len(value) < 16 or value not in out, "a value is in the message"
    return out


@test
def each_missing_value_is_named_and_nothing_is_sent():
    with Place() as p:
        for name, (_, _, _, need) in listed().items():
            if need == "must" and not name.startswith("FAS_"):
                refused(p, {k: v for k, v in good_env().items() if k != name}, name)


@test
def each_example_value_is_named_and_nothing_is_sent():
    examples = {"url": "postgresql://user:your-password@db.relay.net/x", "url-redis": "redis://default:change_me_change_me@r.relay.net",
                "random": "change-me-change-me-change-me-change-me", "password": "your_confluent_api_secret",
                "hex": "<64 hex characters>", "text": "your-value", "domain": "chat.example.com"}
    with Place() as p:
        for name, (_, what, kind, need) in listed().items():
            kind = kind.split(":")[0] + ("-redis" if name == "REDIS_URL" else "")
            if need == "must" and kind in examples and not name.startswith("FAS_"):
                refused(p, good_env() | {name: examples[kind]}, name)


@test
def each_wrong_or_weak_value_is_named_and_nothing_is_sent():
    wrong = [("DATABASE_URL", "sqlite:data/construct.db"), ("DATABASE_URL", "postgresql://relay@db.relay.net/x"),
             ("DATABASE_URL", "postgresql://relay:short@db.relay.net/x"),
             ("DATABASE_URL", "postgresql://relay:9f8a7b6c5d4e3f2a1b@localhost/x"),
             ("REDIS_URL", "embedded:"), ("REDIS_URL", "rediss://default:abcabcabcabcabcabc@r.relay.net"),
             ("JWT_SECRET", "short"), ("JWT_SECRET", "abcd" * 16), ("LOG_HASH_SALT", "0" * 32),
             ("JWT_SECRET", "a" * 40 + "bcb"), ("LOG_HASH_SALT", "*" * 20 + "?["), ("DELIVERY_SECRET_KEY", "0" * 61 + "1f2"),
             ("REDIS_URL", "rediss://default:aaaaaaaaaaaaaaaaaaab@r.relay.net"),
             ("DELIVERY_SECRET_KEY", "ab12" * 15), ("DELIVERY_SECRET_KEY", "g" + "0123456789abcde" * 4 + "fed"),
             ("DELIVERY_SECRET_KEY", "0" * 64), ("KAFKA_SASL_PASSWORD", "hunter2"), ("KAFKA_ENABLED", "false"),
             ("KAFKA_SSL_ENABLED", "yes"), ("KAFKA_SASL_MECHANISM", "GSSAPI"), ("KAFKA_SASL_MECHANISM", "PLAIN|SCRAM-SHA-256"),
             ("DELIVERY_ACK_MODE", "embedded"), ("DELIVERY_EXPIRY_DAYS", "0"), ("DELIVERY_ACK_BATCH_BUFFER_SECS", "5s"),
             ("DELIVERY_ACK_ENABLE_BATCHING", "1"), ("INSTANCE_DOMAIN", "https://chat.relay.net"), ("FEDERATION_ENABLED", "on")]
    with Place() as p:
        for name, value in wrong:
            refused(p, good_env() | {name: value}, name)


@test
def all_faults_come_at_once():
    with Place() as p:
        bad = good_env() | {"JWT_SECRET": "short", "KAFKA_ENABLED": "no", "DELIVERY_SECRET_KEY": "xyz"}
        del bad["REDIS_URL"]
        refused(p, bad, "JWT_SECRET", "KAFKA_ENABLED", "DELIVERY_SECRET_KEY", "REDIS_URL", command="make secrets-all")


@test
def federation_that_is_on_needs_its_key():
    with Place() as p:
        refused(p, good_env() | {"FEDERATION_ENABLED": "true"}, "SERVER_SIGNING_KEY")


@test
def each_app_gets_what_the_guide_lists_and_no_more():
    with open(os.path.join(HERE, "deployment-guide.txt"), encoding="utf-8") as f:
        guide = f.read()
    wanted = {role: set() for role in APPS}
    for title, body in re.findall(r"^#### (.*)\n((?:- .*\n)+)", guide, re.M):
        who = re.search(r"\((.*)\)", title).group(1)
        roles = APPS if who == "all services" else [r for r in APPS if r in who]
        for role in roles:
            wanted[role] |= set(re.findall(r"^- `([A-Z_]+)", body, re.M))
    assert len(wanted["server"]) == 21 and len(wanted["gateway"]) == 13, "the guide was not understood"
    wanted["server"].add("APNS_DEVICE_TOKEN_ENCRYPTION_KEY")  # the guide forgot it: device tokens lie under it
    with Place() as p:
        p.env_file(good_env() | {"PORT": "9", "FAS_API_TOKEN": "FlyV1 0123456789abcdefgh", "UNKNOWN": "x"})
        code, out = p.run("make secrets-all")
        assert code == 0, out
        for role, app in APPS.items():
            assert set(p.sent(app)) == wanted[role], f"{role}: {set(p.sent(app)) ^ wanted[role]}"
        imports = [line for line in p.lines() if "secrets import" in line]
        assert len(imports) == 3, f"not one release an app: {imports}"


ODD = ["it's", 'say "hi"', "a b  c ", "$HOME ${X} $(id) `id`", "#", "a#b", " # c", "x #y", 'odd " then # mark', 'two "" then #',
       "one\ntwo", "\nfirst line empty", "last line empty\n", "a\n\nb\n\n", '"""', "'''", "'quoted'", '"quoted"', '"', "'",
       "back\\slash \\n \\", "tab\there", "=", "a=b=c", "# at start", "ü€ 漢", "!history! *glob* ~ & | ; > ( ) { }", '"a" # b "c"',
       "cr\rinside", "ends in cr\r", '\'"\'', 'x\n# no comment\nY=z', 'two""\nlines', '-----BEGIN KEY-----\nMIIB#"\n-----END KEY-----\n']


@test
def odd_values_arrive_byte_for_byte():
    with Place() as p:
        for odd in ODD:
            values = good_env()
            for name in ("JWT_SECRET", "LOG_HASH_SALT", "KAFKA_SASL_PASSWORD"):
                values[name] = odd + values[name] if odd[-1:] in "\r\n" else values[name] + odd
            values["KAFKA_SASL_PASSWORD"] = odd + values["LOG_HASH_SALT"].removesuffix(odd) + odd
            p.env_file(values)
            code, out = p.run("ops/setup-fly-secrets.sh server")
            if "cannot be carried" in out:
                # Alone in first lines that fly itself would cut; the test below holds which.
                assert code != 0 and "\n" in values["KAFKA_SASL_PASSWORD"] + values["JWT_SECRET"], f"{odd!r}: {out}"
                continue
            assert code == 0, f"{odd!r}: {out}"
            for name, (roles, _, _, _) in listed().items():
                if name in values and "server" in roles:
                    got = p.sent(APPS["server"])[name]
                    assert got == values[name].encode(), f"{odd!r}: {name} arrived as {got!r}, not {values[name].encode()!r}"


@test
def what_fly_cannot_carry_is_refused_and_all_else_arrives():
    rng = random.Random(7)
    alphabet = ['"', "'", "#", "\n", " ", "\r", "\\", "$", "a", '"""', "=", "\t", "é"]
    values = ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 9))) for _ in range(1500)]
    # Each in the form that fly_form gives it, or a lone "-" where it gives none, parted by NUL.
    script = ('. ops/deploy/envfile.sh; program=t; . ops/deploy/common.sh; . ops/deploy/secrets.sh; '
              'while IFS= read -r -d "" v; do if fly_form "$v"; then printf "X=%s\\n\\0" "$fly_text"; else printf -- "-\\0"; fi; done')
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, input="\0".join(values).encode() + b"\0", capture_output=True, timeout=60)
    forms = done.stdout.split(b"\0")[:-1]
    assert len(forms) == len(values), done.stderr
    kept = 0
    for value, form in zip(values, forms):
        first = value.split("\n")[0]
        cut = "#" in first and first.split("#")[0].count('"') % 2 == 1 and "\n" in value
        ends = any(line.endswith('"""') for line in value.split("\n")[:-1])
        if form == b"-":
            assert "\r\n" in value or cut or ends, f"{value!r} was refused without need"
        else:
            got = flyctl.parse_secrets(form + b"NEXT=1\n")
            assert got == {"X": value.encode(), "NEXT": b"1"}, f"{value!r} arrived as {got!r}"
            kept += 1
    assert kept > 1000, f"only {kept} of {len(values)} were carried"


@test
def a_secret_is_on_standard_input_and_nowhere_else():
    with Place() as p:
        values = good_env()
        p.env_file(values)
        hidden = [v for k, v in values.items() if listed()[k][1] == "secret"]
        exported = {k: v for k, v in values.items() if listed()[k][1] == "secret"}
        outputs = ""
        for command in ("make secrets-check", "make secrets-all", "make -n secrets-all", "make DRY_RUN=1 secrets-all", "make V=1 secrets-server",
                        "make deploy-all", "make secrets-generate", "make status-all", "make docker-up", "bash -c 'make DRY_RUN=1 run-server'"):
            code, out = p.run(command)
            assert code == 0, f"{command}: {out}"
            outputs += out
        # Even when the operator's shell has them exported, no stand-in sees one.
        code, out = p.run("ops/setup-fly-secrets.sh && ops/fly.sh deploy all", **exported)
        assert code == 0, out
        outputs += out
        calls = p.calls()
        with open(os.path.join(p.record, "children"), "rb") as f:
            children = f.read().split(b"HOME=")
        # The last command's own make and shell were given them by us: only what our scripts start counts.
        strict = b"".join(c for c in children if b"JWT_ISSUER" not in c)
        for value in hidden:
            assert value not in outputs, "a secret was printed"
            assert any(value in c["stdin"] for c in calls), "the control failed: no secret on standard input"
            assert not any(value in " ".join(c["argv"]) for c in calls), "a secret is in an argument"
            assert not any(value in str(c["env"]) for c in calls), "a secret is in a child's environment"
            assert value.encode() not in strict, "a secret is in a child of the scripts"
        assert b"iconv" in strict, "the control failed: no child was watched"
        left = subprocess.run(["grep", "-rlF", "--", values["JWT_SECRET"], p.tree], capture_output=True, text=True).stdout.split()
        assert left == [p.path(".env")], f"copies of a secret: {left}"


@test
def generate_writes_what_is_missing_and_nothing_over_a_value():
    with Place() as p:
        text = "# mine\nJWT_SECRET='weak'\nLOG_HASH_SALT=\nKAFKA_BROKERS=\"a # b\" # c\nODD='two\nlines'"
        p.env_file(text=text)
        os.chmod(p.path(".env"), 0o644)
        code, out = p.run("make secrets-generate")
        assert code == 0, out
        with open(p.path(".env"), encoding="utf-8") as f:
            after = f.read()
        assert stat.S_IMODE(os.stat(p.path(".env")).st_mode) == 0o600, "others may read it"
        kept = text.replace("LOG_HASH_SALT=\n", "") + "\n"
        assert after.startswith(kept), f"lines were changed: {after}"
        made = dict(line.split("=", 1) for line in after[len(kept):].splitlines())
        assert set(made) == {"LOG_HASH_SALT", "DELIVERY_SECRET_KEY", "APNS_DEVICE_TOKEN_ENCRYPTION_KEY"}, made.keys()
        assert re.fullmatch("[0-9a-f]{64}", made["DELIVERY_SECRET_KEY"]) and len(made["LOG_HASH_SALT"]) == 88
        assert not any(v in out for v in made.values()), "a value was printed"
        code, out = p.run("make secrets-generate")
        with open(p.path(".env"), encoding="utf-8") as f:
            assert code == 0 and f.read() == after, "a second run changed the file"


@test
def generated_secrets_pass_the_check():
    with Place() as p:
        made = {k for k, (_, _, kind, _) in listed().items() if kind.split(":")[0] in ("random", "hex", "seed")}
        p.env_file({k: v for k, v in (good_env() | {"FEDERATION_ENABLED": "true"}).items() if k not in made})
        assert p.run("make secrets-check")[0] != 0
        code, out = p.run("make secrets-generate && make secrets-check")
        assert code == 0, out


@test
def env_file_is_made_for_its_owner_when_there_is_none():
    with Place() as p:
        code, out = p.run("umask 022; make secrets-generate")
        assert code == 0 and stat.S_IMODE(os.stat(p.path(".env")).st_mode) == 0o600, out


@test
def a_file_that_is_not_understood_is_refused_by_its_line():
    with Place() as p:
        for text, line, what in (("A=1\nnonsense\n", 2, "not NAME=value"), ("A=1\nB=2\nA=3\n", 3, "twice"),
                                 ("A='open\n\n", 1, "closing"), ('A="x" y\n', 1, "after the closing"), ('A="x\\\n', 1, "closing")):
            p.env_file(text=text)
            for command in ("make secrets-all", "make run-server"):
                code, out = p.run(command)
                assert code != 0 and f".env:{line}:" in out and what in out, f"{text!r}: {out}"
                assert p.calls() == [] and not os.path.exists(os.path.join(p.record, "roles"))


@test
def a_role_gets_its_variables_byte_for_byte():
    with Place() as p:
        odd = {f"ODD_{n}": v for n, v in enumerate(ODD)}
        p.env_file(text="".join(f"{k}={quoted(v)}\n" for k, v in odd.items()) +
                   "PLAIN = a $b 'c' \"d\" e#f  # g\nexport SINGLE='$x \\n \"y\"'\nWINDOWS=w\r\nEMPTY=\nPORT=1\n")
        code, out = p.run("make run-gateway", PORT="9000")
        assert code == 0, out
        with open(os.path.join(p.record, "role-environ"), "rb") as f:
            got = dict(pair.split(b"=", 1) for pair in f.read().split(b"\0") if pair)
        for name, value in odd.items():
            assert got[name.encode()] == value.encode(), f"{value!r} arrived as {got[name.encode()]!r}"
        assert got[b"PLAIN"] == b"a $b 'c' \"d\" e#f" and got[b"SINGLE"] == b'$x \\n "y"' and got[b"WINDOWS"] == b"w"
        assert b"EMPTY" not in got and got[b"PORT"] == b"9000", "the environment goes over the file"
