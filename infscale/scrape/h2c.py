"""Metrics pages over HTTP/2 in plain text, begun without being asked (prior knowledge): how h2c servers talk.

python-hyper's `h2` knows the protocol. What it is given is bounded here: frames are cut out of what comes, counted, and
handed on a few at a time, because each costs the library as much as thousands of bytes do.
"""

import asyncio
from collections.abc import Iterable

from h2 import events, settings
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from infscale.scrape.answer import Answer, Page
from infscale.scrape.page_connection import Asking, Connection, Stale

_NO_HTTP2 = "the server does not speak HTTP/2"
_HEAD_BYTES = 9
_FRAME_BYTES = 16_384
_HEADER_LIST_BYTES = 64 * 1024
_STREAMS = 1
_WINDOW_BYTES = 1 << 20
# Of all frames so many, and one more for so many bytes of the page: servers write lines, or more.
_FRAMES = 1024
_BYTES_PER_FRAME = 256
_FRAMES_AT_ONCE = 64
# What comes while no page is asked for: settings, pings, the end of the connection.
_IDLE_FRAMES = 64


class H2cConnection(Connection):
    """One connection that speaks HTTP/2 in plain text."""

    _parses = False

    def __init__(self, asking: Asking) -> None:
        super().__init__(asking)
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._http.local_settings = settings.Settings(
            client=True,
            initial_values={
                settings.SettingCodes.ENABLE_PUSH: 0,
                settings.SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
                settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
                settings.SettingCodes.MAX_FRAME_SIZE: _FRAME_BYTES,
                settings.SettingCodes.MAX_HEADER_LIST_SIZE: _HEADER_LIST_BYTES,
            },
        )
        self._received = bytearray()
        self._frames = 0
        self._working = False
        self._spoke = False
        self._stream = 0

    def _ask(self, transport: asyncio.Transport, target: str) -> None:
        self._frames = 0
        try:
            self._stream = self._http.get_next_available_stream_id()
            self._http.send_headers(self._stream, self._request(target), end_stream=True)
        except ProtocolError as error:
            # Ids of streams are used up, or the server allows none: another connection may do.
            self.abort()
            raise Stale from error
        self._flush()

    def _request(self, target: str) -> list[tuple[bytes, bytes]]:
        asking = self._asking
        headers = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", asking.host),
            (":path", target),
            ("user-agent", "infscale"),
            ("accept", "text/plain;version=0.0.4"),
            ("accept-encoding", "identity"),
        ]
        if asking.authorization:
            headers.append(("authorization", asking.authorization))
        return [(name.encode(), value.encode()) for name, value in headers]

    def abort(self) -> None:
        """End it, and forget what came."""
        super().abort()
        self._received.clear()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with settings."""
        super().connection_made(transport)
        self._http.initiate_connection()
        self._http.increment_flow_control_window(_WINDOW_BYTES)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take in what came, and read no more until it is worked off."""
        self._received += data
        if not self._working:
            self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        del exc
        self._transport = None
        self._ended()

    def _ended(self) -> None:
        """The server ends the connection."""
        answer, done = self._answer, self._done
        self.abort()
        if answer is None or done is None or done.done():
            return
        if answer.began or not self._spoke:
            answer.end(cleanly=False)
            self._settle(answer, done)
        else:
            # As it may before it has seen what it was asked: another connection may do.
            self._answer = None
            done.set_exception(Stale())

    # Frames

    def _work(self) -> None:
        """Hand on a few frames, and go on later where there are more."""
        self._working = False
        if self._transport is None:
            return
        try:
            more = self._hand_on()
        except ProtocolError:
            self._broken(_NO_HTTP2)
            return
        self._flush()
        if more:
            self._put_off()

    def _put_off(self) -> None:
        """Go on in the loop's next round, and read nothing meanwhile; nothing is left to do once it is closed."""
        if self._transport is not None:
            self._working = True
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
        self._work()

    def _hand_on(self) -> bool:
        """Give the library some of the frames that are there; whether more of them are."""
        place, received = 0, self._received
        for _ in range(_FRAMES_AT_ONCE):
            if len(received) - place < _HEAD_BYTES:
                break
            length = int.from_bytes(received[place : place + 3], "big")
            if length > _FRAME_BYTES:
                raise ProtocolError("a frame longer than was allowed")
            stop = place + _HEAD_BYTES + length
            if len(received) < stop:
                break
            self._spoke = True
            if not self._counted():
                self._broken("page in too many pieces")
                return False
            self._take(self._http.receive_data(bytes(received[place:stop])))
            place = stop
        else:
            del received[:place]
            return len(received) >= _HEAD_BYTES
        del received[:place]
        return False

    def _counted(self) -> bool:
        """Whether there may be another frame: no page takes endlessly many."""
        self._frames += 1
        answer = self._answer
        allowed = _IDLE_FRAMES if answer is None else _FRAMES + answer.body_bytes // _BYTES_PER_FRAME
        return self._frames <= allowed

    def _take(self, seen: Iterable[events.Event]) -> None:
        for event in seen:
            if isinstance(event, events.ConnectionTerminated):
                self._ended()
            elif isinstance(event, events.DataReceived):
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if self._answer is not None and getattr(event, "stream_id", 0) == self._stream:
                self._answered(self._answer, event)

    def _answered(self, answer: Answer, event: events.Event) -> None:
        """What comes of the page that was asked for."""
        if isinstance(event, events.ResponseReceived):
            fields = [(bytes(name), bytes(value)) for name, value in event.headers]
            for name, value in fields:
                if not name.startswith(b":"):
                    answer.on_header(name, value)
            status = dict(fields)[b":status"]
            answer.head(int(status) if status.isdigit() else 0)
        elif isinstance(event, events.DataReceived):
            answer.on_body(event.data)
        elif isinstance(event, events.StreamEnded):
            # HTTP/2 says itself where a body ends.
            answer.whole = answer.keep_alive = True
            answer.finish()
        elif isinstance(event, events.StreamReset):
            answer.fail(f"stream reset by the server ({_name_of(event.error_code)})")
        if (answer.error is not None or answer.ended) and self._done is not None:
            self._settle(answer, self._done)

    def _broken(self, cause: str) -> None:
        """Nothing more comes of this connection."""
        answer, done = self._answer, self._done
        self.abort()
        if answer is not None and done is not None:
            answer.fail(cause)
            self._settle(answer, done)

    def _flush(self) -> None:
        data = self._http.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def _settle(self, answer: Answer, done: "asyncio.Future[Page]") -> None:
        self._frames = 0
        super()._settle(answer, done)


def _name_of(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else f"error {code}"
