"""The scorer of marginal costs: the seconds of delay that a placement causes, to its request and to all others."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from infscale.latency.predictions import USUAL_BUDGET_TOKENS
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray, at_rows
from picker.scheduling.costs.adapter_slots import adapter_seconds
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.plugin import SchedulingContext

_OF_A_STEP: Final = 0.5
"""On average, a request that finds a step under way waits for half of it."""


@dataclass(frozen=True, slots=True)
class MarginalCostScorer:
    """The least delay, in seconds, of this request and of all that it meets (`cost_seconds`).

    The best candidate scores 1, one that costs `scale_seconds` more 0.5: ``scale / (scale + cost - least cost)``, so
    that seconds count the same whatever the candidates are, beside other scorers too. `recompute_weight`,
    `decode_weight` and `batch_weight` price the delay of others.
    """

    recompute_weight: float = 2.0
    decode_weight: float = 0.02
    batch_weight: float = 6.0
    scale_seconds: float = 1.0

    @property
    def of_clock(self) -> bool:
        """It asks the clock; a class attribute of a compiled dataclass would be in the way of its making."""
        return True

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 for the cheapest candidate, falling with the seconds by which the others cost more."""
        cost = self.cost_seconds(context, rows)
        share: FloatArray = self.scale_seconds / (cost - (np.minimum.reduce(cost) - self.scale_seconds))
        return share

    def cost_seconds(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """What each candidate would cost. Steps are those of `step_costs`.

        With `u` uncached tokens, an expected answer of `L` tokens, `N` requests in flight and steps of `itl` seconds:

        * until the first token: what is pending by the clock, half a step, and the prefill ``b·u + u/budget·itl``;
        * until there is room in the KV cache: as answers end evenly over ``L·itl``, the share of what is held there
          that has to go, of that time;
        * until there is a slot for its LoRA adapter, which takes an answer where all are taken (`adapter_seconds`);
        * ``recompute_weight · b·u`` at the pool's mean speed: what is computed takes the place of what is cached, and
          will be asked for again;
        * ``decode_weight ·`` (``b·u·N``: the prefill holds up those that decode; ``L·itl``: how fast this one will;
          ``L·(d + c·context)·N``: by how much it slows the others);
        * ``batch_weight · b·L·N``: what keeps batches of one size.
        """
        request, clock, in_flight = context.request, context.memory.clock, context.snapshot.in_flight_requests
        costs = step_costs(context.snapshot)
        # All rows at first: which of them are candidates is looked up once. Terms are gathered so that there are few
        # (those in `u`, in the step, in the answer's length and `N`), and added up in place.
        output, decode = request.output_tokens, self.decode_weight
        delay = decode * output
        uncached = np.maximum(request.prompt_tokens - context.prefix.matched_tokens, 1.0)
        cost: FloatArray = decode * in_flight
        cost += 1.0
        cost *= costs.per_prefill_token
        cost += self.recompute_weight * costs.mean_per_prefill_token
        cost *= uncached
        steps = uncached / USUAL_BUDGET_TOKENS
        steps += _OF_A_STEP + delay
        held = clock.cache_tokens
        missing = held - clock.capacity_tokens
        missing += uncached
        if np.maximum.reduce(missing) > 0.0:
            steps += output * (np.maximum(missing, 0.0) / np.maximum(held, 1.0))
        batch = costs.decode_seconds(clock.context_tokens, in_flight)
        steps *= batch
        cost += steps
        context_tokens = request.prompt_tokens + 0.5 * output
        for_others = costs.seconds(self.batch_weight * output, delay * context_tokens, delay)
        for_others *= in_flight
        cost += for_others
        cost += clock.pending_seconds(context.now)
        known = context.memory.adapters
        if request.target_model in known:
            cost += adapter_seconds(context.snapshot, known.names, request.target_model, output * batch)
        return at_rows(cost, rows)
