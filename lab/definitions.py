"""The field's inference kinds as CustomResourceDefinitions, cut down to what an API server checks.

Groups, kinds, names, versions and fields with their limits are those of the published definitions: a test compares.
"""

from typing import Any

Schema = dict[str, Any]

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_GROUP = rf"^$|^{_SUBDOMAIN}$"
_KIND = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
_NAMESPACE = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_LABEL = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
_REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_CONDITION = rf"^({_SUBDOMAIN}/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
_CONTROLLER = rf"^{_SUBDOMAIN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"

POOL_GROUP = "inference.networking.k8s.io"
LEGACY_GROUP = "inference.networking.x-k8s.io"
LLM_D_GROUP = "llm-d.ai"
_GATEWAY_GROUP = "gateway.networking.k8s.io"


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": list(required)} if required else schema


def _list(items: Schema, **facts: object) -> Schema:
    return {"type": "array", "items": items, **facts}


def _text(longest: int | None = None, shortest: int | None = None, **facts: object) -> Schema:
    limits = {"minLength": shortest, "maxLength": longest}
    return {"type": "string", **{key: value for key, value in limits.items() if value is not None}, **facts}


def _int32(lowest: int, highest: int) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": lowest, "maximum": highest}


def _rules(*rules: str) -> Schema:
    return {"x-kubernetes-validations": [{"rule": rule} for rule in rules]}


def _group(default: str, shortest: int | None = None) -> Schema:
    return _text(253, shortest, pattern=_GROUP, default=default)


def _kind(default: str) -> Schema:
    return _text(63, 1, pattern=_KIND, default=default)


_NAME = _text(253, 1)
_PORT = _int32(1, 65535)
_WEIGHT = _int32(1, 1_000_000)
_LABEL_VALUE = _text(63, 0, pattern=_LABEL)
_FAILURE_MODE = _text(enum=["FailOpen", "FailClose"], default="FailClose")


def _pending(kind: str) -> list[Schema]:
    moment = "1970-01-01T00:00:00Z"
    words = {"status": "Unknown", "reason": "Pending", "message": "Waiting for controller"}
    return [{"type": kind, **words, "lastTransitionTime": moment}]


def _conditions(**facts: object) -> Schema:
    condition = _object(
        ("lastTransitionTime", "message", "reason", "status", "type"),
        lastTransitionTime=_text(format="date-time"),
        message=_text(32768),
        observedGeneration={"type": "integer", "format": "int64", "minimum": 0},
        reason=_text(1024, 1, pattern=_REASON),
        status=_text(enum=["True", "False", "Unknown"]),
        type=_text(316, pattern=_CONDITION),
    )
    by_type = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return _list(condition, maxItems=8, **by_type, **facts)


def _parents(conditions: Schema, group: Schema, **properties: Schema) -> Schema:
    reference = _object(
        ("name",),
        group=group,
        kind=_kind("Gateway"),
        name=_NAME,
        namespace=_text(63, 1, pattern=_NAMESPACE),
    )
    return _object(("parentRef",), conditions=conditions, parentRef=reference, **properties)


def _pool() -> Schema:
    picker = _object(
        ("name",),
        group=_group("", 0),
        kind=_kind("Service"),
        name=_NAME,
        port=_object(("number",), number=_PORT),
        failureMode=_FAILURE_MODE,
    )
    labels = {"type": "object", "minProperties": 1, "maxProperties": 64, "additionalProperties": _LABEL_VALUE}
    different = _rules("self.all(p1, self.exists_one(p2, p1.number==p2.number))")
    ports = _list(_object(("number",), number=_PORT), minItems=1, maxItems=8, **{"x-kubernetes-list-type": "atomic"})
    spec = _object(
        ("selector", "targetPorts"),
        appProtocol=_text(enum=["http", "kubernetes.io/h2c"], default="http"),
        selector=_object(("matchLabels",), matchLabels=labels),
        targetPorts={**ports, **different},
        endpointPickerRef={**picker, **_rules("self.kind != 'Service' || has(self.port)")},
    )
    parents = _parents(_conditions(), _group(_GATEWAY_GROUP, 0), controllerName=_text(253, 1, pattern=_CONTROLLER))
    listed = _list(parents, maxItems=32, **{"x-kubernetes-list-type": "atomic"})
    return _object(("spec",), spec=spec, status=_object(parents=listed))


