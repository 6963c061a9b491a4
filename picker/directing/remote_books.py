"""What a pool remembers of stages that are done elsewhere than at a request's destination: caches, charges, work."""

import numpy as np

from infscale.endpoint import Endpoint, ObjectKey
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.served_models import accounted
from picker.remote_work import RemoteWork
from picker.scheduling.costs.prefill_clock import Work
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from picker.scheduling.prefix_index import PrefixIndex, PromptChains
from picker.scheduling.profile import RemoteSelection, RemoteSelections


def places_of(work: RemoteWork, snapshot: PoolSnapshot) -> dict[str, Endpoint | None]:
    """The endpoint of each stage by the profile that chose it, None: it has left."""
    rows = {each.profile: snapshot.state.index.get(each.authorities[0]) for each in work.stages}
    return {profile: None if row is None else snapshot.endpoints[row] for profile, row in rows.items()}


class RemoteBooks:
    """Books the stages of one pool's requests that are done elsewhere, from their choice until the answer begins."""

    def __init__(self, pool: ObjectKey, store: MetricStore, memory: PoolMemory) -> None:
        self._pool = pool
        self._store = store
        self._memory = memory

    def remember(
        self,
        remote: RemoteSelections,
        context: SchedulingContext,
        chains: PromptChains,
        index: PrefixIndex,
        media_items: int,
    ) -> bool:
        """What the endpoints of the stages have cached from now on; whether media are encoded elsewhere.

        So many `media_items` are remembered of each endpoint.
        """
        encoded = False
        for each in remote.selections:
            if each.stage == "encode":
                encoded = True
                # Which of several encodes which of the media is for the sidecar to say.
                for row in each.selection.chosen if media_items and context.request.media else ():
                    self._memory.sent_media(row, context.request.media, media_items)
                continue
            row = each.selection.chosen[0]
            index.record(chains, row)
            if not np.count_nonzero(context.prefix.matched[each.selection.rows]):
                self._memory.served_cold(row)
        return encoded

    def charged(
        self, remote: RemoteSelections, context: SchedulingContext, observed: PoolSnapshot, *, clocked: bool
    ) -> tuple[RemoteWork, float]:
        """The stages with their charges, and the seconds that the prefill takes elsewhere; 0: it is not, or not known.

        A prefill is charged what of the prompt is not cached there. Encoding is charged a request without tokens: what
        media take of an encoder is not known.
        """
        charges, seconds = [], 0.0
        for each in remote.selections:
            row, tokens = each.selection.chosen[0], _tokens(each, context)
            model = accounted(observed, row, context.request.target_model)
            charge = self._store.charge(self._pool, row, model, tokens, context.now)
            charges.append(charge)
            if clocked and each.stage == "prefill":
                work = self._work(context.request, observed, row, tokens)
                self._memory.dispatched(row, charge.number, work, context.now)
                seconds = work.seconds
        stages = remote.stages(observed.endpoints)
        return RemoteWork(remote.plugin_name, remote.plugin_type, stages, tuple(charges)), seconds

    def over(self, work: RemoteWork, now: float, *, answered: bool) -> None:
        """The stages are done, or will not be: release what they were charged. Harmless when repeated.

        `answered`: the answer has begun, so that the prompt is computed. That its endpoint computed it is not proven: a
        sidecar whose prefill fails has it done where it is.
        """
        for charge in work.charges:
            self._store.release(charge, answered=False)
            self._memory.ended(charge.number, now, answered=answered)

    def _work(self, facts: RequestFacts, observed: PoolSnapshot, row: int, tokens: float) -> Work:
        """A prefill of so many uncached tokens as the clock of its endpoint has it: no token of the answer is made."""
        uncached = max(1.0, tokens)
        context_tokens, batch = float(self._memory.clock.context_tokens[row]), float(observed.in_flight_requests[row])
        return Work(
            step_costs(observed).prefill_seconds(row, uncached, context_tokens, batch),
            facts.prompt_tokens,
            uncached,
            matched_tokens=max(0.0, facts.prompt_tokens - uncached),
            sheddable=facts.priority < 0,
        )


def _tokens(each: RemoteSelection, context: SchedulingContext) -> float:
    if each.stage == "encode":
        return 0.0
    matched = float(context.prefix.matched[each.selection.chosen[0]]) * context.prefix.tokens_each
    return context.request.prompt_tokens - matched
