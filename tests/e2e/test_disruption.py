"""What is killed while requests are under way: model servers and the picker are processes behind a real Envoy.

Whatever dies, no client hangs, each hears a status that says whose fault it was or finds its stream cut, and the
picker's books come back to zero.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import yaml

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.serving.composition import Serving, serving
from tests.e2e.gateway import POOL, serve_config
from tests.e2e.programs import Program, model_server, program

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

TRANSPORTS = pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
MODES = pytest.mark.parametrize(
    ("transport", "bodies"),
    [
        pytest.param("http2", False, id="http2, recommended mode"),
        pytest.param("http2", True, id="http2, full duplex"),
        pytest.param("grpc_aio", False, id="grpc_aio, recommended mode"),
    ],
)
NAMES = ("a", "b")
LONG = 400
"""Tokens of an answer that is still under way when something is killed: some seconds."""

BOUND_SECONDS = 20.0
"""Within which every client hears something, on a slow machine."""


@dataclass
class Servers:
    """Model servers as processes, by name, each on a port it keeps."""

    folder: Path
    stack: contextlib.AsyncExitStack
    ports: Mapping[str, int]
    running: dict[str, Program] = field(default_factory=dict[str, Program])

    async def start(self, *names: str) -> None:
        async def one(name: str) -> tuple[str, Program, contextlib.AsyncExitStack]:
            stack = contextlib.AsyncExitStack()
            made = await stack.enter_async_context(model_server(self.folder / f"{name}.log", name, self.ports[name]))
            return name, made, stack

        for name, made, stack in await asyncio.gather(*map(one, names)):
            self.running[name] = made
            self.stack.push_async_exit(stack)

    async def kill(self, *names: str) -> None:
        await asyncio.gather(*(self.running[name].kill() for name in names))

    def discovery(self, *names: str) -> dict[str, object]:
        return {
            "endpoints": [{"name": f"{name}-0", "address": "127.0.0.1", "port": self.ports[name]} for name in names]
        }


@dataclass
class Client:
    """Asks through Envoy, and keeps count of how requests ended."""

    session: aiohttp.ClientSession
    url: str
    ends: Counter[str] = field(default_factory=Counter[str])
    """By "status server", where a server answered, "status", or "cut server" for a stream without its end."""
    flowing: Counter[str] = field(default_factory=Counter[str])
    """How many streams have begun, by server."""

    async def ask(self, number: int, tokens: int, *, stream: bool = False) -> str:
        """One completion; how it ended."""
        body = {"model": "m", "prompt": f"{number} " * 40, "max_tokens": tokens, "stream": stream}
        async with self.session.post(f"{self.url}/v1/completions", json=body) as response:
            end = await self._heard(response, stream=stream)
        self.ends[end] += 1
        return end

    async def ask_slowly(self, go: asyncio.Event) -> str:
        """A completion whose second half is sent when `go` says so."""

        async def halves() -> AsyncIterator[bytes]:
            yield b'{"model": "m", '
            await go.wait()
            yield b'"prompt": "x", "max_tokens": 2}'

        try:
            async with self.session.post(f"{self.url}/v1/completions", data=halves()) as response:
                end = await self._heard(response, stream=False)
        except aiohttp.ClientError:
            end = "cut"
        self.ends[end] += 1
        return end

    async def _heard(self, response: aiohttp.ClientResponse, *, stream: bool) -> str:
        server = response.headers.get("x-inference-pod", "")
        if not stream or response.status != 200:
            await response.read()
            return f"{response.status} {server}".strip()
        begun = False
        with contextlib.suppress(aiohttp.ClientError):
            async for line in response.content:
                if not begun and line.startswith(b"data: {"):
                    begun = True
                    self.flowing[server] += 1
                if line.startswith(b"data: [DONE]"):
                    return f"200 {server}"
        return f"cut {server}"


async def until(holds: Callable[[], bool], seconds: float = BOUND_SECONDS) -> None:
    """Wait until something holds, no longer than `seconds`."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def servers(folder: Path) -> AsyncGenerator[Servers, None]:
    """Model servers, all started."""
    async with contextlib.AsyncExitStack() as stack:
        made = Servers(folder, stack, dict(zip(NAMES, free_ports(len(NAMES)), strict=True)))
        await made.start(*NAMES)
        yield made


