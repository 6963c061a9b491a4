"""The page is served within bounds, over HTTP or HTTPS."""

import asyncio
import ssl
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession

from infscale.errors import StartError
from infscale.node_agent import agent_server
from infscale.node_agent.agent_server import AgentServer
from infscale.process.tls_files import TlsFiles
from infscale.telemetry.own_metrics import OwnMetrics
from lab.certificates import Authority

NOW = datetime.now(UTC)


class Page(OwnMetrics):
    async def written(self, asked: Collection[str] = ()) -> bytes:
        del asked
        return b"infscale_node_agent_gpus 0\n"


async def answer(url: str, method: str = "GET", tls: ssl.SSLContext | bool = True) -> tuple[int, str]:
    async with ClientSession() as session, session.request(method, url, ssl=tls) as response:
        return response.status, await response.text()


async def test_there_is_a_page_and_health_and_nothing_else() -> None:
    async with AgentServer("127.0.0.1", 0, None, Page()) as server:
        assert await answer(f"{server.url}/metrics") == (200, "infscale_node_agent_gpus 0\n")
        assert await answer(f"{server.url}/healthz") == (200, "ok")
        assert (await answer(f"{server.url}/debug/snapshot"))[0] == 404
        assert (await answer(f"{server.url}/metrics", "POST"))[0] == 405


async def test_connections_are_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_server, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(agent_server, "CONNECTION_SECONDS", 0.3)
    async with AgentServer("127.0.0.1", 0, None, Page()) as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b"", "one too many is closed"
        writer.close()
        for reader, writer in idle:
            assert await reader.read() == b"", "its time is over"
            writer.close()
        assert (await answer(f"{server.url}/healthz"))[0] == 200


@pytest.mark.parametrize("line", [b"GET /" + b"a" * 5_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100 + b"\r\n"])
async def test_long_heads_are_refused(line: bytes) -> None:
    async with AgentServer("127.0.0.1", 0, None, Page()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(line + b" HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()


async def test_https_with_clients_that_prove_who_they_are(tmp_path: Path) -> None:
    ours, theirs = Authority.made("ours", NOW), Authority.made("theirs", NOW)
    pair = ours.server("agent", ("127.0.0.1",), NOW)
    files = TlsFiles(tmp_path / "crt", tmp_path / "key", tmp_path / "ca")
    for path, content in zip(files.paths, (pair.certificate, pair.key, ours.pem), strict=True):
        path.write_bytes(content)
    async with AgentServer("127.0.0.1", 0, files, Page()) as server:
        assert server.url.startswith("https://")
        good = trusting(ours)
        client = ours.client("serve", (), NOW)
        (tmp_path / "client").write_bytes(client.certificate + client.key)
        good.load_cert_chain(tmp_path / "client")
        assert (await answer(f"{server.url}/metrics", tls=good))[0] == 200
        for refused in (trusting(ours), trusting(theirs)):
            with pytest.raises((ClientConnectionError, ssl.SSLError)):
                await answer(f"{server.url}/metrics", tls=refused)


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


async def test_files_that_are_no_certificate_and_a_taken_port_are_said_at_the_start(tmp_path: Path) -> None:
    for name in ("crt", "key"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(StartError, match="the node agent cannot serve with"):
        async with AgentServer("127.0.0.1", 0, TlsFiles(tmp_path / "crt", tmp_path / "key"), Page()):
            pass
    async with AgentServer("127.0.0.1", 0, None, Page()) as server:
        with pytest.raises(StartError, match="the port is taken; choose another with --listen"):
            async with AgentServer("127.0.0.1", server.port, None, Page()):
                pass
