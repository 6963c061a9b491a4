"""Sessions behind a real Envoy: they stay, move once while all endpoints are replaced, and no request is lost."""

import asyncio
import contextlib
import random
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
import yaml

from infscale.config.settings import ServeConfig
from infscale.demo.child_processes import free_ports
from infscale.endpoint import Phase
from infscale.envoy.config import Address, PickerRoute, bootstrap
from infscale.envoy.process import running_document
from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet
from infscale.sim.settings import Fault, FaultKind
from tests.e2e.gateway import POOL, serve_config
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

HEADER = "x-infscale-session"
EPP = {
    "apiVersion": "llm-d.ai/v1",
    "kind": "EndpointPickerConfig",
    "plugins": [
        {
            "type": "session-affinity-filter",
            "parameters": {
                "strategy": "signed_token",
                "signedTokenConfig": {"header": HEADER, "cookie": {"secure": False}},
            },
        },
        {"type": "marginal-cost-scorer"},
    ],
}
SERVERS_OWN = "theirs=1"


def with_their_cookie(document: Any) -> Any:
    """The bootstrap document with a cookie of the model servers, set before the picker sees their answers."""
    for listener in document["static_resources"]["listeners"]:
        (host,) = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        host["response_headers_to_add"] = [{"header": {"key": "set-cookie", "value": SERVERS_OWN}}]
    return document


@dataclass
class Pool:
    """Model servers behind an Envoy that knows all of them; which of them are endpoints is in a file."""

    folder: Path
    fleet: SimFleet
    config: ServeConfig
    url: str
    phases: dict[str, Phase] = field(default_factory=dict[str, Phase])

    async def discover(self) -> None:
        """Have `phases` for endpoints from now on."""
        await asyncio.to_thread((self.folder / "discovery.yaml").write_text, yaml.safe_dump(self.document()))

    def document(self) -> dict[str, Any]:
        found = self.fleet.discovery_document()["endpoints"]
        return {
            "endpoints": [
                {**each, "phase": self.phases[each["name"]].value} for each in found if each["name"] in self.phases
            ]
        }

    async def seen(self, running: Serving) -> None:
        """Wait until the store has exactly these endpoints, and all that are ready may be picked."""
        ready = sum(phase is Phase.READY for phase in self.phases.values())
        while (snapshot := running.store.snapshot(POOL)) is None or (
            {each.key.name: each.phase for each in snapshot.endpoints} != self.phases
            or int(snapshot.eligible(asyncio.get_running_loop().time()).sum()) < ready
        ):
            await asyncio.sleep(0.02)

    async def idle(self, running: Serving, name: str) -> None:
        """Wait until nothing is in flight at one endpoint."""
        while True:
            snapshot = running.store.snapshot(POOL)
            assert snapshot is not None
            names = [each.key.name for each in snapshot.endpoints]
            if snapshot.in_flight_requests[names.index(name)] == 0:
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def pool(
    folder: Path, names: Iterable[str], endpoints: Iterable[str], *, transport: str = "http2"
) -> AsyncGenerator[Pool]:
    """Servers of `names`, those of `endpoints` in the file, behind Envoy; nothing picks yet."""
    async with SimFleet([quick_settings(name) for name in names], random.Random(7), lambda: 1.8e9) as fleet:
        (folder / "keys").write_text(b64encode(random.Random(1).randbytes(32)).decode())
        document = yaml.safe_load(yaml.safe_dump(EPP))
        document["plugins"][0]["parameters"]["signedTokenConfig"]["keys"] = str(folder / "keys")
        (folder / "epp.yaml").write_text(yaml.safe_dump(document))
        listen, epp, admin = (Address("127.0.0.1", port) for port in free_ports(3))
        made = Pool(folder, fleet, None, f"http://{listen}", dict.fromkeys(endpoints, Phase.READY))  # type: ignore[arg-type] # next
        made.config = await asyncio.to_thread(
            serve_config, folder, made.document(), config_file="epp.yaml", listen=str(epp), transport=transport
        )
        known = tuple(Address("127.0.0.1", server.port) for server in fleet.servers)
        route = PickerRoute(listen, epp, known)
        async with running_document(admin, with_their_cookie(bootstrap(admin, [route]))):
            yield made


