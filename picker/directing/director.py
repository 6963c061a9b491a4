"""The director: from a request to a destination, on one snapshot.

A request passes the gates (`picker.directing.gates`), is scheduled, and begins its life as a dispatch
(`picker.directing.dispatches`).
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from infscale.endpoint import DiscoveryState, Endpoint, ObjectKey
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.store.queue_book import QueueBook
from picker.directing.admission import REJECTED_SATURATED, shed_for_load
from picker.directing.candidates import Unseen, alive, hinted, ready
from picker.directing.director_books import DirectorSettings
from picker.directing.dispatches import Dispatches
from picker.directing.gates import Admission, Gates
from picker.directing.rollout_gate import Shared
from picker.epp_config.loader import ELIGIBLE, PickerConfig
from picker.explaining.input_sheet import InputSheet
from picker.explaining.pick_log import PickLog
from picker.flow.evicting.preemption import Running, Shortage
from picker.flow.evicting.shortage import running, shortages
from picker.flow.lanes import EVERYWHERE, LOOSE, lane_of
from picker.flow.prospect import Prospect, prospect
from picker.flow.reserve import placeable
from picker.flow.room import LATEST_SECONDS, Claims, next_room, open_rows
from picker.pick_record import PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Reason, Rejection, Verdict
from picker.scheduling.plugin import PrefixMatch, RequestFacts, SchedulingContext
from picker.scheduling.prediction import Objectives
from picker.scheduling.prefix_index import PromptChains
from picker.scheduling.profile import Selection
from picker.sessions.placement import Sessions

if TYPE_CHECKING:
    from random import Random

_SCREENED_OUT: Final = "screeners eliminated all endpoint candidates"
_NO_ROOM: Final = "no endpoint has room for the request now"
# Answered with vectors or scores: nothing is generated.
_NO_OUTPUT: Final = frozenset({"embeddings"})


class PoolDirector:
    """The director of one pool; `sync` tells it of objectives and rewrites. Call it from one thread only."""

    def __init__(
        self,
        pool: ObjectKey,
        config: PickerConfig,
        store: MetricStore,
        rng: "Random",
        settings: DirectorSettings | None = None,
        closed: Callable[[InputSheet], None] | None = None,
    ) -> None:
        """`closed` is told of each sheet of picks to which nothing is added any more."""
        self.pool = pool
        """Whose requests it directs."""
        self._config = config
        self._store = store
        self._rng = rng
        self._settings = settings or DirectorSettings()
        self._gates = Gates(pool, self._settings, rng)
        self._dispatches = Dispatches(pool, config, store, self._settings, rng)
        self.log = PickLog(self._settings.explained, rng, closed) if self._settings.explained else None
        """The inputs of the last decisions, by which they can be explained; None: they are not kept."""
        self._stages_rng = rng if self.log is None else self.log.rng
        self._unseen = Unseen()
        self.claims = Claims()
        """What is kept for requests that have no room, while a turn goes through what waits."""
        self.stats = self._dispatches.stats
        """Counts since start."""
        self.records = self._dispatches.records
        """The last decisions."""

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery: the objectives and rewrites that name this pool apply from the next request on."""
        self._gates.sync(state)
        self._dispatches.sync(state)
        if self.log is not None:
            self.log.share_with(len(state.pools))

    def trim(self) -> bool:
        """Forget a little of what the pool may no longer remember of prompts; whether more is left to forget."""
        return self._dispatches.index.trim()

    def configure(self, config: PickerConfig) -> None:
        """Decide by `config` from the next request on; what is known of caches stays unless its settings change."""
        self._config = config
        self._dispatches.configure(config)

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        """Choose destinations for `request` and charge the first; `now` is monotonic seconds."""
        snapshot = self._store.snapshot(self.pool)
        body = request.body
        if body is None:
            return self._anywhere(request, snapshot, now)
        answer = self._decide(request, body, snapshot, now)
        missing = isinstance(answer, Rejection) and answer.reason is Reason.NO_ENDPOINTS
        if missing and snapshot is not None and not snapshot.columns.ready.any():
            # Has the pool scaled up; requests without a body, as probes are, do not have it so.
            self._store.turn_away(self.pool, now)
        return answer

    def standing(self, request: InferenceRequest, body: ParsedBody, now: float) -> tuple[int, str] | Rejection:
        """The priority of a request that is to wait, and the model that it would be sent as now."""
        model = self._gates.model(request, body, self._shared(request, body, self._store.snapshot(self.pool), now))
        return model if isinstance(model, Rejection) else (self._gates.priority(request, body), model)

    def prospect(self, request: InferenceRequest, body: ParsedBody, now: float) -> Prospect | Rejection:
        """What a request that is to wait will take, and where in a queue it belongs."""
        snapshot = self._store.snapshot(self.pool)
        shared = self._shared(request, body, snapshot, now)
        model = self._gates.model(request, body, shared)
        if isinstance(model, Rejection):
            return model
        if snapshot is None:
            return self._gates.unavailable()
        self._dispatches.follow(snapshot, now)
        priority = self._gates.priority(request, body)
        _, prefix = self._dispatches.cached(body, model)
        facts = self._facts(request, body, model, priority)
        sessions = self._dispatches.sessions.of(request.headers, snapshot, now)
        context = self._context(facts, snapshot, prefix, sessions, now, blind=False)
        narrowed = self._gates.rollouts.rows
        rows = narrowed(shared, snapshot, hinted(request.subset, snapshot, snapshot.candidates(now)))
        eligible = self._config.eligible(context, rows) if len(rows) else Reason.NO_ENDPOINTS
        if not isinstance(eligible, Reason):
            return prospect(context, _lane(context, eligible), eligible)
        # Of a pool without candidates all requests wait for the same, whatever they may have then.
        lane = EVERYWHERE if not len(snapshot.candidates(now)) else LOOSE
        return prospect(context, lane, rows if len(rows) else ready(snapshot))

    def open_rows(self, now: float) -> tuple[PoolSnapshot, list[bool]] | None:
        """The pool now, and of each row whether it may have room for some request; None: there is no pool."""
        snapshot = self._store.snapshot(self.pool)
        if snapshot is None:
            return None
        self._dispatches.follow(snapshot, now)
        return snapshot, open_rows(snapshot, self._dispatches.memory.clock, now)

    def next_room(self, now: float) -> float:
        """When an endpoint may have room again, if nothing else happens."""
        snapshot = self._store.snapshot(self.pool)
        if snapshot is None or not len(snapshot):
            return now + LATEST_SECONDS
        self._dispatches.follow(snapshot, now)
        return next_room(snapshot, self._dispatches.memory.clock, now)

    def shortages(self, request: InferenceRequest, now: float) -> list[Shortage]:
        """What each endpoint that `request` may go to lacks to take it, where none has room for it."""
        snapshot, body = self._store.snapshot(self.pool), request.body
        if snapshot is None or body is None:
            return []
        shared = self._shared(request, body, snapshot, now)
        model = self._gates.model(request, body, shared)
        if not isinstance(model, str):
            return []
        self._dispatches.follow(snapshot, now)
        admission = self._gates.admitted(request, body, model, snapshot, now, shared)
        if isinstance(admission, Rejection):
            return []
        _, prefix = self._dispatches.cached(body, model)
        facts = self._facts(request, body, model, admission.priority)
        sessions = self._dispatches.sessions.of(request.headers, snapshot, now)
        context = self._context(facts, snapshot, prefix, sessions, now, blind=admission.blind)
        rows = self._config.eligible(context, admission.rows)
        return [] if isinstance(rows, Reason) else shortages(context, rows)

    def running(self, decisions: Iterable[Decision], now: float) -> list[Running]:
        """What it costs if the requests of `decisions` go, of those that are known to be in flight and may go."""
        snapshot = self._store.snapshot(self.pool)
        return [] if snapshot is None else running(decisions, snapshot, self._dispatches.memory.clock, now)

    def has_endpoints(self) -> bool:
        """Whether any endpoint is ready."""
        snapshot = self._store.snapshot(self.pool)
        return snapshot is not None and bool(snapshot.columns.ready.any())

    def priority(self, request: InferenceRequest) -> int | None:
        """The priority of `request` by the objectives of this pool; None: it has no body, and no priority."""
        return None if request.body is None else self._gates.priority(request, request.body)

    def serves(self, request: InferenceRequest, now: float, *, in_doubt: bool = False) -> bool:
        """Whether an endpoint that `request` may go to is there and seems to be alive.

        With `in_doubt` it is enough that it was a moment ago: its load is known and not too old.
        """
        snapshot = self._store.snapshot(self.pool)
        if snapshot is None:
            return False
        if in_doubt:
            return len(hinted(request.subset, snapshot, snapshot.candidates(now))) > 0
        rows = alive(request.subset, snapshot, now, self._settings.unknown_load)
        return len(rows) > 0 and self._dispatches.answering(snapshot, rows, now)

    def ready(self) -> int:
        """How many endpoints are ready."""
        snapshot = self._store.snapshot(self.pool)
        return 0 if snapshot is None else int(np.count_nonzero(snapshot.columns.ready))

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of the pool, whatever they do."""
        snapshot = self._store.snapshot(self.pool)
        return () if snapshot is None else snapshot.endpoints

    def call_for_endpoints(self, now: float) -> None:
        """A request waits for the first endpoint of the pool: have it scaled up."""
        self._store.turn_away(self.pool, now)

    def given_up(self, request: InferenceRequest, rejection: Rejection, now: float, seconds: float, why: str) -> None:
        """`request` has waited for so long, for `why`, and is refused: keep that for whatever asks."""
        snapshot, body = self._store.snapshot(self.pool), request.body
        if self.log is None or snapshot is None or body is None:
            return
        record = PickRecord(request.request_id, body.model, snapshot.revision, now, (), 0)
        record.refused, record.refused_status = rejection.reason.value, rejection.status
        record.waited_seconds, record.waited_for = seconds, why
        self.log.refusals.append(record)

    def open_queue(self, now: float) -> QueueBook:
        """The store's book of what waits for the pool."""
        return self._store.open_queue(self.pool, now)

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """Count `rejection` by its reason and status."""
        rejections, key = self.stats.rejections, (rejection.reason, rejection.status)
        rejections[key] = rejections.get(key, 0) + 1

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """Response headers came back; move the charge to `served` where the gateway went on to another endpoint."""
        return self._dispatches.response_started(decision, status, served, self._store.snapshot(self.pool), now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """The exchange of `decision` is over: release its charge and learn from how it went."""
        if decision.share is not None:
            self._gates.rollouts.finished(decision.share, outcome)
        self._dispatches.finished(request, decision, outcome, self._store.snapshot(self.pool), now)

    def overheard(self, outcome: Outcome) -> None:
        """Nothing was charged, so there is nothing to end."""

    def _anywhere(self, request: InferenceRequest, snapshot: PoolSnapshot | None, now: float) -> Verdict:
        """A request without a body goes to any endpoint it may have."""
        if snapshot is None:
            return self._gates.unavailable()
        self._dispatches.follow_endpoints(snapshot)
        rows = self._gates.anywhere(request, snapshot, now)
        if isinstance(rows, Rejection):
            return rows
        row = int(rows[self._rng.randrange(len(rows))])
        return self._dispatches.begin_anywhere(request, snapshot, row, len(rows), now)

    def _decide(
        self, request: InferenceRequest, body: ParsedBody, snapshot: PoolSnapshot | None, now: float
    ) -> Verdict:
        # The client's own fault comes first: it stays one when endpoints are back.
        shared = self._shared(request, body, snapshot, now)
        model = self._gates.model(request, body, shared)
        if isinstance(model, Rejection):
            return model
        if snapshot is None:
            return self._gates.unavailable()
        dispatches = self._dispatches
        dispatches.follow(snapshot, now)
        admission = self._gates.admitted(request, body, model, snapshot, now, shared)
        if isinstance(admission, Rejection):
            return admission
        blind = admission.blind
        chains, prefix = dispatches.cached(body, model)
        facts = self._facts(request, body, model, admission.priority, shared)
        sessions = dispatches.sessions.of(request.headers, snapshot, now)
        context = self._context(facts, snapshot, prefix, sessions, now, blind=blind)
        selection = self._schedule(context, admission.rows)
        if isinstance(selection, Rejection) and not blind and not _waits_for_its_own(selection, context, admission):
            # No endpoint whose load is known will do for this request: one whose load is not may.
            others = self._gates.of_unknown_load(request, snapshot, now, shared)
            if len(others):
                context = self._context(facts, snapshot, prefix, sessions, now, blind=True)
                selection = self._schedule(context, others)
        if isinstance(selection, Rejection) and (request.waits or selection.reason is Reason.NO_ROOM):
            # It is asked again, or what asks says how it ended (`given_up`): only answers are kept.
            return selection
        if not isinstance(selection, Rejection):
            self._gates.rollouts.sent(shared)
        return self._carry_out(request, context, selection, chains, snapshot)

    def _carry_out(
        self,
        request: InferenceRequest,
        context: SchedulingContext,
        selection: Selection | Rejection,
        chains: PromptChains,
        snapshot: PoolSnapshot,
    ) -> Verdict:
        """Begin what was decided, and keep what it was made from."""
        log, dispatches = self.log, self._dispatches
        if log is not None:
            log.note(self._config)
        if isinstance(selection, Rejection):
            if log is not None:
                log.keep(dispatches.refused(request, context, selection), ())
            return selection
        decision = dispatches.begin(request, context, selection, chains, snapshot)
        if log is not None and decision.record is not None:
            log.keep(decision.record, selection.chosen)
        return decision

    def _shared(
        self, request: InferenceRequest, body: ParsedBody, snapshot: PoolSnapshot | None, now: float
    ) -> Shared | None:
        if snapshot is None:
            return None
        return self._gates.rollouts.shared(request, body, self._dispatches.sessions, snapshot, now)

    def elsewhere(self, request: InferenceRequest, now: float) -> ObjectKey | None:
        """The pool that a rollout has the request go to instead; None: this one."""
        return None if request.body is None else self._gates.rollouts.elsewhere(request, request.body, now)

    def _facts(
        self, request: InferenceRequest, body: ParsedBody, model: str, priority: int, shared: Shared | None = None
    ) -> RequestFacts:
        outputs = self._dispatches.outputs
        output_tokens = 0.0 if body.api in _NO_OUTPUT else outputs.expect(model, body.max_output_tokens)
        share = None if shared is None else shared.share
        prompt_tokens = float(body.prompt_tokens)
        return RequestFacts(model, request.headers, prompt_tokens, output_tokens, priority, body.media, share)

    def _context(
        self,
        facts: RequestFacts,
        snapshot: PoolSnapshot,
        prefix: PrefixMatch,
        sessions: Sessions,
        now: float,
        *,
        blind: bool,
    ) -> SchedulingContext:
        seen = self._unseen.of(snapshot) if blind else snapshot
        memory, predicting = self._dispatches.memory, self._config.predicting
        return SchedulingContext(
            facts, seen, prefix, now, self._stages_rng, memory, predicting, blind=blind, sessions=sessions
        )

    def _schedule(self, context: SchedulingContext, rows: IntArray) -> Selection | Rejection:
        holds = self._settings.holds and self._config.flow is None
        if holds and not self._config.narrows:
            # What is left is what is kept of the choice. A request that filters bind would leave a claimed endpoint.
            unclaimed = self.claims.unclaimed(context, rows)
            if not len(unclaimed):
                return Rejection("ResourceExhausted", _NO_ROOM, Reason.NO_ROOM, lane=_lane(context, rows))
            rows = unclaimed
        if self.log is not None:
            self.log.begins(context, rows, gated=holds)
        answer = self._config.decide(context, rows, placeable if holds else None)
        if not isinstance(answer, Reason):
            return answer
        retry_after = self._settings.retry_after_seconds
        if answer is Reason.NO_ROOM:
            eligible = context.derived.get(ELIGIBLE)
            bound = rows if eligible is None else eligible
            if not self._config.narrows:
                self.claims.claim(context, bound)
            lane = _lane(context, bound)
            return Rejection("ResourceExhausted", _NO_ROOM, answer, lane=lane)
        if answer is Reason.SCREENED_OUT:
            return self._gates.unavailable(_SCREENED_OUT, answer)
        if answer is Reason.SATURATED:
            return shed_for_load(retry_after)
        message = "no endpoints available for the given request"
        return Rejection("ResourceExhausted", message, answer, REJECTED_SATURATED, retry_after)


def _waits_for_its_own(rejection: Rejection, context: SchedulingContext, admission: Admission) -> bool:
    """Whether endpoints whose load is known will do for the request, although not now.

    A request that is bound to some of them, by its session or by filters, would leave those for one that is not known.
    """
    if rejection.reason is not Reason.NO_ROOM:
        return rejection.reason is Reason.SATURATED
    eligible = context.derived.get(ELIGIBLE)
    return bool(context.sessions) or (eligible is not None and len(eligible) < len(admission.rows))


def _lane(context: SchedulingContext, rows: IntArray) -> str:
    return lane_of(context.snapshot, rows, context.now, Objectives.of(context.request.headers).tpot)
