"""One document with `endpoints` and `objects`, read into a whole `DiscoveryState`."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from infscale.discovery import names
from infscale.discovery.objects import InferenceObject, read_object
from infscale.discovery.opened_object import DEFAULT_NAMESPACE
from infscale.documents import values
from infscale.documents.problems import Attempt
from infscale.documents.strict_document import Field, attempted, quoted
from infscale.documents.suggestions import did_you_mean, short_list
from infscale.endpoint import (
    DRAINING_LABEL,
    DescribedObject,
    DiscoveryState,
    Endpoint,
    EndpointKey,
    Objective,
    ObjectKey,
    Phase,
    Pool,
    Rewrite,
    Rollout,
    is_host_name,
)

DEFAULT_POOL = ObjectKey(DEFAULT_NAMESPACE, "default")
"""The pool of a document that has no `InferencePool`."""

MAX_ITEMS = 10_000
"""How many endpoints, and how many objects, one document may have."""

_PORT = re.compile(r"[1-9][0-9]{0,4}")
_METRICS_ADDRESS, _METRICS_PORT = "metricsAddress", "metricsPort"


def read_state(
    root: Field, default_pool: ObjectKey = DEFAULT_POOL, *, any_namespace: bool = False, clusters: bool = False
) -> DiscoveryState:
    """The state `root` writes.

    Entries of `endpoints` with one name and several ports are ranks of one pod, numbered in order. Without an
    `InferencePool` among the objects, `default_pool` is the only pool and has every endpoint, all of which must then
    be in its namespace unless it takes those of `any_namespace`. Where endpoints are `clusters`, addresses may be host
    names, and the labels ``metricsAddress`` and ``metricsPort`` are no labels: they say where the metrics page is.
    Raises `ConfigError`.
    """
    parts = root.mapping([], ["endpoints", "objects"])
    entries = _items(parts.get("endpoints"))
    items = _items(parts.get("objects"))
    objects = _read_objects(items)
    endpoints = _read_endpoints(entries, clusters=clusters)
    pools = _pools(objects)
    if not pools:
        alone = Pool(default_pool, names.NO_LABELS, anywhere=True)
        # An object that is refused may be the pool.
        sound = len(objects) == len(items)
        pools = (alone if any_namespace or not sound else _pool_of_all(default_pool, endpoints),)
    if len(objects) == len(items):
        _check_references(objects, {pool.key for pool in pools})
    return DiscoveryState(
        tuple(endpoint for _, endpoint in endpoints),
        pools,
        tuple(each for _, each in objects if isinstance(each, Objective)),
        tuple(each for _, each in objects if isinstance(each, Rewrite)),
        tuple(each for _, each in objects if isinstance(each, DescribedObject)),
        rollouts=tuple(each for _, each in objects if isinstance(each, Rollout)),
    )


def _items(field: Field | None) -> tuple[Field, ...]:
    items = () if field is None else field.items()
    if field is not None and len(items) > MAX_ITEMS:
        field.refuse(f"expected at most {MAX_ITEMS} elements, got {len(items)}")
    return items


def _read_objects(items: tuple[Field, ...]) -> tuple[tuple[Field, InferenceObject], ...]:
    places: dict[tuple[str, ObjectKey], str] = {}
    objects: list[tuple[Field, InferenceObject]] = []
    for item in items:
        attempt = item.attempt(read_object)
        if attempt.refused:
            continue
        read = attempt.value
        identity = (item.entries()["kind"].text(), read.key)
        if identity in places:
            item.report(f"{identity[0]} {read.key} is given twice, first at {places[identity]}")
        places.setdefault(identity, item.place)
        objects.append((item, read))
    return tuple(objects)


def _pools(objects: Iterable[tuple[Field, InferenceObject]]) -> tuple[Pool, ...]:
    """The pools among the objects, and those that others declare."""
    found: dict[ObjectKey, tuple[Pool, str]] = {}
    for item, read in objects:
        pool = read.pool if isinstance(read, DescribedObject) else read
        if not isinstance(pool, Pool):
            continue
        if pool.key in found:
            item.report(f"pool {pool.key} is declared twice, first at {found[pool.key][1]}")
        found.setdefault(pool.key, (pool, item.place))
    return tuple(pool for pool, _ in found.values())


def _check_references(objects: Iterable[tuple[Field, InferenceObject]], pools: set[ObjectKey]) -> None:
    """Refuse a reference to a pool that is not there: in one document it can only be a mistake."""
    for item, read in objects:
        if isinstance(read, Objective | Rewrite | Rollout):
            named = (read.pool, *([read.new.pool] if isinstance(read, Rollout) and read.new.pool else []))
            for pool in named:
                _check_reference(item, ObjectKey(read.key.namespace, pool), pools)


def _check_reference(item: Field, wanted: ObjectKey, pools: set[ObjectKey]) -> None:
    if wanted not in pools:
        name, known = str(wanted), sorted(map(str, pools))
        meant = did_you_mean(name, known)
        item.report(f"pool {quoted(name)} does not exist; there is {short_list(known, name)}{meant}")


def _pool_of_all(key: ObjectKey, endpoints: Iterable[tuple[Field, Endpoint]]) -> Pool:
    for entry, endpoint in endpoints:
        if endpoint.key.namespace != key.namespace:
            entry.report(
                f"namespace {endpoint.key.namespace} is not that of the default pool {key}; "
                "add an InferencePool to objects or set discovery.default_pool"
            )
    return Pool(key, names.NO_LABELS)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One element of `endpoints`; what several ports of one pod must have in common is `pod`."""

    field: Field
    key: ObjectKey
    pod: tuple[str, Mapping[str, str]]
    port: int
    phase: Phase
    metrics_port: int | None
    metrics_address: str | None


