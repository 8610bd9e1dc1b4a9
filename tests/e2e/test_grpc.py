# SPDX-License-Identifier: MIT
"""GRPC_PORT: the gateway's service on the embedded relay, driven by grpcio."""
import asyncio
import base64
import os
import secrets
import re
import time
import urllib.request

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)

from harness import DOMAIN, check, equal, free_port, mid, test
from proxy import Proxy

PACKAGE = "construct.message_gateway.v1"


class Gateway:
    """The stock client; what the messages are it learns by reflection."""

    def __init__(self, port):
        self.target = f"127.0.0.1:{port}"
        with grpc.insecure_channel(self.target) as channel:
            pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            service = pool.FindServiceByName(f"{PACKAGE}.MessageGateway")
            self.types = {m.name: (message_factory.GetMessageClass(m.input_type),
                                   message_factory.GetMessageClass(m.output_type))
                          for m in service.methods}
            self.status = pool.FindEnumTypeByName(f"{PACKAGE}.SubmissionStatus").values_by_number
        self.channel = None

    @classmethod
    async def open(cls, port):
        g = await asyncio.to_thread(cls, port)
        g.channel = grpc.aio.insecure_channel(g.target)
        return g

    async def call(self, name, **fields):
        request, response = self.types[name]
        method = self.channel.unary_unary(f"/{PACKAGE}.MessageGateway/{name}",
                                          request_serializer=request.SerializeToString,
                                          response_deserializer=response.FromString)
        return await method(request(**fields), timeout=20)

    @staticmethod
    def fields(sender, recipient, **over):
        return {"message_id": mid(), "from": sender.id, "to": recipient.id,
                "ephemeral_public_key": secrets.token_bytes(32),
                "ciphertext": secrets.token_bytes(80), "message_number": 3,
                "authenticated_user_id": sender.id} | over

    async def submit(self, sender, recipient, **over):
        fields = self.fields(sender, recipient, **over)
        return fields, await self.call("SubmitMessage", **fields)

    def said(self, response):
        return (self.status[response.status].name.removeprefix("SUBMISSION_STATUS_"),
                response.error.error_code)


async def started(t, name, **env):
    port = free_port()
    return await t.private(name, GRPC_PORT=str(port), **env), port


@test("a message submitted by gRPC reaches the recipient, and its receipt the sender", timeout=60)
async def submitted(t):
    s, port = await started(t, "grpc")
    a, b = await t.users(s, 2)
    g = await Gateway.open(port)
    sent, r = await g.submit(a.user, b.user)
    equal(g.said(r), ("SUCCESS", ""), "the response")
    check(not r.HasField("error"), "no error beside success", r)
    got = (await b.take("message"))["payload"]
    equal((got["id"], got["from"], got["to"], got["ephemeralPublicKey"], got["messageNumber"],
           base64.b64decode(got["content"])),
          (sent["message_id"], a.user.id, b.user.id, sent["ephemeral_public_key"], 3,
           sent["ciphertext"]), "the message")
    await b.settle(got["id"])
    await a.delivered(got["id"])
    _, r = await g.submit(a.user, b.user, message_id=sent["message_id"].upper())
    equal(g.said(r), ("DUPLICATE", "DUPLICATE_MESSAGE"), "the same id again")
    figures = (await asyncio.to_thread(
        urllib.request.urlopen, f"http://127.0.0.1:{s.port}/metrics")).read().decode()
    calls = re.search(r"^construct_grpc_calls_total (\d+)$", figures, re.M)
    check(calls and int(calls[1]) >= 2, "the calls are counted", calls)
    await g.channel.close()
    code, _ = await s.stop()
    equal(code, 0, "exit code")


@test("many submissions on one stream: in order, each answered as a single one would be", timeout=60)
async def streamed(t):
    s, port = await started(t, "grpc-many")
    a, b = await t.users(s, 2)
    g = await Gateway.open(port)
    request, response = g.types["SubmitMessages"]
    stream = g.channel.stream_stream(f"/{PACKAGE}.MessageGateway/SubmitMessages",
                                     request_serializer=request.SerializeToString,
                                     response_deserializer=response.FromString)()
    sent = [g.fields(a.user, b.user, message_number=i) for i in range(30)]
    sent += [dict(sent[7]), g.fields(a.user, b.user, message_id="no uuid")]
    for i, fields in enumerate(sent):
        await stream.write(request(id=i, timeout_ms=20_000, request=fields))
    outcomes = {}
    while len(outcomes) < len(sent):
        r = await asyncio.wait_for(stream.read(), 20)
        equal(r.grpc_status, 0, "no error of gRPC")
        outcomes[r.id] = g.said(r.response)
    equal([outcomes[i] for i in range(30)], [("SUCCESS", "")] * 30, "the outcomes")
    equal([outcomes[30], outcomes[31]], [("DUPLICATE", "DUPLICATE_MESSAGE"),
                                         ("VALIDATION_ERROR", "INVALID_MESSAGE_ID")], "and those refused")
    equal([(await b.take("message"))["payload"]["messageNumber"] for _ in range(30)], list(range(30)),
          "the order")
    await stream.done_writing()
    equal(await stream.code(), grpc.StatusCode.OK, "the end of the stream")
    await g.channel.close()


@test("the time is the client's when a submission brings it, else the gateway's", timeout=60)
async def timestamps(t):
    s, port = await started(t, "grpc-time")
    a, b = await t.users(s, 2)
    g = await Gateway.open(port)
    for when in (-7, 0, 1_500_000_000):
        await g.submit(a.user, b.user, client_timestamp=when)
        equal((await b.take("message"))["payload"]["timestamp"], when, "as sent")
    await g.submit(a.user, b.user)  # as stock clients do
    at = (await b.take("message"))["payload"]["timestamp"]
    check(abs(at - time.time()) < 30, "the gateway's clock", at)
    await g.channel.close()


