"""The server's side of one HTTP/2 connection: bytes in, events out, and the bytes to send back.

It does no input or output. `feed` takes what came, and `read` returns what streams have to hear of, for about as much
work as asked; whatever the protocol itself answers (settings, pings, windows, faults) is among the bytes that `take`
gives. The peer may hold at most `Limits.max_streams` streams open, and whatever it can make this side keep is bounded.

Work is counted in units of about a microsecond (see `picker.transport.server.turns`): a frame is one, and what costs
more with its length counts more.

A server of one method needs little of HTTP/2: it advertises a header table of size 0, so that header blocks carry no
state once the peer has acknowledged that; it never pushes, and it ignores priorities, as RFC 9113 allows.
"""

from typing import Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from xxhash import xxh3_128_digest

from picker.transport.h2 import frames
from picker.transport.h2.errors import ConnectionFault, StreamFault
from picker.transport.h2.events import Ended, Event, Limits, Opened, Received
from picker.transport.h2.frames import HEADER_BYTES, Kind
from picker.transport.h2.hpack import Decoder, Fields
from picker.transport.h2.requests import Head, check_trailers, checked
from picker.transport.h2.streams import Block, Stream, need_connection, need_stream, opened_by, unpadded

_REMEMBERED_STREAMS: Final = 1_000
_REMEMBERED_HEADS: Final = 256
_BLOCK_BYTES_A_UNIT: Final = 16
_DATA_BYTES_A_UNIT: Final = 4_096
_MOST_BLOCK_PIECES: Final = 64
_EVERYTHING: Final = 1 << 60
_WINDOW_CHANGES_A_STREAM: Final = 100


