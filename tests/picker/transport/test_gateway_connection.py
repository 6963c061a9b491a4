"""One connection between a transport that keeps what is written and the turns of its port."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest_asyncio

from picker.transport.budget import Budget
from picker.transport.gateway_connection import GatewayConnection
from picker.transport.h2 import frames
from picker.transport.h2.events import Limits
from picker.transport.h2.frames import Kind
from picker.transport.health import Health
from picker.transport.interface import TransportSettings
from picker.transport.limits import LimitCounts, LimitNotes
from picker.transport.port import Port
from picker.transport.turns import SLICE_UNITS, TURN_UNITS
from tests.picker.transport.fuzz import Wire

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
            Limits(),
            time.monotonic,
            Health(lambda: True),
            tasks,
            Budget(1 << 20, 1 << 16),
            LimitNotes(LimitCounts()),
        )


def connected(port: Port) -> tuple[GatewayConnection, CountingWire]:
    connection, wire = GatewayConnection(port, None), CountingWire()
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
    assert connection.pending
    assert not wire.paused
    connection.data_received(PING)
    assert wire.paused == 1
    connection.data_received(PING)
    assert wire.paused == 1
    await next_turns(8)
    assert not connection.pending
    assert wire.resumed == 1
    assert len(wire.written) == len(PING) * (2 * TURN_UNITS + 2)


async def test_where_memory_is_short_no_more_is_read_of_one_that_waits(port: Port) -> None:
    connection, wire = connected(port)
    port.budget.held_bytes = port.budget.open_bytes
    port.turns.begin(0.0)
    connection.data_received(PING * 2 * TURN_UNITS)
    assert connection.pending
    assert wire.paused == 1


async def test_one_that_comes_while_another_waits_leaves_it_its_part_of_the_turn(port: Port) -> None:
    flood, _ = connected(port)
    quiet, wire = connected(port)
    port.turns.begin(0.0)
    flood.data_received(PING * 10 * TURN_UNITS)
    quiet.data_received(PING)
    assert not wire.written
    await next_turns(1)
    assert flood.pending
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
