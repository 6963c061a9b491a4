"""Kubernetes objects as their definitions write them, read into our types.

A reader takes one object as a `Field`, whether a person wrote it in a file or an API server sent it, and refuses what
the object's definition refuses. Both API groups of the inference objects are read, the older into the newer's meaning.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from infscale.discovery import names
from infscale.discovery.opened_object import open_object
from infscale.discovery.rollout_objects import INFSCALE_GROUP, read_rollout
from infscale.discovery.workloads import H2C, MAX_PORTS, WORKLOADS, read_namespace, read_service
from infscale.documents import values
from infscale.documents.strict_document import Field, attempted, quoted
from infscale.endpoint import (
    DescribedObject,
    FailureMode,
    Objective,
    Pool,
    Rewrite,
    RewriteRule,
    RewriteTarget,
    Rollout,
)

POOL_GROUP = "inference.networking.k8s.io"
LEGACY_GROUP = "inference.networking.x-k8s.io"
LLM_D_GROUP = "llm-d.ai"

_MAX_LABELS = 64
_MAX_WEIGHT = 1_000_000
_INT32 = 2**31
_MAX_NAME = 253
_KIND = re.compile(r"[a-zA-Z](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")

_PRIORITY_OF_CRITICALITY = {"Critical": 1, "Standard": 0, "Sheddable": -1}

InferenceObject = Pool | Objective | Rewrite | Rollout | DescribedObject


def read_pool(field: Field) -> Pool:
    """An `InferencePool` of the group `inference.networking.k8s.io`."""
    read = open_object(field)
    spec = read.require_spec().mapping(["selector", "targetPorts"], ["appProtocol", "endpointPickerRef"])
    selector = spec["selector"].attempt(lambda each: _selector(each.mapping(["matchLabels"])["matchLabels"], minimum=1))
    ports = spec["targetPorts"].attempt(_target_ports)
    protocol = attempted(spec, "appProtocol", lambda each: each.choice(["http", H2C]), "http")
    mode = attempted(spec, "endpointPickerRef", _picker_failure_mode, FailureMode.CLOSE)
    return Pool(read.key, selector.value, ports.value, mode.value, read.labels, h2c=protocol.value == H2C)


def read_legacy_pool(field: Field) -> Pool:
    """An `InferencePool` of the group `inference.networking.x-k8s.io`: one port, selector as a plain map."""
    read = open_object(field)
    spec = read.require_spec().mapping(["selector", "targetPortNumber", "extensionRef"])
    extension = spec["extensionRef"].mapping(["name"], ["group", "kind", "portNumber", "failureMode"])
    selector = spec["selector"].attempt(lambda each: _selector(each, minimum=0))
    port = spec["targetPortNumber"].attempt(values.port)
    _check_reference(extension)
    if "portNumber" in extension:
        values.port(extension["portNumber"])
    return Pool(read.key, selector.value, (port.value,), _failure_mode(extension), read.labels)


def _selector(field: Field, minimum: int) -> Mapping[str, str]:
    selector = names.labels(field)
    if not minimum <= len(selector) <= _MAX_LABELS:
        field.refuse(f"expected {minimum} to {_MAX_LABELS} labels, got {len(selector)}")
    return selector


def _target_ports(field: Field) -> tuple[int, ...]:
    items = field.items()
    if not 1 <= len(items) <= MAX_PORTS:
        field.refuse(f"expected 1 to {MAX_PORTS} ports, got {len(items)}")
    ports: list[int] = []
    for item in items:
        number = item.mapping(["number"])["number"]
        port = values.port(number)
        if port in ports:
            number.refuse(f"port {port} is given twice")
        ports.append(port)
    return tuple(ports)


def _picker_failure_mode(field: Field) -> FailureMode:
    reference = field.mapping(["name"], ["group", "kind", "port", "failureMode"])
    _check_reference(reference)
    if "port" in reference:
        values.port(reference["port"].mapping(["number"])["number"])
    elif "kind" not in reference or reference["kind"].text() == "Service":
        field.refuse("key 'port' is missing; a Service needs it")
    return _failure_mode(reference)


def _failure_mode(reference: Mapping[str, Field]) -> FailureMode:
    field = reference.get("failureMode")
    return FailureMode.CLOSE if field is None else values.member(FailureMode)(field)


def _check_reference(reference: Mapping[str, Field]) -> None:
    """Refuse a group, kind or name that no reference can have."""
    group, kind, name = reference.get("group"), reference.get("kind"), reference["name"]
    if group is not None and group.text(empty=True):
        names.name(group)
    if kind is not None and not _KIND.fullmatch(kind.text()):
        kind.refuse("expected a kind such as Service")
    if len(name.text()) > _MAX_NAME:
        name.refuse(f"expected at most {_MAX_NAME} characters")


def read_objective(field: Field) -> Objective:
    """An `InferenceObjective`; no priority is priority 0."""
    read = open_object(field)
    spec = read.require_spec().mapping(["poolRef"], ["priority"])
    pool = spec["poolRef"].attempt(_pool_name)
    priority = spec["priority"].integer(-_INT32, _INT32 - 1) if "priority" in spec else 0
    return Objective(read.key, priority, pool.value)


def _pool_name(field: Field) -> str:
    reference = field.mapping(["name"], ["group", "kind"])
    _check_reference(reference)
    if "kind" in reference:
        reference["kind"].choice(["InferencePool"])
    if "group" in reference:
        reference["group"].choice([POOL_GROUP, LEGACY_GROUP])
    return reference["name"].text()


def read_rewrite(field: Field) -> Rewrite:
    """An `InferenceModelRewrite`. A rule without targets matches and changes nothing."""
    read = open_object(field)
    spec = read.require_spec().mapping(["poolRef", "rules"])
    pool = spec["poolRef"].attempt(_pool_name)
    rules = spec["rules"].each(_rule)
    return Rewrite(read.key, pool.value, rules, read.created)


def _rule(field: Field) -> RewriteRule:
    parts = field.mapping([], ["matches", "targets"])
    matches = parts["matches"].each(_matched_model) if "matches" in parts else ()
    return RewriteRule(matches, _targets(parts["targets"]) if "targets" in parts else ())


def _matched_model(field: Field) -> str:
    model = field.mapping(["model"])["model"].mapping(["value"], ["type"])
    if "type" in model:
        model["type"].choice(["Exact"])
    return model["value"].text()


def _targets(field: Field, name_key: str = "modelRewrite") -> tuple[RewriteTarget, ...]:
    items = field.items()
    if not items:
        field.refuse("expected at least one target")
    targets = field.each(lambda item: _target(item, name_key))
    weighted = tuple(target for target in targets if target.weight is not None)
    if weighted and len(weighted) < len(targets) and field.strict:
        field.refuse("give every target a weight or none: one without is never chosen beside one with")
    return weighted or targets


def _target(field: Field, name_key: str) -> RewriteTarget:
    parts = field.mapping([name_key], ["weight"])
    weight = parts["weight"].integer(1, _MAX_WEIGHT) if "weight" in parts else None
    return RewriteTarget(parts[name_key].text(), weight)


@dataclass(frozen=True, slots=True)
class InferenceModel:
    """An `InferenceModel` in today's words: the class of the requests for its model, and where they go.

    `rewrite` None: it has no target models, so requests keep their model.
    """

    objective: Objective
    rewrite: Rewrite | None

    @property
    def model(self) -> str:
        """The name that requests give."""
        return self.objective.model or ""


def read_model(field: Field) -> InferenceModel:
    """An `InferenceModel`; no criticality is ``Standard``, priority 0."""
    read = open_object(field)
    spec = read.require_spec().mapping(["modelName", "poolRef"], ["criticality", "targetModels"])
    model, pool = spec["modelName"].text(), _pool_name(spec["poolRef"])
    criticality = spec["criticality"].choice([*_PRIORITY_OF_CRITICALITY]) if "criticality" in spec else "Standard"
    objective = Objective(read.key, _PRIORITY_OF_CRITICALITY[criticality], pool, model)
    targets = spec["targetModels"].items() if "targetModels" in spec else ()
    if not targets:
        return InferenceModel(objective, None)
    rule = RewriteRule((model,), _targets(spec["targetModels"], "name"))
    return InferenceModel(objective, Rewrite(read.key, pool, (rule,), read.created))


READERS: Mapping[tuple[str, str], Callable[[Field], InferenceObject]] = MappingProxyType(
    {
        (f"{POOL_GROUP}/v1", "InferencePool"): read_pool,
        (f"{LEGACY_GROUP}/v1alpha2", "InferencePool"): read_legacy_pool,
        (f"{LLM_D_GROUP}/v1alpha2", "InferenceObjective"): read_objective,
        (f"{LEGACY_GROUP}/v1alpha2", "InferenceObjective"): read_objective,
        (f"{LLM_D_GROUP}/v1alpha2", "InferenceModelRewrite"): read_rewrite,
        (f"{LEGACY_GROUP}/v1alpha2", "InferenceModelRewrite"): read_rewrite,
        (f"{INFSCALE_GROUP}/v1alpha1", "ModelRollout"): read_rollout,
        **{(kind.api_version, kind.kind): kind.read for kind in WORKLOADS},
        ("v1", "Service"): read_service,
        ("v1", "Namespace"): read_namespace,
    }
)
"""Which reader reads an object of an (apiVersion, kind)."""


def read_object(field: Field) -> InferenceObject:
    """The object `field` writes, by its `apiVersion` and `kind`."""
    parts = field.entries()
    missing = [key for key in ("apiVersion", "kind") if key not in parts]
    if missing:
        field.refuse(" and ".join(f"key {quoted(key)} is missing" for key in missing))
    kind = parts["kind"].choice(sorted({kind for _, kind in READERS}))
    version = parts["apiVersion"].choice([version for version, known in READERS if known == kind])
    return READERS[version, kind](field)
