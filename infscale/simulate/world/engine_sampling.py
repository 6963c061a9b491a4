"""What a scrape of a simulated vLLM server gives, made of the engine itself instead of by way of text.

A page of text takes 90 KB to write and to read; in virtual time that would be most of the work. The sample has the
resolution of the page: counts by bucket, gauges as they are printed. Its layout is the one that the product's own
interpreter makes of the page, so that the store meets what it meets in life.
"""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from types import MappingProxyType
from typing import Final

import numpy as np

from infscale.metrics.gauges import EngineGauges
from infscale.metrics.pages.dialects import VLLM
from infscale.metrics.pages.interpreter import interpret
from infscale.metrics.sample import (
    CounterName,
    CountLayout,
    Counts,
    EngineSample,
    FloatArray,
    HistogramName,
    LoraState,
    ModelLoad,
)
from infscale.metrics.snapshot import frozen
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Histogram, Histograms, HttpRecorder, Recorder
from infscale.sim.pages.engine_pages import PageSubject, vllm_page
from infscale.sim.pages.families import PageView, RankView
from infscale.sim.pages.vllm_table import SERVED_PATHS

_COUNTERS: Final[Mapping[CounterName, Callable[[Recorder], float]]] = MappingProxyType(
    {
        "prompt_tokens": lambda recorder: recorder.prompt_tokens,
        "generation_tokens": lambda recorder: recorder.generation_tokens,
        "prefix_queries": lambda recorder: recorder.prefix_queries,
        "prefix_hits": lambda recorder: recorder.prefix_hits,
        "requests_finished": lambda recorder: sum(recorder.finished.values()),
        "preemptions": lambda recorder: recorder.preemptions,
        "steps": lambda recorder: recorder.histograms.iteration_tokens.total,
    }
)
_HISTOGRAMS: Final[Mapping[HistogramName, Callable[[Histograms], Histogram]]] = MappingProxyType(
    {
        "queue_time": lambda histograms: histograms.queue,
        "prefill_time": lambda histograms: histograms.prefill,
        "time_to_first_token": lambda histograms: histograms.first_token,
        "inter_token_latency": lambda histograms: histograms.token_gap,
        "request_latency": lambda histograms: histograms.end_to_end,
    }
)


@dataclass(frozen=True)
class SampledServer:
    """What does not change in the samples of one server while its process lives."""

    subject: PageSubject

    @cached_property
    def layout(self) -> CountLayout:
        """Where counts stand, as the product's interpreter has it of a page of this server."""
        nothing = RankView(0, 0, 0, 0.0, 0, (), (), Recorder(self.subject.token_limit))
        view = PageView((nothing,), HttpRecorder(SERVED_PATHS), 0.0, self.subject.started_at)
        return interpret(vllm_page(self.subject).render(view).encode(), VLLM).counts.layout


class EngineSampler:
    """Makes samples of one engine; `server` says what does not change in them."""

    def __init__(self, server: SampledServer, engine: Engine, recorder: Recorder) -> None:
        self._server = server
        self._engine = engine
        self._recorder = recorder
        layout = server.layout
        self._counters = [_COUNTERS[name] for name, _ in layout.counters]
        self._histograms = [_HISTOGRAMS[name](recorder.histograms) for (name, _), _ in layout.histograms]

    def sample(self, *, idle: bool = False, asleep: bool = False) -> EngineSample:
        """What the page says now; of one that lies `idle`: that there is nothing to do."""
        engine, subject = self._engine, self._server.subject
        waiting, running = (0.0, 0.0) if idle else (float(engine.waiting), float(engine.running))
        usage = 0.0 if idle else engine.pool.usage_ratio
        lora = _NO_LORA if idle else (engine.running_loras(), engine.waiting_loras())
        row = self._row()
        return EngineSample(
            EngineGauges(
                waiting=waiting,
                running=running,
                kv_utilization=usage,
                waiting_tokens=None,
                kv_used_tokens=usage * subject.num_blocks * subject.block_size,
            ),
            models={subject.model: ModelLoad(waiting, running)},
            lora=LoraState(frozenset(lora[0]), frozenset(lora[1]), subject.max_loras),
            block_size_tokens=subject.block_size,
            num_blocks=subject.num_blocks,
            counts=Counts(self._server.layout, row),
            fingerprint=hash((waiting, running, usage, lora, asleep, row.tobytes())),
            asleep=asleep,
            started_at=subject.started_at,
        )

    def _row(self) -> FloatArray:
        recorder = self._recorder
        numbers = array("d", [count(recorder) for count in self._counters])
        for histogram in self._histograms:
            numbers.extend(accumulate(histogram.counts))
        numbers.extend([histogram.sum for histogram in self._histograms])
        return frozen(np.frombuffer(numbers))


_NO_LORA: Final[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())
