"""Objects with pods that values can belong to: workloads, Services and namespaces, and the pools that they declare.

An annotation makes a workload or a Service a pool of its own pods, so that model servers without an `InferencePool`
are scraped, answered for and picked, too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from infscale.discovery import names
from infscale.discovery.opened_object import OpenedObject, open_object
from infscale.documents import values
from infscale.documents.strict_document import Field, quoted
from infscale.endpoint import DescribedObject, ObjectKey, Pool
from infscale.errors import ConfigError, SelectorError
from infscale.labels import Selector

POOL_ANNOTATION = "infscale.dev/pool"
"""Of an object that is a pool: ``"true"``, or the name of the pool where that is not the object's."""
PORTS_ANNOTATION = "infscale.dev/pool-ports"
"""The ports of such a pool, by rank: ``"8000"`` or ``"8000,8001"``."""

MAX_PORTS = 8
"""How many ports a pool may have, as the API has it."""
H2C = "kubernetes.io/h2c"
"""The application protocol of ports that speak HTTP/2 in plain text (KEP-3726)."""

_OWN_NAME = "true"
_PORT = re.compile(r"[1-9][0-9]{0,4}")

Path = tuple[str, ...]
"""The keys that lead to a value of an object."""


@dataclass(frozen=True, slots=True)
class WorkloadKind:
    """A kind whose objects have pods.

    `selector` is where an object says which pods are its own: a `LabelSelector`, or the text that its scale subresource
    gives; in the status there may be none yet. `pods` are where the spec of its serving pods may be, the first that is
    there counting. With `owns_pods` it is the controller of its pods, or of their ReplicaSets.
    """

    group: str
    version: str
    kind: str
    plural: str
    selector: Path
    pods: tuple[Path, ...] = (("spec", "template", "spec"),)
    owns_pods: bool = False

    @property
    def api_version(self) -> str:
        """As objects write it."""
        return f"{self.group}/{self.version}"

    def read(self, field: Field) -> DescribedObject:
        """An object of the kind, described by the endpoints its selector chooses. Raises `ConfigError`."""
        read = open_object(field)
        selector = self._selector(read)
        pool, problem = None, ""
        if selector is not None:
            pool, problem = _declared(read, selector, _Ports(self._container_ports(read)))
        return DescribedObject(
            self.group,
            self.version,
            self.kind,
            self.plural,
            read.key,
            selector,
            read.labels,
            owns_pods=self.owns_pods,
            pool=pool,
            pool_problem=problem,
        )

    def _selector(self, read: OpenedObject) -> Selector | None:
        found = _at(read, self.selector)
        if found is None:
            if self.selector[0] == "spec":
                read.require_spec().refuse(f"key {quoted(self.selector[-1])} is missing")
            return None
        if not found.is_text:
            return label_selector(found, minimum=1)
        try:
            selector = Selector.parse(found.text(empty=True))
        except SelectorError as error:
            found.refuse(str(error))
        # Text that selects everything is a controller's that has not written it yet.
        return selector if selector.requirements else None

    def _container_ports(self, read: OpenedObject) -> Iterable[int]:
        pods = next((found for path in self.pods if (found := _at(read, path)) is not None), None)
        containers = None if pods is None else pods.entries().get("containers")
        for container in () if containers is None else containers.items():
            ports = container.entries().get("ports")
            for port in () if ports is None or ports.is_null else ports.items():
                parts = port.entries()
                if "protocol" not in parts or parts["protocol"].text() == "TCP":
                    yield values.port(parts["containerPort"])


def _at(read: OpenedObject, path: Path) -> Field | None:
    """What is at `path` of an object's spec or status; None: nothing."""
    found = read.spec if path[0] == "spec" else read.status
    for key in path[1:]:
        if found is None or found.is_null:
            return None
        found = found.entries().get(key)
    return None if found is None or found.is_null else found


WORKLOADS = (
    WorkloadKind("apps", "v1", "Deployment", "deployments", ("spec", "selector"), owns_pods=True),
    WorkloadKind("apps", "v1", "StatefulSet", "statefulsets", ("spec", "selector"), owns_pods=True),
    # Its pods are owned by StatefulSets; the selector is of the leaders, which are what serves (LWS, `hpaPodSelector`).
    WorkloadKind(
        "leaderworkerset.x-k8s.io",
        "v1",
        "LeaderWorkerSet",
        "leaderworkersets",
        ("status", "hpaPodSelector"),
        (
            ("spec", "leaderWorkerTemplate", "leaderTemplate", "spec"),
            ("spec", "leaderWorkerTemplate", "workerTemplate", "spec"),
        ),
    ),
    # One role of a DisaggregatedSet, over all of its revisions (LWS KEP-849).
    WorkloadKind(
        "disaggregatedset.x-k8s.io",
        "v1",
        "DisaggregatedSetRoleScaler",
        "disaggregatedsetrolescalers",
        ("status", "selector"),
        (),
    ),
    WorkloadKind("argoproj.io", "v1alpha1", "Rollout", "rollouts", ("status", "selector"), owns_pods=True),
)
"""The kinds that are known; a configuration can name more."""


