"""Files of picks as traffic to be played again: what is used of a pick, and what is no line of one."""

import random
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from infscale.errors import ConfigError
from infscale.recording.pick_files import PICKS_KEY, recorded_picks
from infscale.sim.load.trace_formats import parse_trace
from picker.explaining.sheet_form import sheet_line
from picker.request import Headers, InferenceRequest, Outcome, ParsedBody
from tests.picker.directing.test_director import Bench
from tests.picker.explaining.test_pick_log import EXPLAINED, traffic

WALL = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


def lines(bench: Bench) -> bytes:
    assert bench.director.log is not None
    return b"".join(sheet_line(each, lambda at: WALL + timedelta(seconds=at)) for each in bench.director.log.sheets())


def test_a_pick_says_when_what_and_how_long() -> None:
    bench = Bench(2, settings=EXPLAINED)
    body = ParsedBody("completions", "m", b"x" * 4_000, 1_000, 50)
    for number, at in enumerate((1.0, 3.5)):
        request = InferenceRequest(f"r{number}", "/v1/completions", Headers(()), body)
        decision = bench.routed(request, at)
        if number == 0:
            bench.director.finished(request, decision, Outcome("completed", 200, 990, 40), 2.0)
        else:
            assert decision.record is not None
            decision.record.waited_seconds = 0.5
    first, second = recorded_picks(orjson.loads(lines(bench)), "picks.jsonl:1")
    assert (first.at_seconds, second.at_seconds) == (WALL.timestamp() + 1.0, WALL.timestamp() + 3.0)
    assert (first.model, first.priority, first.prompt_tokens, first.output_tokens) == ("m", 0, 990, 40)
    assert (first.end, first.status, first.prefixes) == ("completed", 200, ())
    assert (second.prompt_tokens, second.output_tokens) == (1_000, None)


def test_a_file_of_picks_is_traffic_wherever_a_trace_is() -> None:
    bench = Bench(4, settings=EXPLAINED)
    traffic(bench, random.Random(3), 60)
    played = parse_trace(lines(bench).decode(), "picks.jsonl", output_tokens=20)
    assert len(played) == 60
    assert played[0].at_seconds == 0.0
    assert played[-1].at_seconds == pytest.approx(0.59, abs=0.011)
    assert {each.lora for each in played} == {None, "lora"}
    assert {each.output_tokens for each in played} == {20}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({PICKS_KEY: 2}, "expected 3"),
        ({PICKS_KEY: 3}, "incomplete"),
        ({PICKS_KEY: 3, "last": [1.0, "yesterday"], "picks": []}, "incomplete"),
        ({PICKS_KEY: 3, "last": [1.0, None], "picks": [[]]}, "incomplete"),
    ],
)
def test_what_is_no_line_of_picks_is_refused_with_its_place(row: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"picks\.jsonl:3.*{words}"):
        list(recorded_picks(row, "picks.jsonl:3"))
