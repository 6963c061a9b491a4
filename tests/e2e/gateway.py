"""A whole infscale for tests: simulated servers, collector, picker and adapter, and a real Envoy in front."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from infscale.config.read import load_config
from infscale.config.settings import ServeConfig
from infscale.demo.child_processes import free_ports
from infscale.endpoint import ObjectKey
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.metrics.snapshot import PoolSnapshot
from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet, SimServerSettings

POOL = ObjectKey("default", "default")
STALENESS_LIMIT_SECONDS = 1.0
SCRAPE_INTERVAL_SECONDS = 0.2


def serve_config(
    folder: Path,
    discovery: Mapping[str, object],
    staleness_limit_seconds: float = STALENESS_LIMIT_SECONDS,
    /,
    **picker: object,
) -> ServeConfig:
    """A configuration on free ports that follows `discovery`, with an external scaler for KEDA."""
    (folder / "discovery.yaml").write_text(yaml.safe_dump(dict(discovery)))
    document = {
        "discovery": {"file": "discovery.yaml"},
        "scrape": {
            "interval_seconds": SCRAPE_INTERVAL_SECONDS,
            "timeout_seconds": 0.15,
            "staleness_limit_seconds": staleness_limit_seconds,
        },
        "picker": {"listen": "127.0.0.1:0", "destinations": 2, **picker},
        "adapter": {"listen": "127.0.0.1:0"},
        "keda": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": "127.0.0.1:0"},
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_config(path)


@dataclass(frozen=True, slots=True)
class Gateway:
    """What runs, and how to reach it."""

    fleet: SimFleet
    serving: Serving
    session: aiohttp.ClientSession
    url: str

    @property
    def snapshot(self) -> PoolSnapshot:
        """The pool as the store has it now."""
        snapshot = self.serving.store.snapshot(POOL)
        assert snapshot is not None
        return snapshot

    async def metric(self, path: str) -> tuple[int, dict[str, object]]:
        """Ask the adapter, verifying its certificate; status and document."""
        adapter = self.serving.adapter
        assert adapter is not None
        assert adapter.ca_pem is not None
        trust = ssl.create_default_context(cadata=adapter.ca_pem.decode())
        async with self.session.get(adapter.url + path, ssl=trust) as response:
            document: dict[str, object] = await response.json()
            return response.status, document

    async def until_eligible(self, count: int) -> None:
        """Wait until `count` endpoints may be picked; the test's timeout is the limit."""
        while int(self.snapshot.eligible(asyncio.get_running_loop().time()).sum()) < count:
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def gateway(
    folder: Path,
    servers: Sequence[SimServerSettings],
    *,
    response_bodies: bool = False,
    staleness_limit_seconds: float = STALENESS_LIMIT_SECONDS,
    **picker: object,
) -> AsyncGenerator[Gateway, None]:
    """Run everything; ends when every server was scraped."""
    async with SimFleet(servers, random.Random(7), lambda: 1.8e9) as fleet:
        found = fleet.discovery_document()
        config = await asyncio.to_thread(serve_config, folder, found, staleness_limit_seconds, **picker)
        async with serving(config) as running:
            assert running.transport is not None
            listen, admin = (Address("127.0.0.1", port) for port in free_ports(2))
            endpoints = tuple(Address("127.0.0.1", server.port) for server in fleet.servers)
            epp = Address("127.0.0.1", running.transport.port)
            trusted = config.picker.trusted_headers
            route = PickerRoute(listen, epp, endpoints, response_bodies, trusted_headers=trusted)
            connector = aiohttp.TCPConnector(limit=0)
            async with (
                running_envoy(admin, [route]),
                aiohttp.ClientSession(connector=connector) as session,
            ):
                made = Gateway(fleet, running, session, f"http://{listen}")
                await made.until_eligible(len(servers))
                yield made