@contextlib.asynccontextmanager
async def envoy(behind: Servers, picker_port: int, *, bodies: bool = False) -> AsyncGenerator[Client, None]:
    """A client of an Envoy that asks the picker on `picker_port`."""
    listen, admin = (Address("127.0.0.1", port) for port in free_ports(2))
    endpoints = tuple(Address("127.0.0.1", port) for port in behind.ports.values())
    route = PickerRoute(listen, Address("127.0.0.1", picker_port), endpoints, bodies)
    timeout = aiohttp.ClientTimeout(total=BOUND_SECONDS)
    async with (
        running_envoy(admin, [route]),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session,
    ):
        yield Client(session, f"http://{listen}")


@dataclass(frozen=True, slots=True)
class Picked:
    """Two model servers, a picker in this process whose books can be read, and a client."""

    servers: Servers
    serving: Serving
    client: Client

    def in_flight(self) -> dict[str, int]:
        """Requests in flight by server."""
        snapshot = self.serving.store.snapshot(POOL)
        assert snapshot is not None
        names = [endpoint.key.name for endpoint in snapshot.endpoints]
        return {name: int(count) for name, count in zip(names, snapshot.in_flight_requests, strict=True)}

    def eligible(self) -> int:
        """How many servers may be picked."""
        snapshot = self.serving.store.snapshot(POOL)
        return 0 if snapshot is None else int(snapshot.eligible(asyncio.get_running_loop().time()).sum())

    def at_work(self) -> int:
        """Requests that the servers say they have."""
        snapshot = self.serving.store.snapshot(POOL)
        assert snapshot is not None
        return int((snapshot.state.columns.gauges.waiting + snapshot.state.columns.gauges.running).sum())

    async def books_close(self, exchanges: int) -> Mapping[str, int]:
        """Wait until nothing is in flight and `exchanges` have ended; the status classes of their responses."""
        director = self.serving.directors.director(POOL)
        assert director is not None
        await until(lambda: sum(director.stats.outcomes.values()) >= exchanges and not any(self.in_flight().values()))
        snapshot = self.serving.store.snapshot(POOL)
        assert snapshot is not None
        assert sum(director.stats.outcomes.values()) == exchanges
        assert snapshot.in_flight_tokens.tolist() == [0.0] * len(snapshot)
        assert snapshot.in_flight_models == {}
        return dict(director.stats.responses)


@contextlib.asynccontextmanager
async def picked(
    folder: Path, transport: str, *, bodies: bool = False, unknown_load: str = "serve"
) -> AsyncGenerator[Picked, None]:
    """Everything, once both servers may be picked; requests do not wait for servers where there are none."""
    async with servers(folder) as behind:
        flow = {"no_endpoint_seconds": 0}
        picker = {"transport": transport, "unknown_load": unknown_load, "flow_control": flow}
        config = await asyncio.to_thread(serve_config, folder, behind.discovery(*NAMES), **picker)
        async with serving(config) as running:
            assert running.transport is not None
            async with envoy(behind, running.transport.port, bodies=bodies) as client:
                made = Picked(behind, running, client)
                await until(lambda: made.eligible() == len(NAMES))
                yield made


# A model server dies


