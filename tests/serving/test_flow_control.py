"""Requests wait as the file says, from the gateway's stream to the page of metrics."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import yaml
from aiohttp import ClientSession

from infscale.config.read import load_config
from infscale.errors import ConfigError
from infscale.serving.composition import Serving, serving
from infscale.serving.scheduling import check_change
from picker.epp_config.loader import load_picker_config
from tests.picker.transport import gateway
from tests.sim.simulated import CHAT, quick_settings
from tests.sim.simulated import running as running_servers

WAITING = """
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
featureGates: [GATE]
plugins:
- {type: concurrency-detector, parameters: {maxConcurrency: 1}}
- type: queue-scorer
flowControl: {maxRequests: 1, saturationDetector: {pluginRef: concurrency-detector}}
"""
ON = WAITING.replace("GATE", "flowControl")


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncGenerator[tuple[Serving, grpc.aio.Channel]]:
    """One server behind a picker whose requests wait."""
    async with running_servers(quick_settings()) as (fleet, _):
        server = {"name": "a-0", "address": "127.0.0.1", "port": fleet.servers[0].port, "labels": {"app": "a"}}
        (folder / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": [server]}))
        (folder / "epp.yaml").write_text(ON)
        document = {
            "discovery": {"file": "discovery.yaml", "poll_interval_seconds": 0.02},
            "picker": {"listen": "127.0.0.1:0", "config_file": "epp.yaml"},
            "telemetry": {"listen": "127.0.0.1:0", "reference_names": True},
        }
        (folder / "serve.yaml").write_text(yaml.safe_dump(document))
        config = await asyncio.to_thread(load_config, folder / "serve.yaml")
        async with serving(config, {"picker"}) as running:
            assert running.transport is not None
            async with grpc.aio.insecure_channel(f"127.0.0.1:{running.transport.port}") as channel:
                async with asyncio.timeout(10):
                    while not running.store.snapshots() or not len(
                        running.store.snapshots()[0].candidates(time.monotonic())
                    ):
                        await asyncio.sleep(0.02)
                yield running, channel


async def ask(channel: grpc.aio.Channel) -> Any:
    """A stream with one request."""
    stream = gateway.open_stream(channel)
    await stream.write(gateway.headers((":path", "/v1/chat/completions"), ("content-type", "application/json")))
    await stream.write(gateway.body(json.dumps(CHAT).encode()))
    return stream


async def page(running: Serving) -> str:
    async with ClientSession() as session, session.get(f"{running.telemetry.url}/metrics") as response:
        return await response.text()


async def test_a_request_waits_for_another_to_end_and_a_third_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as (running, channel), asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        first = await ask(channel)
        assert (await gateway.answer(first)).HasField("request_headers")
        second = await ask(channel)
        answer = tasks.create_task(gateway.answer(second))
        await asyncio.sleep(0.3)
        assert not answer.done()
        third = await ask(channel)
        assert (await gateway.answer(third)).immediate_response.status.code == 429
        told = await page(running)
        assert "llm_d_epp_flow_control_queue_size{" in told
        ended = 'inference_pool="default/default",outcome="RejectedCapacity",priority="0"'
        assert f"llm_d_epp_flow_control_requests_total{{{ended}}} 1.0" in told
        first.cancel()
        assert (await answer).HasField("request_headers")
        second.cancel()


@pytest.mark.parametrize(
    ("before", "after"), [("flowControl", "flowControl=false"), ("flowControl=false", "flowControl")]
)
def test_whether_requests_wait_needs_a_restart(before: str, after: str) -> None:
    old, new, same = (load_picker_config(WAITING.replace("GATE", each), "epp.yaml") for each in (before, after, before))
    check_change(old, same, Path("epp.yaml"))
    with pytest.raises(ConfigError, match=r"epp\.yaml: featureGates: .*while running.*; restart"):
        check_change(old, new, Path("epp.yaml"))
