"""What a query that is configured said last, of the pods of a pool or of the pool itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from infscale.endpoint import ObjectKey
from infscale.metrics.sample import Reading

NO_PODS: Final[Mapping[ObjectKey, Reading]] = MappingProxyType({})
NO_PARTS: Final[Mapping[str | None, Reading]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Queried:
    """Readings of `pods`, or of the pool's `parts`: its models by name, None being the whole of it.

    `failure` is why there are no newer ones; None: the last try gave these.
    """

    pods: Mapping[ObjectKey, Reading] = field(default_factory=lambda: NO_PODS)
    parts: Mapping[str | None, Reading] = field(default_factory=lambda: NO_PARTS)
    failure: str | None = None


NO_QUERIES: Final[Mapping[str, Queried]] = MappingProxyType({})
