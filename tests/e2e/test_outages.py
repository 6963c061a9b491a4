"""What clients of a real Envoy see while the picker is down, and connections that stop being HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.serving.composition import Serving, serving
from tests.e2e.gateway import POOL, serve_config

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

PAGE = 'vllm:num_requests_waiting{model_name="m"} 0\nvllm:kv_cache_usage_perc{model_name="m"} 0.1\n'


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text=PAGE)


async def _complete(request: web.Request) -> web.Response:
    return web.json_response(await request.json())


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"echo {message.data}")
    return socket


@contextlib.asynccontextmanager
async def server() -> AsyncGenerator[int, None]:
    """A model server with completions and a WebSocket; its port."""
    app = web.Application()
    app.router.add_get("/metrics", _page)
    app.router.add_get("/v1/realtime", _echo)
    app.router.add_get("/v1/models", _page)
    app.router.add_post("/v1/completions", _complete)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def picker(folder: Path, server_port: int, port: int) -> AsyncGenerator[Serving, None]:
    """infscale on `port` in front of one server, once it may be picked."""
    endpoint = {"name": "s", "address": "127.0.0.1", "port": server_port}
    config = await asyncio.to_thread(serve_config, folder, {"endpoints": [endpoint]}, listen=f"127.0.0.1:{port}")
    async with serving(config) as running:
        while (snapshot := running.store.snapshot(POOL)) is None or not snapshot.eligible(
            asyncio.get_running_loop().time()
        ).any():
            await asyncio.sleep(0.02)
        yield running


@contextlib.asynccontextmanager
async def envoy(server_port: int, picker_port: int) -> AsyncGenerator[str, None]:
    """Envoy in front of both; its URL."""
    listen, admin = (Address("127.0.0.1", port) for port in free_ports(2))
    route = PickerRoute(listen, Address("127.0.0.1", picker_port), (Address("127.0.0.1", server_port),))
    async with running_envoy(admin, [route]):
        yield f"http://{listen}"


async def statuses(session: aiohttp.ClientSession, url: str) -> tuple[int, int]:
    """How a POST and a GET are answered."""
    body = {"model": "m", "prompt": "x"}
    async with session.post(f"{url}/v1/completions", json=body) as posted, session.get(f"{url}/v1/models") as got:
        return posted.status, got.status


async def test_without_a_picker_requests_fail_and_with_it_back_they_pass(tmp_path: Path) -> None:
    async with server() as server_port, aiohttp.ClientSession() as session:
        (picker_port,) = free_ports(1)
        async with envoy(server_port, picker_port) as url:
            async with picker(tmp_path, server_port, picker_port):
                assert await statuses(session, url) == (200, 200)
            posted, got = await statuses(session, url)
            assert min(posted, got) >= 500
            async with picker(tmp_path, server_port, picker_port), asyncio.timeout(15):
                while await statuses(session, url) != (200, 200):
                    await asyncio.sleep(0.1)


async def test_a_websocket_passes_in_both_directions(tmp_path: Path) -> None:
    async with server() as server_port, aiohttp.ClientSession() as session:
        (picker_port,) = free_ports(1)
        async with (
            envoy(server_port, picker_port) as url,
            picker(tmp_path, server_port, picker_port) as running,
        ):
            async with session.ws_connect(f"{url}/v1/realtime") as socket:
                for word in ("one", "two"):
                    await socket.send_str(word)
                    assert await socket.receive_str(timeout=5) == f"echo {word}"
            director = running.directors.director(POOL)
            assert director is not None
            async with asyncio.timeout(5):
                while sum(director.stats.outcomes.values()) < 1:
                    await asyncio.sleep(0.02)
