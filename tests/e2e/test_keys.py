# SPDX-License-Identifier: MIT
"""Key bundles over the wire: registration, rotation, reading them."""
import base64
import json

from harness import DOMAIN, User, b64, check, equal, mid, suite, test, vectors

BAD_AT_ROTATION = ("INVALID_KEY_BUNDLE", "INVALID_BUNDLE")


def published(user, bundle):
    """What getPublicKey has to say of a bundle."""
    first = json.loads(base64.b64decode(bundle["bundleData"]))["supportedSuites"][0]
    return {"type": "publicKeyBundle", "payload": {
        "userId": user.id, "username": user.name, "identityPublic": first["identityKey"],
        "signedPrekeyPublic": first["signedPrekey"], "signature": bundle["signature"],
        "verifyingKey": bundle["masterIdentityKey"]}}


async def read(client, user):
    return await client.ask("getPublicKey", {"userId": user.id})


@test("every valid bundle of the vectors is taken and given out", timeout=90)
async def valid(t):
    s = await t.server()
    reader = await t.user(s)
    for v in vectors("key_bundles")["valid"]:
        c = await t.user(s, bundle=v["bundle"])
        equal(await read(reader, c.user), published(c.user, v["bundle"]), v["name"])


@test("every invalid bundle of the vectors: INVALID_KEY_BUNDLE at registration")
async def invalid(t):
    s = await t.server()
    c = await t.open(s)
    for v in vectors("key_bundles")["invalid"]:
        u = User()
        await c.fails("register", {"username": u.name, "password": u.password,
                                   "publicKey": v["bundle"]}, "INVALID_KEY_BUNDLE")
    await c.register()


def spoiled(user, owner):
    """Bundles that are wrong in one thing each; rightly signed where that is possible."""
    good = user.bundle(owner)
    other = User().bundle(owner)
    a, b = suite(), suite()
    k31, k33 = b64(b"k" * 31), b64(b"k" * 33)
    yield "signature of another key", {**good, "signature": other["signature"]}
    yield "key of another", {**good, "masterIdentityKey": other["masterIdentityKey"]}
    yield "signature of 63 bytes", {**good, "signature": b64(b"s" * 63)}
    yield "signature of 65 bytes", {**good, "signature": b64(b"s" * 65)}
    yield "signature is no base64", {**good, "signature": "*" * 88}
    yield "key is no base64", {**good, "masterIdentityKey": "*" * 44}
    yield "data is no base64", {**good, "bundleData": "***"}
    yield "data is empty", {**good, "bundleData": ""}
    yield "data is a JSON list", user.bundle(raw=b"[]")
    yield "no suites", user.bundle(owner, suites=[])
    yield "suite 2", user.bundle(owner, suites=[{**a, "suiteId": 2}])
    yield "suite 0", user.bundle(owner, suites=[{**a, "suiteId": 0}])
    yield "suite id is a text", user.bundle(owner, suites=[{**a, "suiteId": "1"}])
    yield "a good and an unknown suite", user.bundle(owner, suites=[a, {**b, "suiteId": 9}])
    yield "identity key of 31 bytes", user.bundle(owner, suites=[{**a, "identityKey": k31}])
    yield "identity key of 33 bytes", user.bundle(owner, suites=[{**a, "identityKey": k33}])
    yield "prekey of 33 bytes", user.bundle(owner, suites=[{**a, "signedPrekey": k33}])
    yield "no prekey", user.bundle(owner, suites=[{k: a[k] for k in ("suiteId", "identityKey")}])
    yield "one-time prekey of 31 bytes", user.bundle(owner, suites=[{**a, "oneTimePrekeys": [k31]}])
    yield "trailing bytes", user.bundle(raw=base64.b64decode(good["bundleData"]) + b"x")
    yield "no timestamp", user.bundle(raw=json.dumps(
        {"userId": owner, "supportedSuites": [a]}).encode())
    yield "timestamp is no RFC 3339", user.bundle(raw=json.dumps(
        {"userId": owner, "timestamp": "yesterday", "supportedSuites": [a]}).encode())


@test("bundles wrong in one thing: INVALID_KEY_BUNDLE at registration")
async def spoiled_register(t):
    s = await t.server()
    c = await t.open(s)
    wrong = []
    for what, bundle in spoiled(User(), ""):
        u = User()
        m = await c.ask("register", {"username": u.name, "password": u.password,
                                     "publicKey": bundle}, 60)
        if m["type"] != "error" or m["payload"]["code"] != "INVALID_KEY_BUNDLE":
            wrong.append((what, m["type"], m["payload"].get("code")))
            c = await t.open(s)
    check(not wrong, "INVALID_KEY_BUNDLE", wrong)


