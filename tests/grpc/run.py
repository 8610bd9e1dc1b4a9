#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Stock gRPC clients against our server.  usage: run.py GRPC_ECHO BUILD (by run.sh)

Last line: `grpc: N passed, N failed`.  What could not run says NOT RUN, and counts as failed when it
is a tool that the project installs.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)

SERVER, BUILD = sys.argv[1], sys.argv[2]
GATEWAY = "construct.message_gateway.v1.MessageGateway"
# nghttp2 answers a HEADERS frame with a smaller stream id like a reused stream; its own server too.
H2SPEC_EXCEPTED = {"5.1.1/2"}
passed = failed = 0


class Server:
    def __init__(self, *tls):
        self.process = subprocess.Popen([SERVER, "0", "1", *tls], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def check(name, truth, what=""):
    global passed, failed
    passed, failed = passed + bool(truth), failed + (not truth)
    print(f"  {'ok  ' if truth else 'FAIL'} {name}{'' if truth else f': {what}'}", flush=True)


def unary(channel, method):
    return channel.unary_unary(f"/test.Echo/{method}")


def status_of(call, *args, **kwargs):
    try:
        call(*args, timeout=kwargs.pop("timeout", 10), **kwargs)
        return "OK", ""
    except grpc.RpcError as e:
        return e.code().name, e.details()


def python_calls(channel):
    echo = unary(channel, "Echo")
    check("python: unary", echo(b"hello", timeout=20) == b"hello")
    big = os.urandom(4 * 1024 * 1024)
    check("python: a message of 4 MiB, there and back", echo(big, timeout=20) == big)
    code, text = status_of(echo, big + b"x")
    check("python: an oversize message is RESOURCE_EXHAUSTED", code == "RESOURCE_EXHAUSTED",
          (code, text))
    code, text = status_of(unary(channel, "Fail"), b"")
    check("python: an error with its text",
          (code, text) == ("INVALID_ARGUMENT", "grüß 100%"), (code, text))
    code, _ = status_of(unary(channel, "None"), b"")
    check("python: an unknown method is UNIMPLEMENTED", code == "UNIMPLEMENTED", code)
    code, text = status_of(echo, b"x" * 1000, compression=grpc.Compression.Gzip)
    check("python: a compressed message is UNIMPLEMENTED", code == "UNIMPLEMENTED", (code, text))


def python_deadline(channel):
    began = time.monotonic()
    code, _ = status_of(unary(channel, "Never"), b"", timeout=0.5)
    took = time.monotonic() - began
    check("python: a deadline", code == "DEADLINE_EXCEEDED" and 0.4 < took < 15, (code, took))


def python_thousand(channel):
    later = unary(channel, "Later")
    calls = [later.future(b"%d" % i, timeout=30) for i in range(1000)]
    began = time.monotonic()
    wrong = [i for i, c in enumerate(calls) if c.result() != b"%d" % i]
    took = time.monotonic() - began  # one after the other they would take 300 s
    check("python: 1,000 calls in flight on one connection", not wrong and took < 30, (wrong[:5], took))


def python_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest
    serving = health_pb2.HealthCheckResponse
    check("python: health of the whole", stub.Check(request(), timeout=20).status == serving.SERVING)
    check("python: health of a service",
          stub.Check(request(service=GATEWAY), timeout=20).status == serving.SERVING)
    code, _ = status_of(stub.Check, request(service="none"))
    check("python: health of an unknown service is NOT_FOUND", code == "NOT_FOUND", code)
    unknown = stub.Watch(request(service="none"), timeout=10)
    check("python: Watch of an unknown service", next(unknown).status == serving.SERVICE_UNKNOWN)
    unknown.cancel()
    watch = stub.Watch(request(service="test.Echo"), timeout=10)
    first = next(watch).status
    unary(channel, "Down")(b"", timeout=20)
    second = next(watch).status
    watch.cancel()
    check("python: Watch tells a change", (first, second) == (serving.SERVING, serving.NOT_SERVING),
          (first, second))


def gateway_by_reflection(pool, channel):
    def kind(name):
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))

    package = "construct.message_gateway.v1"
    request = kind(f"{package}.SubmitMessageRequest")(
        message_id="m", to="u", ciphertext=b"c", message_number=7, authenticated_user_id="a")
    setattr(request, "from", "a")
    response = kind(f"{package}.SubmitMessageResponse")
    call = channel.unary_unary(f"/{GATEWAY}/SubmitMessage",
                               request_serializer=lambda m: m.SerializeToString(),
                               response_deserializer=response.FromString)
    got = call(request, timeout=20)
    return got.status == 1 and not got.HasField("error")