@test("what the gateway refuses is a response with its status, not an error of gRPC", timeout=60)
async def refused(t):
    s, port = await started(t, "grpc-refused", INBOX_MAX_MESSAGES="2")
    a, b = await t.users(s, 2)
    g = await Gateway.open(port)
    bad = [("INVALID_MESSAGE_ID", {"message_id": "no uuid"}), ("INVALID_MESSAGE_ID", {"message_id": ""}),
           ("INVALID_MESSAGE_FORMAT", {"ephemeral_public_key": b"short"}),
           ("INVALID_MESSAGE_FORMAT", {"ciphertext": b""}),
           ("INVALID_MESSAGE_FORMAT", {"ciphertext": bytes(80_000)}),
           ("INVALID_MESSAGE_FORMAT", {"to": "nobody"}),
           ("INVALID_MESSAGE_FORMAT", {"authenticated_user_id": ""}),
           ("FORBIDDEN", {"authenticated_user_id": b.user.id}), ("FORBIDDEN", {"from": b.user.id}),
           ("USER_NOT_FOUND", {"to": mid()}), ("USER_NOT_FOUND", {"to": f"{b.user.id}@else.where"})]
    for code, over in bad:
        _, r = await g.submit(a.user, b.user, **over)
        equal(g.said(r), ("VALIDATION_ERROR", code), f"{over}"[:80])
        check(r.error.error_message, "a text for people", r)
    _, r = await g.submit(a.user, b.user, to=f"{b.user.id}@{DOMAIN}", ciphertext=os.urandom(74_817))
    equal(g.said(r), ("SUCCESS", ""), "the largest, to a user of this domain")
    _, r = await g.submit(a.user, b.user)
    _, r = await g.submit(a.user, b.user)
    equal(g.said(r), ("VALIDATION_ERROR", "INBOX_FULL"), "over the quota")
    equal(len([1 for _ in range(2) if await b.take("message")]), 2, "messages that came")
    await g.channel.close()


@test("one limit for a user's messages, by gRPC and by WebSocket", timeout=60)
async def limited(t):
    s, port = await started(t, "grpc-limits", MAX_MESSAGES_PER_HOUR="4")
    a, b = await t.users(s, 2)
    g = await Gateway.open(port)
    for _ in range(2):
        equal(g.said((await g.submit(a.user, b.user))[1])[0], "SUCCESS", "below the limit")
        await a.post(b.user)
    _, r = await g.submit(a.user, b.user)
    equal(g.said(r), ("RATE_LIMITED", "RATE_LIMIT_WARNING"), "over it")
    await a.refused(a.chat(b.user), "RATE_LIMIT_WARNING")
    await g.channel.close()


def frames_into(bodies):
    """A function for the bytes of a client; each request's body is added when its stream ends."""
    frames = request_bodies(bodies)
    next(frames)
    return frames.send


def request_bodies(bodies):
    came, open_bodies = (yield), {}
    while len(came) < 24:  # the preface
        came += yield
    came = came[24:]
    while True:  # RFC 9113, 4.1
        while len(came) < 9 or len(came) < 9 + int.from_bytes(came[:3], "big"):
            came += yield
        end = 9 + int.from_bytes(came[:3], "big")
        kind, flags, stream = came[3], came[4], int.from_bytes(came[5:9], "big")
        if kind == 0:  # DATA
            open_bodies[stream] = open_bodies.get(stream, b"") + came[9:end]
            if flags & 1:  # END_STREAM
                bodies.append(open_bodies.pop(stream))
        came = came[end:]


@test("a thousand submissions in flight on one connection are delivered in order", timeout=90)
async def in_flight(t):
    s, port = await started(t, "grpc-flight", MAX_MESSAGES_PER_HOUR="0")
    a, b = await t.users(s, 2)
    bodies = []
    link = await Proxy("grpc", lambda: port, lambda: frames_into(bodies)).start()
    g = await Gateway.open(link.port)
    await g.call("HealthCheck")  # calls that wait for the connection leave in any order
    bodies.clear()
    calls = [asyncio.ensure_future(g.submit(a.user, b.user, message_number=n)) for n in range(1000)]
    for _, r in await asyncio.gather(*calls):
        equal(g.said(r), ("SUCCESS", ""), "each")
    # Not that of the calls: the client cuts one now and then, and sends its rest after all others.
    wanted = [body[7:43].decode() for body in bodies]  # behind gRPC's 5 bytes and the field's 2
    equal(len(wanted), 1000, "requests that were seen")
    got = [(await b.take("message"))["payload"]["id"] for _ in range(1000)]
    equal(got, wanted, "the order of delivery is that in which the requests ended")
    await g.channel.close()
    link.close()


@test("health by both services, and GOAWAY with the calls finished at the end", timeout=60)
async def health(t):
    s, port = await started(t, "grpc-health")
    g = await Gateway.open(port)
    r = await g.call("HealthCheck")
    equal(r.status, 1, "SERVING")
    stub = health_pb2_grpc.HealthStub(g.channel)
    r = await stub.Check(health_pb2.HealthCheckRequest(service=f"{PACKAGE}.MessageGateway"))
    equal(r.status, health_pb2.HealthCheckResponse.SERVING, "grpc.health.v1")
    code, seconds = await s.stop()
    equal(code, 0, "exit code with a client connected")
    check(seconds < 25, "and soon", seconds)
    await g.channel.close()
