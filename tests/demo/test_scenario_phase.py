"""A scenario through a real Envoy, seconds long: servers come and go, all is answered, and what is said of it."""

import asyncio
from dataclasses import replace
from io import StringIO
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from infscale.demo.phase import Phase, PhaseStatus
from infscale.demo.scenario_phase import ScenarioPhase, ScenarioRecord, run_contender
from infscale.demo.scenario_plot import plot_scenario
from infscale.demo.scenario_report import ScenarioReport
from infscale.demo.scenario_view import scenario_table
from infscale.demo.scenarios.contenders import OURS, contenders
from infscale.demo.scenarios.scenario_load import sent, virtual_requests
from infscale.demo.scenarios.scenario_plan import ScenarioPlan, Step, ZeroScaling, sessions
from infscale.sim.load.load_requests import encode_requests


class Seen:
    """A view that keeps the last status."""

    def __init__(self) -> None:
        self.last: PhaseStatus | None = None

    def starting(self, phase: Phase, what: str) -> None:
        del phase, what

    def show(self, status: PhaseStatus) -> None:
        self.last = status


SHORT = replace(
    sessions(),
    workloads=("chats:rate=5,seconds=5,groups=3,turns=4,cv=1,system=200,output=10",),
    servers=2,
    start_seconds=0.2,
    steps=(Step(0.5, added=1), Step(2.0, oldest=1)),
    restart=(0.5, 5.0),
)
FROM_ZERO = replace(
    SHORT,
    servers=0,
    steps=(),
    contenders=contenders(cold_seconds=30.0),
    scaling=ZeroScaling(per_server=50, most=1, calm_seconds=20.0, start_seconds=0.5),
    wakes=(0.0,),
)


async def played(plan: ScenarioPlan, folder: Path) -> tuple[ScenarioReport, PhaseStatus]:
    virtual = virtual_requests(plan, 1)
    load = sent(virtual)
    file = folder / "requests.jsonl"
    await asyncio.to_thread(file.write_bytes, encode_requests(load))
    contender = next(each for each in plan.contenders if each.name == OURS)
    view = Seen()
    phase = ScenarioPhase(plan, contender, Phase(OURS, contender.about, 1, "infscale", 1), load, file, 1)
    record = await run_contender(phase, folder, view)
    assert view.last is not None
    return ScenarioReport(replace(plan, contenders=(contender,)), 1, {}, virtual, {OURS: record}), view.last


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.timeout(90)
@pytest.mark.parametrize("plan", [SHORT, FROM_ZERO], ids=["replaced", "from zero"])
async def test_all_is_answered_while_servers_come_and_go(plan: ScenarioPlan, tmp_path: Path) -> None:
    report, last = await played(plan, tmp_path)
    found = report.figures()[OURS]
    assert found.failures == {}
    assert found.answered == found.requests == last.answered == 25
    assert report.records[OURS].left == 0
    most = 1 if plan is FROM_ZERO else 3
    assert max(each.ready for each in report.records[OURS].servers) == most


def test_a_report_says_what_was_played_and_left(tmp_path: Path) -> None:
    """Without a real Envoy: nothing was answered."""
    record = ScenarioRecord((), (), 2.0)
    report = ScenarioReport(SHORT, 7, {"python": "3"}, (), {each.name: record for each in SHORT.contenders})
    document = orjson.loads(orjson.dumps(report.document()))
    assert document["seed"] == 7
    assert document["contenders"][OURS]["configuration"].startswith("apiVersion: llm-d.ai/v1\n")
    assert document["contenders"][OURS]["left_on_the_books"] == 2.0
    assert "infscale: 2 requests are on the picker's books at the end, none was expected" in report.remarks()
    console = Console(width=100, record=True, file=StringIO())
    console.print(scenario_table(report))
    assert "sessions that moved" in console.export_text()
    plot_scenario(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
