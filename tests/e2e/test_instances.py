# SPDX-License-Identifier: MIT
"""Several servers: what one does must hold on the others, whatever is lost between them.

The relays here are private ones, since their processes are frozen."""
import asyncio
import contextlib
import os
import signal

from harness import User, check, equal, test


async def redis(t, *args):
    url = t.suite.stack.env["REDIS_URL"]
    p = await asyncio.create_subprocess_exec(
        "redis-cli", "--no-auth-warning", "-u", url, *args, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(p.communicate(), 20)
    check(p.returncode == 0, "redis-cli", args)
    return out.decode(errors="replace").strip()


async def on(t, server, n):
    """A connection to the n-th server process."""
    return await t.open(server, url=f"ws://127.0.0.1:{server.of('server')[n].port}/")


@contextlib.asynccontextmanager
async def deaf(t, server, n):
    """The n-th server hears nothing of what is published meanwhile, and then listens again."""
    pid = server.of("server")[n].proc.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await redis(t, "CLIENT", "KILL", "TYPE", "PUBSUB")
        await asyncio.sleep(1)  # the others are back
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@test("a session that ended while a server did not hear of it ends there too", timeout=150)
async def missed_kick(t):
    s = await t.private()
    a = await (await on(t, s, 0)).register(User())
    b = await (await on(t, s, 1)).connect(a.user)
    c = await (await on(t, s, 0)).login(a.user)
    new = User().password
    async with deaf(t, s, 1):
        m = await c.ask("changePassword", {
            "sessionToken": c.user.token, "oldPassword": a.user.password,
            "newPassword": new, "newPasswordConfirm": new}, 60)
        equal(m["type"], "changePasswordSuccess", "changePassword")
        await a.close_code()
    equal(await b.close_code(45), 4401, "close code of the one who was not told")
