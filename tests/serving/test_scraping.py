"""How endpoints are scraped where two files speak, and by names of one's own from flag to store."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from infscale.config.read import load_config
from infscale.config.settings import ScrapeSettings, ServeConfig
from infscale.errors import ConfigError
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames
from infscale.metrics.sample import LoraState
from infscale.metrics.snapshot import PoolSnapshot
from infscale.reference import flags as reference_flags
from infscale.reference.translation import translate
from infscale.scrape.tls_trust import PageCertificates
from infscale.serving.composition import Serving, serving
from infscale.serving.scraping import scraping
from picker.epp_config.discovery_source import FileSource
from picker.epp_config.loader import load_picker_config
from picker.epp_config.scraping_parameters import NO_WISHES, ScrapeWishes
from tests.metrics.pages.test_written_dialects import RENAMED

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
GAUGES = NOT_GIVEN._replace(waiting="q", running="r", kv_utilization="")
ACME = EngineNames("acme", None, GAUGES, lora="", cache_info="", block_size="", num_blocks="")
OTHER = EngineNames("acme", "vllm")
DEFAULT = ScrapeSettings()


def wishes(plugins: str) -> ScrapeWishes:
    return load_picker_config(f"{HEAD}plugins:\n{plugins}", "epp.yaml").scraping


@pytest.mark.parametrize(
    ("settings", "asked", "expected"),
    [
        pytest.param(DEFAULT, NO_WISHES, DEFAULT, id="nothing is asked"),
        pytest.param(
            DEFAULT,
            ScrapeWishes(scheme="https", path="/m", port=9, verify_tls=False),
            ScrapeSettings(scheme="https", path="/m", port=9, verify_tls=False),
            id="one speaks",
        ),
        pytest.param(
            ScrapeSettings(dialect="sglang", port=9),
            ScrapeWishes(default_engine="sglang", port=9),
            ScrapeSettings(dialect="sglang", port=9),
            id="both say the same",
        ),
        pytest.param(
            ScrapeSettings(dialects=(OTHER,)),
            ScrapeWishes((replace(OTHER, attributes={"heat": "h"}),)),
            ScrapeSettings(dialects=(replace(OTHER, attributes={"heat": "h"}),)),
            id="the same engine, and numbers that only one has a word for",
        ),
        pytest.param(
            ScrapeSettings(dialects=(OTHER,)),
            ScrapeWishes((EngineNames("own", "vllm"),), "own", "engine"),
            ScrapeSettings(dialects=(OTHER, EngineNames("own", "vllm")), dialect="own", engine_label="engine"),
            id="engines of both",
        ),
    ],
)
def test_what_is_asked_for_takes_the_place_of_defaults(
    settings: ScrapeSettings, asked: ScrapeWishes, expected: ScrapeSettings
) -> None:
    assert scraping(settings, asked) == expected


@pytest.mark.parametrize(
    ("settings", "asked", "problem"),
    [
        (
            ScrapeSettings(scheme="https"),
            ScrapeWishes(scheme="http", source="e:3"),
            "e:3: scheme: differs from scrape.scheme",
        ),
        (
            ScrapeSettings(verify_tls=False),
            ScrapeWishes(verify_tls=True, source="e:3"),
            "e:3: insecureSkipVerify: differs",
        ),
        (
            ScrapeSettings(dialect="vllm"),
            ScrapeWishes(default_engine="sglang", extractor="e:4"),
            "e:4: defaultEngine: differs",
        ),
        (
            ScrapeSettings(dialects=(OTHER,)),
            ScrapeWishes((ACME,), extractor="e:4"),
            "e:4: engineConfigs: the engine 'acme'",
        ),
    ],
    ids=["scheme", "verification", "engine", "names"],
)
def test_two_that_differ_are_refused(settings: ScrapeSettings, asked: ScrapeWishes, problem: str) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(problem)) as caught:
        scraping(settings, asked)
    assert "remove one or make them equal" in str(caught.value)


SERVED = """\
- type: core-metrics-extractor
  parameters:
    engineLabelKey: engine
    defaultEngine: acme
    engineConfigs:
    - name: acme
      queuedRequestsSpec: acme_queue{state=waiting}
      runningRequestsSpec: acme_queue{state=running}
      kvUsageSpec: acme_kv_ratio
      loraSpec: acme_lora{tier=gpu}
      cacheInfoSpec: acme_cache
      cacheBlockSizeLabelName: page
      cacheNumBlocksLabelName: pages
      customMetrics:
      - {attributeKey: heat, metricSpec: acme_heat_celsius}
    - {name: vllm, queuedRequestsSpec: "vllm:num_requests_waiting"}
