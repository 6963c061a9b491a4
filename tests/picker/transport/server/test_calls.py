"""The calls of one connection, without a socket: who hears of what, and what is kept when the connection is gone."""

import gc
import weakref

from picker.transport.budget import Budget, Holding
from picker.transport.h2 import frames
from picker.transport.h2.events import Limits
from picker.transport.h2.frames import Kind, frame
from picker.transport.h2.hpack import literal
from picker.transport.server.calls import Call, Calls
from tests.picker.transport.whole_reads import receive

OPEN = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/p/M"),
        (b":authority", b"a"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)
HELLO = frames.PREFACE + frames.settings(())


class Noted:
    """A call that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes | str] = []
        self.holding = Holding(Budget(1 << 20, 1 << 10), self, arriving=False)

    def received(self, data: bytes, *, ended: bool) -> None:
        self.heard += [data, "end"] if ended else [data]

    def go_on(self) -> None:
        self.heard.append("go on")

    def end(self, why: str) -> None:
        self.heard.append(why)

    def gone(self) -> None:
        self.heard.append("gone")


class Owner:
    """Makes calls, and holds what holds them."""

    def __init__(self) -> None:
        self.made: dict[int, Noted] = {}
        self.paths: list[str | None] = []
        self.asked = self.flushed = 0
        self.calls = Calls(Limits(), self)

    def open_call(self, calls: Calls, path: str | None, stream: int) -> Call | None:
        del calls
        self.paths.append(path)
        return self.made.setdefault(stream, Noted()) if path == "/p/M" else None

    def wants_steps(self) -> None:
        self.asked += 1

    def flush(self) -> None:
        self.flushed += 1


def opened(stream: int) -> bytes:
    return frame(Kind.HEADERS, frames.END_HEADERS, stream, OPEN)


def test_each_call_hears_of_its_own_stream_in_order() -> None:
    owner = Owner()
    data = [frame(Kind.DATA, 0, 1, b"one"), frame(Kind.DATA, 0, 3, b"two"), frame(Kind.DATA, 1, 1, b"three")]
    receive(owner.calls, HELLO + opened(1) + opened(3) + b"".join(data) + frame(Kind.RST_STREAM, 0, 3, bytes(4)))
    assert owner.paths == ["/p/M", "/p/M"]
    assert {stream: call.heard for stream, call in owner.made.items()} == {
        1: [b"one", b"three", "end"],
        3: [b"two", "gone"],
    }
    assert list(owner.calls.open) == [owner.made[1]]


def test_a_connection_that_is_gone_takes_its_calls_along_and_leaves_nothing_to_collect() -> None:
    owner = Owner()
    receive(owner.calls, HELLO + opened(1))
    call = owner.made[1]
    owner.calls.lost()
    assert call.heard == ["gone"]
    assert not list(owner.calls.open)
    gone = weakref.ref(owner)
    gc.disable()
    try:
        del owner
        assert gone() is None
    finally:
        gc.enable()
