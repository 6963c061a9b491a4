"""What is counted and kept of the picker's decisions, and where it is shown."""

from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client.registry import Collector

from infscale import __version__
from infscale.metrics.store.metrics_store import MetricStore
from infscale.telemetry.debug_documents import DebugPage, at_once
from picker.directing.observed_director import ObservedDirector
from picker.directing.picks import Refusals, picks_document
from picker.directing.pool_directors import PoolDirectors
from picker.telemetry.counts import PickerCollector
from picker.telemetry.pool_averages import PoolAveragesCollector
from picker.telemetry.reference_counts import ReferenceCounts
from picker.telemetry.reference_metrics import ReferenceCollector, ReferencePoolCollector, listed


class Observing:
    """Stands between exchanges and `directors`; with `reference_names` it also counts as the reference picker does."""

    def __init__(
        self, directors: PoolDirectors, store: MetricStore, clock: Callable[[], float], *, reference_names: bool
    ) -> None:
        self._directors = directors
        self._store = store
        self._clock = clock
        self._counts: ReferenceCounts | None = None
        if reference_names:
            self._counts = ReferenceCounts(directors, lambda model: listed(store.snapshots(), model))
        self.director = ObservedDirector(self._counts or directors, clock)

    def collectors(self) -> list[Collector]:
        """What shows the counts."""
        durations = self.director.durations
        found: list[Collector] = [PickerCollector(self._directors, durations, lambda: self._store.written_off)]
        if self._counts is not None:
            found.append(ReferenceCollector(self._counts, durations, self._directors, __version__))
            found.append(ReferencePoolCollector(self._store, self._clock))
        return found

    def averages(self) -> Collector:
        """What tells other pickers how the pools do."""
        return PoolAveragesCollector(self._store, self._clock, whole_names=self._counts is None)

    def pages(self) -> dict[str, DebugPage]:
        """The documents under `/debug/`."""
        return {"picks": at_once(self._picks)}

    def _picks(self) -> object:
        return picks_document(self._directors.picks(), self._clock(), datetime.now(UTC), self._refusals())

    def _refusals(self) -> Refusals:
        counted = {str(pool): stats.rejections for pool, stats in self._directors.stats().items()}
        return {"": self._directors.unplaced, **counted}
