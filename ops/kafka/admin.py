#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What ops/stack.sh asks of a broker, in Kafka's own protocol: a JVM tool takes two seconds to
start, and this is asked many times.

    admin.py ping HOST:PORT                        answers a metadata request
    admin.py create HOST:PORT PARTITIONS TOPIC...  makes those that are missing, waits for leaders

Exit code 0, or 1 with one line that says why.  No TLS, no login: the stack's own loopback listener.
Source: the Kafka protocol guide (Metadata v1, CreateTopics v2).
"""
import socket
import struct
import sys
import time

METADATA, CREATE_TOPICS = 3, 19
TOPIC_ALREADY_EXISTS = 36
TIMEOUT_SECS = 5
LEADERS_SECS = 30
ANSWER_MAX = 16 << 20


class Refused(Exception):
    pass


def text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def text(self):
        length = self.take("h")
        if length < 0:
            return None
        value = self.data[self.at:self.at + length].decode()
        self.at += length
        return value

    def each(self, read):
        return [read() for _ in range(self.take("i"))]


def receive(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise Refused("the broker closed the connection")
        data += part
    return data


def ask(address, key, version, body):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), TIMEOUT_SECS) as sock:
        sock.settimeout(TIMEOUT_SECS)
        request = struct.pack(">hhi", key, version, 1) + text("construct-stack") + body
        sock.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", receive(sock, 4))
        if not 4 <= length <= ANSWER_MAX:
            raise Refused("this is not Kafka")
        answer = Reader(receive(sock, length))
    if answer.take("i") != 1:
        raise Refused("this is not Kafka")
    return answer


def metadata(address):
    """Number of brokers, and the leaders of each topic's partitions."""
    answer = ask(address, METADATA, 1, struct.pack(">i", -1))

    def broker():
        answer.take("i")
        answer.text()
        answer.take("i")
        return answer.text()

    def partition():
        _, _, leader = answer.take("hii")
        answer.each(lambda: answer.take("i"))
        answer.each(lambda: answer.take("i"))
        return leader

    def topic():
        answer.take("h")
        name = answer.text()
        answer.take("b")
        return name, answer.each(partition)

    brokers = answer.each(broker)
    answer.take("i")
    return len(brokers), dict(answer.each(topic))


def create(address, partitions, names):
    body = struct.pack(">i", len(names))
    for name in names:
        body += text(name) + struct.pack(">ihii", partitions, 1, 0, 0)
    answer = ask(address, CREATE_TOPICS, 2, body + struct.pack(">ib", TIMEOUT_SECS * 1000, 0))
    answer.take("i")

    def result():
        return answer.text(), answer.take("h"), answer.text()

    for name, code, why in answer.each(result):
        if code not in (0, TOPIC_ALREADY_EXISTS):
            raise Refused(f"topic {name}: {why or 'error'} ({code})")


def ready(address, names):
    topics = metadata(address)[1]
    return all(topics.get(name) and min(topics[name]) >= 0 for name in names)


def create_all(address, partitions, names):
    until = time.monotonic() + LEADERS_SECS
    while not ready(address, names):
        create(address, partitions, [n for n in names if n not in metadata(address)[1]])
        if time.monotonic() > until:
            raise Refused("a topic has no leader")
        time.sleep(0.1)


def main():
    try:
        if len(sys.argv) == 3 and sys.argv[1] == "ping":
            if metadata(sys.argv[2])[0] < 1:
                raise Refused("no broker is registered yet")
        elif len(sys.argv) > 4 and sys.argv[1] == "create":
            create_all(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except (OSError, Refused, struct.error) as e:
        print(f"kafka at {sys.argv[2]}: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