"""


def test_an_extractor_says_what_engines_call_things() -> None:
    found = wishes(SERVED)
    acme, vllm = found.engines
    assert (found.default_engine, found.engine_label) == ("acme", "engine")
    assert acme == EngineNames(
        name="acme",
        gauges=NOT_GIVEN._replace(
            waiting="acme_queue{state=waiting}",
            running="acme_queue{state=running}",
            kv_utilization="acme_kv_ratio",
        ),
        lora="acme_lora{tier=gpu}",
        cache_info="acme_cache",
        block_size_label="page",
        num_blocks_label="pages",
        block_size="",
        num_blocks="",
        attributes={"heat": "acme_heat_celsius"},
    )
    # What the reference knows of an engine and is not given is not there; what only we read of it stays.
    dialect = vllm.dialect()
    assert (dialect.gauges.running, dialect.gauges.kv_utilization) == ((), ())
    assert (dialect.lora, dialect.block_size) == (None, ())
    assert dialect.histograms


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{}", ScrapeWishes(source="epp.yaml:4")),
        ("{scheme: https}", ScrapeWishes(scheme="https", verify_tls=False, source="epp.yaml:4")),
        (
            "{scheme: https, path: /m, port: 9, insecureSkipVerify: false}",
            ScrapeWishes(scheme="https", path="/m", port=9, verify_tls=True, source="epp.yaml:4"),
        ),
        ("{port: 0}", ScrapeWishes(source="epp.yaml:4")),
        (
            "{scheme: https, insecureSkipVerify: false, caCertPath: /ca, clientCertPath: /c, clientKeyPath: /k}",
            ScrapeWishes(
                scheme="https",
                verify_tls=True,
                certificates=PageCertificates(Path("/ca"), (Path("/c"), Path("/k"))),
                source="epp.yaml:4",
            ),
        ),
    ],
)
def test_a_source_says_where_pages_are(parameters: str, expected: ScrapeWishes) -> None:
    assert wishes(f"- {{type: metrics-data-source, parameters: {parameters}}}\n") == expected


AVERAGES = EngineNames(
    "multicluster",
    gauges=NOT_GIVEN._replace(
        waiting="llm_d_epp_average_queue_size", kv_utilization="llm_d_epp_average_kv_cache_utilization"
    ),
    members="llm_d_epp_ready_endpoints",
)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("", AVERAGES),
        (", parameters: {queueSizeMetric: '', kvCacheUtilizationMetric: ''}", AVERAGES),
        (
            ", parameters: {queueSizeMetric: 'queue{name=chat}', kvCacheUtilizationMetric: 'kv{name=chat}'}",
            replace(
                AVERAGES,
                gauges=NOT_GIVEN._replace(waiting="queue{name=chat}", kv_utilization="kv{name=chat}"),
                members="llm_d_epp_ready_endpoints{name=chat}",
            ),
        ),
    ],
    ids=["usual", "empty", "of one pool"],
)
def test_an_extractor_of_clusters_reads_averages(parameters: str, expected: EngineNames) -> None:
    assert wishes(f"- {{type: multicluster-metrics-extractor{parameters}}}\n") == ScrapeWishes(
        (expected,), "multicluster", extractor="epp.yaml:4"
    )


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("", ScrapeWishes(scheme="https", verify_tls=True)),
        (", parameters: {insecureSkipVerify: true}", ScrapeWishes(scheme="https", verify_tls=False)),
        (
            ", parameters: {scheme: http, path: /m, port: 9}",
            ScrapeWishes(scheme="http", path="/m", port=9, verify_tls=True),
        ),
        (
            ", parameters: {caCertPath: /ca}",
            ScrapeWishes(scheme="https", verify_tls=True, certificates=PageCertificates(Path("/ca"))),
        ),
    ],
)
def test_pages_of_clusters_are_encrypted_and_verified_unless_told_otherwise(
    parameters: str, expected: ScrapeWishes
) -> None:
    found = wishes(f"- {{type: multicluster-metrics-data-source{parameters}}}\n")
    assert found == replace(expected, source="epp.yaml:4")


def test_authorities_that_nobody_asks_are_said_to_be() -> None:
    plugin = "- {type: metrics-data-source, parameters: {scheme: https, caCertPath: /ca}}\n"
    (note,) = load_picker_config(f"{HEAD}plugins:\n{plugin}", "epp.yaml").notes
    assert note.startswith("epp.yaml:4: plugins[0].parameters.caCertPath: has no effect: any certificate will do")


def test_what_changes_nothing_of_a_source_is_said() -> None:
    plugin = "- {type: metrics-data-source, parameters: {interval: 1s, families: [a]}}\n"
    notes = load_picker_config(f"{HEAD}plugins:\n{plugin}", "epp.yaml").notes
    assert [note.partition(" has no effect")[0] for note in notes] == [
        f"epp.yaml:4: plugins[0].parameters.{name}:" for name in ("families", "interval")
    ]


@pytest.mark.parametrize(
    ("plugin", "problem"),
    [
        ("metrics-data-source, parameters: {scheme: ftp}", "scheme: expected one of http, https, got 'ftp'"),
        ("metrics-data-source, parameters: {path: m}", "path: expected a path such as /metrics"),
        ("metrics-data-source, parameters: {port: 65536}", "port: expected at most 65535"),
        ("metrics-data-source, parameters: {clientCertPath: /c}", "parameter 'clientKeyPath' is missing"),
        ("metrics-data-source, parameters: {clientKeyPath: /k}", "parameter 'clientCertPath' is missing"),
        ('metrics-data-source, parameters: {caCertPath: "a\\0"}', "caCertPath: expected the path of a file"),
        ("metrics-data-source, parameters: {x: 1}", "x: unknown key; expected one of"),
        ("core-metrics-extractor, parameters: {defaultEngine: x}", "defaultEngine: expected one of vllm, sglang"),
        ("core-metrics-extractor, parameters: {engineConfigs: [{name: x}]}", "engineConfigs[0]: expected queuedReq"),
        (
            "core-metrics-extractor, parameters: {engineConfigs: [{name: default, queuedRequestsSpec: q}]}",
            "engineConfigs[0].name: 'default' is reserved",
        ),
        (
            "core-metrics-extractor, parameters: {engineConfigs: [{name: x, queuedRequestsSpec: 'q{a}'}]}",
            "engineConfigs[0].queuedRequestsSpec: labels of a metric spec are written label=value",
        ),
        (
            "core-metrics-extractor, parameters: {engineConfigs: "
            "[{name: x, queuedRequestsSpec: q, customMetrics: [{attributeKey: a, metricSpec: m}, {attributeKey: a, "
            "metricSpec: n}]}]}",
            "customMetrics[1].attributeKey: there is already a metric 'a'",
        ),
        (
            "core-metrics-extractor, parameters: {engineConfigs: "
            "[{name: x, queuedRequestsSpec: q, customMetrics: [{attributeKey: a, metricSpec: ''}]}]}",
            "customMetrics[0].metricSpec: expected a metric's name, or name{label=value}",
        ),
        (
            "core-metrics-extractor, parameters: {engineConfigs: "
            "[{name: x, queuedRequestsSpec: q, customMetrics: [{attributeKey: a}]}]}",
            "customMetrics[0]: key 'metricSpec' is missing",
        ),
        (
            "core-metrics-extractor, parameters: {engineConfigs: [{name: x, queuedRequestsSpec: q, "
            "customMetrics: [{attributeKey: heat, metricSpec: m}]}]}}\n- {type: endpoint-attribute-scorer, "
            "parameters: {attributeKey: cold, algorithm: {type: linear_lower_is_better}}",
            "attributeKey: expected label:<key> or one of heat, ",
        ),
        (
            "core-metrics-extractor, parameters: {engineConfigs: "
            "[{name: x, queuedRequestsSpec: q}, {name: x, queuedRequestsSpec: q}]}",
            "engineConfigs[1]: there is already an engine 'x'",
        ),
        (
            "metrics-data-source, parameters: {}}\n- {name: other, type: metrics-data-source, parameters: {}",
            "epp.yaml:5: plugins[1]: there is already a source of metrics pages (epp.yaml:4); endpoints have one",
        ),
        (
            "multicluster-metrics-data-source}\n- {type: metrics-data-source, parameters: {path: /m}",
            "epp.yaml:5: plugins[1]: there is already a source of metrics pages (epp.yaml:4)",
        ),
        (
            "multicluster-metrics-extractor}\n- {type: core-metrics-extractor, parameters: {}",
            "epp.yaml:5: plugins[1]: there is already an extractor of metrics (epp.yaml:4); pages are read one way",
        ),
        ("multicluster-metrics-data-source, parameters: {x: 1}", "x: unknown key; expected one of caCertPath, "),
        ("multicluster-metrics-extractor, parameters: {x: 1}", "x: unknown key; expected one of kvCacheUtilization"),
        (
            "multicluster-metrics-extractor, parameters: {queueSizeMetric: 'q{a}'}",
            "queueSizeMetric: labels of a metric spec are written label=value",
        ),
    ],
)
def test_what_a_plugin_cannot_say_is_refused(plugin: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        wishes(f"- {{type: {plugin}}}\n")


# From flags and files to the store


SPECS = {
    "total-queued-requests-metric": "acme_queue{state=waiting}",
    "total-running-requests-metric": "acme_queue{state=running}",
    "kv-cache-usage-percentage-metric": "acme_kv_ratio",
    "lora-info-metric": "acme_lora{tier=gpu}",
    "cache-info-metric": "",
}
OWN = """\
discovery: {file: discovery.yaml}
scrape:
  path: /engine/metrics
  port: PORT
  processes: PROCESSES
  interval_seconds: 0.05
  dialects:
  - name: acme
    waiting: acme_queue{state=waiting}
    running: acme_queue{state="running"}
    kv_utilization: acme_kv_ratio
    lora: acme_lora{tier=gpu}
    cache_info: acme_cache
    block_size_label: page
    num_blocks_label: pages
