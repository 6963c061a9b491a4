"""One connection, with python-hyper's h2 as the client and with frames no client should send."""

import gc
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import Frame
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.transport.h2 import frames
from picker.transport.h2.connection import ServerConnection
from picker.transport.h2.events import END_DATA, Ended, Event, Limits, Opened, Received
from picker.transport.h2.frames import Kind, frame
from picker.transport.h2.grpc import ANSWER, DONE
from picker.transport.h2.hpack import literal
from tests.picker.transport.whole_reads import hear

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/service/Method"),
    (":authority", "picker"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
BLOCK = b"".join(literal(name.encode(), value.encode()) for name, value in HEADERS)
Settings = h2.settings.SettingCodes


@dataclass
class Pair:
    """A client of python-hyper and our connection, and what each was told."""

    limits: Limits = field(default_factory=Limits)
    client_settings: dict[Settings, int] = field(default_factory=dict[Settings, int])

    def __post_init__(self) -> None:
        self.server = ServerConnection(self.limits)
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.client = h2.connection.H2Connection(config)
        values = {Settings.ENABLE_PUSH: 0, **self.client_settings}
        self.client.local_settings = h2.settings.Settings(client=True, initial_values=values)
        self.client.max_inbound_frame_size = self.client.local_settings.max_frame_size
        self.client.initiate_connection()
        self.told: list[Event] = []
        self.heard: list[h2.events.Event] = []
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes until neither side has anything to say."""
        while True:
            sent = self.client.data_to_send()
            if sent:
                self.told += hear(self.server, sent)
            out = b"".join(self.server.take())
            if out:
                self.heard += self.client.receive_data(out)
            if not sent and not out:
                return

    def body_of(self, stream: int) -> bytes:
        """What the client got on a stream; its windows stay as they are."""
        pieces = [each for each in self.heard if isinstance(each, h2.events.DataReceived)]
        return b"".join(bytes(each.data or b"") for each in pieces if each.stream_id == stream)

    def ended(self, stream: int) -> bool:
        return any(isinstance(each, h2.events.StreamEnded) and each.stream_id == stream for each in self.heard)

    def received(self, stream: int) -> bytes:
        """What our side got on a stream."""
        return b"".join(each.data for each in self.told if isinstance(each, Received) and each.stream == stream)


def test_a_call_goes_through_with_its_trailers() -> None:
    pair = Pair()
    pair.client.send_headers(1, HEADERS)
    pair.client.send_data(1, b"question", end_stream=True)
    pair.exchange()
    opened, piece = pair.told
    assert isinstance(opened, Opened)
    assert dict(opened.fields)[b":path"] == b"/service/Method"
    assert piece == Received(1, b"question", True)
    pair.server.respond(1, ANSWER)
    pair.server.send(1, b"answer", DONE)
    pair.exchange()
    assert pair.body_of(1) == b"answer"
    [trailers] = [each for each in pair.heard if isinstance(each, h2.events.TrailersReceived)]
    assert trailers.headers == [(b"grpc-status", b"0")]
    assert pair.ended(1)
    assert len(pair.server._streams) == 0  # pyright: ignore[reportPrivateUsage]


def test_blocks_are_read_before_and_after_the_client_knows_that_there_is_no_table() -> None:
    """A client's first streams come before it has read our settings, and build on each other."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    server = ServerConnection()
    client.initiate_connection()
    client.send_headers(1, HEADERS, end_stream=True)
    client.send_headers(3, HEADERS, end_stream=True)
    told = hear(server, client.data_to_send())
    client.receive_data(b"".join(server.take()))
    client.send_headers(5, HEADERS, end_stream=True)
    client.send_headers(7, HEADERS, end_stream=True)
    told += hear(server, client.data_to_send())
    opened = [each for each in told if isinstance(each, Opened)]
    assert [each.stream for each in opened] == [1, 3, 5, 7]
    assert len({each.fields for each in opened}) == 1


sizes = st.integers(0, 40_000)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(sizes, st.lists(sizes, max_size=3)), min_size=1, max_size=4),
    st.integers(1, 70_000),
    st.sampled_from([16_384, 20_000, 1 << 20]),
)
def test_all_bytes_arrive_in_order_however_small_the_windows(
    calls: list[tuple[int, list[int]]], window: int, frame_bytes: int
) -> None:
    """Both ways: the client's body, and answers larger than its windows, which open as it reads."""
    pair = Pair(
        Limits(window_bytes=65_535, connection_window_bytes=100_000),
        {Settings.INITIAL_WINDOW_SIZE: window, Settings.MAX_FRAME_SIZE: frame_bytes},
    )
    answers: dict[int, bytes] = {}
    for number, (asked, pieces) in enumerate(calls):
        stream = 2 * number + 1
        pair.client.send_headers(stream, HEADERS)
        body, place = bytes(number for _ in range(asked)), 0
        while place < len(body):
            room = min(pair.client.local_flow_control_window(stream), pair.client.max_outbound_frame_size)
            assert room > 0, "our side opens its windows as it reads"
            pair.client.send_data(stream, body[place : place + room])
            place += room
            pair.exchange()
        pair.client.end_stream(stream)
        pair.exchange()
        assert pair.received(stream) == body
        # A window of a byte takes as many rounds as there are bytes.
        pieces = [min(size, 20 * window) for size in pieces]
        answers[stream] = b"".join(bytes([place]) * size for place, size in enumerate(pieces))
        pair.server.respond(stream, ANSWER)
        for place, size in enumerate(pieces):
            pair.server.send(stream, bytes([place]) * size)
        pair.server.send(stream, b"", DONE)
    pair.exchange()
    acknowledged = dict.fromkeys(answers, 0)
    for _ in range(100_000):
        for stream in answers:
            got = len(pair.body_of(stream)) - acknowledged[stream]
            if got and not pair.ended(stream):
                pair.client.acknowledge_received_data(got, stream)
                acknowledged[stream] += got
            elif got:
                pair.client.increment_flow_control_window(got)
                acknowledged[stream] += got
        before = len(pair.heard)
        pair.exchange()
        if len(pair.heard) == before:
            break
    assert {stream: pair.body_of(stream) for stream in answers} == answers
    assert all(pair.ended(stream) for stream in answers)
    assert len(pair.server._streams) == 0  # pyright: ignore[reportPrivateUsage]


