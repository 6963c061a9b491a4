"""Admission: whether a request is scheduled now or shed for load, and the HTTP forms of every refusal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from infscale.endpoint import Objective, Pool
from infscale.metrics.published.answers import group_reading
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.sample import Reading
from infscale.metrics.snapshot import PoolSnapshot
from picker.directing.director_books import DirectorSettings
from picker.request import Headers, Reason, Rejection

OBJECTIVE_HEADERS: Final = ("x-llm-d-inference-objective", "x-gateway-inference-objective")

REJECTED_SATURATED: Final = "rejected-saturated"
REJECTED_NO_ENDPOINTS: Final = "rejected-no-endpoints"


@dataclass(frozen=True, slots=True)
class Priorities:
    """The priorities of one pool's requests: by the objective they name, else by their model.

    Objectives that headers of `trusted` name count as they are. `unknown` is the priority of a name that no objective
    has; None: the lowest a request can have here.
    """

    by_name: Mapping[str, int]
    by_model: Mapping[str, int] = field(default_factory=dict[str, int])
    trusted: frozenset[str] = frozenset()
    unknown: int | None = None

    @classmethod
    def of(
        cls,
        objectives: Iterable[Objective],
        pool: Pool,
        trusted: frozenset[str] = frozenset(),
        unknown: int | None = None,
    ) -> "Priorities":
        """The objectives that name `pool` in its namespace.

        Where one made of an `InferenceModel` has the name of another, the name is the other's.
        """
        namespace, name = pool.key.namespace, pool.key.name
        own = [each for each in objectives if each.pool == name and each.key.namespace == namespace]
        by_name = {each.key.name: each.priority for each in sorted(own, key=lambda each: each.model is None)}
        by_model = {each.model: each.priority for each in own if each.model is not None}
        return cls(by_name, by_model, trusted, unknown)

    def priority(self, headers: Headers, model: str) -> int:
        """The priority of a request for `model`, as the client names it.

        That of the objective of its model, else 0. The objective named in a trusted header takes its place; one named
        in another header counts only where it is worth less.
        """
        priority = self.by_model.get(model, 0)
        wished: list[int] = []
        for name in reversed(OBJECTIVE_HEADERS):
            objective = headers.get(name)
            if not objective:
                continue
            if name in self.trusted:
                priority = self._named(objective)
            else:
                wished.append(self._named(objective))
        return min(priority, *wished) if wished else priority

    def _named(self, objective: str) -> int:
        priority = self.by_name.get(objective, self.unknown)
        # Sheddable in any case: a name that means nothing must not be worth more than none.
        return min((-1, *self.by_name.values(), *self.by_model.values())) if priority is None else priority


def pool_saturation(snapshot: PoolSnapshot, now: float) -> float | None:
    """The pool's saturation as it is published for scaling; None when it is unknown."""
    reading = group_reading(BY_NAME["saturation_ratio"], snapshot, now)
    return reading.value if isinstance(reading, Reading) else None


def admit(priority: int, snapshot: PoolSnapshot, now: float, settings: DirectorSettings) -> Rejection | None:
    """Shed a sheddable request (priority below 0) while the pool is saturated; None admits.

    A pool whose saturation is unknown is not saturated where unknown load is served. Where it is refused, sheddable
    requests are shed too: they are the ones that may wait in doubt.
    """
    if priority >= 0:
        return None
    saturation = pool_saturation(snapshot, now)
    full = saturation >= 1.0 if saturation is not None else settings.unknown_load != "serve"
    return shed_for_load(settings.retry_after_seconds) if full else None


def shed_for_load(retry_after_seconds: float) -> Rejection:
    """The answer to a sheddable request there is no room for."""
    message = "system saturated, sheddable request dropped"
    return Rejection("ResourceExhausted", message, Reason.SATURATED, REJECTED_SATURATED, retry_after_seconds)
