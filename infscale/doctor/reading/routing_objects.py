"""InferencePools, Services, routes, gateways and texts with queries, as the API server sends them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from infscale.discovery.objects import LEGACY_GROUP, POOL_GROUP
from infscale.doctor.metric_names import is_old
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_routing import (
    SeenBackend,
    SeenPicker,
    SeenPool,
    SeenPoolUser,
    SeenRoute,
    SeenService,
    SeenText,
    SeenTlsPolicy,
)
from infscale.documents.strict_document import seconds_of_duration
from infscale.endpoint import ObjectKey

_SERVICE_LABEL = "kubernetes.io/service-name"
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MAX_SEARCHED = 2 * 1024 * 1024
_DEFAULT_PICKER_PORT = 9002
_H2C = "kubernetes.io/h2c"


def pool(item: Json) -> SeenPool:
    """An InferencePool of today's group."""
    spec = item.at("spec")
    picker = spec.at("endpointPickerRef")
    return SeenPool(
        item.key(),
        spec.at("selector", "matchLabels").texts(),
        tuple(each.at("number").whole() for each in spec.at("targetPorts").items()),
        _picker(picker, picker.at("port", "number").whole_or_none()),
    )


def legacy_pool(item: Json) -> SeenPool:
    """An InferencePool of the group before."""
    spec = item.at("spec")
    picker = spec.at("extensionRef")
    return SeenPool(
        item.key(),
        spec.at("selector").texts(),
        (spec.at("targetPortNumber").whole(),),
        _picker(picker, picker.at("portNumber").whole(_DEFAULT_PICKER_PORT)),
        LEGACY_GROUP,
        "v1alpha2",
    )


def _picker(found: Json, port: int | None) -> SeenPicker | None:
    if not found.is_there:
        return None
    kind, mode = found.at("kind").text("Service"), found.at("failureMode").text("FailClose")
    return SeenPicker(kind, found.at("name").text(), port, mode)


def pool_user(item: Json, kind: str, resource: str, group: str) -> SeenPoolUser:
    """An object that names a pool; `group` is what a reference without one means."""
    reference = item.at("spec", "poolRef")
    named = reference.at("group").text(group)
    return SeenPoolUser(kind, resource, item.key(), reference.at("name").text(), named)


def services(items: Iterable[Json], slices: Iterable[Json] | None) -> tuple[SeenService, ...]:
    """Services with the number of their ready addresses; `slices` None: these were not seen."""
    ready: Counter[ObjectKey] = Counter()
    for each in slices or ():
        key = ObjectKey(each.key().namespace, each.at("metadata", "labels").texts().get(_SERVICE_LABEL, ""))
        ready[key] += sum(_is_ready(endpoint) for endpoint in each.at("endpoints").items())
    return tuple(_service(each, None if slices is None else ready[each.key()]) for each in items)


def _is_ready(endpoint: Json) -> bool:
    condition = endpoint.at("conditions", "ready")
    return condition.truth() or not condition.is_there


def _service(item: Json, ready: int | None) -> SeenService:
    spec = item.at("spec")
    ports = tuple(each.at("port").whole() for each in spec.at("ports").items())
    return SeenService(
        item.key(),
        spec.at("selector").texts(),
        ports,
        is_external=spec.at("type").text() == "ExternalName",
        is_plain=any(each.at("appProtocol").text() == _H2C for each in spec.at("ports").items()),
        ready_addresses=ready,
    )


def route(item: Json) -> SeenRoute:
    """An HTTPRoute."""
    key, spec = item.key(), item.at("spec")
    rules = tuple(
        tuple(_backend(index, each, key.namespace) for index, each in enumerate(rule.at("backendRefs").items()))
        for rule in spec.at("rules").items()
    )
    gateways = tuple(
        ObjectKey(each.at("namespace").text(key.namespace), each.at("name").text())
        for each in spec.at("parentRefs").items()
        if each.at("kind").text("Gateway") == "Gateway"
    )
    timeouts = tuple(
        seconds_of_duration(rule.at("timeouts", "request").text()) or None for rule in spec.at("rules").items()
    )
    return SeenRoute(key, rules, gateways, timeouts)


def _backend(index: int, item: Json, namespace: str) -> SeenBackend:
    group, kind = item.at("group").text(), item.at("kind").text("Service")
    return SeenBackend(
        index, group, kind, item.at("namespace").text(namespace), item.at("name").text(), item.at("weight").whole(1)
    )


def controllers(gateways: Iterable[Json], classes: Iterable[Json]) -> Mapping[ObjectKey, str]:
    """The controller of each Gateway."""
    known = {each.key().name: each.at("spec", "controllerName").text() for each in classes}
    return {each.key(): known.get(each.at("spec", "gatewayClassName").text(), "") for each in gateways}


def tls_policy(item: Json) -> SeenTlsPolicy:
    """A BackendTLSPolicy."""
    targets = item.at("spec", "targetRefs").items()
    return SeenTlsPolicy(
        item.key(), tuple(each.at("name").text() for each in targets if each.at("kind").text() == "Service")
    )


def rule_text(item: Json) -> SeenText:
    """A PrometheusRule with the old names in its expressions."""
    found: dict[str, tuple[str, ...]] = {}
    for group_at, group in enumerate(item.at("spec", "groups").items()):
        for rule_at, rule in enumerate(group.at("rules").items()):
            names = _old_names(rule.at("expr").text())
            if names:
                found[f"spec.groups[{group_at}].rules[{rule_at}].expr"] = names
    return SeenText("PrometheusRule", "prometheusrules.monitoring.coreos.com", item.key(), found)


def dashboard_text(item: Json) -> SeenText:
    """A ConfigMap with dashboards, and the old names in them."""
    found: dict[str, tuple[str, ...]] = {}
    for name, each in item.at("data").entries():
        # Not `Json.text`: a dashboard is longer than any other text that is read.
        names = _old_names(each.value) if isinstance(each.value, str) else ()
        if names:
            found[f"data[{name}]"] = names
    return SeenText("ConfigMap", "configmap", item.key(), found)


def _old_names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in _WORD.findall(text[:_MAX_SEARCHED]) if is_old(word)))


POOL_GROUPS = (POOL_GROUP, LEGACY_GROUP)
"""The groups of InferencePools."""