def _read_endpoints(entries: tuple[Field, ...], *, clusters: bool) -> tuple[tuple[Field, Endpoint], ...]:
    taken = _Taken()
    attempts = [
        (field, field.attempt(lambda each: taken.endpoint(_entry(each, clusters=clusters)))) for field in entries
    ]
    found = [(field, attempt.value) for field, attempt in attempts if not attempt.refused]
    # Ranks are one process, or end with it: they drain together.
    draining = {endpoint.key.pod for _, endpoint in found if endpoint.phase is Phase.DRAINING}
    return tuple(
        (field, replace(endpoint, phase=Phase.DRAINING) if endpoint.key.pod in draining else endpoint)
        for field, endpoint in found
    )


class _Taken:
    """Guards which names and addresses are taken by the entries before."""

    def __init__(self) -> None:
        self._pods: dict[ObjectKey, tuple[_Entry, set[int]]] = {}
        self._authorities: dict[str, str] = {}

    def endpoint(self, entry: _Entry) -> Endpoint:
        """The endpoint that `entry` writes. Raises `ConfigError` where it is there already."""
        field = entry.field
        first, ports = self._pods.get(entry.key, (entry, set[int]()))
        if first.pod != entry.pod or entry.port in ports:
            field.refuse(
                f"endpoint {entry.key} is given twice, first at {first.field.place}; "
                "entries of one name are ranks of one pod: same address and labels, another port"
            )
        address, labels = entry.pod
        phase = Phase.DRAINING if labels.get(DRAINING_LABEL) == "true" else entry.phase
        key = EndpointKey(entry.key.namespace, entry.key.name, len(ports))
        endpoint = Endpoint(
            key, address, entry.port, labels, phase, entry.metrics_port, metrics_address=entry.metrics_address
        )
        if endpoint.authority in self._authorities:
            field.refuse(f"{endpoint.authority} is given twice, first at {self._authorities[endpoint.authority]}")
        self._authorities[endpoint.authority] = field.place
        ports.add(entry.port)
        self._pods[entry.key] = first, ports
        return endpoint


def _entry(field: Field, *, clusters: bool) -> _Entry:
    parts = field.mapping(["name", "address", "port"], ["namespace", "labels", "phase", "metricsPort"])
    apart = _metrics_labels(parts["labels"]) if clusters and "labels" in parts else {}
    metrics_port = parts.get("metricsPort")
    if _METRICS_PORT in apart:
        if metrics_port is not None:
            metrics_port.report("the label metricsPort is given too; keep one")
        metrics_port = apart[_METRICS_PORT]
    namespace = attempted(parts, "namespace", names.namespace, DEFAULT_NAMESPACE)
    name, port = parts["name"].attempt(names.name), parts["port"].attempt(_port)
    address = parts["address"].attempt(_host if clusters else _address)
    labels = attempted(parts, "labels", lambda each: names.labels(each, apart), names.NO_LABELS)
    phase = attempted(parts, "phase", values.member(Phase), Phase.READY)
    metrics = Attempt(None) if metrics_port is None else metrics_port.attempt(_port)
    metrics_address = attempted(apart, _METRICS_ADDRESS, _host, None)
    key, pod = ObjectKey(namespace.value, name.value), (address.value, labels.value)
    return _Entry(field, key, pod, port.value, phase.value, metrics.value, metrics_address.value)


def _metrics_labels(field: Field) -> Mapping[str, Field]:
    """What is written as labels and says where the metrics page is."""
    return {key: value for key, value in field.entries().items() if key in {_METRICS_ADDRESS, _METRICS_PORT}}


def _address(field: Field) -> str:
    text = field.text()
    address = _ip_address(text)
    if address is None:
        field.refuse(f"expected the IPv4 or IPv6 address of a server, such as 10.0.0.1 or fd00::1, got {quoted(text)}")
    return address


def _host(field: Field) -> str:
    text = field.text()
    host = _ip_address(text) or (text.lower() if is_host_name(text) else None)
    if host is None:
        field.refuse(f"expected the IP address or host name of a gateway, such as gw.example.com, got {quoted(text)}")
    return host


def _ip_address(text: str) -> str | None:
    """The address that `text` writes; None where it writes none that a server can have."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A zone ("%eth0") has no place in an authority, and nothing answers on the other two kinds.
    return None if "%" in text or address.is_unspecified or address.is_multicast else str(address)


def _port(field: Field) -> int:
    """A port, which the reference's file form writes as a string."""
    if not field.is_text:
        return values.port(field)
    text = field.text()
    if not _PORT.fullmatch(text) or int(text) > values.MAX_PORT:
        field.refuse(f"expected a port from 1 to {values.MAX_PORT}, got {quoted(text)}")
    return int(text)
