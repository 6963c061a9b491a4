"""What a `HorizontalPodAutoscaler` asks for, read from its spec."""

from collections.abc import Mapping
from types import MappingProxyType

from infscale.discovery.opened_object import open_object
from infscale.discovery.workloads import label_selector
from infscale.documents.strict_document import Field
from infscale.endpoint import Autoscaler, MetricForm, ScaledMetric, Workload
from infscale.labels import Selector

# The key that holds the source of each metric type that a metrics adapter answers; resources are another server's.
_SOURCES: Mapping[str, str] = MappingProxyType(
    {MetricForm.PODS.value: "pods", MetricForm.OBJECT.value: "object", MetricForm.EXTERNAL.value: "external"}
)


MAX_METRICS = 100
"""Of one autoscaler that are read; hardly one has ten."""


def read_autoscaler(field: Field) -> Autoscaler:
    """A `HorizontalPodAutoscaler` of ``autoscaling/v2``, with the first metrics of the three forms we answer."""
    read = open_object(field)
    spec = read.require_spec().mapping(["scaleTargetRef"], ["metrics"])
    target = spec["scaleTargetRef"].mapping(["kind", "name"], ["apiVersion"])
    items = spec["metrics"].items() if "metrics" in spec else ()
    return Autoscaler(
        read.key,
        Workload(target["kind"].text(), target["name"].text()),
        tuple(metric for metric in map(_metric, items[:MAX_METRICS]) if metric is not None),
        is_whole=len(items) <= MAX_METRICS,
    )


def _metric(field: Field) -> ScaledMetric | None:
    """The metric `field` asks for; None where it is no form of ours."""
    kind = field.mapping(["type"])["type"].text()
    key = _SOURCES.get(kind)
    if key is None:
        return None
    source = field.mapping(["type", key])[key]
    metric = source.mapping(["metric"])["metric"].mapping(["name"], ["selector"])
    selector = label_selector(metric["selector"]) if "selector" in metric else Selector()
    form = MetricForm(kind)
    return ScaledMetric(
        form, metric["name"].text(), selector, _described(source) if form is MetricForm.OBJECT else None
    )


def _described(source: Field) -> tuple[str, str]:
    described = source.mapping(["describedObject"])["describedObject"].mapping(["kind", "name"], ["apiVersion"])
    return described["kind"].text(), described["name"].text()
