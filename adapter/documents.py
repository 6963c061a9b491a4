"""Documents of the Kubernetes metrics APIs as JSON bytes: discovery, metric lists and `Status`.

Shapes are those of `k8s.io/metrics` and `k8s.io/apimachinery`; timestamps are RFC 3339 with whole seconds, values are
quantities.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from adapter.errors import ApiError, Forbidden, InternalError, TooManyRequests
from adapter.paths import CUSTOM_GROUP, EXTERNAL_GROUP, CustomVersion, Document, ExternalRequest, ObjectRequest, Probe
from adapter.provider import ExternalValues, ObjectValues
from infscale.labels import Operator, Requirement, Selector
from infscale.quantity import MAX_QUANTITY, format_quantity

EPSILON = 1e-6
"""Magnitudes below a millionth are 0: the HPA controller rounds anything above 0 up to a thousandth, and an error of
rounding would keep a pool from scaling to zero."""

RESOURCES = (
    ("inferencepools.inference.networking.k8s.io", True),
    ("inferencepools.inference.networking.x-k8s.io", True),
    ("namespaces", False),
    ("pods", True),
)
"""Resources in discovery, and whether they are namespaced. A resource has one scope in all entries: two would make the
whole group version stale in the cluster."""

_GROUPS: Mapping[str, tuple[str, ...]] = {
    CUSTOM_GROUP: tuple(version.value for version in CustomVersion),
    EXTERNAL_GROUP: ("v1beta1",),
}
_EXPRESSIONS = {
    Operator.IN: "In",
    Operator.NOT_IN: "NotIn",
    Operator.NOT_EQUALS: "NotIn",
    Operator.EXISTS: "Exists",
    Operator.DOES_NOT_EXIST: "DoesNotExist",
    Operator.GREATER_THAN: "Gt",
    Operator.LESS_THAN: "Lt",
}

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Clock:
    """The same moment on two clocks: monotonic seconds, in which readings are dated, and UTC."""

    monotonic: float
    utc: datetime

    @property
    def offset_seconds(self) -> float:
        """What turns a monotonic second into a second of the Unix epoch."""
        return self.utc.timestamp() - self.monotonic

    def rfc3339(self, at: float) -> str:
        """The monotonic second `at` as RFC 3339, cut to whole seconds."""
        return _rfc3339(math.floor(self.offset_seconds + at))


@dataclass(frozen=True, slots=True)
class ConstantDocument:
    """Bytes that never change while the process runs, and their entity tag."""

    body: bytes
    pretty: bytes
    etag: str

    @classmethod
    def of(cls, content: JsonObject) -> "ConstantDocument":
        """`content`, encoded once."""
        body = orjson.dumps(content)
        digest = hashlib.sha256(body).hexdigest()[:32]
        return cls(body, orjson.dumps(content, option=orjson.OPT_INDENT_2), f'"{digest}"')


def constant_documents(metrics: Iterable[str], version: str) -> Mapping[Document, ConstantDocument]:
    """Every document that does not depend on a value, for the names of the published metrics."""
    names = sorted(metrics)
    contents: dict[Document, JsonObject] = {
        Document.ROOT: {"paths": [each.value for kind in (Document, Probe) for each in kind]},
        Document.GROUPS: {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _GROUPS]},
        Document.CUSTOM: {"kind": "APIGroup", "apiVersion": "v1", **_group(CUSTOM_GROUP)},
        Document.CUSTOM_V1BETA1: _custom_resources(CustomVersion.V1BETA1, names),
        Document.CUSTOM_V1BETA2: _custom_resources(CustomVersion.V1BETA2, names),
        Document.EXTERNAL: {"kind": "APIGroup", "apiVersion": "v1", **_group(EXTERNAL_GROUP)},
        Document.EXTERNAL_V1BETA1: _external_resources(names),
        Document.VERSION: _version(version),
    }
    return {document: ConstantDocument.of(content) for document, content in contents.items()}


def object_list(request: ObjectRequest, values: ObjectValues, clock: Clock) -> bytes:
    """A `MetricValueList` in the version that was asked for."""
    times = _Times(clock)
    selector = label_selector(request.metric_labels)
    name: JsonObject = {"metric": {"name": request.metric, "selector": selector}}
    window_name, last = "windowSeconds", JsonObject()
    if request.version is CustomVersion.V1BETA1:
        name = {"metricName": request.metric}
        window_name, last = "window", {"selector": selector}
    if values.window_seconds is not None:
        last = {window_name: round(values.window_seconds), **last}
    kind, api_version = values.kind.kind, values.kind.api_version
    items: list[JsonObject] = []
    for key, reading in values.items:
        value = quantity(reading.value)
        if value is None:
            continue
        described = {"kind": kind, "namespace": key.namespace, "name": key.name, "apiVersion": api_version}
        if not key.namespace:
            del described["namespace"]
        dated = times.of(reading.at)
        items.append({"describedObject": described, **name, "timestamp": dated, "value": value, **last})
    return _list("MetricValueList", f"{CUSTOM_GROUP}/{request.version.value}", values.revision, items, request.pretty)


def external_list(request: ExternalRequest, values: ExternalValues, clock: Clock) -> bytes:
    """An `ExternalMetricValueList`."""
    times = _Times(clock)
    window = {} if values.window_seconds is None else {"window": round(values.window_seconds)}
    items: list[JsonObject] = []
    for item in values.items:
        value = quantity(item.reading.value)
        if value is not None:
            dated = {"timestamp": times.of(item.reading.at), **window, "value": value}
            items.append({"metricName": request.metric, "metricLabels": dict(item.labels), **dated})
    return _list("ExternalMetricValueList", f"{EXTERNAL_GROUP}/v1beta1", values.revision, items, request.pretty)


def status(error: ApiError, *, pretty: bool = False) -> bytes:
    """The `Status` of a refusal."""
    content: JsonObject = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": _encodable(str(error)),
        "reason": error.reason,
    }
    if isinstance(error, TooManyRequests):
        content["details"] = {"retryAfterSeconds": error.retry_after_seconds}
    elif isinstance(error, Forbidden):
        content["details"] = dict(error.details)
    elif isinstance(error, InternalError):
        content["details"] = {"causes": [{"message": _encodable(str(error))}]}
    content["code"] = error.code
    return _encoded(content, pretty)


def quantity(value: float) -> str | None:
    """The value as a quantity, None where no quantity can say it (NaN, infinite, too large)."""
    if not abs(value) <= MAX_QUANTITY:
        return None
    return "0" if abs(value) < EPSILON else format_quantity(value)


def label_selector(selector: Selector) -> JsonObject | None:
    """A `LabelSelector` object, None where nothing is selected."""
    if not selector.requirements:
        return None
    equal = [each for each in selector.requirements if each.operator is Operator.EQUALS]
    others = [each for each in selector.requirements if each.operator is not Operator.EQUALS]
    content: JsonObject = {}
    if equal:
        content["matchLabels"] = {each.key: each.values[0] for each in equal}
    if others:
        content["matchExpressions"] = [_expression(each) for each in others]
    return content


def _expression(requirement: Requirement) -> JsonObject:
    content: JsonObject = {"key": requirement.key, "operator": _EXPRESSIONS[requirement.operator]}
    if requirement.values:
        content["values"] = list(requirement.values)
    return content


class _Times:
    """Timestamps of one list, each second written once."""

    def __init__(self, clock: Clock) -> None:
        self._offset = clock.offset_seconds
        self._written: dict[int, str] = {}

    def of(self, at: float) -> str:
        second = math.floor(self._offset + at)
        written = self._written.get(second)
        if written is None:
            written = self._written[second] = _rfc3339(second)
        return written


def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list(kind: str, api_version: str, revision: str, items: list[JsonObject], pretty: bool) -> bytes:
    metadata: JsonObject = {"resourceVersion": revision} if revision else {}
    return _encoded({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}, pretty)


def _encoded(content: JsonObject, pretty: bool) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 if pretty else 0)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _group(name: str) -> JsonObject:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _GROUPS[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _custom_resources(version: CustomVersion, metrics: list[str]) -> JsonObject:
    resources = [
        _resource(f"{resource}/{metric}", namespaced, "MetricValueList")
        for resource, namespaced in RESOURCES
        for metric in metrics
    ]
    return _resource_list(f"{CUSTOM_GROUP}/{version.value}", resources)


def _external_resources(metrics: list[str]) -> JsonObject:
    resources = [_resource(metric, True, "ExternalMetricValueList") for metric in metrics]
    return _resource_list(f"{EXTERNAL_GROUP}/v1beta1", resources)


def _resource(name: str, namespaced: bool, kind: str) -> JsonObject:
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"]}


def _resource_list(group_version: str, resources: list[JsonObject]) -> JsonObject:
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _version(version: str) -> JsonObject:
    """The API server's `version.Info`; clients read major and minor as numbers."""
    major, minor, *_ = [*version.split("."), "0"]
    empty = dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "")
    return {"major": major, "minor": minor, "gitVersion": f"v{version}", **empty}