def test_an_early_answer_tells_the_client_that_it_need_not_go_on_and_what_was_on_the_way_is_no_fault() -> None:
    pair = Pair()
    pair.client.send_headers(1, HEADERS)
    pair.exchange()
    pair.server.respond(1, ANSWER)
    pair.server.send(1, b"no", DONE)
    late = frame(Kind.DATA, 0, 1, b"late")
    assert hear(pair.server, late) == []
    assert not pair.server.failed
    pair.exchange()
    resets = [each for each in pair.heard if isinstance(each, h2.events.StreamReset)]
    assert [each.error_code for each in resets] == [ErrorCodes.NO_ERROR]


def test_a_reset_of_the_client_is_told_once() -> None:
    pair = Pair()
    pair.client.send_headers(1, HEADERS)
    pair.exchange()
    pair.client.reset_stream(1, ErrorCodes.CANCEL)
    pair.exchange()
    assert pair.told[-1] == Ended(1)
    pair.server.send(1, b"late", DONE)
    assert b"".join(pair.server.take()) == b""


def test_more_streams_than_allowed_are_refused_and_the_others_go_on() -> None:
    pair = Pair(Limits(max_streams=2))
    for stream in (1, 3):
        pair.client.send_headers(stream, HEADERS)
    pair.exchange()
    assert hear(pair.server, frame(Kind.HEADERS, frames.END_HEADERS, 5, BLOCK)) == []
    assert b"".join(pair.server.take()) == frames.rst_stream(5, ErrorCodes.REFUSED_STREAM)
    assert len(pair.server._streams) == 2  # pyright: ignore[reportPrivateUsage]


def test_after_leaving_open_streams_end_and_new_ones_are_refused() -> None:
    pair = Pair()
    pair.client.send_headers(1, HEADERS)
    pair.exchange()
    pair.server.leave()
    refused = b"".join(pair.server.take())
    assert refused == frames.goaway(1, ErrorCodes.NO_ERROR)
    assert hear(pair.server, frame(Kind.HEADERS, frames.END_HEADERS, 3, BLOCK)) == []
    assert b"".join(pair.server.take()) == frames.rst_stream(3, ErrorCodes.REFUSED_STREAM)
    pair.server.respond(1, ANSWER)
    pair.server.send(1, b"", DONE)
    assert len(pair.server._streams) == 0  # pyright: ignore[reportPrivateUsage]


