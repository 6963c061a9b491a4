"""Servers of endpoints are asked over gRPC and heard in the store: readiness and names, for as long as they hold."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import yaml
from aiohttp import ClientSession

from infscale.config.read import load_config
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.grpc_problems import CLOSED
from infscale.serving.composition import serving
from infscale.sources.grpc_health import GrpcHealthSettings, HealthTls
from infscale.sources.health_source import GrpcHealthSource
from lab.certificates import Authority
from tests.fakes.samples import engine_sample
from tests.sources.health_server import NOT_SERVING, SERVING, hang, listening, real_health, server_of

POOL = ObjectKey("llm", "chat")
SETTINGS = GrpcHealthSettings(asked=True, names=("a",), interval_seconds=0.05, timeout_seconds=0.04)


def state(ports: Sequence[int]) -> DiscoveryState:
    endpoints = tuple(
        Endpoint(EndpointKey("llm", f"vllm-{each}"), "127.0.0.1", port) for each, port in enumerate(ports)
    )
    return DiscoveryState(endpoints, (Pool(POOL, {}),))


class World:
    """A store, and a source that is told of servers by their ports."""

    def __init__(self, settings: GrpcHealthSettings) -> None:
        self.clock = asyncio.get_running_loop().time
        self.store = MetricStore("s")
        self.source = settings.source(self.store, self.clock, random.Random(1))

    def sync(self, *ports: int) -> None:
        self.store.sync(state(ports))
        self.source.sync(state(ports))

    @property
    def snapshot(self) -> PoolSnapshot:
        found = self.store.snapshot(POOL)
        assert found is not None
        return found

    def scraped(self) -> None:
        """The pages of all are read."""
        for endpoint in self.snapshot.endpoints:
            self.store.record_scrape(endpoint.key, engine_sample(0.0, 0.0, 0.1), self.clock())

    def standing(self) -> list[tuple[bool, list[str] | None]]:
        """Of each endpoint: whether it is ready, and the names that its server says it serves."""
        columns = self.snapshot.columns
        return [
            (bool(ready), None if lora is None else sorted(lora.loaded))
            for ready, lora in zip(columns.ready, columns.lora, strict=True)
        ]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.005)

    def causes(self) -> list[str | None]:
        return [each.cause for each in self.source.health().values()]


@asynccontextmanager
async def world(settings: GrpcHealthSettings = SETTINGS) -> AsyncGenerator[World]:
    made = World(settings)
    async with made.source:
        yield made


async def test_a_server_that_does_not_serve_is_no_candidate_and_one_peer_s_fault_is_its_own() -> None:
    async with (
        real_health({"": SERVING, "a": SERVING}) as (one, servicer),
        real_health({"": NOT_SERVING}) as (other, _),
        server_of(hang) as third,
        listening(lambda _: None) as fourth,
        world() as made,
    ):
        made.sync(one, other, third, fourth, 1)
        await made.until(lambda: not made.standing()[1][0] and made.standing()[0][1] == ["a"])
        made.scraped()
        assert made.standing() == [(True, ["a"]), (False, None), (True, None), (True, None), (True, None)]
        assert made.snapshot.candidates(made.clock()).tolist() == [0, 2, 3, 4], "unknown is neither ready nor unready"
        await made.until(lambda: all(made.causes()[2:]))
        assert made.causes() == [
            None,
            None,
            "timed out after 0.04 s",
            "the server does not speak gRPC's health protocol",
            "connection refused",
        ]
        await servicer.set("", NOT_SERVING)
        await made.until(lambda: not made.standing()[0][0])
        await servicer.set("", SERVING)
        await servicer.set("a", NOT_SERVING)
        await made.until(lambda: made.standing()[0] == (True, None))


async def test_a_server_that_is_gone_is_unknown_again_when_what_it_said_holds_no_more() -> None:
    async with world() as made:
        async with real_health({"": NOT_SERVING, "a": SERVING}) as (port, _):
            made.sync(port)
            await made.until(lambda: made.standing() == [(False, ["a"])])
        await made.until(lambda: made.standing() == [(True, None)])
        assert made.causes() == ["connection refused"]
        async with real_health({"": NOT_SERVING}, port) as _:
            await made.until(lambda: made.standing() == [(False, None)])


async def test_a_flapping_server_ends_as_it_is() -> None:
    async with real_health({"": SERVING, "a": SERVING}) as (port, servicer), world() as made:
        made.sync(port)
        await made.until(lambda: made.standing() == [(True, ["a"])])
        for turn in range(200):
            await servicer.set("", NOT_SERVING if turn % 2 else SERVING)
            await asyncio.sleep(0)
        await made.until(lambda: made.standing() == [(False, ["a"])])
        number = made.snapshot.number
        assert number < 200 + 2 * 40 * 10, "it costs so many revisions, and ends"


async def test_only_the_pools_that_are_named_are_asked_and_nothing_without_a_section() -> None:
    async with real_health({"": NOT_SERVING}) as (port, _):
        async with world(replace(SETTINGS, pools=(ObjectKey("llm", "other"),))) as made:
            made.sync(port)
            assert made.source.health() == {}
        silent = World(GrpcHealthSettings())
        async with silent.source as source:
            silent.sync(port)
            assert source.health() == {}
            assert not isinstance(source, GrpcHealthSource)


async def test_all_are_asked_on_one_port_where_that_is_said() -> None:
    async with real_health({"": NOT_SERVING}) as (port, _), world(replace(SETTINGS, port=port)) as made:
        made.sync(1, 2)
        await made.until(lambda: [ready for ready, _ in made.standing()] == [False, False])


async def test_tls_and_what_becomes_of_wrong_certificates(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ours, theirs = Authority.made("ours", now), Authority.made("theirs", now)
    pair, client = ours.server("model-server", (), now), ours.client("serve", (), now)
    for name, content in (("ours", ours.pem), ("theirs", theirs.pem), ("crt", client.certificate), ("key", client.key)):
        (tmp_path / name).write_bytes(content)
    credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)], ours.pem, require_client_auth=True)
    good = HealthTls(tmp_path / "ours", tmp_path / "crt", tmp_path / "key", "model-server")
    slow = replace(SETTINGS, interval_seconds=0.5, timeout_seconds=0.4)
    async with real_health({"": NOT_SERVING}, credentials=credentials) as (port, _):
        async with world(replace(slow, tls=good)) as made:
            made.sync(port)
            await made.until(lambda: made.standing() == [(False, None)])
        for tls, causes in (
            (replace(good, ca=tmp_path / "theirs"), {"TLS handshake failed"}),
            (replace(good, server_name="another"), {"the certificate is of another name"}),
            (replace(good, certificate=None, key=None), {CLOSED}),
            (
                replace(good, ca=tmp_path / "absent"),
                {"certificates for gRPC health cannot be used: No such file or directory"},
            ),
            (None, {CLOSED}),
        ):
            async with world(replace(slow, tls=tls)) as made:
                made.sync(port)
                await made.until(lambda: bool(made.causes()[0]))
                assert set(made.causes()) <= causes
                assert made.standing() == [(True, None)]


@pytest.mark.parametrize("page", [False, True])
async def test_names_are_beside_those_of_a_page(page: bool) -> None:
    async with real_health({"a": SERVING}) as (port, _), world() as made:
        made.sync(port)
        if page:
            made.scraped()
        await made.until(lambda: made.standing() == [(True, ["a"])])
        [document] = [each for each in made.snapshot.columns.health if each is not None]
        assert (document.serving, document.names) == (True, {"a"})


async def test_serve_asks_as_it_is_configured(tmp_path: Path) -> None:
    endpoints = [{"name": f"vllm-{port}", "address": "127.0.0.1", "port": port} for port in (1, 2)]
    (tmp_path / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    free = {part: {"listen": "127.0.0.1:0"} for part in ("picker", "adapter", "telemetry")}
    async with real_health({"": NOT_SERVING, "sql-lora": SERVING}) as (port, _):
        asked = {"port": port, "names": ["sql-lora"], "interval_seconds": 0.1}
        document = {"discovery": {"file": "discovery.yaml"}, "grpc_health": asked, **free}
        (tmp_path / "serve.yaml").write_text(yaml.safe_dump(document))
        config = await asyncio.to_thread(load_config, tmp_path / "serve.yaml")
        async with serving(config) as running, ClientSession() as session, asyncio.timeout(10):
            while True:
                async with session.get(f"{running.telemetry.url}/metrics") as response:
                    page = await response.text()
                if 'not_serving_endpoints{pool="default/default"} 2.0' in page:
                    break
                await asyncio.sleep(0.02)
            [snapshot] = running.store.snapshots()
    assert [None if each is None else each.loaded for each in snapshot.columns.lora] == [{"sql-lora"}] * 2
    assert not snapshot.columns.ready.any()
    assert 'infscale_grpc_health_rounds_total{endpoint="default/vllm-1"}' in page
