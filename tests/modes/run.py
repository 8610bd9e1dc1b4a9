# SPDX-License-Identifier: MIT
"""run.py BINARY --stack DIR [-k TEXT]...: each row of docs/failure-modes.md on a relay of two servers, two
gateways and two workers.  --look: print what is seen beside what the table says, and judge nothing."""
import argparse
import asyncio
import shutil
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import harness  # noqa: E402
import stack_server  # noqa: E402
import table  # noqa: E402
from backends import Backends  # noqa: E402
from deployment import Deployment  # noqa: E402
from harness import Failure  # noqa: E402
from rows import ROWS  # noqa: E402
from scene import Scene  # noqa: E402

PAGE = harness.REPO / "docs/failure-modes.md"
ROW_SECS = 300


async def one(d, scene, name, cells, look):
    """What is wrong with the row, as sentences."""
    state, servers = ROWS[name]
    await scene.begin()
    async with state(d):
        seen = await scene.act(cells, servers)
    back = await d.heal()
    if look:
        print(f"      seen: {seen}; ready again after {back:.1f} s", flush=True)
    await scene.end()
    return [] if look else table.differences(cells, seen)


async def row(d, scene, name, cells, look):
    t0, bad = time.monotonic(), []
    try:
        bad = await asyncio.wait_for(one(d, scene, name, cells, look), ROW_SECS)
    except asyncio.TimeoutError:
        bad = [f"no end within {ROW_SECS} s"]
    except Failure as e:
        bad = [str(e)] + traceback.format_exc().splitlines()[-8:-1]
    finally:
        await scene.leave()
    print(f"{'FAIL' if bad else 'ok  '}  {name} ({time.monotonic() - t0:.1f} s)"
          + "".join(f"\n      {b}" for b in bad), flush=True)
    return not bad


async def relay(args, rows):
    suite = harness.Suite(args.binary, args.stack, None, [], 1)
    suite.stack = stack_server.Stack(args.stack, suite.binary)
    d = Deployment(suite, Backends(args.stack, suite.stack.env))
    good = 0
    try:
        await d.start()
        scene = await Scene.make(d)
        for name in rows:
            good += await row(d, scene, name, rows[name], args.look)
            await d.heal()
        code, _ = await d.stop()
        left = [f for f in ([] if code == 0 else [f"exit code {code}"]) + d.findings()]
        good += not left
        print(f"{'FAIL' if left else 'ok  '}  exits and logs of the relay"
              + "".join(f"\n      {f}" for f in left), flush=True)
    finally:
        d.kill_now()
        if args.keep:
            print(f"modes: logs are kept in {suite.tmp}")
        else:
            shutil.rmtree(suite.tmp, ignore_errors=True)
    return good, len(rows) + 1 - good


async def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("binary")
    ap.add_argument("--stack", required=True)
    ap.add_argument("-k", action="append", default=[])
    ap.add_argument("--look", action="store_true")
    ap.add_argument("--keep", action="store_true")
    args = ap.parse_args()
    rows = table.read(PAGE.read_text())
    odd = table.compare(rows, ROWS)
    if odd:
        sys.exit("modes: " + "; ".join(odd))
    rows = {n: c for n, c in rows.items() if not args.k or any(k in n for k in args.k)}
    good, bad = await relay(args, rows)
    print(f"modes: {good} passed, {bad} failed")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
