# SPDX-License-Identifier: MIT
"""Runs the parts of the fault test and counts."""
import argparse
import asyncio
import importlib
import os
import random
import shutil
import sys
import tempfile
import time
import traceback

PARTS = {"checker": "checker_test", "kill": "part_kill", "term": "part_term",
         "slow": "part_slow", "halfopen": "part_halfopen", "hostile": "part_hostile"}


class Context:
    """What a part gets: the binary, its seed, a folder, and a place for verdicts."""

    def __init__(self, part, binary, seed, folder):
        self.part = part
        self.binary = binary
        self.seed = seed
        self.rng = random.Random(f"{part}:{seed}")
        self.folder = folder
        self.passed = 0
        self.failed = 0
        self.keep = False

    def check(self, name, good, detail=""):
        if good:
            self.passed += 1
            print(f"ok    {self.part}: {name}", flush=True)
        else:
            self.failed += 1
            self.keep = True
            print(f"FAIL  {self.part}: {name}", flush=True)
            for line in str(detail).splitlines():
                print(f"      {line}", flush=True)
        return good

    def say(self, text):
        print(f"      {self.part}: {text}", flush=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)


def run_part(part, binary, seed, root):
    folder = tempfile.mkdtemp(prefix=f"{part}-", dir=root)
    ctx = Context(part, binary, seed, folder)
    print(f"      {part}: SEED={seed}", flush=True)
    began = time.monotonic()
    try:
        module = importlib.import_module(PARTS[part])
        if part == "checker":
            asyncio.run(module.run(ctx))
        else:
            import uvloop
            uvloop.run(module.run(ctx))
    except Exception:
        ctx.check("runs to its end", False, traceback.format_exc())
    ctx.say(f"{time.monotonic() - began:.1f} s")
    if ctx.keep:
        ctx.say(f"SEED={seed}; histories and logs are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return ctx.passed, ctx.failed


def main():
    ap = argparse.ArgumentParser(prog="run.sh")
    ap.add_argument("binary")
    ap.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; default all")
    ap.add_argument("--work", default="build/fault", help="folder for data and histories")
    args = ap.parse_args()
    unknown = [p for p in args.part if p not in PARTS]
    if unknown:
        ap.error(f"unknown part {unknown[0]}")
    os.makedirs(args.work, exist_ok=True)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    passed = failed = 0
    for part in args.part or list(PARTS):
        p, f = run_part(part, args.binary, seed, args.work)
        passed += p
        failed += f
    print(f"fault: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
