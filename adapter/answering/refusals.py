"""Words of refusals: the API server library's first, then what helps readers of an HPA's conditions."""

from collections.abc import Iterable, Mapping, Sequence

from adapter.api.paths import ALL, ExternalRequest, MetricRequest, ObjectRequest
from adapter.errors import BadRequest, NotFound, Unavailable
from infscale.aggregation.label_sets import (
    MODEL,
    MODEL_KEY,
    OF_MODEL,
    POOL,
    blind,
    label_sets,
    labels_of,
    pools_selected,
)
from infscale.errors import SeveralModels
from infscale.labels import model_key
from infscale.metrics.published.aliases import Alias
from infscale.metrics.published.catalogue import PublishedMetric
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.snapshot import PoolSnapshot

_LISTED = 5
_LABELS = OF_MODEL | {POOL}


def subject(request: MetricRequest) -> str:
    """What the metric was asked for, as the library writes it: ``pods NAME``, ``pods with selector a=b``."""
    selected = f" with selector {request.labels}" if request.labels.requirements else ""
    if isinstance(request, ExternalRequest):
        return f"namespaces {request.namespace}{selected}"
    named = request.wanted_name
    return f"{request.resource}{selected}" if named is None else f"{request.resource} {named}"


def not_found(request: MetricRequest, hint: str) -> NotFound:
    """The metric does not exist for what it was asked for."""
    return NotFound(f"the server could not find the metric {request.metric} for {subject(request)}; {hint}")


def unknown_metric(request: MetricRequest, table: MetricTable) -> NotFound:
    """No metric of `table` has this name."""
    near = table.near(request.metric)
    resource = str(request.resource) if isinstance(request, ObjectRequest) else "namespaces"
    meant = f"did you mean {near}? " if near else ""
    known = ", ".join(table.names)
    return NotFound(f"the server could not find the metric {request.metric} for {resource}; {meant}known are {known}")


def other_unit(request: MetricRequest, alias: Alias) -> NotFound:
    """The metric is known under another name, and in another unit."""
    return not_found(request, f"{alias.why}: ask for {alias.metric}")


def unavailable(request: MetricRequest, unknown: Unknown, labels: Mapping[str, str] | None = None) -> Unavailable:
    """The metric exists and its value is unknown; `labels` tell one label set from the others."""
    shown = ", ".join(f"{name}={value}" for name, value in (labels or {}).items() if name != MODEL_KEY)
    of = f" ({shown})" if shown else ""
    return Unavailable(f"the metric {request.metric} for {subject(request)}{of} is unknown now: {unknown.reason}")


def nothing_discovered(request: MetricRequest) -> Unavailable:
    """Asked before discovery said anything."""
    return unavailable(request, Unknown("no endpoint and no InferencePool was discovered yet"))


def added_up(
    request: ExternalRequest, metric: PublishedMetric, found: Sequence[tuple[PoolSnapshot, str | None]]
) -> BadRequest:
    """Several items of a metric whose sum means nothing: the HPA adds the items of an external metric up."""
    labels = [labels_of(snapshot, model) for snapshot, model in found]
    wanted = POOL if len({each[POOL] for each in labels}) > 1 else MODEL_KEY
    return BadRequest(
        f"the metric {request.metric} for {subject(request)} has {len(labels)} items, which an HPA would add up, "
        f"but its values ({metric.aggregation.value}) have no meaning when added: select one with {wanted}=…; "
        f"its label sets are {_listed(labels)}"
    )


def several_models(error: SeveralModels) -> BadRequest:
    """A metric selector picks several models for values that cannot show which one they are of."""
    return BadRequest(f"metricLabelSelector picks {error.count} models, an object's value is of one or of all")


def no_label_set(
    request: MetricRequest, metric: PublishedMetric, snapshots: Iterable[PoolSnapshot]
) -> NotFound | Unavailable:
    """The metric selector matches nothing: 503 while models may yet show up, 404 once all endpoints were read."""
    selector = request.labels if isinstance(request, ExternalRequest) else request.metric_labels
    snapshots = tuple(snapshots)
    if not snapshots:
        return not_found(request, "there is no InferencePool in that namespace")
    if not metric.per_model and any(each.key in OF_MODEL for each in selector.requirements):
        return not_found(request, f"it is not split by model; its only label is {POOL}")
    # A label that no value ever has selects nothing, whatever endpoints come.
    impossible = any(each.key not in _LABELS and not each.matches({}) for each in selector.requirements)
    reason = blind(pools_selected(snapshots, selector)) if metric.per_model and not impossible else None
    if reason is not None:
        return unavailable(request, reason)
    known = [labels_of(snapshot, model) for snapshot in snapshots for model in label_sets(metric, snapshot)]
    return not_found(request, f"its label sets are {_listed(known)}")


def _listed(label_sets: Sequence[dict[str, str]]) -> str:
    sets = "; ".join(",".join(f"{name}={value}" for name, value in _keys(labels)) for labels in label_sets[:_LISTED])
    return f"{sets}{' …' if len(label_sets) > _LISTED else ''}"


def _keys(labels: dict[str, str]) -> Iterable[tuple[str, str]]:
    """The labels as a selector can name them."""
    for name, value in labels.items():
        if name != MODEL:
            yield name, value if name == MODEL_KEY else model_key(value)


def no_such_object(request: ObjectRequest) -> NotFound:
    """No object of that name, or none that the selector matches."""
    if request.name == ALL:
        return not_found(request, f"no {request.resource.resource} that infscale knows match")
    return not_found(request, "infscale knows no such object")