class ServerConnection:
    """One connection; for one thread. After `failed` nothing more is to be fed: send what is left and close."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._buffer = b""
        self._place = 0
        self._units = 0
        self._preface_left = frames.PREFACE
        self._decoder = Decoder(self._limits.max_list_bytes)
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        self._block: Block | None = None
        # Streams that are over, and whether this side cut them: what was sent before the peer knew is no fault.
        self._over: dict[int, bool] = {}
        self._window = frames.DEFAULT_WINDOW
        self._peer_window = frames.DEFAULT_WINDOW
        self._peer_frame_bytes = frames.MIN_MAX_FRAME_BYTES
        self._unacknowledged = 0
        # Streams whose data waits for the connection's window; those with data that waits for their own are not in it.
        self._blocked: dict[int, None] = {}
        self._window_changes = self._limits.window_changes
        self._leaving = False
        # What was made of header blocks, by their digests: no value of a header stays here.
        self._heads: dict[bytes, Head] = {}
        self._blocks = 0
        self._frames = 0
        # Streams whose windows stay shut for now, and those whose answers the peer's windows keep back.
        self._shut: dict[int, None] = {}
        self._unread: dict[int, Stream] = {}
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self.failed = False
        """Whether the peer has lost the connection by a fault of its own."""
        self.greeted = False
        """Whether the peer has shown that it speaks HTTP/2."""
        self.queued_bytes = 0
        """How much of the answers waits for the peer's windows."""
        self.hold_back = False
        """Whether windows stay shut until `open_window` is asked for."""
        self.pending = False
        """Whether frames are left to read."""
        self.work = 0
        """Units of work of the last `read`."""
        self._greet()

    # What the owner asks

    @property
    def unfinished(self) -> int | None:
        """Which frame or header block, counted from the beginning, has begun to come and not ended; None: none has."""
        if self._block is not None:
            return -self._blocks
        return self._frames if len(self._buffer) > self._place and not self.pending else None

    def take(self) -> list[bytes]:
        """The bytes to send now."""
        out, self._out = self._out, []
        return out

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        self._buffer = self._buffer[self._place :] + data if self._place < len(self._buffer) else data
        self._place = 0
        self.pending = not self.failed

    def read(self, units: int = _EVERYTHING) -> list[Event]:
        """Read on, for about this many units of work, and return what streams must hear of, in order. Never raises."""
        self._units = units
        if not self.failed:
            try:
                self.pending = self._read()
                if not self.pending and self._place:
                    # What was read does not stay, headers least of all.
                    self._buffer = self._buffer[self._place :]
                    self._place = 0
            except ConnectionFault as fault:
                self.fail(fault.code, str(fault))
        self.work = units - self._units
        events, self._events = self._events, []
        return events

    def fail(self, code: ErrorCodes, why: str) -> None:
        """The peer loses the connection; what streams must hear of it, `read` returns."""
        self.failed = True
        self.pending = False
        self._buffer = b""
        self._out.append(frames.goaway(self._last_stream, code, why))
        self._events += map(Ended, self._streams)
        self._streams.clear()
        self._blocked.clear()
        self._unread.clear()
        self._shut.clear()
        self.queued_bytes = 0

    def shut(self) -> list[int]:
        """The streams whose windows were to be opened and stay shut until `open_window` is asked for."""
        return list(self._shut)

    def open_window(self, stream: int) -> None:
        """Let the peer send more on a stream; harmless where that was not kept back."""
        if stream in self._shut:
            del self._shut[stream]
            state = self._streams[stream]
            self._out.append(frames.window_update(stream, state.received))
            state.received = 0

    def stuck(self, now: float, limit_seconds: float) -> list[int]:
        """The streams whose answers the peer has hardly taken for so long; to be asked again and again."""
        return [stream for stream, state in self._unread.items() if state.unread_seconds(now) >= limit_seconds]

    def largest_unread(self) -> int | None:
        """The stream of which most waits for the peer's windows."""
        return max(self._unread, key=lambda stream: self._unread[stream].queued, default=None)

    def respond(self, stream: int, block: bytes, *, ended: bool = False) -> None:
        """Send a header block; harmless on a stream that is over."""
        if stream not in self._streams:
            return
        flags = frames.END_HEADERS | (frames.END_STREAM if ended else 0)
        self._out.append(frames.head(len(block), frames.HEADERS, flags, stream) + block)
        if ended:
            self._close(stream)

    def send(self, stream: int, data: bytes, trailers: bytes | None = None) -> bool:
        """Send a piece of body and, with `trailers` (or `END_DATA`), what ends it; harmless on a stream that is over.

        What the peer's windows do not take yet is kept and sent when they do. False: more would be kept than may be,
        and the stream is reset.
        """
        state = self._streams.get(stream)
        if state is None:
            return True
        size = len(data)
        if state.queue is None and size <= state.window and size <= self._window and size <= self._peer_frame_bytes:
            if size:
                state.window -= size
                self._window -= size
                self._out.append(frames.head(size, frames.DATA, 0, stream) + data)
            if trailers is not None:
                self._end(stream, trailers)
            return True
        state.keep(data, trailers)
        self._unread[stream] = state
        self.queued_bytes += size
        self._flush(stream, state)
        if self.queued_bytes <= self._limits.queued_bytes:
            return True
        self.reset(stream, ErrorCodes.ENHANCE_YOUR_CALM)
        return False

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """End a stream at once; harmless on one that is over."""
        state = self._streams.get(stream)
        if state is not None:
            state.remote_ended = True
            self._out.append(frames.rst_stream(stream, code))
            self._close(stream, cut=True)

    def leave(self) -> None:
        """Take no more streams: those that are open go on to their ends."""
        if not self._leaving:
            self._leaving = True
            self._out.append(frames.goaway(self._last_stream, ErrorCodes.NO_ERROR))

    # Beginnings and ends

    def _greet(self) -> None:
        limits = self._limits
        announced = (
            (SettingCodes.HEADER_TABLE_SIZE, 0),
            (SettingCodes.MAX_CONCURRENT_STREAMS, limits.max_streams),
            (SettingCodes.INITIAL_WINDOW_SIZE, limits.window_bytes),
            (SettingCodes.MAX_FRAME_SIZE, limits.max_frame_bytes),
            (SettingCodes.MAX_HEADER_LIST_SIZE, limits.max_list_bytes),
        )
        self._out.append(frames.settings(announced))
        self._out.append(frames.window_update(0, limits.connection_window_bytes - frames.DEFAULT_WINDOW))

    def _end(self, stream: int, trailers: bytes) -> None:
        if trailers:
            self.respond(stream, trailers, ended=True)
        else:
            self._out.append(frames.head(0, frames.DATA, frames.END_STREAM, stream))
            self._close(stream)

    def _close(self, stream: int, *, cut: bool = False) -> None:
        state = self._streams.pop(stream)
        self._shut.pop(stream, None)
        if state.queue is not None:
            self.queued_bytes -= state.queued
            self._blocked.pop(stream, None)
            self._unread.pop(stream, None)
        if not state.remote_ended:
            # The peer may go on sending what is not read any more; this tells it that it need not.
            self._out.append(frames.rst_stream(stream, ErrorCodes.NO_ERROR))
        self._remember(stream, cut=cut or not state.remote_ended)

    def _remember(self, stream: int, *, cut: bool) -> None:
        self._over[stream] = cut
        if len(self._over) > _REMEMBERED_STREAMS:
            del self._over[next(iter(self._over))]

    # Reading

    def _read(self) -> bool:
        """Take whole frames as long as there are units, and say whether there may be more."""
        buffer = self._buffer
        if self._preface_left:
            self._place += self._read_preface(buffer)
            if self._preface_left:
                return False
        limit, total = self._limits.max_frame_bytes, len(buffer)
        while total - self._place >= HEADER_BYTES:
            if self._units <= 0:
                return True
            place = self._place
            # Byte by byte: compiled, that makes no objects.
            size = buffer[place] << 16 | buffer[place + 1] << 8 | buffer[place + 2]
            if size > limit:
                raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, f"a frame is larger than {limit} bytes")
            stop = place + HEADER_BYTES + size
            if total < stop:
                break
            kind, flags = buffer[place + 3], buffer[place + 4]
            stream = (buffer[place + 5] & 0x7F) << 24 | buffer[place + 6] << 16 | buffer[place + 7] << 8
            stream |= buffer[place + 8]
            payload = buffer[place + HEADER_BYTES : stop]
            self._place = stop
            self._frames += 1
            self._units -= 1 + size // _DATA_BYTES_A_UNIT
            try:
                self._frame(kind, flags, stream, payload)
            except StreamFault as fault:
                self._fault(fault)
        return False

    def _read_preface(self, buffer: bytes) -> int:
        """How much of `buffer` belongs to the preface."""
        part = buffer[: len(self._preface_left)]
        if not self._preface_left.startswith(part):
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "this port speaks HTTP/2 without an upgrade")
        self._preface_left = self._preface_left[len(part) :]
        return len(part)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None:
            if kind != Kind.CONTINUATION or stream != self._block.stream:
                raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "a header block is interrupted")
        elif not self.greeted and kind != Kind.SETTINGS:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "the first frame is no SETTINGS")
        # No table of methods: a connection that holds itself would stay until garbage is collected, which is rare.
        if kind == frames.DATA:
            self._data(flags, stream, payload)
        elif kind == frames.HEADERS:
            self._headers(flags, stream, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._window_update(stream, payload)
        elif kind == frames.RST_STREAM:
            self._rst_stream(stream, payload)
        else:
            self._rare(kind, flags, stream, payload)

    def _rare(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == Kind.CONTINUATION:
            self._continuation(flags, payload)
        elif kind == Kind.SETTINGS:
            self._settings(flags, stream, payload)
        elif kind == Kind.PING:
            self._ping(flags, stream, payload)
        elif kind == Kind.PRIORITY:
            self._priority(stream, payload)
        elif kind == Kind.GOAWAY:
            self._goaway(stream, payload)
        elif kind == Kind.PUSH_PROMISE:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "clients do not push")

    def _fault(self, fault: StreamFault) -> None:
        stream = fault.stream
        if stream in self._streams:
            self.reset(stream, fault.code)
            self._events.append(Ended(stream))
        elif stream > self._last_stream:
            # A stream that was never opened cannot be reset (RFC 9113, section 5.1).
            raise ConnectionFault(fault.code, str(fault))
        else:
            self._out.append(frames.rst_stream(stream, fault.code))
            self._remember(stream, cut=True)

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        need_stream(stream)
        size = len(payload)
        self._count(size)
        state = self._streams.get(stream)
        if state is None:
            self._check_closed(stream)
            return
        if state.remote_ended:
            raise StreamFault(stream, ErrorCodes.STREAM_CLOSED, "data behind the end of a request")
        ended = bool(flags & frames.END_STREAM)
        state.received += size
        if state.received > self._limits.window_bytes:
            raise StreamFault(stream, ErrorCodes.FLOW_CONTROL_ERROR, "more data than the window takes")
        if not ended and 2 * state.received > self._limits.window_bytes:
            if self.hold_back:
                self._shut[stream] = None
            else:
                self._shut.pop(stream, None)
                self._out.append(frames.window_update(stream, state.received))
                state.received = 0
        data = unpadded(payload) if flags & frames.PADDED else payload
        self._announced(stream, state, len(data), ended=ended)
        state.remote_ended = ended
        self._events.append(Received(stream, data, ended))

    def _announced(self, stream: int, state: Stream, size: int, *, ended: bool) -> None:
        if state.expected is not None:
            state.expected -= size
            if state.expected < 0 or (ended and state.expected):
                raise StreamFault(stream, ErrorCodes.PROTOCOL_ERROR, "a body is not of its announced length")

    def _count(self, size: int) -> None:
        """Count data against the connection's window, and open that again."""
        self._unacknowledged += size
        limit = self._limits.connection_window_bytes
        if self._unacknowledged > limit:
            raise ConnectionFault(ErrorCodes.FLOW_CONTROL_ERROR, "more data than the connection's window takes")
        if 2 * self._unacknowledged > limit:
            self._out.append(frames.window_update(0, self._unacknowledged))
            self._unacknowledged = 0

    def _check_closed(self, stream: int) -> None:
        """What comes on a stream that is not open: nothing on an idle one, what was on the way on one ended here."""
        if stream > self._last_stream or not stream & 1:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "a frame on a stream that was never opened")
        cut = self._over.get(stream)
        if cut is None:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "a frame on a stream that was passed over")
        if not cut:
            raise ConnectionFault(ErrorCodes.STREAM_CLOSED, "a frame on a stream that has ended")

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        need_stream(stream)
        if flags & frames.PADDED:
            payload = unpadded(payload)
        depends: int | None = None
        if flags & frames.PRIORITY:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "HEADERS end within their priority")
            depends = int.from_bytes(payload[:4], "big") & frames.MAX_STREAM
            payload = payload[5:]
        self._blocks += 1
        self._block = Block(stream, bool(flags & frames.END_STREAM), [payload], len(payload))
        if flags & frames.END_HEADERS:
            self._finish_block()
        if depends == stream:
            raise StreamFault(stream, ErrorCodes.PROTOCOL_ERROR, "a stream depends on itself")

    def _continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        if not payload and not flags & frames.END_HEADERS:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "CONTINUATION without content")
        block.size += len(payload)
        block.pieces.append(payload)
        if len(block.pieces) > _MOST_BLOCK_PIECES:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "a header block comes in too many frames")
        if block.size > self._limits.max_list_bytes:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "a header block is larger than allowed")
        if flags & frames.END_HEADERS:
            self._finish_block()

    def _finish_block(self) -> None:
        block = self._block
        if block is None:
            return
        self._block = None
        encoded = block.pieces[0] if len(block.pieces) == 1 else b"".join(block.pieces)
        state = self._streams.get(block.stream)
        if state is None and block.stream > self._last_stream:
            self._open(block, encoded)
            return
        # Decoded whatever becomes of it: until the peer knows better, blocks build on each other.
        fields = self._decoded(encoded)
        if state is not None:
            self._trailers(block, state, fields)
        else:
            self._check_closed(block.stream)

    def _decoded(self, encoded: bytes) -> Fields:
        self._units -= 2 + len(encoded) // _BLOCK_BYTES_A_UNIT
        return self._decoder.decode(encoded)

    def _trailers(self, block: Block, state: Stream, fields: Fields) -> None:
        if state.remote_ended:
            raise StreamFault(block.stream, ErrorCodes.STREAM_CLOSED, "headers behind the end of a request")
        if not block.ended:
            raise StreamFault(block.stream, ErrorCodes.PROTOCOL_ERROR, "trailers do not end the stream")
        check_trailers(block.stream, fields)
        self._announced(block.stream, state, 0, ended=True)
        state.remote_ended = True
        self._events.append(Received(block.stream, b"", True))

    def _open(self, block: Block, encoded: bytes) -> None:
        stream = block.stream
        digest = xxh3_128_digest(encoded)
        head = None if self._decoder.has_table else self._heads.get(digest)
        fields = self._decoded(encoded) if head is None else None
        if not stream & 1:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "a client opens streams of odd numbers")
        self._last_stream = stream
        if self._leaving or len(self._streams) >= self._limits.max_streams:
            raise StreamFault(stream, ErrorCodes.REFUSED_STREAM, "no more streams are taken now")
        if head is None:
            head = checked(stream, fields or ())
            self._keep(digest, head)
        if block.ended and head.length:
            raise StreamFault(stream, ErrorCodes.PROTOCOL_ERROR, "a body is announced and does not come")
        self._streams[stream] = Stream(self._peer_window, head.length, remote_ended=block.ended)
        if self._window_changes < self._limits.window_changes:
            self._window_changes += _WINDOW_CHANGES_A_STREAM
        self._events.append(Opened(stream, head.fields, block.ended))

    def _keep(self, digest: bytes, head: Head) -> None:
        """Remember what a block says: gateways send the same again and again."""
        if not self._decoder.has_table:
            if len(self._heads) >= _REMEMBERED_HEADS:
                self._heads.clear()
            self._heads[digest] = head

    def _priority(self, stream: int, payload: bytes) -> None:
        need_stream(stream)
        if len(payload) != 5:
            raise StreamFault(stream, ErrorCodes.FRAME_SIZE_ERROR, "PRIORITY has five bytes")
        if int.from_bytes(payload[:4], "big") & frames.MAX_STREAM == stream:
            raise StreamFault(stream, ErrorCodes.PROTOCOL_ERROR, "a stream depends on itself")

    def _rst_stream(self, stream: int, payload: bytes) -> None:
        need_stream(stream)
        if len(payload) != 4:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "RST_STREAM has four bytes")
        state = self._streams.get(stream)
        if state is not None:
            state.remote_ended = True
            self._close(stream)
            self._events.append(Ended(stream))
        elif stream > self._last_stream:
            self._check_closed(stream)

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        need_connection(stream)
        self.greeted = True
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "an acknowledgement of settings is empty")
            self._decoder.forbid()
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "settings have six bytes each")
        self._units -= len(payload) // 6
        before = self._peer_window
        for place in range(0, len(payload), 6):
            name, value = payload[place : place + 2], payload[place + 2 : place + 6]
            self._setting(int.from_bytes(name, "big"), int.from_bytes(value, "big"))
        # The acknowledgement goes first: until it has come, a peer counts data against its windows as they were.
        self._out.append(frames.SETTINGS_ACK)
        if self._peer_window != before:
            self._resize_windows(self._peer_window - before)

    def _setting(self, name: int, value: int) -> None:
        match name:
            case SettingCodes.ENABLE_PUSH if value > 1:
                raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            case SettingCodes.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFault(ErrorCodes.FLOW_CONTROL_ERROR, "a window is too large")
                self._peer_window = value
            case SettingCodes.MAX_FRAME_SIZE:
                if not frames.MIN_MAX_FRAME_BYTES <= value <= frames.MAX_MAX_FRAME_BYTES:
                    raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its range")
                self._peer_frame_bytes = value
            case _:
                pass

    def _resize_windows(self, by: int) -> None:
        # A few bytes of settings change something for every open stream: see "rapid resets" in DECISIONS.md.
        self._window_changes -= len(self._streams)
        self._units -= len(self._streams) // 4
        if self._window_changes < 0:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "windows are resized again and again")
        for state in self._streams.values():
            state.window += by
            if state.window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCodes.FLOW_CONTROL_ERROR, "a window grows beyond its limit")
        for stream, state in list(self._streams.items()) if by > 0 else ():
            if state.queue is not None:
                self._flush(stream, state)

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        need_connection(stream)
        if len(payload) != 8:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "PING has eight bytes")
        if not flags & frames.ACK:
            self._out.append(frames.frame(Kind.PING, frames.ACK, 0, payload))

    def _goaway(self, stream: int, payload: bytes) -> None:
        need_connection(stream)
        if len(payload) < 8:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "GOAWAY has at least eight bytes")

    def _window_update(self, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "WINDOW_UPDATE has four bytes")
        increment = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if not stream:
            self._window += opened_by(0, self._window, increment)
            self._flush_blocked()
            return
        state = self._streams.get(stream)
        if state is not None:
            state.window += opened_by(stream, state.window, increment)
            if state.queue is not None:
                self._flush(stream, state)
        elif stream > self._last_stream:
            self._check_closed(stream)

    # Sending what waited

    def _flush_blocked(self) -> None:
        while self._blocked and self._window > 0:
            stream = next(iter(self._blocked))
            self._flush(stream, self._streams[stream])

    def _flush(self, stream: int, state: Stream) -> None:
        queue = state.queue
        while queue:
            data, trailers = queue[0]
            room = min(state.window, self._window, self._peer_frame_bytes)
            if data and room <= 0:
                # Out of the list where its own window is what it waits for: the list is walked whenever data may go.
                if state.window > 0:
                    self._blocked[stream] = None
                else:
                    self._blocked.pop(stream, None)
                return
            piece = data[:room]
            if piece:
                state.window -= len(piece)
                self._window -= len(piece)
                self.queued_bytes -= len(piece)
                state.queued -= len(piece)
                state.taken += len(piece)
                self._units -= 1
                self._out.append(b"".join((frames.head(len(piece), frames.DATA, 0, stream), piece)))
            if len(piece) < len(data):
                queue[0] = (data[room:], trailers)
                continue
            queue.popleft()
            if trailers is not None:
                self._end(stream, trailers)
                return
        state.queue = None
        self._blocked.pop(stream, None)
        self._unread.pop(stream, None)
