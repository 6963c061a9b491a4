"""Requests that say how long they may take, through a real Envoy to two servers of unlike speed."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infscale.metrics.windows.model_table import PREFILL, cells
from tests.e2e.gateway import Gateway, gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

CONFIG = """
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: predicted-latency-producer
- {type: slo-headroom-tier-filter, parameters: {epsilonExploreNeg: 0}}
- type: latency-scorer
"""
WORDS = 4_000


async def ask(running: Gateway, url: str, number: int, milliseconds: str = "") -> str:
    """Have a prompt of some thousand tokens computed that no server has cached; which one did it."""
    body = {"model": MODEL, "prompt": f"{number} " + "word " * WORDS, "max_tokens": 1}
    headers = {"x-llm-d-slo-ttft-ms": milliseconds} if milliseconds else {}
    async with running.session.post(f"{url}/v1/completions", json=body, headers=headers) as response:
        await response.read()
        assert response.status == 200
        return response.headers["x-inference-pod"]


def by_speed(running: Gateway) -> tuple[list[str], float]:
    """The servers, the quickest first by what is known of them, and milliseconds of a prompt between the two."""
    snapshot = running.snapshot
    seconds: list[float] = cells(snapshot.columns.by_model, None, PREFILL, len(snapshot)).tolist()
    ordered = sorted(zip(seconds, (each.key.pod.name for each in snapshot.state.endpoints), strict=True))
    # A word is five bytes, and the picker takes four bytes for a token.
    return [name for _, name in ordered], 1e3 * WORDS * 5 / 4 * sum(seconds) / 2


async def test_what_must_be_quick_goes_to_the_quick_server_and_the_rest_to_the_slow_one(tmp_path: Path) -> None:
    (tmp_path / "epp.yaml").write_text(CONFIG)
    # 20 µs a prompt token, and a quarter of that.
    computing = replace(QUICK, steps=replace(QUICK.steps, per_prefill_token=2e-5))
    quick = quick_settings("quick-0", {"speed": 4.0}, coefficients=computing)
    slow = quick_settings("slow-0", coefficients=computing)
    trusted = ["x-llm-d-slo-ttft-ms"]
    async with gateway(tmp_path, [quick, slow], config_file="epp.yaml", trusted_headers=trusted) as running:
        servers = [f"http://127.0.0.1:{server.port}" for server in running.fleet.servers]
        number = 0
        # Until it is known of both, and what the machine did beside does not hide it.
        while by_speed(running)[0] != ["quick-0", "slow-0"] or np.isnan(by_speed(running)[1]):
            await asyncio.gather(*(ask(running, url, number) for url in servers))
            number += 1
        told: Counter[str] = Counter()
        for number in range(100, 116, 2):
            for place, milliseconds in enumerate([f"{by_speed(running)[1]:.1f}", "60000"]):
                known = by_speed(running)[0]
                chosen = await ask(running, running.url, number + place, milliseconds)
                # A machine that stalls can make the quick server look slow for a while: then nothing is told.
                if by_speed(running)[0] == known == ["quick-0", "slow-0"]:
                    assert chosen == known[place]
                    told[chosen] += 1
        assert min(told["quick-0"], told["slow-0"]) > 4
