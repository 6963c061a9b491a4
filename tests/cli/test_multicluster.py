"""A picker that chooses among clusters by what the pickers of these publish, over real pages."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc.aio
import pytest
import yaml
from aiohttp import web

from infscale.config.read import load_config
from infscale.metrics.snapshot import PoolSnapshot
from infscale.serving.composition import Serving, serving
from tests.scrape.pages import vllm_page
from tests.scrape.servers import http_server
from tests.serving.test_scheduling import destination

EPP = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {name: clusters, type: multicluster-file-discovery, parameters: {path: CLUSTERS, watchFile: true}}
- {name: source, type: multicluster-metrics-data-source, parameters: {scheme: http}}
- {name: extractor, type: multicluster-metrics-extractor}
- {type: multicluster-queue-scorer}
- {type: multicluster-kv-cache-utilization-scorer}
dataLayer:
  discovery: {pluginRef: clusters}
  sources: [{pluginRef: source, extractors: [{pluginRef: extractor}]}]
"""
EAST, WEST = "localhost:1", "localhost:2"


def configured(folder: Path, endpoints: list[dict[str, object]], processes: int = 0, epp: str | None = None) -> Path:
    folder.mkdir()
    (folder / "endpoints.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    document: dict[str, object] = {
        "discovery": {"file": "endpoints.yaml", "poll_interval_seconds": 0.02},
        "scrape": {"interval_seconds": 0.05, "staleness_limit_seconds": 1, "processes": processes},
        "picker": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": "127.0.0.1:0"},
    }
    if epp is not None:
        (folder / "epp.yaml").write_text(epp.replace("CLUSTERS", str(folder / "endpoints.yaml")))
        document["picker"] = {"listen": "127.0.0.1:0", "config_file": "epp.yaml"}
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@asynccontextmanager
async def leaf(folder: Path, *pages: bytes) -> AsyncGenerator[Serving]:
    """The picker of one cluster, whose model servers have these metrics pages."""
    async with AsyncExitStack() as stack:
        endpoints: list[dict[str, object]] = []
        for number, page in enumerate(pages):

            async def answer(_: web.Request, page: bytes = page) -> web.Response:
                return web.Response(body=page)

            host, _, port = (await stack.enter_async_context(http_server(answer))).rpartition(":")
            endpoints.append({"name": f"vllm-{number}", "address": host, "port": int(port)})
        config = await asyncio.to_thread(load_config, await asyncio.to_thread(configured, folder, endpoints))
        yield await stack.enter_async_context(serving(config, {"picker"}))


def cluster(name: str, place: str, running: Serving) -> dict[str, object]:
    address, _, port = place.partition(":")
    labels = {"metricsAddress": "localhost", "metricsPort": str(running.telemetry.port)}
    return {"name": name, "address": address, "port": port, "labels": labels}


async def seen(running: Serving, holds: Callable[[PoolSnapshot], bool]) -> PoolSnapshot:
    async with asyncio.timeout(10):
        while True:
            (snapshot,) = running.store.snapshots()
            if holds(snapshot):
                return snapshot
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("processes", [0, 1], ids=["in one process", "scraped beside"])
async def test_the_cluster_with_the_shorter_queue_gets_the_request(tmp_path: Path, processes: int) -> None:
    async with (
        leaf(tmp_path / "east", vllm_page(4.0, 8.0, 0.5), vllm_page(2.0, 8.0, 0.1)) as east,
        leaf(tmp_path / "west", vllm_page(0.0, 1.0, 0.2)) as west,
    ):
        clusters = [cluster("east", EAST, east), cluster("west", WEST, west)]
        path = await asyncio.to_thread(configured, tmp_path / "hub", clusters, processes, EPP)
        async with (
            serving(await asyncio.to_thread(load_config, path), {"picker"}) as hub,
            grpc.aio.insecure_channel(f"127.0.0.1:{hub.transport.port if hub.transport else 0}") as channel,
        ):
            snapshot = await seen(hub, lambda pool: pool.columns.gauges.waiting.tolist() == [3.0, 0.0])
            assert snapshot.columns.gauges.kv_utilization.tolist() == [pytest.approx(0.3), 0.2]
            # Averages are no counts: what is in flight is not held against them.
            assert all(math.isnan(value) for value in snapshot.columns.gauges.running)
            assert await destination(channel) == WEST
            # Nothing writes, or reads, the rest of a page that may tell of a thousand endpoints.
            assert {health.mode for health in hub.scrapes.health().values()} == {"named"}
            # A picker without model servers says so, and its cluster is no candidate however short its queue was.
            await asyncio.to_thread((tmp_path / "west" / "endpoints.yaml").write_text, json.dumps({"endpoints": []}))
            snapshot = await seen(hub, lambda pool: len(pool.candidates(asyncio.get_running_loop().time())) == 1)
            failure = snapshot.columns.failures[1]
            assert failure is not None
            assert failure.cause == "the page is an average over no endpoint"
            assert await destination(channel) == EAST


async def test_a_page_has_averages_of_what_is_known_alone(tmp_path: Path) -> None:
    async with leaf(tmp_path / "east", vllm_page(4.0, 8.0, 0.5), b"vllm:num_requests_waiting 1\n") as east:
        await seen(east, lambda pool: not math.isnan(float(pool.columns.gauges.waiting.sum())))
        async with aiohttp.ClientSession() as session, session.get(f"{east.telemetry.url}/metrics") as response:
            lines = (await response.text()).splitlines()
    labels = '{name="default",pool="default/default"}'
    assert [line for line in lines if line.startswith("llm_d_epp_")] == [
        f"llm_d_epp_average_queue_size{labels} 2.5",
        f"llm_d_epp_average_running_requests{labels} 8.0",
        f"llm_d_epp_average_kv_cache_utilization{labels} 0.5",
        f"llm_d_epp_ready_endpoints{labels} 2.0",
    ]
