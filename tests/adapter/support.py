"""A provider with a fixed world, and a store with pods whose values a test sets."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapter.answering.provider import ExternalValue, ExternalValues, Kind, ObjectValues
from adapter.answering.refusals import not_found, unknown_metric
from adapter.answering.store_provider import StoreProvider
from adapter.api.documents import Clock
from adapter.api.paths import ExternalRequest, GroupResource, MetricRequest, ObjectRequest, parse
from adapter.errors import NotFound
from infscale.endpoint import DescribedObject, DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.labels import Selector
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.sample import ModelLoad, Reading
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.store.metrics_store import MetricStore
from tests.fakes.samples import engine_sample

README = Path(__file__).parent.parent.parent / "adapter" / "README.md"
VECTORS = Path(__file__).parent.parent / "vectors"
UTC_NOW = datetime(2026, 8, 20, 10, 0, 0, 700_000, tzinfo=UTC)
G1 = "/apis/custom.metrics.k8s.io/v1beta1"
G2 = "/apis/custom.metrics.k8s.io/v1beta2"
E1 = "/apis/external.metrics.k8s.io/v1beta1"
POOLS = "inferencepools.inference.networking.k8s.io"
MODEL = "meta-llama/Llama-3.1-8B"


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading of the adapter's README."""
    section = README.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def clock(now: float = 100.0) -> Clock:
    return Clock(now, UTC_NOW)


@dataclass(frozen=True)
class FixedWorld:
    """A `Provider` of named objects with labels; one has the value that `values` says, else 1.5."""

    objects_of: Mapping[tuple[str, str], Mapping[str, Mapping[str, str]]]
    kinds: Mapping[str, Kind]
    metrics: frozenset[str]
    externals: Mapping[str, tuple[tuple[Mapping[str, str], float], ...]]
    revision: str = "fixed.7"
    external_namespace: str | None = None
    metric_labels: Mapping[str, str] | None = None
    values: Mapping[str, float] = field(default_factory=dict[str, float])

    def objects(self, request: ObjectRequest, now: float) -> ObjectValues:
        found = self.objects_of.get((str(request.resource), request.namespace), {})
        picked = [
            name
            for name, labels in found.items()
            if (request.wanted_name in {None, name}) and (request.name != "*" or request.labels.matches(labels))
        ]
        if request.metric not in self.metrics:
            raise unknown_metric(request, MetricTable())
        if not picked:
            raise _unknown(request)
        if self.metric_labels is not None and not request.metric_labels.matches(self.metric_labels):
            raise _unknown(request)
        items = tuple(
            (ObjectKey(request.namespace, name), Reading(self.values.get(name, 1.5), now - 3)) for name in picked
        )
        return ObjectValues(self.kinds[request.resource.resource], items, self.revision)

    def external(self, request: ExternalRequest, now: float) -> ExternalValues:
        if request.metric not in self.externals:
            raise unknown_metric(request, MetricTable())
        items = tuple(
            ExternalValue(labels, Reading(value, now))
            for labels, value in self.externals[request.metric]
            if request.labels.matches(labels) and self.external_namespace in {None, request.namespace}
        )
        if not items and self.external_namespace is not None:
            raise _unknown(request)
        return ExternalValues(items, self.revision)


def _unknown(request: MetricRequest) -> NotFound:
    return not_found(request, "known is what the fixture has")


def vector_world() -> FixedWorld:
    """The fixture of the recorded paths: 4 nodes, 16 pods, half of them labelled foo=bar, one pool."""

    def halves(names: Iterator[str]) -> dict[str, Mapping[str, str]]:
        return {name: {"foo": "bar"} if place % 2 else {} for place, name in enumerate(names)}

    return FixedWorld(
        objects_of={
            ("nodes", ""): halves("foo" if not each else f"node-{each}" for each in range(4)),
            ("pods", "ns"): halves("foo" if not each else f"pod-{each}" for each in range(16)),
            ("namespaces", ""): {"ns": {}},
            (POOLS, "ns"): {"pool": {}},
        },
        kinds={
            "nodes": Kind("Node", "v1"),
            "pods": Kind("Pod", "v1"),
            "namespaces": Kind("Namespace", "v1"),
            "inferencepools": Kind("InferencePool", "inference.networking.k8s.io/v1"),
        },
        metrics=frozenset({"some-metric"}),
        externals={
            "my-external-metric": (({"foo": "bar"}, 42.0), ({"foo": "baz"}, 43.0)),
            "other-external-metric": (({}, 44.0),),
        },
    )


