"""The bill through a real Envoy, against what simulated engines say of their own steps."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from infscale.cli.main import main
from infscale.latency.step_model import StepModel
from infscale.sim.http.simulated_servers import SimServerSettings
from tests.e2e.gateway import Gateway, gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

TENANT = "x-llm-d-inference-fairness-id"
OFF = 0.05
"""How far the bill may be off."""
SECONDS = 6.0


def servers(count: int, blocks: int = 4_096) -> list[SimServerSettings]:
    """Servers whose steps take 80 ms and more: timers of a busy machine are late by one or two in each."""
    slow = replace(QUICK, steps=StepModel(0.08, 1e-4, 2e-8, 1e-3), num_blocks=blocks)
    return [quick_settings(f"sim-{number}", {"num_blocks": blocks}, coefficients=slow) for number in range(count)]


def worked(running: Gateway) -> float:
    """How long the steps of all engines took."""
    return sum(rank.recorder.busy_seconds for server in running.fleet.servers for rank in server.replica.ranks)


async def metrics(running: Gateway) -> dict[str, float]:
    """The series of the bill."""
    async with running.session.get(f"{running.serving.telemetry.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("infscale_bill_"))
    return {name: float(value) for name, value in pairs}


def of(series: Mapping[str, float], name: str, *labels: str) -> float:
    """The sum of the series of that name with these labels."""
    return sum(
        value
        for each, value in series.items()
        if each.partition("{")[0] == name and all(label in each for label in labels)
    )


async def ask(running: Gateway, tenant: str, words: int, tokens: int, number: int) -> int:
    body = {"model": MODEL, "prompt": f"{tenant} {number} " + "word " * words, "max_tokens": tokens}
    async with running.session.post(f"{running.url}/v1/completions", json=body, headers={TENANT: tenant}) as response:
        await response.read()
        return response.status


async def keeps_asking(running: Gateway, tenant: str, words: int, tokens: int, until: float) -> None:
    number = 0
    while time.monotonic() < until:
        number += 1
        assert await ask(running, tenant, words, tokens, number) == 200


def adds_up(series: Mapping[str, float]) -> float:
    """The pool's GPU-seconds, once it is checked that their parts add up to them."""
    pool = of(series, "infscale_bill_pool_gpu_seconds_total")
    parts = ("gpu_seconds_total", "idle_gpu_seconds_total", "recomputed_gpu_seconds_total", "running_gpu_seconds")
    assert sum(of(series, f"infscale_bill_{name}") for name in parts) == pytest.approx(pool, abs=1e-6)
    return pool


@pytest.mark.parametrize("given", [{}, {"flow_control": {"enabled": False}}, {"preset": "reference"}], ids=str)
async def test_it_says_how_long_engines_worked_and_for_which_tenant(
    tmp_path: Path, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Equal tenants have equal shares, one that asks twice as much two of three; what is idle is idle."""
    async with gateway(tmp_path, servers(1), trusted_headers=[TENANT], **given) as running:
        began, busy = await metrics(running), worked(running)
        until = time.monotonic() + SECONDS
        loads = [keeps_asking(running, "double", 300, 12, until) for _ in range(4)]
        loads += [keeps_asking(running, "single", 300, 12, until) for _ in range(2)]
        await asyncio.gather(*loads)
        await asyncio.sleep(2.0)
        series = await metrics(running)
        engines = worked(running) - busy
        pool = adds_up(series) - adds_up(began)
        idle = of(series, "infscale_bill_idle_gpu_seconds_total") - of(began, "infscale_bill_idle_gpu_seconds_total")
        assert pool - idle == pytest.approx(engines, rel=OFF)
        used = {
            name: of(series, "infscale_bill_gpu_seconds_total", f'tenant="{name}"') for name in ("double", "single")
        }
        assert sum(used.values()) == pytest.approx(engines, rel=OFF)
        assert used["double"] / sum(used.values()) == pytest.approx(2 / 3, abs=OFF)
        address = ["--address", running.serving.telemetry.url]
        assert await asyncio.to_thread(main, ["bill", "--since", "5m", "--json", "--price", "3.6", *address]) == 0
        (found,) = orjson.loads(capsys.readouterr().out)["data"]
        assert found["double"]["gpuHours"] * 3600 == pytest.approx(used["double"], rel=1e-6)
        assert found["double"]["gpuCost"] == pytest.approx(used["double"] * 1e-3, rel=1e-6)
        assert await asyncio.to_thread(main, ["bill", *address]) == 0
        table = capsys.readouterr().out
        assert "double" in table
        assert "together" in table


@pytest.mark.parametrize("over", ["yield", "wait"])
async def test_a_tenant_over_its_budget_waits_and_is_answered(tmp_path: Path, over: str) -> None:
    """It asks for all of a server, and may have a fifth: bound to that it has no more, else what no other wants."""
    flow_control = {"enabled": True, "budgets": {"greedy": "20%"}, "over_budget": over}
    async with gateway(tmp_path, servers(1), trusted_headers=[TENANT], flow_control=flow_control) as running:
        # What it has saved up is ten seconds of its budget, two of the server.
        began = time.monotonic()
        until = began + SECONDS
        loads = [keeps_asking(running, "greedy", 300, 3, until) for _ in range(6)]
        await asyncio.gather(*loads)
        took = time.monotonic() - began
        series = await metrics(running)
        pool = adds_up(series)
        had = of(series, "infscale_bill_gpu_seconds_total", 'tenant="greedy"')
        most = 0.2 * (took + 10.0)
        if over == "wait":
            # The last of six may be let go together before any of them is charged more than was expected.
            assert had < most + 0.2 * took
            assert had > 0.5 * most
        else:
            assert had > 0.8 * took > most
        assert pool > had
