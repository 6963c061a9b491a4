"""One document with `endpoints` and `objects`, read into a whole `DiscoveryState`."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from infscale.discovery import names
from infscale.discovery.objects import DEFAULT_NAMESPACE, InferenceObject, read_object
from infscale.document import Field, quoted
from infscale.endpoint import (
    DescribedObject,
    DiscoveryState,
    Endpoint,
    EndpointKey,
    Objective,
    ObjectKey,
    Phase,
    Pool,
    Rewrite,
    is_host_name,
)

DEFAULT_POOL = ObjectKey(DEFAULT_NAMESPACE, "default")
"""The pool of a document that has no `InferencePool`."""

_MAX_PORT = 65535
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
    entries = parts["endpoints"].items() if "endpoints" in parts else ()
    items = parts["objects"].items() if "objects" in parts else ()
    objects = _read_objects(items)
    endpoints = _read_endpoints(entries, clusters=clusters)
    pools = tuple(each for each in objects if isinstance(each, Pool))
    if not pools:
        alone = Pool(default_pool, MappingProxyType({}), anywhere=True)
        pools = (alone if any_namespace else _pool_of_all(default_pool, endpoints, entries),)
    _check_references(objects, items, {pool.key for pool in pools})
    return DiscoveryState(
        endpoints,
        pools,
        tuple(each for each in objects if isinstance(each, Objective)),
        tuple(each for each in objects if isinstance(each, Rewrite)),
        tuple(each for each in objects if isinstance(each, DescribedObject)),
    )


def _read_objects(items: tuple[Field, ...]) -> tuple[InferenceObject, ...]:
    places: dict[tuple[str, ObjectKey], str] = {}
    objects: list[InferenceObject] = []
    for item in items:
        read = read_object(item)
        identity = (item.entries()["kind"].text(), read.key)
        if identity in places:
            item.refuse(f"{identity[0]} {read.key} is given twice, first at {places[identity]}")
        places[identity] = item.place
        objects.append(read)
    return tuple(objects)


def _check_references(objects: tuple[InferenceObject, ...], items: tuple[Field, ...], pools: set[ObjectKey]) -> None:
    """Refuse a reference to a pool that is not there: in one document it can only be a mistake."""
    for read, item in zip(objects, items, strict=True):
        if isinstance(read, Objective | Rewrite) and ObjectKey(read.key.namespace, read.pool) not in pools:
            known = ", ".join(sorted(map(str, pools)))
            item.refuse(f"pool {quoted(f'{read.key.namespace}/{read.pool}')} does not exist; there is {known}")


def _pool_of_all(key: ObjectKey, endpoints: tuple[Endpoint, ...], entries: tuple[Field, ...]) -> Pool:
    for endpoint, entry in zip(endpoints, entries, strict=True):
        if endpoint.key.namespace != key.namespace:
            entry.refuse(
                f"namespace {endpoint.key.namespace} is not that of the default pool {key}; "
                "add an InferencePool to objects or set discovery.default_pool"
            )
    return Pool(key, MappingProxyType({}))


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


def _read_endpoints(entries: tuple[Field, ...], *, clusters: bool) -> tuple[Endpoint, ...]:
    pods: dict[ObjectKey, list[_Entry]] = {}
    authorities: dict[str, str] = {}
    endpoints: list[Endpoint] = []
    for field in entries:
        entry = _entry(field, clusters=clusters)
        ranks = pods.setdefault(entry.key, [])
        if ranks and (ranks[0].pod != entry.pod or entry.port in (rank.port for rank in ranks)):
            field.refuse(
                f"endpoint {entry.key} is given twice, first at {ranks[0].field.place}; "
                "entries of one name are ranks of one pod: same address and labels, another port"
            )
        address, labels = entry.pod
        key = EndpointKey(entry.key.namespace, entry.key.name, len(ranks))
        endpoint = Endpoint(
            key, address, entry.port, labels, entry.phase, entry.metrics_port, metrics_address=entry.metrics_address
        )
        if endpoint.authority in authorities:
            field.refuse(f"{endpoint.authority} is given twice, first at {authorities[endpoint.authority]}")
        authorities[endpoint.authority] = field.place
        ranks.append(entry)
        endpoints.append(endpoint)
    return tuple(endpoints)


def _entry(field: Field, *, clusters: bool) -> _Entry:
    parts = field.mapping(["name", "address", "port"], ["namespace", "labels", "phase", "metricsPort"])
    namespace = names.namespace(parts["namespace"]) if "namespace" in parts else DEFAULT_NAMESPACE
    apart = _metrics_labels(parts["labels"]) if clusters and "labels" in parts else {}
    metrics_port = parts.get("metricsPort")
    if _METRICS_PORT in apart:
        if metrics_port is not None:
            metrics_port.refuse("the label metricsPort is given too; keep one")
        metrics_port = apart[_METRICS_PORT]
    address_of = _host if clusters else _address
    return _Entry(
        field,
        ObjectKey(namespace, names.name(parts["name"])),
        (
            address_of(parts["address"]),
            names.labels(parts["labels"], apart) if "labels" in parts else MappingProxyType({}),
        ),
        _port(parts["port"]),
        Phase(parts["phase"].choice([phase.value for phase in Phase])) if "phase" in parts else Phase.READY,
        None if metrics_port is None else _port(metrics_port),
        _host(apart[_METRICS_ADDRESS]) if _METRICS_ADDRESS in apart else None,
    )


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
        return field.integer(1, _MAX_PORT)
    text = field.text()
    if not _PORT.fullmatch(text) or int(text) > _MAX_PORT:
        field.refuse(f"expected a port from 1 to {_MAX_PORT}, got {quoted(text)}")
    return int(text)
