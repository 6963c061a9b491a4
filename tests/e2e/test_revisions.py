"""A decision names its revision: to Envoy as dynamic metadata, to people at `/debug/picks`."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute, bootstrap
from infscale.envoy.process import running_document
from infscale.serving.composition import serving
from infscale.sim.http.simulated_servers import SimFleet
from tests.e2e.gateway import Gateway, serve_config
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]


def telling(document: Any) -> Any:
    """The document with the metadata that the picker gave as a header of the answer."""
    for listener in document["static_resources"]["listeners"]:
        (host,) = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        host["response_headers_to_add"] = [
            {"header": {"key": "x-revision", "value": "%DYNAMIC_METADATA(infscale:revision)%"}},
            {
                "header": {
                    "key": "x-destination",
                    "value": "%DYNAMIC_METADATA(envoy.lb:x-gateway-destination-endpoint)%",
                }
            },
        ]
    return document


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_envoy_and_debug_picks_name_the_revision_of_a_decision(tmp_path: Path, transport: str) -> None:
    async with SimFleet([quick_settings("a"), quick_settings("b")], random.Random(7), lambda: 1.8e9) as fleet:
        found = fleet.discovery_document()
        config = await asyncio.to_thread(serve_config, tmp_path, found, transport=transport, emit_endpoint_scores=True)
        async with serving(config) as running:
            assert running.transport is not None
            listen, admin = (Address("127.0.0.1", port) for port in free_ports(2))
            endpoints = tuple(Address("127.0.0.1", server.port) for server in fleet.servers)
            route = PickerRoute(listen, Address("127.0.0.1", running.transport.port), endpoints, False)
            async with (
                running_document(admin, telling(bootstrap(admin, [route]))),
                aiohttp.ClientSession() as session,
            ):
                await Gateway(fleet, running, session, f"http://{listen}").until_eligible(2)
                body = {"model": MODEL, "prompt": "a secret", "max_tokens": 2}
                async with session.post(f"http://{listen}/v1/completions", json=body) as answer:
                    assert answer.status == 200
                    told = answer.headers["x-revision"]
                    destination = answer.headers["x-destination"]
                async with session.get(f"{running.telemetry.url}/debug/picks") as answer:
                    page = await answer.text()
                async with session.get(f"{running.telemetry.url}/debug/nothing") as answer:
                    assert (answer.status, await answer.text()) == (
                        404,
                        "there is /debug/snapshot, /debug/picks, /debug/triggers, /debug/rollouts",
                    )
    (pick,) = json.loads(page)["picks"]
    assert pick["revision"] == told
    assert told.startswith(running.store.snapshots()[0].revision.rpartition(".")[0])
    assert ",".join(each["authority"] for each in pick["destinations"]) == destination
    assert len(pick["scores"]) == 2
    assert pick["decision_seconds"] > 0
    assert "secret" not in page
