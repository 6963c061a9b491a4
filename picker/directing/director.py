"""The director: from a request to a destination, on one snapshot, and the books of what was dispatched."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from infscale.endpoint import DiscoveryState, Endpoint, ObjectKey, Pool
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from infscale.metrics.store.dispatch import Charge
from picker.directing.admission import (
    REJECTED_NO_ENDPOINTS,
    Priorities,
    admit,
    rejection,
    shed_for_load,
)
from picker.directing.candidates import NOBODY, Unseen, hinted, of_unknown_load, ready, why_none
from picker.directing.director_books import DirectorSettings, DirectorStats
from picker.directing.output_length import OutputLengths
from picker.directing.rewrite import RewriteTable, target_model
from picker.directing.served_models import accounted, serves
from picker.epp_config.loader import PickerConfig
from picker.pick_record import NO_SCORES, PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Promise, Reason, Rejection
from picker.scheduling.admitters import admitted
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PrefixMatch, RequestFacts, SchedulingContext
from picker.scheduling.prediction import Objectives, Prediction
from picker.scheduling.prefix_index import NO_CHAINS, PrefixIndex, PromptChains
from picker.scheduling.profile import Selection
from picker.scheduling.screeners import screened

if TYPE_CHECKING:
    from random import Random

_NO_CANDIDATES: Final = "failed to find endpoint candidates for serving the request"
_SCREENED_OUT: Final = "screeners eliminated all endpoint candidates"
# Answered with vectors or scores: nothing is generated.
_NO_OUTPUT: Final = frozenset({"embeddings"})


class Snapshots(Protocol):
    """Where a decision's one snapshot comes from."""

    def snapshot(self, pool: ObjectKey) -> PoolSnapshot | None:
        """The current view of `pool`; None when there is no such pool."""
        ...


class Accounts(Protocol):
    """The books of what is in flight."""

    def charge(self, pool: ObjectKey, row: int, model: str, tokens: float, now: float) -> Charge:
        """Book a dispatch to the endpoint in `row` of the pool's current snapshot."""
        ...

    def turn_away(self, pool: ObjectKey, now: float) -> None:
        """Count a request to `pool`, which has no ready endpoint."""
        ...

    def release(self, charge: Charge, *, answered: bool) -> None:
        """End a dispatch; `answered`: the endpoint served it, so its metrics must have moved."""
        ...


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


