"""``infscale demo --scenario``: the contenders of a scenario played one after the other, and what is written of it."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from infscale.demo.scenarios.scenario_load import sent, virtual_requests
from infscale.demo.scenarios.scenario_plan import DEMO_PLANS, ScenarioPlan
from infscale.documents.suggestions import did_you_mean
from infscale.errors import ConfigError, StartError
from infscale.sim.load.load_requests import encode_requests
from infscale.sim.load.virtual_request import VirtualRequest

if TYPE_CHECKING:
    from rich.console import Console

    from infscale.demo.phase import View
    from infscale.demo.scenario_phase import ScenarioRecord
    from infscale.demo.scenario_report import ScenarioReport


def demo_plan(name: str) -> ScenarioPlan:
    """The scenario that is asked for. Raises `ConfigError`."""
    make = DEMO_PLANS.get(name)
    if make is None:
        known = [*DEMO_PLANS]
        raise ConfigError("", "--scenario", f"expected one of {', '.join(known)}{did_you_mean(name, known)}")
    return make(1.0)


async def scenario_demo(
    plan: ScenarioPlan, seed: int, versions: Mapping[str, str], path: Path, console: "Console", *, plain: bool
) -> int:
    """Play, show and write; needs rich and matplotlib. Raises `InfscaleError`."""
    from infscale.demo.scenario_report import ScenarioReport
    from infscale.demo.scenario_view import scenario_table
    from infscale.demo.view import LiveView, PlainView

    requests = await asyncio.to_thread(virtual_requests, plan, seed)
    what = f"{plan.name}: {plan.about}: {len(requests)} requests, {plan.servers} × {plan.coefficients} at first"
    console.print(what, highlight=False)
    view = PlainView(partial(print, flush=True)) if plain or not console.is_terminal else LiveView(console)
    with view:
        records = await _play(plan, seed, requests, view)
    report = ScenarioReport(plan, seed, versions, requests, records)
    console.print(scenario_table(report))
    for line in report.remarks():
        console.print(line, highlight=False, soft_wrap=True)
    plot_path = await asyncio.to_thread(_write, report, path)
    console.print(f"plot    {plot_path}", f"report  {path}", sep="\n", highlight=False, soft_wrap=True)
    return 0


async def _play(
    plan: ScenarioPlan, seed: int, requests: Sequence[VirtualRequest], view: "View"
) -> "dict[str, ScenarioRecord]":
    from infscale.demo.phase import Phase
    from infscale.demo.scenario_phase import ScenarioPhase, run_contender

    records: dict[str, ScenarioRecord] = {}
    load = sent(requests)
    with tempfile.TemporaryDirectory(prefix="infscale-demo-") as name:
        root = Path(name)
        file = root / "requests.jsonl"
        await asyncio.to_thread(file.write_bytes, encode_requests(load))
        for number, contender in enumerate(plan.contenders, 1):
            folder = root / f"{number}"
            await asyncio.to_thread(folder.mkdir)
            # The picker chooses in each: only the configuration differs.
            phase = Phase(contender.name, contender.about, number, "infscale", len(plan.contenders))
            played = ScenarioPhase(plan, contender, phase, load, file, seed)
            records[contender.name] = await run_contender(played, folder, view)
    return records


def _write(report: "ScenarioReport", path: Path) -> Path:
    """Write report and plot; returns where the plot is."""
    from infscale.demo.scenario_plot import plot_scenario

    plot_path = path.with_suffix(".png")
    try:
        path.write_bytes(orjson.dumps(report.document(), option=orjson.OPT_INDENT_2) + b"\n")
        plot_scenario(report, plot_path)
    except OSError as error:
        raise StartError(f"cannot write {error.filename or path}: {error.strerror or error}") from None
    return plot_path