@TRANSPORTS
async def test_requests_of_a_killed_server_are_told_so_and_the_next_go_elsewhere(
    tmp_path: Path, transport: str
) -> None:
    """Killed before it has answered any of them: nothing was sent to the client yet, but the work had begun."""
    async with picked(tmp_path, transport) as running, asyncio.timeout(60):
        client = running.client
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask(number, LONG)) for number in range(12)]
            # Picked is not yet sent: Envoy takes the other server for a request that is not there when the first dies.
            await until(lambda: sum(running.in_flight().values()) == running.at_work() == len(asked))
            lost, kept = running.in_flight()["a-0"], running.in_flight()["b-0"]
            assert lost
            assert kept
            await running.servers.kill("a")
            # At once, before the picker can know.
            late = await asyncio.gather(*(client.ask(100 + number, 2) for number in range(6)))
        assert set(late) == {"200 b-0"}
        assert client.ends == {"503": lost, "200 b-0": kept + len(late)}
        responses = await running.books_close(len(asked) + len(late))
        assert responses == {"5xx": lost, "2xx": kept + len(late)}


@MODES
async def test_streams_of_a_killed_server_are_cut_and_the_others_go_on(
    tmp_path: Path, transport: str, bodies: bool
) -> None:
    async with picked(tmp_path, transport, bodies=bodies) as running, asyncio.timeout(60):
        client = running.client
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(client.ask(number, LONG, stream=True)) for number in range(12)]
            await until(lambda: sum(client.flowing.values()) == len(asked))
            lost, kept = client.flowing["a-0"], client.flowing["b-0"]
            assert lost
            assert kept
            await running.servers.kill("a")
        assert client.ends == {"cut a-0": lost, "200 b-0": kept}
        assert await running.books_close(len(asked)) == {"2xx": len(asked)}


async def test_when_all_servers_are_dead_clients_hear_why_and_when_they_are_back_requests_pass(tmp_path: Path) -> None:
    async with picked(tmp_path, "http2", unknown_load="refuse") as running, asyncio.timeout(80):
        assert (await running.client.ask(0, 2)).startswith("200")
        await running.servers.kill(*NAMES)
        # Envoy tries both and gives up: the picker cannot know yet.
        assert await running.client.ask(1, 2) == "503"
        await until(lambda: running.eligible() == 0)
        await refused(running.client, "s old")
        await running.servers.start(*NAMES)
        await until(lambda: running.eligible() == len(NAMES))
        assert (await running.client.ask(2, 2)).startswith("200")
        await running.books_close(3)


async def test_when_all_servers_are_removed_clients_hear_why_and_when_they_are_back_requests_pass(
    tmp_path: Path,
) -> None:
    """Removed while one of them answers: that request is not harmed."""
    async with picked(tmp_path, "http2") as running, asyncio.timeout(80):
        client, file = running.client, tmp_path / "discovery.yaml"
        async with asyncio.TaskGroup() as group:
            group.create_task(client.ask(0, 200, stream=True))
            await until(lambda: sum(client.flowing.values()) == 1)
            file.write_text(yaml.safe_dump(running.servers.discovery()))
            await until(lambda: not running.in_flight())
            await refused(client, "failed to find endpoint candidates for serving the request")
        assert [end.split()[0] for end in client.ends] == ["200"]
        file.write_text(yaml.safe_dump(running.servers.discovery(*NAMES)))
        await until(lambda: running.eligible() == len(NAMES))
        assert (await client.ask(1, 2)).startswith("200")
        await running.books_close(2)


