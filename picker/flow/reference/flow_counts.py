"""What the reference counts of requests that wait, and what it shows of pools, by its labels.

Clients name models, and perhaps flows: so many sets of labels have counts of their own, and the rest share one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from infscale.telemetry.histogram import Histogram
from picker.flow.reference.program_aware import Program
from picker.flow.reference.queue_outcomes import QueueOutcome
from picker.flow.reference.revocation import Reclamation

Key = TypeVar("Key")

OTHER: Final = "other"
MAX_SERIES: Final = 256
"""Sets of labels with counts of their own; one more for each priority and pool takes the rest."""
MAX_NAME_CHARACTERS: Final = 256

# Types are said: the compiler does not set a tuple of floats whose length it knows.
_Bounds = tuple[float, ...]
WAIT_SECONDS: Final[_Bounds] = (
    *(0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
WORK_SECONDS: Final[_Bounds] = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


class WaitLabels(NamedTuple):
    """Whose request waits: its flow, priority and pool, the model that was asked for, and the one it is sent as."""

    flow: str
    priority: str
    pool: str
    model: str
    target: str


@dataclass(slots=True, eq=False)
class Amount:
    """What of some labels waits now."""

    requests: int = 0
    size_bytes: int = 0


class FlowCounts:
    """Counts since start, of all pools. For one thread."""

    def __init__(self) -> None:
        self._known: dict[WaitLabels, WaitLabels] = {}
        self.held: dict[WaitLabels, Amount] = {}
        """What waits."""
        self.waited: dict[tuple[WaitLabels, QueueOutcome], Histogram] = {}
        """How long requests waited, seconds, by how that ended."""
        self.entered: dict[tuple[str, str, QueueOutcome], Histogram] = {}
        """How long it took to let a request wait, or not to, by flow, priority and outcome."""
        self.turns = Histogram(WORK_SECONDS)
        """How long turns took, seconds."""
        self.outcomes: dict[tuple[QueueOutcome, str, str], int] = {}
        """How waits ended, by outcome, priority and pool."""

    def labels(self, flow: str, priority: int, pool: str, model: str, target: str) -> WaitLabels:
        """The labels that such a request is counted under."""
        wanted = WaitLabels(flow, str(priority), pool, model, target)
        found = self._known.get(wanted)
        if found is None:
            long = max(len(flow), len(model), len(target)) > MAX_NAME_CHARACTERS
            if long or len(self._known) >= MAX_SERIES:
                return WaitLabels(OTHER, wanted.priority, pool, OTHER, OTHER)
            found = self._known[wanted] = wanted
        return found

    def waits(self, labels: WaitLabels, size_bytes: int, seconds: float) -> None:
        """A request waits from now on, which it took `seconds` to let it."""
        held = self.held.setdefault(labels, Amount())
        held.requests += 1
        held.size_bytes += size_bytes
        self._entered(labels, QueueOutcome.DISPATCHED, seconds)

    def refused(self, labels: WaitLabels, outcome: QueueOutcome, seconds: float) -> None:
        """A request did not get to wait, which it took `seconds` to find out."""
        self._entered(labels, outcome, seconds)
        self._ended(labels, outcome, seconds)

    def ended(self, labels: WaitLabels, outcome: QueueOutcome, size_bytes: int, seconds: float) -> None:
        """A request of `waits` does not wait any more, after so many `seconds`."""
        held = self.held[labels]
        held.requests -= 1
        held.size_bytes -= size_bytes
        self._ended(labels, outcome, seconds)

    def _ended(self, labels: WaitLabels, outcome: QueueOutcome, seconds: float) -> None:
        _observe(self.waited, (labels, outcome), WAIT_SECONDS, seconds)
        key = outcome, labels.priority, labels.pool
        self.outcomes[key] = self.outcomes.get(key, 0) + 1

    def _entered(self, labels: WaitLabels, outcome: QueueOutcome, seconds: float) -> None:
        _observe(self.entered, (labels.flow, labels.priority, outcome), WORK_SECONDS, seconds)


@dataclass(frozen=True, slots=True)
class PoolGauges:
    """What is shown of one pool.

    `stages` is the saturation of each stage, "effective" the one that counts, by `detector`. `stale` is how many
    endpoints count as full because their load is unknown. Of each band in `bands`, and of all together in `overall`, it
    is the share of requests and of bytes that may wait; None: there is no limit.
    """

    stages: Mapping[str, float]
    detector: str
    stale: int
    bands: Mapping[int, tuple[float | None, float | None]]
    overall: tuple[float | None, float | None]
    reclamation: Reclamation | None = None
    programs: Mapping[str, Program] = field(default_factory=dict[str, Program])
    fairness_index: float | None = None


def _observe(histograms: dict[Key, Histogram], key: Key, bounds: _Bounds, seconds: float) -> None:
    histogram = histograms.get(key)
    if histogram is None:
        histogram = histograms[key] = Histogram(bounds)
    histogram.observe(max(0.0, seconds))