picker: {listen: "127.0.0.1:0"}
telemetry: {listen: "127.0.0.1:0"}
"""
BY_PICKER = """\
discovery: {file: discovery.yaml, poll_interval_seconds: 0.02}
scrape: {processes: PROCESSES, interval_seconds: 0.05}
picker: {listen: "127.0.0.1:0", config_file: epp.yaml}
telemetry: {listen: "127.0.0.1:0"}
"""
SOURCE = "- {type: metrics-data-source, parameters: {path: /engine/metrics, port: PORT}}\n- {type: queue-scorer}\n"
COOLEST = """\
- {type: endpoint-attribute-scorer, parameters: {attributeKey: heat, algorithm: {type: linear_lower_is_better}}}
"""


def by_flags(folder: Path, port: int) -> ServeConfig:
    arguments = [f"--{name}={spec}" for name, spec in SPECS.items()]
    where = [f"--model-server-metrics-port={port}", "--model-server-metrics-path=/engine/metrics"]
    free = ["--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--secure-serving=false"]
    flags = reference_flags.read([*arguments, *where, *free])
    return translate(flags, {}, FileSource(folder / "discovery.yaml", True, "epp.yaml:4")).config


def by_file(folder: Path, text: str, port: int, processes: int = 0) -> ServeConfig:
    (folder / "epp.yaml").write_text(f"{HEAD}plugins:\n{COOLEST}{SERVED}{SOURCE}".replace("PORT", str(port)))
    (folder / "serve.yaml").write_text(text.replace("PORT", str(port)).replace("PROCESSES", str(processes)))
    return load_config(folder / "serve.yaml")


@asynccontextmanager
async def renamed_page() -> AsyncGenerator[int]:
    """The port of an engine whose metrics page has names of its own."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=RENAMED)

    app = web.Application()
    app.router.add_get("/engine/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def seen(running: Serving, waiting: float) -> PoolSnapshot:
    """The pool once its endpoint has so many requests waiting."""
    async with asyncio.timeout(10):
        while True:
            (snapshot,) = running.store.snapshots()
            if snapshot.columns.gauges.waiting.tolist() == [waiting]:
                return snapshot
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("way", ["flags", "file", "file, beside", "picker"])
async def test_renamed_metrics_arrive_in_the_store(tmp_path: Path, way: str) -> None:
    endpoint = {"name": "a", "address": "127.0.0.1", "port": 1}
    (tmp_path / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": [endpoint]}))
    async with renamed_page() as port:
        if way == "flags":
            config = by_flags(tmp_path, port)
        else:
            text, processes = (BY_PICKER if way == "picker" else OWN), int(way == "file, beside")
            config = await asyncio.to_thread(by_file, tmp_path, text, port, processes)
        async with serving(config, {"picker"}) as running:
            snapshot = await seen(running, 3.0)
    columns = snapshot.columns
    assert (columns.gauges.running.tolist(), columns.gauges.kv_utilization.tolist()) == ([2.0], [0.25])
    assert tuple(columns.lora) == (LoraState(frozenset("ab"), frozenset("c"), 4),)
    # By the flags, the page does not say how the cache is sized.
    sizes = (None, None) if way == "flags" else (32, 1000)
    assert (columns.block_size_tokens[0], columns.num_blocks[0]) == sizes
    assert columns.attributes == [{"heat": 61.5} if way == "picker" else {}]


async def test_names_change_while_serving(tmp_path: Path) -> None:
    endpoint = {"name": "a", "address": "127.0.0.1", "port": 1}
    (tmp_path / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": [endpoint]}))
    async with renamed_page() as port:
        config = await asyncio.to_thread(by_file, tmp_path, BY_PICKER, port)
        async with serving(config, {"picker"}) as running:
            await seen(running, 3.0)
            changed = (tmp_path / "epp.yaml").read_text().replace("{state=waiting}", "{state=running}")
            await asyncio.to_thread((tmp_path / "epp.yaml").write_text, changed)
            await seen(running, 2.0)


async def test_two_sources_of_names_are_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "discovery.yaml").write_text("endpoints: []")
    text = OWN.replace("picker: {", "picker: {config_file: epp.yaml, ")
    config = await asyncio.to_thread(by_file, tmp_path, text, 9)
    with pytest.raises(ConfigError, match=r"epp\.yaml:5: engineConfigs: the engine 'acme' differs"):
        async with serving(config, {"picker"}):
            pass
