"""Scorers of in-flight tokens: the work dispatched and not finished, with no scrape between it and the decision."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.scorers.load import lower_is_better

Scaling = Literal["request", "ratio", "range"]
SCALINGS: tuple[Scaling, ...] = ("request", "ratio", "range")


@dataclass(frozen=True, slots=True)
class TokenLoadScorer:
    """Room below a fixed number of tokens: ``1 - min(1, (in flight + this request's uncached) / threshold)``."""

    queue_threshold_tokens: float = 4_194_304.0

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """Free share of the threshold."""
        load = context.snapshot.in_flight_tokens[rows] + context.uncached_tokens(rows)
        free: FloatArray = 1.0 - np.minimum(1.0, load / self.queue_threshold_tokens)
        return free


@dataclass(frozen=True, slots=True)
class InFlightTokensScorer:
    """The least work ahead and added: in-flight tokens + uncached prompt tokens + expected output tokens.

    The best candidate scores 1. How the others compare with it is `scaling`:
    ``request`` (default): ``own / (own + excess)``, where `own` is the whole request in tokens and `excess` how far the
    candidate is behind the best: one such request behind is 0.5. It neither magnifies small differences between idle
    candidates nor flattens them under load, and one outlier does not compress the rest.
    ``ratio``: best cost ÷ cost. ``range``: spread over the candidates' range.
    """

    scaling: Scaling = "request"

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 for the cheapest candidate, falling with the cost of the others."""
        request = context.request
        cost = context.snapshot.in_flight_tokens[rows] + context.uncached_tokens(rows) + request.output_tokens
        if self.scaling == "range":
            return lower_is_better(cost)
        least = np.minimum.reduce(cost)
        # One token at the least keeps both quotients defined for an empty request on an idle pool.
        if self.scaling == "ratio":
            share: FloatArray = max(1.0, least) / np.maximum(1.0, cost)
            return share
        own = max(1.0, request.prompt_tokens + request.output_tokens)
        behind: FloatArray = own / (own + (cost - least))
        return behind


@dataclass(frozen=True, slots=True)
class LmetricScorer:
    """LMETRIC (arXiv 2603.15202): least ``(tokens queued + this request's uncached) · (requests in the batch + 1)``.

    The product prices a prefill by those it delays and needs no weight. Tokens and requests in flight stand for the
    queue and the batch: they count the moment they are dispatched, where scraped ones send a whole interval's requests
    to one endpoint. Costs are spread over the candidates' range.
    """

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 for the least product."""
        snapshot = context.snapshot
        tokens = snapshot.in_flight_tokens[rows] + context.uncached_tokens(rows)
        return lower_is_better(tokens * (snapshot.in_flight_requests[rows] + 1.0))
