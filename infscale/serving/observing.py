"""What is counted and kept of the picker's decisions, and where it is shown."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from prometheus_client.registry import Collector

from infscale import __version__
from infscale.metrics.store.metrics_store import MetricStore
from infscale.telemetry.debug_documents import DebugFinder, DebugPage, DebugStream, at_once
from picker.directing.picks import Refusals, picks_document
from picker.directing.pool_directors import PoolDirectors
from picker.directing.watching.observed_director import ObservedDirector
from picker.explaining.explanation import wall_of
from picker.explaining.finding import explained
from picker.explaining.sheet_form import sheet_line
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

    def finders(self) -> dict[str, DebugFinder]:
        """The documents under `/debug/` that have names of their own."""
        return {"picks": lambda name: explained(self._directors.logs(), name, self._wall())}

    def streams(self) -> dict[str, DebugStream]:
        """What is read under `/debug/` line by line."""
        return {"pick-inputs": self._inputs}

    def _inputs(self) -> Iterator[bytes]:
        wall = self._wall()
        for log, _ in list(self._directors.logs().values()):
            sheets = [] if log is None else [each for each in log.sheets() if len(each)]
            yield from (sheet_line(sheet, wall) for sheet in reversed(sheets))

    def _wall(self) -> Callable[[float], datetime | None]:
        return wall_of(self._clock(), datetime.now(UTC))

    def _picks(self) -> object:
        return picks_document(self._directors.picks(), self._clock(), datetime.now(UTC), self._refusals())

    def _refusals(self) -> Refusals:
        counted = {str(pool): stats.rejections for pool, stats in self._directors.stats().items()}
        return {"": self._directors.unplaced, **counted}
