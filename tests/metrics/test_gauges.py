"""A gauge of the table is everywhere: on pages, in samples, between processes, in columns and in answers."""

from dataclasses import fields

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.gauges import ENGINE_GAUGES, GAUGES, EngineGauges, PodGauges
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.interpreter import interpret
from infscale.metrics.published.answers import pod_readings
from infscale.metrics.published.catalogue import BY_NAME, carries_unit
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.published.inspection import snapshot_document
from infscale.metrics.sample import EngineSample, GpuSample
from infscale.metrics.snapshot import FLAGS, OBJECTS, TIMES, Columns
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import ScrapeHealth
from infscale.scrape.pipe import Found, FoundReader, FoundWriter, Frames
from infscale.telemetry.telemetry_server import StoreCollector

POOL = Pool(ObjectKey("llm", "chat"), {})
KEY = EndpointKey("llm", "vllm-0")
SAID: EngineGauges[float | None] = EngineGauges(
    *[(place + 1) / 16 if gauge.is_ratio else place + 1.0 for place, gauge in enumerate(ENGINE_GAUGES)]
)
OF_POD = PodGauges(gpu_memory_used_bytes=3.0, gpu_memory_total_bytes=8.0, gpu_utilization=0.75, load_seconds=40.0)
EVERY = dict(zip([gauge.published for gauge in GAUGES], (*SAID, *OF_POD), strict=True))
ON_PAGES = [
    pytest.param(dialect, place, specs[0], id=f"{dialect.name} {EngineGauges._fields[place]}")
    for dialect in DIALECTS.values()
    for place, specs in enumerate(dialect.gauges)
    if specs
]


def store() -> MetricStore:
    made = MetricStore("s")
    endpoint = Endpoint(KEY, "10.0.0.1", 8000, {}, load_seconds=OF_POD.load_seconds)
    made.sync(DiscoveryState((endpoint,), (POOL,)))
    return made


def observed() -> MetricStore:
    made = store()
    made.record_scrape(KEY, EngineSample(SAID), 1.0)
    gpu = GpuSample(OF_POD.gpu_memory_used_bytes, OF_POD.gpu_memory_total_bytes, OF_POD.gpu_utilization)
    made.record_beside(GPU, KEY, gpu, 1.0)
    return made


def shown(made: MetricStore) -> dict[str, object]:
    """What the debug document has under the names of gauges."""
    [snapshot] = made.snapshots()
    endpoints = snapshot_document(snapshot, 1.0)["endpoints"]
    assert isinstance(endpoints, list)
    [document] = endpoints
    assert isinstance(document, dict)
    return {gauge.published: document[gauge.published] for gauge in GAUGES}


def exported(made: MetricStore) -> dict[str, float | None]:
    registry = CollectorRegistry()
    registry.register(StoreCollector(made, lambda: 1.0))
    labels = {"pool": str(POOL.key), "endpoint": str(KEY)}
    names = [gauge.published for gauge in GAUGES]
    return {name: registry.get_sample_value(f"infscale_endpoint_{name}", labels) for name in names}


def test_a_gauge_has_its_unit_in_its_name_and_is_published_under_it() -> None:
    for column, gauge in zip((*EngineGauges._fields, *PodGauges._fields), GAUGES, strict=True):
        metric = BY_NAME[gauge.published]
        assert carries_unit(gauge.published, gauge.unit)
        assert (metric.unit, metric.reads) == (gauge.unit, (column,))


@pytest.mark.parametrize(("dialect", "place", "spec"), ON_PAGES)
def test_what_a_page_says_is_in_the_sample(dialect: Dialect, place: int, spec: MetricSpec) -> None:
    value = SAID[place]
    labels = ",".join(f'{name}="{text}"' for name, text in spec.labels.items() if text)
    sample = interpret(f"{spec.name}{{{labels}}} {value}\n".encode(), dialect)
    assert sample.gauges == tuple(value if each == place else None for each in range(len(SAID)))


def test_a_sample_says_the_same_in_another_process() -> None:
    taken: list[Found] = []
    sent = Found(KEY, EngineSample(SAID), 1.0, ScrapeHealth())
    Frames(FoundReader().read, taken.append).feed(FoundWriter().written(sent))
    [found] = taken
    assert isinstance(found.result, EngineSample)
    assert (found.result.gauges, type(found.result.gauges)) == (SAID, EngineGauges)


def test_what_is_observed_is_in_columns_answers_and_documents() -> None:
    made = observed()
    [snapshot] = made.snapshots()
    assert [column.tolist() for column in snapshot.columns.of_gauges] == [[value] for value in EVERY.values()]
    assert not any(column.flags.writeable for column in snapshot.columns.of_gauges)
    answered = {name: pod_readings(BY_NAME[name], snapshot, 1.0).values.tolist() for name in EVERY}
    assert answered == {name: [value] for name, value in EVERY.items()}
    assert shown(made) == EVERY
    assert exported(made) == EVERY


def test_every_column_says_what_it_is_while_nothing_is_known() -> None:
    others = {"gauges", "pod", "steps", "by_model", "latencies"}
    assert others | {*TIMES, *FLAGS, *OBJECTS} == {each.name for each in fields(Columns)}


def test_what_nobody_said_is_unknown_everywhere() -> None:
    made = store()
    [snapshot] = made.snapshots()
    known = {"model_load_seconds": OF_POD.load_seconds}
    for gauge, column in zip(GAUGES, snapshot.columns.of_gauges, strict=True):
        assert np.isnan(column).all() == (gauge.published not in known)
    assert shown(made) == exported(made) == dict.fromkeys(EVERY) | known
