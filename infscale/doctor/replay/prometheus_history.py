"""The history of an HPA out of a Prometheus: what is asked, and what its answers say of each sync."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from infscale.doctor.next_sync import SOURCES
from infscale.doctor.replay.past_syncs import MAX_SYNCS, NO_SAMPLE, PastMetric, PastSync, PerPod, Total, Unknown
from infscale.doctor.replay.replayed_hpa import ReplayedHpa
from infscale.doctor.view.seen_scalers import SeenMetric
from infscale.documents.strict_document import quoted
from infscale.errors import ConfigError
from infscale.metrics.published.catalogue import BY_NAME
from infscale.planner.hpa import Source
from infscale.prometheus.api_answer import RangeRow
from infscale.prometheus.prometheus_server import PrometheusServer
from infscale.quantity import MAX_QUANTITY, milli_value

REPLICAS = "replicas"
"""The name under which the query of the replicas is given."""

_MAX_POINTS = 11_000
"""Points of a series that Prometheus answers at most."""
_MAX_REPLICAS = 100_000


@dataclass(frozen=True, slots=True)
class Period:
    """From `begin` to `end`, whole seconds since 1970, in steps."""

    begin: int
    end: int
    step_seconds: float

    def times(self) -> Iterator[float]:
        """The time of each step."""
        count = int((self.end - self.begin) / self.step_seconds + 1e-6) + 1
        return (self.begin + number * self.step_seconds for number in range(count))


def period(now: float, since_seconds: float, step_seconds: float) -> Period:
    """The time before `now`. Raises `ConfigError` where it has too many steps."""
    steps = since_seconds / step_seconds
    if not 1 <= steps <= min(MAX_SYNCS, _MAX_POINTS) - 2:
        problem = f"expected 1 to {_MAX_POINTS - 2} steps of {step_seconds:g} s, got {steps:.1f}"
        raise ConfigError("arguments", "--since, --step", problem)
    return Period(int(now - since_seconds), int(now), step_seconds)


def queries(hpa: ReplayedHpa, given: Mapping[str, str]) -> Mapping[str, str]:
    """What is asked, by the name of the metric. Raises `ConfigError` where that is not known of one.

    Of metrics of an InferencePool, what infscale exports of it; of the replicas, what kube-state-metrics does.
    """
    found = {REPLICAS: _replicas_query(hpa)}
    for metric in hpa.metrics:
        query = given.get(metric.name) or _own_query(hpa, metric)
        if query is None:
            problem = f"the series of {metric.name} are not known: give --query {metric.name}=PROMQL"
            raise ConfigError("arguments", "--query", problem)
        found[metric.name] = query
    unknown = sorted(set(given) - set(found))
    if unknown:
        problem = f"the HPA has no metric {quoted(unknown[0])}; expected one of {', '.join(found)}"
        raise ConfigError("arguments", "--query", problem)
    return MappingProxyType({**found, **given})


def _replicas_query(hpa: ReplayedHpa) -> str:
    labels = f'namespace="{hpa.key.namespace or "default"}", horizontalpodautoscaler="{hpa.key.name}"'
    return f"max(kube_horizontalpodautoscaler_status_current_replicas{{{labels}}})"


def _own_query(hpa: ReplayedHpa, metric: SeenMetric) -> str | None:
    described = metric.described
    if described is None or described.kind != "InferencePool" or metric.selector:
        return None
    pool = f"{hpa.key.namespace or 'default'}/{described.name}"
    published = BY_NAME.get(metric.name)
    series = f'infscale_pool_{metric.name}{{pool="{pool}"}}'
    # Where models are known, a metric that is split by them has a series of each, and none of the whole. Replicas of
    # infscale say the same.
    if published is not None and published.per_model and published.adds_up:
        return f"max(sum by (instance) ({series}))"
    return f"max({series})"


async def asked_history(
    server: PrometheusServer, hpa: ReplayedHpa, queries: Mapping[str, str], period: Period
) -> tuple[PastSync, ...]:
    """What a Prometheus has of each step. Raises `FetchError`."""
    answers = {
        name: await server.ranges(query, period.begin, period.end, period.step_seconds)
        for name, query in queries.items()
    }
    return history_of(hpa, answers, period)


def history_of(hpa: ReplayedHpa, answers: Mapping[str, Sequence[RangeRow]], period: Period) -> tuple[PastSync, ...]:
    """The syncs that answers tell of. Raises `ConfigError` where rows cannot be told apart."""
    columns = {metric.name: _column(metric, answers.get(metric.name, ())) for metric in hpa.metrics}
    replicas = _by_step(answers.get(REPLICAS, ()), period)
    by_step = {name: [(pod, _steps(row, period)) for pod, row in rows] for name, rows in columns.items()}
    found: list[PastSync] = []
    for number, at in enumerate(period.times()):
        metrics = {
            metric.name: _metric(metric, [(pod, values.get(number)) for pod, values in by_step[metric.name]])
            for metric in hpa.metrics
        }
        count = replicas.get(number)
        whole = round(count) if count is not None and 0 <= count <= _MAX_REPLICAS else None
        found.append(PastSync(at, metrics, whole))
    return tuple(found)


def _column(metric: SeenMetric, rows: Sequence[RangeRow]) -> list[tuple[str, RangeRow]]:
    """Each row with its pod, "" for a total."""
    named = [(row.labels.get("pod", ""), row) for row in rows]
    pods = [pod for pod, _ in named]
    if SOURCES[metric.form] in (Source.EXTERNAL, Source.OBJECT):
        if SOURCES[metric.form] is Source.OBJECT and len(rows) > 1:
            problem = f"{len(rows)} series, expected one of the object: put sum() or max() around it"
            raise ConfigError("Prometheus", f"--query {metric.name}", problem)
        return [("", row) for row in rows]
    if len(rows) > 1 and ("" in pods or len(set(pods)) != len(pods)):
        problem = "expected one series of each pod with a label pod, or one total: put sum by (pod) () around it"
        raise ConfigError("Prometheus", f"--query {metric.name}", problem)
    return named


def _metric(metric: SeenMetric, values: Sequence[tuple[str, float | None]]) -> PastMetric:
    known = [(pod, milli_value(Decimal(repr(each)))) for pod, each in values if _is_usable(each)]
    if not known:
        return Unknown(NO_SAMPLE)
    if SOURCES[metric.form] in (Source.EXTERNAL, Source.OBJECT) or known[0][0] == "":
        return Total(tuple([each for _, each in known]))
    return PerPod(dict(known))


def _is_usable(value: float | None) -> bool:
    return value is not None and abs(value) < float(MAX_QUANTITY)


def _by_step(rows: Sequence[RangeRow], period: Period) -> Mapping[int, float]:
    if len(rows) > 1:
        problem = f"{len(rows)} series, expected one: put max() around it"
        raise ConfigError("Prometheus", f"--query {REPLICAS}", problem)
    return _steps(rows[0], period) if rows else {}


def _steps(row: RangeRow, period: Period) -> dict[int, float]:
    return {round((at - period.begin) / period.step_seconds): value for at, value in row.values.items()}
