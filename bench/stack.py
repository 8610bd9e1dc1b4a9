# SPDX-License-Identifier: MIT
"""The three roles on Kafka, Redis and PostgreSQL beside the floor of the same calls: bench/stack.sh."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import stack_memory
import stack_report
from benchlib import ROOT, CannotRun, Series, busy_percent, generator, machine, raise_fd_limit, \
    run_tsv, say
from stack_report import PERCENTILES
from stack_roles import BACKENDS, ROLES, Relay, Stack, compiling_s

SIZE = 256
CLOSED = {"64x16": (64, 16), "256x1": (256, 1)}
TARGET_PER_S, TARGET_SHARE, TARGET_CPU_US = 25000, 0.4, 40
TARGET_P99_MS, TARGET_P99_FLOORS, TARGET_P50_MS = 25, 1.5, 4
WARM_SHARE, WARM_RUNS_MAX = 0.05, 20
PARTS = ("saturation", "open", "slow", "redis", "memory")


def arguments():
    arg = argparse.ArgumentParser(prog="bench/run.sh stack", description=__doc__,
                                  epilog=f"parts: {' '.join(PARTS)}; all of them by default")
    arg.add_argument("parts", nargs="*", metavar="PART")
    arg.add_argument("--stack", required=True, help=argparse.SUPPRESS)
    arg.add_argument("--binary", default=ROOT / "build/release/construct", type=pathlib.Path)
    arg.add_argument("--runs", type=int, default=5)
    arg.add_argument("--seconds", type=float, default=10, help="measured time of one run")
    arg.add_argument("--rate", type=int, help="of the part open; else half of saturation")
    arg.add_argument("--threads", type=int, default=1, help="WORKER_THREADS of each role (1: six "
                     "processes share the cores here); 0: the role's default")
    arg.add_argument("--users", type=int, default=100000, help="of the part memory")
    arg.add_argument("--connected", type=int, default=10000, help="of the part memory")
    arg.add_argument("--perf", metavar="FILE", type=pathlib.Path,
                     help="only: saturate it for --seconds under perf record -a -o FILE")
    arg.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write all values there")
    arg.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md alone")
    opt = arg.parse_args()
    unknown = [p for p in opt.parts if p not in PARTS]
    if unknown:
        arg.error(f"no such part: {' '.join(unknown)}")
    opt.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-stack-"))
    return opt


class Lines(dict):
    """Series by name, in the order of their first value."""

    def add(self, name, value):
        self.setdefault(name, Series()).add(value)

    def show(self, title):
        say(f"\n{title}")
        for name, series in self.items():
            digits = 0 if series.median >= 1000 else 2
            say(f"  {name:<34} {series.text(digits)}")


# --- one run of each ---------------------------------------------------------------------------


def run_relay(relay, opt, pairs, in_flight, rate=0):
    """One run of the generator: its JSON and, for each message of it, CPU and Redis commands."""
    tokens = opt.folder / f"users-{pairs}"
    if not tokens.exists():  # registering costs a password hash each: not in anybody's figures
        generator(opt.binary, relay.url(), "--pairs", pairs, "--duration", 0.5, "--tokens", tokens,
                  timeout=600)
    cpu, calls = relay.cpu(), relay.stack.redis.calls()
    options = ["--rate", rate] if rate else []
    got = generator(opt.binary, relay.url(), "--pairs", pairs, "--inflight", in_flight, "--size",
                    SIZE, "--tokens", tokens, "--duration", opt.seconds, *options, timeout=600)
    after, calls_after = relay.cpu(), relay.stack.redis.calls()
    done = max(1, got["counts"]["completed"])
    got["cpu_us"] = {k: (after[k] - cpu[k]) * 1e6 / done for k in after}
    got["commands"] = {k: (n - calls.get(k, 0)) / done for k, n in calls_after.items()}
    if got["errors"]:
        say(f"    !! errors: {got['errors']}")
    return got


def run_floor(relay, opt, topic, window, users, rate=0):
    program = opt.binary.parent / "bench/peer_stack_floor"
    if not program.exists():
        raise CannotRun(f"{program} is not built: make bench-build")
    os.environ.update({k: relay.stack.env[k] for k in ("REDIS_URL", "KAFKA_BROKERS")})
    # With few under way a long linger is all that they wait for.
    linger = 5 if window >= 1024 else 1
    if rate:
        linger = 0 if rate <= 2000 else 5 if rate >= 10000 else (rate - 2000) // 1600
    pids = relay.stack.pids
    argv = [program, topic, window, rate, max(1, round(opt.seconds)), users, linger]
    row = run_tsv([*argv, pids["redis"], pids["kafka"]], timeout=600)[0]
    ns = [int(v) / 1e6 for v in row[4:16]]
    names = [f"{what} {p}" for what in ("due to acknowledged", "due to accepted", "due to delivered",
                                        "accepted to delivered") for p in PERCENTILES]
    return {"per_s": float(row[3]), "ms": dict(zip(names, ns)),
            "cpu_us": dict(zip(("itself", "redis", "kafka"), map(float, row[16:19])))}


def add_relay(lines, got):
    lines.add("messages/s", got["per_s"])
    for k in (*ROLES, *BACKENDS):
        lines.add(f"CPU us a message, {k}", got["cpu_us"][k])
    lines.add("CPU us a message, three roles", sum(got["cpu_us"][r] for r in ROLES))
    lines.add("CPU us a message, generator", got["cpu_us_each"])
    for what, name in (("accepted", "due to accepted"), ("receipt", "due to delivered"),
                       ("transit", "accepted to delivered"), ("delivered", "due to acknowledged")):
        for p in PERCENTILES:
            lines.add(f"ms {name} {p}", got["latency_ns"]["run"][what][p] / 1e6)


def add_floor(lines, got):
    lines.add("messages/s", got["per_s"])
    for k, v in got["cpu_us"].items():
        lines.add(f"CPU us a message, {k}", v)
    for k, v in got["ms"].items():
        lines.add(f"ms {k}", v)


def warm_up(relay, opt):
    """Until the broker's Java machine has compiled what such load runs: that costs as much CPU as two roles
    meanwhile, and a broker that is in use has it behind itself."""
    pid = relay.stack.pids["kafka"]
    for run in range(WARM_RUNS_MAX):
        before = compiling_s(pid)
        got = run_relay(relay, opt, *CLOSED["64x16"])
        share = max(0, compiling_s(pid) - before) / opt.seconds
        say(f"    warm-up {run + 1}: relay {got['per_s']:,.0f}/s, {share:.0%} of a CPU compiles the broker")
        if run > 0 and share < WARM_SHARE:
            return
    say(f"!! The broker still compiles after {WARM_RUNS_MAX} runs: figures are too low.")


def both(relay, opt, title, pairs, in_flight, rate=0):
    """Relay and floor by turns, after a warm-up of each: the lines of both, shown."""
    ours, floor = Lines(), Lines()
    for turn in range(opt.runs + 1):
        got = run_relay(relay, opt, pairs, in_flight, rate)
        bare = run_floor(relay, opt, f"{relay.name}-floor", pairs * in_flight, pairs, rate)
        say(f"    {'warm-up' if turn == 0 else turn}: relay {got['per_s']:,.0f}/s, floor "
            f"{bare['per_s']:,.0f}/s")
        if turn > 0:
            add_relay(ours, got)
            add_floor(floor, bare)
    ours.show(f"{title}: the relay, medians of {opt.runs} runs (least-most)")
    floor.show(f"{title}: the floor, by turns with it")
    return ours, floor


def verdict(out, part, what, is_met):
    text = f"{what}: {'met' if is_met else 'MISSED'}"
    say("  " + text)
    out.setdefault("verdicts", {}).setdefault(part, []).append(text)


# --- the parts ---------------------------------------------------------------------------------


def saturation(relay, opt, out):
    for name, (pairs, in_flight) in CLOSED.items():
        ours, floor = both(relay, opt, f"closed loop {name}", pairs, in_flight)
        out[name] = {"relay": ours, "floor": floor}
        rate, bare = ours["messages/s"].median, floor["messages/s"].median
        verdict(out, name, f"{rate:,.0f}/s, at least {TARGET_PER_S:,}/s", rate >= TARGET_PER_S)
        verdict(out, name, f"{rate / bare:.2f} of the floor, at least {TARGET_SHARE}",
                rate / bare >= TARGET_SHARE)
        cpu = ours["CPU us a message, three roles"].median
        verdict(out, name, f"{cpu:.1f} us a message in the roles, at most {TARGET_CPU_US}",
                cpu <= TARGET_CPU_US)


def open_loop(relay, opt, out):
    rate = opt.rate
    if not rate:
        if "64x16" in out:
            rate = out["64x16"]["relay"]["messages/s"].median / 2
        else:
            run_relay(relay, opt, *CLOSED["64x16"])
            rate = run_relay(relay, opt, *CLOSED["64x16"])["per_s"] / 2
    rate = round(rate)
    ours, floor = both(relay, opt, f"open loop {rate:,}/s", 64, 64, rate)
    out["open"] = {"relay": ours, "floor": floor, "rate": rate}
    for since in ("accepted", "due"):  # the first is what was asked for, the second is stricter
        p99, bare = (x[f"ms {since} to delivered p99"].median for x in (ours, floor))
        verdict(out, "open", f"p99 from {since} to delivered {p99:.1f} ms, at most {TARGET_P99_MS} or "
                f"{TARGET_P99_FLOORS} x {bare:.1f}", p99 <= max(TARGET_P99_MS, TARGET_P99_FLOORS * bare))


def slow(relay, opt, out):
    ours, floor = both(relay, opt, "open loop 1,000/s", 64, 64, 1000)
    out["slow"] = {"relay": ours, "floor": floor, "rate": 1000}
    for since in ("accepted", "due"):
        p50 = ours[f"ms {since} to delivered p50"].median
        verdict(out, "slow", f"p50 from {since} to delivered {p50:.2f} ms, at most {TARGET_P50_MS}",
                p50 <= TARGET_P50_MS)


def redis_part(relay, opt, out):
    got = run_relay(relay, opt, *CLOSED["64x16"])
    own = {k: v for k, v in got["commands"].items() if v >= 0.0005 and k not in ("info", "scan")}
    say(f"\nRedis commands a message at {got['per_s']:,.0f}/s (those in scripts counted too): "
        f"{sum(own.values()):.2f}")
    for name, n in sorted(own.items(), key=lambda item: -item[1]):
        say(f"  {name:<24} {n:.3f}")
    out["commands"] = {"per_s": got["per_s"], "each": own}
    out["ids"] = stack_memory.remembered_ids(relay.stack.redis, relay.prefix)


def perf(relay, opt):
    pairs, in_flight = CLOSED["64x16"]
    say("pids " + json.dumps(relay.pids()))
    with subprocess.Popen(["perf", "record", "-a", "-g", "-F", "499", "-o", str(opt.perf)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
        try:
            lines = Lines()
            add_relay(lines, run_relay(relay, opt, pairs, in_flight))
        finally:
            recorder.send_signal(signal.SIGINT)
    lines.show("under perf")


def run_parts(stack, opt, out):
    env = {"WORKER_THREADS": str(opt.threads)} if opt.threads else {}
    parts = opt.parts or PARTS
    functions = {"saturation": saturation, "open": open_loop, "slow": slow, "redis": redis_part}
    with Relay(stack, opt.binary, opt.folder, env) as relay:
        stack.topics(f"{relay.name}-floor")
        if set(parts) & set(functions):
            warm_up(relay, opt)
        if opt.perf:
            perf(relay, opt)
            return
        for name in PARTS:
            if name in parts and name in functions:
                functions[name](relay, opt, out)
    if "memory" in parts:
        stack_memory.run(stack, opt, env, out)


def main():
    opt = arguments()
    out = {}
    measured = f"Measured on {machine()}; {opt.runs} runs of {opt.seconds:g} s after a warm-up."
    say(measured)
    busy = busy_percent()
    if busy > 15:
        say(f"!! Others used {busy:.0f} % of the CPUs when this began: rough numbers.")
    raise_fd_limit()
    try:
        run_parts(Stack(opt.stack), opt, out)
        if not opt.no_write and not opt.perf:
            stack_report.write(out, opt, measured)
    except (CannotRun, OSError, KeyError, subprocess.SubprocessError, json.JSONDecodeError) as why:
        sys.exit(f"!! NOT RUN: {why!r}")
    finally:
        if opt.json:
            opt.json.write_text(json.dumps(out, default=lambda s: s.values, indent=1))
        shutil.rmtree(opt.folder, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the roles end by their `with`
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