def many_by_reflection(pool, channel):
    def kind(name):
        return message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"construct.message_gateway.v1.SubmitMessages{name}"))

    call = channel.stream_stream(f"/{GATEWAY}/SubmitMessages",
                                 request_serializer=lambda m: m.SerializeToString(),
                                 response_deserializer=kind("Response").FromString)
    requests = [kind("Request")(id=i, request={"message_id": "m"}) for i in range(1000)]
    requests.append(kind("Request")(id=1 << 63, timeout_ms=5000))  # without a request in it
    got = {m.id: m for m in call(iter(requests), timeout=20)}
    last = got.pop(1 << 63)
    return (last.grpc_status == grpc.StatusCode.INVALID_ARGUMENT.value[0] and last.grpc_message != ""
            and sorted(got) == list(range(1000)) and all(m.response.status == 1 for m in got.values()))


def python_many(channel):
    """The stream stays open after its first answers, and ends with its last when we have no more."""
    call = channel.stream_stream("/test.Echo/ManyLater")
    first, over = threading.Event(), []

    def requests():
        yield b"\x08\x01\x1a\x01a"
        first.wait(10)
        yield b"\x08\x02\x1a\x01b"

    for answer in call(requests(), timeout=20):
        over.append(answer)
        first.set()
    check("python: a stream of calls, answered one by one",
          over == [b"\x08\x01\x12\x01a", b"\x08\x02\x12\x01b"], over)