@test("rotation replaces the bundle, at once and for everyone")
async def rotate(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    await read(b, a.user)
    bundle = a.user.bundle(a.user.id)
    equal(await a.ask("rotatePrekey", {"userId": a.user.id, "update": bundle}),
          {"type": "keyRotationSuccess"}, "rotatePrekey")
    equal(await read(b, a.user), published(a.user, bundle), "the new bundle")
    other = User().bundle(a.user.id)  # a new master key is the owner's to choose
    equal(await a.ask("rotatePrekey", {"userId": a.user.id.upper(), "update": other}),
          {"type": "keyRotationSuccess"}, "rotatePrekey, id in upper case")
    equal(await read(b, a.user), published(a.user, other), "the newest bundle")


@test("rotation refuses bundles wrong in one thing, and keeps the old one", timeout=90)
async def rotate_bad(t):
    # Refused attempts may count against the limit of a day, so each user makes few.
    s = await t.server()
    reader = await t.user(s)
    wrong, c, n = [], None, 0
    for what, make in ((w, w) for w, _ in spoiled(User(), "")):
        if c is None or n == 8:
            c, n = await t.user(s), 0
            before = await read(reader, c.user)
            cases = dict(spoiled(c.user, c.user.id))
        m = await c.ask("rotatePrekey", {"userId": c.user.id, "update": cases[make]})
        n += 1
        if m["type"] != "error" or m["payload"]["code"] not in BAD_AT_ROTATION:
            wrong.append((what, m))
        elif await read(reader, c.user) != before:
            wrong.append((what, "refused, and stored"))
    check(not wrong, " or ".join(BAD_AT_ROTATION), wrong)


@test("rotation for another user, or with another's id in the bundle: FORBIDDEN")
async def rotate_other(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    before = await read(a, b.user)
    await a.fails("rotatePrekey", {"userId": b.user.id, "update": a.user.bundle(b.user.id)},
                  "FORBIDDEN")
    await a.fails("rotatePrekey", {"userId": b.user.id, "update": a.user.bundle(a.user.id)},
                  "FORBIDDEN")
    await a.fails("rotatePrekey", {"userId": a.user.id, "update": a.user.bundle(b.user.id)},
                  "FORBIDDEN")
    await a.fails("rotatePrekey", {"userId": a.user.id, "update": a.user.bundle("")},
                  "FORBIDDEN", *BAD_AT_ROTATION)
    equal(await read(a, b.user), before, "the bundle of the other user")


@test("rotation with a bad user id or a missing bundle is refused")
async def rotate_shape(t):
    s = await t.server()
    a = await t.user(s)
    await a.fails("rotatePrekey", {"userId": "nobody", "update": a.user.bundle(a.user.id)},
                  "INVALID_USER_ID", "FORBIDDEN")
    await a.fails("rotatePrekey", {"userId": a.user.id}, "INVALID_FORMAT", *BAD_AT_ROTATION)
    await a.fails("rotatePrekey", {"userId": a.user.id, "update": "text"}, "INVALID_FORMAT",
                  *BAD_AT_ROTATION)
    await a.alive()


@test("getPublicKey: bad id INVALID_USER_ID, unknown USER_NOT_FOUND, any form of a known one")
async def get_key(t):
    s = await t.server()
    a, b = await t.users(s, 2)
    for bad in ("", "nobody", a.user.id[:-1], a.user.id + "0", "g" * 36):
        await a.fails("getPublicKey", {"userId": bad}, "INVALID_USER_ID")
    await a.fails("getPublicKey", {"userId": mid()}, "USER_NOT_FOUND")
    await a.fails("getPublicKey", {}, "INVALID_FORMAT")
    await a.fails("getPublicKey", {"userId": 5}, "INVALID_FORMAT")
    want = await read(a, b.user)
    for form in (b.user.id.upper(), f"{b.user.id}@{DOMAIN}"):
        equal(await a.ask("getPublicKey", {"userId": form}), want, f"getPublicKey {form}")


@test("KEY_BUNDLE_VERIFY=off takes a wrong signature, and still checks lengths")
async def verify_off(t):
    s = await t.private("verify-off", KEY_BUNDLE_VERIFY="off")
    u = User()
    c = await t.user(s, u, bundle={**u.bundle(), "signature": b64(b"s" * 64)})
    await c.alive()
    u = User()
    await (await t.open(s)).fails("register", {
        "username": u.name, "password": u.password,
        "publicKey": {**u.bundle(), "signature": b64(b"s" * 63)}}, "INVALID_KEY_BUNDLE")
