# SPDX-License-Identifier: MIT
"""make bench-runtime: libcx beside other actor runtimes and goroutines, row by row.

The peers are built into build/bench-peers; one that cannot be is NOT RUN, the rest goes on.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import runtime_floor
from benchlib import ROOT, CannotRun, Report, Series, alternate, busy_percent, machine, say

HERE = ROOT / "bench/runtime"
PEERS = ROOT / "build/bench-peers"
BINARY = ROOT / "build/release/bench/bench_runtime"
NOT_OFFERED = 3  # exit code of a peer that has no such thing
ACTORS = ("CAF", "Erlang", "Actix")  # the actor runtimes among the peers
FREE = "libcx, placed freely"  # CX_PLACE_ANY, as CAF, Erlang and Go always do
PLACED = ("libcx", *ACTORS, "goroutines")
SHOWN = ("libcx", FREE, *ACTORS, "goroutines")
WANTED_OF_ACTORS = 3
LEAST_IDLE_BYTES = 3 * 64 - 8
WANTED_IDLE_BYTES = 256

# Row, operations of one run in same and in across, unit.  A lone message that goes from thread to
# thread takes long.  Message-passing rows have a target.
MESSAGES = (
    ("count", 10_000_000, 10_000_000, "M messages/s"),
    ("fan-in", 10_000_000, 10_000_000, "M messages/s"),
    ("fan-out", 10_000_000, 10_000_000, "M messages/s"),
    ("fork-join", 6_400_000, 6_400_000, "M messages/s"),
    ("ping-pong", 2_000_000, 400_000, "M round trips/s"),
    ("ring-100", 5_000_000, 1_000_000, "M hops/s"),
    ("ring-10000", 5_000_000, 500_000, "M hops/s"),
    ("big", 1_200_000, 1_200_000, "M round trips/s"),
)
OTHERS = (
    ("spawn", 500_000, 500_000, "M children/s"),
    ("timers-arm", 1_000_000, 1_000_000, "M timers/s"),
    ("timers-cancel", 1_000_000, 1_000_000, "M timers/s"),
    ("timers-fire", 1_000_000, 1_000_000, "M timers/s"),
)
PLACEMENTS = ("same", "across")
LATENCIES = ("latency-sleeping", "latency-busy")
LATENCY_SAMPLES = 2000
IDLE_ACTORS = 100_000

SECTIONS = {
    "runtime": ("Message passing, spawning, timers",
                ["row", "placement", *SHOWN, "of the best actors", "of the best", "target"]),
    "runtime-floor": ("Each row, beside what the hardware allows", runtime_floor.HEADER),
    "runtime-idle": ("Memory of an idle actor, bytes beside its own state",
                     [*PLACED, "target"]),
    "runtime-latency": ("Latency of one message, us: p50 / p99",
                        ["receiver's worker", "workers", *PLACED]),
    "runtime-soak": ("One-way traffic at full speed between two workers",
                     ["seconds", "messages/s", "MB at the start", "in the middle",
                      "at the end", "target"]),
}


# --- peers ---------------------------------------------------------------------------------------


def tool(name, package):
    """Its path; toolchains are looked for where they install themselves, too."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin",
                              str(pathlib.Path.home() / ".cargo/bin")])
    found = shutil.which(name, path=places)
    if not found:
        raise CannotRun(f"{name} is not installed ({package})")
    return found


def build(argv, cwd=HERE):
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, text=True,
                          env=dict(os.environ, GOFLAGS="-mod=readonly", GOWORK="off"))
    if done.returncode != 0:
        raise CannotRun(f"{argv[0]}: {(done.stderr or done.stdout).strip()[-400:]}")


def build_caf():
    build([tool("g++", "Debian: g++, libcaf-dev"), "-std=c++17", "-O2", "-DNDEBUG", "-pthread",
           "peer_caf.cpp", "-o", PEERS / "peer_caf", "-lcaf_core"])
    return lambda placement: [PEERS / "peer_caf"]


def build_erlang():
    build([tool("erlc", "Debian: erlang-base"), "-o", PEERS, "peer_erlang.erl"])
    erl = tool("erl", "Debian: erlang-base")

    def argv(placement):
        n = 1 if placement == "same" else 2
        return [erl, "-noinput", "+S", f"{n}:{n}", "-pa", PEERS, "-run", "peer_erlang", "main"]

    return argv


