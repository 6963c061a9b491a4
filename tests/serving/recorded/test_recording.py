"""Requests are written to a file that stays within its limit, and from which only their lengths can be learned."""

import asyncio
import contextlib
import logging
from collections.abc import Generator
from pathlib import Path

import grpc.aio
import orjson
import pytest

from infscale.config.read import load_config
from infscale.config.record_settings import RecordSettings
from infscale.errors import StartError
from infscale.recording.recorded_request import RecordedRequest, read_line
from infscale.serving.composition import serving
from infscale.serving.recorded.recording import Recording
from tests.picker.transport import gateway
from tests.serving.test_composition import config_file

LONG = bytes(range(256)) * 20
HEADERS = gateway.headers((":method", "POST"), (":path", "/v1/completions"), ("content-type", "application/json"))


def request(at: float, prefixes: tuple[int, ...] = (1, 2, 3)) -> RecordedRequest:
    return RecordedRequest(at, "model", 0, 1280, 30, None, prefixes, "completed", 200)


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) - 1


@contextlib.contextmanager
def counted(recording: Recording) -> Generator[dict[str, float]]:
    """What its collector shows after the block."""
    shown: dict[str, float] = {}
    yield shown
    (collector,) = recording.collectors()
    for family in collector.collect():
        shown |= {sample.labels["outcome"]: sample.value for sample in family.samples}


async def test_what_was_kept_is_in_the_file_when_the_part_has_ended(tmp_path: Path) -> None:
    recording = Recording(RecordSettings(tmp_path / "requests.jsonl"), lambda: 0.0)
    with counted(recording) as shown:
        async with recording:
            for number in range(500):
                recording.keep(request(float(number), recording.prefixes("m", LONG)))
    assert lines(tmp_path / "requests.jsonl") == 500
    assert shown == {"written": 500, "lost": 0}


async def test_what_comes_too_fast_is_lost_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infscale.serving.recorded.recording._MOST_WAITING", 10)
    recording = Recording(RecordSettings(tmp_path / "requests.jsonl"), lambda: 0.0)
    with counted(recording) as shown:
        async with recording:
            for number in range(15):
                recording.keep(request(float(number)))
    assert shown == {"written": 10, "lost": 5}


async def test_a_file_that_cannot_be_begun_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"picker\.record: .*absent/requests\.jsonl cannot be written: No such file"):
        async with Recording(RecordSettings(tmp_path / "absent" / "requests.jsonl"), lambda: 0.0):
            pass


async def test_a_folder_that_goes_away_loses_requests_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    recording = Recording(RecordSettings(folder / "requests.jsonl"), lambda: 0.0)
    with counted(recording) as shown, caplog.at_level(logging.WARNING):
        async with recording:
            (folder / "requests.jsonl").unlink()
            folder.rmdir()
            recording.keep(request(1.0))
    assert shown == {"written": 0, "lost": 1}
    assert [each.getMessage() for each in caplog.records] == ["requests cannot be recorded"]


async def test_serve_records_what_passes_through_it(tmp_path: Path) -> None:
    path = config_file(tmp_path, {"record": {"file": "requests.jsonl"}})
    prompt = "a prompt that must not be found in the file"
    async with serving(await asyncio.to_thread(load_config, path)) as running:
        assert running.transport is not None
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.transport.port}") as channel:
            stream = gateway.open_stream(channel)
            await stream.write(HEADERS)
            await stream.write(gateway.body(f'{{"model": "m", "prompt": "{prompt}", "max_tokens": 7}}'.encode()))
            await gateway.answer(stream)
            await gateway.answer(stream)
            await stream.write(gateway.response_headers((":status", "200"), end_of_stream=True))
            await gateway.answer(stream)
            await stream.done_writing()
            await stream.code()
    text = (tmp_path / "requests.jsonl").read_text()
    assert prompt not in text
    row = orjson.loads(text.splitlines()[1])
    kept = read_line(row, "requests.jsonl:2")
    assert (kept.model, kept.prompt_tokens, kept.limit, kept.end, kept.status) == ("m", 11, 7, "completed", 200)
