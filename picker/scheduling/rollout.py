"""Screening by rollout revision: a request is served by pods of one version of a disaggregated deployment.

Prefill and decode of different versions may not understand each other's KV cache. The controller of a deployment gives
all pods of one version the same label, whatever their role; here that label is a boundary. Until every role of a
version has a ready pod, the version gets no requests.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import numpy as np
from xxhash import xxh3_64_intdigest

from infscale.endpoint import Endpoint, Phase
from infscale.labels import Selector
from infscale.metrics.snapshot import IntArray, frozen
from picker.request import Headers
from picker.scheduling.by_endpoints import ByEndpoints
from picker.scheduling.plugin import SchedulingContext

if TYPE_CHECKING:
    from random import Random

REVISION_HEADER = "x-llm-d-disagg-revision"
REVISION_LABEL = "disaggregatedset.x-k8s.io/revision"
ROLLOUT_ROLE_LABEL = "disaggregatedset.x-k8s.io/role"
DECISION_HEADERS = ("x-llm-d-revision-decision-id", "x-request-id")

_NONE: IntArray = frozen(np.empty(0, dtype=np.intp))

Weighing = Literal["sum", "max-role"]
_RoleCounts = Mapping[str, int]


def _most_numerous(roles: Sequence[str], revisions: Collection[_RoleCounts]) -> Sequence[str]:
    """The role that most pods play in all revisions together; of equals the first."""
    return (max(roles, key=lambda role: sum(counts[role] for counts in revisions)),)


WEIGHINGS: Mapping[Weighing, Callable[[Sequence[str], Collection[_RoleCounts]], Sequence[str]]] = {
    "sum": lambda roles, _: roles,
    "max-role": _most_numerous,
}
"""The roles whose pods weigh, of all that a revision needs."""


@dataclass(frozen=True, slots=True)
class HeaderSelector:
    """A request header (lower case) that names the value of a label; the response has that of its endpoint.

    A strict one leaves no other candidates; one that is not is left to a scorer.
    """

    header: str
    label: str
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Gate:
    """Which revisions get requests, and how many: those that have a pod for each of `roles`, weighed by their pods.

    Counted are ready pods that `scope` selects and that have both labels.
    """

    scope: Selector
    roles: tuple[str, ...]
    weighing: Weighing
    role_label: str = ROLLOUT_ROLE_LABEL

    def weights(self, endpoints: Iterable[Endpoint], revision_label: str) -> dict[str, int]:
        """The weight of every complete revision; incomplete ones are not in it."""
        pods = {
            each.key.pod: (each.labels.get(revision_label, ""), each.labels.get(self.role_label, ""))
            for each in endpoints
            if each.phase is Phase.READY and self.scope.matches(each.labels)
        }
        counts: dict[str, Counter[str]] = {}
        for revision, role in pods.values():
            if revision and role:
                counts.setdefault(revision, Counter())[role] += 1
        complete = {name: found for name, found in counts.items() if all(found[role] for role in self.roles)}
        weighing = WEIGHINGS[self.weighing](self.roles, complete.values())
        return {name: sum(found[role] for role in weighing) for name, found in complete.items()}


def drawn(weights: Mapping[str, int], draw: float) -> str:
    """A name by chance in proportion to its weight; `draw` is from [0, 1). The same weights and draw: the same name."""
    names = sorted(weights)
    sums = list(accumulate(weights[name] for name in names))
    return names[bisect_right(sums, draw * sums[-1])]


def chance(headers: Headers, rng: "Random") -> float:
    """A number from [0, 1): the same for all requests that say they share a decision, in every replica."""
    for name in DECISION_HEADERS:
        shared = headers.get(name)
        if shared:
            return (xxh3_64_intdigest(shared.encode("utf-8", "surrogatepass")) >> 11) * 2.0**-53
    return rng.random()


class _LabelColumn:
    """A label of a pool's endpoints as numbers: of each row the place of its value, -1 where it has none.

    Candidates are the very same array until something new is observed, and so are those of one value, so that stages
    which remember what they made of an array know it again.
    """

    def __init__(self, endpoints: Sequence[Endpoint], label: str) -> None:
        values = [each.labels.get(label, "") for each in endpoints]
        self._names = sorted(set(values) - {""})
        places = {name: place for place, name in enumerate(self._names)}
        self._codes = np.array([places.get(value, -1) for value in values], dtype=np.intp)
        self._rows = _NONE
        self._codes_of_rows = _NONE
        self._places: Mapping[str, int] = {}
        self._parts: dict[str, IntArray] = {}

    def places(self, rows: IntArray) -> Mapping[str, int]:
        """The values that any of `rows` has, each with its place."""
        if rows is not self._rows:
            codes = self._codes[rows]
            found: list[int] = np.bincount(codes + 1)[1:].nonzero()[0].tolist()
            self._rows, self._codes_of_rows, self._parts = rows, codes, {}
            self._places = {self._names[place]: place for place in found}
        return self._places

    def having(self, value: str, rows: IntArray) -> IntArray:
        """The rows that have this value; `rows` itself where all do."""
        place = self.places(rows).get(value)
        if place is None:
            return _NONE
        part = self._parts.get(value)
        if part is None:
            kept = frozen(rows[self._codes_of_rows == place])
            part = self._parts[value] = rows if len(kept) == len(rows) else kept
        return part


class _PoolLabels:
    """What the labels of one pool's endpoints say, and the weights of revisions as discovery last made them."""

    def __init__(self, endpoints: tuple[Endpoint, ...], labels: Iterable[str]) -> None:
        self.columns = {label: _LabelColumn(endpoints, label) for label in labels}
        self._namespaces = {each.key.namespace for each in endpoints}
        self._known: tuple[tuple[Endpoint, ...], dict[str, int]] | None = None

    def weights(self, gate: Gate, revision_label: str, discovered: tuple[Endpoint, ...]) -> dict[str, int]:
        """The weights of complete revisions in the pool's namespaces."""
        if self._known is None or self._known[0] is not discovered:
            near = (each for each in discovered if each.key.namespace in self._namespaces)
            self._known = discovered, gate.weights(near, revision_label)
        return self._known[1]


