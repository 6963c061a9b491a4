"""From a request that finds no endpoint and may not wait, through a real Envoy, to KEDA's activation and an answer.

Requests that wait are in tests/e2e/picking/test_empty_pools.py.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import yaml

from tests.e2e.gateway import gateway
from tests.keda.keda_client import Keda, channel
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

TRIGGERS: dict[str, dict[str, str]] = {
    "slo": {"slo": "ttft_p90=1s", "pool": "default"},
    "metric": {"metric": "waiting_requests", "pool": "default", "target": "4"},
}


async def test_a_request_for_an_empty_pool_activates_within_100_milliseconds(tmp_path: Path) -> None:
    good = {"model": MODEL, "prompt": "x", "max_tokens": 1}
    async with gateway(tmp_path, [quick_settings("a")], flow_control={"enabled": False}) as running:
        assert running.serving.scaler is not None
        discovery = tmp_path / "discovery.yaml"
        found = discovery.read_text()
        async with channel(running.serving.scaler.server.port) as opened:
            asking = {name: Keda(opened, each, namespace="default") for name, each in TRIGGERS.items()}
            # An endpoint without load, then none.
            await until_idle(asking["slo"])
            discovery.write_text(yaml.safe_dump({"endpoints": []}))
            while len(running.snapshot):
                await asyncio.sleep(0.02)
            streams = [each.stream_active() for each in asking.values()]
            assert [await told(each) for each in streams] == [False, False]
            assert [await each.value() for each in asking.values()] == [0.0, 0.0]
            started = time.perf_counter()
            refusing = asyncio.gather(refused(running.session, running.url, good), *map(told, streams))
            status, *states = await refusing
            taken = time.perf_counter() - started
            print(f"\nfrom the request to the push, through Envoy: {taken * 1000:.0f} ms")
            assert (status, states) == (503, [True, True])
            assert taken < 0.1
            assert [await each.is_active() for each in asking.values()] == [True, True]
            assert await asking["slo"].value() == 1.0
            with pytest.raises(grpc.aio.AioRpcError, match="no ready endpoint"):
                await asking["metric"].value()
            # The pod is there: requests are answered, and what is published is known again.
            discovery.write_text(found)
            await running.until_eligible(1)
            async with running.session.post(f"{running.url}/v1/completions", json=good) as answer:
                assert answer.status == 200
            assert await asking["metric"].value() == 0.0
            assert await asking["slo"].value() <= 1.0


async def until_idle(keda: Keda) -> None:
    """Wait until the scaler has seen that there is no load."""
    async with asyncio.timeout(10):
        while await keda.is_active():
            await asyncio.sleep(0.02)


async def told(stream: Any) -> bool:
    async with asyncio.timeout(5):
        return bool((await stream.read()).result)


async def refused(session: Any, url: str, request: Mapping[str, object]) -> int:
    async with session.post(f"{url}/v1/completions", json=request) as answer:
        return int(answer.status)
