# SPDX-License-Identifier: MIT
"""Memory of the stack: what is kept for an id, a user, a connection (part `memory` of bench/stack.sh)."""

import base64
import hashlib
import hmac
import json
import secrets
import subprocess
import time
import uuid

from benchlib import CannotRun, generator, say
from stack_roles import Relay

SAMPLE = 500
SESSION_S = 30 * 86400
SETTLE_S = 3
CLAIMS_S = 17  # the claims of the run before have lapsed then
RATE, RUN_S = 1000, 30


def mean_bytes(redis, keys):
    """MEMORY USAGE of a sample of keys, on average."""
    keys = keys[:: max(1, len(keys) // SAMPLE)]
    sizes = [n for n in redis.all([("MEMORY", "USAGE", k, "SAMPLES", 0) for k in keys]) if n]
    return sum(sizes) / max(1, len(sizes))


def show_id(what, got):
    say(f"  {what:<44} {got['bytes']:.1f} bytes an id, {got['each']:.1f} ids a bucket")
    return got


def remembered_ids(redis, prefix):
    """Bytes of an id in the dedup hashes as the run left them, and of buckets filled on purpose."""
    keys = list(redis.scan(f"{prefix}dedup:*"))
    sizes = redis.all([("HLEN", k) for k in keys])
    ids = sum(sizes)
    out = {}
    say("\nBytes of a remembered id in Redis (MEMORY USAGE)")
    if ids:
        used = mean_bytes(redis, keys) * len(keys)
        out["run"] = show_id("as this run left them",
                             {"bytes": used / ids, "each": ids / len(keys), "ids": ids})
    for each in (16, 128, 512, 1000, 10000):
        key = f"{prefix}fill"
        redis.all([("HSET", key, secrets.token_bytes(8), secrets.token_bytes(10))
                   for _ in range(each)])
        coding = redis.ask("OBJECT", "ENCODING", key).decode()
        size = redis.ask("MEMORY", "USAGE", key, "SAMPLES", 0)
        redis.ask("DEL", key)
        out[f"{each}"] = show_id(f"a bucket filled with {each} ({coding})",
                                 {"bytes": size / each, "each": each})
    return out


# --- many users --------------------------------------------------------------------------------


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_of(secret, user, jti, now):
    head = b64(b'{"alg":"HS256","typ":"JWT"}')
    body = b64(json.dumps({"sub": user, "jti": jti, "iat": now, "exp": now + SESSION_S,
                           "iss": "construct-server"}).encode())
    mac = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{b64(mac)}"


def model_user(stack, opt, relay):
    """Somebody who registered as everybody does: his password hash serves for all."""
    tokens = opt.folder / "model"
    generator(opt.binary, relay.url(), "--pairs", 1, "--duration", 0.2, "--tokens", tokens,
              timeout=60)
    lines = [ln for ln in tokens.read_text().splitlines() if not ln.startswith("#")]
    name, password, user = lines[0].split("\t")[:3]
    return user, password, stack.psql(f"SELECT password_hash FROM users WHERE id = '{user}'")


def make_users(stack, opt, model, made):
    """Accounts with a key bundle and a session each; the file of them."""
    user, password, phc = model
    now = int(time.time())
    made += [(str(uuid.uuid4()), f"bench_{secrets.token_hex(8)}", str(uuid.uuid4()))
            for _ in range(opt.users)]
    stack.psql("COPY users (id, username, password_hash) FROM STDIN",
               "".join(f"{u}\t{n}\t{phc}\n" for u, n, _ in made))
    stack.psql("INSERT INTO key_bundles (user_id, master_identity_key, bundle_data, signature) "
               "SELECT u.id, k.master_identity_key, k.bundle_data, k.signature FROM users u, "
               f"key_bundles k WHERE k.user_id = '{user}' AND u.password_hash = '{phc}' "
               "ON CONFLICT DO NOTHING")
    commands = []
    for u, _, jti in made:
        commands += [("SET", f"session:{jti}", u, "EX", SESSION_S),
                     ("SADD", f"user_sessions:{u}", jti),
                     ("EXPIRE", f"user_sessions:{u}", SESSION_S)]
    stack.redis.all(commands)
    path = opt.folder / "users-many"
    with open(path, "w", encoding="ascii") as file:
        for u, n, jti in made:
            file.write(f"{n}\t{password}\t{u}\t{token_of(stack.env['JWT_SECRET'], u, jti, now)}\n")
    path.chmod(0o600)
    return path


def delete_users(stack, phc, made):
    stack.psql(f"DELETE FROM users WHERE password_hash = '{phc}'")
    stack.redis.all([("UNLINK", f"session:{jti}", f"user_sessions:{u}") for u, _, jti in made])


def show_memory(title, relay, before, count, of):
    now = {**relay.memory(), "redis": relay.stack.redis.used_bytes()}
    say(f"\n{title}")
    for name, size in now.items():
        each = f", {(size - before[name]) / count:,.0f} bytes {of}" if count else ""
        say(f"  {name:<10} {size / 1e6:,.1f} MB{each}")
    return now


def connect(opt, relay, tokens):
    """The generator with opt.connected users, of whom a fifth talks; and a moment to look."""
    pairs = max(1, opt.connected // 10)
    return subprocess.Popen(
        [str(opt.binary), "bench", relay.url(), "--json", "--pairs", str(pairs), "--inflight", "16",
         "--rate", str(RATE), "--hold", str(opt.connected - 2 * pairs), "--per-user", "1",
         "--tokens", str(tokens), "--duration", str(RUN_S), "--warmup", "5"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_connected(process, relay, wanted):
    """Until all have a route; the bytes of one."""
    redis, deadline = relay.stack.redis, time.monotonic() + 300
    while len(keys := list(redis.scan(f"{relay.prefix}route:*"))) < wanted:
        if process.poll() is not None or time.monotonic() > deadline:
            raise CannotRun("the connections were not made: " + process.communicate()[1][-300:])
        time.sleep(1)
    return {"keys": len(keys), "bytes": mean_bytes(redis, keys)}


def by_key(redis, prefix, route):
    say("\nBytes of a key in Redis (MEMORY USAGE, on average)")
    say(f"  {'route':<16} {route['bytes']:8.1f}   {route['keys']:,} keys")
    out = {"route": route}
    for name, pattern in (("session", "session:*"), ("user_sessions", "user_sessions:*"),
                          ("inbox", f"{prefix}inbox:*"),
                          ("dedup bucket", f"{prefix}dedup:*"), ("claims", f"{prefix}claims")):
        keys = list(redis.scan(pattern))
        if keys:
            out[name] = {"keys": len(keys), "bytes": mean_bytes(redis, keys)}
            say(f"  {name:<16} {out[name]['bytes']:8.1f}   {len(keys):,} keys")
    return out


def with_users(stack, opt, relay, tokens, start):
    """The figures with all users there, some of them connected, some of those talking."""
    registered = show_memory(f"{opt.users:,} users registered", relay, start, opt.users,
                             "a registered user")
    process = connect(opt, relay, tokens)
    try:
        route = wait_connected(process, relay, opt.connected)
        time.sleep(SETTLE_S)
        held = show_memory(f"{opt.connected:,} of them connected, traffic begins", relay,
                           registered, opt.connected, "a connected user")
        time.sleep(RUN_S / 2)
        busy = show_memory(f"{opt.connected:,} connected, {RATE:,} messages/s", relay, registered,
                           opt.connected, "a connected user")
        text, error = process.communicate(timeout=300)
    finally:
        process.kill()
    if process.returncode != 0:
        raise CannotRun(f"construct bench: exit {process.returncode}: {error[-300:]}")
    got = json.loads(text)
    ms = {p: got["latency_ns"]["run"]["receipt"][p] / 1e6 for p in ("p50", "p99", "p999")}
    say(f"\n  {got['per_s']:,.0f} messages/s, ms due to delivered: " +
        ", ".join(f"{p} {v:.2f}" for p, v in ms.items()))
    return {"empty": start, "registered": registered, "connected": held, "busy": busy, "ms": ms,
            "keys": by_key(stack.redis, relay.prefix, route)}


def run(stack, opt, env, out):
    made = []
    with Relay(stack, opt.binary, opt.folder, env) as relay:
        model = model_user(stack, opt, relay)
        time.sleep(CLAIMS_S)
        start = show_memory("Memory of the empty relay (roles: Pss; Redis: used_memory)", relay,
                            {}, 0, "")
        say(f"\n{opt.users:,} users into PostgreSQL, a session each into Redis ...")
        try:
            tokens = make_users(stack, opt, model, made)
            out["memory"] = with_users(stack, opt, relay, tokens, start)
        finally:
            delete_users(stack, model[2], made)