def build_actix():
    cargo = tool("cargo", "rustup")
    os.environ.setdefault("RUSTC", tool("rustc", "rustup"))
    build([cargo, "build", "--release", "--locked", "--quiet", "--target-dir", PEERS / "actix"],
          cwd=HERE / "peer_actix")
    return lambda placement: [PEERS / "actix/release/peer_actix"]


def build_go():
    build([tool("go", "golang"), "build", "-o", PEERS / "peer_go", "."], cwd=HERE / "peer_go")
    return lambda placement: [PEERS / "peer_go"]


BUILDERS = {"CAF": build_caf, "Erlang": build_erlang, "Actix": build_actix,
            "goroutines": build_go}


def build_peers(wanted, report):
    """{name: function from placement to the start of a command}, libcx first."""
    PEERS.mkdir(parents=True, exist_ok=True)
    commands = {"libcx": lambda placement: [BINARY]}
    for name, builder in BUILDERS.items():
        if name not in wanted:
            continue
        try:
            commands[name] = builder()
        except (CannotRun, OSError) as why:
            report.cannot(name, why)
    return commands


# --- one measurement -----------------------------------------------------------------------------


def free(placement):
    return [BINARY]


def run_row(command, row, ops, placement, timeout=120):
    """The TSV row as a list; None when the peer has no such thing."""
    argv = [str(a) for a in command(placement)] + [row, str(ops)]
    argv.append("any" if command is free else placement)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CannotRun(f"{pathlib.Path(argv[0]).name} {row} {placement}: over {timeout} s")
    if done.returncode == NOT_OFFERED:
        return None
    fields = done.stdout.rstrip("\n").split("\t")
    if done.returncode != 0 or len(fields) != 7:
        raise CannotRun(f"{pathlib.Path(argv[0]).name} {row} {placement}: exit {done.returncode}:"
                        f" {(done.stderr or done.stdout).strip()[-300:]}")
    return fields


def able(commands, row, placement, report):
    """Those that have the row, found out with few operations."""
    names = []
    for name, command in commands.items():
        try:
            if run_row(command, row, 12000 if "latency" not in row else 10, placement):
                names.append(name)
        except CannotRun as why:
            report.cannot(f"{row} {placement}", f"{name}: {why}")
    return names


def measure(opt, commands, row, ops, placement, report):
    """{name: (Series of the rate, Series of p99)}; a latency row's rate is its p50."""
    p99 = {}

    def one(name):
        def run():
            fields = run_row(commands[name], row, ops, placement)
            p99.setdefault(name, []).append(float(fields[5] or 0))
            return float(fields[3] or fields[4])

        return run

    names = able(commands, row, placement, report)
    say(f"  {row}, {placement}, {ops:,}")
    try:
        rates = alternate(opt.runs, **{name: one(name) for name in names})
    except CannotRun as why:
        report.cannot(f"{row} {placement}", why)
        return {}
    result = {}
    for name in names:
        tail = Series()
        tail.values = p99[name][1:]  # without the warm-up
        result[name] = rates[name], tail
    return result


# --- sections ------------------------------------------------------------------------------------


def scaled(series, divisor, digits):
    shown = Series()
    shown.values = [v / divisor for v in series.values]
    return shown.text(digits)


def cells(result, text, names=SHOWN):
    return [text(*result[name]) if name in result else "-" for name in names]


def best(medians, names):
    return max((medians[n] for n in names if n in medians), default=None)


def judge(report, label, of_actors, of_all):
    if of_actors is None or of_all is None:
        return "not judged"
    met = of_actors >= WANTED_OF_ACTORS and of_all >= 1
    return report.judge("runtime", f"{label}: {of_actors:.2f} and {of_all:.2f}", met,
                        f"at least {WANTED_OF_ACTORS} and 1")


def add_row(report, row, placement, shown, medians, is_judged):
    peers_best, all_best = best(medians, ACTORS), best(medians, (*ACTORS, "goroutines"))
    ours = best(medians, ("libcx", FREE))
    of_actors = ours / peers_best if peers_best else None
    of_all = ours / all_best if all_best else None
    report.row("runtime", row, placement, *shown,
               f"{of_actors:.2f}" if of_actors else "-", f"{of_all:.2f}" if of_all else "-",
               judge(report, f"{row} {placement}", of_actors, of_all) if is_judged else "")


