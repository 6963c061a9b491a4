"""prometheus-adapter's rules beside a real Prometheus: the same numbers, and what happens when it is in trouble."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from infscale.config.read import load_config
from infscale.labels import model_key
from infscale.latency.step_model import StepModel
from infscale.quantity import parse_quantity
from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet
from tests.prometheus.fake_prometheus import FakePrometheus, hang, listening, vector
from tests.prometheus.real_prometheus import RealPrometheus, Scraped, prometheus
from tests.sim.simulated import MODEL, QUICK, Client, quick_settings, running

CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/llm"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/llm"
# In the form of the documentation of prometheus-adapter.
RULES = """\
rules:
- seriesQuery: '{__name__=~"^vllm:num_.*",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^vllm:(.*)$", as: "vllm_${1}"}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: '{__name__=~"^vllm:num_requests_.*",namespace!="",pod!=""}'
  seriesFilters: [{isNot: "waiting"}]
  resources: {template: "<<.Resource>>"}
  name: {matches: "^vllm:(.*)$", as: "${1}_in_a_minute"}
  metricsQuery: 'max(max_over_time(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
- seriesQuery: 'DCGM_FI_DEV_FB_USED{namespace!="",pod!=""}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
externalRules:
- seriesQuery: '{__name__=~"^vllm:num_requests_running$"}'
  resources: {overrides: {namespace: {resource: namespace}}}
  name: {as: "running_everywhere"}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (engine_kind)'
