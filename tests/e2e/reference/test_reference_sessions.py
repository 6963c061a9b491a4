"""The reference's cases of session affinity against a running infscale, over both transports."""

import asyncio
import contextlib
from pathlib import Path

import grpc.aio
import pytest

from infscale.serving.composition import serving
from tests.e2e.reference.reference_pool import configuration, on_loopback, scraped
from tests.e2e.reference.test_reference_cases import answers, metrics_page
from tests.picker.session_cases import SESSIONS, steps, told
from tests.picker.transport.gateway import open_stream
from tests.picker.vector_pool import Case


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
@pytest.mark.parametrize("case", SESSIONS.values(), ids=[case["name"] for case in SESSIONS.values()])
async def test_sessions_stay_as_the_reference_s_do(tmp_path: Path, case: Case, transport: str) -> None:
    case = on_loopback(case)
    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(metrics_page(pod)) for pod in case["pods"]]
        config = await asyncio.to_thread(configuration, tmp_path, case, ports, transport)
        running = await stack.enter_async_context(serving(config))
        assert running.transport is not None
        await scraped(running, len(case["pods"]))
        target = f"127.0.0.1:{running.transport.port}"
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(target))
        asking = steps(case)
        request = next(asking)
        with contextlib.suppress(StopIteration):
            while True:
                request = asking.send(told(await answers(open_stream(channel), {"request": request})))