def test_what_waits_for_windows_is_bounded() -> None:
    pair = Pair(Limits(queued_bytes=100_000), {Settings.INITIAL_WINDOW_SIZE: 0})
    pair.client.send_headers(1, HEADERS)
    pair.exchange()
    pair.server.respond(1, ANSWER)
    pair.server.send(1, b"x" * 99_000)
    assert len(pair.server._streams) == 1  # pyright: ignore[reportPrivateUsage]
    pair.server.send(1, b"x" * 2_000)
    assert len(pair.server._streams) == 0  # pyright: ignore[reportPrivateUsage]
    assert b"".join(pair.server.take()).endswith(frames.rst_stream(1, ErrorCodes.ENHANCE_YOUR_CALM))


def test_streams_that_are_opened_and_reset_at_once_leave_nothing_and_harm_no_other() -> None:
    server = ServerConnection(Limits(max_streams=3))
    hear(server, GREETING + headers(1))
    server.take()
    flood = b"".join(headers(stream) + frames.rst_stream(stream, ErrorCodes.CANCEL) for stream in range(3, 9_003, 2))
    told = hear(server, flood)
    assert sum(isinstance(each, Opened) for each in told) == sum(isinstance(each, Ended) for each in told) == 4_500
    assert len(server._streams) == 1  # pyright: ignore[reportPrivateUsage]
    assert server.take() == []
    server.respond(1, ANSWER)
    server.send(1, b"", DONE)
    assert server.take()
    assert len(server._streams) == 0  # pyright: ignore[reportPrivateUsage]


def window_settings(size: int) -> bytes:
    return frames.settings(((SettingCodes.INITIAL_WINDOW_SIZE, size),))


def test_windows_of_many_streams_are_not_resized_again_and_again() -> None:
    """A few bytes of settings would have every open stream looked at."""
    server = ServerConnection(Limits(window_changes=1_000))
    hear(server, GREETING + b"".join(headers(stream) for stream in range(1, 201, 2)))
    for number in range(10):
        hear(server, window_settings(number))
    assert not server.failed
    hear(server, window_settings(9))
    assert not server.failed, "nothing changes"
    hear(server, headers(201) + window_settings(10))
    assert server.failed
    assert b"windows are resized again and again" in b"".join(server.take())


def test_a_client_that_opens_streams_may_resize_its_windows_as_it_goes() -> None:
    server = ServerConnection(Limits(window_changes=100))
    hear(server, GREETING)
    for number in range(500):
        stream = 2 * number + 1
        hear(server, headers(stream) + window_settings(number))
        server.respond(stream, DONE, ended=True)
        assert not server.failed


class _Watched(deque[tuple[memoryview, bytes | None]]):
    """What waits on a stream; notices who looks whether there is something."""

    looked = False

    def __len__(self) -> int:
        self.looked = True
        return super().__len__()


@pytest.mark.parametrize(
    "sent", [frames.window_update(0, 1), frames.settings(())], ids=["the connection's window", "empty settings"]
)
def test_streams_that_wait_for_their_own_windows_are_not_looked_at_for_what_opens_none(sent: bytes) -> None:
    server = ServerConnection()
    hear(server, frames.PREFACE + window_settings(0))
    for stream in range(1, 201, 2):
        hear(server, headers(stream))
        server.respond(stream, ANSWER)
        server.send(stream, b"data")
    waiting = [_Watched(state.queue or ()) for state in server._streams.values()]  # pyright: ignore[reportPrivateUsage]
    for state, queue in zip(server._streams.values(), waiting, strict=True):  # pyright: ignore[reportPrivateUsage]
        state.queue = queue
    server.take()
    hear(server, sent * 50)
    assert not any(queue.looked for queue in waiting)
    hear(server, window_settings(10))
    assert all(queue.looked for queue in waiting)
    assert sum(len(each) - frames.HEADER_BYTES for each in server.take()[-100:]) == 400


def test_data_that_waits_for_the_connections_window_goes_when_that_opens() -> None:
    server = ServerConnection()
    hear(server, frames.PREFACE + window_settings(1 << 20))
    for stream in (1, 3, 5):
        hear(server, headers(stream))
        server.respond(stream, ANSWER)
        server.send(stream, b"x" * 30_000, DONE)
    server.take()
    assert len(server._streams) == 1  # pyright: ignore[reportPrivateUsage]
    hear(server, frames.window_update(0, 90_000 - frames.DEFAULT_WINDOW))
    assert len(server._streams) == 0  # pyright: ignore[reportPrivateUsage]