class RolloutScreener:
    """Leaves the candidates of one revision: the one a request names, else one drawn by the weights of `gate`.

    A named revision that is not complete leaves none, and neither does a strict header that no candidate answers to.
    Without a gate only headers count. Pods of other pools count too where they are followed: a pool of prefill servers
    and one of decode servers share their revisions.
    """

    def __init__(self, selectors: Sequence[HeaderSelector], revision_label: str, gate: Gate | None) -> None:
        self.selectors = tuple(selectors)
        self.revision_label = revision_label
        self.gate = gate
        self.stamps = tuple((each.header, each.label) for each in selectors)
        self.reads_headers = (*(each.header for each in selectors), *DECISION_HEADERS)
        self._strict = tuple(each for each in selectors if each.strict)
        labels = {revision_label, *(each.label for each in self._strict)}
        self._pools: ByEndpoints[_PoolLabels] = ByEndpoints(lambda endpoints: _PoolLabels(endpoints, labels))

    def screen(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows of one revision that all strict headers allow."""
        pool, headers = self._pools.of(context.snapshot), context.request.headers
        named = ""
        for each in self._strict:
            wanted = headers.get(each.header)
            if wanted:
                rows = pool.columns[each.label].having(wanted, rows)
                named = wanted if each.label == self.revision_label else named
        if self.gate is None or not len(rows):
            return rows
        weights = pool.weights(self.gate, self.revision_label, context.memory.discovered)
        if named:
            return rows if named in weights else _NONE
        column = pool.columns[self.revision_label]
        open_to = {name: weights[name] for name in column.places(rows) if name in weights}
        return column.having(drawn(open_to, chance(headers, context.rng)), rows) if open_to else _NONE
