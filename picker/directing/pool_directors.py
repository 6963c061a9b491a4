"""Several pools behind one gateway: which pool's director decides, and directors that follow discovery."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorStats
from picker.directing.picks import Picks
from picker.epp_config.loader import PickerConfig
from picker.explaining.pick_log import PickLog
from picker.pick_record import PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Reason, Rejection, Verdict

POOL_HEADER: Final = "x-llm-d-inference-pool"


class PoolDirectors:
    """One director per pool; requests mean the default, or a pool that the gateway names in a header.

    There it is ``name`` or ``namespace/name``; what a client writes into that header does not get here.
    The default is the pool given, else the only one there is. A pool that goes and comes back starts anew. `store`
    is that of the directors.
    """

    def __init__(
        self, build: Callable[[ObjectKey], PoolDirector], default: ObjectKey | None, store: MetricStore
    ) -> None:
        self._build = build
        self._store = store
        self._configured = default
        self._default: PoolDirector | None = None
        self._directors: dict[ObjectKey, PoolDirector] = {}
        self._names: dict[str, PoolDirector | None] = {}
        # Pools that may hold more of prompts than their share: requests of any pool cut them back.
        self._untrimmed: list[PoolDirector] = []
        self.unplaced: dict[tuple[Reason, int], int] = {}
        """Counts of what was refused without a pool that it was for, by reason and status."""

    def sync(self, state: DiscoveryState) -> None:
        """Have exactly one director per pool of `state`, each told of its objectives and rewrites."""
        keys = [pool.key for pool in state.pools]
        more = len(keys) > len(self._directors)
        for key, director in self._directors.items():
            if key not in keys and director.log is not None:
                director.log.turn()
        self._directors = {key: self._directors.get(key) or self._build(key) for key in keys}
        self._names = {}
        for key, director in self._directors.items():
            director.sync(state)
            self._names[str(key)] = director
            # A bare name that two namespaces have names neither.
            self._names[key.name] = None if key.name in self._names else director
        if more or self._untrimmed:
            self._untrimmed = list(self._directors.values())
        only = keys[0] if len(keys) == 1 else None
        default = self._configured or only
        self._default = self._directors.get(default) if default is not None else None

    def configure(self, config: PickerConfig) -> None:
        """Have every director decide by `config` from the next request on; `build` is expected to follow it, too."""
        for director in self._directors.values():
            director.configure(config)

    def stats(self) -> dict[ObjectKey, DirectorStats]:
        """Each pool's counts."""
        return {key: director.stats for key, director in self._directors.items()}

    def picks(self) -> Picks:
        """The last decisions of each pool."""
        return {key: (director.records, director.stats.names) for key, director in self._directors.items()}

    def logs(self) -> dict[ObjectKey, tuple[PickLog | None, Iterable[PickRecord]]]:
        """Of each pool the inputs of its last decisions, and the records of its last choices."""
        return {key: (director.log, director.records) for key, director in self._directors.items()}

    def names(self) -> dict[str, str]:
        """The endpoints of all pools: their names by their authorities."""
        return {
            authority: name for director in self._directors.values() for authority, name in director.stats.names.items()
        }

    def by_pool(self) -> Mapping[ObjectKey, PoolDirector]:
        """The directors by their pools."""
        return self._directors

    def director(self, pool: ObjectKey) -> PoolDirector | None:
        """The director of `pool`, for readers of its records."""
        return self._directors.get(pool)

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        """The decision of the named pool's director."""
        if self._untrimmed and not self._untrimmed[-1].trim():
            self._untrimmed.pop()
        director = self.placed(request, now)
        if director is not None:
            return director.direct(request, now)
        message = f"the pool named in {POOL_HEADER} does not exist, or not only once"
        if request.headers.get(POOL_HEADER) is None:
            message = "there is no default pool: the gateway names none, and picker.pool is not set"
        return Rejection("NotFound", message, Reason.UNKNOWN_POOL)

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """Have the named pool's director count it, also what was refused before it was asked."""
        director = self.named(headers)
        if director is not None:
            director.refused(headers, body, rejection)
        else:
            key = rejection.reason, rejection.status
            self.unplaced[key] = self.unplaced.get(key, 0) + 1

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """Pass on to the director that decided."""
        director = self._decider(decision)
        return decision if director is None else director.response_started(decision, status, served, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """Pass on to the director that decided."""
        director = self._decider(decision)
        if director is not None:
            director.finished(request, decision, outcome, now)
        elif decision.charge is not None:
            # Its pool is gone; the endpoint may be there for another, or for the same when that comes back.
            self._store.release(decision.charge, answered=False)

    def overheard(self, outcome: Outcome) -> None:
        """It is no pool's."""

    def named(self, headers: Headers) -> PoolDirector | None:
        """The director of the pool that a request is for; None: there is none."""
        name = headers.get(POOL_HEADER)
        return self._default if name is None else self._names.get(name)

    def placed(self, request: InferenceRequest, now: float) -> PoolDirector | None:
        """The director that decides about a request: of the pool it is for, or of one that a rollout takes it to.

        Where that has no ready endpoint, it stays. None: there is none.
        """
        director = self.named(request.headers)
        elsewhere = None if director is None else director.elsewhere(request, now)
        if elsewhere is None:
            return director
        other = self._directors.get(elsewhere)
        return other if other is not None and other.has_endpoints() else director

    def _decider(self, decision: Decision) -> PoolDirector | None:
        return None if decision.pool is None else self._directors.get(decision.pool)