def throughput(opt, commands, report):
    for row, same_ops, across_ops, unit in MESSAGES + OTHERS:
        if opt.rows and row not in opt.rows:
            continue
        top = {}
        for placement, ops in zip(PLACEMENTS, (same_ops, across_ops)):
            ops_now = max(12000, round(ops * opt.scale))
            is_message = row in [m[0] for m in MESSAGES]
            both = {FREE: free} if is_message and placement == "across" else {}
            result = measure(opt, commands | both, row, ops_now, placement, report)
            if "libcx" not in result:
                continue
            medians = {name: rate.median for name, (rate, _) in result.items()}
            add_row(report, f"{row}, {unit}", placement,
                    cells(result, lambda rate, _: scaled(rate, 1e6, 2)), medians,
                    is_judged=is_message)
            for name, median in medians.items():
                top[name] = max(top.get(name, 0), median)
        if "libcx" in top:
            shown = [f"{top[n] / 1e6:.2f}" if n in top else "-" for n in SHOWN]
            add_row(report, row, "the better of both", shown, top, is_judged=False)
    report.note("runtime", "Placement of libcx and Actix: `same` is one worker; `across` is two, and"
                " sender and receiver never share one (neighbours of a ring; of the many, half are on"
                " each). CAF, Erlang and Go place by themselves on one thread or two; beside"
                " them stands libcx with CX_PLACE_ANY, and the better of the two is what counts.")


def floor(opt, commands, report):
    """libcx alone, so that it can be run again without its peers."""
    rates, floors = {}, runtime_floor.hardware(BINARY.parent)
    for row, same_ops, across_ops, unit in MESSAGES + OTHERS:
        if opt.rows and row not in opt.rows:
            continue
        for placement, ops in (("same", same_ops), ("across", across_ops), ("any", across_ops)):
            if placement == "any" and row in [o[0] for o in OTHERS]:
                continue
            command = free if placement == "any" else commands["libcx"]
            ops_now = max(12000, round(ops * opt.scale))
            result = measure(opt, {"libcx": command}, row, ops_now, placement, report)
            if "libcx" in result:
                rates[row, placement, unit] = result["libcx"][0]
        floors = runtime_floor.faster(floors, runtime_floor.hardware(BINARY.parent, "lines"))
    floors = runtime_floor.faster(floors, runtime_floor.hardware(BINARY.parent))
    runtime_floor.add_rows(report, "runtime-floor", rates, floors)


def million(commands, report):
    """A million of libcx at once: memory and time."""
    actors = run_row(commands["libcx"], "idle", 1_000_000, "same")
    timers = run_row(commands["libcx"], "timers-arm", 1_000_000, "same")
    more = dict(part.split("=") for part in (actors[1] + "," + timers[1]).split(",") if "=" in part)
    report.note("runtime-idle", f"A million actors of libcx on one worker: {float(actors[3]):.0f} bytes each"
                f" beside their state, started and each with a message answered after {more['ms']} ms. A"
                f" million timers: {more['bytes']} bytes each, inside their actors' state, and"
                f" {more['kb_more']} KB in all; armed after {1e9 / float(timers[3]):.0f} ms.")


def idle(opt, commands, report):
    result = measure(opt, commands, "idle", IDLE_ACTORS, "same", report)
    if "libcx" not in result:
        return
    bytes_each = result["libcx"][0].median
    report.note("runtime-idle", f"The hardware asks for {LEAST_IDLE_BYTES} of them ({LEAST_IDLE_BYTES / bytes_each:.0%}): what senders"
                " write, what its worker writes and its state lie on lines of their own, or two cores would"
                " fight for one; 8 bytes of the third are the state.")
    report.row("runtime-idle", *cells(result, lambda rate, _: rate.text(), PLACED),
               report.judge("runtime-idle", f"{bytes_each:.0f} bytes",
                            bytes_each <= WANTED_IDLE_BYTES, f"at most {WANTED_IDLE_BYTES}"))
    million(commands, report)