def test_larger_windows_are_acknowledged_before_they_are_used() -> None:
    """A client that has not seen the acknowledgement counts data against the windows that were."""
    pair = Pair(client_settings={Settings.INITIAL_WINDOW_SIZE: 10})
    pair.client.send_headers(1, HEADERS)
    pair.exchange()
    pair.server.respond(1, ANSWER)
    pair.server.send(1, b"x" * 30)
    pair.exchange()
    hear(pair.server, frames.settings(((SettingCodes.INITIAL_WINDOW_SIZE, 20),)))
    acknowledged, data = pair.server.take()
    assert acknowledged == frames.SETTINGS_ACK
    assert data == frame(Kind.DATA, 0, 1, b"x" * 10)


def test_a_body_of_plain_http_ends_with_its_data() -> None:
    pair = Pair()
    pair.client.send_headers(1, HEADERS, end_stream=True)
    pair.exchange()
    pair.server.respond(1, ANSWER)
    pair.server.send(1, b"text", END_DATA)
    pair.exchange()
    assert (pair.body_of(1), pair.ended(1)) == (b"text", True)


def test_no_value_of_a_header_is_kept() -> None:
    """Header blocks are known again by their digests, and of a head stays what calls are told."""
    server = ServerConnection()
    hear(server, GREETING + frames.SETTINGS_ACK)
    block = BLOCK + literal(b"authorization", b"Bearer secret") + literal(b"cookie", b"session=secret")
    for stream in (1, 3):
        [opened] = hear(server, headers(stream, block))
        assert isinstance(opened, Opened)
        assert {name for name, _ in opened.fields} == {b":method", b":path", b"content-type"}
    assert server._heads  # pyright: ignore[reportPrivateUsage]
    seen: set[int] = set()
    waiting: list[object] = [server]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | ModuleType):
            continue
        seen.add(id(each))
        assert not (isinstance(each, bytes | str | memoryview) and b"secret" in bytes(str(each), "utf-8")), each
        waiting += gc.get_referents(each)


def test_windows_that_are_held_back_open_when_they_are_asked_for() -> None:
    server = ServerConnection(Limits(window_bytes=1_000))
    hear(server, GREETING + headers(1))
    server.take()
    server.hold_back = True
    hear(server, frame(Kind.DATA, 0, 1, b"x" * 600))
    assert server.take() == []
    assert server.shut() == [1]
    hear(server, frame(Kind.DATA, 0, 1, b"x" * 300))
    server.open_window(1)
    assert server.take() == [frames.window_update(1, 900)]
    assert server.shut() == []


def test_work_is_done_in_slices_and_comes_to_the_same() -> None:
    data = GREETING + b"".join(headers(stream) + frame(Kind.DATA, 1, stream, b"x") for stream in range(1, 201, 2))
    whole, sliced = ServerConnection(), ServerConnection()
    told = hear(whole, data)
    sliced.feed(data)
    reads = 0
    heard: list[Event] = []
    while sliced.pending:
        heard += sliced.read(50)
        reads += 1
    assert heard == told
    assert reads > 10
    assert b"".join(sliced.take()) == b"".join(whole.take())


# What no client should send

GREETING = frames.PREFACE + frames.settings(())


def headers(stream: int, block: bytes = BLOCK, flags: int = frames.END_HEADERS) -> bytes:
    return frame(Kind.HEADERS, flags, stream, block)


