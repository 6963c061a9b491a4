"""Own metrics and the debug document show what the store knows, and nothing it does not."""

import json
from collections.abc import Iterable

from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from infscale.config.settings import FormulaSettings
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.published.catalogue import PUBLISHED, PublishedMetric
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.sample import ModelLoad
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import ScrapeHealth
from infscale.scrape.processes import ProcessStats
from infscale.serving.collecting import OF_ENDPOINTS
from infscale.sources.gpu_kinds import DCGM_KIND
from infscale.telemetry.own_metrics import OwnMetrics
from infscale.telemetry.source_metrics import DiscoveryCollector, ScrapeProcessesCollector, ScrapesCollector
from infscale.telemetry.telemetry_server import StoreCollector, TelemetryListen, TelemetryServer
from tests.fakes.samples import engine_sample

POOL = Pool(ObjectKey("llm", "chat"), {})
KEYS = [EndpointKey("llm", f"vllm-{number}") for number in range(2)]


def store() -> MetricStore:
    made = MetricStore("s")
    endpoints = tuple(Endpoint(key, f"10.0.0.{number + 1}", 8000) for number, key in enumerate(KEYS))
    made.sync(DiscoveryState(endpoints, (POOL,)))
    made.record_scrape(KEYS[0], engine_sample(6.0, 2.0, 0.4, {"m": ModelLoad(6.0, 2.0)}), at=9.0)
    made.record_failure(KEYS[1], "connection refused", at=9.5)
    made.charge(POOL.key, 0, "m", 100, 9.6)
    return made


async def fetched(made: MetricStore, path: str, now: float, metrics: Iterable[PublishedMetric] = PUBLISHED) -> str:
    """What the server answers at `now`."""
    shown = OwnMetrics([StoreCollector(made, lambda: now, metrics)])
    async with (
        TelemetryServer(TelemetryListen("127.0.0.1", 0), made, shown, lambda: now) as server,
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as response,
    ):
        return await response.text()


async def test_metrics_leave_out_what_is_unknown() -> None:
    page = await fetched(store(), "/metrics", 10.0)
    samples = {
        (sample.name, sample.labels.get("endpoint") or sample.labels.get("model", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["infscale_endpoint_waiting_requests", str(KEYS[0])] == 6
    assert ("infscale_endpoint_waiting_requests", str(KEYS[1])) not in samples
    assert samples["infscale_endpoint_age_seconds", str(KEYS[0])] == 1
    assert samples["infscale_pool_waiting_requests", "m"] == 12
    assert samples["infscale_pool_saturated_endpoints", ""] == 1
    assert samples["infscale_endpoint_in_flight_tokens", str(KEYS[0])] == 100


async def test_metrics_leave_out_what_is_stale() -> None:
    page = await fetched(store(), "/metrics", 9.0 + 60.0)
    assert "infscale_endpoint_waiting_requests{" not in page
    assert "infscale_endpoint_saturation_ratio{" not in page
    assert 'infscale_endpoint_age_seconds{endpoint="llm/vllm-0",pool="llm/chat"} 60.0' in page
    assert "infscale_endpoint_in_flight_tokens{" in page


async def test_formulas_of_the_configuration_are_on_the_page() -> None:
    table = MetricTable.of([FormulaSettings("pressure_ratio", "waiting_requests / 3", "ratio", "how full")])
    page = await fetched(store(), "/metrics", 10.0, table)
    assert 'infscale_pool_pressure_ratio{model="m",pool="llm/chat"} 4.0' in page
    assert "infscale_pool_waiting_requests" in page


async def test_the_debug_document_has_ages_revision_and_causes() -> None:
    made = store()
    document = json.loads(await fetched(made, "/debug/snapshot", 12.0))
    (pool,) = document["pools"]
    first, second = pool["endpoints"]
    assert pool["revision"] == made.snapshots()[0].revision
    assert (first["age_seconds"], first["fresh"], first["saturation_ratio"]) == (3.0, False, None)
    assert second["waiting_requests"] is None
    assert second["last_failure"] == {"cause": "connection refused", "age_seconds": 2.5, "consecutive": 1}


def test_how_sources_do_is_exported_as_far_as_it_is_known() -> None:
    endpoints = {"llm/vllm-0": ScrapeHealth(scrapes=7, failures=2, duration_seconds=0.25, page_bytes=90_000)}
    exporters = {"http://10.0.0.1:9400/metrics": ScrapeHealth(scrapes=1)}
    registry = CollectorRegistry()
    for collector in (
        ScrapesCollector(OF_ENDPOINTS, lambda: endpoints),
        ScrapesCollector(DCGM_KIND.words, lambda: exporters),
        ScrapeProcessesCollector(ProcessStats({"hung": 2}, 5)),
        DiscoveryCollector(lambda: 3),
    ):
        registry.register(collector)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert lines == [
        'infscale_scrapes_total{endpoint="llm/vllm-0"} 7.0',
        'infscale_scrape_failures_total{endpoint="llm/vllm-0"} 2.0',
        'infscale_scrape_duration_seconds{endpoint="llm/vllm-0"} 0.25',
        'infscale_scrape_page_bytes{endpoint="llm/vllm-0"} 90000.0',
        'infscale_exporter_scrapes_total{exporter="http://10.0.0.1:9400/metrics"} 1.0',
        'infscale_exporter_scrape_failures_total{exporter="http://10.0.0.1:9400/metrics"} 0.0',
        'infscale_scrape_processes_replaced_total{reason="hung"} 2.0',
        "infscale_scrape_faults_total 5.0",
        "infscale_discovery_refusals_total 3.0",
    ]


async def test_the_debug_document_is_for_this_machine_alone() -> None:
    async with (
        TelemetryServer(TelemetryListen("0.0.0.0", 0), store(), OwnMetrics(), lambda: 10.0) as server,
        ClientSession() as session,
    ):
        statuses: dict[str, int] = {}
        for path in ("/metrics", "/healthz", "/debug/snapshot"):
            async with session.get(f"http://127.0.0.1:{server.port}{path}") as response:
                statuses[path] = response.status
    assert statuses == {"/metrics": 200, "/healthz": 200, "/debug/snapshot": 404}