def latency(opt, commands, report):
    for row in LATENCIES:
        for placement in PLACEMENTS:
            samples = max(200, round(LATENCY_SAMPLES * opt.scale))
            result = measure(opt, commands, row, samples, placement, report)
            report.row("runtime-latency", row.removeprefix("latency-"),
                       1 if placement == "same" else 2,
                       *cells(result, lambda p50, p99: f"{scaled(p50, 1e3, 1)} /"
                                                       f" {scaled(p99, 1e3, 1)}", PLACED))
    report.note("runtime-latency", "One message each ms. With two workers from an actor of the other"
                " worker, with one from a thread outside (in Erlang and Go from a process of the same"
                " scheduler, which then is awake). Busy: 16 actors of the receiver's worker always"
                " have a message that takes 1 us.")


def soak(opt, commands, report):
    fields = run_row(commands["libcx"], "soak", opt.soak_seconds, "across",
                     timeout=opt.soak_seconds + 60)
    start, middle, end = (int(kb) / 1024 for kb in fields[1].rsplit("=", 1)[1].split("/"))
    is_flat = max(middle, end) <= start * 1.02 + 0.5
    report.row("runtime-soak", opt.soak_seconds, f"{int(fields[3]):,}", f"{start:.1f}",
               f"{middle:.1f}", f"{end:.1f}",
               report.judge("runtime-soak", f"{start:.1f}, {middle:.1f}, {end:.1f} MB", is_flat,
                            "flat, within 2 % and 0.5 MB"))


PARTS = {"runtime": throughput, "runtime-floor": floor, "runtime-idle": idle, "runtime-latency": latency,
         "runtime-soak": soak}
ALONE = ("runtime-floor", "runtime-soak")  # parts without peers


def arguments():
    arg = argparse.ArgumentParser(prog="bench/run_runtime.py", description=__doc__)
    arg.add_argument("what", nargs="*", help=f"parts of: {' '.join(PARTS)}; all by default")
    arg.add_argument("--runs", type=int, default=5)
    arg.add_argument("--scale", type=float, default=1, help="of the operations of a run")
    arg.add_argument("--soak-seconds", type=int, default=60, help="the minute that counts by default")
    arg.add_argument("--rows", help="only these of parts runtime and runtime-floor, by comma")
    arg.add_argument("--peers", default=",".join(BUILDERS), help="only these, by comma")
    arg.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md alone")
    opt = arg.parse_args()
    opt.rows = opt.rows.split(",") if opt.rows else []
    known = [row[0] for row in MESSAGES + OTHERS]
    for kind, given, names in (("part", opt.what, PARTS), ("row", opt.rows, known),
                               ("peer", opt.peers.split(","), BUILDERS)):
        unknown = [g for g in given if g and g not in names]
        if unknown:
            arg.error(f"no such {kind}: {' '.join(unknown)}")
    return opt


def run_part(name, opt, commands, report):
    title, header = SECTIONS[name]
    say(f"\n== {name}: {title}")
    report.section(name, title, header)
    busy = busy_percent()
    if busy > 15:
        warning = f"Others used {busy:.0f} % of the CPUs when this part began: rough numbers."
        say(f"!! {warning}")
        report.note(name, warning)
    try:
        PARTS[name](opt, commands, report)
    except (CannotRun, OSError, ValueError) as why:
        report.cannot(name, why)
    if not report.sections[name]["rows"]:
        del report.sections[name]  # keep what an earlier run wrote
        return
    missing = [peer for peer in BUILDERS if peer not in commands and name not in ALONE]
    if missing:
        report.note(name, f"NOT RUN: {', '.join(missing)}.")
    report.note(name, report.header)


def main():
    opt = arguments()
    report = Report()
    report.header = (f"Measured on {machine()}; {opt.runs} runs of {opt.scale:g} x the operations"
                     " after a warm-up.")
    say(report.header)
    if not BINARY.exists():
        sys.exit(f"bench-runtime: {BINARY} is not built: make bench-build")
    parts = opt.what or list(PARTS)
    commands = build_peers([] if set(parts) <= set(ALONE) else opt.peers.split(","), report)
    for name in parts:
        run_part(name, opt, commands, report)
    if not opt.no_write:
        report.write(ROOT / "docs/benchmarks.md")
        say("\ndocs/benchmarks.md: " + (" ".join(report.sections) or "nothing") + " rewritten")
    for line in report.missed:
        say(f"!! MISSED {line}")
    for line in report.not_run:
        say(f"!! NOT RUN {line}")
    say(f"bench-runtime: {len(report.sections)} parts measured, {len(report.missed)} targets missed,"
        f" {len(report.not_run)} not run")
    sys.exit(1 if report.not_run else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("bench-runtime: interrupted")
