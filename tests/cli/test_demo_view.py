"""What people see says what is known, and shows unknown as unknown."""

from dataclasses import replace

import pytest
from rich.console import Console

from infscale.cli.demo_hpa import HPA_METRICS, RawAnswer, advise
from infscale.cli.demo_phase import PHASES, PhaseStatus
from infscale.cli.demo_view import PlainView, comparison, live, plain_line
from infscale.planner.hpa_rules import History
from infscale.sim.load import Outcome
from infscale.sim.report import DemoReport, EndpointLoad, LoadSample, PhaseRecord, Quantiles

ADVICE = advise([(HPA_METRICS[1], RawAnswer(200, b'{"items": [{"value": "6"}]}'))], ["server-0"], 1.0, History())
STATUS = PhaseStatus(
    phase=PHASES[1],
    elapsed_seconds=7.0,
    planned_seconds=20.0,
    total=100,
    due=40,
    answered=30,
    failed=1,
    prefix_hit_ratio=0.5,
    ttft=Quantiles(0.1, 1.5, 2.0),
    answered_by={"server-0": 30},
    sample=LoadSample(
        6.9,
        (
            EndpointLoad("server-0", 3.0, 5.0, 0.25, 8.0, 2.0 * 1024**3),
            EndpointLoad("server-1", None, None, None, None),
        ),
    ),
    advice=ADVICE,
)


def drawn(renderable: object) -> str:
    console = Console(width=110, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_the_live_view_shows_endpoints_answers_and_replicas() -> None:
    text = drawn(live(STATUS))
    for expected in ("Phase 2 of 2: infscale", "30 of 100", "1 failed", "server-0", "25%", "2 GiB", "waiting_requests"):
        assert expected in text
    assert "HPA: 2 replicas" in text


def test_what_is_unknown_is_not_shown_as_zero() -> None:
    line = next(row for row in drawn(live(STATUS)).splitlines() if "server-1" in row)
    assert line.count("unknown") >= 3


def test_round_robin_shows_no_in_flight_count() -> None:
    line = next(row for row in drawn(live(replace(STATUS, phase=PHASES[0]))).splitlines() if "server-0" in row)
    assert " 8 " not in line


def test_picks_are_what_was_answered_and_what_is_in_flight() -> None:
    row = next(row for row in drawn(live(STATUS)).splitlines() if "server-0" in row)
    assert row.split()[-2:] == ["38", "│"]


def test_the_view_of_eight_servers_fits_an_old_terminal() -> None:
    assert STATUS.sample is not None
    eight = LoadSample(6.9, STATUS.sample.endpoints[:1] * 8)
    three = advise([(metric, RawAnswer(503, b"{}")) for metric in HPA_METRICS], ["server-0"], 1.0, History())
    assert len(drawn(live(replace(STATUS, sample=eight, advice=three))).rstrip().splitlines()) <= 24


def test_a_phase_that_has_just_begun_can_be_drawn() -> None:
    new = replace(STATUS, sample=None, advice=None, prefix_hit_ratio=None, ttft=Quantiles(None, None, None))
    assert "–" in plain_line(new)
    assert "Phase 2" in drawn(live(new))


def test_plain_lines_come_every_few_seconds_and_at_the_end() -> None:
    lines: list[str] = []
    with PlainView(lines.append) as view:
        for second in range(12):
            view.show(replace(STATUS, elapsed_seconds=float(second), advice=None))
        view.show(replace(STATUS, elapsed_seconds=12.5, advice=None, over=True))
    assert [line.split()[1] for line in lines] == ["0.0", "5.0", "10.0", "12.5"]


@pytest.mark.parametrize("failed", [False, True], ids=["answered", "all failed"])
def test_the_comparison_has_both_phases_side_by_side(failed: bool) -> None:
    def outcome(ttft: float) -> Outcome:
        failure = "status 503" if failed else None
        return Outcome(0, 0.0, 0.0, 1.0, 200, "a", ttft, 0.02, 100, 50, 10, failure)

    report = DemoReport(1, {}, {}, {}, PhaseRecord((outcome(2.0),)), PhaseRecord((outcome(0.5),)))
    text = drawn(comparison(report))
    row = next(line for line in text.splitlines() if "first token p90" in line)
    assert ("unknown" in row) if failed else ("2.00 s" in row and "500 ms" in row and "0.25 ×" in row)
