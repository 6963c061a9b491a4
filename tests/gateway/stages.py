"""A real Envoy Gateway in front of infscale and simulated model servers."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from infscale.demo.child_processes import free_ports
from infscale.latency.step_model import StepModel
from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet
from picker.directing.director import PoolDirector
from tests.e2e.gateway import POOL, serve_config
from tests.gateway.documents import Here, example, on_this_machine
from tests.gateway.running import envoy_gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

NAMES = ("sim-0", "sim-1", "sim-2")
Discovery = Mapping[str, Any]
NO_HEADERS: Mapping[str, str] = {}
TOKEN_SECONDS = 0.005


def prompt(number: int) -> str:
    """Long enough to count, and unlike the others: nothing is cached."""
    return f"{number} " * 400


@dataclass(frozen=True)
class Answer:
    """What a client got: the name of the server that answered, where one did."""

    status: int
    server: str
    text: str


@dataclass(frozen=True)
class Client:
    """The Gateway as a client sees it."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, prompt: str, headers: Mapping[str, str] = NO_HEADERS, tokens: int = 2) -> Answer:
        """A completion, a short one unless told otherwise."""
        body = {"model": MODEL, "prompt": prompt, "max_tokens": tokens}
        async with self.session.post(f"{self.url}/v1/completions", json=body, headers=headers) as response:
            return Answer(response.status, response.headers.get("x-inference-pod", ""), await response.text())


@dataclass(frozen=True)
class Picker:
    """infscale in this process, and the names of the endpoints it knows by their authorities."""

    serving: Serving
    names: Mapping[str, str]

    @property
    def director(self) -> PoolDirector:
        """The pool's."""
        found = self.serving.directors.director(POOL)
        assert found is not None
        return found

    @property
    def chosen(self) -> list[str]:
        """The names of the endpoints that were chosen, in the order of the decisions."""
        return [self.names[record.destinations[0]] for record in self.director.records]

    @property
    def in_flight(self) -> int:
        """Requests that were dispatched and have not ended."""
        snapshot = self.serving.store.snapshot(POOL)
        assert snapshot is not None
        return int(snapshot.in_flight_requests.sum())

    async def until_all_may_be_picked(self) -> None:
        """Wait for the metrics of every endpoint; the test's timeout is the limit."""
        loop = asyncio.get_running_loop()
        while True:
            snapshot = self.serving.store.snapshot(POOL)
            if snapshot is not None and snapshot.eligible(loop.time()).sum() == len(self.names):
                return
            await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Stage:
    """Model servers, and Envoy Gateway in front of them; the picker comes and goes."""

    fleet: SimFleet
    here: Here
    client: Client

    @contextlib.asynccontextmanager
    async def picker(
        self, folder: Path, discovery: Discovery | None = None, **settings: object
    ) -> AsyncGenerator[Picker, None]:
        """infscale where the Gateway asks, from when every endpoint may be picked; its files are in `folder`.

        It knows the servers of the stage, or what `discovery` says.
        """
        found = discovery or self.fleet.discovery_document()
        settings = {"destinations": 1, "listen": f"127.0.0.1:{self.here.picker}", **settings}
        config = await asyncio.to_thread(serve_config, folder, found, **settings)
        async with serving(config) as running:
            made = Picker(running, {f"{each['address']}:{each['port']}": each["name"] for each in found["endpoints"]})
            await made.until_all_may_be_picked()
            yield made


@contextlib.asynccontextmanager
async def fleet(names: Sequence[str] = NAMES) -> AsyncGenerator[SimFleet, None]:
    """Model servers whose tokens take `TOKEN_SECONDS` each, so that a stream lasts."""
    pace = replace(QUICK, steps=StepModel(TOKEN_SECONDS, 0.0, 0.0, 0.0))
    settings = [replace(quick_settings(name), coefficients=pace) for name in names]
    async with SimFleet(settings, random.Random(7), lambda: 1.8e9) as servers:
        yield servers


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, here: Here, examples: Sequence[str] = ("envoy-gateway",)
) -> AsyncGenerator[Client, None]:
    """Envoy Gateway with the documents of `examples`; its files are in `folder`."""
    resources = on_this_machine(example(*examples), here)
    async with envoy_gateway(folder, resources, here.listen) as url, aiohttp.ClientSession() as session:
        yield Client(session, url)


@contextlib.asynccontextmanager
async def stage(
    folder: Path, examples: Sequence[str] = ("envoy-gateway",), *, known: int = len(NAMES), idle: str | None = None
) -> AsyncGenerator[Stage, None]:
    """Model servers and a Gateway that knows the first `known` of them; `idle` is as in `Here`."""
    async with fleet() as servers:
        listen, picker = free_ports(2)
        here = Here(listen, picker, [server.port for server in servers.servers[:known]], idle=idle)
        async with gateway(folder, here, examples) as client:
            yield Stage(servers, here, client)
