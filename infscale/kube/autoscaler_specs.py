"""What a `HorizontalPodAutoscaler` asks for, read from its spec."""

from infscale.discovery.opened_object import open_object
from infscale.discovery.workloads import label_selector
from infscale.documents.strict_document import Field
from infscale.endpoint import Autoscaler, MetricForm, ScaledMetric, Workload
from infscale.labels import Selector

# What a metrics adapter answers; resources are another server's.
_FORMS = {form.value: form for form in MetricForm}

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
    form = _FORMS.get(kind)
    if form is None:
        return None
    # The key of a form's source is its name in lower case.
    key = kind.lower()
    source = field.mapping(["type", key])[key]
    metric = source.mapping(["metric"])["metric"].mapping(["name"], ["selector"])
    selector = label_selector(metric["selector"]) if "selector" in metric else Selector()
    described = _described(source) if form is MetricForm.OBJECT else None
    return ScaledMetric(form, metric["name"].text(), selector, described)


def _described(source: Field) -> tuple[str, str]:
    described = source.mapping(["describedObject"])["describedObject"].mapping(["kind", "name"], ["apiVersion"])
    return described["kind"].text(), described["name"].text()
