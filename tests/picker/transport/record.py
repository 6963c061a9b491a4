"""Records what a real Envoy sends to the picker: `python -m tests.picker.transport.record`.

A TCP proxy stands between Envoy and the picker and keeps the bytes that Envoy sends, for each processing mode and each
connection: the exchanges of some requests of 1 KB and one of 40 KB, plain and streamed, without a body, refused, and
aborted by their clients before and after the response's headers; and a few health checks. They are the files in
`recordings`, which `tests.picker.transport.fuzz` mutates.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import aiohttp

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.latency.step_model import StepModel
from infscale.serving.composition import serving
from infscale.sim.http.simulated_servers import SimFleet
from tests.e2e.gateway import POOL, serve_config
from tests.sim.simulated import MODEL, QUICK, quick_settings

FOLDER = Path(__file__).parent / "recordings"
MODES = {"withheld": False, "full-duplex": True}
SLOW = replace(QUICK, steps=StepModel(0.02, 0.0, 0.0, 0.0))


@dataclass
class Proxy:
    """Passes connections on to a port and keeps what came from the client's side of each."""

    port: int
    connections: list[bytearray] = field(default_factory=list[bytearray])

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[int, None]:
        async with contextlib.AsyncExitStack() as stack:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            stack.callback(server.close)
            yield int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.connections.append(kept)
        behind, to_behind = await asyncio.open_connection("127.0.0.1", self.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, to_behind, kept))
            group.create_task(_pass_on(behind, writer, bytearray()))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            kept += data
            writer.write(data)
            await writer.drain()
    writer.close()


async def converse(session: aiohttp.ClientSession, url: str) -> None:
    """The requests that are recorded."""

    async def ask(size: int, *, stream: bool = False, tokens: int = 3, leave: str = "") -> None:
        body = {"model": MODEL, "prompt": "word " * (size // 5), "max_tokens": tokens, "stream": stream}
        timeout = aiohttp.ClientTimeout(total=0.1 if leave == "before" else 10)
        with contextlib.suppress(TimeoutError):
            async with session.post(f"{url}/v1/completions", json=body, timeout=timeout) as response:
                if leave == "after":
                    await response.content.readline()
                    response.close()
                else:
                    await response.read()

    await ask(1000)
    await ask(1000, stream=True)
    async with session.get(f"{url}/v1/models") as response:
        await response.read()
    async with session.post(f"{url}/v1/completions", data=b"{not json") as response:
        await response.read()
    await asyncio.gather(*(ask(1000, stream=stream) for stream in (False, True, False, True)))
    await ask(1000, tokens=100, leave="before")
    await ask(1000, stream=True, tokens=100, leave="after")
    await ask(40_000)
    await ask(1000)


async def recorded(folder: Path, bodies: bool) -> list[bytes]:
    """What Envoy sent on each of its connections."""
    servers = [replace(quick_settings(f"sim-{number}"), coefficients=SLOW) for number in range(2)]
    async with SimFleet(servers, Random(7), lambda: 1.8e9) as fleet:
        config = serve_config(folder, fleet.discovery_document())
        async with serving(config) as running:
            assert running.transport is not None
            proxy = Proxy(running.transport.port)
            listen, admin = (Address("127.0.0.1", port) for port in free_ports(2))
            endpoints = tuple(Address("127.0.0.1", server.port) for server in fleet.servers)
            async with proxy.running() as port:
                route = PickerRoute(listen, Address("127.0.0.1", port), endpoints, bodies)
                async with running_envoy(admin, [route]), aiohttp.ClientSession() as session:
                    while (snapshot := running.store.snapshot(POOL)) is None or not snapshot.eligible(
                        asyncio.get_running_loop().time()
                    ).all():
                        await asyncio.sleep(0.02)
                    await converse(session, f"http://{listen}")
                    await asyncio.sleep(1.0)
            return [bytes(kept) for kept in proxy.connections]


def main() -> None:
    """Write the recordings anew."""
    FOLDER.mkdir(exist_ok=True)
    for mode, bodies in MODES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(recorded(Path(folder), bodies))
        # The connection of the exchanges is longer than that of the health checks.
        health, exchanges = sorted(found, key=len)
        (FOLDER / f"{mode}.h2").write_bytes(exchanges)
        (FOLDER / "health.h2").write_bytes(health)
        print(f"{mode}: {len(exchanges)} bytes")


if __name__ == "__main__":
    main()
