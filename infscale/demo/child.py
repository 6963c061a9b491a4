"""The demo's helper processes: simulated servers, such that come and go, `serve`, and the load generator.

Each is ``python -m infscale.demo.child ROLE FILE``. It writes JSON lines to standard output, the first when it is
ready, and ends when its standard input does, so that none outlives the demo. Processes of their own keep engine
time, picks and measurements from disturbing each other on a machine with few cores.
"""

import asyncio
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import uvloop

from infscale.config.read import load_config
from infscale.demo.changing_servers import ChangingServers
from infscale.demo.child_processes import FLEET, LOAD, SERVE, SERVERS
from infscale.serving.composition import serving
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.http.simulated_servers import SimFleet, SimServerSettings
from infscale.sim.load.load_generator import LoadSettings, send_all
from infscale.sim.load.load_requests import decode_requests


async def servers(wanted: Mapping[str, Any]) -> None:
    """Run simulated servers of the names and coefficients in `wanted`, until the end of standard input."""
    coefficients = coefficient_set(wanted["coefficients"])
    engine = EngineSettings(num_blocks=coefficients.num_blocks, block_size=coefficients.block_size)
    settings = [SimServerSettings(name, coefficients, engine, dcgm_port=0) for name in wanted["names"]]
    async with SimFleet(settings, random.Random(wanted["seed"]), lambda: datetime.now(UTC).timestamp()) as fleet:
        gpu_pages = [f"http://{one.settings.address}:{one.dcgm_port}/metrics" for one in fleet.servers]
        say({"discovery": fleet.discovery_document(), "gpu_pages": gpu_pages})
        await end_of_input()


async def fleet(wanted: Mapping[str, Any]) -> None:
    """Run simulated servers that start and stop as the lines of standard input say, until its end."""
    async with ChangingServers(wanted["coefficients"], random.Random(wanted["seed"]), say) as changing:
        say({})
        reader = await input_reader()
        while line := await reader.readline():
            changing.obey(orjson.loads(line))


async def serve(wanted: Mapping[str, Any]) -> None:
    """Run `infscale serve` with the configuration file in `wanted`, until the end of standard input."""
    async with serving(load_config(Path(wanted["config"]))) as running:
        if running.transport is None or running.adapter is None:
            raise RuntimeError("serve runs both picker and adapter")
        say(
            {
                "picker_port": running.transport.port,
                "adapter_url": running.adapter.url,
                "adapter_ca": (running.adapter.ca_pem or b"").decode(),
                "telemetry_port": running.telemetry.port,
            }
        )
        await end_of_input()


async def load(wanted: Mapping[str, Any]) -> None:
    """Send the traffic in the file of `wanted` to its URL, one JSON line per outcome."""
    requests = decode_requests(await asyncio.to_thread(Path(wanted["requests"]).read_bytes))
    settings = LoadSettings(wanted["base_url"], wanted["timeout_seconds"])
    say({})
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send_all(requests, settings, lambda outcome: say(asdict(outcome))))
        stop = tasks.create_task(end_of_input())
        stop.add_done_callback(lambda _: sending.cancel())
        with suppress(asyncio.CancelledError):
            await sending
        stop.cancel()


def say(document: Mapping[str, object]) -> None:
    """One line of JSON to the demo."""
    sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    sys.stdout.buffer.flush()


async def end_of_input() -> None:
    """Return when the demo closes our standard input, or is gone."""
    reader = await input_reader()
    await reader.read()


async def input_reader() -> asyncio.StreamReader:
    """Standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


ROLES: Mapping[str, Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]]] = {
    LOAD: load,
    SERVERS: servers,
    FLEET: fleet,
    SERVE: serve,
}


if __name__ == "__main__":
    # Ctrl-C is the demo's to handle: it ends its helpers in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(ROLES[sys.argv[1]](orjson.loads(Path(sys.argv[2]).read_bytes())))
