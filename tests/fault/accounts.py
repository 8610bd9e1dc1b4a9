# SPDX-License-Identifier: MIT
"""Accounts and chat messages as a client makes them."""
import asyncio
import base64
import json
import random
import time
import uuid

from nacl.signing import SigningKey

import wsclient

PASSWORD = "Correct-Horse-1"


def b64(data):
    return base64.b64encode(data).decode()


def key_bundle(rng, user_id=""):
    """A signed bundle with one suite 1 entry (protocol.md section 3)."""
    signing = SigningKey(rng.randbytes(32))
    data = json.dumps({
        "userId": user_id,
        "timestamp": "2026-01-01T00:00:00Z",
        "supportedSuites": [{
            "suiteId": 1,
            "identityKey": b64(rng.randbytes(32)),
            "signedPrekey": b64(rng.randbytes(32)),
        }],
    }).encode()
    return {
        "masterIdentityKey": b64(bytes(signing.verify_key)),
        "bundleData": b64(data),
        "signature": b64(signing.sign(data).signature),
    }


class Account:
    def __init__(self, name, user_id, token):
        self.name = name
        self.id = user_id
        self.token = token


async def register(port, name, rng=random, ssl=None):
    """Registers on a connection of its own; returns an Account."""
    conn = await wsclient.dial(port, ssl=ssl, timeout=15)
    try:
        answer = await conn.ask("register", {
            "username": name, "password": PASSWORD, "publicKey": key_bundle(rng),
        }, "registerSuccess", timeout=60)
    finally:
        conn.close()
    if answer["type"] != "registerSuccess":
        raise RuntimeError(f"register {name}: {answer}")
    payload = answer["payload"]
    return Account(name, payload["userId"], payload["sessionToken"])


async def login(port, account):
    """A new session token, or None when that is not possible now."""
    conn = await wsclient.dial(port)
    try:
        answer = await conn.ask("login", {"username": account.name, "password": PASSWORD},
                                "loginSuccess", timeout=30)
    except ConnectionError:
        return None
    finally:
        conn.close()
    return answer["payload"].get("sessionToken")


async def register_many(port, count, rng, prefix="fault", at_once=4, ssl=None):
    """`count` accounts; hashing is costly on the server, so a few at a time."""
    gate = asyncio.Semaphore(at_once)
    tag = f"{prefix}_{rng.getrandbits(40):x}"

    async def one(i):
        async with gate:
            return await register(port, f"{tag}_{i}", rng, ssl)

    return list(await asyncio.gather(*(one(i) for i in range(count))))


def text_content(rng, size):
    """Base64 text of about `size` characters, never empty."""
    return b64(rng.randbytes(max(3, size * 3 // 4)))


def chat(sender, recipient, rng, size=200, message_id=None, number=None):
    """A chat message from one user id to another."""
    return {
        "id": message_id or str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "from": sender,
        "to": recipient,
        "ephemeralPublicKey": rng.randbytes(32),
        "messageNumber": rng.getrandbits(32) if number is None else number,
        "content": text_content(rng, size),
        "timestamp": int(time.time()),
    }