def _legacy_pool() -> Schema:
    extension = _object(
        ("name",),
        group=_group(""),
        kind=_kind("Service"),
        name=_NAME,
        portNumber=_PORT,
        failureMode=_FAILURE_MODE,
    )
    spec = _object(
        ("extensionRef", "selector", "targetPortNumber"),
        selector={"type": "object", "additionalProperties": _LABEL_VALUE},
        targetPortNumber=_PORT,
        extensionRef=extension,
    )
    pending = _pending("Accepted")
    nobody = {"kind": "Status", "name": "default"}
    status = _object(parent=_list(_parents(_conditions(default=pending), _group(_GATEWAY_GROUP)), maxItems=32))
    default = {"parent": [{"parentRef": nobody, "conditions": pending}]}
    return _object(spec=spec, status={**status, "default": default})


def _pool_reference(group: str) -> Schema:
    return _object(("name",), group=_group(group), kind=_kind("InferencePool"), name=_NAME)


def _own_status(kind: str) -> Schema:
    return _object(conditions=_conditions(default=_pending(kind)))


def _objective(priority: Schema) -> Schema:
    spec = _object(("poolRef",), poolRef=_pool_reference(POOL_GROUP), priority=priority)
    return _object(spec=spec, status=_own_status("Ready"))


def _rewrite() -> Schema:
    model = _object(("value",), type=_text(enum=["Exact"], default="Exact"), value=_text(shortest=1))
    target = _object(("modelRewrite",), modelRewrite=_text(), weight=_WEIGHT)
    rule = _object(matches=_list(_object(("model",), model=model)), targets=_list(target, minItems=1))
    spec = _object(("poolRef", "rules"), poolRef=_pool_reference(POOL_GROUP), rules=_list(rule))
    return _object(spec=spec, status=_own_status("Accepted"))


def _model() -> Schema:
    weights = "self.all(model, has(model.weight)) || self.all(model, !has(model.weight))"
    targets = _list(_object(("name",), name=_text(253), weight=_WEIGHT), maxItems=10)
    spec = _object(
        ("modelName", "poolRef"),
        modelName={**_text(256), **_rules("self == oldSelf")},
        criticality=_text(enum=["Critical", "Standard", "Sheddable"]),
        targetModels={**targets, **_rules(weights)},
        poolRef=_pool_reference(LEGACY_GROUP),
    )
    return _object(spec=spec, status=_own_status("Ready"))


def _definition(group: str, kind: str, version: str, schema: Schema, *short_names: str) -> Schema:
    singular = kind.lower()
    plural = f"{singular}s"
    names: Schema = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular}
    if short_names:
        names["shortNames"] = list(short_names)
    served = {"name": version, "served": True, "storage": True, "subresources": {"status": {}}}
    served["schema"] = {"openAPIV3Schema": schema}
    # Groups of k8s.io are protected: the server takes them only with a word on who approved them.
    notes = {"annotations": {"api-approved.kubernetes.io": "unapproved, for tests"}} if group.endswith("k8s.io") else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", **notes},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [served]},
    }


def definitions() -> tuple[Schema, ...]:
    """All of them."""
    any_integer, int32 = {"type": "integer"}, {"type": "integer", "format": "int32"}
    return (
        _definition(POOL_GROUP, "InferencePool", "v1", _pool(), "infpool"),
        _definition(LEGACY_GROUP, "InferencePool", "v1alpha2", _legacy_pool(), "xinfpool"),
        _definition(LEGACY_GROUP, "InferenceModel", "v1alpha2", _model()),
        _definition(LEGACY_GROUP, "InferenceObjective", "v1alpha2", _objective(any_integer)),
        _definition(LEGACY_GROUP, "InferenceModelRewrite", "v1alpha2", _rewrite()),
        _definition(LLM_D_GROUP, "InferenceObjective", "v1alpha2", _objective(int32)),
        _definition(LLM_D_GROUP, "InferenceModelRewrite", "v1alpha2", _rewrite()),
    )
