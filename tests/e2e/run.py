# SPDX-License-Identifier: MIT
"""Runs the end-to-end tests against one build: run.py BINARY --build DIR [-k TEXT]...

With --stack DIR (a stack of ops/stack.sh) each relay is two servers, two gateways and two workers.
"""
import argparse
import asyncio
import importlib
import sys
from pathlib import Path

import harness

AREAS = ["accounts", "sessions", "session_races", "keys", "frames", "sending", "order", "acks",
         "connections", "limits", "fairness", "http", "restart", "faults", "tls", "commands", "top",
         "grpc", "node", "instances", "emptied"]

# What asks for the embedded store's files or for one process, and what stands for it on the stack.
EMBEDDED_ONLY = {
    "commands": "about the program, not about a relay",
    "top": "one process; the roles have TOP_SOCKET too",
    "grpc": "GRPC_PORT is of `construct all`; make grpc-test and unit tests ask the gateway",
    "faults": "makes SQLite's writes fail; make test-faults does it to the backends",
    "restart": "about one process and its files; make test-faults restarts the roles",
    "tls": "the same listener",
}

STACK_ONLY = {"emptied": "about Redis; make e2e-stack",
              "instances": "about several servers; make e2e-stack"}


async def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("binary")
    ap.add_argument("--build", required=True, help="where venv and node modules were prepared")
    ap.add_argument("-k", action="append", default=[], help="only tests whose title holds this")
    ap.add_argument("--stack", help="folder of a stack that runs")
    ap.add_argument("-j", type=int, default=6, help="tests at once")
    args = ap.parse_args()
    others = EMBEDDED_ONLY if args.stack else STACK_ONLY
    areas = [a for a in AREAS if a not in others]
    for a in areas:
        importlib.import_module(f"test_{a}")
    left = {p.stem for p in Path(__file__).parent.glob("test_*.py")} - {f"test_{a}" for a in AREAS}
    assert not left, f"not in the list of areas: {left}"
    suite = harness.Suite(args.binary, args.build, Path(args.build) / "node", args.k, args.j)
    suite.notes = [f"{a}: {why}" for a, why in STACK_ONLY.items()]
    if args.stack:
        import stack_server
        suite.stack = stack_server.Stack(args.stack, suite.binary)
        suite.server_class = stack_server.StackServer
    suite.notes = [f"{a}: {why}" for a, why in others.items()]
    if not args.k:
        suite.notes += [
            "MESSAGE_TTL_DAYS and DEDUPLICATION_WINDOW_HOURS: a day and an hour are their "
            "smallest steps (unit tests)",
            "SESSION_CREATION_FAILED: needs a JWT_ISSUER that cannot be written (unit tests)",
            "encryptedV3: POST /messages/send is not part of this release",
            "a session that ends by SESSION_TTL_DAYS: a day is its smallest step (unit tests)",
        ]
    try:
        await suite.run()
    finally:
        code = suite.end()
    return code


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent / "fault")]
    sys.exit(asyncio.run(main()))