@dataclass(frozen=True, slots=True)
class _Ports:
    """The ports an object names for its pods, and whether they speak HTTP/2 in plain text."""

    numbers: Iterable[int]
    h2c: bool = False


def _declared(read: OpenedObject, selector: Selector, found: _Ports) -> tuple[Pool | None, str]:
    """The pool that annotations of an object declare, and why there is none although they do.

    What is wrong with them is refused where a person wrote the object for infscale alone; in a cluster the object still
    describes its pods.
    """
    declared = read.annotation(POOL_ANNOTATION)
    if declared is None:
        return None, ""
    try:
        name = read.key.name if declared.text() == _OWN_NAME else names.name(declared)
        ports = _ports(read, declared, found)
    except ConfigError as error:
        if read.field.strict:
            raise
        return None, f"{error.path}: {error.problem}"
    key = ObjectKey(read.key.namespace, name)
    return Pool(key, {}, ports, labels=read.labels, requirements=selector, h2c=found.h2c), ""


def _ports(read: OpenedObject, declared: Field, found: _Ports) -> tuple[int, ...]:
    given = read.annotation(PORTS_ANNOTATION)
    if given is not None:
        return _listed(given)
    ports = tuple(dict.fromkeys(found.numbers))
    # In a file endpoints say their ports themselves.
    if len(ports) == 1 or (not ports and read.field.strict):
        return ports
    said = f"ports {', '.join(map(str, ports))}" if ports else "no ports"
    declared.refuse(f"its pods declare {said}: say in the annotation {PORTS_ANNOTATION} on which they serve")


def _listed(given: Field) -> tuple[int, ...]:
    texts = [each.strip() for each in given.text().split(",", MAX_PORTS)]
    if len(texts) > MAX_PORTS or not all(_PORT.fullmatch(each) and int(each) <= values.MAX_PORT for each in texts):
        given.refuse(f"expected 1 to {MAX_PORTS} ports, such as 8000 or 8000,8001, got {quoted(given.text())}")
    return tuple(dict.fromkeys(map(int, texts)))


def label_selector(field: Field, minimum: int = 0) -> Selector:
    """A `LabelSelector` of at least `minimum` requirements: ``matchLabels`` and ``matchExpressions``, all to hold."""
    parts = field.mapping([], ["matchLabels", "matchExpressions"])
    labels = names.labels(parts["matchLabels"]) if "matchLabels" in parts else {}
    expressions = parts["matchExpressions"].items() if "matchExpressions" in parts else ()
    count = len(labels) + len(expressions)
    if count < minimum:
        field.refuse(f"expected at least {minimum} requirement in matchLabels and matchExpressions, got {count}")
    try:
        return Selector.from_label_selector(labels, [_expression(item) for item in expressions])
    except SelectorError as error:
        field.refuse(str(error))


def _expression(field: Field) -> tuple[str, str, tuple[str, ...]]:
    parts = field.mapping(["key", "operator"], ["values"])
    values = parts["values"].items() if "values" in parts else ()
    return parts["key"].text(), parts["operator"].text(), tuple(value.text(empty=True) for value in values)


def read_service(field: Field) -> DescribedObject:
    """A `Service`; one without a selector has no endpoints to describe it by."""
    read = open_object(field)
    spec = {} if read.spec is None else read.spec.entries()
    selector = spec.get("selector")
    chosen = None if selector is None or selector.is_null else names.labels(selector)
    if not chosen:
        return DescribedObject("", "v1", "Service", "services", read.key, None, read.labels)
    labels = Selector.from_match_labels(chosen)
    ports = () if "ports" not in spec or spec["ports"].is_null else spec["ports"].items()
    h2c = any(H2C in [each.plain() for key, each in port.entries().items() if key == "appProtocol"] for port in ports)
    pool, problem = _declared(read, labels, _Ports(map(_target_port, ports), h2c))
    return DescribedObject(
        "", "v1", "Service", "services", read.key, labels, read.labels, pool=pool, pool_problem=problem
    )


def _target_port(port: Field) -> int:
    """Where a port of a Service leads to."""
    parts = port.entries()
    target = parts.get("targetPort")
    if target is None or target.is_null:
        target = parts["port"]
    if target.is_text:
        target.refuse(f"a port by name: say in the annotation {PORTS_ANNOTATION} which one it is")
    return values.port(target)


def read_namespace(field: Field) -> DescribedObject:
    """A `Namespace`, described by every endpoint in it; its key has its own name as namespace."""
    read = open_object(field)
    key = ObjectKey(read.key.name, read.key.name)
    return DescribedObject("", "v1", "Namespace", "namespaces", key, Selector(), read.labels)
