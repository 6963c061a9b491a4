"""A real server of HTTP/2 in plain text that answers every request as a test wants it, or misbehaves."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection

Headers = Sequence[tuple[str, str]]
Answering = Callable[["H2cServer", int, dict[str, str]], None]
"""What a server does about a request, by its stream and headers."""


class H2cServer(asyncio.Protocol):
    """One connection; bodies wait for the client's windows."""

    def __init__(self, answer: Answering, counted: list["H2cServer"]) -> None:
        self._answer = answer
        self._counted = counted
        self.http = H2Connection(H2Configuration(client_side=False))
        self.requests = 0
        self._unsent: dict[int, bytes] = {}
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._counted.append(self)
        self.transport = cast("asyncio.Transport", transport)
        self.http.initiate_connection()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            if isinstance(event, events.RequestReceived):
                self.requests += 1
                assert event.headers is not None
                self._answer(self, event.stream_id, {bytes(n).decode(): bytes(v).decode() for n, v in event.headers})
        self.flush()

    def head(self, stream: int, *headers: tuple[str, str], status: int = 200, end: bool = False) -> None:
        self.http.send_headers(stream, [(":status", str(status)), *headers], end_stream=end)

    def body(self, stream: int, body: bytes, *, piece: int = 16_384) -> None:
        """`body` to its end, as far as windows allow."""
        self._unsent[stream] = body
        self._piece = piece

    def flush(self) -> None:
        for stream, body in list(self._unsent.items()):
            while True:
                room = min(self.http.local_flow_control_window(stream), self._piece)
                piece = body[:room]
                body = body[len(piece) :]
                if piece or not body:
                    self.http.send_data(stream, piece, end_stream=not body)
                if not body or not piece:
                    break
            if body:
                self._unsent[stream] = body
            else:
                del self._unsent[stream]
        self.raw(self.http.data_to_send())

    def raw(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)


@asynccontextmanager
async def h2c_server(answer: Answering) -> AsyncGenerator[tuple[str, list[H2cServer]]]:
    """A server; yields its address and its connections so far."""
    connections: list[H2cServer] = []
    server = await asyncio.get_running_loop().create_server(lambda: H2cServer(answer, connections), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"{host}:{port}", connections
    finally:
        server.close()
        for each in connections:
            if each.transport is not None:
                each.transport.abort()
        await server.wait_closed()
