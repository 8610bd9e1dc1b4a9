#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What an idle connection costs a server process: the slope of its resident memory.

    bench/idle_memory.py PID N1 N2 COMMAND...

COMMAND opens connections to the server of PID and holds them; `{n}` in it is the number:

    bench/idle_memory.py $PID 1000 10000 build/release/construct bench ws://127.0.0.1:8080/ \\
        --mode hold --connections {n} --duration 600 --tokens users.txt

It is started for N1, measured once all connections are there and memory has come to rest,
ended, and the same for N2.  Printed: bytes a connection = (Rss2 - Rss1) / (N2 - N1), from
/proc/PID/smaps_rollup.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

SETTLE_S = 3
OPEN_LIMIT_S = 900


def rss_bytes(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+) kB", text, re.M).group(1)) * 1024


def sockets(pid):
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except OSError:
            pass  # closed meanwhile
    return count


def wait_for(condition, what, command):
    end = time.monotonic() + OPEN_LIMIT_S
    while not condition():
        if command is not None and command.poll() is not None:
            raise RuntimeError(f"the command ended early: {what}")
        if time.monotonic() > end:
            raise RuntimeError(f"not in {OPEN_LIMIT_S} s: {what}")
        time.sleep(0.2)


def held_rss(pid, n, argv):
    """The server's memory while argv holds n connections, and their number."""
    before = sockets(pid)
    command = subprocess.Popen([a.replace("{n}", str(n)) for a in argv],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: sockets(pid) - before >= n, f"{n} connections", command)
        time.sleep(SETTLE_S)
        held = sockets(pid) - before
        if held < n:
            raise RuntimeError(f"only {held} of {n} connections stayed")
        return rss_bytes(pid)
    finally:
        command.terminate()
        command.wait()
        wait_for(lambda: sockets(pid) - before < n / 100 + 1, "connections closed again", None)


def slope(pid, low, high, argv):
    """(bytes a connection, Rss at low, Rss at high)."""
    small = held_rss(pid, low, argv)
    large = held_rss(pid, high, argv)
    return (large - small) / (high - low), small, large


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    pid, low, high = (int(a) for a in sys.argv[1:4])
    each, small, large = slope(pid, low, high, sys.argv[4:])
    print(f"idle_memory\tpid={pid}\t{low}:{small}\t{high}:{large}\t{each:.0f} bytes a connection")


if __name__ == "__main__":
    main()