@dataclass
class Client:
    """One session: it takes the token of each answer along, in a header or as a browser does."""

    session: aiohttp.ClientSession
    url: str
    number: int
    carrier: Literal["header", "cookie"]
    served: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])
    token: str = ""

    async def ask(self) -> None:
        body = {"model": MODEL, "prompt": f"{self.number} " * 20, "max_tokens": 8}
        headers = {HEADER: self.token} if self.carrier == "header" and self.token else {}
        try:
            async with self.session.post(f"{self.url}/v1/completions", json=body, headers=headers) as answer:
                text = await answer.text()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {text}")
                    return
                assert SERVERS_OWN in answer.headers.getall("set-cookie")
                self.token = answer.headers[HEADER]
                self.served.append(answer.headers["x-inference-pod"])
        except aiohttp.ClientError as error:
            self.failures.append(repr(error))

    async def go_on(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self.ask()

    @property
    def moves(self) -> int:
        return sum(before != after for before, after in zip(self.served, self.served[1:], strict=False))


@contextlib.asynccontextmanager
async def clients(url: str, count: int) -> AsyncGenerator[list[Client]]:
    async with contextlib.AsyncExitStack() as stack:
        made: list[Client] = []
        for number in range(count):
            jar = aiohttp.CookieJar(unsafe=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
            made.append(Client(session, url, number, "cookie" if number % 2 else "header"))
        yield made


async def test_each_session_moves_at_most_once_while_all_endpoints_are_replaced(tmp_path: Path) -> None:
    """As a Deployment does it with maxSurge 1 and maxUnavailable 0: a new pod is ready before an old one ends."""
    old, new = ([f"{age}-{number}" for number in range(4)] for age in ("old", "new"))
    async with pool(tmp_path, [*old, *new], old) as made, serving(made.config) as running:
        await made.seen(running)
        stop = asyncio.Event()
        async with clients(made.url, 16) as sessions, asyncio.TaskGroup() as group:
            for each in sessions:
                await each.ask()
                group.create_task(each.go_on(stop))
            began = {each.served[0] for each in sessions}
            for before, after in zip(old, new, strict=True):
                made.phases[after] = Phase.READY
                await made.discover()
                await made.seen(running)
                made.phases[before] = Phase.DRAINING
                await made.discover()
                await made.seen(running)
                await made.idle(running, before)
                del made.phases[before]
                await made.discover()
                await made.seen(running)
                server = made.fleet.find(before)
                assert server is not None
                await server.inject(Fault(FaultKind.REFUSE))
            asked = [len(each.served) for each in sessions]
            while any(len(each.served) < had + 3 for each, had in zip(sessions, asked, strict=True)):
                await asyncio.sleep(0.02)
            stop.set()
        stats = running.directors.stats()[POOL]
    assert [each.failures for each in sessions] == [[]] * 16
    assert len(began) > 1
    assert {each.served[-1] for each in sessions} <= set(new)
    assert [each.moves for each in sessions] == [1] * 16
    assert sum(stats.session_moves.values()) == 16
    assert set(stats.session_moves) <= {"draining", "gone"}
    assert stats.session_tokens_refused == {}


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_sessions_outlive_the_picker_and_a_server_that_dies_costs_no_request(
    tmp_path: Path, transport: str
) -> None:
    names = ["a", "b", "c"]
    async with pool(tmp_path, names, names, transport=transport) as made, clients(made.url, 8) as sessions:
        for _ in range(2):
            async with serving(made.config) as running:
                await made.seen(running)
                for each in sessions * 3:
                    await each.ask()
        assert [each.moves for each in sessions] == [0] * 8
        async with serving(made.config) as running:
            await made.seen(running)
            server = made.fleet.find(sessions[0].served[-1])
            assert server is not None
            await server.inject(Fault(FaultKind.REFUSE))
            for each in sessions * 3:
                await each.ask()
            stats = running.directors.stats()[POOL]
    assert [each.failures for each in sessions] == [[]] * 8
    hit = [each for each in sessions if each.moves]
    assert sessions[0] in hit
    assert {each.moves for each in hit} == {1}
    assert sum(stats.session_moves.values()) == len(hit)
    assert set(stats.session_moves) <= {"rerouted", "unknown_load"}
