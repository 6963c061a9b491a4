"""Servers listen on every address, of both protocols, where the machine has both."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
import yaml

from infscale.config import load_config
from infscale.process.listening import cannot_listen, every_address, has_every_address
from infscale.serving.composition import serving

needs_ipv6 = pytest.mark.skipif(not has_every_address(), reason="the machine has no IPv6")


async def connects(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@needs_ipv6
@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_every_address_is_those_of_both_protocols(tmp_path: Path, transport: str) -> None:
    (tmp_path / "discovery.yaml").write_text("endpoints: []")
    picker = {"listen": "[::]:0", "health_listen": "[::]:0", "transport": transport}
    document = {"discovery": {"file": "discovery.yaml"}, "picker": picker, "telemetry": {"listen": "127.0.0.1:0"}}
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(document))
    async with serving(await asyncio.to_thread(load_config, tmp_path / "serve.yaml"), {"picker"}) as running:
        assert running.transport is not None
        for port in (running.transport.port, running.transport.health_port):
            assert port
            assert [await connects(host, port) for host in ("127.0.0.1", "::1")] == [True, True]


@needs_ipv6
def test_a_taken_port_is_an_error_that_says_so() -> None:
    with every_address(0) as first:
        first.listen()
        with pytest.raises(OSError, match="in use") as caught:
            every_address(first.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("number", "port", "said"),
    [
        (
            errno.EADDRINUSE,
            9002,
            ":9002: the port is taken; choose another with a.listen, or stop what has it",
        ),
        (
            errno.EACCES,
            80,
            "127.0.0.1:80: permission denied: ports below 1024 need the right to bind them; "
            "choose one from 1024 on with a.listen, or grant CAP_NET_BIND_SERVICE",
        ),
        (errno.EADDRNOTAVAIL, 1, "the address is none of this machine's; choose one that is with a.listen"),
        (errno.ENFILE, 1, "127.0.0.1:1: Too many open files in system; choose another address with a.listen"),
    ],
)
def test_why_nothing_can_listen_there_is_said_with_what_helps(number: int, port: int, said: str) -> None:
    error = OSError(number, os.strerror(number))
    assert str(cannot_listen("it", "127.0.0.1", port, error, "a.listen")).endswith(said)
