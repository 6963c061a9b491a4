"""infscale's own metrics as a page in Prometheus' text format.

A page of a thousand endpoints takes a quarter of a second to write. It is written a little at a time, so that requests
and answers that come meanwhile wait for a part of it alone.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SAMPLES_AT_ONCE = 200
"""About as many as a millisecond writes."""
# Families whose samples are a line each, in their order; others are never as large.
_DIVISIBLE = frozenset({"gauge", "counter", "histogram"})
_HEAD_LINES = 2
_SUFFIXES = ("", "_total", "_created", "_bucket", "_sum", "_count", "_info")
"""Behind the name of a family, they are those of its samples."""


class BlockingCollector(Collector):
    """A collector that reads files: it is asked in a thread of its own."""


class OwnMetrics:
    """The page of what `collectors` count, and those that are shown later; each has the same families every time.

    A collector whose families are long gives them in parts, one after another under one name.
    """

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self._collectors = [*collectors]
        # The names of each collector's families, once all were seen.
        self._names: dict[Collector, frozenset[str]] = {}

    def show(self, collectors: Iterable[Collector]) -> None:
        """Have these on the page, too, after those that it has."""
        self._collectors += collectors

    async def written(self, asked: Collection[str] = ()) -> bytes:
        """Every family as it is when its turn comes; of `asked` sample names only theirs, if there are any."""
        wanted = frozenset(asked)
        pieces: list[bytes] = []
        for collector in self._collectors:
            known = self._names.get(collector)
            if wanted and known is not None and wanted.isdisjoint(known):
                continue
            seen: set[str] = set()
            last = ""
            families: Iterable[Metric] = collector.collect()
            if isinstance(collector, BlockingCollector):
                families = await asyncio.to_thread(tuple, families)
            for family in families:
                names = {family.name + suffix for suffix in _SUFFIXES}
                seen |= names
                if wanted and wanted.isdisjoint(names):
                    continue
                for piece in _pieces(family, goes_on=family.name == last):
                    pieces.append(piece)
                    await asyncio.sleep(0)
                last = family.name
            self._names[collector] = frozenset(seen)
        return b"".join(pieces)


class _Family(Collector):
    """One family, for a writer that takes collectors."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _pieces(family: Metric, *, goes_on: bool) -> Iterator[bytes]:
    """The lines of a family; its HELP and TYPE are at the head of the first piece alone, unless it `goes_on`."""
    size = _SAMPLES_AT_ONCE if family.type in _DIVISIBLE else max(1, len(family.samples))
    for start in range(0, max(1, len(family.samples)), size):
        part = Metric(family.name, family.documentation, family.type, family.unit)
        part.samples = family.samples[start : start + size]
        written = generate_latest(_Family(part))
        yield written.split(b"\n", _HEAD_LINES)[_HEAD_LINES] if start or goes_on else written
