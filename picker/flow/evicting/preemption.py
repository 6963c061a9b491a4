"""Which requests in flight go for one of a higher band that waits: the choice alone, nothing is taken back here.

A request lacks room at an endpoint in up to three measures (`Room`); each request that runs there gives back some of
each if it goes. What going costs is its *regret*, in GPU seconds:

    regret = (P + C + O) · (made + left) / left

P: what of its prompt was computed. C: what its endpoint would take to compute again what it had cached of the prompt,
once the prompt has begun. O: the tokens that it has made, at their share in the steps. All that is done again when the
client comes back, and is the dearer the less of the answer is left, for then its room would come by itself.

Of an endpoint those go that have the least regret for their share of what is missing, until nothing is missing, and of
these none that the others do not need. It happens where the sum is least, and only

* if it is missing for longer than an eviction takes to show (a step and the way there), and
* if the wait that it ends is longer than the sum is dear, or than the request has time.

So a wait of a second does not cost others ten, unless the request would be late.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from infscale.endpoint import EndpointKey
from infscale.frozen_values import value

_EPSILON: Final = 1e-9
"""What sums of fractions leave over is not missing."""


@value
class Room:
    """Room at an endpoint: seconds of prompts to compute, tokens of KV cache, and seconds of a step."""

    prompt_seconds: float = 0.0
    cache_tokens: float = 0.0
    step_seconds: float = 0.0

    @property
    def measures(self) -> tuple[float, float, float]:
        """All three."""
        return self.prompt_seconds, self.cache_tokens, self.step_seconds


CAUSES: Final = ("prompts", "cache", "token_time")
"""What is missing, by the places of `Room.measures`."""


@value
class Shortage:
    """What an endpoint lacks to take a request: nothing of what is not above 0.

    With none of its `in_flight` requests it takes any. What goes there is felt after `felt_seconds`.
    """

    endpoint: EndpointKey
    missing: Room
    in_flight: int
    felt_seconds: float

    @property
    def cause(self) -> str:
        """What is missing, of several the first of `CAUSES`."""
        found = [cause for cause, missing in zip(CAUSES, self.missing.measures, strict=True) if missing > 0.0]
        return found[0] if found else ""


@value
class Running:
    """A request in flight that may go: the room that it would give back, and what is lost.

    `spent_seconds` of the GPU's time are lost, and the cache that it found, worth `cached_seconds`. It ends by itself
    in about `left_seconds`, when `made_ratio` of its answer will have become 1.
    """

    number: int
    endpoint: EndpointKey
    gives: Room
    spent_seconds: float
    cached_seconds: float
    made_ratio: float
    left_seconds: float

    @property
    def regret(self) -> float:
        """What its going costs, GPU seconds; see the module."""
        return (self.spent_seconds + self.cached_seconds) / max(1.0 - self.made_ratio, _EPSILON)


@value
class Eviction:
    """The requests that go, all of one endpoint, for what it lacked (one of `CAUSES`)."""

    endpoint: EndpointKey
    cause: str
    requests: tuple[Running, ...]

    @property
    def regret(self) -> float:
        """Of all of them."""
        return sum([each.regret for each in self.requests])


def eviction(
    shortages: Sequence[Shortage], running: Iterable[Running], patience_seconds: float, resting: Iterable[EndpointKey]
) -> Eviction | None:
    """What is to be taken back for a request that has room at none of the endpoints of `shortages`; None: nothing.

    It would be late with its first token if it went later than in `patience_seconds`. Endpoints that are `resting` have
    lately had requests taken back, and do not show it yet: nothing is taken back there.
    """
    there: dict[EndpointKey, list[Running]] = {}
    for each in running:
        there.setdefault(each.endpoint, []).append(each)
    rests = frozenset(resting)
    found: list[tuple[Eviction, Shortage]] = []
    for shortage in shortages:
        candidates = there.get(shortage.endpoint)
        if candidates and shortage.endpoint not in rests:
            taken = _cover(shortage, candidates)
            if taken:
                found.append((Eviction(shortage.endpoint, shortage.cause, tuple(taken)), shortage))
    if not found:
        return None
    best, lacking = min(found, key=lambda each: (each[0].regret, len(each[0].requests), each[0].endpoint))
    wait = _wait(shortages, there)
    if wait <= lacking.felt_seconds or wait <= min(best.regret, patience_seconds):
        return None
    return best


def _cover(shortage: Shortage, candidates: Sequence[Running]) -> list[Running]:
    """The requests that go for `shortage`, of no more than are needed; none where all together are not enough."""
    shares = {each.number: _share(shortage.missing, each.gives) for each in candidates}
    useful = [each for each in candidates if shares[each.number] > 0.0 or len(candidates) >= shortage.in_flight]
    useful.sort(key=lambda each: (each.regret / max(shares[each.number], _EPSILON), -each.number))
    taken: list[Running] = []
    for each in useful:
        if _covered(shortage, taken):
            break
        taken.append(each)
    if not _covered(shortage, taken):
        return []
    # The dearest first: what came later may have made it unnecessary.
    for each in sorted(taken, key=lambda one: (-one.regret, one.number)):
        others = [one for one in taken if one is not each]
        if _covered(shortage, others):
            taken = others
    return taken


def _covered(shortage: Shortage, taken: Sequence[Running]) -> bool:
    if len(taken) >= shortage.in_flight:
        return True
    given = zip(*[each.gives.measures for each in taken], strict=True) if taken else [(0.0,)] * len(CAUSES)
    return all(
        missing <= math.fsum(each) + _EPSILON for missing, each in zip(shortage.missing.measures, given, strict=True)
    )


def _share(missing: Room, given: Room) -> float:
    """Of what is missing, the share that is given, the mean of the measures in which any is."""
    shares = [
        min(1.0, gives / lacks) for lacks, gives in zip(missing.measures, given.measures, strict=True) if lacks > 0.0
    ]
    return sum(shares) / len(shares) if shares else 0.0


def _wait(shortages: Iterable[Shortage], there: Mapping[EndpointKey, Sequence[Running]]) -> float:
    """How long it takes until the first endpoint has the room by itself, as far as these requests make it."""
    return min([_wait_at(each, there.get(each.endpoint, ())) for each in shortages], default=math.inf)


def _wait_at(shortage: Shortage, running: Sequence[Running]) -> float:
    # Prompts are computed as time passes; cache and steps become free as answers end.
    prompts = max(shortage.missing.prompt_seconds, 0.0)
    later = Shortage(
        shortage.endpoint,
        Room(0.0, shortage.missing.cache_tokens, shortage.missing.step_seconds),
        shortage.in_flight,
        shortage.felt_seconds,
    )
    ended: list[Running] = []
    for each in sorted(running, key=lambda one: one.left_seconds):
        if _covered(later, ended):
            break
        ended.append(each)
    if not _covered(later, ended):
        return math.inf
    return max(prompts, ended[-1].left_seconds if ended else 0.0)
