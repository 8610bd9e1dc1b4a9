#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The lock-free structures of the runtime, each beside what the machine allows.

usage: structures.py FOLDER [RAW]     (by make bench-structures, under a minute)

Runs bench_hardware, then bench_deque, bench_pool, bench_mailbox and bench_wake, and prints a table: what
one operation takes, the floor measured in the same run, and the share of it that was reached
(floor / time; 100 % would be the hardware's own operations and nothing else).  RAW: the TSV rows of the
programs go to this file.
"""
import pathlib
import subprocess
import sys

import benchlib

QUIET_PERCENT = 15  # more than that used by others: the table says so

# row: the hardware's rows that add up to its floor, in words and as (name, how often)
FLOORS = {
    "deque owner": ("exchange, cmpxchg", [("exchange alone", 1), ("cmpxchg alone", 1)]),
    "deque owner and thief": ("cmpxchg of two threads", [("cmpxchg contended", 1)]),
    "pool local": ("list pop, push", [("list pop+push", 1)]),
    "pool return, one thread": ("list pop, push, cmpxchg",
                                [("list pop+push", 1), ("cmpxchg alone", 1)]),
    "pool return, two threads": ("a line streamed", [("stream", 1)]),
    "mailbox list": ("list pop, push, twice", [("list pop+push", 2)]),
    "mailbox parcel": ("list pop, push, twice", [("list pop+push", 2)]),
    "wake sleeping": ("eventfd wake of a poll", [("eventfd wake", 1)]),
    "wake busy": ("16 turns of 1 us, a transfer", [("transfer", 1), ("turn of 1 us", 16)]),
    "wake behind a long turn": ("eventfd wake of a poll", [("eventfd wake", 1)]),
}
MAILBOX_FLOOR = ("a line streamed", [("stream", 1)])


def ns_of(row):
    """What one operation takes: a median of runs, or the median latency."""
    return float(row["p50"]) if row["ops"] == "-" else 1e9 / float(row["ops"])


def spread_of(row):
    if row["ops"] == "-":
        return f"p99 {float(row['p99']):,.0f}, p99.9 {float(row['p999']):,.0f}"
    return f"{1e9 / float(row['high']):,.1f}-{1e9 / float(row['low']):,.1f}"


def run(program):
    keys = "name params threads ops low high p50 p99 p999".split()
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"{program}: exit {done.returncode}")
    rows = [dict(zip(keys, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
    if not rows:
        sys.exit(f"{program}: no rows")
    return rows, done.stdout


def measure(folder):
    """All rows, and their text."""
    rows, text = [], ""
    for noun in ("hardware", "deque", "pool", "mailbox", "wake"):
        benchlib.say(f"bench_{noun} ..")
        found, printed = run(folder / f"bench_{noun}")
        rows += found
        text += printed
    return rows, text


def table(rows):
    hardware = {r["params"]: ns_of(r) for r in rows if r["name"] == "hardware"}
    hardware["turn of 1 us"] = 1000
    lines = ["| what | threads | ns | spread, ns | floor | its ns | share |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        what = f"{row['name']} {row['params']}"
        ns = ns_of(row)
        cells = [what, row["threads"], f"{ns:,.1f}", spread_of(row), "", "", ""]
        if row["name"] != "hardware":
            words, parts = MAILBOX_FLOOR if "senders=" in what else FLOORS[what]
            floor = sum(hardware[name] * times for name, times in parts)
            cells[4:] = [words, f"{floor:,.1f}", f"{100 * floor / ns:.0f} %"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    others = benchlib.busy_percent()
    rows, text = measure(pathlib.Path(sys.argv[1]))
    if len(sys.argv) == 3:
        pathlib.Path(sys.argv[2]).write_text(text)
    print(f"\n{table(rows)}\n\nMeasured on {benchlib.machine()}; others used {others:.0f} % of the CPUs"
          + (": a busy machine, rows of more than one thread mean little."
             if others > QUIET_PERCENT else "."))


if __name__ == "__main__":
    main()
