"""Simulated servers small and fast enough for tests."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from infscale.latency.step_model import StepModel
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.http.simulated_servers import SimFleet, SimServer, SimServerSettings

MODEL = "test/model"
QUICK = replace(coefficient_set("llama-3.1-8b-h100"), steps=StepModel(0.0005, 1e-6, 0.0, 0.0), num_blocks=512)
CHAT: Mapping[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def quick_settings(name: str = "sim-0", engine: Mapping[str, Any] | None = None, **more: Any) -> SimServerSettings:
    """A server whose steps take half a millisecond."""
    limits = EngineSettings(**{"num_blocks": QUICK.num_blocks, **(engine or {})})
    settings = SimServerSettings(name, QUICK, limits, model=MODEL)
    return replace(settings, **more)


class Client:
    """Talks to one server."""

    def __init__(self, session: aiohttp.ClientSession, server: SimServer) -> None:
        self.session = session
        self.server = server

    @property
    def url(self) -> str:
        """Where the server is."""
        return f"http://127.0.0.1:{self.server.port}"

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text."""
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()

    async def post(self, path: str, body: Mapping[str, Any] | bytes) -> tuple[int, Any]:
        """Status and JSON (text where it is none)."""
        sent: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": dict(body)}
        async with self.session.post(self.url + path, **sent) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()


@asynccontextmanager
async def running(*settings: SimServerSettings) -> AsyncGenerator[tuple[SimFleet, list[Client]]]:
    """The servers, and a client for each."""
    async with (
        SimFleet(settings or (quick_settings(),), random.Random(7), lambda: 1.8e9) as fleet,
        aiohttp.ClientSession() as session,
    ):
        yield fleet, [Client(session, server) for server in fleet.servers]
