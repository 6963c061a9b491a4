"""What the metrics APIs look like in OpenAPI, for `kubectl explain` and clients that are made from documents.

Definitions have the names of `k8s.io/metrics` and refer to none beside them: the API server puts documents of many
servers together, and a core definition that differs from its own would have to be renamed there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP, CustomVersion

_V2_REFERENCES = "#/definitions/"
_V3_REFERENCES = "#/components/schemas/"
_TITLE = "infscale metrics adapter"
_MODELS = "io.k8s.metrics.pkg.apis"
_STRING = {"type": "string"}

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    description: str
    place: str = "query"
    values: tuple[str, ...] = ()

    @property
    def schema(self) -> JsonObject:
        return {**_STRING, "enum": list(self.values)} if self.values else {**_STRING}

    def written(self, *, nested: bool) -> JsonObject:
        """The parameter; version 3 of OpenAPI keeps its type in a schema of its own."""
        common: JsonObject = {"name": self.name, "in": self.place, "description": self.description}
        if self.place == "path":
            common["required"] = True
        return {**common, "schema": self.schema} if nested else {**common, **self.schema}


@dataclass(frozen=True, slots=True)
class _Path:
    path: str
    operation: str
    description: str
    parameters: tuple[_Parameter, ...]


_NAMESPACE = _Parameter("namespace", "namespace of the objects", "path")
_RESOURCE = _Parameter("resource", "plural of the objects' kind, with a dot and its API group where it has one", "path")
_NAME = _Parameter("name", "name of the object, or * for all that labelSelector selects", "path")
_LABELS = _Parameter("labelSelector", "selects objects by their labels")
_METRIC_LABELS = _Parameter(
    "metricLabelSelector", "selects by labels of the metric: pool, model, model_key or model_name"
)
_EXTERNAL_LABELS = _Parameter("labelSelector", "selects by labels of the metric: pool, model, model_key or model_name")
_FIELDS = _Parameter("fieldSelector", "metadata.name=NAME narrows a list to one object")
_PRETTY = _Parameter("pretty", "true indents the answer")


def openapi_v2(metrics: Sequence[str], version: str) -> JsonObject:
    """Every API in version 2 of OpenAPI, for metrics of these names, by the adapter of this version."""
    paths: JsonObject = {}
    definitions: JsonObject = {}
    for group, group_version in (*((CUSTOM_GROUP, each.value) for each in CustomVersion), (EXTERNAL_GROUP, "v1beta1")):
        list_name = _list_name(group, group_version)
        answer: JsonObject = {"description": "OK", "schema": {"$ref": _V2_REFERENCES + list_name}}
        for each in _paths(group, group_version, metrics):
            written = _operation(each, group, group_version, answer)
            written["produces"] = ["application/json", "application/yaml"]
            parameters = [parameter.written(nested=False) for parameter in each.parameters]
            paths[each.path] = {"get": written, "parameters": parameters}
        definitions |= _schemas(group, group_version, _V2_REFERENCES)
    return {"swagger": "2.0", "info": _about(version), "paths": paths, "definitions": definitions}


def openapi_v3(group: str, group_version: str, metrics: Sequence[str], version: str) -> JsonObject:
    """One version of one API group in version 3 of OpenAPI."""
    schema = {"schema": {"$ref": _V3_REFERENCES + _list_name(group, group_version)}}
    content = {"application/json": schema, "application/yaml": schema}
    answer: JsonObject = {"description": "OK", "content": content}
    paths: JsonObject = {
        each.path: {
            "get": _operation(each, group, group_version, answer),
            "parameters": [parameter.written(nested=True) for parameter in each.parameters],
        }
        for each in _paths(group, group_version, metrics)
    }
    schemas = _schemas(group, group_version, _V3_REFERENCES)
    return {"openapi": "3.0.0", "info": _about(version), "paths": paths, "components": {"schemas": schemas}}


def openapi_index(hashes: Mapping[str, str]) -> JsonObject:
    """Where the documents of version 3 are: by path, with the hash of the content there."""
    prefix = "/openapi/v3/"
    return {
        "paths": {
            path.removeprefix(prefix): {"serverRelativeURL": f"{path}?hash={content_hash}"}
            for path, content_hash in hashes.items()
        }
    }


def _about(version: str) -> JsonObject:
    return {"title": _TITLE, "version": f"v{version}"}


def _paths(group: str, version: str, metrics: Sequence[str]) -> list[_Path]:
    metric = _Parameter("metric", "name of the metric", "path", tuple(metrics))
    prefix = f"/apis/{group}/{version}/namespaces/{{namespace}}"
    if group == EXTERNAL_GROUP:
        # Each metric is a resource with a path of its own, as `kubectl explain` looks for it.
        return [
            _Path(
                f"{prefix}/{each}",
                f"listExternalMetricsV1beta1{each.title().replace('_', '')}",
                f"values of {each}, one per InferencePool, and per model where it is split by model",
                (_NAMESPACE, _EXTERNAL_LABELS, _PRETTY),
            )
            for each in metrics
        ]
    name = f"CustomMetrics{version.capitalize()}"
    return [
        _Path(
            f"{prefix}/metrics/{{metric}}",
            f"get{name}NamespaceMetricValue",
            "value of a metric for the namespace itself",
            (_NAMESPACE, metric, _METRIC_LABELS, _PRETTY),
        ),
        _Path(
            f"{prefix}/{{resource}}/{{name}}/{{metric}}",
            f"list{name}NamespacedMetricValue",
            "values of a metric for objects in a namespace",
            (_NAMESPACE, _RESOURCE, _NAME, metric, _LABELS, _METRIC_LABELS, _FIELDS, _PRETTY),
        ),
    ]


def _operation(path: _Path, group: str, version: str, answer: JsonObject) -> JsonObject:
    return {
        "description": path.description,
        "operationId": path.operation,
        "tags": [f"{group.partition('.')[0]}Metrics_{version}"],
        "responses": {
            "200": answer,
            "404": {"description": "no such metric or object"},
            "503": {"description": "the value is unknown now"},
        },
        "x-kubernetes-action": "list",
        "x-kubernetes-group-version-kind": _kind(group, version),
    }


def _kind(group: str, version: str) -> JsonObject:
    kind = "ExternalMetricValueList" if group == EXTERNAL_GROUP else "MetricValueList"
    return {"group": group, "version": version, "kind": kind}


def _list_name(group: str, version: str) -> str:
    return f"{_MODELS}.{group.partition('.')[0]}_metrics.{version}.{_kind(group, version)['kind']}"


def _schemas(group: str, version: str, references: str) -> JsonObject:
    """The definitions of the list and of its items."""
    list_name = _list_name(group, version)
    item_name = list_name.removesuffix("List")
    value = _external_value() if group == EXTERNAL_GROUP else _custom_value(version)
    revision: JsonObject = {"resourceVersion": _text("revision of the metrics store")}
    metadata = _object("resourceVersion is the revision of the metrics store that was read", revision)
    properties: JsonObject = {
        "apiVersion": _text("group and version of the list"),
        "kind": _text("kind of the list"),
        "metadata": metadata,
        "items": {"description": "the values", "type": "array", "items": {"$ref": references + item_name}},
    }
    values = _object("a list of values of one metric", properties, required=("items",))
    values["x-kubernetes-group-version-kind"] = [_kind(group, version)]
    return {list_name: values, item_name: value}


def _custom_value(version: str) -> JsonObject:
    described = _object(
        "the object the value belongs to",
        {
            "apiVersion": _text("group and version of the object"),
            "kind": _text("kind of the object"),
            "name": _text("name of the object"),
            "namespace": _text("namespace of the object, if it has one"),
        },
    )
    selector: JsonObject = {"description": "the metric's selector as a LabelSelector, null without", "type": "object"}
    name = _text("name of the metric")
    named: JsonObject = {"metricName": name, "selector": selector}
    window = "window"
    if version == CustomVersion.V1BETA2.value:
        named = {"metric": _object("the metric", {"name": name, "selector": selector}, required=("name", "selector"))}
        window = "windowSeconds"
    return _value("the value of a metric for an object", {"describedObject": described, **named}, window)


def _external_value() -> JsonObject:
    labels: JsonObject = {
        "description": "what tells the value from the others of the metric",
        "type": "object",
        "additionalProperties": {**_STRING},
    }
    named: JsonObject = {"metricName": _text("name of the metric"), "metricLabels": labels}
    return _value("a value of a metric that belongs to no object", named, "window")


def _value(description: str, named: JsonObject, window: str) -> JsonObject:
    common: JsonObject = {
        "timestamp": {**_text("when the value was observed"), "format": "date-time"},
        window: {"description": "how many seconds the value looks back", "type": "integer", "format": "int64"},
        "value": _text("the value, as a quantity"),
    }
    required = (*(name for name in named if name != "selector"), "timestamp", "value")
    return _object(description, {**named, **common}, required=required)


def _object(description: str, properties: JsonObject, required: Sequence[str] = ()) -> JsonObject:
    content: JsonObject = {"description": description, "type": "object", "properties": properties}
    return {**content, "required": list(required)} if required else content


def _text(description: str) -> JsonObject:
    return {"description": description, **_STRING}
