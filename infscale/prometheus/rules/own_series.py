"""Series that infscale scrapes itself, so that what rules make of them is answered without a Prometheus.

Only where the numbers are the same: a plain selector of a gauge of pods, or the aggregation of it that infscale makes
of the series of a pod itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from infscale.labels import Selector
from infscale.metrics.gauges import ENGINE_GAUGES
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.gpu_exporters import GPU_EXPORTERS, RATIOS
from infscale.metrics.published.aliases import OF_GPUS
from infscale.prometheus.rules.label_matchers import QueryError
from infscale.prometheus.rules.metric_naming import Rule
from infscale.prometheus.rules.object_kinds import NAMESPACE, POD
from infscale.prometheus.rules.promql_shape import Shape, shape_of

_SAMPLE: Final = "infscale"
"""A namespace and a pod that stand for all of them."""


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """The published metric that holds a series of pods; the series' values are its times `factor`.

    `aggregations` are those of PromQL that make of several series of a pod what the metric makes of them.
    """

    metric: str
    factor: float
    aggregations: frozenset[str]


def _of_engines() -> Iterator[tuple[str, OwnMetric]]:
    for dialect in DIALECTS.values():
        for gauge, specs in zip(ENGINE_GAUGES, dialect.gauges, strict=True):
            # Ranks of an engine are added up; of ratios the highest counts.
            same = frozenset({"max" if gauge.is_ratio else "sum"})
            for spec in specs:
                # A part of a series by other labels is not the series.
                if not spec.labels:
                    yield spec.name, OwnMetric(gauge.published, 1.0, same)


def _of_gpus() -> Iterator[tuple[str, OwnMetric]]:
    for exporter in GPU_EXPORTERS:
        # What is written of parts of GPUs, or of pods' shares of them, is not put together by a plain sum or mean.
        if exporter.part_label is not None or exporter.per_pod:
            continue
        for quantity, metric in OF_GPUS.items():
            same = frozenset({"avg" if quantity in RATIOS else "sum"})
            for name in exporter.names.get(quantity, ()):
                if not name.spec.labels:
                    yield name.spec.name, OwnMetric(metric, name.per_one, same)


OWN_METRICS: Final[Mapping[str, OwnMetric]] = MappingProxyType({**dict(_of_engines()), **dict(_of_gpus())})
"""By the name of the series."""


def own_metric(rule: Rule, series: str) -> OwnMetric | None:
    """What holds the values that `rule` asks of pods for `series`; None: a Prometheus alone."""
    own = OWN_METRICS.get(series)
    return own if own is not None and not isinstance(why_not_own(rule, series), str) else None


def why_not_own(rule: Rule, series: str) -> str | None:
    """Why the values of a series that infscale scrapes are another's; None: they are its own."""
    own = OWN_METRICS.get(series)
    if own is None:
        return "infscale does not scrape this series"
    if rule.external:
        return "external metrics are asked of the Prometheus"
    try:
        query = rule.query_of_objects(series, POD, _SAMPLE, Selector(), (_SAMPLE,))
        labels = {rule.labels.label_of(NAMESPACE), rule.labels.label_of(POD)}
    except QueryError as error:
        return str(error)
    shape = shape_of(query.text)
    if shape is None or shape.function is not None:
        return "its query is no plain sum, mean or highest of the series' values"
    return _difference(shape, own, labels, query.group_by)


def _difference(shape: Shape, own: OwnMetric, labels: set[str], group_by: tuple[str, ...]) -> str | None:
    """What tells the answer to a plain query from the own metric; None: nothing."""
    if {each.label for each in shape.conditions} != labels or any(each.value != _SAMPLE for each in shape.conditions):
        return "its query has conditions of its own"
    if shape.aggregation is None:
        # Several series of a pod would be several rows, of which one is shown.
        return None
    if shape.by != group_by:
        return "its query does not group by pod alone"
    if shape.aggregation not in own.aggregations:
        made = " or ".join(sorted(own.aggregations))
        return f"its query has the {shape.aggregation} of a pod's series, and infscale the {made}"
    return None
