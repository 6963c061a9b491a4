"""What clients send, through a real Envoy: headers that are not theirs, encoded bodies, names that none serves."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import pytest

from infscale.client_headers import stripped
from tests.e2e.gateway import Gateway, gateway
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

NO_HEADERS: Mapping[str, str] = {}
BODY = orjson.dumps({"model": MODEL, "prompt": "hello there", "max_tokens": 2})


async def ask(
    running: Gateway, body: bytes = BODY, path: str = "/v1/completions", headers: Mapping[str, str] = NO_HEADERS
) -> tuple[int, str]:
    """Status and the server that answered."""
    named = {"content-type": "application/json", **headers}
    async with running.session.post(running.url + path, data=body, headers=named) as response:
        await response.read()
        return response.status, response.headers.get("x-inference-pod", "")


async def metrics(running: Gateway) -> str:
    async with running.session.get(running.serving.telemetry.url + "/metrics") as response:
        return await response.text()


async def test_headers_that_are_not_a_client_s_change_nothing(tmp_path: Path) -> None:
    servers = [quick_settings("here-0"), quick_settings("here-1")]
    async with gateway(tmp_path, servers, unknown_models="reject") as running:
        # An address that no one may choose: Envoy would say 503 if it went by it.
        for name in stripped():
            for value in ("127.0.0.1:1", "/v1/models", "another"):
                status, server = await ask(running, headers={name: value})
                assert (status, server[:4]) == (200, "here"), name


@pytest.mark.parametrize(("name", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_an_encoded_body_is_read_and_passes_on(
    tmp_path: Path, name: str, encode: Callable[[bytes], bytes]
) -> None:
    async with gateway(tmp_path, [quick_settings("sim-0")]) as running:
        # The simulated server decodes it, as real ones do with middleware.
        assert (await ask(running, encode(BODY), headers={"content-encoding": name}))[0] == 200
        assert (await ask(running, encode(b'{"model": "m"}'), headers={"content-encoding": name}))[0] == 400
        page = await metrics(running)
        assert 'reason="invalid_request",status="400"} 1.0' in page


async def test_what_is_refused_is_counted_by_reason(tmp_path: Path) -> None:
    async with gateway(tmp_path, [quick_settings("sim-0")], unknown_models="reject") as running:
        assert (await ask(running, b"{"))[0] == 400
        assert (await ask(running, b'{"model": "m"}', "/v1/chat/completions"))[0] == 400
        assert (await ask(running, BODY, headers={"content-encoding": "br"}))[0] == 415
        assert (await ask(running, BODY, headers={"content-encoding": "gzip"}))[0] == 400
        page = await metrics(running)
        for reason, status in (
            ("invalid_json", 400),
            ("invalid_request", 400),
            ("unsupported_encoding", 415),
            ("invalid_encoding", 400),
        ):
            counted = (
                f'infscale_picker_rejections_total{{pool="default/default",reason="{reason}",status="{status}"}} 1.0'
            )
            assert counted in page


async def test_an_idle_lora_adapter_is_served_and_what_nobody_lists_is_not(tmp_path: Path) -> None:
    servers = [quick_settings("sim-0"), quick_settings("sim-1", loras=("idle-lora",))]
    async with gateway(tmp_path, servers, unknown_models="reject") as running:
        async with asyncio.timeout(30):
            # Until every list was read, everything may be served.
            while (await ask(running, orjson.dumps({"model": "made-up", "prompt": "x"})))[1]:
                await asyncio.sleep(0.05)
        status, _ = await ask(running, orjson.dumps({"model": "made-up", "prompt": "x"}))
        assert status == 404
        for _ in range(8):
            status, server = await ask(running, orjson.dumps({"model": "idle-lora", "prompt": "x", "max_tokens": 1}))
            # The picker lets it pass to either server; the one without the adapter says so itself.
            assert (status, server) in {(200, "sim-1"), (404, "sim-0")}
        page = await metrics(running)
        assert "made-up" not in page


@pytest.mark.parametrize(("method", "refused"), [("GET", False), ("POST", True)], ids=["an upgrade", "a hidden body"])
async def test_an_upgrade_hides_no_body_from_the_picker(tmp_path: Path, method: str, refused: bool) -> None:
    async with gateway(tmp_path, [quick_settings("sim-0")]) as running:
        host, port = running.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"{method} /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        try:
            writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
            # The answer is no: the simulated server knows no other protocol.
            assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        finally:
            writer.close()
            await writer.wait_closed()
        assert ('reason="invalid_request",status="400"} 1.0' in await metrics(running)) == refused
