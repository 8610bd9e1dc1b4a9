# SPDX-License-Identifier: MIT
"""A TCP proxy between two parts of a deployment, which can be cut, stalled and slowed.

What passes through is never changed nor reordered: a link only loses its connections (`cut`), holds
everything back (`stall`) or hands it on late (`delay`).  A test may look at it (`tap`).
"""
import asyncio
import contextlib

CHUNK = 64 << 10
LOOK_SECS = 0.02  # how often a stalled link looks whether it flows again


class Proxy:
    """One link.  `upstream()` gives the port behind it, None while nothing is there.
    `tap()` gives, for each connection, a function that is shown the bytes before they go there."""

    def __init__(self, name, upstream, tap=None):
        self.name = name
        self.upstream = upstream
        self.tap = tap
        self.port = 0
        self.server = None
        self.is_cut = self.is_stalled = False
        self.delay = 0.0     # seconds each way
        self.links = set()   # pairs of writers
        self.passed = 0      # connections that came through

    async def start(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def close(self):
        if self.server:
            self.server.close()
        self._abort_all()

    # faults
    def cut(self):
        """Ends every connection and lets none in until heal()."""
        self.is_cut = True
        self._abort_all()

    def stall(self):
        self.is_stalled = True

    def slow(self, seconds):
        self.delay = seconds

    def heal(self):
        self.is_cut = self.is_stalled = False
        self.delay = 0.0

    # inside
    def _abort_all(self):
        for pair in list(self.links):
            for writer in pair:
                writer.transport.abort()

    async def _accept(self, reader, writer):
        port = None if self.is_cut else self.upstream()
        far = None
        if port:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                far = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5)
        if far is None or self.is_cut:
            for w in (writer, far and far[1]):
                if w:
                    w.transport.abort()
            return
        pair = (writer, far[1])
        self.links.add(pair)
        self.passed += 1
        try:
            await asyncio.gather(self._pump(reader, far[1], self.tap and self.tap()),
                                 self._pump(far[0], writer))
        except (OSError, RuntimeError):
            pass  # a cut came between
        finally:
            self.links.discard(pair)
            for w in pair:
                w.transport.abort()

    async def _pump(self, reader, writer, show=None):
        while data := await reader.read(CHUNK):
            if self.delay:
                await asyncio.sleep(self.delay)
            while self.is_stalled:
                await asyncio.sleep(LOOK_SECS)
            if show:
                show(data)
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()
