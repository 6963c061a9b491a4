"""What a `HorizontalPodAutoscaler` asks for, read from its spec."""

from collections.abc import Mapping

from infscale.discovery.opened_object import open_object
from infscale.discovery.workloads import label_selector
from infscale.documents.strict_document import Field
from infscale.endpoint import Autoscaler, MetricForm, MetricTarget, ScaledMetric, TargetType, Workload
from infscale.labels import Selector

# What a metrics adapter answers; resources are another server's.
_FORMS = {form.value: form for form in MetricForm}
# The keys of a target value.
_TARGETS = {"averageValue": TargetType.AVERAGE_VALUE, "value": TargetType.VALUE}

MAX_METRICS = 100
"""Of one autoscaler that are read; hardly one has ten."""


def read_autoscaler(field: Field) -> Autoscaler:
    """A `HorizontalPodAutoscaler` of ``autoscaling/v2``, with the first metrics of the three forms we answer."""
    read = open_object(field)
    spec = read.require_spec().mapping(["scaleTargetRef"], ["metrics", "minReplicas", "maxReplicas"])
    target = spec["scaleTargetRef"].mapping(["kind", "name"], ["apiVersion"])
    items = spec["metrics"].items() if "metrics" in spec else ()
    metrics = [_metric(item) for item in items[:MAX_METRICS]]
    ours = tuple(metric for metric in metrics if metric is not None)
    return Autoscaler(
        read.key,
        Workload(target["kind"].text(), target["name"].text()),
        ours,
        is_whole=len(items) <= MAX_METRICS,
        others=len(metrics) - len(ours),
        replicas=_replicas(spec),
    )


def _replicas(spec: Mapping[str, Field]) -> tuple[int, int] | None:
    if "maxReplicas" not in spec:
        return None
    least = spec["minReplicas"].integer(0) if "minReplicas" in spec else 1
    return least, spec["maxReplicas"].integer(1)


def _metric(field: Field) -> ScaledMetric | None:
    """The metric `field` asks for; None where it is no form of ours."""
    kind = field.mapping(["type"])["type"].text()
    form = _FORMS.get(kind)
    if form is None:
        return None
    # The key of a form's source is its name in lower case.
    key = kind.lower()
    source = field.mapping(["type", key])[key]
    metric = source.mapping(["metric"])["metric"].mapping(["name"], ["selector"])
    selector = label_selector(metric["selector"]) if "selector" in metric else Selector()
    described = _described(source) if form is MetricForm.OBJECT else None
    return ScaledMetric(form, metric["name"].text(), selector, described, _target(source))


def _target(source: Field) -> MetricTarget | None:
    found = source.mapping([], ["target"]).get("target")
    if found is None:
        return None
    values = found.mapping([], [*_TARGETS])
    return next((MetricTarget(kind, values[key].text()) for key, kind in _TARGETS.items() if key in values), None)


def _described(source: Field) -> tuple[str, str]:
    described = source.mapping(["describedObject"])["describedObject"].mapping(["kind", "name"], ["apiVersion"])
    return described["kind"].text(), described["name"].text()
