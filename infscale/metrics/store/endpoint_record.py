"""What the store keeps of one endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint, ObjectKey, Phase
from infscale.metrics.sample import (
    NO_REFUSALS,
    EngineSample,
    GpuHardware,
    GpuSample,
    HealthSample,
    Life,
    LoraState,
    ScrapeFailure,
    SourceSample,
)
from infscale.metrics.source import Source
from infscale.metrics.store.history import EndpointHistory
from infscale.metrics.store.ledger import Ledger
from infscale.metrics.store.step_watch import StepWatch
from infscale.metrics.windows.window import WindowSummary

_HEARD_SHARE: Final = 0.5
_NO_LORA: Final = LoraState(frozenset(), frozenset(), None)


@dataclass(slots=True)
class EndpointRecord:
    """What is known of one endpoint.

    `moved_at` is when the last scrape started whose page differed from the one before. `unmoved_since` is the dispatch
    of the first request that was answered although the page has not moved since: the page is frozen. `life` is another
    object each time the engine lost what it had: it began anew, fell asleep, or emptied its cache. `beside` has what
    other sources said last, and when. `steps` learns how long its
    steps take. `seen_at` is when anything last came in.
    """

    endpoint: Endpoint
    history: EndpointHistory
    ledger: Ledger = field(default_factory=Ledger)
    steps: StepWatch = field(default_factory=StepWatch)
    sample: EngineSample | None = None
    summaries: Mapping[float, WindowSummary] = field(default_factory=dict[float, WindowSummary])
    observed_at: float = -np.inf
    beside: dict[Source, tuple[SourceSample, float]] = field(default_factory=dict[Source, tuple[SourceSample, float]])
    failure: ScrapeFailure | None = None
    moved_at: float = -np.inf
    unmoved_since: float | None = None
    seen_at: float = -np.inf
    life: Life = field(default_factory=Life)
    rows: list[tuple[ObjectKey, int]] = field(default_factory=list[tuple[ObjectKey, int]])
    _lora: tuple[LoraState | None, HealthSample | None, LoraState | None] = (None, None, None)

    @property
    def refused(self) -> Mapping[str, str]:
        """Why values of its pages are not taken, by the names of gauges, of histograms and of counters."""
        of_engine = NO_REFUSALS if self.sample is None else self.sample.refused
        told = [self.history.jumped, of_engine, *[sample.refused for sample, _ in self.beside.values()]]
        told = [each for each in told if each]
        if len(told) > 1:
            return {name: cause for each in told for name, cause in each.items()}
        return told[0] if told else NO_REFUSALS

    def takes(self, source: Source, at: float) -> bool:
        """Whether what `source` says at `at` counts: not while one of higher precedence is heard that says the same.

        The others that say the same are forgotten. One is heard for half of the time that its values are used.
        """
        rivals = [each for each in self.beside if each is not source and each.observed == source.observed is not None]
        for rival in rivals:
            heard = at - self.beside[rival][1] <= _HEARD_SHARE * (rival.staleness_seconds or 0.0)
            if rival.precedence > source.precedence and heard:
                return False
        for rival in rivals:
            del self.beside[rival]
        return True

    @property
    def must_move(self) -> bool:
        """Whether an answered request always shows on the page: gauges alone may look as before."""
        return self.sample is not None and self.sample.counts.layout.width > 0

    def begins_anew(self) -> None:
        """Nothing is cached there any more."""
        self.life = Life()
        self.steps.restarts()

    @property
    def hardware(self) -> GpuHardware | None:
        """The GPUs that an exporter or a node agent last said it has."""
        for sample, _ in self.beside.values():
            if isinstance(sample, GpuSample) and sample.hardware is not None:
                return sample.hardware
        return None

    @property
    def asleep(self) -> bool:
        """Whether the engine last said that it sleeps."""
        return self.sample is not None and self.sample.asleep

    @property
    def ready(self) -> bool:
        """Whether the endpoint may be sent requests: discovery says so, and its server does not say otherwise."""
        health = self.health
        return self.endpoint.phase is Phase.READY and (health is None or health.serving is not False)

    @property
    def health(self) -> HealthSample | None:
        """What its server last said of itself, as long as that holds."""
        for sample, at in self.beside.values():
            if isinstance(sample, HealthSample):
                return sample if self.seen_at - at <= sample.good_seconds else None
        return None

    @property
    def lora(self) -> LoraState | None:
        """The LoRA adapters of its page, and those that its server says it serves; the same object while both do."""
        page, health = None if self.sample is None else self.sample.lora, self.health
        if health is None or not health.names:
            return page
        known_page, known_health, merged = self._lora
        if known_page is not page or known_health is not health or merged is None:
            merged = replace(page or _NO_LORA, loaded=health.names | (page or _NO_LORA).loaded)
            self._lora = page, health, merged
        return merged
