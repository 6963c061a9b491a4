"""What the HPA controller asks for each metric, and answers to that.

Source: pkg/controller/podautoscaler/metrics/client.go and k8s.io/metrics/pkg/client of Kubernetes v1.36.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote, urlencode

from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_apis import AnsweredItem
from infscale.doctor.view.seen_scalers import SeenMetric
from infscale.documents.strict_document import seconds_of_duration

_RESOURCES = "/apis/metrics.k8s.io/v1beta1"
_EXTERNAL = f"/apis/{EXTERNAL_GROUP}/v1beta1"
_CUSTOM = f"/apis/{CUSTOM_GROUP}"


@dataclass(frozen=True, slots=True)
class Question:
    """A request of the controller: the path, percent-encoded, and its parameters."""

    path: str
    params: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def __str__(self) -> str:
        return f"{self.path}?{urlencode(self.params)}" if self.params else self.path


def question(
    namespace: str, metric: SeenMetric, selector: str, plurals: Mapping[tuple[str, str], str], version: str
) -> Question | None:
    """The request for `metric` of an HPA in `namespace`, None where the controller has none to make.

    `selector` is that of the target's scale, `plurals` the resources of kinds by (apiVersion, kind), `version` the
    preferred one of the custom metrics.
    """
    namespace = quote(namespace, safe="")
    name = quote(metric.name, safe=":")
    chosen = {"metricLabelSelector": metric.selector} if metric.selector else {}
    match metric.form:
        case "Resource" | "ContainerResource":
            return Question(f"{_RESOURCES}/namespaces/{namespace}/pods", {"labelSelector": selector})
        case "Pods":
            path = f"{_CUSTOM}/{version}/namespaces/{namespace}/pods/%2A/{name}"
            return Question(path, {"labelSelector": selector, **chosen})
        case "External":
            labels = {"labelSelector": metric.selector} if metric.selector else {}
            return Question(f"{_EXTERNAL}/namespaces/{namespace}/{name}", labels)
        case "Object" if metric.described is not None:
            described = metric.described
            if described.kind == "Namespace" and not described.group:
                return Question(f"{_CUSTOM}/{version}/namespaces/{namespace}/metrics/{name}", chosen)
            plural = plurals.get((described.api_version or "v1", described.kind))
            if plural is None:
                return None
            resource = f"{plural}.{described.group}" if described.group else plural
            place = f"{quote(resource, safe='.')}/{quote(described.name, safe='')}"
            return Question(f"{_CUSTOM}/{version}/namespaces/{namespace}/{place}/{name}", chosen)
        case _:
            return None


def items(document: Json, metric: SeenMetric) -> tuple[AnsweredItem, ...]:
    """The values in an answer; of a resource those of the pods that have it in all containers asked for."""
    if metric.form in ("Resource", "ContainerResource"):
        found = (_usage(each, metric) for each in document.at("items").items())
    else:
        found = (_value(each) for each in document.at("items").items())
    return tuple(each for each in found if each is not None)


def _value(item: Json) -> AnsweredItem | None:
    milli = item.at("value").milli()
    if milli is None:
        return None
    window = item.at("windowSeconds").whole_or_none() or item.at("window").whole_or_none() or 60
    return AnsweredItem(item.at("describedObject", "name").text(), milli, item.at("timestamp").seconds(), float(window))


def _usage(item: Json, metric: SeenMetric) -> AnsweredItem | None:
    containers = item.at("containers").items()
    if metric.container:
        containers = tuple(each for each in containers if each.at("name").text() == metric.container)
    used = [each.at("usage", metric.name).milli() for each in containers]
    if not used or None in used:
        return None
    total = sum(each for each in used if each is not None)
    window = seconds_of_duration(item.at("window").text()) or timedelta(minutes=1).total_seconds()
    return AnsweredItem(item.key().name, total, item.at("timestamp").seconds(), window)