class PoolDirector:
    """The director of one pool; `sync` tells it of objectives and rewrites. Call it from one thread only."""

    def __init__(
        self,
        pool: ObjectKey,
        config: PickerConfig,
        snapshots: Snapshots,
        accounts: Accounts,
        rng: "Random",
        settings: DirectorSettings | None = None,
    ) -> None:
        self._pool = pool
        self._config = config
        self._index = PrefixIndex(config.prefix)
        self._memory = PoolMemory()
        self._snapshots = snapshots
        self._accounts = accounts
        self._rng = rng
        self._settings = settings or DirectorSettings()
        self._outputs = OutputLengths(self._settings.output_tokens)
        self._priorities = Priorities({})
        self._rewrites = RewriteTable({})
        self._endpoints: tuple[Endpoint, ...] = ()
        self._unseen = Unseen()
        self._pools = 1
        self.stats = DirectorStats()
        self.records: deque[PickRecord] = deque(maxlen=self._settings.records)

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery: the objectives and rewrites that name this pool apply from the next request on."""
        pool = next((each for each in state.pools if each.key == self._pool), None)
        unknown = None if self._settings.unknown_objectives == "lowest" else 0
        trusted = self._settings.trusted_headers
        self._priorities = Priorities.of(state.objectives, pool or Pool(self._pool, {}), trusted, unknown)
        self._rewrites = RewriteTable({}) if pool is None else RewriteTable.of(state.rewrites, pool)
        self._memory.discovered = state.endpoints
        self._pools = len(state.pools)
        self._index.share_with(self._pools)

    @property
    def prefix_entries(self) -> int:
        """Blocks that the pool's endpoints are believed to hold, counted once for each endpoint."""
        return self._index.entries

    def trim(self) -> bool:
        """Forget a little of what the pool may no longer remember of prompts; whether more is left to forget."""
        return self._index.trim()

    def configure(self, config: PickerConfig) -> None:
        """Decide by `config` from the next request on; what is known of caches stays unless its settings change."""
        if config.prefix != self._config.prefix:
            self._index = PrefixIndex(config.prefix)
            self._index.share_with(self._pools)
        self._config = config

    def direct(self, request: InferenceRequest, now: float) -> Decision | Rejection:
        """Choose destinations for `request` and charge the first; `now` is monotonic seconds."""
        snapshot = self._snapshots.snapshot(self._pool)
        if request.body is None:
            return self._anywhere(request, snapshot, now)
        answer = self._decide(request, request.body, snapshot, now)
        if isinstance(answer, Rejection) and answer.reason is Reason.NO_ENDPOINTS:
            self._turned_away(snapshot, now)
        return answer

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """Count `rejection` by its reason and status."""
        key = rejection.reason, rejection.status
        self.stats.rejections[key] = self.stats.rejections.get(key, 0) + 1

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """Response headers came back; move the charge to `served` where the gateway went on to another endpoint."""
        _count(self.stats.responses, "unknown" if status is None else f"{status // 100}xx")
        charge = decision.charge
        if charge is None or served is None or served == decision.destinations[0]:
            return decision
        snapshot = self._snapshots.snapshot(self._pool)
        row = None if snapshot is None else snapshot.state.index.get(served)
        if snapshot is None or row is None:
            return replace(decision, response_headers=()) if decision.response_headers else decision
        stamped = _stamped(self._config.stamps, snapshot.endpoints[row])
        self._accounts.release(charge, answered=False)
        moved = self._accounts.charge(self._pool, row, charge.model, charge.tokens, now)
        promise = self._promised_by(served, decision.promise, snapshot)
        return replace(decision, charge=moved, promise=promise, response_headers=stamped)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """The exchange of `decision` is over: release its charge and learn from how it went."""
        _count(self.stats.outcomes, outcome.kind)
        chosen = decision.destinations[0]
        served = outcome.served or chosen
        if decision.charge is not None:
            answered = served == chosen and _made_tokens(request, outcome)
            self._accounts.release(decision.charge, answered=answered)
        if decision.promise is not None:
            self._memory.over(decision.promise)
        if served != chosen and served in self._memory:
            self._memory.answered(chosen, failed=True, now=now)
        if outcome.failed is not None:
            self._memory.answered(served, failed=outcome.failed, now=now)
        if outcome.unread:
            self.stats.unread_answers += 1
        if request.body is None:
            return
        if outcome.completion_tokens is not None:
            self._outputs.observe(decision.target_model, outcome.completion_tokens)
        if served != chosen:
            self._learn(request.body, decision.target_model, served)

    def overheard(self, outcome: Outcome) -> None:
        """Nothing was charged, so there is nothing to end."""

    # Candidates

    def _unavailable(self, message: str = _NO_CANDIDATES, reason: Reason = Reason.NO_ENDPOINTS) -> Rejection:
        retry_after = self._settings.retry_after_seconds
        return rejection("ServiceUnavailable", message, reason, REJECTED_NO_ENDPOINTS, retry_after)

    def _turned_away(self, snapshot: PoolSnapshot | None, now: float) -> None:
        """Have a pool without ready endpoints scaled up; requests without a body, as probes are, do not have it so."""
        if snapshot is not None and not snapshot.columns.ready.any():
            self._accounts.turn_away(self._pool, now)

    def _anywhere(self, request: InferenceRequest, snapshot: PoolSnapshot | None, now: float) -> Decision | Rejection:
        """A request without a body goes to any ready endpoint, to one with fresh metrics if there is one."""
        if snapshot is None:
            return self._unavailable()
        self._follow_endpoints(snapshot)
        for allowed in (snapshot.candidates(now), ready(snapshot)):
            rows = hinted(request.subset, snapshot, allowed)
            if len(rows):
                chosen = snapshot.endpoints[int(rows[self._rng.randrange(len(rows))])].authority
                _count(self.stats.picks, chosen)
                record = PickRecord(request.request_id, "", snapshot.revision, now, (chosen,), len(rows))
                self.records.append(record)
                return Decision((chosen,), "", snapshot.revision, candidates=len(rows), pool=self._pool, record=record)
        return self._missing(request, snapshot, now)

    def _missing(self, request: InferenceRequest, snapshot: PoolSnapshot, now: float) -> Rejection:
        """The refusal that says whether there is no endpoint, none whose load is known, or none that is awake."""
        why = why_none(request.subset, snapshot, now)
        return self._unavailable() if why is None else self._unavailable(f"{_NO_CANDIDATES}: {why[1]}", why[0])

    def _of_unknown_load(self, request: InferenceRequest, snapshot: PoolSnapshot, now: float) -> IntArray:
        """The rows that are served although their load is unknown."""
        if self._settings.unknown_load != "serve":
            return NOBODY
        return of_unknown_load(request.subset, snapshot, now)

    def _follow(self, snapshot: PoolSnapshot, now: float) -> None:
        """Bring what is kept per endpoint in line with the snapshot's endpoints."""
        columns = snapshot.columns
        self._index.sync(snapshot.endpoints, columns.block_size_tokens, columns.num_blocks, columns.lives)
        self._memory.sync(snapshot.endpoints, columns.lives)
        self._outputs.refresh(snapshot, now)
        self._follow_endpoints(snapshot)

    def _follow_endpoints(self, snapshot: PoolSnapshot) -> None:
        """Forget the counts of endpoints that left, also of one whose address another has now."""
        if snapshot.endpoints is not self._endpoints:
            self._endpoints = snapshot.endpoints
            names = {endpoint.authority: str(endpoint.key) for endpoint in snapshot.endpoints}
            before, stats = self.stats.names, self.stats
            stats.picks = {each: count for each, count in stats.picks.items() if before.get(each) == names.get(each)}
            stats.names = names

    # Decision

    def _decide(
        self, request: InferenceRequest, body: ParsedBody, snapshot: PoolSnapshot | None, now: float
    ) -> Decision | Rejection:
        model = body.model
        if body.api != "opaque" and body.framing is None:
            model = target_model(model, request.headers, self._rewrites, self._rng)
        # The client's own fault comes first: it stays one when endpoints are back.
        if body.needs_model and not model:
            return rejection("BadRequest", "model not found in request body", Reason.MISSING_MODEL)
        if snapshot is None:
            return self._unavailable()
        self._follow(snapshot, now)
        rows = hinted(request.subset, snapshot, snapshot.candidates(now))
        blind = not len(rows)
        if blind and not len(rows := self._of_unknown_load(request, snapshot, now)):
            return self._missing(request, snapshot, now)
        if self._settings.unknown_models == "reject" and model and not serves(snapshot, model, self._settings.lists):
            message = "the model does not exist: no endpoint of the pool serves it"
            return rejection("NotFound", message, Reason.UNKNOWN_MODEL)
        priority = self._priorities.priority(request.headers, body.model)
        shed = admit(priority, snapshot, now, self._settings)
        if shed is not None:
            return shed
        chains, prefix = self._cached(body, model)
        output_tokens = 0.0 if body.api in _NO_OUTPUT else self._outputs.expect(model, body.max_output_tokens)
        facts = RequestFacts(model, request.headers, float(body.prompt_tokens), output_tokens, priority, body.media)
        context = self._context(facts, snapshot, prefix, now, blind=blind)
        selection = self._schedule(context, rows)
        if isinstance(selection, Rejection) and not blind and selection.reason is not Reason.SATURATED:
            # No endpoint whose load is known will do for this request: one whose load is not may.
            others = self._of_unknown_load(request, snapshot, now)
            if len(others):
                context = self._context(facts, snapshot, prefix, now, blind=True)
                selection = self._schedule(context, others)
        if isinstance(selection, Rejection):
            return selection
        return self._dispatch(request, context, selection, chains, snapshot)

    def _context(
        self, facts: RequestFacts, snapshot: PoolSnapshot, prefix: PrefixMatch, now: float, *, blind: bool
    ) -> SchedulingContext:
        seen = self._unseen.of(snapshot) if blind else snapshot
        predicting = self._config.predicting
        return SchedulingContext(facts, seen, prefix, now, self._rng, self._memory, predicting, blind=blind)

    def _schedule(self, context: SchedulingContext, rows: IntArray) -> Selection | Rejection:
        config, retry_after = self._config, self._settings.retry_after_seconds
        if config.screeners and not len(rows := screened(config.screeners, context, rows)):
            return self._unavailable(_SCREENED_OUT, Reason.SCREENED_OUT)
        if config.admitters and not admitted(config.admitters, context, rows):
            return shed_for_load(retry_after)
        selection = config.scheduler.schedule(context, rows)
        if selection is None:
            message = "no endpoints available for the given request"
            return rejection("ResourceExhausted", message, Reason.FILTERED_OUT, retry_after_seconds=retry_after)
        return selection

    def _dispatch(
        self,
        request: InferenceRequest,
        context: SchedulingContext,
        selection: Selection,
        chains: PromptChains,
        observed: PoolSnapshot,
    ) -> Decision:
        """Charge and remember the choice, and put it into words for the exchange.

        The charge comes last: nothing may fail between it and the decision whose end releases it.
        """
        snapshot, facts, prefix, now = context.snapshot, context.request, context.prefix, context.now
        row = selection.chosen[0]
        matched = float(prefix.matched[row]) * prefix.tokens_each
        tokens = facts.prompt_tokens - matched + facts.output_tokens
        self._index.record(chains, row)
        self.stats.prefix_blocks = len(self._index)
        if not matched and not np.count_nonzero(prefix.matched[selection.rows]):
            self._memory.served_cold(row)
        if facts.media and self._config.media_items:
            self._memory.sent_media(row, facts.media, self._config.media_items)
        endpoints = snapshot.state.endpoints
        destinations = tuple([endpoints[each].authority for each in selection.chosen])
        _count(self.stats.picks, destinations[0])
        self.stats.unknown_load += context.blind
        self.stats.prompt_tokens += facts.prompt_tokens
        self.stats.matched_tokens += matched
        scores = NO_SCORES
        if self._settings.emit_scores:
            pairs = zip(selection.rows.tolist(), selection.scores.tolist(), strict=True)
            scores = {endpoints[each].authority: score for each, score in pairs}
        record = _recorded(request.request_id, context, selection, destinations, tokens, scores)
        self.records.append(record)
        stamped = _stamped(self._config.stamps, endpoints[row])
        promise = self._promise(context, row, destinations[0])
        decision = Decision(
            destinations,
            facts.target_model,
            record.revision,
            self._accounts.charge(self._pool, row, accounted(observed, row, facts.target_model), tokens, now),
            scores,
            facts.priority,
            len(selection.rows),
            matched / prefix.total_tokens if prefix.total else None,
            self._pool,
            promise,
            stamped,
            record,
        )
        if promise is not None:
            self._memory.keep(promise)
        return decision

    def _promise(self, context: SchedulingContext, row: int, authority: str) -> Promise | None:
        """What the request wants of the endpoint's time per output token, where stages look at it.

        Nothing is promised that is already predicted to be missed: a client that asks for the impossible must not keep
        endpoints from others.
        """
        prediction: Prediction | None = context.derived.get(Prediction)
        if prediction is None or not context.predicting.streaming or not context.request.output_tokens:
            return None
        wanted = Objectives.of(context.request.headers).tpot
        return Promise(authority, wanted) if wanted and not prediction.tpot_headroom[row] < 0 else None

    def _promised_by(self, authority: str, promise: Promise | None, snapshot: PoolSnapshot) -> Promise | None:
        """`promise`, kept by another endpoint from now on."""
        if promise is None:
            return None
        self._memory.over(promise)
        self._memory.sync(snapshot.endpoints)
        moved = Promise(authority, promise.seconds_per_token)
        self._memory.keep(moved)
        return moved

    # Prefixes

    def _chains(self, body: ParsedBody, model: str) -> PromptChains:
        # The length keeps a model and a salt from being read as another model and another salt.
        return self._index.chains(f"{len(model)}:{model}{body.cache_salt}", body.prompt) if body.prompt else NO_CHAINS

    def _cached(self, body: ParsedBody, model: str) -> tuple[PromptChains, PrefixMatch]:
        """The prompt's chains and what of it each endpoint holds, in the request's own measure of tokens."""
        chains = self._chains(body, model)
        matched = self._index.match(chains)
        matchable = chains.matchable_bytes
        if not matchable:
            return chains, PrefixMatch(matched, 0.0)
        return chains, PrefixMatch(matched, float(matchable), body.prompt_tokens / len(body.prompt))

    def _learn(self, body: ParsedBody, model: str, served: str) -> None:
        """The gateway sent the request elsewhere than chosen: the prefix is cached there."""
        snapshot = self._snapshots.snapshot(self._pool)
        # The index speaks of the endpoints it last followed; another set is learned from the next request.
        row = snapshot.state.index.get(served) if snapshot and snapshot.endpoints is self._endpoints else None
        if row is not None:
            self._index.record(self._chains(body, model), row)


def _recorded(
    request_id: str,
    context: SchedulingContext,
    selection: Selection,
    destinations: tuple[str, ...],
    tokens: float,
    scores: Mapping[str, float],
) -> PickRecord:
    """What was decided and on which data."""
    snapshot, row = context.snapshot, selection.chosen[0]
    return PickRecord(
        request_id,
        context.request.target_model,
        snapshot.revision,
        context.now,
        destinations,
        len(selection.rows),
        None if context.blind else context.now - float(snapshot.columns.observed_at[row]),
        selection.score_of(row),
        tokens,
        scores,
    )


def _made_tokens(request: InferenceRequest, outcome: Outcome) -> bool:
    """Whether the answer is proof that an engine did something its metrics must show."""
    succeeded = outcome.kind == "completed" and outcome.status is not None and 200 <= outcome.status < 300
    return succeeded and request.body is not None and request.body.generates


def _stamped(stamps: tuple[tuple[str, str], ...], endpoint: Endpoint) -> tuple[tuple[str, bytes], ...]:
    """The headers of `stamps` with the labels of `endpoint` that they carry; those it has not are left out."""
    found = [(header, endpoint.labels.get(label, "").encode()) for header, label in stamps]
    return tuple([each for each in found if each[1]])
