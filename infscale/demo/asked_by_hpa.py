"""What a HorizontalPodAutoscaler would ask the adapter during a demo, and what it would make of the answers."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import aiohttp
import orjson

from infscale.demo.report import AdapterAnswer
from infscale.errors import QuantityError
from infscale.planner.hpa import (
    MetricStatus,
    PodsMetric,
    Recommendation,
    Source,
    TotalMetric,
    UnavailableMetric,
    recommend,
)
from infscale.planner.hpa_rules import DEFAULT_SCALE_DOWN, Behavior, Bounds, History
from infscale.planner.scale_target import PodState, PodValue, Workload
from infscale.quantity import milli_value, parse_quantity

_EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/"
_PODS = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/%2A/"
_ASK_SECONDS = 5.0
# The five minutes an HPA waits before it scales down are longer than the whole demo.
_SCALE_DOWN = replace(DEFAULT_SCALE_DOWN, stabilization_window_seconds=5.0)


@dataclass(frozen=True, slots=True)
class HpaMetric:
    """One metric of the HPA: `target` is a quantity, per pod where `per_pod` (`AverageValue`), else a `Value`."""

    name: str
    path: str
    target: str
    per_pod: bool
    source: Source

    @property
    def target_words(self) -> str:
        """The target as people say it."""
        target = f"{milli_value(parse_quantity(self.target)) / 1000:g}"
        return f"{target} per pod" if self.per_pod else target


HPA_METRICS: tuple[HpaMetric, ...] = (
    HpaMetric("queue_latency_p90_seconds", _EXTERNAL, "500m", False, Source.EXTERNAL),
    HpaMetric("waiting_requests", _EXTERNAL, "2", True, Source.EXTERNAL),
    HpaMetric("kv_cache_utilization_ratio", _PODS, "800m", True, Source.PODS),
)
"""The HPA of the demo, on engine metrics alone: they mean the same in every phase."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One sync, `at_seconds` after the phase began: the answers, and what the HPA would do about them."""

    at_seconds: float
    answers: tuple[AdapterAnswer, ...]
    recommendation: Recommendation


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What the adapter sent: `status` None means it could not be reached."""

    status: int | None
    body: bytes


class AdapterClient:
    """Asks the adapter over HTTPS, trusting only the certificate authority it names."""

    def __init__(self, session: aiohttp.ClientSession, url: str, ca_pem: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._tls = ssl.create_default_context(cadata=ca_pem)

    async def ask(self, metric: HpaMetric) -> RawAnswer:
        """The answer to one query; an adapter that does not answer is an answer too."""
        timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
        try:
            async with self._session.get(
                f"{self._url}{metric.path}{metric.name}", ssl=self._tls, timeout=timeout
            ) as response:
                return RawAnswer(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            return RawAnswer(None, str(error).encode())


def total_of(answer: RawAnswer) -> float | None:
    """All values of an answer added up; None where it has none that can be used."""
    if answer.status != 200:
        return None
    try:
        return sum(milli for _, milli in _values(_document(answer.body))) / 1000
    except QuantityError:
        return None


def advise(
    raw: Sequence[tuple[HpaMetric, RawAnswer]], pods: Sequence[str], at_seconds: float, history: History
) -> Advice:
    """One sync of the controller on these answers; `pods` are the running ones, twice as many are allowed."""
    workload = Workload(len(pods), tuple(PodState(name) for name in pods))
    statuses = [_status(metric, answer) for metric, answer in raw]
    bounds = Bounds(2 * len(pods), 1, Behavior(scale_down=_SCALE_DOWN))
    recommendation = recommend(workload, statuses, bounds, at_seconds, history)
    answers = tuple(
        AdapterAnswer(at_seconds, metric.name, metric.target_words, _value(status), each.replicas, each.explanation)
        for (metric, _), status, each in zip(raw, statuses, recommendation.per_metric, strict=True)
    )
    return Advice(at_seconds, answers, recommendation)


def _status(metric: HpaMetric, answer: RawAnswer) -> MetricStatus:
    document = _document(answer.body)
    if answer.status != 200:
        message = document.get("message")
        cause = message if isinstance(message, str) else "the adapter did not answer"
        return UnavailableMetric(metric.name, cause, metric.source)
    try:
        target = milli_value(parse_quantity(metric.target))
        values = _values(document)
    except QuantityError as error:
        return UnavailableMetric(metric.name, str(error), metric.source)
    if metric.source is Source.PODS:
        return PodsMetric(metric.name, {name: PodValue(milli) for name, milli in values}, target)
    return TotalMetric(metric.name, tuple(milli for _, milli in values), target, metric.per_pod, metric.source)


def _values(document: Mapping[str, object]) -> list[tuple[str, int]]:
    """Described object (empty for external metrics) and value of every item, in milli-units."""
    found = document.get("items")
    values: list[tuple[str, int]] = []
    for item in cast("list[object]", found) if isinstance(found, list) else []:
        fields = _mapping(item)
        name = _mapping(fields.get("describedObject")).get("name", "")
        values.append((str(name), milli_value(parse_quantity(str(fields.get("value", ""))))))
    return values


def _value(status: MetricStatus) -> str | None:
    match status:
        case TotalMetric():
            return f"{sum(status.values_milli) / 1000:.3g}"
        case PodsMetric() if status.values:
            mean = sum(value.milli for value in status.values.values()) / len(status.values)
            return f"{mean / 1000:.3g}"
        case _:
            return None


def _document(body: bytes) -> Mapping[str, object]:
    try:
        return _mapping(orjson.loads(body))
    except orjson.JSONDecodeError:
        return {}


def _mapping(value: object) -> Mapping[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
