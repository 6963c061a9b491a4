"""What may refuse a request before it is scheduled, and which endpoints it may have."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infscale.endpoint import DiscoveryState, ObjectKey, Pool
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from picker.directing.admission import REJECTED_NO_ENDPOINTS, Priorities, admit
from picker.directing.candidates import NOBODY, hinted, of_unknown_load, ready, why_none
from picker.directing.director_books import DirectorSettings
from picker.directing.rewrite import RewriteTable, target_model
from picker.directing.rollout_gate import RolloutGate, Shared
from picker.directing.served_models import serves
from picker.request import InferenceRequest, ParsedBody, Reason, Rejection

if TYPE_CHECKING:
    from random import Random

_NO_CANDIDATES: Final = "failed to find endpoint candidates for serving the request"


@dataclass(slots=True, eq=False, init=False)
class Admission:
    """A request that passed: its priority, and the rows it may go to. `blind`: the load of none of them is known."""

    priority: Final[int]
    rows: Final[IntArray]
    blind: Final[bool]

    def __init__(self, priority: int, rows: IntArray, blind: bool) -> None:
        self.priority = priority
        self.rows = rows
        self.blind = blind


class Gates:
    """The gates of one pool, in the order in which a request meets them. Reads a snapshot, keeps no books."""

    def __init__(self, pool: ObjectKey, settings: DirectorSettings, rng: "Random") -> None:
        self._pool = pool
        self._settings = settings
        self._rng = rng
        self._priorities = Priorities({})
        self._rewrites = RewriteTable({})
        self.rollouts = RolloutGate(pool, settings)
        """What says which version of a rollout a request has."""

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery: the objectives and rewrites that name this pool."""
        pool = next((each for each in state.pools if each.key == self._pool), None)
        unknown = None if self._settings.unknown_objectives == "lowest" else 0
        trusted = self._settings.trusted_headers
        self._priorities = Priorities.of(state.objectives, pool or Pool(self._pool, {}), trusted, unknown)
        self._rewrites = RewriteTable({}) if pool is None else RewriteTable.of(state.rewrites, pool)
        self.rollouts.sync()

    def model(self, request: InferenceRequest, body: ParsedBody, shared: Shared | None = None) -> str | Rejection:
        """The model the request is sent as: its version's, where it has one that says.

        Rewrites apply to bodies that can be rewritten.
        """
        model = body.model
        if shared is not None and shared.share.version.model is not None:
            return shared.share.version.model
        if body.api != "opaque" and body.framing is None:
            model = target_model(model, request.headers, self._rewrites, self._rng)
        if body.needs_model and not model:
            return Rejection("BadRequest", "model not found in request body", Reason.MISSING_MODEL)
        return model

    def admitted(
        self,
        request: InferenceRequest,
        body: ParsedBody,
        model: str,
        snapshot: PoolSnapshot,
        now: float,
        shared: Shared | None = None,
    ) -> Admission | Rejection:
        """Whether a request with a body is scheduled; where it has a part in a rollout, on endpoints of its version."""
        rows = self.rollouts.rows(shared, snapshot, hinted(request.subset, snapshot, snapshot.candidates(now)))
        blind = not len(rows)
        if blind and not len(rows := self.of_unknown_load(request, snapshot, now, shared)):
            if shared is not None:
                # No version costs a request that another endpoint could have.
                return self.admitted(request, body, model, snapshot, now)
            return self._missing(request, snapshot, now)
        if self._settings.unknown_models == "reject" and model and not serves(snapshot, model, self._settings.lists):
            message = "the model does not exist: no endpoint of the pool serves it"
            return Rejection("NotFound", message, Reason.UNKNOWN_MODEL)
        priority = self.priority(request, body)
        shed = None if self._settings.holds else admit(priority, snapshot, now, self._settings)
        return Admission(priority, rows, blind) if shed is None else shed

    def priority(self, request: InferenceRequest, body: ParsedBody) -> int:
        """The priority of a request with a body."""
        return (
            request.priority if request.priority is not None else self._priorities.priority(request.headers, body.model)
        )

    def anywhere(self, request: InferenceRequest, snapshot: PoolSnapshot, now: float) -> IntArray | Rejection:
        """The rows for a request without a body: with fresh metrics if there are some, else any that are ready."""
        for allowed in (snapshot.candidates(now), ready(snapshot)):
            rows = hinted(request.subset, snapshot, allowed)
            if len(rows):
                return rows
        return self._missing(request, snapshot, now)

    def of_unknown_load(
        self, request: InferenceRequest, snapshot: PoolSnapshot, now: float, shared: Shared | None = None
    ) -> IntArray:
        """The rows that are served although their load is unknown."""
        if self._settings.unknown_load != "serve":
            return NOBODY
        return self.rollouts.rows(shared, snapshot, of_unknown_load(request.subset, snapshot, now))

    def unavailable(self, message: str = _NO_CANDIDATES, reason: Reason = Reason.NO_ENDPOINTS) -> Rejection:
        """The refusal of a request for which there is no endpoint."""
        retry_after = self._settings.retry_after_seconds
        return Rejection("ServiceUnavailable", message, reason, REJECTED_NO_ENDPOINTS, retry_after)

    def _missing(self, request: InferenceRequest, snapshot: PoolSnapshot, now: float) -> Rejection:
        """The refusal that says whether there is no endpoint, none whose load is known, or none that is awake."""
        why = why_none(request.subset, snapshot, now)
        return self.unavailable() if why is None else self.unavailable(f"{_NO_CANDIDATES}: {why[1]}", why[0])
