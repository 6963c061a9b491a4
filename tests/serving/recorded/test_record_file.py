"""Recorded requests are a trace, within the limit, in files of which each has a secret of its own."""

import os
from pathlib import Path

from infscale.config.record_settings import RecordSettings
from infscale.recording.recorded_request import RecordedRequest
from infscale.serving.recorded.record_file import RecordFile
from infscale.sim.load.trace_formats import parse_trace

LONG = bytes(range(256)) * 20


def request(at: float, prefixes: tuple[int, ...] = (1, 2, 3)) -> RecordedRequest:
    return RecordedRequest(at, "model", 0, 1280, 30, None, prefixes, "completed", 200)


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) - 1


def test_a_file_is_a_trace_whose_times_count_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    file = RecordFile(RecordSettings(path), lambda: 100.0)
    file.begin()
    prefixes = file.digests.of("m", LONG)
    file.write([request(104.5, prefixes), request(103.0, prefixes)])
    file.write([])
    (first, second) = parse_trace(path.read_text(), "requests.jsonl")
    assert (first.at_seconds, second.at_seconds) == (0.0, 1.5)
    assert first.blocks == second.blocks == prefixes
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_stay_within_the_limit_and_each_has_a_secret_of_its_own(tmp_path: Path) -> None:
    path, limit = tmp_path / "requests.jsonl", 4000
    file = RecordFile(RecordSettings(path, limit), lambda: 0.0)
    file.begin()
    secrets = set[int]()
    for number in range(100):
        secrets.add(file.digests.of("m", LONG)[0])
        file.write([request(float(number))] * 3)
        assert sum(os.path.getsize(each) for each in tmp_path.iterdir()) <= limit
        assert path.read_text().startswith('{"infscale_recording":1')
    before = tmp_path / "requests.jsonl.1"
    assert {each.name for each in tmp_path.iterdir()} == {path.name, before.name}
    assert 2000 - 200 < before.stat().st_size <= 2000
    assert len(secrets) > 10


def test_what_an_earlier_start_recorded_is_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    for _ in range(2):
        file = RecordFile(RecordSettings(path), lambda: 0.0)
        file.begin()
        file.write([request(1.0)])
    assert (lines(path), lines(tmp_path / "requests.jsonl.1")) == (1, 1)


def test_a_file_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    file = RecordFile(RecordSettings(path), lambda: 0.0)
    file.begin()
    path.unlink()
    file.write([request(1.0)])
    assert path.exists()
