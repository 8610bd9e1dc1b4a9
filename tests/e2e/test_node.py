# SPDX-License-Identifier: MIT
"""The second client: npm `ws` and `@msgpack/msgpack`, see node/suite.mjs."""
import asyncio
import json

from harness import check, equal, test


@test("the suite of the Node client passes", timeout=180)
async def node(t):
    s = await t.private("node", DELIVERY_ACK_BATCH_BUFFER_SECS=None, INSTANCE_DOMAIN=None,
                        WORKER_THREADS=None)
    p = await asyncio.create_subprocess_exec(
        "node", "suite.mjs", s.url("/"), cwd=t.suite.node, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        out = (await p.communicate())[0].decode(errors="replace")
    finally:
        if p.returncode is None:
            p.kill()
    lines = [json.loads(ln) for ln in out.splitlines() if ln.startswith('{"test"')]
    for ln in lines:
        t.suite.result(f"node: {ln['test']}", ln["ms"] / 1000, ln.get("error"))
    equal(p.returncode, 1 if any("error" in ln for ln in lines) else 0,
          f"exit code of node ({out[-500:]})")
    check(len(lines) >= 12, "its tests ran", out[-500:])
