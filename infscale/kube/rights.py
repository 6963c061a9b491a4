"""What a part of a program has to be allowed in the cluster, as RBAC grants it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource of an API group (the core group is ""), in RBAC's words.

    `resource` has its subresource behind a slash. `name` is the one object it is for, `namespace` the one namespace;
    None: all. With the verb ``create`` there is no name.
    """

    verb: str
    group: str
    resource: str
    name: str | None = None
    namespace: str | None = None


def rights(
    verbs: Iterable[str], group: str, resource: str, names: Iterable[str | None] = (None,), namespace: str | None = None
) -> frozenset[Right]:
    """Each of `verbs` on each of the objects `names`."""
    wanted = tuple(names)
    return frozenset(Right(verb, group, resource, name, namespace) for verb in verbs for name in wanted)
