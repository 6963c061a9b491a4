"""The reference's ext_proc cases against a running infscale: scraped pages, discovered objects, real gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import grpc.aio
import pytest
from aiohttp import web

from infscale.serving.composition import serving
from picker.proto import ext_proc_pb2 as pb
from tests.e2e.reference.reference_pool import configuration, on_loopback, page_of, scraped
from tests.picker.transport.gateway import Stream, open_stream
from tests.picker.vector_checks import CHECKS, PLAYED, check_metrics, messages
from tests.picker.vector_pool import Case


@contextlib.asynccontextmanager
async def metrics_page(pod: Case, port: int = 0) -> AsyncGenerator[int, None]:
    """The metrics page of `pod` at its address and `port` (0: a free one); the port it is on."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=page_of(pod))

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, pod["ip"], port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def answers(stream: Stream, case: Case) -> list[pb.ProcessingResponse]:
    """Everything the picker answers to the case's messages until it has nothing more to say."""
    for message in messages(case["request"]):
        await stream.write(message.SerializeToString())
    await stream.done_writing()
    return [pb.ProcessingResponse.FromString(data) async for data in stream]


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
@pytest.mark.parametrize("case", PLAYED, ids=[case["name"] for case in PLAYED])
async def test_a_running_picker_answers_as_the_reference(tmp_path: Path, case: Case, transport: str) -> None:
    case = on_loopback(case)
    async with contextlib.AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(metrics_page(pod)) for pod in case["pods"]]
        config = await asyncio.to_thread(configuration, tmp_path, case, ports, transport)
        running = await stack.enter_async_context(serving(config))
        assert running.transport is not None
        await scraped(running, len(case["pods"]))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{running.transport.port}")
        found = await answers(open_stream(await stack.enter_async_context(channel)), case)
        CHECKS[case["expect"]["kind"]](found, case["expect"])
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.get(f"{running.telemetry.url}/metrics") as response:
            check_metrics(await response.text(), case)
