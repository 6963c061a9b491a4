"""Is the new version worse than the old one? A test that may be looked at after every request.

Each metric of a request falls into a category: failed or not, or between which of the old version's deciles its
latency is. A new request is compared with the old ones that came since the last, in a block. For a block of `n` old
requests and one new one, and guesses `a` and `b` of how the two versions spread over the categories, with
`m = (n·a + b) / (n + 1)`

    b(new) / m(new) · Π a(old) / m(old)

is an e-variable: where both versions spread alike, whatever that is, its mean is at most 1, because the geometric mean
of the means of `a/m` and `b/m` is at most their arithmetic mean, which is 1 (Turner, Ly and Grünwald, "Generic
E-variables for exact sequential k-sample tests", 2024). So the product over blocks, averaged over the guesses `b` and
over metrics with fixed weights, exceeds `1/α` at any time with a probability of at most `α` (Ville's inequality): no
number of looks makes more false alarms. Guesses of the old version come from requests before the block; those of the
new one are of a size that matters, so that a difference far below it is evidence for the old hypothesis.

What it asks for: that requests of both versions are alike, and that one says nothing of the next. Requests of a session
that are alike among themselves are weaker evidence than the test takes them for.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

from infscale.endpoint import ROLLOUT_METRICS, RolloutMetric
from infscale.frozen_values import value

BASELINE: Final = 50
"""So many values of the old version are looked at before any is compared."""
MOST_PARTNERS: Final = 10
"""Old requests in a block: more of them tell little more."""
LONG_MEMORY: Final = 5_000
"""How many values wait for those of the other version at most where the two had requests one after the other."""

_SHARES: Final[Mapping[RolloutMetric, float]] = {
    "errors": 0.5,
    "time_to_first_token": 0.25,
    "time_per_output_token": 0.15,
    "duration": 0.1,
}
_DECILES: Final = 10
_MOST_LOG: Final = 600.0
"""Of an e-value: more is no more certain, and `exp` has its end."""

Spread = tuple[float, ...]
Guess = Callable[[Spread], Spread]


def _failing(times: float) -> Guess:
    """Fails so many times as often; never more often than 19 in 20."""

    def guess(old: Spread) -> Spread:
        rate = min(0.95, max(old[1] * times, old[1]))
        return 1.0 - rate, rate

    return guess


def _slower(power: float) -> Guess:
    """Every quantile is later: the share above any value is the old one's to a power below 1 (Lehmann)."""

    def guess(old: Spread) -> Spread:
        above = [1.0]
        for share in old:
            above.append(max(0.0, above[-1] - share))
        above[-1] = 0.0
        raised = [each**power for each in above]
        return tuple([first - second for first, second in pairwise(raised)])

    return guess


def _longer_tail(times: float) -> Guess:
    """The slowest tenth is so many times as large, and the rest as before among itself."""

    def guess(old: Spread) -> Spread:
        tail = min(0.95, old[-1] * times)
        rest = (1.0 - tail) / (1.0 - old[-1])
        return (*[each * rest for each in old[:-1]], tail)

    return guess


_OF_ERRORS: Final = ((0.75, _failing(2.0)), (0.15, _failing(5.0)), (0.1, _failing(20.0)))
_OF_LATENCY: Final = (
    (0.35, _slower(0.75)),
    (0.25, _slower(0.55)),
    (0.1, _slower(0.3)),
    (0.2, _longer_tail(2.0)),
    (0.1, _longer_tail(4.0)),
)
"""What the new version may be like, each with its weight."""


class _Comparison:
    """One metric's evidence: the e-process, and how the old version spreads as far as it is known."""

    def __init__(self, guesses: Sequence[tuple[float, Guess]], prior: Spread) -> None:
        self._guesses = guesses
        self._logs = [0.0] * len(guesses)
        self._counts = list(prior)
        self._total = sum(prior)
        self._guessed_of = 0.0
        self._spread: Spread = ()
        self._guessed: list[Spread] = []
        # By the number of old values in a block: what a new and what an old value adds to each log, by its category.
        self._gains: dict[int, tuple[list[list[float]], list[list[float]]]] = {}
        self.evidence = 1.0
        """The e-value; 1 where nothing is known."""

    def see_old(self, category: int) -> None:
        """An old value that is in no block: the old version is known better."""
        self._counts[category] += 1.0
        self._total += 1.0

    def add(self, new: int, old: Sequence[int]) -> None:
        """One block."""
        # One of many values changes little of what is guessed, and guesses cost more than blocks.
        if self._total >= 1.02 * self._guessed_of:
            self._spread = tuple([each / self._total for each in self._counts])
            self._guessed = [guess(self._spread) for _, guess in self._guesses]
            self._guessed_of, self._gains = self._total, {}
        of_new, of_old = self._gains.get(len(old)) or self._gained(len(old))
        for place, log in enumerate(self._logs):
            gains = of_old[place]
            gained = log + of_new[place][new] + sum([gains[each] for each in old])
            self._logs[place] = min(_MOST_LOG, max(-_MOST_LOG, gained))
        for each in old:
            self.see_old(each)
        self.evidence = sum(weight * math.exp(log) for (weight, _), log in zip(self._guesses, self._logs, strict=True))

    def _gained(self, count: int) -> tuple[list[list[float]], list[list[float]]]:
        of_new: list[list[float]] = []
        of_old: list[list[float]] = []
        for guessed in self._guessed:
            mixed = [(count * a + b) / (count + 1) for a, b in zip(self._spread, guessed, strict=True)]
            pairs = list(zip(self._spread, guessed, mixed, strict=True))
            of_old.append([math.log(a / m) for a, _, m in pairs])
            of_new.append([math.log(b / m) if b > 0.0 else -_MOST_LOG for _, b, m in pairs])
        self._gains[count] = of_new, of_old
        return of_new, of_old


