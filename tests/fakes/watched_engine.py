"""A simulated engine in virtual time whose metrics page is sampled, for what learns from pages."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from infscale.latency.step_model import StepModel
from infscale.metrics.sample import CounterKey, EngineSample, Histogram, HistogramKey
from infscale.sim.engine import recorder as recording
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, EngineSettings, FinishedRequest, StepPlan
from tests.fakes.counts import counts_of
from tests.fakes.samples import engine_sample

MODEL = "test/model"
QWEN = StepModel(20e-3, 48.8e-6, 0.06e-6, 30e-6)


@dataclass(frozen=True)
class Arrivals:
    """Poisson arrivals of so many requests per second, with these mean lengths (exponential)."""

    per_second: float = 4.0
    prompt_tokens: float = 2000.0
    output_tokens: float = 200.0


class WatchedEngine:
    """One engine with its load; `steps` and `rate` may be changed while it runs."""

    def __init__(
        self,
        steps: StepModel = QWEN,
        arrivals: Arrivals | None = None,
        seed: int = 1,
        settings: EngineSettings | None = None,
    ) -> None:
        self.engine = Engine(settings or EngineSettings(num_blocks=19_208), steps)
        self.recorder = Recorder(32_768)
        self.arrivals = arrivals or Arrivals()
        self.now = 0.0
        self.submitted = 0
        self.rate = self.arrivals.per_second
        self._rng = random.Random(seed)
        self._next_arrival = self._rng.expovariate(self.arrivals.per_second)
        self._step_ends: float | None = None
        self._plan: StepPlan | None = None
        self._begun: list[StepPlan] = []

    @property
    def steps(self) -> StepModel:
        """What its steps take."""
        return self.engine.coefficients

    @steps.setter
    def steps(self, steps: StepModel) -> None:
        self.engine.coefficients = steps

    def steps_until(self, end: float) -> list[StepPlan]:
        """Let time pass; the steps that were begun."""
        self._begun = []
        self.run_until(end)
        return self._begun

    def run_until(self, end: float) -> None:
        """Let time pass."""
        while True:
            if self._step_ends is None:
                self._plan = self.engine.next_step(self.now)
                if self._plan is not None:
                    self._begun.append(self._plan)
                    self._step_ends = self.now + self._plan.seconds
            upcoming = min(self._next_arrival, self._step_ends or np.inf)
            if upcoming > end:
                self.now = end
                return
            self.now = upcoming
            if upcoming == self._next_arrival:
                self._arrive()
            else:
                self._step_ends = None
                outcome = self.engine.finish_step(self.now)
                self.recorder.record_step(outcome)
                for done in outcome.finished:
                    self.recorder.record_finished(done, "length", None)
                    self.finished(done)

    def _arrive(self) -> None:
        rng, arrivals = self._rng, self.arrivals
        self.submitted += 1
        prompt = 1 + min(20_000, int(rng.expovariate(1.0 / arrivals.prompt_tokens)))
        output = 2 + min(4_000, int(rng.expovariate(1.0 / arrivals.output_tokens)))
        request = EngineRequest(self.submitted, prompt, output)
        self.submitting(request)
        self.engine.submit(request, self.now)
        self._next_arrival = self.now + rng.expovariate(self.rate)

    def submitting(self, request: EngineRequest) -> None:
        """A request comes now."""

    def finished(self, done: FinishedRequest) -> None:
        """A request got all its tokens."""

    def sample(self, *, counts_steps: bool = True) -> EngineSample:
        """What its page says now; without how many steps there were where the engine does not count them."""
        recorder, histograms = self.recorder, self.recorder.histograms
        counters: dict[CounterKey, float] = {
            ("prompt_tokens", MODEL): recorder.prompt_tokens,
            ("generation_tokens", MODEL): recorder.generation_tokens,
            ("prefix_queries", MODEL): recorder.prefix_queries,
            ("prefix_hits", MODEL): recorder.prefix_hits,
        }
        if counts_steps:
            counters["steps", MODEL] = histograms.iteration_tokens.total
        of_page: dict[HistogramKey, Histogram] = {
            ("queue_time", MODEL): _published(histograms.queue),
            ("prefill_time", MODEL): _published(histograms.prefill),
            ("time_to_first_token", MODEL): _published(histograms.first_token),
            ("inter_token_latency", MODEL): _published(histograms.token_gap),
        }
        engine = self.engine
        used = engine.settings.num_blocks - engine.pool.free
        sample = engine_sample(
            engine.waiting,
            engine.running,
            used / engine.settings.num_blocks,
            counts=counts_of(of_page, counters),
            fingerprint=hash((recorder.generation_tokens, engine.running, engine.waiting, used)),
        )
        gauges = sample.gauges._replace(kv_used_tokens=float(used * engine.settings.block_size))
        return replace(sample, gauges=gauges)

    def scrapes(
        self, interval: float, until: Callable[["WatchedEngine"], bool], *, counts_steps: bool = True
    ) -> Iterator[tuple[float, EngineSample]]:
        """Its page at regular times, until something holds."""
        while not until(self):
            self._begun = []
            self.run_until(self.now + interval)
            yield self.now, self.sample(counts_steps=counts_steps)


def _published(histogram: recording.Histogram) -> Histogram:
    counts = np.array(list(accumulate(histogram.counts)), dtype=np.float64)
    return Histogram((*histogram.bounds, np.inf), counts, histogram.sum)
