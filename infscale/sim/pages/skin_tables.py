"""Pages of engines from tables of what is on them: names, help texts and where in the engine each value comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infscale.sim.engine.recorder import Histogram, Histograms, Recorder
from infscale.sim.pages.engine_pages import PageSubject, common_families, created, histogram
from infscale.sim.pages.families import Family, Page, RankView, label_text, rank_family

Scalar = tuple[str, str, str, Callable[[RankView], float]]
"""Name, type, help text, value."""
Timing = tuple[str, str, Callable[[Histograms], Histogram]]
"""Name, help text, histogram."""


@dataclass(frozen=True, slots=True)
class SkinTable:
    """What is on a page, each with the labels of every rank; `python`: with what prometheus_client adds of its own."""

    labels: Sequence[dict[str, str]]
    scalars: tuple[Scalar, ...]
    timings: tuple[Timing, ...] = ()
    python: bool = True

    def page(self, subject: PageSubject, more: Sequence[Family] = ()) -> Page:
        """The page, `more` at its end."""
        texts = [label_text(one) for one in self.labels]
        families = common_families(subject) if self.python else []
        for name, kind, text, value in self.scalars:
            families.append(rank_family(name, kind, text, [(texts, value)]))
            if kind == "counter" and self.python:
                families.append(created(name.removesuffix("_total"), text, self.labels, subject.started_at))
        for name, text, pick in self.timings:
            # The second family of each is that of the ``_created`` gauges.
            families += histogram(name, text, self.labels, pick, subject)[: 2 if self.python else 1]
        return Page((*families, *more))


def of_each_rank(subject: PageSubject, **labels: str) -> list[dict[str, str]]:
    """`labels` for each rank, numbered where there are several."""
    if subject.ranks == 1:
        return [labels]
    return [labels | {"rank": str(rank)} for rank in range(subject.ranks)]


def hit_ratio(rank: RankView) -> float:
    """The share of prompt tokens that were cached."""
    return rank.recorder.prefix_hits / rank.recorder.prefix_queries if rank.recorder.prefix_queries else 0.0


def completed(recorder: Recorder) -> float:
    """Requests that ended as they were meant to."""
    return recorder.finished["stop"] + recorder.finished["length"]


def zero(_: RankView) -> float:
    """What never happens."""
    return 0.0
