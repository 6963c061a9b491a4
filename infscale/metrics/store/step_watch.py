"""What the pages of one endpoint say of its steps, from one scrape to the next, and the model that it teaches.

Between two scrapes a page says how many tokens came and how long after their predecessors, how many prompt tokens were
looked up and how many of them were cached, how full the batch and the KV cache were: one observation of what a step
takes for what is in it. Scrapes are put together until something can be said; a step that ends in between would else
have its tokens on one side and its prompts on the other.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, NamedTuple

from infscale.latency.online_fit import OnlineFit
from infscale.latency.priors import PriorTable
from infscale.latency.step_columns import STEP_CELLS, WORST_USABLE_ERROR
from infscale.latency.step_model import StepModel
from infscale.metrics.sample import CounterName, CountLayout, EngineSample, FloatArray, HistogramName
from infscale.metrics.store.described_engine import Described

_SHORTEST_SECONDS: Final = 0.2
_LONGEST_SECONDS: Final = 60.0
_FEWEST_TOKENS: Final = 4.0
# What is at the edge of an observation is little beside so many steps; engines whose steps are long are not waited for.
_FEWEST_STEPS: Final = 10.0
_PATIENCE_SECONDS: Final = 5.0
# Prompts are counted when they are computed, and their times when their answers end: means over fewer are of others.
_FEWEST_PROMPTS: Final = 4.0
_COLD_TOKENS: Final = 1000.0
"""An engine that has generated fewer tokens since it began has kernels to choose and graphs to capture."""
NOT_YET_SEEN: Final = "its page has not shown enough steps yet"
OWN_PAGE: Final = "its own page"
_STANDS_STILL_SECONDS: Final = 10.0
_STEADY: Final = 0.5
_USUAL_CHUNK: Final = 8192.0
_LASTING_SHARE: Final = 0.9
_PREFILL_WEIGHT: Final = 1.0
_ENOUGH_ENDPOINTS: Final = 3
_ASK_EVERY: Final = 10
_SMALLEST_BATCH: Final = 4.0
_UNKNOWN: Final = [math.nan] * len(STEP_CELLS)


class _Totals(NamedTuple):
    """What an engine counted since it began; a count that is not published is NaN."""

    gap_seconds: float
    gaps: float
    prompt_tokens: float
    looked_up: float
    found: float
    generated: float
    steps: float
    prefill_seconds: float
    prefills: float
    first_tokens: float


class _Places:
    """Where the numbers of `_Totals` stand in rows of one layout, those of all models."""

    def __init__(self, layout: CountLayout) -> None:
        self.layout = layout
        gap_sums, gaps = _histogram(layout, "inter_token_latency")
        prefill_sums, prefills = _histogram(layout, "prefill_time")
        self._groups: list[list[int]] = [
            gap_sums,
            gaps,
            _counter(layout, "prompt_tokens"),
            _counter(layout, "prefix_queries"),
            _counter(layout, "prefix_hits"),
            _counter(layout, "generation_tokens"),
            _counter(layout, "steps"),
            prefill_sums,
            prefills,
            _histogram(layout, "time_to_first_token")[1],
        ]

    def totals(self, row: FloatArray) -> _Totals:
        """The numbers in `row`."""
        return _Totals(*[_sum(row, group) for group in self._groups])


class StepWatch:
    """Watches the steps of one endpoint. Owner of `fit`, which has what they teach.

    `source` says what the model is made of, or why there is none.
    """

    def __init__(self) -> None:
        self.fit = OnlineFit()
        self.source = NOT_YET_SEEN
        self._leans_on = self._with_own_page = ""
        self._described: Described | None = None
        self._places: _Places | None = None
        self._begin: _Totals | None = None
        self._begin_at = -math.inf
        self._last_at = -math.inf
        self._fingerprint = 0
        self._moved_at = -math.inf
        self._running = self._kv_tokens = math.nan
        self._least_running = math.inf
        # Of the time in which the engine had something to do.
        self._busy_seconds = self._running_seconds = self._kv_seconds = 0.0
        # Of late: prompt tokens to be computed and the prompts that they are of; seconds of prefill and of how many.
        self._lately_uncached = self._lately_prompts = 0.0
        self._lately_seconds = self._lately_prefills = 0.0

    def is_an(self, engine: Described, priors: PriorTable) -> None:
        """Of an engine described so: take what is known of its like, as long as it was not looked at for long."""
        if engine == self._described:
            return
        self._described = engine
        found = priors.find(*engine)
        if isinstance(found, str):
            if self._leans_on == "":
                self.source = found
            return
        self.lean_on(found.model, found.error, found.source)

    def lean_on(self, model: StepModel, error: float, source: str) -> None:
        """Take `model` for what is not seen yet; `source` is where it comes from, for people."""
        self.fit.lean_on(model, error)
        self._leans_on = source
        self._with_own_page = f"{source}, and {OWN_PAGE}"
        self.source = self._with_own_page if self.fit.samples else source

    @property
    def asks_others(self) -> bool:
        """Whether it is time to see what the steps of engines beside it take."""
        return self.fit.is_young and self.fit.samples % _ASK_EVERY == 1

    def cells(self) -> list[float]:
        """A row of `StepColumns`."""
        model = self.fit.model
        return (
            _UNKNOWN
            if model is None
            else [*model.linear_at(max(_SMALLEST_BATCH, self._running)).coefficients[:4], self.fit.error]
        )

    def restarts(self) -> None:
        """The engine has begun anew: what it counts does, too. What is known of its hardware stays."""
        self._begin = None

    def observe(self, sample: EngineSample, at: float) -> bool:
        """Take in a scrape that started at `at`; whether the model is another one now."""
        layout = sample.counts.layout
        places = self._places
        if places is None or (places.layout is not layout and places.layout != layout):
            places = self._places = _Places(layout)
            self._begin = None
        if at <= self._last_at:
            return False
        totals = places.totals(sample.counts.row)
        begin = self._begin
        if begin is None or self._is_apart(begin, totals, sample, at) or sample.asleep or _is_cold(totals):
            self._begins(totals, sample, at)
            return False
        self._add_gauges(sample, at)
        if not self._is_enough(begin, totals, at - self._begin_at):
            return False
        before = self.fit.samples
        learnt = self._learn(_Totals(*[after - before for before, after in zip(begin, totals, strict=True)]))
        self._begins(totals, sample, at)
        if self.fit.samples != before:
            self._tell()
        return learnt

    def _tell(self) -> None:
        if not self.fit.is_young:
            self.source = OWN_PAGE
        elif self._leans_on:
            # The same text each time: it is a cell of the pool's columns.
            self.source = self._with_own_page
        elif self.fit.model is not None:
            self.source = OWN_PAGE

    def _is_apart(self, begin: _Totals, totals: _Totals, sample: EngineSample, at: float) -> bool:
        """Whether nothing can be said of the time since the last observation."""
        if not sample.fingerprint or sample.fingerprint != self._fingerprint:
            stood_still = at - self._moved_at > max(_STANDS_STILL_SECONDS, at - self._last_at)
            self._moved_at, self._fingerprint = at, sample.fingerprint
            if stood_still:
                return True
        fell = any([after < before for before, after in zip(begin, totals, strict=True)])
        return fell or at - self._begin_at > max(_LONGEST_SECONDS, at - self._last_at)

    def _is_enough(self, begin: _Totals, totals: _Totals, seconds: float) -> bool:
        """Whether enough has happened for an observation."""
        gaps = totals.gaps - begin.gaps
        if seconds < _SHORTEST_SECONDS or gaps < _FEWEST_TOKENS:
            return False
        if seconds >= _PATIENCE_SECONDS:
            return True
        steps = totals.steps - begin.steps
        return (gaps / max(1.0, self._running) if math.isnan(steps) else steps) >= _FEWEST_STEPS

    def _begins(self, totals: _Totals, sample: EngineSample, at: float) -> None:
        self._begin, self._begin_at, self._last_at = totals, at, at
        self._running, self._kv_tokens = _running(sample), _kv_tokens(sample)
        self._least_running = self._running
        self._busy_seconds = self._running_seconds = self._kv_seconds = 0.0

    def _add_gauges(self, sample: EngineSample, at: float) -> None:
        running, kv_tokens, seconds = _running(sample), _kv_tokens(sample), at - self._last_at
        if running + self._running > 0.0:
            self._busy_seconds += seconds
            self._running_seconds += seconds * (running + self._running) / 2.0
            self._kv_seconds += seconds * (kv_tokens + self._kv_tokens) / 2.0
        self._running, self._kv_tokens, self._last_at = running, kv_tokens, at
        self._least_running = min(self._least_running, running)

    def _learn(self, grown: _Totals) -> bool:
        busy = self._busy_seconds
        running = self._running_seconds / busy if busy > 0.0 else math.nan
        # Steps of the time; where they are not counted, each gave a token to what ran. Some engines observe the time
        # between tokens once for each request, so that tokens are counted elsewhere if they are.
        tokens = grown.generated if grown.generated > 0.0 else grown.gaps
        steps = grown.steps if grown.steps > 0.0 else tokens / running if running > 0.0 else math.nan
        if not steps > 0.0:
            return False
        cached = min(1.0, grown.found / grown.looked_up) if grown.looked_up > 0.0 else 0.0
        uncached = grown.prompt_tokens * (1.0 - cached)
        uncached = uncached if uncached > 0.0 else 0.0
        kv_tokens = self._kv_seconds / busy if busy > 0.0 else 0.0
        kv_tokens = kv_tokens if kv_tokens >= 0.0 else 0.0
        # As the page counts them, which is what is known when a step is predicted: of all ranks together.
        sequences = running if running > 0.0 else tokens / steps
        # A prompt that came to an idle engine kept no token waiting: the batch must have been there all the time.
        steady = self._least_running >= max(2.0, _STEADY * running)
        learnt = False
        if steady or uncached == 0.0 or math.isnan(running):
            learnt = self.fit.learn(uncached / steps, kv_tokens, sequences, grown.gap_seconds / grown.gaps)
        self._learn_prefill(grown, uncached, kv_tokens, sequences)
        return learnt

    def _learn_prefill(self, grown: _Totals, uncached: float, kv_tokens: float, sequences: float) -> None:
        """What prompts took from their first step to their first token, where few others were computed beside them."""
        if grown.first_tokens > 0.0:
            self._lately_uncached = _LASTING_SHARE * self._lately_uncached + uncached
            self._lately_prompts = _LASTING_SHARE * self._lately_prompts + grown.first_tokens
        if not grown.prefills > 0.0:
            return
        self._lately_seconds = _LASTING_SHARE * self._lately_seconds + grown.prefill_seconds
        self._lately_prefills = _LASTING_SHARE * self._lately_prefills + grown.prefills
        if min(self._lately_prompts, self._lately_prefills) < _FEWEST_PROMPTS:
            return
        each = self._lately_uncached / self._lately_prompts
        chunks = max(1.0, math.ceil(each / _USUAL_CHUNK))
        seconds = self._lately_seconds / self._lately_prefills
        weight = _PREFILL_WEIGHT / (1.0 + sequences)
        self.fit.learn_prompt(each / chunks, kv_tokens, sequences, seconds / chunks, weight)


def usual_model(watches: Iterable[StepWatch]) -> tuple[StepModel, float] | None:
    """The median of each coefficient and of the errors of engines of which enough was seen; None: there are too few.

    What one page says, true or not, moves it by less than the others differ.
    """
    known = [
        (watch.fit.model, watch.fit.error)
        for watch in watches
        if not watch.fit.is_young and watch.fit.error <= WORST_USABLE_ERROR
    ]
    models = [model for model, _ in known if model is not None]
    if len(models) < _ENOUGH_ENDPOINTS:
        return None
    return StepModel(
        median([each.base for each in models]),
        median([each.per_prefill_token for each in models]),
        median([each.per_kv_token for each in models]),
        median([each.per_sequence for each in models]),
        median([each.per_root_sequence for each in models]),
    ), median([error for _, error in known])


def _is_cold(totals: _Totals) -> bool:
    generated = totals.gaps if math.isnan(totals.generated) else totals.generated
    return not generated >= _COLD_TOKENS


def _running(sample: EngineSample) -> float:
    running = sample.gauges.running
    return math.nan if running is None else running


def _kv_tokens(sample: EngineSample) -> float:
    tokens = sample.gauges.kv_used_tokens
    return math.nan if tokens is None else tokens


def _counter(layout: CountLayout, wanted: CounterName) -> list[int]:
    return [place for place, (name, _) in enumerate(layout.counters) if name == wanted]


def _histogram(layout: CountLayout, wanted: HistogramName) -> tuple[list[int], list[int]]:
    """The places of sums, and those of numbers of observations."""
    numbers = [number for number, ((name, _), _) in enumerate(layout.histograms) if name == wanted]
    return [layout.first_sum + number for number in numbers], [layout.buckets[number].stop - 1 for number in numbers]


def _sum(row: FloatArray, places: Sequence[int]) -> float:
    if len(places) == 1:
        return float(row[places[0]])
    return sum([float(row[place]) for place in places]) if places else math.nan