def python_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)  # v1alpha
    names = set(database.get_services())
    expected = {GATEWAY, "test.Echo", "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
    check("python: reflection (v1alpha) lists the services", names == expected, names ^ expected)
    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName(GATEWAY)
    check("python: reflection gives the methods",
          [m.name for m in service.methods] == ["SubmitMessage", "SubmitMessages", "HealthCheck"])
    check("python: a call by reflected types", gateway_by_reflection(pool, channel))
    check("python: a thousand calls on one stream by reflected types", many_by_reflection(pool, channel))


def python_reflection_v1(channel):
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
    ask = reflection_pb2.ServerReflectionRequest
    questions = [ask(file_containing_symbol=f"{GATEWAY}.SubmitMessage"),
                 ask(file_by_filename="health.proto"), ask(file_containing_symbol="no.such.Thing"),
                 ask(all_extension_numbers_of_type="grpc.health.v1.HealthCheckRequest")]
    answers = list(call(iter(questions), timeout=20))
    files = [descriptor_pb2.FileDescriptorProto.FromString(a.file_descriptor_response
             .file_descriptor_proto[0]).name for a in answers[:2]]
    check("python: reflection (v1) answers each question",
          len(answers) == 4 and files == ["message_gateway.proto", "health.proto"]
          and answers[2].error_response.error_code == 5
          and answers[3].all_extension_numbers_response.base_type_name != "", answers)


def wrong_content_type(port):
    done = subprocess.run(["curl", "-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w",
                           "%{http_code}", "-H", "content-type: application/json", "-d", "{}",
                           f"http://127.0.0.1:{port}/test.Echo/Echo"],
                          capture_output=True, text=True, timeout=20)
    check("curl: a wrong content type is 415", done.stdout == "415", done.stdout)


def node(port):
    done = subprocess.run(["node", "client.mjs", str(port)], cwd=f"{BUILD}/node",
                          capture_output=True, text=True, timeout=60)
    global passed, failed
    print(done.stdout, end="")
    passed += done.stdout.count("  ok ")
    bad = done.stdout.count("  FAIL ")
    failed += bad
    check("grpc-js: ran to its end", done.returncode == (1 if bad else 0)
          and done.stdout.count("grpc-js:") == 8, done.stderr[-500:])


def buf(port):
    tool = f"{BUILD}/node/node_modules/.bin/buf"
    base = [tool, "curl", "--http2-prior-knowledge"]
    url = f"http://127.0.0.1:{port}"
    env = dict(os.environ, HOME=BUILD)
    for version in ("grpc-v1", "grpc-v1alpha"):
        done = subprocess.run([*base, "--protocol", "grpc", "--reflect-protocol", version, "-d",
                               '{"messageId":"m","ciphertext":"YQ=="}',
                               f"{url}/{GATEWAY}/SubmitMessage"],
                              capture_output=True, text=True, timeout=60, env=env)
        check(f"buf curl: a call through reflection {version}",
              "SUBMISSION_STATUS_SUCCESS" in done.stdout, done.stdout + done.stderr)
    done = subprocess.run([*base, "--protocol", "grpc", "--list-services", url], capture_output=True, text=True,
                          timeout=60, env=env)
    check("buf curl: lists the services", GATEWAY in done.stdout.split(), done.stdout + done.stderr)


def h2load(port):
    if not shutil.which("h2load"):
        check("h2load: NOT RUN, it is not installed", False)
        return
    with tempfile.NamedTemporaryFile() as f:
        f.write(b"\0\0\0\0\x40" + b"x" * 64)
        f.flush()
        done = subprocess.run(["h2load", "-n", "20000", "-c", "2", "-m", "100", "-d", f.name, "-H",
                               "content-type: application/grpc", "-H", "te: trailers",
                               f"http://127.0.0.1:{port}/test.Echo/Echo"],
                              capture_output=True, text=True, timeout=60)
    check("h2load: 20,000 calls, 100 at once on each of two connections",
          "20000 succeeded, 0 failed" in done.stdout, done.stdout[-400:])


def h2spec(port):
    tool = f"{BUILD}/h2spec"
    if not os.path.exists(tool):
        print("  NOT RUN h2spec: there is no Go here to build it with", flush=True)
        return
    done = subprocess.run([tool, "generic", "http2", "hpack", "-p", str(port)],
                          capture_output=True, text=True, timeout=120)
    section, bad = "", []
    for line in done.stdout[done.stdout.find("Failures:"):].split("\n"):
        match = re.match(r"\s*([\d.]+)\. \w", line)
        section = match.group(1) if match else section
        match = re.match(r"\s*× (\d+): ", line)
        if match:
            bad.append(f"{section}/{match.group(1)}")
    total = re.search(r"(\d+) tests, (\d+) passed", done.stdout)
    check(f"h2spec: {total.group(0) if total else 'nothing'}, failing: {bad}",
          total and int(total.group(1)) >= 145 and set(bad) <= H2SPEC_EXCEPTED, done.stdout[-3000:])


def make_certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{folder}/key.pem", "-out",
                    f"{folder}/cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)


def tls():
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(folder)
        with Server(f"{folder}/cert.pem", f"{folder}/key.pem") as server:
            with open(f"{folder}/cert.pem", "rb") as f:
                credentials = grpc.ssl_channel_credentials(f.read())
            with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
                big = os.urandom(1000000)
                check("python: TLS, 1 MB there and back",
                      unary(channel, "Echo")(big, timeout=10) == big)
            done = subprocess.run(["openssl", "s_client", "-alpn", "http/1.1", "-connect",
                                   f"127.0.0.1:{server.port}"], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=20)
            check("openssl: a client without h2 is refused in the handshake",
                  "no application protocol" in done.stderr, done.stderr[-300:])
            check("TLS server: ends cleanly", server.stop() == 0)


def drain():
    with Server() as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            echo = unary(channel, "Echo")
            echo(b"connected", timeout=20)
            calls = [unary(channel, "Later").future(b"x", timeout=20) for _ in range(100)]
            echo(b"they are there", timeout=20)  # what comes after them on the connection
            stopper = threading.Thread(target=server.stop)
            stopper.start()
            results = [c.code().name for c in calls]
            stopper.join()
            check("python: SIGTERM lets calls under way end", set(results) == {"OK"}, set(results))
            check("server: SIGTERM ends with 0", server.process.returncode == 0)
        with socket.socket() as s:
            check("server: the port is closed", s.connect_ex(("127.0.0.1", server.port)) != 0)


def main():
    with Server() as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}",
                                   options=[("grpc.max_receive_message_length", -1)]) as channel:
            for part in (python_calls, python_deadline, python_thousand, python_many, python_reflection,
                         python_reflection_v1, python_health):
                part(channel)
        for part in (wrong_content_type, node, buf, h2load, h2spec):
            part(server.port)
        check("server: ends cleanly after all that", server.stop() == 0)
    tls()
    drain()
    print(f"grpc: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
