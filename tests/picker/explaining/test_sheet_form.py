"""Sheets as lines of a file: they make the same decisions when they are read, and nothing else is read as one."""

import random
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from infscale.errors import ConfigError
from infscale.recording.pick_files import PICKS_KEY, PICKS_VERSION
from picker.explaining.explanation import explanation
from picker.explaining.input_sheet import InputSheet
from picker.explaining.sheet_form import read_sheet, sheet_line
from tests.picker.directing.test_director import Bench
from tests.picker.explaining.test_pick_log import EVERY_KIND, EXPLAINED, PREFILL_AND_DECODE, decided_again, traffic

WALL = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def sheets(config: str | None = None) -> list[InputSheet]:
    bench = Bench(4, config, EXPLAINED)
    traffic(bench, random.Random(5), 150)
    assert bench.director.log is not None
    return list(bench.director.log.sheets())


@pytest.mark.parametrize("config", [None, EVERY_KIND, PREFILL_AND_DECODE], ids=["preset", "every kind", "prefill"])
def test_what_was_written_makes_the_same_decisions(config: str | None) -> None:
    for sheet in sheets(config):
        read = read_sheet(sheet_line(sheet, lambda _: WALL), "picks.jsonl:1", sheet.config)
        again = read.sheet
        assert (read.config, read.clocked, len(again)) == (sheet.config.digest, sheet.config.clocked, len(sheet))
        assert read.wall(sheet.picks[-1].now - 2.5) == WALL - timedelta(seconds=2.5)
        for place in range(len(sheet)):
            inputs = again.inputs(place)
            assert decided_again(inputs, sheet.config) == (inputs.kept.chosen, inputs.kept.record.score)
            written = explanation(inputs, sheet.config, lambda _: WALL)
            assert written == explanation(sheet.inputs(place), sheet.config, lambda _: WALL)
            assert written["reproduced"] is True
            assert inputs.kept.record.remote == sheet.picks[place].record.remote


@pytest.mark.parametrize(
    "line", [b"", b"nothing", b"[]", b"{}", b'{"infscale_picks": 3}', b'{"infscale_picks": 2}'], ids=repr
)
def test_what_is_no_line_is_refused_with_its_place(line: bytes) -> None:
    with pytest.raises(ConfigError, match=r"picks\.jsonl:7"):
        read_sheet(line, "picks.jsonl:7", sheets()[0].config)


@pytest.mark.parametrize(
    "part", ["endpoints", "rows", "states", "lora", "live", "memory", "observed", "said", "flags", "picks", "settings"]
)
def test_a_line_whose_parts_do_not_fit_is_refused(part: str) -> None:
    (sheet,) = sheets()[:1]
    document = orjson.loads(sheet_line(sheet, lambda _: None))
    assert document[PICKS_KEY] == PICKS_VERSION
    document[part] = document[part][:-1]
    with pytest.raises(ConfigError, match="incomplete, or was changed"):
        read_sheet(orjson.dumps(document), "picks.jsonl:7", sheet.config)


@pytest.mark.parametrize("said", ["instead of pool llm/chat, which is full", None])
def test_why_a_request_came_from_another_pool_is_kept(said: str | None) -> None:
    (sheet,) = sheets()[:1]
    sheet.picks[0].record.fallback = said
    again = read_sheet(sheet_line(sheet, lambda _: None), "picks.jsonl:1", sheet.config).sheet
    inputs = again.inputs(0)
    assert inputs.kept.record.fallback == said
    assert explanation(inputs, sheet.config, lambda _: WALL)["fallback"] == said
