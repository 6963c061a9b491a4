"""What people see says what is known, and shows unknown as unknown."""

import re
from dataclasses import replace

import pytest
from rich.console import Console, ConsoleDimensions

from infscale.demo.asked_by_hpa import HPA_METRICS, RawAnswer, advise
from infscale.demo.phase import PHASES, Phase, PhaseStatus
from infscale.demo.report import DemoReport, EndpointLoad, LoadSample, PhaseRecord, Quantiles
from infscale.demo.view import LiveView, PlainView, comparison, live, over_line, plain_line
from infscale.planner.hpa_rules import History
from infscale.sim.load.load_generator import Outcome

ADVICE = advise([(HPA_METRICS[1], RawAnswer(200, b'{"items": [{"value": "6"}]}'))], ["server-0"], 1.0, History())
STATUS = PhaseStatus(
    phase=PHASES[2],
    elapsed_seconds=7.0,
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

SCREEN = ConsoleDimensions(110, 40)


def drawn(renderable: object, width: int = 110) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_the_live_view_shows_endpoints_answers_and_replicas() -> None:
    text = drawn(live(STATUS, SCREEN))
    for expected in ("Phase 3 of 3: infscale", "30 of 100", "1 failed", "server-0", "25%", "2 GiB", "waiting_requests"):
        assert expected in text
    assert "HPA: 2 replicas" in text


def test_what_is_unknown_is_not_shown_as_zero() -> None:
    line = next(row for row in drawn(live(STATUS, SCREEN)).splitlines() if "server-1" in row)
    assert line.count("unknown") >= 3


def test_round_robin_shows_no_in_flight_count() -> None:
    line = next(row for row in drawn(live(replace(STATUS, phase=PHASES[0]), SCREEN)).splitlines() if "server-0" in row)
    assert " 8 " not in line


def test_picks_are_what_was_answered_and_what_is_in_flight() -> None:
    row = next(row for row in drawn(live(STATUS, SCREEN)).splitlines() if "server-0" in row)
    assert row.split()[-2:] == ["38", "│"]


def status_of(servers: int) -> PhaseStatus:
    assert STATUS.sample is not None
    endpoints = tuple(replace(STATUS.sample.endpoints[0], endpoint=f"server-{number}") for number in range(servers))
    three = advise([(metric, RawAnswer(503, b"{}")) for metric in HPA_METRICS], ["server-0"], 1.0, History())
    return replace(STATUS, sample=LoadSample(6.9, endpoints), advice=three)


@pytest.mark.parametrize("phase", PHASES, ids=[phase.key for phase in PHASES])
@pytest.mark.parametrize("servers", [1, 8, 64])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (200, 50)])
def test_the_view_fits_the_terminal_and_uses_its_width(phase: Phase, servers: int, width: int, height: int) -> None:
    status = replace(status_of(servers), phase=phase)
    lines = drawn(live(status, ConsoleDimensions(width, height)), width).rstrip("\n").splitlines()
    assert len(lines) <= height
    assert {len(line) for line in lines} == {width}
    shown = [line for line in lines if "server-" in line]
    assert len(shown) == servers or f"+{servers - len(shown)} more" in "".join(lines)
    # Every number of an endpoint is there: nothing is cut to make room.
    assert all("25%" in line and "2 GiB" in line and "…" not in line for line in shown)
    cells = [line.count("█") + line.count("░") for line in shown]
    assert min(cells) >= width // 20


@pytest.mark.parametrize("phase", PHASES, ids=[phase.key for phase in PHASES])
def test_a_phase_that_is_over_is_one_line_of_an_old_terminal(phase: Phase) -> None:
    assert len(over_line(replace(STATUS, phase=phase, over=True, total=999, answered=999))) <= 80


def test_what_starts_is_said() -> None:
    lines: list[str] = []
    with PlainView(lines.append) as view:
        for what in ("8 simulated servers", "infscale", "Envoy"):
            view.starting(PHASES[1], what)
    assert lines == ["phase 2 of 3: the reference picker: starting 8 simulated servers, infscale and Envoy"]
    console = Console(width=80, height=24, force_terminal=True)
    with console.capture() as captured, LiveView(console) as live_view:
        live_view.starting(PHASES[1], "Envoy")
    assert "starting" in captured.get()
    assert "Envoy" in captured.get()


def test_a_phase_that_has_just_begun_can_be_drawn() -> None:
    new = replace(STATUS, sample=None, advice=None, prefix_hit_ratio=None, ttft=Quantiles(None, None, None))
    assert "–" in plain_line(new)
    assert "Phase 3" in drawn(live(new, SCREEN))


def test_plain_lines_come_every_few_seconds_and_at_the_end() -> None:
    lines: list[str] = []
    with PlainView(lines.append) as view:
        for second in range(12):
            view.show(replace(STATUS, elapsed_seconds=float(second), advice=None))
        view.show(replace(STATUS, elapsed_seconds=12.5, advice=None, over=True))
    assert [line.split()[1] for line in lines] == ["0.0", "5.0", "10.0", "12.5"]


@pytest.mark.parametrize("failed", [False, True], ids=["answered", "all failed"])
def test_the_comparison_has_every_way_side_by_side_in_an_old_terminal(failed: bool) -> None:
    def outcome(ttft: float) -> PhaseRecord:
        failure = "status 503" if failed else None
        return PhaseRecord((Outcome(0, 0.0, 1.0, 200, "a", ttft, 0.02, 100, 50, 10, failure),))

    report = DemoReport(1, {}, {}, {}, outcome(2.0), outcome(1.0), outcome(0.5))
    lines = drawn(comparison(report), 80).splitlines()
    row = next(line for line in lines if "first token p90" in line)
    if failed:
        assert row.split()[3:6] == ["unknown"] * 3
    else:
        assert re.split(r"\s{2,}", row.strip()) == [
            "first token p90", "2.00 s", "1.00 s", "500 ms", "4.0 × faster", "2.0 × faster",
        ]  # fmt: skip
    assert max(map(len, lines)) <= 80
