"""Decisions are written to a file when their requests have ended, within its limit, and all of them at the end."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from infscale.endpoint import DiscoveryState
from infscale.errors import StartError
from infscale.serving.recorded import pick_writing
from infscale.serving.recorded.pick_writing import PickWriting
from picker.directing.director import PoolDirector
from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import preset
from picker.explaining.input_sheet import SHEET_PICKS
from picker.explaining.sheet_form import read_sheet
from picker.request import Decision, Headers, InferenceRequest, Outcome
from tests.fakes.pools import POOL
from tests.picker.directing.test_director import Bench, ask
from tests.picker.explaining.test_pick_log import EXPLAINED

NOW = 5.0


class Written:
    """A pool whose decisions are written."""

    def __init__(self, file: Path, max_bytes: int = 1 << 26) -> None:
        self.bench = Bench(3)
        self.now = NOW
        self.directors = PoolDirectors(self._director, POOL, self.bench.store)
        self.writing = PickWriting(file, max_bytes, self.directors, lambda: self.now)
        self.directors.sync(self.bench.state)
        self.file = file

    def _director(self, pool: object) -> PoolDirector:
        bench = self.bench
        return PoolDirector(POOL, preset("infscale"), bench.store, random.Random(1), EXPLAINED, self.writing.keep)

    def decide(self, count: int, *, ends: bool = True) -> None:
        for number in range(count):
            request = InferenceRequest(f"r{number}", "/v1/completions", Headers(()), ask().body)
            decision = self.directors.direct(request, 0.1)
            assert isinstance(decision, Decision)
            if ends:
                self.directors.finished(request, decision, Outcome("completed", 200), 0.2)

    def names(self, file: Path | None = None) -> list[str]:
        lines = (file or self.file).read_bytes().splitlines()
        sheets = [read_sheet(line, "file", preset("infscale")).sheet for line in lines]
        return [kept.record.request_id for sheet in sheets for kept in sheet.picks]


@contextlib.asynccontextmanager
async def written(file: Path, max_bytes: int = 1 << 26) -> AsyncGenerator[Written]:
    made = Written(file, max_bytes)
    async with made.writing:
        yield made


async def test_all_decisions_are_in_the_file_when_the_part_has_ended(tmp_path: Path) -> None:
    async with written(tmp_path / "picks.jsonl") as pool:
        pool.decide(SHEET_PICKS + 10)
    assert pool.names() == [f"r{number}" for number in range(SHEET_PICKS + 10)]
    assert (tmp_path / "picks.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_sheet_waits_for_the_ends_of_its_requests_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pick_writing, "_WRITE_SECONDS", 0.01)
    async with written(tmp_path / "picks.jsonl") as pool:
        pool.decide(SHEET_PICKS + 1, ends=False)
        assert pool.writing.taken(everything=False) == []
        pool.now = NOW + 61.0
        while len(pool.names()) < SHEET_PICKS:
            await asyncio.sleep(0.01)


async def test_a_pool_that_leaves_has_its_last_decisions_written(tmp_path: Path) -> None:
    async with written(tmp_path / "picks.jsonl") as pool:
        pool.decide(3)
        pool.directors.sync(DiscoveryState())
    assert pool.names() == ["r0", "r1", "r2"]


async def test_the_files_stay_within_their_limit(tmp_path: Path) -> None:
    limit = 400_000
    async with written(tmp_path / "picks.jsonl", limit) as pool:
        pool.decide(10 * SHEET_PICKS)
    before = tmp_path / "picks.jsonl.1"
    assert (tmp_path / "picks.jsonl").stat().st_size + before.stat().st_size <= limit
    assert pool.names()[-1] == f"r{10 * SHEET_PICKS - 1}"
    assert pool.names(before)


async def test_a_file_that_cannot_be_written_ends_the_start_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"picker\.explain\.file: .* cannot be written"):
        async with written(tmp_path / "missing" / "picks.jsonl"):
            pass
