"""What the renderer makes of values, gaps and names."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.rendering.__main__ import main
from dashboards.rendering.answers import Series, Span
from dashboards.rendering.board_files import Cell, ShownPanel, filled_in
from dashboards.rendering.charts import drawn
from dashboards.rendering.units import ticks, written
from dashboards.rows import Unit

SPAN = Span(0.0, 100.0, 1.0, "4s")


def panel(kind: str = "timeseries", *, stacked: bool = False) -> ShownPanel:
    steps = ((-math.inf, "green"), (5.0, "red"))
    return ShownPanel("t", "d", kind, "short", Cell(0, 0, 8, 7), (("x", "y"),), steps, stacked, None)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0 s"),
        (0.0004, "s", "400 µs"),
        (0.25, "s", "250 ms"),
        (90.0, "s", "1.5 min"),
        (1536.0, "bytes", "1.5 KiB"),
        (12.0, "bytes", "12 B"),
        (0.5, "percentunit", "50 %"),
        (30.0, "percentunit", "3000 %"),
        (1500.0, "cps", "1.5 K/s"),
        (2.0, "reqps", "2 req/s"),
        (1234567.0, "short", "1.23 M"),
    ],
)
def test_values_are_written_in_their_unit(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize("unit", Unit)
def test_every_unit_of_panels_is_known(unit: Unit) -> None:
    assert written(1.0, unit.value)[0] == "1"


@given(st.floats(1e-6, 1e13), st.sampled_from(["short", "bytes", "s"]))
def test_ticks_are_few_even_and_reach_the_top(top: float, unit: str) -> None:
    marks = ticks(top, unit)
    assert marks[0] == 0
    assert marks[-1] >= top * (1 - 1e-6)
    assert 2 <= len(marks) <= 6
    steps = [after - before for before, after in pairwise(marks)]
    assert max(steps) == pytest.approx(min(steps))


def test_a_gap_ends_a_line() -> None:
    points = tuple((float(at), 1.0) for at in [*range(10), *range(20, 30)])
    whole = drawn(panel(), [Series("a", points[:10])], SPAN, 400, 250)
    parted = drawn(panel(), [Series("a", points)], SPAN, 400, 250)
    assert whole.count('class="series"') == 1
    assert parted.count('class="series"') == 2


def test_nothing_known_is_said() -> None:
    assert "no data" in drawn(panel(), [], SPAN, 400, 250)


def test_stacked_lines_stand_on_those_before() -> None:
    series = [Series("a", ((0.0, 2.0), (1.0, 2.0))), Series("b", ((0.0, 3.0), (1.0, 3.0)))]
    top = drawn(panel(stacked=True), series, SPAN, 400, 250)
    alone = drawn(panel(), series, SPAN, 400, 250)
    assert ">6<" in top
    assert ">6<" not in alone


def test_a_number_has_the_colour_of_its_threshold() -> None:
    low = drawn(panel("stat"), [Series("a", ((0.0, 9.0), (1.0, 4.0)))], SPAN, 200, 100)
    high = drawn(panel("stat"), [Series("a", ((0.0, 1.0), (1.0, 5.0)))], SPAN, 200, 100)
    assert "fill:#2f9e63" in low
    assert "fill:#c4302b" in high


def test_names_are_written_as_text() -> None:
    assert "<b>" not in drawn(panel(), [Series("<b>", ((0.0, 1.0),))], SPAN, 400, 250)


def test_more_names_than_have_room_are_counted() -> None:
    series = [Series(f"a rather long name of a line {number}", ((0.0, 1.0),)) for number in range(12)]
    assert "+ 9" in drawn(panel(), series, SPAN, 400, 250)


@pytest.mark.browser
def test_a_prometheus_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rendering", "http://127.0.0.1:1", str(tmp_path)])
    assert main() == 1
    assert capsys.readouterr().err.startswith("dashboards.rendering: http://127.0.0.1:1 does not answer: ")


def test_variables_that_are_not_chosen_are_everything() -> None:
    query = 'rate(a_total{pool=~"$pool",x=~"$model"}[$__rate_interval])'
    assert filled_in(query, {"pool": "a/b"}, "4s") == 'rate(a_total{pool=~"a/b",x=~".*"}[4s])'
