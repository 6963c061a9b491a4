"""What clients of a real Envoy Gateway see while the picker is down, or says nothing."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from picker.transport.interface import EXT_PROC_SERVICE
from tests.gateway.stages import Client, Stage, stage

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

IDLE_SECONDS = 2
AT_ONCE_SECONDS = 3.0
LATE_SECONDS = 2.0
BACK_SECONDS = 15.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def example(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage, None]:
    """The example with a shorter `streamIdleTimeout`."""
    async with stage(tmp_path_factory.mktemp("example"), idle=f"{IDLE_SECONDS}s") as made:
        yield made


async def until_answered(client: Client) -> None:
    """Ask until a server answers; every refusal on the way is the clear one."""
    async with asyncio.timeout(BACK_SECONDS):
        while (answer := await client.ask("hello")).status != 200:
            assert answer.status == 503
            await asyncio.sleep(0.1)


async def test_without_a_picker_clients_get_503_at_once_and_with_it_back_answers(
    example: Stage, tmp_path: Path
) -> None:
    for _ in range(2):
        async with asyncio.timeout(AT_ONCE_SECONDS):
            answer = await example.client.ask("hello")
        assert (answer.status, answer.server) == (503, "")
        async with example.picker(tmp_path):
            await until_answered(example.client)


@contextlib.asynccontextmanager
async def no_http(port: int) -> AsyncGenerator[None, None]:
    """Takes connections and says nothing on them."""

    taken: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass

    async with await asyncio.start_server(hold, "127.0.0.1", port):
        yield
        # As those of a process that ends.
        for writer in taken:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def no_answers(port: int) -> AsyncGenerator[None, None]:
    """Takes ext_proc streams and reads them, but answers nothing."""

    async def process(requests: AsyncIterator[bytes], _: Any) -> AsyncGenerator[bytes, None]:
        async for _ in requests:
            pass
        if False:
            yield b""

    server: Any = grpc.aio.server()
    handlers = {"Process": grpc.stream_stream_rpc_method_handler(process)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EXT_PROC_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.mark.parametrize("silent", [no_http, no_answers])
async def test_a_silent_picker_costs_a_client_the_idle_timeout_and_no_more(
    example: Stage, tmp_path: Path, silent: Callable[[int], AbstractAsyncContextManager[None]]
) -> None:
    loop = asyncio.get_running_loop()
    async with silent(example.here.picker):
        started = loop.time()
        async with asyncio.timeout(IDLE_SECONDS + LATE_SECONDS):
            answer = await example.client.ask("hello")
        assert (answer.status, answer.server) == (504, "")
        assert loop.time() - started > IDLE_SECONDS / 2, "it waited for the picker"
    async with example.picker(tmp_path):
        await until_answered(example.client)
