# SPDX-License-Identifier: MIT
"""The benchmarks: parts, targets and the section of docs/benchmarks.md each fills."""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import parts
from benchlib import ROOT, CannotRun, Report, busy_percent, machine, raise_fd_limit, say


def arguments():
    arg = argparse.ArgumentParser(prog="bench/run.sh", description="Runs the benchmarks.")
    arg.add_argument("what", nargs="*", help=f"BINARY and parts of: {' '.join(parts.ALL)}")
    arg.add_argument("--runs", type=int, default=5)
    arg.add_argument("--seconds", type=float, default=5, help="measured time of one run")
    arg.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md alone")
    opt = arg.parse_args()
    opt.binary = ROOT / "build/release/construct"
    if opt.what and opt.what[0] not in parts.ALL:
        opt.binary = pathlib.Path(opt.what.pop(0)).resolve()
    unknown = [w for w in opt.what if w not in parts.ALL]
    if unknown:
        arg.error(f"no such part: {' '.join(unknown)}")
    opt.peers = opt.binary.parent / "bench"
    opt.folder = ROOT / "build/bench-data"
    return opt


def run_part(name, opt, report):
    title, header, run = parts.ALL[name]
    say(f"\n== {name}: {title}")
    report.section(name, title, header)
    busy = busy_percent()
    if busy > 15:
        warning = f"Others used {busy:.0f} % of the CPUs when this part began: rough numbers."
        say(f"!! {warning}")
        report.note(name, warning)
    try:
        run(opt, report)
    except CannotRun as why:
        report.cannot(name, why)
    except (KeyError, TypeError, json.JSONDecodeError) as err:
        report.cannot(name, f"construct bench answered something else: {err!r}")
    except (OSError, RuntimeError, subprocess.SubprocessError) as err:
        report.cannot(name, err)
    if not report.sections[name]["rows"]:
        del report.sections[name]  # keep what an earlier run wrote


def main():
    opt = arguments()
    report = Report()
    report.header = f"Measured on {machine()}; {opt.runs} runs of {opt.seconds:g} s after a warm-up."
    say(report.header)
    if raise_fd_limit() < 12000:
        say("!! fewer than 12,000 file descriptors allowed: the large parts will not run")
    for name in opt.what or parts.ALL:
        run_part(name, opt, report)
    shutil.rmtree(opt.folder, ignore_errors=True)
    for name in report.sections:
        report.note(name, report.header)
    if not opt.no_write:
        report.write(ROOT / "docs/benchmarks.md")
        say("\ndocs/benchmarks.md: " + (" ".join(report.sections) or "nothing") + " rewritten")
    for line in report.missed:
        say(f"!! MISSED {line}")
    for line in report.not_run:
        say(f"!! NOT RUN {line}")
    say(f"bench: {len(report.sections)} parts measured, {len(report.missed)} targets missed,"
        f" {len(report.not_run)} not run")
    sys.exit(1 if report.not_run else 0)


if __name__ == "__main__":
    # Both ways out pass through the `with` blocks, which end servers and peers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("bench: interrupted")