CONNECTION_FAULTS: dict[str, tuple[Sequence[bytes], ErrorCodes]] = {
    "no SETTINGS first": ((frames.PREFACE, headers(1)), ErrorCodes.PROTOCOL_ERROR),
    "HTTP/1": ((b"GET / HTTP/1.1\r\n\r\n",), ErrorCodes.PROTOCOL_ERROR),
    "a frame too large": ((GREETING, frame(Kind.DATA, 0, 1, b"x" * 16_385)), ErrorCodes.FRAME_SIZE_ERROR),
    "data on the connection": ((GREETING, frame(Kind.DATA, 0, 0)), ErrorCodes.PROTOCOL_ERROR),
    "data on an idle stream": ((GREETING, frame(Kind.DATA, 0, 1)), ErrorCodes.PROTOCOL_ERROR),
    "an even stream": ((GREETING, headers(2)), ErrorCodes.PROTOCOL_ERROR),
    "a stream passed over": ((GREETING, headers(5), headers(3)), ErrorCodes.PROTOCOL_ERROR),
    "an interrupted block": (
        (GREETING, headers(1, flags=0), frame(Kind.PING, 0, 0, b"12345678")),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "CONTINUATION alone": ((GREETING, frame(Kind.CONTINUATION, 4, 1, BLOCK)), ErrorCodes.PROTOCOL_ERROR),
    "empty CONTINUATIONs": (
        (GREETING, headers(1, flags=0), frame(Kind.CONTINUATION, 0, 1)),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "a block without end": (
        (GREETING, headers(1, flags=0), *[frame(Kind.CONTINUATION, 0, 1, b"\0" * 16_000)] * 5),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "padding beyond the frame": ((GREETING, headers(1), frame(Kind.DATA, 8, 1, b"\x05abc")), ErrorCodes.PROTOCOL_ERROR),
    "PUSH_PROMISE": ((GREETING, frame(Kind.PUSH_PROMISE, 4, 1, b"\0\0\0\2")), ErrorCodes.PROTOCOL_ERROR),
    "a short PING": ((GREETING, frame(Kind.PING, 0, 0, b"123")), ErrorCodes.FRAME_SIZE_ERROR),
    "settings on a stream": ((GREETING, frame(Kind.SETTINGS, 0, 1)), ErrorCodes.PROTOCOL_ERROR),
    "half a setting": ((GREETING, frame(Kind.SETTINGS, 0, 0, b"\0\1\0")), ErrorCodes.FRAME_SIZE_ERROR),
    "a window beyond its limit": (
        (GREETING, frames.window_update(0, frames.MAX_WINDOW)),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "a window that opens by nothing": ((GREETING, frames.window_update(0, 0)), ErrorCodes.PROTOCOL_ERROR),
    "a bad priority of a stream that was never opened": (
        (GREETING, frame(Kind.PRIORITY, 0, 1, b"\0\0\0\1\0")),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "a bad block": ((GREETING, headers(1, b"\xff\xff\xff\xff\xff")), ErrorCodes.COMPRESSION_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_a_fault_of_the_connection_ends_it_with_its_code(name: str) -> None:
    sent, code = CONNECTION_FAULTS[name]
    server = ServerConnection()
    told = [event for data in sent for event in hear(server, data)]
    assert server.failed
    last = b"".join(server.take())
    goaway = last[last.rindex(bytes((Kind.GOAWAY,)) + b"\0\0\0\0\0") :]
    assert int.from_bytes(goaway[10:14], "big") == code
    opened = {each.stream for each in told if isinstance(each, Opened)}
    assert {each.stream for each in told if isinstance(each, Ended)} == opened, "every open call learns of it"
    assert hear(server, headers(9)) == []


STREAM_FAULTS: dict[str, tuple[Sequence[bytes], ErrorCodes]] = {
    "no path": ((headers(1, literal(b":method", b"POST") + literal(b":scheme", b"http")),), ErrorCodes.PROTOCOL_ERROR),
    "capitals": ((headers(1, BLOCK + literal(b"Upper", b"x")),), ErrorCodes.PROTOCOL_ERROR),
    "a connection field": ((headers(1, BLOCK + literal(b"connection", b"close")),), ErrorCodes.PROTOCOL_ERROR),
    "a pseudo field behind": ((headers(1, BLOCK + literal(b":path", b"/")),), ErrorCodes.PROTOCOL_ERROR),
    "a line break": ((headers(1, BLOCK + literal(b"x", b"a\r\nb")),), ErrorCodes.PROTOCOL_ERROR),
    "TE of its own": ((headers(1, BLOCK.replace(b"trailers", b"deflates")),), ErrorCodes.PROTOCOL_ERROR),
    "less data than announced": (
        (headers(1, BLOCK + literal(b"content-length", b"5")), frame(Kind.DATA, 1, 1, b"1234")),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "more data than announced": (
        (headers(1, BLOCK + literal(b"content-length", b"2")), frame(Kind.DATA, 0, 1, b"1234")),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "data behind the end": ((headers(1, flags=5), frame(Kind.DATA, 0, 1, b"x")), ErrorCodes.STREAM_CLOSED),
    "trailers that do not end": ((headers(1), headers(1, literal(b"a", b"b"))), ErrorCodes.PROTOCOL_ERROR),
    "a stream of its own": ((headers(1), frame(Kind.PRIORITY, 0, 1, b"\0\0\0\1\0")), ErrorCodes.PROTOCOL_ERROR),
    "a window beyond its limit": (
        (headers(1), frames.window_update(1, frames.MAX_WINDOW)),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_fault_of_a_stream_ends_that_stream_only(name: str) -> None:
    sent, code = STREAM_FAULTS[name]
    server = ServerConnection()
    hear(server, GREETING)
    server.take()
    for data in sent:
        hear(server, data)
    assert b"".join(server.take()).endswith(frames.rst_stream(1, code))
    assert not server.failed
    assert len(server._streams) == 0  # pyright: ignore[reportPrivateUsage]
    assert isinstance(hear(server, headers(3))[0], Opened)


# Anything at all

kinds = st.sampled_from(Kind)
payloads = st.binary(max_size=40) | st.just(BLOCK) | st.integers(0, 20_000).map(bytes)
any_frame = st.builds(
    frame,
    kinds,
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 3, 5, 2, 7, 2**31 - 1]),
    payloads,
)
good_frame = st.sampled_from(
    [
        *(headers(stream, flags=flags) for stream in (1, 3, 5) for flags in (4, 5)),
        *(frame(Kind.DATA, flags, stream, b"data") for stream in (1, 3) for flags in (0, 1)),
        frames.window_update(0, 1000),
        frames.window_update(1, 1000),
        frames.settings(((SettingCodes.INITIAL_WINDOW_SIZE, 10),)),
        frames.SETTINGS_ACK,
        frames.rst_stream(1, ErrorCodes.CANCEL),
        frame(Kind.PING, 0, 0, b"12345678"),
    ]
)


@settings(max_examples=400)
@given(
    st.lists(good_frame | any_frame, max_size=20),
    st.lists(st.integers(1, 5000), max_size=10),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20_000)), max_size=10),
)
def test_whatever_comes_every_call_ends_and_everything_sent_is_frames(
    sent: list[bytes], cuts: list[int], answers: list[tuple[int, int]]
) -> None:
    """No error escapes, no stream is told of twice, and what goes out can be parsed by the peer's library."""
    server = ServerConnection(Limits(max_streams=3))
    data = GREETING + b"".join(sent)
    pieces: list[bytes] = []
    for size in cuts:
        pieces.append(data[:size])
        data = data[size:]
    told: list[Event] = []
    out = bytearray()
    act = iter(answers)
    for piece in [*pieces, data]:
        told += hear(server, piece)
        how, size = next(act, (3, 0))
        for stream in {each.stream for each in told if isinstance(each, Opened)} if how < 3 else ():
            server.respond(stream, ANSWER)
            server.send(stream, b"x" * size, (None, DONE, END_DATA)[how])
        out += b"".join(server.take())
        assert len(server._streams) <= 3  # pyright: ignore[reportPrivateUsage]
    check_frames(bytes(out))
    check_lives(told)


def check_frames(out: bytes) -> None:
    while out:
        made, length = Frame.parse_frame_header(memoryview(out[:9]))
        made.parse_body(memoryview(out[9 : 9 + length]))
        assert length <= 16_384
        out = out[9 + length :]


def check_lives(told: Sequence[Event]) -> None:
    open_now: dict[int, bool] = {}
    for event in told:
        match event:
            case Opened():
                assert event.stream not in open_now
                open_now[event.stream] = not event.ended
            case Received():
                assert open_now[event.stream], "nothing comes behind the end"
                open_now[event.stream] = not event.ended
            case Ended():
                assert event.stream in open_now


MUTATIONS: tuple[Callable[[bytearray, int, int], object], ...] = (
    lambda data, place, value: data.__setitem__(place, value),
    lambda data, place, value: data.insert(place, value),
    lambda data, place, _: data.pop(place),
)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_recording_of_a_client_does_no_harm(damage: list[tuple[int, int, int]]) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    for stream in (1, 3):
        client.send_headers(stream, HEADERS)
        client.send_data(stream, b"some data", end_stream=stream == 3)
    client.reset_stream(1)
    recording = bytearray(client.data_to_send())
    for how, place, value in damage:
        MUTATIONS[how](recording, place % len(recording), value)
    server = ServerConnection()
    told = hear(server, bytes(recording))
    check_lives(told)
    check_frames(b"".join(server.take()))