"""
EVALUATED = {"interval_seconds": 0.2, "relist_seconds": 1.0}


@dataclass(frozen=True)
class Adapter:
    """An adapter as its clients see it."""

    running: Serving
    session: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, Any]:
        assert self.running.adapter is not None
        trusted = ssl.create_default_context(cadata=(self.running.adapter.ca_pem or b"").decode())
        trusted.check_hostname = False
        async with self.session.get(self.running.adapter.url + path, ssl=trusted) as response:
            return response.status, await response.json()

    async def values(self, path: str) -> dict[str, float]:
        """The values of a list by what they are of, once it is answered."""
        async with asyncio.timeout(15):
            while True:
                status, document = await self.get(path)
                if status == 200:
                    return {_of(each): float(parse_quantity(each["value"])) for each in document["items"]}
                assert status == 503, document["message"]
                await asyncio.sleep(0.05)

    async def until_all(self, path: str, count: int) -> None:
        """Wait until a list has so many values."""
        async with asyncio.timeout(15):
            while len(await self.values(path)) < count:
                await asyncio.sleep(0.05)

    async def refusal(self, path: str, fits: Callable[[str], bool]) -> str:
        """The words of a refusal, once they fit."""
        async with asyncio.timeout(15):
            while True:
                status, document = await self.get(path)
                if status == 503 and fits(document["message"]):
                    return str(document["message"])
                await asyncio.sleep(0.05)

    async def debug(self) -> Any:
        async with self.session.get(f"{self.running.telemetry.url}/debug/rules") as response:
            return await response.json()


def _of(item: Mapping[str, Any]) -> str:
    if "describedObject" in item:
        return str(item["describedObject"]["name"])
    return ",".join(f"{name}={value}" for name, value in item["metricLabels"].items())


@contextlib.asynccontextmanager
async def adapting(
    folder: Path,
    endpoints: Mapping[str, Any],
    url: str,
    rules: str = RULES,
    staleness_seconds: float = 3.0,
    queries: Sequence[Mapping[str, object]] = (),
    **sections: object,
) -> AsyncGenerator[Adapter, None]:
    used = {"file": "rules.yaml", **EVALUATED, "staleness_limit_seconds": staleness_seconds}
    document = {
        "discovery": {"file": "discovery.yaml", "default_pool": "llm/pool"},
        **{part: {"listen": "127.0.0.1:0"} for part in ("picker", "adapter", "telemetry")},
        "scrape": {"staleness_limit_seconds": 20.0},
        "prometheus": {
            "servers": {"main": {"url": url, "timeout_seconds": 0.5, "workers": 2}},
            "adapter_rules": used,
            "queries": list(queries),
        },
        **sections,
    }

    def load() -> Any:
        (folder / "rules.yaml").write_text(rules)
        (folder / "discovery.yaml").write_text(yaml.safe_dump(dict(endpoints)))
        (folder / "serve.yaml").write_text(yaml.safe_dump(document))
        return load_config(folder / "serve.yaml")

    config = await asyncio.to_thread(load)
    async with serving(config, {"adapter"}) as started, aiohttp.ClientSession() as session:
        yield Adapter(started, session)


@contextlib.asynccontextmanager
async def busy_servers() -> AsyncGenerator[SimFleet, None]:
    """Two servers that work on two and on one request, for longer than the test takes."""
    slow = replace(QUICK, steps=StepModel(0.05, 1e-6, 0.0, 0.0))
    named = [
        quick_settings(f"vllm-{each}", namespace="llm", dcgm_port=0, coefficients=slow, labels={"app": "vllm"})
        for each in range(2)
    ]
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 2_000}
    async with running(*named) as (fleet, clients), asyncio.TaskGroup() as group:
        work = [group.create_task(_post(clients[place], body)) for place in (0, 0, 1)]
        async with asyncio.timeout(5):
            while [server.running for server in fleet.servers] != [2, 1]:
                await asyncio.sleep(0.01)
        yield fleet
        for each in work:
            each.cancel()


async def _post(client: Client, body: Mapping[str, Any]) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        await client.post("/v1/completions", body)


def targets(fleet: SimFleet) -> list[Scraped]:
    pages = [
        Scraped(f"127.0.0.1:{each.port}", {"namespace": "llm", "pod": each.settings.name, "engine_kind": "vllm"})
        for each in fleet.servers
    ]
    return [*pages, *(Scraped(f"127.0.0.1:{each.dcgm_port}", {}) for each in fleet.servers)]


@contextlib.asynccontextmanager
async def scraped(folder: Path) -> AsyncGenerator[tuple[SimFleet, RealPrometheus], None]:
    async with busy_servers() as fleet, prometheus(folder, targets(fleet)) as real:
        await real.has("vllm:num_requests_running > 0", 2)
        await real.has("DCGM_FI_DEV_FB_USED > 0", 2)
        yield fleet, real


SAME = {
    f"{CUSTOM}/pods/*/vllm_num_requests_running": 'sum(vllm:num_requests_running{namespace="llm"}) by (pod)',
    f"{CUSTOM}/pods/vllm-0/vllm_num_requests_running": 'sum(vllm:num_requests_running{pod="vllm-0"}) by (pod)',
    f"{CUSTOM}/pods/*/num_requests_running_in_a_minute": "max(max_over_time(vllm:num_requests_running[1m])) by (pod)",
    f"{CUSTOM}/metrics/vllm_num_requests_running": 'sum(vllm:num_requests_running{namespace="llm"}) by (namespace)',
    f"{CUSTOM}/pods/*/DCGM_FI_DEV_FB_USED": "sum(DCGM_FI_DEV_FB_USED) by (pod)",
    f"{EXTERNAL}/running_everywhere": 'sum(vllm:num_requests_running{namespace="llm"}) by (engine_kind)',
}


QUERIES: tuple[Mapping[str, object], ...] = (
    {
        "name": "most_running_requests",
        "unit": "requests",
        "of": "pod",
        "query": "max_over_time(vllm:num_requests_running[1m])",
        "aggregation": "highest",
        "interval_seconds": 0.3,
    },
    {
        "name": "gateway_requests",
        "unit": "requests",
        "query": 'sum(vllm:num_requests_running{namespace="${namespace}"}) + 0 * count(up{pod!="${pool}"})',
        "interval_seconds": 0.3,
    },
    {
        "name": "running_requests_by_engine",
        "unit": "requests",
        "of": "model",
        "labels": {"pool": "pool", "model": "model_name"},
        "query": 'label_replace(sum by (namespace, model_name) (vllm:num_requests_running), "pool", "pool", "", "")',
        "timestamps": "min by (namespace) (timestamp(vllm:num_requests_running))",
        "interval_seconds": 0.3,
    },
)


FORMULAS = [{"name": "pressure_ratio", "unit": "ratio", "formula": "gateway_requests / running_requests"}]


@pytest.mark.prometheus
@pytest.mark.timeout(90)
async def test_the_numbers_are_those_of_the_prometheus(tmp_path: Path) -> None:
    async with scraped(tmp_path) as (fleet, real):
        exporters = [f"http://127.0.0.1:{each.dcgm_port}/metrics" for each in fleet.servers]
        dcgm = {"targets": exporters, "interval_seconds": 0.5}
        endpoints = fleet.discovery_document()
        async with adapting(tmp_path, endpoints, real.url, queries=QUERIES, dcgm=dcgm, metrics=FORMULAS) as adapter:
            await _rules_have_the_same_numbers(adapter, real)
            await _queries_are_published_beside_the_other_metrics(adapter)


async def _rules_have_the_same_numbers(adapter: Adapter, real: RealPrometheus) -> None:
    # Before the first scrapes, the Prometheus would be asked instead.
    for own in ("running_requests", "gpu_memory_used_bytes"):
        await adapter.until_all(f"{CUSTOM}/pods/*/{own}", 2)
    for path, query in SAME.items():
        expected = {next(iter(labels.values())): value for labels, value in await real.query(query)}
        found = await adapter.values(path)
        assert {name.rpartition("=")[2]: value for name, value in found.items()} == pytest.approx(expected), path
    document = await adapter.debug()
    own = {name: each["answered_from"] for name, each in document["objects"].items()}
    assert own["pods/vllm_num_requests_running"] == "own scrapes (running_requests), then prometheus"
    assert own["pods/num_requests_running_in_a_minute"] == "prometheus"
    asked = {each["question"]: each for each in document["asked"]}
    assert not [question for question in asked if "vllm_num_requests_running of pods" in question]
    assert all(0.0 <= each["oldest_seconds"] < 3.0 for each in asked.values()), "ages are those of samples"


async def _queries_are_published_beside_the_other_metrics(adapter: Adapter) -> None:
    pools = "inferencepools.inference.networking.k8s.io"
    await adapter.until_all(f"{CUSTOM}/pods/*/running_requests", 2)
    await adapter.until_all(f"{CUSTOM}/pods/*/most_running_requests", 2)
    assert await adapter.values(f"{CUSTOM}/pods/*/most_running_requests") == {"vllm-0": 2.0, "vllm-1": 1.0}
    assert await adapter.values(f"{CUSTOM}/{pools}/pool/most_running_requests") == {"pool": 2.0}
    assert await adapter.values(f"{CUSTOM}/{pools}/pool/gateway_requests") == {"pool": 3.0}
    assert await adapter.values(f"{EXTERNAL}/gateway_requests") == {"pool=pool": 3.0}
    assert await adapter.values(f"{CUSTOM}/{pools}/pool/pressure_ratio") == {"pool": 1.0}
    by_engine = await adapter.values(f"{EXTERNAL}/running_requests_by_engine")
    assert by_engine == {f"pool=pool,model={MODEL},model_key={model_key(MODEL)}": 3.0}
    status, refused = await adapter.get(f"{CUSTOM}/pods/vllm-0/gateway_requests")
    assert (status, "a number of a whole InferencePool" in refused["message"]) == (404, True)
    telemetry = adapter.running.telemetry.url
    async with adapter.session.get(f"{telemetry}/metrics") as response:
        assert 'infscale_pool_gateway_requests{model="",pool="llm/pool"} 3.0' in await response.text()
    async with adapter.session.get(f"{telemetry}/debug/snapshot") as response:
        (pool,) = (await response.json())["pools"]
    said = pool["queried"]["most_running_requests"]["values"]["llm/vllm-0"]
    assert said["value"] == 2.0
    assert 0.0 <= said["age_seconds"] < 3.0


@pytest.mark.prometheus
@pytest.mark.timeout(60)
async def test_a_prometheus_that_hangs_or_is_gone_makes_its_own_values_unknown(tmp_path: Path) -> None:
    path = f"{CUSTOM}/pods/*/num_requests_running_in_a_minute"
    async with (
        scraped(tmp_path) as (fleet, real),
        adapting(tmp_path, fleet.discovery_document(), real.url) as adapter,
    ):
        await adapter.until_all(f"{CUSTOM}/pods/*/running_requests", 2)
        await adapter.until_all(path, 2)
        assert await adapter.values(path) == {"vllm-0": 2.0, "vllm-1": 1.0}
        real.pause(stopped=True)
        words = await adapter.refusal(path, lambda words: "the last query failed" in words)
        assert "used for 3 s" in words
        assert "timed out after 0.5 s" in words
        assert (await adapter.values(f"{CUSTOM}/pods/*/running_requests")) == {"vllm-0": 2.0, "vllm-1": 1.0}
        real.pause(stopped=False)
        await adapter.until_all(path, 2)
        assert await adapter.values(path) == {"vllm-0": 2.0, "vllm-1": 1.0}
        real.process.kill()
        await real.process.wait()
        assert "connection refused" in await adapter.refusal(path, lambda words: "refused" in words)


FAULTS: Mapping[str, tuple[Callable[[FakePrometheus], None], str]] = {
    "slow": (lambda fake: setattr(fake, "answer", hang), "timed out after 0.5 s"),
    "partial": (
        lambda fake: fake.queries.update(
            {each: {**vector(), "warnings": ["a store is down"]} for each in fake.queries}
        ),
        "may be partial: a store is down",
    ),
    "no number": (
        lambda fake: fake.queries.update(dict.fromkeys(fake.queries, vector(({"pod": "a"}, "NaN")))),
        "a: its value is no finite number",
    ),
    "no rows": (lambda fake: fake.queries.clear(), "gives no row for it"),
}
ONE_RULE = """
rules:
- {seriesQuery: queue, resources: {template: "<<.Resource>>"}, metricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>})"}
"""


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_prometheus_in_trouble_makes_its_own_values_unknown_and_no_others(fault: str, tmp_path: Path) -> None:
    query = 'sum(queue{namespace="llm",pod="a"})'
    ages = f"min by (pod) (timestamp({query.removeprefix('sum(').removesuffix(')')}))"
    fake = FakePrometheus(
        {query: vector(({"pod": "a"}, "3")), ages: vector(({"pod": "a"}, "999.9"))},
        {"queue": [{"__name__": "queue", "namespace": "llm", "pod": "a"}]},
    )
    damage, words = FAULTS[fault]
    path = f"{CUSTOM}/pods/a/queue"
    endpoints = {"endpoints": [{"name": "e", "address": "127.0.0.1", "port": "1", "namespace": "llm"}]}
    async with listening(fake), adapting(tmp_path, endpoints, fake.url, ONE_RULE, 1.0) as adapter:
        assert await adapter.values(path) == {"a": 3.0}
        damage(fake)
        assert words in await adapter.refusal(path, lambda said: words in said)
        assert (await adapter.get(f"{CUSTOM}/pods/*/in_flight_requests"))[0] == 200


async def test_rules_leave_a_connection_to_queries_of_the_same_server(tmp_path: Path) -> None:
    held: list[str] = []
    fake = FakePrometheus({"gateway": vector(({"namespace": "llm", "pool": "pool"}, "3"))})

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/series"):
            held.append(request.path)
            return await hang(request)
        return web.json_response(fake.queries["gateway"])

    fake.answer = answer
    rules = "rules:\n" + "".join(ONE_RULE.split("rules:\n")[1].replace("queue", f"queue{each}") for each in range(6))
    section: dict[str, object] = {
        "adapter_rules": "rules.yaml",
        "queries": [{"name": "gateway_load", "query": "gateway", "interval_seconds": 0.3}],
    }

    def asked() -> int:
        return len([query for _, query, _ in fake.asked if query == "gateway"])

    async with listening(fake):
        section["servers"] = {"main": {"url": fake.url, "timeout_seconds": 30.0, "workers": 2}}
        async with adapting(tmp_path, {"endpoints": []}, fake.url, rules, prometheus=section), asyncio.timeout(10):
            while not held:
                await asyncio.sleep(0.01)
            before = asked()
            while asked() < before + 3:
                await asyncio.sleep(0.01)
            assert len(held) == 1, "one of the two connections is for rules"


async def test_the_file_of_rules_is_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = FakePrometheus(series={"queue": [{"__name__": "queue", "namespace": "llm", "pod": "a"}]})
    async with listening(fake), adapting(tmp_path, {"endpoints": []}, fake.url, ONE_RULE) as adapter:
        renamed = ONE_RULE.replace("template:", "namespaced: true, template:").replace(
            "seriesQuery: queue,", "seriesQuery: queue, name: {as: renamed},"
        )
        await adapter.refusal(f"{CUSTOM}/pods/a/queue", lambda words: "gives no row" in words)
        await asyncio.to_thread((tmp_path / "rules.yaml").write_text, "rules: [")
        await asyncio.to_thread((tmp_path / "rules.yaml").write_text, renamed)
        async with asyncio.timeout(10):
            while "pods/renamed" not in (await adapter.debug())["objects"]:
                await asyncio.sleep(0.05)
            assert "resourceRules" not in caplog.text
            resources = f"{renamed}\nresourceRules: {{cpu: {{}}}}\n"
            await asyncio.to_thread((tmp_path / "rules.yaml").write_text, resources)
            while "resourceRules: not served" not in caplog.text:
                await asyncio.sleep(0.05)
