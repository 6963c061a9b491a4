"""A gateway that sends what it likes: bytes and frames on a connection, and what comes back."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from picker.transport.h2 import frames
from picker.transport.h2.frames import Kind, frame
from picker.transport.h2.hpack import literal
from picker.transport.interface import EXT_PROC_SERVICE

GREETING = frames.PREFACE + frames.settings(()) + frames.SETTINGS_ACK
FIELDS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", f"/{EXT_PROC_SERVICE}/Process".encode()),
    (b":authority", b"picker"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)
PROCESS = b"".join(literal(name, value) for name, value in FIELDS)
"""The header block of an exchange."""


def opened(stream: int, block: bytes = PROCESS) -> bytes:
    """The frame that opens an exchange on a stream."""
    return frame(Kind.HEADERS, frames.END_HEADERS, stream, block)


def data(stream: int, payload: bytes, *, ended: bool = False) -> bytes:
    """A frame of data."""
    return frame(Kind.DATA, frames.END_STREAM if ended else 0, stream, payload)


_ANSWERS = {
    b"x-gateway-destination-endpoint": "served",
    b"service_unavailable": "503",
    b"request_timeout": "408",
    b"payload_too_large": "413",
}


@dataclass
class Heard:
    """What the picker said on a connection."""

    text: bytearray = field(default_factory=bytearray)
    """Everything, as it came."""
    goaway: ErrorCodes | None = None
    resets: list[tuple[int, ErrorCodes]] = field(default_factory=list[tuple[int, ErrorCodes]])
    closed: bool = False
    frames: int = 0
    opened: dict[int, int] = field(default_factory=dict[int, int])
    """By how much the picker's windows were opened, by stream; 0 is the connection."""

    def __contains__(self, words: bytes) -> bool:
        return words in self.text


@dataclass
class Peer:
    """One connection; `heard` fills as long as something reads."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: Heard = field(default_factory=Heard)
    _place: int = 0

    def write(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def flood(self, piece: bytes, seconds: float) -> int:
        """Write `piece` again and again for some time, or until the picker closes; bytes that were written."""
        written = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while not self.heard.closed:
                    self.writer.write(piece)
                    written += len(piece)
                    await self.writer.drain()
        return written

    async def send_within_windows(self, head: bytes, body: bytes, *, answer: bool = True) -> str:
        """Send `head`, then `body` on stream 1, as the picker's windows allow, reading meanwhile; what it was answered.

        "served", the status of an immediate answer, or how it ended. Without `answer` nothing is read once all is sent.
        """
        self.write(head)
        place, mine, all_of_it = 0, 1 << 18, frames.DEFAULT_WINDOW
        size = frames.MIN_MAX_FRAME_BYTES
        while place < len(body) and not self._done():
            room = min(mine + self.heard.opened.get(1, 0), all_of_it + self.heard.opened.get(0, 0)) - place
            if room > 0:
                chunk = body[place : place + min(room, 1 << 18)]
                parts = [data(1, chunk[start : start + size]) for start in range(0, len(chunk), size)]
                self.write(*parts)
                place += len(chunk)
                with contextlib.suppress(ConnectionError):
                    await self.writer.drain()
            else:
                await self._read()
        while answer and not self._done():
            await self._read()
        return self._answer()

    def _done(self) -> bool:
        return self.heard.closed or bool(self.heard.resets) or self._answer() != "nothing"

    def _answer(self) -> str:
        for words, answer in _ANSWERS.items():
            if words in self.heard:
                return answer
        return "closed" if self.heard.closed else "nothing"

    async def listen(self) -> Heard:
        """Read until the picker closes."""
        with contextlib.suppress(ConnectionError):
            while received := await self.reader.read(1 << 18):
                self.heard.text += received
                self._parse()
        self.heard.closed = True
        return self.heard

    async def hear(self, words: bytes = b"nothing that is ever said", seconds: float = 5.0) -> Heard:
        """Read until `words` have come, the picker closes, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while words not in self.heard and not self.heard.closed:
                    await self._read()
        return self.heard

    async def _read(self) -> None:
        try:
            received = await self.reader.read(1 << 18)
        except ConnectionError:
            received = b""
        self.heard.closed = not received
        self.heard.text += received
        self._parse()

    def _parse(self) -> None:
        text = self.heard.text
        while self._place + frames.HEADER_BYTES <= len(text):
            size = int.from_bytes(text[self._place : self._place + 3], "big")
            start, stop = self._place + frames.HEADER_BYTES, self._place + frames.HEADER_BYTES + size
            if stop > len(text):
                return
            kind = text[self._place + 3]
            stream = int.from_bytes(text[self._place + 5 : start], "big")
            self.heard.frames += 1
            if kind == Kind.GOAWAY:
                self.heard.goaway = ErrorCodes(int.from_bytes(text[start + 4 : start + 8], "big"))
            elif kind == Kind.WINDOW_UPDATE:
                by = int.from_bytes(text[start:stop], "big")
                self.heard.opened[stream] = self.heard.opened.get(stream, 0) + by
            elif kind == Kind.RST_STREAM:
                self.heard.resets.append((stream, ErrorCodes(int.from_bytes(text[start:stop], "big"))))
            self._place = stop


@contextlib.asynccontextmanager
async def connected(port: int, *, greeting: bytes = GREETING) -> AsyncGenerator[Peer, None]:
    """A connection to the picker that has said `greeting`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(greeting)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(port: int, *, greeting: bytes = GREETING) -> AsyncGenerator[Peer, None]:
    """The same, and everything is read as it comes."""
    async with connected(port, greeting=greeting) as peer, asyncio.TaskGroup() as group:
        task = group.create_task(peer.listen())
        try:
            yield peer
        finally:
            task.cancel()


def windows(initial: int) -> bytes:
    """Settings of a peer that takes this much of each answer."""
    return frames.settings(((SettingCodes.INITIAL_WINDOW_SIZE, initial),))
