"""Prefill and decode behind a real Envoy: what the decoding server's sidecar reads is the picker's word alone."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute, bootstrap
from infscale.envoy.process import running_document
from infscale.serving.composition import serving
from tests.e2e.gateway import POOL, serve_config

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

PREFILL, ENCODE = "x-prefiller-host-port", "x-encoder-hosts-ports"
EPP = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 200}}
- {type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}
- {type: session-affinity-filter, name: stay-prefill, parameters: {profileName: prefill}}
schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: stay-prefill}]}
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: queue-scorer}]}
"""
PAGE = """\
vllm:num_requests_waiting{model_name="m"} 0
vllm:num_requests_running{model_name="m"} 0
vllm:kv_cache_usage_perc{model_name="m"} 0
"""
FORGED = {PREFILL: "10.6.6.6:1", ENCODE: "10.6.6.6:2,10.6.6.6:3"}


@contextlib.asynccontextmanager
async def engines(count: int) -> AsyncGenerator[list[int]]:
    """Servers that answer with what they were told in headers; yields their ports."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/metrics":
            return web.Response(text=PAGE)
        assert request.transport is not None
        told = {name: request.headers.getall(name) for name in (PREFILL, ENCODE) if name in request.headers}
        return web.json_response({"port": request.transport.get_extra_info("sockname")[1], "told": told})

    async with contextlib.AsyncExitStack() as stack:
        ports = []
        for _ in range(count):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", answer)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            ports.append(runner.addresses[0][1])
        yield ports


def discovery(ports: list[int], roles: tuple[str, ...]) -> dict[str, Any]:
    return {
        "endpoints": [
            {"name": f"server-{number}", "address": "127.0.0.1", "port": port, "labels": {"llm-d.ai/role": role}}
            for number, (port, role) in enumerate(zip(ports, roles, strict=True))
        ]
    }


def without_stripping(document: Any) -> Any:
    """The bootstrap document of a gateway that removes nothing from what clients send."""
    for listener in document["static_resources"]["listeners"]:
        del listener["filter_chains"][0]["filters"][0]["typed_config"]["early_header_mutation_extensions"]
    return document


@pytest.mark.parametrize("strips", [True, False], ids=["gateway strips", "gateway passes all"])
@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_the_sidecar_hears_of_the_prefill_from_the_picker_alone(
    tmp_path: Path, transport: str, strips: bool
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ports = await stack.enter_async_context(engines(4))
        (tmp_path / "epp.yaml").write_text(EPP)
        listen, epp, admin = (Address("127.0.0.1", port) for port in free_ports(3))
        found = discovery(ports, ("prefill", "prefill", "decode", "decode"))
        config = await asyncio.to_thread(
            serve_config, tmp_path, found, config_file="epp.yaml", listen=str(epp), transport=transport
        )
        known = tuple(Address("127.0.0.1", port) for port in ports)
        document: Any = yaml.safe_load(yaml.safe_dump(bootstrap(admin, [PickerRoute(listen, epp, known)])))
        await stack.enter_async_context(running_document(admin, document if strips else without_stripping(document)))
        running = await stack.enter_async_context(serving(config))
        loop = asyncio.get_running_loop()
        while (pool := running.store.snapshot(POOL)) is None or int(pool.eligible(loop.time()).sum()) < len(ports):
            await asyncio.sleep(0.02)
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def ask(prompt: str, **headers: str) -> tuple[dict[str, Any], str | None]:
            body = {"model": "m", "prompt": prompt, "max_tokens": 2}
            given = {**FORGED, **headers}
            async with session.post(f"http://{listen}/v1/completions", json=body, headers=given) as response:
                assert response.status == 200
                return await response.json(), response.headers.get("x-session-token")

        rng = random.Random(3)
        prefilled: set[str] = set()
        for _ in range(12):
            answer, token = await ask(rng.randbytes(1000).hex())
            assert answer["port"] in ports[2:]
            assert token is not None
            (place,) = answer["told"].pop(PREFILL)
            assert answer["told"] == {}
            prefilled.add(place)
        assert prefilled == {f"127.0.0.1:{port}" for port in ports[:2]}
        short, token = await ask("hello")
        assert (short["port"] in ports[2:], short["told"], token) == (True, {}, None)
        async with session.get(f"http://{listen}/v1/models", headers=FORGED) as response:
            assert (await response.json())["told"] == {}
        # What was charged for prefills is released with the answers.
        while (pool := running.store.snapshot(POOL)) is None or pool.in_flight_requests.sum():
            await asyncio.sleep(0.02)
