# SPDX-License-Identifier: MIT
"""What the hardware allows for each row: a bound from floors of the same run.

The floors are rows of bench_hardware, in ns, the fastest of several runs: all before and after the rows,
those that need both cores at once (stream, transfer) after each row, too:

    call       64 bytes written, then a jump through a table of functions
    pool       a block off a free list and back on it
    stream     a line written by one core and read by another, out of many on their way
    transfer   a line that goes to another core and is waited for
    own        an atomic exchange on a line that no other core wants
    shared     the same on one that another core wants, too (of all exchanges of both; the median,
               since whoever is alone for a moment is faster)
    memory     a line out of many that no cache holds, in order, read and written
    wake       from a write to an eventfd until its poll has returned, median

A message that stays on its core is at least `call + pool`; a lone one that crosses is a `transfer`.  Of a
stream that crosses, each line is streamed, and two cores share call and pool.  Where half of the
messages cross, half of the lines are streamed.  A child is started, gets a message and answers it: three messages,
and a block that it is in.  A timer out of a million is 56 bytes that no cache holds; one that fires was armed before, and is a message.
"""
import pathlib

from benchlib import CannotRun, Series, run_tsv

TIMER_BYTES = 56  # sizeof(struct cx_timer)
ROWS = {"call": "call and 64 bytes", "pool": "list pop+push", "stream": "stream, fastest",
        "transfer": "transfer, fastest", "memory": "lines in order",
        "own": "exchange alone", "shared": "exchange contended", "wake": "eventfd wake"}


def stays(h):
    return h["call"] + h["pool"]


def timer(h):
    """One after the other in memory."""
    return h["memory"] * TIMER_BYTES / 64


# rows and placement: the bound in words, ns of an operation, and what an atomic a message adds
FORMULAS = (
    (("count", "fan-in", "fan-out", "fork-join", "ring-100", "ring-10000"), "same",
     "call + pool", stays, lambda h: h["own"]),
    (("ping-pong", "big"), "same",
     "2 (call + pool)", lambda h: 2 * stays(h), lambda h: 2 * h["own"]),
    (("count", "fan-in"), "across",
     "stream, or half of call + pool", lambda h: max(h["stream"], stays(h) / 2), lambda h: h["shared"]),
    (("fan-out", "fork-join"), "across",
     "half of stream or of call + pool", lambda h: max(h["stream"], stays(h)) / 2,
     lambda h: (h["own"] / 2 + h["shared"]) / 2),
    (("big",), "across",  # two messages, one of which crosses
     "half of stream, or call + pool", lambda h: max(h["stream"] / 2, stays(h)),
     lambda h: h["own"] / 2 + h["shared"]),
    (("ping-pong",), "across", "2 transfer", lambda h: 2 * h["transfer"], lambda h: 2 * h["own"]),
    (("ring-100", "ring-10000"), "across", "transfer", lambda h: h["transfer"], lambda h: h["own"]),
    (("spawn",), "same", "4 (call + pool)", lambda h: 4 * stays(h), lambda h: 3 * h["own"]),
    (("spawn",), "across",  # half of the children
     "half of 4 (call + pool)", lambda h: 2 * stays(h), lambda h: 1.5 * h["shared"]),
    (("timers-arm", "timers-cancel"), "same", "memory", timer, None),
    (("timers-arm", "timers-cancel"), "across", "half of memory", lambda h: timer(h) / 2, None),
    (("timers-fire",), "same", "2 memory + call + pool", lambda h: 2 * timer(h) + stays(h), lambda h: h["own"]),
    (("timers-fire",), "across", "half of 2 memory + call + pool", lambda h: timer(h) + stays(h) / 2,
     lambda h: h["own"] / 2),
)

HEADER = ["row", "placement", "libcx", "bound", "share", "the bound is", "bound with an atomic each",
          "share"]
NOTE = ("The bound is a formula over what the hardware did in this run: {figures}. `call`: 64"
        " bytes written and a jump through a table; `pool`: a block off a free list and back; `stream`: a line"
        " to the other core, many on their way; `transfer`: a line that is waited for; `memory`: a line that no cache holds, in order, of which a timer is 7/8. `With an atomic each`"
        " adds an exchange for each message: {own:.1f} ns on a line of one's own, {shared:.1f} where both"
        " cores want it. Floors and shares are of the fastest runs, which others on the machine disturb least;"
        " beside libcx's median stand the slowest and fastest. 100 % would be these operations and nothing"
        " else: no mailbox, no schedule, no check of who is alive. A message of libcx with one number is one line of 64"
        " bytes. `any` is held against the better of both placements.")
LONE_NOTE = ("A lone message that crosses (ping-pong and rings across): the bound is of two threads that both spin."
             " A worker of libcx that has nothing to do spins for 20 us and no longer, and not after spins in vain: then it"
             " sleeps, and a message pays a wake-up, through an eventfd {wake:,.0f} ns in the median of this run.")


def faster(a, b):
    return {n: min(x[n] for x in (a, b) if n in x) for n in a | b}


def hardware(folder, *what):
    """{floor: ns}; what: as bench_hardware."""
    found = {}
    for fields in run_tsv([pathlib.Path(folder) / "bench_hardware", *what], timeout=120):
        name, threads, median, best, p50 = fields[1], fields[2], fields[3], fields[5], fields[6]
        rate = best if threads == "1" else median
        found[name] = float(p50) if rate == "-" else 1e9 / float(rate)
    return {short: found[name] for short, name in ROWS.items() if name in found}


def bounds(row, placement, floors):
    """(words, operations a second, the same with an atomic a message or None: it needs none)"""
    if placement == "any":
        return max((bounds(row, p, floors) for p in ("same", "across")), key=lambda b: b[1])
    for rows, where, words, ns, atomics in FORMULAS:
        if row in rows and where == placement:
            with_atomic = 1e9 / (ns(floors) + atomics(floors)) if atomics else None
            return words, 1e9 / ns(floors), with_atomic
    raise ValueError(f"no formula for {row} {placement}")


def percent(part, whole):
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 1 else f"{share:.2f} %"


def add_rows(report, part, rates, floors):
    """rates: {(row, placement, unit): Series}"""
    missing = set(ROWS) - set(floors)
    if missing:
        raise CannotRun(f"too busy a machine to measure {', '.join(sorted(missing))}")
    for (row, placement, unit), rate in rates.items():
        words, bound, with_atomic = bounds(row, placement, floors)
        best, shown = max(rate.values), Series()
        shown.values = [v / 1e6 for v in rate.values]
        report.row(part, f"{row}, {unit}", placement, shown.text(2), f"{bound / 1e6:.2f}",
                   percent(best, bound), words,
                   *((f"{with_atomic / 1e6:.2f}", percent(best, with_atomic)) if with_atomic else ("-", "-")))
    figures = ", ".join(f"{name} {floors[name]:.1f} ns" for name in ("call", "pool", "stream", "transfer", "memory"))
    report.note(part, NOTE.format(figures=figures, **floors))
    report.note(part, LONE_NOTE.format(**floors))
