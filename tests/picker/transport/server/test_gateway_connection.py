"""One connection between a transport that keeps what is written and the turns of its port."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest_asyncio
from h2.settings import SettingCodes

from infscale.framing.length_prefixed import framed
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.transport.budget import Budget
from picker.transport.h2 import frames
from picker.transport.h2.events import Limits
from picker.transport.h2.frames import Kind
from picker.transport.h2.grpc import DONE
from picker.transport.health import Health
from picker.transport.interface import TransportSettings
from picker.transport.limits import LimitNotes
from picker.transport.server.gateway_connection import GatewayConnection
from picker.transport.server.port import Port
from picker.transport.server.turns import SLICE_UNITS, TURN_UNITS
from tests.fakes.director import FakeDirector
from tests.hostile.raw import opened
from tests.picker.transport import gateway
from tests.picker.transport.fuzz import Wire, is_pending

HELLO = frames.PREFACE + frames.settings(())
PING = frames.frame(Kind.PING, 0, 0, b"12345678")


class CountingWire(Wire):
    """Counts writes and how often reading stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.paused = self.resumed = 0

    def write(self, data: Any) -> None:
        self.writes += 1
        super().write(data)

    def pause_reading(self) -> None:
        self.paused += 1

    def resume_reading(self) -> None:
        self.resumed += 1


@pytest_asyncio.fixture
async def port() -> AsyncGenerator[Port]:
    async with asyncio.TaskGroup() as tasks:
        yield Port(
            TransportSettings(),
            Limits(window_bytes=1 << 22),
            time.monotonic,
            Health(lambda: True),
            tasks,
            Budget(1 << 24, 1 << 22),
            LimitNotes(),
        )


def connected(port: Port, director: FakeDirector | None = None) -> tuple[GatewayConnection, CountingWire]:
    def exchange() -> Exchange:
        return Exchange(ExchangeSettings(), director or FakeDirector(), random.Random(1))

    connection, wire = GatewayConnection(port, exchange), CountingWire()
    connection.connection_made(wire)
    connection.data_received(HELLO)
    wire.writes = 0
    wire.written.clear()
    return connection, wire


async def next_turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_read_of_less_than_a_turn_is_answered_in_one_write_where_no_other_waits(port: Port) -> None:
    connection, wire = connected(port)
    wanted = 2 * SLICE_UNITS
    assert wanted < TURN_UNITS
    port.turns.begin(0.0)
    connection.data_received(PING * wanted)
    assert (wire.writes, len(wire.written)) == (1, len(PING) * wanted)
    assert not wire.paused


async def test_what_a_turn_has_no_room_for_waits_while_one_more_read_is_taken(port: Port) -> None:
    connection, wire = connected(port)
    port.turns.begin(0.0)
    connection.data_received(PING * 2 * TURN_UNITS)
    assert is_pending(connection)
    assert not wire.paused
    connection.data_received(PING)
    assert wire.paused == 1
    connection.data_received(PING)
    assert wire.paused == 1
    await next_turns(8)
    assert not is_pending(connection)
    assert wire.resumed == 1
    assert len(wire.written) == len(PING) * (2 * TURN_UNITS + 2)


async def test_where_memory_is_short_no_more_is_read_of_one_that_waits(port: Port) -> None:
    connection, wire = connected(port)
    port.budget.held_bytes = port.budget.open_bytes
    port.turns.begin(0.0)
    connection.data_received(PING * 2 * TURN_UNITS)
    assert is_pending(connection)
    assert wire.paused == 1


async def test_one_that_comes_while_another_waits_leaves_it_its_part_of_the_turn(port: Port) -> None:
    flood, _ = connected(port)
    quiet, wire = connected(port)
    port.turns.begin(0.0)
    flood.data_received(PING * 10 * TURN_UNITS)
    quiet.data_received(PING)
    assert not wire.written
    await next_turns(1)
    assert is_pending(flood)
    assert len(wire.written) == len(PING)


async def test_the_longest_idle_is_the_one_whose_last_read_was_first(port: Port) -> None:
    first, _ = connected(port)
    second, _ = connected(port)
    third, _ = connected(port)
    second.data_received(PING)
    first.data_received(PING)
    since = [each.idle_since for each in (third, second, first)]
    assert since == sorted(since, key=lambda each: each or 0.0)
    assert len(set(since)) == 3


def request(stream: int, body: bytes, *, ended: bool = False) -> bytes:
    """A request with `body`; `ended`: the gateway closes its side of the stream behind it."""
    sent = b"".join(framed(message) for message in (gateway.headers((":path", "/v1/completions")), gateway.body(body)))
    size = frames.MIN_MAX_FRAME_BYTES
    pieces = [sent[place : place + size] for place in range(0, len(sent), size)]
    flags = [0] * (len(pieces) - 1) + [frames.END_STREAM if ended else 0]
    return b"".join(
        [
            opened(stream),
            *(frames.frame(Kind.DATA, flag, stream, piece) for flag, piece in zip(flags, pieces, strict=True)),
        ]
    )


LARGE = b'{"model":"m","prompt":"' + b"word " * 400_000 + b'"}'
WINDOWS = frames.settings(((SettingCodes.INITIAL_WINDOW_SIZE, 1 << 24),)) + frames.window_update(0, 1 << 24)
SMALL = b'{"model":"m","prompt":"hello"}'


async def test_others_are_answered_between_the_steps_of_a_large_body(port: Port) -> None:
    director = FakeDirector()
    slow, slow_wire = connected(port, director)
    quick, quick_wire = connected(port, director)
    slow.data_received(WINDOWS + request(1, LARGE, ended=True))
    turns = 0
    while not slow_wire.written.endswith(DONE):
        quick.data_received(request(2 * turns + 1, SMALL))
        await next_turns(1)
        turns += 1
        assert len(director.decisions) >= turns
        assert turns < 20
    assert turns >= 5
    assert [each.size_bytes for each in director.requests].count(len(LARGE)) == 1
    assert quick_wire.written.count(b"x-gateway-destination-endpoint") >= turns


async def test_large_bodies_come_to_their_ends_one_after_the_other(port: Port) -> None:
    director = FakeDirector()
    one, _ = connected(port, director)
    other, _ = connected(port, director)
    one.data_received(WINDOWS + request(1, LARGE) + request(3, LARGE))
    other.data_received(WINDOWS + request(1, LARGE))
    decided: list[int] = []
    while port.budget.held_bytes > len(LARGE) // 2 or not decided:
        await next_turns(1)
        decided.append(len(director.decisions))
        assert len(decided) < 60
    # Another body is decided only when the one before it has been sent on.
    assert decided[-1] == 3
    assert min(decided.count(each) for each in (1, 2)) >= 4


async def test_a_connection_that_is_lost_meanwhile_takes_its_large_bodies_along(port: Port) -> None:
    director = FakeDirector()
    one, _ = connected(port, director)
    other, _ = connected(port, director)
    one.data_received(WINDOWS + request(1, LARGE) + request(3, LARGE))
    other.data_received(WINDOWS + request(1, LARGE))
    await next_turns(2)
    one.connection_lost(None)
    await next_turns(20)
    assert len(director.decisions) == 1
    assert port.budget.held_bytes < len(LARGE)