class _Stream:
    """One metric's values of both versions, put into blocks."""

    def __init__(self, metric: RolloutMetric, tolerance_ratio: float, memory: int) -> None:
        self._tolerance_ratio = tolerance_ratio
        self._is_latency = metric != "errors"
        self._first: list[float] = []
        self._bounds: list[float] = []
        # Where both versions have requests at once, what is compared has to be of the same time: load comes and goes.
        self._old: deque[int] = deque(maxlen=memory)
        self._new: deque[float] = deque(maxlen=max(memory, BASELINE))
        latency = _Comparison(_OF_LATENCY, (1.0,) * _DECILES)
        self.comparison = latency if self._is_latency else _Comparison(_OF_ERRORS, (0.5, 0.5))

    def old(self, value: float) -> bool:
        """One value of the old version; whether there is new evidence."""
        if len(self._first) < BASELINE:
            self._first.append(value)
            if len(self._first) == BASELINE:
                self._measure()
            return False
        self._old.append(self._category(value))
        return bool(self._new) and self._pair()

    def new(self, value: float) -> bool:
        """One value of the new version; whether there is new evidence."""
        self._new.append(value / self._tolerance_ratio if self._is_latency else value)
        return bool(self._old) and self._pair()

    def _measure(self) -> None:
        """The bounds of categories, by what the old version did before anything is compared."""
        if self._is_latency:
            ordered = sorted(self._first)
            self._bounds = [ordered[place * BASELINE // _DECILES] for place in range(1, _DECILES)]
            return
        for each in self._first:
            self.comparison.see_old(int(each))

    def _category(self, value: float) -> int:
        return bisect_right(self._bounds, value) if self._is_latency else int(value)

    def _pair(self) -> bool:
        """Make blocks of what waits. Which values share one follows from their order alone, not from what they are."""
        while self._new and self._old:
            # With several new ones waiting, each gets its part of the old.
            count = max(1, min(MOST_PARTNERS, len(self._old) // len(self._new)))
            partners = [self._old.popleft() for _ in range(count)]
            self.comparison.add(self._category(self._new.popleft()), partners)
        return True


@value
class RequestResult:
    """How one request went: whether it failed, and its latencies in seconds where they are known."""

    failed: bool
    time_to_first_token: float | None = None
    time_per_output_token: float | None = None
    duration: float | None = None


_VALUES: Final[Mapping[RolloutMetric, Callable[[RequestResult], float | None]]] = {
    "errors": lambda result: float(result.failed),
    "time_to_first_token": lambda result: None if result.failed else result.time_to_first_token,
    "time_per_output_token": lambda result: None if result.failed else result.time_per_output_token,
    "duration": lambda result: None if result.failed else result.duration,
}
"""A failure has no latency worth comparing."""


class SequentialTest:
    """The test of one rollout; deterministic in the order of what it is told.

    `false_alarms` is the probability of an alarm, ever, where the new version is like the old one. The new version's
    latencies may be `tolerance_ratio` times the old one's. So many of the last old values as `memory` says wait for new
    ones to be compared with. Latencies of the new version's first `warmup_requests` are passed over.
    """

    def __init__(
        self,
        metrics: Sequence[RolloutMetric] = ROLLOUT_METRICS,
        false_alarms: float = 0.05,
        tolerance_ratio: float = 1.0,
        memory: int = MOST_PARTNERS,
        warmup_requests: int = 20,
    ) -> None:
        self._warmup_requests = warmup_requests
        self._false_alarms = false_alarms
        self._streams: dict[RolloutMetric, _Stream] = {each: _Stream(each, tolerance_ratio, memory) for each in metrics}
        total = sum(_SHARES[each] for each in metrics)
        self._shares = {each: _SHARES[each] / total for each in metrics}
        self.requests = {"old": 0, "new": 0}
        """Requests of each version so far."""
        self.failures = {"old": 0, "new": 0}
        """Those of them that failed."""
        self.alarm: str | None = None
        """Why the new version is taken for worse, in words; None as long as it is not. It never goes away."""

    def add(self, version: Literal["old", "new"], result: RequestResult) -> None:
        """One request that is over."""
        self.requests[version] += 1
        self.failures[version] += result.failed
        news, warming = False, version == "new" and self.requests["new"] <= self._warmup_requests
        for metric, stream in self._streams.items():
            found = _VALUES[metric](result)
            if found is not None and math.isfinite(found) and not (warming and metric != "errors"):
                news |= stream.new(found) if version == "new" else stream.old(found)
        if news and self.alarm is None and self.evidence * self._false_alarms >= 1.0:
            by_metric = self.by_metric()
            worst = max(by_metric, key=lambda metric: self._shares[metric] * by_metric[metric])
            self.alarm = f"the new version is worse: {worst.replace('_', ' ')}"

    def by_metric(self) -> dict[RolloutMetric, float]:
        """The e-value of each metric; 1 where nothing is known."""
        return {metric: stream.comparison.evidence for metric, stream in self._streams.items()}

    @property
    def evidence(self) -> float:
        """That of all metrics together; at `1 / false_alarms` there is an alarm."""
        return sum(self._shares[metric] * value for metric, value in self.by_metric().items())
