# SPDX-License-Identifier: MIT
"""autobahn's own echo server, right or broken on purpose: the runner's test.

    echo_reference.py PORT_FILE [DEFECT]
"""

import asyncio
import os
import sys

from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol

import fast

DEFECTS = ("none", "utf8", "truncate", "mute", "flip", "drop")


class Echo(WebSocketServerProtocol):
    defect = "none"

    def onMessage(self, payload, isBinary):
        if self.defect == "truncate":
            payload = payload[:-1]
        elif self.defect == "flip" and len(payload) > 1000:
            payload = payload[:500] + bytes([payload[500] ^ 1]) + payload[501:]
        elif self.defect == "drop":
            self.transport.abort()
            return
        self.sendMessage(payload, isBinary)

    def onPing(self, payload):
        if self.defect != "mute":
            super().onPing(payload)


async def serve(port_file, defect):
    loop = asyncio.get_running_loop()
    factory = WebSocketServerFactory(loop=loop)
    factory.protocol = type("EchoServer", (Echo,), {"defect": defect})
    factory.setProtocolOptions(failByDrop=False, utf8validateIncoming=defect != "utf8")
    server = await loop.create_server(factory, "127.0.0.1", 0)
    with open(port_file + ".new", "w") as out:
        out.write(f"{server.sockets[0].getsockname()[1]}\n")
    os.replace(port_file + ".new", port_file)
    await server.serve_forever()


if __name__ == "__main__":
    wanted = sys.argv[2] if len(sys.argv) > 2 else "none"
    if wanted not in DEFECTS:
        sys.exit(f"unknown defect {wanted}")
    fast.install()
    asyncio.run(serve(sys.argv[1], wanted))
