"""Metric families as text, the way prometheus_client writes them; blocks that did not change are not written again."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client.utils import floatToGoString

from infscale.sim.engine.recorder import Histogram, HttpRecorder, PathRecord, Recorder


@dataclass(frozen=True, slots=True)
class RankView:
    """What a page says of one data-parallel rank; `queue` and `batch` name LoRA adapters waiting and running."""

    waiting: int
    deferred: int
    running: int
    kv_usage_ratio: float
    kv_tokens: int
    batch: tuple[str, ...]
    queue: tuple[str, ...]
    recorder: Recorder


@dataclass(frozen=True, slots=True)
class PageView:
    """Everything a page is made of at one moment. `wall_seconds` is Unix time."""

    ranks: tuple[RankView, ...]
    http: HttpRecorder
    cpu_seconds: float
    wall_seconds: float
    asleep: bool = False


class Family(Protocol):
    """One metric family: `names` are its sample names and its own, `render` its block of text."""

    @property
    def names(self) -> frozenset[str]:
        """Names under which the family can be asked for."""
        ...

    def render(self, view: PageView) -> str:
        """HELP, TYPE and samples."""
        ...


def number(value: float) -> str:
    """A sample value as prometheus_client writes it."""
    if -1e6 < value < 1e6:
        return repr(float(value))
    return str(floatToGoString(value))  # type: ignore[no-untyped-call] # the library's own number format, without types


def label_text(labels: Mapping[str, str]) -> str:
    """``a="x",b="y"``, sorted by name, values escaped."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in sorted(labels.items()))


def escape(value: str) -> str:
    """A label value with backslashes, quotes and newlines escaped."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def head(name: str, kind: str, text: str) -> str:
    """The HELP and TYPE lines."""
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


class StaticFamily:
    """A family that never changes."""

    def __init__(self, name: str, kind: str, text: str, samples: Iterable[str]) -> None:
        lines = tuple(samples)
        self.names = frozenset({name} | {line.partition("{")[0].partition(" ")[0] for line in lines})
        self._block = head(name, kind, text) + "".join(line + "\n" for line in lines)

    def render(self, view: PageView) -> str:
        """The same block every time."""
        return self._block


class ScalarFamily:
    """A gauge or counter; `samples` pairs the label text of each rank's sample with how to read its value."""

    def __init__(
        self, name: str, kind: str, text: str, labels: Sequence[str], value: Callable[[RankView], float]
    ) -> None:
        self.names = frozenset({name})
        self._head = head(name, kind, text)
        self._starts = [f"{name}{{{label}}} " if label else f"{name} " for label in labels]
        self._value = value

    def render(self, view: PageView) -> str:
        """One line per rank."""
        value = self._value
        lines = [start + number(value(rank)) for start, rank in zip(self._starts, view.ranks, strict=True)]
        return self._head + "\n".join(lines) + "\n"


class SplitFamily:
    """A gauge or counter split by one more label: `labels[i][j]` and `values[j]` make rank i's sample j."""

    def __init__(
        self,
        name: str,
        kind: str,
        text: str,
        labels: Sequence[Sequence[str]],
        values: Sequence[Callable[[RankView], float]],
    ) -> None:
        self.names = frozenset({name})
        self._head = head(name, kind, text)
        self._starts = [[f"{name}{{{label}}} " for label in rank] for rank in labels]
        self._values = values

    def render(self, view: PageView) -> str:
        """The samples of every rank."""
        lines = [
            start + number(value(rank))
            for starts, rank in zip(self._starts, view.ranks, strict=True)
            for start, value in zip(starts, self._values, strict=True)
        ]
        return self._head + "\n".join(lines) + "\n"


class PageFamily:
    """A family of one sample that reads the page, such as the process' CPU seconds."""

    def __init__(self, name: str, kind: str, text: str, value: Callable[[PageView], float]) -> None:
        self.names = frozenset({name})
        self._start = head(name, kind, text) + f"{name} "
        self._value = value

    def render(self, view: PageView) -> str:
        """One line."""
        return f"{self._start}{number(self._value(view))}\n"


