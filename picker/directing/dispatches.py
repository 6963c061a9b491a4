"""The life of what a director dispatched: charged, remembered, moved where the gateway retries, and ended."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from infscale.endpoint import DiscoveryState, Endpoint, ObjectKey
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director_books import DirectorSettings, DirectorStats
from picker.directing.output_length import OutputLengths
from picker.directing.remote_books import RemoteBooks, places_of
from picker.directing.served_models import accounted
from picker.directing.session_books import NO_OTHERS, PoolSessions
from picker.epp_config.loader import PickerConfig
from picker.pick_record import NO_SCORES, PickEnd, PickRecord
from picker.recall import Recall
from picker.request import Decision, GpuCost, InferenceRequest, Outcome, ParsedBody, Promise, Rejection
from picker.scheduling.costs.gpu_costs import gpu_cost
from picker.scheduling.costs.prefill_clock import Work
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.filters.eligibility import ROLE_LABEL
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PrefixMatch, RequestFacts, SchedulingContext
from picker.scheduling.prediction import PREDICTION, Objectives
from picker.scheduling.prefix_index import NO_CHAINS, PrefixIndex, PromptChains
from picker.scheduling.profile import Selection

if TYPE_CHECKING:
    from random import Random

_FAILURES: Final = 2
_FAILING_SECONDS: Final = 5.0
"""An endpoint that failed so often in a row is not asked for so long where another pool can serve instead."""


def count(counts: dict[str, int], key: str) -> None:
    """One more of `key`."""
    counts[key] = counts.get(key, 0) + 1


class Dispatches:
    """What one pool's director dispatched, and what it remembers of it: prefixes, endpoints, lengths of answers."""

    def __init__(
        self, pool: ObjectKey, config: PickerConfig, store: MetricStore, settings: DirectorSettings, rng: "Random"
    ) -> None:
        self._pool = pool
        self._config = config
        self._store = store
        self._settings = settings
        self.outputs = OutputLengths(settings.output_tokens)
        self._endpoints: tuple[Endpoint, ...] = ()
        self._pools = 1
        self.index = PrefixIndex(config.prefix)
        self.memory = PoolMemory()
        self.stats = DirectorStats()
        self._remote = RemoteBooks(pool, store, self.memory)
        self.sessions = PoolSessions(pool, self.stats, rng, settings.wall)
        self.sessions.configure(config.sessions, config.session_keys)
        self.records: deque[PickRecord] = deque(maxlen=settings.records)

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery: which endpoints there are, and how many pools share what prompts may take."""
        self.memory.discovered = state.endpoints
        self._pools = len(state.pools)
        self.index.share_with(self._pools)

    def configure(self, config: PickerConfig) -> None:
        """Go by `config` from now on; what is known of caches stays unless its settings change."""
        if config.prefix != self._config.prefix:
            self.index = PrefixIndex(config.prefix)
            self.index.share_with(self._pools)
        self.sessions.configure(config.sessions, config.session_keys)
        self._config = config

    def follow(self, snapshot: PoolSnapshot, now: float) -> None:
        """Bring what is kept per endpoint in line with the snapshot's endpoints."""
        columns = snapshot.columns
        self.index.sync(snapshot.endpoints, columns.block_size_tokens, columns.num_blocks, columns.lives)
        self.memory.sync(snapshot.endpoints, columns.lives)
        self.outputs.refresh(snapshot, now)
        if self._clocked:
            self.memory.clock.observe(snapshot, step_costs(snapshot))
            self.memory.observe(snapshot)
            self.memory.adapters.follow(snapshot)
        self.follow_endpoints(snapshot)

    def follow_endpoints(self, snapshot: PoolSnapshot) -> None:
        """Forget the counts of endpoints that left, also of one whose address another has now."""
        if snapshot.endpoints is not self._endpoints:
            self._endpoints = snapshot.endpoints
            names = {endpoint.authority: str(endpoint.key) for endpoint in snapshot.endpoints}
            before, stats = self.stats.names, self.stats
            stats.picks = {each: count for each, count in stats.picks.items() if before.get(each) == names.get(each)}
            stats.names = names

    def answering(self, snapshot: PoolSnapshot, rows: IntArray, now: float) -> bool:
        """Whether one of `rows`, at least one, has not failed to answer again and again a moment ago."""
        self.memory.sync(snapshot.endpoints, snapshot.columns.lives)
        failing = self.memory.out(rows, _FAILURES, now - _FAILING_SECONDS)
        return failing is None or not bool(failing.all())

    def cached(self, body: ParsedBody, model: str) -> tuple[PromptChains, PrefixMatch]:
        """The prompt's chains and what of it each endpoint holds, in the request's own measure of tokens."""
        chains = self._chains(body, model)
        matched = self.index.match(chains)
        matchable = chains.matchable_bytes
        if not matchable:
            return chains, PrefixMatch(matched, 0.0)
        return chains, PrefixMatch(matched, float(matchable), body.prompt_tokens / len(body.prompt))

    def begin(
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
        self.index.record(chains, row)
        self.stats.prefix_blocks = len(self.index)
        if not matched and not np.count_nonzero(prefix.matched[selection.rows]):
            self.memory.served_cold(row)
        elsewhere, media_items = selection.remote, self._config.media_items
        encoded = elsewhere is not None and self._remote.remember(elsewhere, context, chains, self.index, media_items)
        if facts.media and media_items and not encoded:
            self.memory.sent_media(row, facts.media, media_items)
        endpoints = snapshot.state.endpoints
        self.stats.unknown_load += context.blind
        self.stats.prompt_tokens += facts.prompt_tokens
        self.stats.matched_tokens += matched
        scores = self._scores(selection, endpoints)
        record = self._recorded(request, context, selection, tokens, scores)
        destinations = record.destinations
        count(self.stats.picks, destinations[0])
        told, claims = self.sessions.placed(context, selection)
        record.sessions = claims
        promise = self._promise(context, row, destinations[0])
        prefilled = elsewhere is not None and any([each.stage == "prefill" for each in elsewhere.selections])
        work = self._work(facts, observed, row, facts.prompt_tokens - matched, prefilled=prefilled)
        remote, remote_seconds = None, 0.0
        if elsewhere is not None:
            remote, remote_seconds = self._remote.charged(elsewhere, context, observed, clocked=self._clocked)
            record.remote = remote.stages
        charge = self._store.charge(self._pool, row, accounted(observed, row, facts.target_model), tokens, now)
        if work is not None:
            self.memory.dispatched(row, charge.number, work, now)
        decision = Decision(
            destinations,
            facts.target_model,
            record.revision,
            charge,
            scores,
            facts.priority,
            len(selection.rows),
            matched / prefix.total_tokens if prefix.total else None,
            self._pool,
            promise,
            _stamped(self._config.stamps, endpoints[row]) + told,
            record,
            claims,
            None if work is None else self._cost(facts, observed, row, work.seconds + remote_seconds),
            self._recall(facts, observed, row, matched),
            remote,
            share=facts.share,
        )
        if promise is not None:
            self.memory.keep(promise)
        return decision

    def refused(self, request: InferenceRequest, context: SchedulingContext, rejection: Rejection) -> PickRecord:
        """What is kept of a decision in which stages left nothing to choose; it is not among the last choices."""
        model, revision = context.request.target_model, context.snapshot.revision
        record = PickRecord(request.request_id, model, revision, context.now, (), 0)
        record.refused, record.refused_status = rejection.reason.value, rejection.status
        return record

    def begin_anywhere(
        self, request: InferenceRequest, snapshot: PoolSnapshot, row: int, rows: int, now: float
    ) -> Decision:
        """Remember the choice for a request without a body, out of so many rows: nothing is charged for it."""
        chosen = snapshot.endpoints[row].authority
        count(self.stats.picks, chosen)
        record = PickRecord(request.request_id, "", snapshot.revision, now, (chosen,), rows)
        self.records.append(record)
        remote = self._config.scheduler.no_remote
        return Decision(
            (chosen,), "", snapshot.revision, candidates=rows, pool=self._pool, record=record, remote=remote
        )

    def response_started(
        self, decision: Decision, status: int | None, served: str | None, snapshot: PoolSnapshot | None, now: float
    ) -> Decision:
        """Response headers came back; move the charge to `served` where the gateway went on to another endpoint."""
        count(self.stats.responses, "unknown" if status is None else f"{status // 100}xx")
        if decision.remote is not None and decision.remote.charges:
            self._remote.over(decision.remote, now, answered=status is not None and 200 <= status < 300)
        charge = decision.charge
        if charge is None or served is None or served == decision.destinations[0]:
            return decision
        row = None if snapshot is None else snapshot.state.index.get(served)
        if snapshot is None or row is None:
            return replace(decision, response_headers=()) if decision.response_headers else decision
        others = NO_OTHERS if decision.remote is None else places_of(decision.remote, snapshot)
        told, claims = self.sessions.rerouted(decision.sessions, snapshot.endpoints[row], now, others)
        if decision.record is not None:
            decision.record.sessions = claims
        headers = _stamped(self._config.stamps, snapshot.endpoints[row]) + told
        self._store.release(charge, answered=False)
        moved = self._store.charge(self._pool, row, charge.model, charge.tokens, now)
        self.memory.sync(snapshot.endpoints)
        self.memory.moved(charge.number, moved.number, row, now)
        promise = self._promised_by(served, decision.promise, snapshot)
        return replace(decision, charge=moved, promise=promise, response_headers=headers, sessions=claims)

    def finished(
        self, request: InferenceRequest, decision: Decision, outcome: Outcome, snapshot: PoolSnapshot | None, now: float
    ) -> None:
        """The exchange of `decision` is over: release its charge and learn from how it went."""
        count(self.stats.outcomes, outcome.kind)
        _tell(decision, outcome)
        if decision.remote is not None and decision.remote.charges:
            self._remote.over(decision.remote, now, answered=False)
        chosen = decision.destinations[0]
        served = outcome.served or chosen
        if decision.charge is not None:
            answered = served == chosen and _made_tokens(request, outcome)
            self._store.release(decision.charge, answered=answered)
            self.memory.ended(decision.charge.number, now, answered=answered)
        if decision.promise is not None:
            self.memory.over(decision.promise)
        if served != chosen and served in self.memory:
            self.memory.answered(chosen, failed=True, now=now)
        if outcome.failed is not None:
            self.memory.answered(served, failed=outcome.failed, now=now)
        if outcome.unread:
            self.stats.unread_answers += 1
        if request.body is None:
            return
        if outcome.completion_tokens is not None:
            self.outputs.observe(decision.target_model, outcome.completion_tokens)
        if served != chosen:
            self._learn(request.body, decision.target_model, served, snapshot)

    def _scores(self, selection: Selection, endpoints: tuple[Endpoint, ...]) -> Mapping[str, float]:
        """The scores of all candidates, for the gateway, where it is to have them."""
        if not self._settings.emit_scores:
            return NO_SCORES
        pairs = zip(selection.rows.tolist(), selection.scores.tolist(), strict=True)
        return {endpoints[each].authority: score for each, score in pairs}

    def _recorded(
        self,
        request: InferenceRequest,
        context: SchedulingContext,
        selection: Selection,
        tokens: float,
        scores: Mapping[str, float],
    ) -> PickRecord:
        """What is shown of the choice later, kept among the last ones."""
        snapshot, row, now = context.snapshot, selection.chosen[0], context.now
        record = PickRecord(
            request.request_id,
            context.request.target_model,
            snapshot.revision,
            now,
            tuple([snapshot.endpoints[each].authority for each in selection.chosen]),
            len(selection.rows),
            None if context.blind else now - float(snapshot.columns.observed_at[row]),
            selection.score_of(row),
            tokens,
            scores,
        )
        self.records.append(record)
        return record

    def _work(
        self, facts: RequestFacts, observed: PoolSnapshot, row: int, uncached_tokens: float, *, prefilled: bool
    ) -> Work | None:
        """What a request with so much uncached is for the endpoint of `row`; None where no stage asks for it.

        `prefilled`: it is computed elsewhere, but for its last token.
        """
        if not self._clocked:
            return None
        # At least one token is computed, whatever is cached.
        uncached_tokens = max(1.0, uncached_tokens)
        kv_tokens, batch = float(self.memory.clock.context_tokens[row]), float(observed.in_flight_requests[row])
        computed_tokens = 1.0 if prefilled else uncached_tokens
        seconds = step_costs(observed).prefill_seconds(row, computed_tokens, kv_tokens, batch)
        half = 0.5 * facts.output_tokens
        return Work(
            seconds,
            facts.prompt_tokens + half,
            uncached_tokens + half,
            matched_tokens=max(0.0, facts.prompt_tokens - uncached_tokens),
            answer_tokens=half,
            sheddable=facts.priority < 0,
        )

    def _cost(self, facts: RequestFacts, observed: PoolSnapshot, row: int, prefill_seconds: float) -> GpuCost:
        """What the request takes of the endpoint of `row`, which has its charge by now."""
        context_tokens = facts.prompt_tokens + 0.5 * facts.output_tokens
        batch = max(1.0, float(observed.in_flight_requests[row]) + 1.0)
        return gpu_cost(step_costs(observed), row, prefill_seconds, context_tokens, facts.output_tokens, batch)

    def _recall(self, facts: RequestFacts, observed: PoolSnapshot, row: int, matched_tokens: float) -> Recall | None:
        """By what the request can be taken back, where it may: it is sheddable, and others may wait for its room."""
        if facts.priority >= 0 or not self._settings.holds:
            return None
        cached_seconds = float(step_costs(observed).per_prefill_token[row]) * matched_tokens
        # An endpoint that does nothing but decode has its prompts computed elsewhere.
        return Recall(cached_seconds, observed.endpoints[row].labels.get(ROLE_LABEL) == "decode")

    @property
    def _clocked(self) -> bool:
        return self._config.clocked or (self._settings.holds and self._config.flow is None)

    def _promise(self, context: SchedulingContext, row: int, authority: str) -> Promise | None:
        """What the request wants of the endpoint's time per output token, where stages look at it.

        Nothing is promised that is already predicted to be missed: a client that asks for the impossible must not keep
        endpoints from others.
        """
        prediction = context.derived.get(PREDICTION)
        if prediction is None or not context.predicting.streaming or not context.request.output_tokens:
            return None
        wanted = Objectives.of(context.request.headers).tpot
        return Promise(authority, wanted) if wanted and not prediction.tpot_headroom[row] < 0 else None

    def _promised_by(self, authority: str, promise: Promise | None, snapshot: PoolSnapshot) -> Promise | None:
        """`promise`, kept by another endpoint from now on."""
        if promise is None:
            return None
        self.memory.over(promise)
        self.memory.sync(snapshot.endpoints)
        moved = Promise(authority, promise.seconds_per_token)
        self.memory.keep(moved)
        return moved

    def _chains(self, body: ParsedBody, model: str) -> PromptChains:
        # The length keeps a model and a salt from being read as another model and another salt.
        return self.index.chains(f"{len(model)}:{model}{body.cache_salt}", body.prompt) if body.prompt else NO_CHAINS

    def _learn(self, body: ParsedBody, model: str, served: str, snapshot: PoolSnapshot | None) -> None:
        """The gateway sent the request elsewhere than chosen: the prefix is cached there."""
        # The index speaks of the endpoints it last followed; another set is learned from the next request.
        row = snapshot.state.index.get(served) if snapshot and snapshot.endpoints is self._endpoints else None
        if row is not None:
            self.index.record(self._chains(body, model), row)


def _made_tokens(request: InferenceRequest, outcome: Outcome) -> bool:
    """Whether the answer is proof that an engine did something its metrics must show."""
    succeeded = outcome.kind == "completed" and outcome.status is not None and 200 <= outcome.status < 300
    return succeeded and request.body is not None and request.body.generates


def _tell(decision: Decision, outcome: Outcome) -> None:
    """Put into the record of a decision how it went."""
    record = decision.record
    if record is not None:
        record.end = PickEnd(
            outcome.kind,
            outcome.status,
            outcome.served,
            outcome.first_byte_seconds,
            outcome.duration_seconds,
            outcome.prompt_tokens,
            outcome.completion_tokens,
            outcome.cached_tokens,
            outcome.streamed,
            None if decision.recall is None else decision.recall.evicted_for,
        )


def _stamped(stamps: tuple[tuple[str, str], ...], endpoint: Endpoint) -> tuple[tuple[str, bytes], ...]:
    """The headers of `stamps` with the labels of `endpoint` that they carry; those it has not are left out."""
    found = [(header, endpoint.labels.get(label, "").encode()) for header, label in stamps]
    return tuple([each for each in found if each[1]])
