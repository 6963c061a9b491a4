"""Pools that are no objects of their own: of infscale's configuration, and of annotations."""

from collections.abc import Collection, Iterator, Mapping
from typing import cast

from infscale.config.settings import ServeConfig
from infscale.discovery.workloads import POOL_ANNOTATION, WORKLOADS
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_routing import SeenPool
from infscale.endpoint import ObjectKey, Pool
from infscale.kube.watched_objects import SERVICE, Object, described_by

_DEFINITIONS = {each.resource.plural: each for each in (*map(described_by, WORKLOADS), SERVICE)}


def declared(
    found: Mapping[str, tuple[Json, ...]],
    config: ServeConfig | None,
    namespace: str | None,
    taken: Collection[ObjectKey],
) -> tuple[SeenPool, ...]:
    """The pools of a configuration and of annotations on `found`, as discovery takes them: of one name the first.

    Those in `namespace` (None: all), but for `taken` names.
    """
    made: dict[ObjectKey, SeenPool] = {}
    for pool in (*_configured(config), *_annotated(found)):
        if pool.key not in taken and namespace in (None, pool.key.namespace):
            seen = SeenPool(pool.key, pool.selector, pool.target_ports, requirements=pool.requirements)
            made.setdefault(pool.key, seen)
    return tuple(made.values())


def _configured(config: ServeConfig | None) -> Iterator[Pool]:
    followed = None if config is None else config.discovery.kubernetes
    yield from () if followed is None else (each.pool for each in followed.pools)


def _annotated(found: Mapping[str, tuple[Json, ...]]) -> Iterator[Pool]:
    """The oldest first."""
    made: list[tuple[str, str, Pool]] = []
    for name, definition in _DEFINITIONS.items():
        for item in found[name]:
            key = item.key()
            if not item.at("metadata", "annotations", POOL_ANNOTATION).text() or not key.namespace or not key.name:
                continue
            record = definition.read(cast("Object", item.value))
            if record.value is not None and record.value.pool is not None:
                made.append((record.created, f"{definition.resource.kind} {key}", record.value.pool))
    yield from (pool for _, _, pool in sorted(made, key=lambda each: each[:2]))
