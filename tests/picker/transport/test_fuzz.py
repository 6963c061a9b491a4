"""A bounded part of the fuzzer's run; `python -m tests.picker.transport.fuzz` goes on for as long as one likes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.transport.h2.frames import Kind
from tests.picker.transport.damage import corpus
from tests.picker.transport.fuzz import fuzz

FRAMES = 12_000


@pytest.mark.timeout(120)
async def test_damaged_recordings_find_no_crash_no_leak_and_no_stuck_stream() -> None:
    totals = await fuzz(FRAMES, seed=20261126)
    assert totals.frames >= FRAMES
    # Damage is neither so light that nothing breaks nor so heavy that nothing gets through.
    assert min(totals.ends.values()) > totals.connections // 10


@settings(max_examples=20)
@given(st.integers(0, 2**32))
async def test_any_seed_will_do(seed: int) -> None:
    await fuzz(50, seed)


def test_the_recordings_hold_what_they_are_said_to_hold() -> None:
    recorded = corpus()
    assert sum(map(len, recorded.raw)) < 200_000
    lengths = [sum(len(one.payload) for one in stream if one.kind == Kind.DATA) for stream in recorded.streams]
    assert sum(1_000 < length < 4_000 for length in lengths) >= 12
    assert max(lengths) > 40_000
    kinds = {one.kind for each in recorded.whole for one in each}
    assert kinds >= {Kind.DATA, Kind.HEADERS, Kind.SETTINGS, Kind.WINDOW_UPDATE, Kind.RST_STREAM}
