"""Sources of published values: what holds for every value of one, as data."""

from dataclasses import dataclass

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, PoolSnapshot, count_of


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where values come from, and what is to be done where they are old or missing; equal to itself alone.

    `name` is for people, `absence` says of a pool (``{pool}``) that its endpoints are known and the value is not.
    `observed`, `settled` and `failures` are names of `Columns`. `observed` has the seconds of observations, which are
    used for `staleness_seconds` (None: as long as the pool's settings say); None: the values are of the moment at which
    they are read. `settled` has the endpoints that gave a value or failed once: a group waits for that of every ready
    one; None: no first value is waited for. `failures` has why there is no newer one; None: that is not known of an
    endpoint.

    With `per_pod` the ranks of a pod share one value, else each has its own. With `of_requests` values are of what was
    dispatched: also to endpoints that are not ready any more, and by the model that requests ask for. Of sources that
    say the same (`observed`) of an endpoint the one of the highest `precedence` counts, while it is heard.
    """

    name: str
    observed: str | None = None
    staleness_seconds: float | None = None
    settled: str | None = None
    failures: str | None = None
    per_pod: bool = False
    of_requests: bool = False
    absence: str = "the endpoints of {pool} do not report it"
    precedence: int = 0

    @property
    def certainty(self) -> tuple[bool, bool, bool]:
        """How sure its values are to be there; of a value that depends on several sources the least sure one tells."""
        return self.settled is None, self.observed is None, self.of_requests

    def limit_seconds(self, snapshot: PoolSnapshot) -> float:
        """How old a value of `snapshot` may be."""
        of_pool = snapshot.state.settings.staleness_limit_seconds
        return of_pool if self.staleness_seconds is None else self.staleness_seconds

    def observed_at(self, snapshot: PoolSnapshot, now: float) -> FloatArray:
        """When each endpoint was observed; what does not age was at `now`."""
        if self.observed is None:
            return np.full(len(snapshot), now)
        column: FloatArray = getattr(snapshot.columns, self.observed)
        return column

    def fresh(self, snapshot: PoolSnapshot, now: float, limit_seconds: float | None = None) -> BoolArray:
        """The rows whose observation is recent enough to use, by another limit where one is given."""
        limit = self.limit_seconds(snapshot) if limit_seconds is None else limit_seconds
        return now - self.observed_at(snapshot, now) <= limit

    def unsettled(self, snapshot: PoolSnapshot, rows: BoolArray) -> int:
        """How many of `rows` have a first value to come that is waited for."""
        if self.settled is None:
            return 0
        settled: BoolArray = getattr(snapshot.columns, self.settled)
        return count_of(rows & ~settled)

    def failure(self, snapshot: PoolSnapshot, row: int) -> str | None:
        """Why the endpoint in `row` has no newer value; None: that is not known."""
        if self.failures is None:
            return None
        failure = getattr(snapshot.columns, self.failures)[row]
        return None if failure is None else str(failure.cause)
