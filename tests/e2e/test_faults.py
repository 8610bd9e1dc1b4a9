# SPDX-License-Identifier: MIT
"""A store that cannot be written: errors to the senders, never silence, never a lie."""
import resource

from harness import User, check, equal, get, is_answer, test, until


def writes(server, work):
    """Every write of the relay to a file fails from now on, or works again."""
    limit = resource.RLIM_INFINITY if work else 0
    resource.prlimit(server.proc.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


async def recovered(t, s):
    """Sends go through again (the relay may take a moment to find out)."""
    a, sink = await t.users(s, 2)

    async def probe():
        m = a.chat(sink.user)
        await a.send("sendMessage", m)
        return (await a.answer(m["id"]))["type"] == "ack"

    await until(probe, 30, "sends are accepted again")


@test("not durable: KAFKA_FAILURE within 15 s, nothing delivered; later the same id passes",
      timeout=120)
async def sends(t):
    s = await t.private("nowrite")
    a, b = await t.users(s, 2)
    before = await a.post(b.user)
    await b.get(before)
    writes(s, False)
    msgs = [a.chat(b.user) for _ in range(20)]
    for m in msgs:
        await a.send("sendMessage", m)
    for m in msgs:
        x = await a.take(is_answer, 16, "the answer while nothing can be written")
        check(x["type"] == "error" and x["payload"]["code"] in ("KAFKA_FAILURE", "SERVER_ERROR"),
              "KAFKA_FAILURE", x)
        equal(x["payload"].get("messageId"), m["id"], "the answers in order")
    await a.refused(msgs[0], "KAFKA_FAILURE", "SERVER_ERROR")
    writes(s, True)
    await recovered(t, s)
    for m in msgs[:5]:
        await a.post(b.user, **{("from_" if k == "from" else k): v for k, v in m.items()
                                if k != "to"})
    for m in msgs[:5]:
        await b.get(m)
    equal(b.count("message"), 6, "messages delivered, none of the refused attempts")
    await a.refused(before, "DUPLICATE_MESSAGE")


@test("an acknowledgement that cannot be stored: SERVER_ERROR and the pong, and it comes again",
      timeout=120)
async def acks(t):
    s = await t.private("nowrite-acks")
    a, b = await t.users(s, 2)
    m = await a.post(b.user)
    await b.get(m)
    writes(s, False)
    await b.acknowledge(m["id"])
    await b.ping(16)
    e = await b.take("error", 16)
    equal((e["payload"]["code"], e["payload"].get("messageId")), ("SERVER_ERROR", m["id"]),
          "answer to the acknowledgement")
    writes(s, True)
    await recovered(t, s)
    b.abort()
    c = await t.again(s, b.user)
    await c.get(m)
    await c.settle(m["id"])
    await a.delivered(m["id"])


@test("logins and registrations get SERVER_ERROR, never a wrong reason", timeout=120)
async def logins(t):
    s = await t.private("nowrite-logins")
    a = await t.user(s)
    writes(s, False)
    c = await t.open(s)
    m = await c.ask("connect", {"sessionToken": a.user.token})
    check(m["type"] == "connectSuccess" or m["payload"].get("code") == "SERVER_ERROR",
          "connect: success or SERVER_ERROR", m)
    c = await t.open(s)
    for _ in range(2):
        m = await c.ask("login", {"username": a.user.name, "password": a.user.password}, 60)
        check(m["type"] == "error" and m["payload"]["code"] in (
            "SERVER_ERROR", "SESSION_CREATION_FAILED"), "login: SERVER_ERROR", m)
    u = User()
    m = await c.ask("register", {"username": u.name, "password": u.password,
                                 "publicKey": u.bundle()}, 60)
    check(m["type"] == "error" and m["payload"]["code"] in (
        "SERVER_ERROR", "SESSION_CREATION_FAILED", "REGISTRATION_FAILED"), "register", m)
    for kind, p in (("rotatePrekey", {"userId": a.user.id, "update": a.user.bundle(a.user.id)}),
                    ("changePassword", {"sessionToken": a.user.token,
                                        "oldPassword": a.user.password, "newPassword": u.password,
                                        "newPasswordConfirm": u.password}),
                    ("deleteAccount", {"sessionToken": a.user.token,
                                       "password": a.user.password})):
        m = await a.ask(kind, p, 60)
        equal((m["type"], m.get("payload", {}).get("code")), ("error", "SERVER_ERROR"), kind)
    writes(s, True)
    await recovered(t, s)
    await c.register(u)           # nothing of the first attempt was kept
    await (await t.open(s)).login(a.user)


@test("/health/ready tells of a store that cannot be written", timeout=90)
async def health(t):
    s = await t.private("nowrite-health")
    a, b = await t.users(s, 2)
    writes(s, False)
    m = a.chat(b.user)
    await a.send("sendMessage", m)
    equal((await a.answer(m["id"], 16))["type"], "error", "a send while nothing can be written")

    async def unhealthy():
        return (await get(s, "/health"))[0] == 503 and (await get(s, "/health/ready"))[0] == 503

    async def healthy():
        return (await get(s, "/health"))[0] == 200

    await until(unhealthy, 20, "503")
    equal((await get(s, "/health/live"))[0], 200, "the process is up")
    writes(s, True)
    await until(healthy, 30, "200 again")
