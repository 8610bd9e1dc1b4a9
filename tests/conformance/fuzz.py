# SPDX-License-Identifier: MIT
"""Drives all cases against one WebSocket echo server.

    fuzz.py --suite DIR --work DIR --url ws://127.0.0.1:PORT [--only 6.*,9.1.1]

Prints each failed case with its reason; the last line is
`conformance: N passed, N failed`, the exit status 1 if anything failed.
"""

import argparse
import asyncio
import fnmatch
import sys
import time
import urllib.parse

import cases
import fast
from client import run_case

# Group 9 (megabytes) would starve the timers of the short cases, so it runs
# after them and only a few at a time.
SHORT_AT_ONCE = 32
HEAVY_AT_ONCE = 4


def is_heavy(case_id):
    return case_id.startswith("9.")


def select(all_cases, only):
    if not only:
        return all_cases
    return [c for c in all_cases if any(fnmatch.fnmatchcase(c[0], p) for p in only)]


async def run_batch(batch, at_once, url, results, times):
    parts = urllib.parse.urlsplit(url)
    gate = asyncio.Semaphore(at_once)

    async def one(case_id, case_class):
        async with gate:
            begun = time.monotonic()
            try:
                proto = await run_case(url, parts.hostname, parts.port, case_class)
                results[case_id] = (proto.case.behavior, proto.failures())
            except OSError as err:
                results[case_id] = ("FAILED", [f"cannot connect: {err}"])
            times[case_id] = time.monotonic() - begun

    await asyncio.gather(*(one(*c) for c in batch))


async def run_all(selected, url):
    """{id: (behaviour, [reason])} and {id: seconds}, in the suite's order."""
    results, times = {}, {}
    await run_batch([c for c in selected if not is_heavy(c[0])], SHORT_AT_ONCE, url, results, times)
    await run_batch([c for c in selected if is_heavy(c[0])], HEAVY_AT_ONCE, url, results, times)
    return {c[0]: results[c[0]] for c in selected}, times


def report(results):
    """Prints the result lines and returns the number of failed cases."""
    failed = {i: why for i, (_, why) in results.items() if why}
    count = {"OK": 0, "NON-STRICT": 0, "INFORMATIONAL": 0}
    for case_id, (behavior, why) in results.items():
        if not why:
            count[behavior] += 1
            if behavior != "OK":
                print(f"{case_id}: {behavior}")
    for case_id, why in failed.items():
        print(f"{case_id}: FAILED: {'; '.join(why)}")
    print(f"of the passed: {count['OK']} ok, {count['NON-STRICT']} non-strict,"
          f" {count['INFORMATIONAL']} informational")
    print(f"conformance: {sum(count.values())} passed, {len(failed)} failed")
    return len(failed)


def main():
    arg = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arg.add_argument("--suite", required=True, help="folder of the suite's case files")
    arg.add_argument("--work", required=True, help="folder for the converted files")
    arg.add_argument("--url", required=True)
    arg.add_argument("--only", default="", help="comma-separated patterns of case ids")
    arg.add_argument("--times", action="store_true", help="show the ten slowest cases")
    opt = arg.parse_args()

    fast.install()
    selected = select(cases.load(opt.suite, opt.work), [p for p in opt.only.split(",") if p])
    if not selected:
        sys.exit("conformance: no case selected")
    begun = time.monotonic()
    results, times = asyncio.run(run_all(selected, opt.url))
    if opt.times:
        for case_id in sorted(times, key=times.get, reverse=True)[:10]:
            print(f"{case_id}: {times[case_id]:.1f} s")
    print(f"{len(results)} cases in {time.monotonic() - begun:.0f} s")
    sys.exit(1 if report(results) else 0)


if __name__ == "__main__":
    main()
