# SPDX-License-Identifier: MIT
"""The fuzzing client: one Autobahn case on one connection."""

import asyncio

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

# The cases give a server 0.5 to 1 s before they cut a connection that should
# have been closed by then.  A busy machine needs more; a right server never
# waits for it, so this costs nothing unless something is wrong.
PATIENCE_S = 5
CASE_LIMIT_S = 120

PASSING = ("OK", "NON-STRICT", "INFORMATIONAL")


def to_bytes(payload):
    return payload if isinstance(payload, bytes) else payload.encode("latin-1")


class FuzzProtocol(WebSocketClientProtocol):
    """What a case calls on `self.p`, in Python 2's terms (see cases.py)."""

    def __init__(self, case_class, done):
        super().__init__()
        self.connectionWasOpen = False
        self.createWirelog = False
        self.txFrameStats = {}
        self.sent = b""  # payload of the data frames since the last echo
        self.content_error = None
        self.done = done
        self.case_class = case_class
        self.case = None

    # The library defers received bytes to the next turn of the loop, where a
    # timer of the case could overtake an answer that is already here.
    def data_received(self, data):
        self._dataReceived(data)

    def connection_made(self, transport):
        super().connection_made(transport)
        self.case = self.case_class(self)

    def connection_lost(self, exc):
        super().connection_lost(exc)
        try:
            self.case.onConnectionLost(self.failedByMe)
        except Exception as err:  # a case that was never opened has nothing to compare
            self.case.result = f"{type(err).__name__}: {err}"
        if not self.done.done():
            self.done.set_result(self)

    def onOpen(self):
        self.connectionWasOpen = True
        self.case.onOpen()

    def onMessage(self, payload, isBinary):
        self.check_content(payload)
        self.case.onMessage(payload.decode("latin-1"), isBinary)

    def onPong(self, payload):
        self.case.onPong(payload.decode("latin-1"))

    def onClose(self, wasClean, code, reason):
        self.case.onClose(wasClean, code, reason)

    def logTxFrame(self, frameHeader, payload, repeatLength, chopsize, sync):
        self.txFrameStats[frameHeader.opcode] = self.txFrameStats.get(frameHeader.opcode, 0) + 1

    def logRxFrame(self, frameHeader, payload):
        pass

    def check_content(self, payload):
        """Group 9 looks at lengths only; an echo has to be the same bytes."""
        if self.case_class.__name__.startswith("Case9_"):
            if payload != self.sent:
                self.content_error = "the echoed payload differs from the sent one"
            self.sent = b""

    def sendFrame(self, opcode, payload=b"", payload_len=None, **rest):
        payload = to_bytes(payload)
        if payload_len is not None:
            payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
        if opcode < 8 and self.case_class.__name__.startswith("Case9_"):
            self.sent += payload
        super().sendFrame(opcode, payload=payload, **rest)

    def sendMessage(self, payload, isBinary=False, fragmentSize=None, **rest):
        super().sendMessage(to_bytes(payload), isBinary, fragmentSize, **rest)

    def sendMessageFrameData(self, payload, sync=False):
        return super().sendMessageFrameData(to_bytes(payload), sync)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        reason = None if reasonUtf8 is None else to_bytes(reasonUtf8)
        super().sendCloseFrame(code, reason, isReply)

    def later(self, delay, fun):
        def run():
            if self.state != self.STATE_CLOSED:
                fun()

        asyncio.get_running_loop().call_later(delay, run)

    def continueLater(self, delay, fun, tag=None):
        self.later(delay, fun)

    def killAfter(self, delay):
        self.later(max(delay, PATIENCE_S), self._fail_connection)

    def closeAfter(self, delay):
        self.later(delay, self.sendClose)

    def enableWirelog(self, enable):
        pass

    def failures(self):
        """Why this case failed; empty when it passed."""
        why = []
        if self.case.behavior not in PASSING:
            why.append(f"{self.case.behavior}: {self.case.result}")
        if self.case.behaviorClose not in PASSING:
            why.append(f"close {self.case.behaviorClose}: {self.case.resultClose}"
                       f" (code {self.remoteCloseCode})")
        if self.content_error:
            why.append(self.content_error)
        return why


async def run_case(url, host, port, case_class):
    """Returns the finished FuzzProtocol; its failures() tells."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    factory = WebSocketClientFactory(url, loop=loop)
    factory.setProtocolOptions(failByDrop=False, openHandshakeTimeout=30,
                               closeHandshakeTimeout=PATIENCE_S,
                               serverConnectionDropTimeout=PATIENCE_S)
    factory.logFrames = True

    def make():
        proto = FuzzProtocol(case_class, done)
        proto.factory = factory
        return proto

    transport, proto = await loop.create_connection(make, host, port)
    try:
        await asyncio.wait_for(done, CASE_LIMIT_S)
    except asyncio.TimeoutError:
        transport.abort()
        proto.case.behavior = "FAILED"
        proto.case.result = f"not finished in {CASE_LIMIT_S} s"
    return proto
