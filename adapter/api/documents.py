"""Documents that do not depend on any metric value: discovery, version and the list of paths.

Shapes are those of `k8s.io/apimachinery` and `k8s.io/api/apidiscovery`. Each is written once, in every form, and anew
where another adapter's metrics change.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from adapter.api.foreign import ForeignMetric
from adapter.api.forms import Form, rewritten
from adapter.api.negotiation import Accepted, Conversion
from adapter.api.openapi import openapi_index, openapi_v2, openapi_v3
from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP, PATHS, CustomVersion, Document

RESOURCES = (
    ("deployments.apps", True),
    ("inferencepools.inference.networking.k8s.io", True),
    ("inferencepools.inference.networking.x-k8s.io", True),
    ("namespaces", False),
    ("pods", True),
    ("services", True),
    ("statefulsets.apps", True),
)
"""Resources in discovery, and whether they are namespaced. A resource has one scope in all entries: two would make the
whole group version stale in the cluster."""

AGGREGATED = tuple(Conversion("APIGroupDiscoveryList", "apidiscovery.k8s.io", version) for version in ("v2", "v2beta1"))
"""What `/apis` can be asked for instead of the list of groups: everything in one document."""

_GROUPS: Mapping[str, tuple[str, ...]] = {
    CUSTOM_GROUP: tuple(version.value for version in CustomVersion),
    EXTERNAL_GROUP: ("v1beta1",),
}
_CUSTOM_KIND = "MetricValueList"
_EXTERNAL_KIND = "ExternalMetricValueList"
_OPENAPI: Mapping[Document, tuple[str, str]] = {
    Document.OPENAPI_CUSTOM_V1BETA1: (CUSTOM_GROUP, "v1beta1"),
    Document.OPENAPI_CUSTOM_V1BETA2: (CUSTOM_GROUP, "v1beta2"),
    Document.OPENAPI_EXTERNAL_V1BETA1: (EXTERNAL_GROUP, "v1beta1"),
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


@lru_cache(maxsize=1024)  # What is shown was observed within the last seconds.
def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Written:
    """A document in one form, and the entity tag of this form."""

    body: bytes
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class ConstantDocument:
    """A document that never changes while the process runs; `content_hash` is the same in every form."""

    content_hash: str
    compact: Written
    pretty: Written
    yaml: Written

    @classmethod
    def of(cls, content: JsonObject, parameters: str = "") -> "ConstantDocument":
        """`content`, written in every form; `parameters` go behind the content types."""
        body = orjson.dumps(content)
        content_hash = hashlib.sha256(body).hexdigest()[:32]

        def written(form: Form, mark: str = "", *, pretty: bool = False) -> Written:
            kind = f"{form.value};{parameters}" if parameters else form.value
            return Written(rewritten(body, form, pretty=pretty), kind, f'"{content_hash}{mark}"')

        return cls(
            content_hash, written(Form.JSON), written(Form.JSON, ".pretty", pretty=True), written(Form.YAML, ".yaml")
        )

    def written(self, accepted: Accepted, *, pretty: bool = False) -> Written:
        """The document as the client takes it."""
        if accepted.form is Form.YAML:
            return self.yaml
        return self.pretty if pretty or accepted.pretty else self.compact


@dataclass(frozen=True, slots=True)
class Constants:
    """Every document that does not depend on a value, and the other documents that a path can be asked for."""

    documents: Mapping[Document, ConstantDocument]
    aggregated: Mapping[Conversion, ConstantDocument] = field(default_factory=dict[Conversion, ConstantDocument])

    def __getitem__(self, document: Document) -> ConstantDocument:
        return self.documents[document]


def constant_documents(metrics: Iterable[str], version: str, foreign: Iterable[ForeignMetric] = ()) -> Constants:
    """The documents for these names of metrics, by the adapter of this version.

    `foreign` are those of another adapter that are passed on: they are listed in v1beta2 alone.
    """
    names = sorted(metrics)
    own = _listed(names, ())
    all_of_v1beta2 = _listed(names, foreign)
    external = [_resource(name, True, _EXTERNAL_KIND) for name in names]
    contents: dict[Document, JsonObject] = {
        Document.ROOT: {"paths": sorted(PATHS)},
        Document.GROUPS: {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _GROUPS]},
        Document.CUSTOM: {"kind": "APIGroup", "apiVersion": "v1", **_group(CUSTOM_GROUP)},
        Document.CUSTOM_V1BETA1: _custom_resources(CustomVersion.V1BETA1, own),
        Document.CUSTOM_V1BETA2: _custom_resources(CustomVersion.V1BETA2, all_of_v1beta2),
        Document.EXTERNAL: {"kind": "APIGroup", "apiVersion": "v1", **_group(EXTERNAL_GROUP)},
        Document.EXTERNAL_V1BETA1: _resource_list(f"{EXTERNAL_GROUP}/v1beta1", external),
        Document.OPENAPI_V2: openapi_v2(names, version),
        Document.VERSION: _version(version),
    }
    for document, (group, group_version) in _OPENAPI.items():
        contents[document] = openapi_v3(group, group_version, names, version)
    documents = {document: ConstantDocument.of(content) for document, content in contents.items()}
    documents[Document.OPENAPI_V3] = ConstantDocument.of(
        openapi_index({document.value: documents[document].content_hash for document in _OPENAPI})
    )
    objects = {CustomVersion.V1BETA1.value: own, CustomVersion.V1BETA2.value: all_of_v1beta2}
    aggregated = {
        each: ConstantDocument.of(_aggregated(each.version, objects, names), parameters=each.parameters)
        for each in AGGREGATED
    }
    return Constants(documents, aggregated)


def _group(name: str) -> JsonObject:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _GROUPS[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


@dataclass(frozen=True, slots=True)
class _Listed:
    """One resource in discovery and the metrics it has."""

    resource: str
    namespaced: bool
    metrics: tuple[str, ...]


def _listed(names: list[str], foreign: Iterable[ForeignMetric]) -> tuple[_Listed, ...]:
    """Every resource with its own metrics and those of another adapter; the first scope of a resource is its scope."""
    scopes = dict(RESOURCES)
    metrics = {resource: dict.fromkeys(names) for resource in scopes}
    for each in foreign:
        scopes.setdefault(each.resource, each.namespaced)
        metrics.setdefault(each.resource, {})[each.metric] = None
    return tuple(_Listed(resource, scopes[resource], tuple(metrics[resource])) for resource in scopes)


def _custom_resources(version: CustomVersion, listed: tuple[_Listed, ...]) -> JsonObject:
    resources = [
        _resource(f"{each.resource}/{metric}", each.namespaced, _CUSTOM_KIND)
        for each in listed
        for metric in each.metrics
    ]
    return _resource_list(f"{CUSTOM_GROUP}/{version.value}", resources)


def _resource(name: str, namespaced: bool, kind: str) -> JsonObject:
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get"]}


def _resource_list(group_version: str, resources: list[JsonObject]) -> JsonObject:
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _aggregated(version: str, objects: Mapping[str, tuple[_Listed, ...]], metrics: list[str]) -> JsonObject:
    """The same resources as an `APIGroupDiscoveryList`; `objects` are those of the custom metrics' versions."""
    items: list[JsonObject] = []
    for group, versions in _GROUPS.items():
        written: list[JsonObject] = []
        for each in versions:
            custom = group == CUSTOM_GROUP
            resources = _aggregated_objects(each, objects[each]) if custom else _aggregated_metrics(each, metrics)
            written.append({"version": each, "resources": resources, "freshness": "Current"})
        items.append({"metadata": {"name": group}, "versions": written})
    kind, api_version = "APIGroupDiscoveryList", f"apidiscovery.k8s.io/{version}"
    return {"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items}


def _aggregated_objects(version: str, listed: tuple[_Listed, ...]) -> list[JsonObject]:
    kind = _kind(CUSTOM_GROUP, version, _CUSTOM_KIND)
    return [
        {
            **_place(each.resource, each.namespaced),
            # The object itself is not served here, so it has no kind and no verb.
            "responseKind": _kind(),
            "verbs": [],
            "subresources": [
                {"subresource": metric, "responseKind": kind, "verbs": ["get"]} for metric in each.metrics
            ],
        }
        for each in listed
    ]


def _aggregated_metrics(version: str, metrics: list[str]) -> list[JsonObject]:
    kind = _kind(EXTERNAL_GROUP, version, _EXTERNAL_KIND)
    return [{**_place(metric, True), "responseKind": kind, "verbs": ["get"]} for metric in metrics]


def _place(resource: str, namespaced: bool) -> JsonObject:
    return {"resource": resource, "scope": "Namespaced" if namespaced else "Cluster", "singularResource": ""}


def _kind(group: str = "", version: str = "", kind: str = "") -> JsonObject:
    return {"group": group, "version": version, "kind": kind}


def _version(version: str) -> JsonObject:
    """The API server's `version.Info`; clients read major and minor as numbers."""
    major, minor, *_ = [*version.split("."), "0"]
    empty = dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "")
    return {"major": major, "minor": minor, "gitVersion": f"v{version}", **empty}
