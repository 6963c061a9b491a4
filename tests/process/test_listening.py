"""Servers listen on every address, of both protocols, where the machine has both."""

import asyncio
import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from infscale.config.read import load_config
from infscale.errors import StartError
from infscale.process.listening import EVERY_ADDRESS, cannot_listen, has_every_address, listening
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


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", pytest.param(EVERY_ADDRESS, marks=needs_ipv6)])
async def test_a_taken_port_is_an_error_that_says_so(host: str) -> None:
    with ExitStack() as stack:
        first, *_ = [stack.enter_context(each) for each in await listening("one", host, 0, "a.listen")]
        with pytest.raises(StartError, match=r"other cannot listen on .*: the port is taken"):
            await listening("other", host, first.getsockname()[1], "a.listen")


@needs_ipv6
async def test_localhost_is_both_protocols_on_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def names(*_: object, **__: object) -> list[tuple[Any, ...]]:
        v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
        absent = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
        return [absent, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)), v4]

    monkeypatch.setattr(loop, "getaddrinfo", names)
    with ExitStack() as stack:
        made = [stack.enter_context(each) for each in await listening("it", "localhost", 0, "a.listen")]
        assert [each.getsockname()[0] for each in made] == ["::1", "127.0.0.1"]
        assert len({each.getsockname()[1] for each in made}) == 1


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
