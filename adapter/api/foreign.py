"""Metrics of another adapter, asked for and written anew: requests and documents of v1beta1, read for v1beta2.

Only requests for v1beta2 are passed on, and only to v1beta1. So a request is passed on once at most, whatever serves
v1beta1: another infscale there, or this one, does not pass it on again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import orjson

from adapter.api.paths import ALL, CUSTOM_GROUP, NAMESPACES, CustomVersion, ObjectRequest

LIST_PATH = f"/apis/{CUSTOM_GROUP}/{CustomVersion.V1BETA1.value}"
"""The discovery document of the other adapter's version."""
MAX_ITEMS = 20_000
MAX_NAMES = 10_000
MAX_TEXT = 512


JsonObject = Mapping[str, Any]


class NotAList(Exception):
    """What another adapter sent is no list of metric values; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True, order=True)
class ForeignMetric:
    """A metric as discovery lists it: ``pods/some_metric``, and whether its objects are in namespaces."""

    resource: str
    metric: str
    namespaced: bool

    @property
    def name(self) -> str:
        """As discovery writes it."""
        return f"{self.resource}/{self.metric}"


def question(request: ObjectRequest) -> tuple[str, Mapping[str, str]]:
    """Path and parameters that ask v1beta1 the same. They come from `request` alone: it is what was authorized."""
    if request.resource == NAMESPACES and not request.namespace:
        parts = ["namespaces", request.name, "metrics", request.metric]
    else:
        place = ["namespaces", request.namespace] if request.namespace else []
        parts = [*place, str(request.resource), request.name, request.metric]
    # The API server and every adapter read an asterisk as it is.
    path = "/".join(quote(part, safe=ALL) for part in parts)
    given = {
        "labelSelector": str(request.labels),
        "metricLabelSelector": str(request.metric_labels),
        "fieldSelector": "" if request.field_name is None else f"metadata.name={request.field_name}",
    }
    return f"{LIST_PATH}/{path}", {key: value for key, value in given.items() if value}


def converted(document: JsonObject) -> bytes | None:
    """A `MetricValueList` of v1beta1 as one of v1beta2; None where it has no item. Raises `NotAList`."""
    items = document.get("items")
    if document.get("kind") != "MetricValueList" or not isinstance(items, list):
        raise NotAList("it is no MetricValueList")
    if len(items) > MAX_ITEMS:
        raise NotAList(f"it has more than {MAX_ITEMS} items")
    metadata = document.get("metadata")
    content = {
        "kind": "MetricValueList",
        "apiVersion": f"{CUSTOM_GROUP}/{CustomVersion.V1BETA2.value}",
        "metadata": metadata if isinstance(metadata, dict) else {},
        "items": [_item(each) for each in items],
    }
    return orjson.dumps(content) if items else None


def _item(item: object) -> JsonObject:
    if not isinstance(item, dict):
        raise NotAList("an item is no object")
    item = cast("dict[str, Any]", item)
    described, value = item.get("describedObject"), item.get("value")
    if not isinstance(described, dict) or not isinstance(value, str | int):
        raise NotAList("an item has no object or no value")
    metric = item.get("metric")
    if not isinstance(metric, dict):
        # Of v1beta1; some servers write v1beta2's form there, too.
        metric = {"name": item.get("metricName", ""), "selector": item.get("selector")}
    window = item.get("windowSeconds", item.get("window"))
    return {
        "describedObject": described,
        "metric": metric,
        "timestamp": item.get("timestamp"),
        **({} if window is None else {"windowSeconds": window}),
        "value": str(value),
    }


def read_names(document: JsonObject) -> tuple[ForeignMetric, ...]:
    """The metrics that a discovery document lists, the first `MAX_NAMES` in order. Raises `NotAList`."""
    resources = document.get("resources")
    if document.get("kind") != "APIResourceList" or not isinstance(resources, list):
        raise NotAList("it is no APIResourceList")
    found = {name for name in map(_name, resources) if name is not None}
    return tuple(sorted(found)[:MAX_NAMES])


def _name(resource: object) -> ForeignMetric | None:
    """The metric that one entry lists; None where it is no entry, or one that nothing can be called."""
    if not isinstance(resource, dict):
        return None
    entry = cast("dict[str, Any]", resource)
    name, namespaced = entry.get("name"), entry.get("namespaced")
    if not isinstance(name, str) or not isinstance(namespaced, bool) or len(name) > MAX_TEXT or not name.isprintable():
        return None
    of, _, metric = name.partition("/")
    return ForeignMetric(of, metric, namespaced) if of and metric and "/" not in metric else None