def golden_world() -> FixedWorld:
    """What the recorded answers of prometheus-adapter were made of."""
    return FixedWorld(
        objects_of={
            ("pods", "default"): {"vllm-a": {"app": "vllm"}, "vllm-b": {"app": "vllm"}},
            ("namespaces", ""): {"default": {}},
        },
        kinds={"pods": Kind("Pod", "v1"), "namespaces": Kind("Namespace", "v1")},
        metrics=frozenset({"queue_depth"}),
        externals={"queue_depth_external": (({"model_name": "m"}, 4.0),)},
        external_namespace="default",
        metric_labels={"model_name": "m"},
        values={"vllm-a": 1.5, "vllm-b": 2.5, "default": 5.0},
    )


class World:
    """A store with pool ``llm/a`` (and ``llm/b``) whose pods ``a-0``, ``a-1`` … report what a test says."""

    def __init__(self, a: int = 4, b: int = 0, *, phases: Mapping[str, Phase] | None = None, ranks: int = 1) -> None:
        self.store = MetricStore("s1", default_pool=PoolSettings(staleness_limit_seconds=2.0, window_seconds=30.0))
        self.provider = StoreProvider(self.store)
        named = phases or {}
        endpoints = [
            Endpoint(
                EndpointKey("llm", f"{pool}-{each}", rank),
                "127.0.0.1",
                8000 + 100 * rank + each,
                {"pool": pool, "app": "vllm", "half": str(each % 2)},
                named.get(f"{pool}-{each}", Phase.READY),
            )
            for pool, count in (("a", a), ("b", b))
            for each in range(count)
            for rank in range(ranks)
        ]
        pools = [
            Pool(ObjectKey("llm", name), {"pool": name}, labels={"tier": name}) for name in ("a", "b")[: 1 + (b > 0)]
        ]
        objects = (
            described("deployments", "apps", "Deployment", "half-0", {"half": "0"}),
            described("services", "", "Service", "all", {"app": "vllm"}),
            described("services", "", "Service", "none", {"app": "other"}),
            described("services", "", "Service", "external-name", None),
        )
        self.state = DiscoveryState(tuple(endpoints), tuple(pools), objects=objects)
        self.store.sync(self.state)

    def report(self, pod: str, at: float, waiting: float = 0.0, kv: float = 0.5, model: str = MODEL) -> None:
        for endpoint in self.state.endpoints:
            if endpoint.key.name == pod:
                sample = engine_sample(
                    waiting, 1.0, kv, {model: ModelLoad(waiting, 1.0)}, fingerprint=hash((pod, at, waiting, kv))
                )
                self.store.record_scrape(endpoint.key, sample, at)

    def report_all(self, at: float, waiting: float = 1.0, kv: float = 0.5) -> None:
        for name in dict.fromkeys(endpoint.key.name for endpoint in self.state.endpoints):
            self.report(name, at, waiting, kv)

    def fail(self, pod: str, at: float, cause: str = "connection refused") -> None:
        for endpoint in self.state.endpoints:
            if endpoint.key.name == pod:
                self.store.record_failure(endpoint.key, cause, at)

    def objects(self, path: str, now: float = 100.0, query: str = "") -> ObjectValues:
        request = parse("GET", f"{G2}/namespaces/llm/{path}", query)
        assert isinstance(request, ObjectRequest)
        return self.provider.objects(request, now)

    def external(self, metric: str, now: float = 100.0, selector: str = "") -> ExternalValues:
        query = "labelSelector=" + selector.replace("=", "%3D")
        request = parse("GET", f"{E1}/namespaces/llm/{metric}", query)
        assert isinstance(request, ExternalRequest)
        return self.provider.external(request, now)


def described(resource: str, group: str, kind: str, name: str, selector: dict[str, str] | None) -> DescribedObject:
    chosen = None if selector is None else Selector.from_match_labels(selector)
    return DescribedObject(group, "v1", kind, resource, ObjectKey("llm", name), chosen, {"name": name})


def values(answer: ObjectValues) -> dict[str, float]:
    return {key.name: reading.value for key, reading in answer.items}


def external_values(answer: ExternalValues) -> dict[tuple[str, ...], float]:
    return {tuple(item.labels.values())[:2]: item.reading.value for item in answer.items}


PODS = GroupResource("pods")
