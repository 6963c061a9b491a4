"""Starting and stopping the adapter."""

import asyncio
import logging

import pytest

from adapter.server.adapter_server import AdapterServer, AdapterSettings
from infscale.errors import StartError
from tests.adapter.support import vector_world


async def test_it_says_where_it_listens_and_why_only_there(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with AdapterServer(AdapterSettings(port=0), vector_world()) as server:
            port = server.port
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
    assert f"the adapter answers on https://127.0.0.1:{port}, " in caplog.text
    assert "loopback only: without Kubernetes its callers are not checked" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
async def test_other_addresses_than_loopback_are_refused(host: str) -> None:
    with pytest.raises(StartError, match="is no loopback address; without Kubernetes its callers are not checked"):
        await AdapterServer(AdapterSettings(host=host, port=0), vector_world()).__aenter__()


async def test_a_taken_port_is_said_plainly() -> None:
    async with AdapterServer(AdapterSettings(port=0), vector_world()) as first:
        second = AdapterServer(AdapterSettings(port=first.port), vector_world())
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{first.port}: the port is taken"):
            await second.__aenter__()


async def test_the_port_is_free_again_afterwards_and_no_task_is_left() -> None:
    before = asyncio.all_tasks()
    async with AdapterServer(AdapterSettings(port=0), vector_world()) as server:
        port = server.port
    async with AdapterServer(AdapterSettings(port=port), vector_world()):
        pass
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="inside its async with block only"):
        _ = server.port


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    """Not wrapped in the ExceptionGroup of the server's own tasks."""
    with pytest.raises(KeyError, match="mine"):
        async with AdapterServer(AdapterSettings(port=0), vector_world()):
            raise KeyError("mine")


@pytest.mark.parametrize("settings", [{"port": -1}, {"port": 65536}, {"max_in_flight": 0}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"port|at least one"):
        AdapterSettings(**settings)  # type: ignore[arg-type]
