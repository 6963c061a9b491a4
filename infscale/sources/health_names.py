"""Which names the server of an endpoint is asked for: models and LoRA adapters that operators name, here or in objects.

Names that clients send are none of them: a client could have any server asked for anything.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from infscale.endpoint import DiscoveryState, EndpointKey, ObjectKey, Pool
from infscale.metrics.pages.bounds import MAX_NAME_LENGTH

MOST_NAMES: Final = 64
"""Names that one server is asked for; of more the first in order."""


def names_by_endpoint(
    state: DiscoveryState, configured: Collection[str], pools: Collection[ObjectKey], *, discovered: bool
) -> Mapping[EndpointKey, tuple[str, ...]]:
    """The names for each endpoint of `pools` (none: of all), in order; `configured` are for all, and go first.

    With `discovered` they are also the models of the objectives of its pools, and the targets of their rewrites.
    """
    found: dict[EndpointKey, dict[str, None]] = {}
    for pool in state.pools:
        if pools and pool.key not in pools:
            continue
        names = dict.fromkeys((*configured, *(sorted(_of_objects(state, pool)) if discovered else ())))
        for endpoint in state.members(pool):
            found.setdefault(endpoint.key, {}).update(names)
    return {key: tuple(_usable(names))[:MOST_NAMES] for key, names in found.items()}


def _of_objects(state: DiscoveryState, pool: Pool) -> Iterable[str]:
    namespace, name = pool.key
    for objective in state.objectives:
        if (objective.key.namespace, objective.pool) == (namespace, name) and objective.model is not None:
            yield objective.model
    for rewrite in state.rewrites:
        if (rewrite.key.namespace, rewrite.pool) == (namespace, name):
            yield from (target.model for rule in rewrite.rules for target in rule.targets)


def _usable(names: Iterable[str]) -> Iterable[str]:
    return (each for each in names if each and len(each) <= MAX_NAME_LENGTH)
