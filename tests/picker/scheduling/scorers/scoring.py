"""Scores of a pool in the making."""

from picker.scheduling.plugin import RequestFacts
from picker.scheduling.stages import Scorer
from tests.fakes.pools import NO_HEADERS, FakePool, Numbers, context


def facts(prompt: float = 0.0, output: float = 0.0, model: str = "model") -> RequestFacts:
    """What is known of a request."""
    return RequestFacts(model, NO_HEADERS, prompt, output)


def scores(
    scorer: Scorer, pool: FakePool, matched: Numbers = (), total: float = 0.0, request: RequestFacts | None = None
) -> list[float]:
    """What `scorer` says of each endpoint; `matched` of the prompt's `total` tokens are cached there."""
    found = scorer.score(context(pool, matched=matched, total_tokens=total, facts=request), pool.rows)
    return [float(score) for score in found]
