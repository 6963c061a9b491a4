"""Exporters are scraped for the endpoints whose pods they speak of; failures are health."""

import asyncio
import random
import ssl
import tracemalloc
import zlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.sample import GpuSample, SourceSample
from infscale.metrics.source import Source
from infscale.process.certificates import self_signed
from infscale.sources.exporter import ExporterSettings, ExporterSource, ExporterTarget
from infscale.sources.gpu_kinds import DCGM_KIND
from tests.scrape.servers import Handler, http_server
from tests.sources.test_gpu_exporter_page import MIB, gpu_page


class RecordingSink:
    def __init__(self) -> None:
        self.seen: list[tuple[EndpointKey, GpuSample, float]] = []
        self.arrived = asyncio.Event()

    def record_beside(self, source: Source, key: EndpointKey, sample: SourceSample, at: float) -> None:
        assert source is GPU
        assert isinstance(sample, GpuSample)
        self.seen.append((key, sample, at))
        self.arrived.set()


def endpoint(name: str, rank: int = 0) -> Endpoint:
    return Endpoint(EndpointKey("llm", name, rank), "127.0.0.1", 8000 + rank)


def test_a_target_is_named_without_secrets() -> None:
    address = "http://me:hunter2@10.0.0.1:9400/metrics?token=hunter2"
    assert ExporterTarget(address, 10.0, 5.0).name == "http://10.0.0.1:9400/metrics"
    assert ExporterTarget("https://[fd00::1]/m", 10.0, 5.0).name == "https://[fd00::1]/m"


async def test_a_user_and_a_password_in_the_address_are_sent() -> None:
    sent: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        sent.append(request.headers.get("Authorization"))
        return web.Response(text=gpu_page())

    sink = RecordingSink()
    async with http_server(answer) as authority, source_of(sink, 0.05, 0.04) as source:
        source.sync(state([f"http://me:hunter2@{authority}/metrics"], [endpoint("vllm-0")]))
        await sink.arrived.wait()
    assert sent[0] == "Basic bWU6aHVudGVyMg=="


@pytest.mark.parametrize(
    ("encoding", "cause"),
    [
        ("gzip", "page larger than 8 MiB"),
        ("deflate", "page larger than 8 MiB"),
        ("gzip, gzip", "page in an encoding that was not asked for"),
        ("br", "page in an encoding that was not asked for"),
        ("zstd", "page in an encoding that was not asked for"),
    ],
)
async def test_what_a_page_is_compressed_from_is_bounded_while_it_is_decompressed(encoding: str, cause: str) -> None:
    """64 MiB of nothing in 64 KiB."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS if encoding == "deflate" else zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": encoding})

    sink = RecordingSink()
    async with http_server(answer) as authority, source_of(sink, 2.0, 1.9) as source:
        url = f"http://{authority}/metrics"
        tracemalloc.start()
        source.sync(state([url], [endpoint("vllm-0")]))
        while source.health()[url].cause is None:
            await asyncio.sleep(0.01)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert source.health()[url].cause == cause
    assert peak < 32 << 20


def source_of(sink: RecordingSink, interval: float, timeout: float) -> ExporterSource:
    settings = ExporterSettings(DCGM_KIND, interval_seconds=interval, timeout_seconds=timeout)
    return settings.source(sink, asyncio.get_running_loop().time, random.Random(1))


def state(urls: Iterable[str], endpoints: Iterable[Endpoint] = ()) -> DiscoveryState:
    """Discovery found these exporters, and these endpoints."""
    return DiscoveryState(tuple(endpoints), exporters={"dcgm": tuple(urls)})


async def answer_page(_request: web.Request) -> web.StreamResponse:
    return web.Response(text=gpu_page() + gpu_page(gpu="1", pod='namespace="llm",pod="stranger"'))


async def test_samples_go_to_every_rank_of_a_known_pod_and_to_nobody_else() -> None:
    sink = RecordingSink()
    async with http_server(answer_page) as authority, source_of(sink, 0.02, 0.015) as source:
        url = f"http://{authority}/metrics"
        source.sync(state([url], [endpoint("vllm-0"), endpoint("vllm-0", 1), endpoint("idle")]))
        await sink.arrived.wait()
        assert source.health()[url].scrapes == 1
    expected = GpuSample(30000 * MIB, 80500 * MIB, 0.75)
    assert {key: sample for key, sample, _ in sink.seen} == {
        EndpointKey("llm", "vllm-0"): expected,
        EndpointKey("llm", "vllm-0", 1): expected,
    }
    assert {at for _, _, at in sink.seen} == {sink.seen[0][2]}


async def test_a_page_over_https_is_believed_by_its_authority_and_asked_for_with_a_token(tmp_path: Path) -> None:
    """As a dcgm-exporter behind a proxy that asks the cluster who may read it."""
    pair = self_signed("exporter", datetime.now(UTC).replace(microsecond=0), timedelta(days=1))
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    token = tmp_path / "token"

    def write() -> None:
        for file, content in zip(files, (pair.certificate, pair.key), strict=True):
            file.write_bytes(content)
        context.load_cert_chain(*files)
        token.write_text("hunter2\n")

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer hunter2":
            raise web.HTTPUnauthorized
        return await answer_page(request)

    await asyncio.to_thread(write)
    sink, clock = RecordingSink(), asyncio.get_running_loop().time
    trusting = ExporterSettings(DCGM_KIND, (), None, 0.5, 0.45, ca=files[0], token_file=token)
    async with http_server(guarded, tls=context) as authority:
        url = f"https://{authority}/metrics"
        for settings, cause in (
            (replace(trusting, ca=None), "TLS handshake failed"),
            (replace(trusting, token_file=None), "HTTP 401"),
            (trusting, None),
        ):
            async with settings.source(sink, clock, random.Random(1)) as source:
                source.sync(state([url], [endpoint("vllm-0")]))
                while cause is not None and source.health()[url].cause is None:
                    await asyncio.sleep(0.01)
                assert not sink.seen
                if cause is None:
                    await sink.arrived.wait()
                assert source.health()[url].cause == cause
                assert "hunter2" not in repr(source.health())


async def answer_500(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPInternalServerError


async def answer_elsewhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/elsewhere")


async def answer_never(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def answer_endlessly(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 1048576)


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        (answer_500, "HTTP 500"),
        (answer_elsewhere, "HTTP 302, redirects are not followed"),
        (answer_never, "timed out after 0.5 s"),
        (answer_endlessly, "page larger than 8 MiB"),
        (None, "connection refused"),
    ],
    ids=["500", "redirect", "hanging", "endless", "refused"],
)
async def test_failures_are_health_and_never_samples(handler: Handler | None, cause: str) -> None:
    sink = RecordingSink()
    async with http_server(handler or answer_500) as authority, source_of(sink, 0.51, 0.5) as source:
        url = f"http://{authority if handler else '127.0.0.1:1'}/metrics"
        source.sync(state([url], [endpoint("vllm-0")]))
        while source.health()[url].cause is None:
            await asyncio.sleep(0.01)
        assert source.health()[url].cause == cause
        source.sync(state([]))
        assert source.health() == {}
    assert sink.seen == []
