"""Deployments, StatefulSets and pods, as the API server sends them."""

import re
from collections.abc import Mapping

from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_workloads import SeenContainer, SeenPod, SeenScale, SeenWorkload
from infscale.endpoint import ObjectKey
from infscale.errors import SelectorError
from infscale.labels import Selector

_SLEEP = re.compile(r"\bsleep\s+([0-9]{1,5}(?:\.[0-9]{1,3})?)")
_MAX_ARGUMENTS = 300


def workload(item: Json, kind: str) -> SeenWorkload:
    """A Deployment or StatefulSet."""
    spec = item.at("spec")
    template = spec.at("template")
    pod = template.at("spec")
    labels = spec.at("selector", "matchLabels").texts()
    return SeenWorkload(
        kind,
        item.key(),
        spec.at("replicas").whole(1),
        spec.at("selector").selector(),
        labels,
        template.at("metadata", "labels").texts(),
        tuple(_container(each) for each in pod.at("containers").items()),
        float(pod.at("terminationGracePeriodSeconds").whole(30)),
        pod.at("serviceAccountName").text("default"),
        tuple(name for name in (each.at("configMap", "name").text() for each in pod.at("volumes").items()) if name),
    )


def _container(item: Json) -> SeenContainer:
    words = (*item.at("command").items(), *item.at("args").items())
    requests = {key for key, _ in item.at("resources", "requests").entries()}
    limits = {key for key, _ in item.at("resources", "limits").entries()}
    return SeenContainer(
        item.at("name").text(),
        _ports(item),
        item.at("readinessProbe").is_there,
        item.at("livenessProbe").is_there,
        item.at("startupProbe").is_there,
        _pre_stop(item.at("lifecycle", "preStop")),
        tuple(each.text() for each in words[:_MAX_ARGUMENTS]),
        # The API server takes a limit for the request where only that is given.
        frozenset(requests | limits),
        item.at("lifecycle", "preStop").is_there,
    )


def _ports(container: Json) -> tuple[int, ...]:
    return tuple(each.at("containerPort").whole() for each in container.at("ports").items())


def _pre_stop(hook: Json) -> float | None:
    """How long a hook waits: its ``sleep``, or that of the shell command in it."""
    sleep = hook.at("sleep", "seconds").whole_or_none()
    if sleep is not None:
        return float(sleep)
    command = " ".join(each.text() for each in hook.at("exec", "command").items())
    found = _SLEEP.findall(command)
    return sum(map(float, found)) if found else None


def scale(item: Json) -> SeenScale:
    """A ``/scale``."""
    status = item.at("status")
    selector = status.at("selector").text()
    replicas = item.at("spec", "replicas").whole()
    return SeenScale(replicas, status.at("replicas").whole(), selector, _parsed(selector))


def _parsed(selector: str) -> Selector | None:
    try:
        return Selector.parse(selector) if selector else None
    except SelectorError:
        return None


def pod(item: Json, replica_sets: Mapping[ObjectKey, tuple[str, str] | None]) -> SeenPod:
    """A Pod; `replica_sets` are the owners of ReplicaSets."""
    key, status, spec = item.key(), item.at("status"), item.at("spec")
    owner = item.controller()
    if owner is not None and owner[0] == "ReplicaSet":
        owner = replica_sets.get(ObjectKey(key.namespace, owner[1])) or owner
    conditions = status.at("conditions").items()
    ready = next((each for each in conditions if each.at("type").text() == "Ready"), Json())
    containers = spec.at("containers").items()
    return SeenPod(
        key,
        item.at("metadata", "labels").texts(),
        status.at("phase").text("Unknown"),
        ready.at("status").text() == "True" if ready.is_there else None,
        item.at("metadata", "deletionTimestamp").is_there,
        owner,
        ready.at("lastTransitionTime").seconds() or 0.0,
        status.at("startTime").seconds(),
        tuple(port for each in containers for port in _ports(each)),
        _requests(containers),
    )


def _requests(containers: tuple[Json, ...]) -> Mapping[tuple[str, str], int | None]:
    """Requests by resource and container, and with container "" those of the whole pod."""
    found: dict[tuple[str, str], int | None] = {}
    for resource in ("cpu", "memory"):
        each = {one.at("name").text(): one.at("resources", "requests", resource).milli() for one in containers}
        found.update({(resource, name): milli for name, milli in each.items()})
        known = [milli for milli in each.values() if milli is not None]
        found[resource, ""] = sum(known) if known and len(known) == len(each) else None
    return found