async def refused(client: Client, words: str) -> None:
    """The picker's own 503, with its reason and when to come back."""
    body = {"model": "m", "prompt": "x", "max_tokens": 2}
    async with client.session.post(f"{client.url}/v1/completions", json=body) as response:
        assert response.status == 503
        assert float(response.headers["retry-after"]) >= 1
        assert response.headers["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints"
        assert words in (await response.json())["error"]["message"]


# The picker dies


@contextlib.asynccontextmanager
async def picker(folder: Path, number: int) -> AsyncGenerator[Program, None]:
    """infscale as a process, by the configuration in `folder`, once it serves."""
    async with program(folder / f"picker-{number}.log", "serve", "--config", str(folder / "serve.yaml")) as made:
        await made.until_it_says("pools=")
        yield made


async def counted(client: Client, running: Program) -> tuple[int, dict[str, int]]:
    """Requests in flight, and exchanges by outcome, as the picker's own metrics page has them."""
    match = re.search(r"telemetry=(http://[^ ]+)", running.said())
    assert match is not None
    async with client.session.get(f"{match[1]}/metrics") as response:
        page = await response.text()
    flights = re.findall(r"^infscale_endpoint_in_flight_requests\{.*\} (\S+)$", page, re.MULTILINE)
    ends = re.findall(r'^infscale_picker_exchanges_total\{.*outcome="(\w+)".*\} (\S+)$', page, re.MULTILINE)
    assert len(flights) == len(NAMES)
    return int(sum(map(float, flights))), {kind: int(float(count)) for kind, count in ends}


async def until_served(client: Client) -> None:
    """Wait until a request passes; what fails until then does so quickly."""
    async with asyncio.timeout(BOUND_SECONDS):
        while not (await client.ask(0, 2)).startswith("200"):
            await asyncio.sleep(0.1)


def process_config(folder: Path, behind: Servers, port: int, transport: str) -> None:
    serve_config(folder, behind.discovery(*NAMES), listen=f"127.0.0.1:{port}", transport=transport)


@MODES
async def test_a_killed_picker_hangs_nobody_and_its_successor_serves_with_balanced_books(
    tmp_path: Path, transport: str, bodies: bool
) -> None:
    (port,) = free_ports(1)
    async with servers(tmp_path) as behind, envoy(behind, port, bodies=bodies) as client, asyncio.timeout(85):
        await asyncio.to_thread(process_config, tmp_path, behind, port, transport)
        async with picker(tmp_path, 1) as first:
            await until_served(client)
            client.ends.clear()
            go = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for number in range(6):
                    group.create_task(client.ask(number, LONG, stream=True))
                for _ in range(6):
                    group.create_task(client.ask_slowly(go))
                await until(lambda: sum(client.flowing.values()) == 6)
                await first.kill()
                await until(lambda: client.ends["500"] == 6)
                go.set()
        # Envoy ends what it asked the dead picker about: with a 500, and answers that have begun in their middle.
        assert client.ends.pop("500") == 6
        assert client.ends.keys() <= {"cut a-0", "cut b-0"}
        assert sum(client.ends.values()) == 6
        async with picker(tmp_path, 2) as second:
            await until_served(client)
            client.ends.clear()
            ends = await asyncio.gather(*(client.ask(100 + number, 2) for number in range(10)))
            assert {end.split()[0] for end in ends} == {"200"}
            async with asyncio.timeout(BOUND_SECONDS):
                while await counted(client, second) != (0, {"completed": 1 + len(ends)}):
                    await asyncio.sleep(0.1)


@TRANSPORTS
async def test_a_picker_that_is_told_to_end_loses_nothing_that_has_begun(tmp_path: Path, transport: str) -> None:
    (port,) = free_ports(1)
    async with servers(tmp_path) as behind, envoy(behind, port) as client, asyncio.timeout(85):
        await asyncio.to_thread(process_config, tmp_path, behind, port, transport)
        async with picker(tmp_path, 1) as first:
            await until_served(client)
            client.ends.clear()
            go = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for number in range(6):
                    group.create_task(client.ask(number, 200, stream=True))
                for _ in range(6):
                    group.create_task(client.ask_slowly(go))
                await until(lambda: sum(client.flowing.values()) == 6)
                first.stop()
                await first.until_it_says("draining")
                assert first.process.returncode is None
                go.set()
            assert {end.split()[0] for end in client.ends} == {"200"}
            assert sum(client.ends.values()) == 12
            async with asyncio.timeout(BOUND_SECONDS):
                assert await first.process.wait() == 0
        async with picker(tmp_path, 2):
            await until_served(client)
