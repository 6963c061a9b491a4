"""Metric families as text, the way prometheus_client writes them; blocks that did not change are not written again."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family: its sample names and its own, for which it can be asked, and what writes its block of text."""

    names: frozenset[str]
    render: Callable[[PageView], str]


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


def family(name: str, kind: str, text: str, write: Callable[[PageView], str], suffixes: Collection[str] = ()) -> Family:
    """A family whose samples `write` makes, under its name or with one of `suffixes` behind it."""
    start = head(name, kind, text)
    return Family(frozenset({name, *(name + suffix for suffix in suffixes)}), lambda view: start + write(view))


def static_family(name: str, kind: str, text: str, samples: Iterable[str]) -> Family:
    """A family that never changes."""
    return family(name, kind, text, _always("".join(line + "\n" for line in samples)))


def _always(block: str) -> Callable[[PageView], str]:
    return lambda _: block


def rank_family(
    name: str, kind: str, text: str, samples: Sequence[tuple[Sequence[str], Callable[[RankView], float]]]
) -> Family:
    """A gauge or counter; each of `samples` has a label text for each rank, and how the value of one is read."""
    starts = [[f"{name}{{{label}}} " if label else f"{name} " for label in labels] for labels, _ in samples]

    def write(view: PageView) -> str:
        lines = [
            f"{of_ranks[place]}{number(value(rank))}\n"
            for place, rank in enumerate(view.ranks)
            for of_ranks, (_, value) in zip(starts, samples, strict=True)
        ]
        return "".join(lines)

    return family(name, kind, text, write)


class HistogramText:
    """The lines of one histogram; formatted again only when something was observed since."""

    def __init__(self, name: str, labels: Mapping[str, str], bounds: Iterable[float]) -> None:
        plain = "{" + label_text(labels) + "}" if labels else ""
        limits = [*map(number, bounds), "+Inf"]
        buckets = [f"{name}_bucket{{{label_text({**labels, 'le': limit})}}}" for limit in limits]
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


HISTOGRAM_SUFFIXES = ("_bucket", "_count", "_sum")


def histogram_family(
    name: str,
    text: str,
    labels: Sequence[Mapping[str, str]],
    bounds: tuple[float, ...],
    pick: Callable[[Recorder], Histogram],
) -> Family:
    """A histogram per rank; `pick` finds it in the rank's recorder."""
    ranks = [HistogramText(name, of_rank, bounds) for of_rank in labels]

    def write(view: PageView) -> str:
        return "".join([text.render(pick(rank.recorder)) for text, rank in zip(ranks, view.ranks, strict=True)])

    return family(name, "histogram", text, write, HISTOGRAM_SUFFIXES)


def path_family(
    name: str, kind: str, text: str, suffixes: Collection[str], write: Callable[[str, str, PathRecord], str]
) -> Family:
    """A family with samples per HTTP path; `write` makes the lines of one path, again only after a request to it."""
    written: dict[tuple[str, str], tuple[int, str]] = {}

    def blocks(view: PageView) -> str:
        for path, record in view.http.paths.items():
            if path not in written or written[path][0] != record.total:
                written[path] = (record.total, write(*path, record))
        return "".join([written[path][1] for path in view.http.paths])

    return family(name, kind, text, blocks, suffixes)


@dataclass(frozen=True, slots=True)
class Page:
    """A metrics page: families in their order.

    For ``?name[]=`` it has prometheus_client's own rule: only samples of exactly the names asked are given, and a
    histogram's family name gives nothing.
    """

    families: tuple[Family, ...]

    def render(self, view: PageView, names: Collection[str] = ()) -> str:
        """The page, or what of it is asked for when `names` are given."""
        if not names:
            return "".join([family.render(view) for family in self.families])
        wanted = frozenset(names)
        blocks = [family.render(view) for family in self.families if not wanted.isdisjoint(family.names)]
        return "".join([_only(block, wanted) for block in blocks])

    def frozen(self, view: PageView) -> "Page":
        """A page that says for ever what this one says now."""
        return Page(tuple(Family(each.names, _always(each.render(view))) for each in self.families))


def _only(block: str, names: frozenset[str]) -> str:
    """The block without samples of other names; nothing if none is left."""
    lines = block.splitlines(keepends=True)
    kept = [line for line in lines if line.startswith("#") or line.partition("{")[0].partition(" ")[0] in names]
    return "".join(kept) if any(not line.startswith("#") for line in kept) else ""