class HistogramText:
    """The lines of one histogram; formatted again only when something was observed since."""

    def __init__(self, name: str, labels: Mapping[str, str], histogram: Histogram) -> None:
        plain = "{" + label_text(labels) + "}" if labels else ""
        bounds = [number(bound) for bound in histogram.bounds] + ["+Inf"]
        buckets = [f"{name}_bucket{{{label_text({**labels, 'le': bound})}}}" for bound in bounds]
        names = [line.replace("%", "%%") for line in (*buckets, f"{name}_count{plain}", f"{name}_sum{plain}")]
        self._template = "".join(line + " %s\n" for line in names)
        self._shown = -1
        self._text = ""

    def render(self, histogram: Histogram) -> str:
        """Cumulative buckets, count and sum."""
        if histogram.total != self._shown:
            total = 0
            values: list[str] = []
            for count in histogram.counts:
                total += count
                values.append(number(total))
            self._text = self._template % (*values, number(total), number(histogram.sum))
            self._shown = histogram.total
        return self._text


class HistogramFamily:
    """A histogram per rank; `pick` finds it in the rank's recorder."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[Mapping[str, str]],
        bounds: tuple[float, ...],
        pick: Callable[[Recorder], Histogram],
    ) -> None:
        self.names = frozenset({name, f"{name}_bucket", f"{name}_count", f"{name}_sum"})
        self._head = head(name, "histogram", text)
        self._ranks = [HistogramText(name, rank, Histogram(bounds)) for rank in labels]
        self._pick = pick

    def render(self, view: PageView) -> str:
        """The histograms of every rank."""
        pick = self._pick
        blocks = [text.render(pick(rank.recorder)) for text, rank in zip(self._ranks, view.ranks, strict=True)]
        return self._head + "".join(blocks)


class PathFamily:
    """A family with samples per HTTP path; `write` makes the lines of one path, again only after a request to it."""

    def __init__(
        self,
        name: str,
        kind: str,
        text: str,
        suffixes: Collection[str],
        write: Callable[[str, str, PathRecord], str],
    ) -> None:
        self.names = frozenset({name} | {name + suffix for suffix in suffixes})
        self._head = head(name, kind, text)
        self._write = write
        self._shown: dict[tuple[str, str], tuple[int, str]] = {}

    def render(self, view: PageView) -> str:
        """The samples of every path."""
        blocks = [self._head]
        for path, record in view.http.paths.items():
            shown = self._shown.get(path)
            if shown is None or shown[0] != record.total:
                shown = self._shown[path] = (record.total, self._write(*path, record))
            blocks.append(shown[1])
        return "".join(blocks)


class Page:
    """A metrics page: families in their order.

    `exact_names` is prometheus_client's own rule for ``?name[]=``: only samples of exactly the names asked are given,
    and a histogram's family name gives nothing. Without it a family is given whole when any of its names is asked.
    """

    def __init__(self, families: Sequence[Family], exact_names: bool = True) -> None:
        self.families = tuple(families)
        self._exact_names = exact_names

    def render(self, view: PageView, names: Collection[str] = ()) -> str:
        """The page, or what of it is asked for when `names` are given."""
        if not names:
            return "".join([family.render(view) for family in self.families])
        wanted = frozenset(names)
        blocks = [family.render(view) for family in self.families if not wanted.isdisjoint(family.names)]
        return "".join([_only(block, wanted) for block in blocks] if self._exact_names else blocks)

    def frozen(self, view: PageView) -> "Page":
        """A page that says for ever what this one says now."""
        return Page([_Frozen(family.names, family.render(view)) for family in self.families], self._exact_names)


@dataclass(frozen=True, slots=True)
class _Frozen:
    """A family as it once was."""

    names: frozenset[str]
    block: str

    def render(self, view: PageView) -> str:
        return self.block


def _only(block: str, names: frozenset[str]) -> str:
    """The block without samples of other names; nothing if none is left."""
    lines = block.splitlines(keepends=True)
    kept = [line for line in lines if line.startswith("#") or line.partition("{")[0].partition(" ")[0] in names]
    return "".join(kept) if any(not line.startswith("#") for line in kept) else ""
