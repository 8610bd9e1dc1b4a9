# SPDX-License-Identifier: MIT
"""What bench/stack.sh measured, as sections of docs/benchmarks.md."""

from benchlib import ROOT, Report, say
from stack_roles import BACKENDS, ROLES

PERCENTILES = ("p50", "p99", "p999")


def cell(lines, name):
    if name not in lines:
        return "-"
    series = lines[name]
    return series.text(0 if series.median >= 1000 else 2)


def load(report, part, loads, out):
    """A table of relay and floor side by side, one pair of columns for each load."""
    report.section(part, "", ["", *(f"{who}, {name}" for name in loads
                                       for who in ("relay", "floor"))])
    columns = [out[name][who] for name in loads for who in ("relay", "floor")]
    report.row(part, "messages/s", *(cell(c, "messages/s") for c in columns))
    for what in (*ROLES, "three roles", "itself", *BACKENDS, "generator"):
        cells = [cell(c, f"CPU us a message, {what}") for c in columns]
        if any(c != "-" for c in cells):
            report.row(part, f"CPU us a message, {what}", *cells)
    for what in ("due to accepted", "due to delivered", "accepted to delivered", "due to acknowledged"):
        for p in PERCENTILES:
            report.row(part, f"ms {what} {p.replace('p999', 'p99.9')}",
                       *(cell(c, f"ms {what} {p}") for c in columns))
    for name in loads:
        for text in out["verdicts"][name]:
            report.note(part, f"{name}: {text}.")


def redis(report, out):
    got = out["commands"]
    report.section("stack-redis", "", ["Redis command", "a message"])
    for name, n in sorted(got["each"].items(), key=lambda item: -item[1]):
        report.row("stack-redis", name, f"{n:.3f}")
    report.row("stack-redis", "all", f"{sum(got['each'].values()):.2f}")
    report.note("stack-redis", f"At {got['per_s']:,.0f} messages/s; those in scripts counted too.")
    ids = "; ".join(
        f"{'as the run left them' if k == 'run' else 'filled with ' + k}: "
        f"{v['bytes']:.1f} ({v['each']:.1f} ids a bucket)" for k, v in out["ids"].items())
    report.note("stack-redis", f"Bytes of a remembered id (`MEMORY USAGE`): {ids}.")


def memory(report, opt, out):
    part, got = "stack-memory", out["memory"]
    report.section(part, "", ["MB (bytes for each user)", "empty",
                              f"{opt.users:,} registered", f"{opt.connected:,} connected",
                              "with 1,000 messages/s"])
    for name in got["empty"]:
        cells, before = [f"{got['empty'][name] / 1e6:,.1f}"], "empty"
        for state, count in (("registered", opt.users), ("connected", opt.connected),
                             ("busy", opt.connected)):
            each = (got[state][name] - got[before][name]) / count
            cells.append(f"{got[state][name] / 1e6:,.1f} ({each:,.0f})")
            before = "registered"
        report.row(part, name, *cells)
    keys = "; ".join(f"{k} {v['bytes']:.0f}" for k, v in got["keys"].items())
    report.note(part, f"Bytes of a key in Redis on average: {keys}.")
    report.note(part, "ms due to delivered meanwhile: " +
                ", ".join(f"{p} {v:.2f}" for p, v in got["ms"].items()) + ".")


def write(out, opt, measured):
    report = Report()
    closed = [name for name in ("64x16", "256x1") if name in out]
    if closed:
        load(report, "stack-saturation", closed, out)
    for name in ("open", "slow"):
        if name in out:
            load(report, f"stack-{name}", [name], out)
            report.note(f"stack-{name}", f"At {out[name]['rate']:,} messages/s.")
    if "commands" in out:
        redis(report, out)
    if "memory" in out:
        memory(report, opt, out)
    for part in report.sections:
        report.note(part, measured)
    report.write(ROOT / "docs/benchmarks.md")
    say("\ndocs/benchmarks.md: " + (" ".join(report.sections) or "nothing") + " rewritten")
