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


def prefill(running: Gateway) -> list[float]:
    """Seconds a prompt token is known to take, by server."""
    found: list[float] = cells(running.snapshot.columns.by_model, None, PREFILL, len(running.snapshot)).tolist()
    return found


async def test_what_must_be_quick_goes_to_who_is_quick_and_the_rest_leaves_him_free(tmp_path: Path) -> None:
    (tmp_path / "epp.yaml").write_text(CONFIG)
    # 20 µs a prompt token, and a quarter of that.
    computing = replace(QUICK, steps=replace(QUICK.steps, per_prefill_token=2e-5))
    quick = quick_settings("quick-0", {"speed": 4.0}, coefficients=computing)
    slow = quick_settings("slow-0", coefficients=computing)
    trusted = ["x-llm-d-slo-ttft-ms"]
    async with gateway(tmp_path, [quick, slow], config_file="epp.yaml", trusted_headers=trusted) as running:
        servers = [f"http://127.0.0.1:{server.port}" for server in running.fleet.servers]
        for number in range(4):
            await asyncio.gather(*(ask(running, url, number) for url in servers))
        while np.isnan(prefill(running)).any():
            await asyncio.sleep(0.05)
        fast, sluggish = prefill(running)
        assert sluggish > 2 * fast
        # A word is five bytes, and the picker takes four bytes for a token.
        between = 1e3 * WORDS * 5 / 4 * (fast + sluggish) / 2
        chosen: dict[str, Counter[str]] = {"tight": Counter(), "loose": Counter()}
        for number in range(8):
            chosen["tight"][await ask(running, running.url, 100 + number, f"{between:.1f}")] += 1
            chosen["loose"][await ask(running, running.url, 200 + number, "60000")] += 1
        assert chosen == {"tight": {"quick-0": 8}, "loose": {"slow-0": 8}}
