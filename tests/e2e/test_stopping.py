"""SIGTERM while gateways hold connections on which nothing goes on: the process ends at once beside its notice."""

import asyncio
import contextlib
from pathlib import Path

import pytest
import yaml

from infscale.demo.child_processes import free_ports
from picker.transport.h2 import frames
from tests.e2e.programs import program
from tests.hostile.raw import connected

NOTICE_SECONDS = 0.5
BOUND_SECONDS = 3.0
"""Beside the notice, on a slow machine; what waits for idle connections takes twenty."""


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_idle_connections_of_gateways_delay_no_end(tmp_path: Path, transport: str) -> None:
    port, telemetry = free_ports(2)
    document = {
        "discovery": {"file": "discovery.yaml"},
        "picker": {
            "listen": f"127.0.0.1:{port}",
            "transport": transport,
            "drain_notice_seconds": NOTICE_SECONDS,
        },
        "adapter": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
    }
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "discovery.yaml").write_text("endpoints: []")
    loop = asyncio.get_running_loop()
    async with program(tmp_path / "serve.log", "serve", "--config", str(tmp_path / "serve.yaml")) as serve:
        await serve.until_it_says("serving")
        async with contextlib.AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(connected(port)) for _ in range(5)]
            for peer in idle:
                await peer.hear(frames.SETTINGS_ACK)
            asked = loop.time()
            serve.stop()
            # None of them leaves when it is told to.
            assert await serve.process.wait() == 0
            assert NOTICE_SECONDS <= loop.time() - asked < NOTICE_SECONDS + BOUND_SECONDS
            for peer in idle:
                assert (await peer.hear(seconds=1)).goaway is not None
