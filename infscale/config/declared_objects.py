"""What the configuration says of a cluster: pools that no object declares, and more kinds that have pods."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from infscale.discovery import names
from infscale.discovery.workloads import MAX_PORTS, Path, WorkloadKind
from infscale.documents import values
from infscale.documents.section import Section
from infscale.documents.strict_document import Field, quoted
from infscale.endpoint import ObjectKey, Pool

_MAX_DECLARED = 1_000
_VERSION = re.compile(r"v[1-9][0-9]*(?:(?:alpha|beta)[1-9][0-9]*)?")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_PATH = re.compile(r"\.(?:spec|status)(?:\.[A-Za-z][A-Za-z0-9]*){1,8}")


@dataclass(frozen=True, slots=True)
class DeclaredPool:
    """A pool of the pods with `labels` in the namespace of its `name`; `ports` are their ranks."""

    name: ObjectKey
    labels: Mapping[str, str] = field(hash=False)
    ports: tuple[int, ...]
    h2c: bool = False

    @property
    def pool(self) -> Pool:
        """The pool."""
        return Pool(self.name, self.labels, self.ports, own_ports=True, h2c=self.h2c)


@dataclass(frozen=True, slots=True)
class DeclaredWorkload:
    """A kind with a scale subresource: `resource` as RBAC writes it, `selector` as its definition's
    ``labelSelectorPath``; `pods` is the path of the spec of its pods.
    """

    resource: str
    version: str
    kind: str
    selector: str = ".status.selector"
    pods: str | None = None

    @property
    def workload(self) -> WorkloadKind:
        """The kind."""
        plural, _, group = self.resource.partition(".")
        pods = () if self.pods is None else (_path_of(self.pods),)
        return WorkloadKind(group, self.version, self.kind, plural, _path_of(self.selector), pods)


def _path_of(text: str) -> Path:
    return tuple(text.split(".")[1:])


def pools(field: Field) -> tuple[DeclaredPool, ...]:
    """The pools of a list, each name once. Raises `ConfigError`."""
    found: dict[ObjectKey, DeclaredPool] = {}

    def add(item: Field) -> None:
        section = Section(item, DeclaredPool, required=["name", "labels", "ports"])
        name = section.attempt("name", names.object_key)
        labels = section.attempt("labels", _labels)
        ports = section.attempt("ports", _ports)
        h2c = section.get("h2c", Field.boolean, False)
        if name.value in found:
            item.refuse(f"there is already a pool {name.value}")
        found[name.value] = DeclaredPool(name.value, labels.value, ports.value, h2c)

    _few(field).each(add)
    return tuple(found.values())


def _few(field: Field) -> Field:
    if len(field.items()) > _MAX_DECLARED:
        field.refuse(f"expected at most {_MAX_DECLARED} elements, got {len(field.items())}")
    return field


def _labels(field: Field) -> Mapping[str, str]:
    labels = names.labels(field)
    if not labels:
        field.refuse("expected at least one label: none would choose every pod of the namespace")
    return labels


def _ports(field: Field) -> tuple[int, ...]:
    found = tuple(dict.fromkeys(values.port(item) for item in field.items()))
    if not 1 <= len(found) <= MAX_PORTS or len(found) < len(field.items()):
        field.refuse(f"expected 1 to {MAX_PORTS} different ports, got {len(field.items())}")
    return found


def workloads(field: Field) -> tuple[DeclaredWorkload, ...]:
    """The kinds of a list, each once. Raises `ConfigError`."""
    found: dict[str, DeclaredWorkload] = {}

    def add(item: Field) -> None:
        section = Section(item, DeclaredWorkload, required=["resource", "version", "kind"])
        resource = section.attempt("resource", _resource)
        version = section.attempt("version", lambda each: _form(each, _VERSION, "a version such as v1 or v1alpha1"))
        kind = section.attempt("kind", lambda each: _form(each, _KIND, "a kind such as LeaderWorkerSet"))
        selector = section.get("selector", _field_path, ".status.selector")
        pods = section.get("pods", _field_path, None)
        if resource.value in found:
            item.refuse(f"{quoted(resource.value)} is given twice")
        found[resource.value] = DeclaredWorkload(resource.value, version.value, kind.value, selector, pods)

    _few(field).each(add)
    return tuple(found.values())


def _resource(field: Field) -> str:
    text = field.text()
    plural, dot, group = text.partition(".")
    if not dot or not names.is_namespace(plural) or not names.is_name(group):
        field.refuse(f"expected the plural and the group, such as rollouts.argoproj.io, got {quoted(text)}")
    return text


def _field_path(field: Field) -> str:
    return _form(field, _PATH, "a path in the object such as .status.selector")


def _form(field: Field, pattern: re.Pattern[str], expected: str) -> str:
    text = field.text()
    if not pattern.fullmatch(text):
        field.refuse(f"expected {expected}, got {quoted(text)}")
    return text
