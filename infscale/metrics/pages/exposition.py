"""Prometheus exposition text, read selectively.

A model server's page is 80–220 KB of which a decision needs a tenth, so nothing here parses it line by line: the lines
of the asked sample names are found as bytes, anchored at the start of a line, and their label strings are parsed once
and remembered, because they repeat from scrape to scrape.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import xxhash

from infscale.errors import ExpositionError
from infscale.memo import Memo
from infscale.metrics.pages.bounds import MAX_LABELS, MAX_LABELS_OF_PAGE, MAX_LINE_BYTES, MAX_SERIES
from infscale.metrics.pages.page_lines import Cut, LineFinder

Labels = Mapping[str, str]

_NO_LABELS: Final[Labels] = MappingProxyType({})
_NAME: Final = rb"[a-zA-Z_:][a-zA-Z0-9_:]*"
# Quantifiers are possessive (*+): no page can make matching take more than one pass over a line.
_LABEL: Final = rb'[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t]*+(?:,|(?=\}))'
_LABEL_PATTERN: Final = re.compile(_LABEL)
# name, then labels or a blank, then value, optional timestamp, optional OpenMetrics exemplar.
_SAMPLE_PATTERN: Final = re.compile(
    rb"(?P<head>(?P<name>" + _NAME + rb"+)(?:[ \t]*+(?P<labels>\{(?:" + _LABEL + rb")*+[ \t]*+\})|(?=[ \t])))[ \t]*+"
    rb"(?P<value>[^ \t#]++)(?:[ \t]++(?P<timestamp>[-+]?[0-9.]++))?[ \t]*+(?:#[ \t].*)?"
)
_TOKEN_END_PATTERN: Final = re.compile(rb"[{ \t\r]")
_ESCAPE_PATTERN: Final = re.compile(r'\\([\\n"])')
# A series of a quoted name begins with a brace, too.
_BEGINNING: Final = rb"(?:\xef\xbb\xbf)?+\s*+"
_JSON_PATTERN: Final = re.compile(
    _BEGINNING + rb'(?:\[|\{\s*+(?:\}|"[^"]*+"\s*+:)|(?:null|true|false|"[^"\n]*+"|-?+[0-9][0-9.eE+-]*+)\s*+\Z)'
)
_HTML_PATTERN: Final = re.compile(_BEGINNING + rb"<[!?a-zA-Z]")
_FAMILY_PATTERN: Final = re.compile(rb"\n# TYPE (" + _NAME + rb")[ \t]")
# A page has some hundred lines that are read, and pages of one engine differ in few label sets.
_REMEMBERED_LINES: Final = 16_384
# More than one page has: else the largest page that is read would push out itself.
_REMEMBERED_HEADS: Final = 12_288
# A label string longer than this is parsed every time instead of being remembered.
_LONGEST_REMEMBERED_BYTES: Final = 1024
# A value, and what may stand behind it without a blank: longer ones are no numbers, and take long to find out.
_LONGEST_NUMBER_BYTES: Final = 256
_LONGEST_NAME_SAID: Final = 100


class Series(NamedTuple):
    """One line of a page: a label set and its value (NaN and ±Inf as the page says)."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class SeriesColumns:
    """The series of one sample name in page order, labels and values side by side.

    A label set that repeats, on one page or from page to page, is the same object.
    """

    labels: Sequence[Labels] = ()
    values: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What a page says beside its values: by sample name the rows of `Selected.values`, and the labels of each.

    Pages that say the same are of one layout, the same object, so that what follows from it is worked out once
    and kept in `derived`, by the type of its owner.
    """

    rows: Mapping[str, tuple[int, ...]]
    labels: Mapping[str, tuple[Labels, ...]]
    derived: Memo = field(default_factory=Memo)

    @classmethod
    def of(cls, samples: Iterable[tuple[str, Labels]]) -> "Layout":
        """The layout of samples in the order of their lines."""
        labels: dict[str, list[Labels]] = {}
        rows: dict[str, list[int]] = {}
        for row, (name, of_row) in enumerate(samples):
            labels.setdefault(name, []).append(of_row)
            rows.setdefault(name, []).append(row)
        return cls(
            {name: tuple(each) for name, each in rows.items()}, {name: tuple(each) for name, each in labels.items()}
        )


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """What a page says about the asked names; `fingerprint` changes whenever any byte of those lines does.

    `apart` has the series of the names that are read apart, in page order.
    """

    names: tuple[str, ...]
    layout: Layout
    values: list[float]
    apart: Sequence[tuple[str, Series]]
    fingerprint: int

    def series(self, name: str) -> list[Series]:
        """The series of one name, in page order."""
        apart = [each for of, each in self.apart if of == name]
        if apart:
            return apart
        rows, labels = self.layout.rows.get(name, ()), self.layout.labels.get(name, ())
        return [Series(of_row, self.values[row]) for of_row, row in zip(labels, rows, strict=True)]

    @property
    def columns(self) -> dict[str, SeriesColumns]:
        """The series of each asked name that is not read apart; none where the page has none."""
        layout, values = self.layout, self.values
        found = dict.fromkeys(self.names, SeriesColumns())
        for name, rows in layout.rows.items():
            found[name] = SeriesColumns(layout.labels[name], [values[row] for row in rows])
        return found


class _Heads:
    """Names and labels by what lines begin with; bounded by how many they are, and how many labels they have."""

    __slots__ = ("_known", "_labels", "_most")

    def __init__(self, most: int) -> None:
        self._known: dict[bytes, tuple[str, Labels]] = {}
        self._labels = 0
        self._most = most

    def get(self, head: bytes) -> tuple[str, Labels] | None:
        return self._known.get(head)

    def __contains__(self, head: bytes) -> bool:
        return head in self._known

    def remember(self, head: bytes, name: str, labels: Labels) -> None:
        self._labels += len(labels)
        if len(self._known) >= self._most or self._labels > MAX_LABELS_OF_PAGE:
            self._known.clear()
            self._labels = len(labels)
        self._known[head] = (name, labels)


class _Line(NamedTuple):
    """A line that was parsed; `head` is what it begins with, name and labels as they are written."""

    head: bytes
    name: str
    labels: Labels
    value: float


class _Parted(NamedTuple):
    """The lines of a page: cut in two those that make up its layout, None where that is not known yet; and the others.

    `heads_digest` changes whenever the heads do.
    """

    cut: Cut
    layout: Layout | None
    heads_digest: int
    apart: Sequence[tuple[bytes, bytes]]


class Selection:
    """Reads a fixed set of sample names out of pages; owns the memory of label strings it has parsed.

    Not for use by several threads at once. `remember` bounds the label strings kept; when it is reached all are
    forgotten, which costs one slower read. What lines begin with stays the same from scrape to scrape: of lines that
    begin as others did before, only the values are read. The names in `apart` are no part of a page's layout: what they
    say is in their labels, which may be others on every page.
    """

    def __init__(self, names: Iterable[str], remember: int = _REMEMBERED_HEADS, apart: Iterable[str] = ()) -> None:
        self.names = tuple(dict.fromkeys(names))
        # With the brace behind it, so that no longer name begins with one of them.
        self._apart = tuple(name.encode() + b"{" for name in apart)
        self._lines = LineFinder(self.names, MAX_SERIES)
        self._heads = _Heads(remember)
        # Those that are read apart, in a memory of their own: they come and go, and would push out the others.
        self._apart_heads = _Heads(remember)
        self._layouts: dict[tuple[bytes, ...], Layout] = {}
        # Of the page before: equal ones are found sooner by comparing than by hashing.
        self._latest: tuple[tuple[bytes, ...], Layout | None, int] = ((), None, _digest(()))
        self._latest_parted: tuple[tuple[bytes, ...], list[int], tuple[bytes, ...]] = ((), [], ())
        self._held = 0

    def read(self, page: bytes, *, whole: bool = True) -> Selected:
        """Every series of the asked names; lines of other names are not looked at.

        `whole` is False when the transport cannot vouch that the body ended where the server meant it to end; then a
        missing final newline counts as truncation. Raises ExpositionError when the page is truncated, a line of an
        asked name is malformed, or there is more of something than `infscale.metrics.pages.bounds` allows.
        """
        _check_end(page, whole)
        parted = self._parted(self._lines.cut(page))
        heads, numbers = parted.cut
        written = b"\n".join(numbers)
        if len(written) > _LONGEST_NUMBER_BYTES and max(map(len, numbers)) > _LONGEST_NUMBER_BYTES:
            raise ExpositionError("page with a value that is no number")
        layout = parted.layout
        values = None if layout is None else _plain_numbers(numbers, written)
        if layout is None or values is None:
            samples = self._samples(heads, numbers)
            layout, values = self._layout(samples), [each.value for each in samples]
        fingerprint = xxhash.xxh3_64_intdigest(written, parted.heads_digest)
        found: list[tuple[str, Series]] = []
        labels = 0
        for head, number in parted.apart:
            fingerprint = xxhash.xxh3_64_intdigest(head + number, fingerprint)
            parsed = self._sample(head, number, self._apart_heads)
            labels = _counted(labels, parsed)
            found.append((parsed.name, Series(parsed.labels, parsed.value)))
        return Selected(self.names, layout, values, found, fingerprint)

    def _parted(self, cut: Cut) -> _Parted:
        heads, numbers = cut
        apart: list[tuple[bytes, bytes]] = []
        if self._apart:
            if self._latest_parted[0] != heads:
                rows = [row for row, head in enumerate(heads) if head.startswith(self._apart)]
                self._latest_parted = heads, rows, _without(heads, rows)
            _, rows, others = self._latest_parted
            apart = [(heads[row], numbers[row]) for row in rows]
            heads, numbers = others, _without(numbers, rows)
        known, layout, digest = self._latest
        if known != heads:
            layout, digest = None, _digest(heads)
        if layout is None:
            layout = self._layouts.get(heads)
        self._latest = heads, layout, digest
        return _Parted(Cut(heads, numbers), layout, digest, apart)

    def _layout(self, samples: Sequence[_Line]) -> Layout:
        """The layout of these lines, remembered from now on: as lines are cut that have one blank and a value."""
        heads = tuple([each.head + b" " for each in samples])
        known = self._layouts.get(heads)
        if known is not None:
            return known
        layout = Layout.of([(each.name, each.labels) for each in samples])
        if all(each.head in self._heads for each in samples):
            self._held += len(heads)
            if self._held > _REMEMBERED_LINES:
                self._layouts.clear()
                self._held = len(heads)
            self._layouts[heads] = layout
        return layout

    def _samples(self, heads: Sequence[bytes], numbers: Sequence[bytes]) -> list[_Line]:
        """The samples on these lines."""
        found: list[_Line] = []
        labels = 0
        for head, number in zip(heads, numbers, strict=True):
            parsed = self._sample(head, number, self._heads)
            labels = _counted(labels, parsed)
            found.append(parsed)
        return found

    def _sample(self, head: bytes, number: bytes, memory: _Heads) -> _Line:
        """The sample on a line; where its head is in `memory`, only its number is read."""
        known = memory.get(head[:-1]) if head.endswith(b" ") else None
        value = None if known is None else _plain_numbers([number], number)
        return (
            self._parse(head + number, memory) if known is None or value is None else _Line(head[:-1], *known, value[0])
        )

    def _parse(self, line: bytes, memory: _Heads) -> _Line:
        """The sample on `line`, whose label string is in `memory` from now on."""
        if len(line) > MAX_LINE_BYTES:
            raise ExpositionError(f"page with a line of more than {MAX_LINE_BYTES} bytes that is read: {_begun(line)}")
        match = _SAMPLE_PATTERN.fullmatch(line.rstrip())
        if match is None:
            name = _begun(line)
            raise ExpositionError(f"malformed sample of {name}")
        name, head = match["name"].decode(), match["head"]
        value = _number(match["value"], name)
        known = memory.get(head)
        if known is not None:
            return _Line(head, *known, value)
        labels = _labels(match["labels"], name)
        if len(head) <= _LONGEST_REMEMBERED_BYTES:
            memory.remember(head, name, labels)
        return _Line(head, name, labels, value)


def is_json(page: bytes) -> bool:
    """Whether what should be a page begins like JSON, with a list or an object with a key, or is one JSON value."""
    return _JSON_PATTERN.match(page) is not None


def is_html(page: bytes) -> bool:
    """Whether what should be a page begins like HTML, as what a proxy or a console says does."""
    return _HTML_PATTERN.match(page) is not None


def unasked_families(page: bytes, names: Iterable[str]) -> bool:
    """Whether the page declares a family that none of the sample names `names` belongs to.

    A server that answers ``?name[]=`` with such a page has ignored the parameter.
    """
    asked = tuple(name.encode() for name in names)
    families = set(_FAMILY_PATTERN.findall(b"\n" + page))
    return any(not any(name == family or name.startswith(family + b"_") for name in asked) for family in families)


def _counted(labels: int, line: _Line) -> int:
    """`labels` and those of `line`. Raises ExpositionError when they are too many for a page."""
    labels += len(line.labels)
    if labels > MAX_LABELS_OF_PAGE:
        raise ExpositionError(f"page with more than {MAX_LABELS_OF_PAGE} labels of the series that are read")
    return labels


def _begun(line: bytes) -> str:
    """The name that a line begins with, for people: a broken line may go on with anything."""
    return _TOKEN_END_PATTERN.split(line[:_LONGEST_NAME_SAID], 1)[0].decode("ascii", "backslashreplace")


def _digest(heads: tuple[bytes, ...]) -> int:
    return xxhash.xxh3_64_intdigest(b"\n".join(heads))


def _without(texts: tuple[bytes, ...], rows: Sequence[int]) -> tuple[bytes, ...]:
    """`texts` but for those of `rows`, which are ascending."""
    if not rows:
        return texts
    left = list(texts)
    for row in reversed(rows):
        del left[row]
    return tuple(left)


def _check_end(page: bytes, whole: bool) -> None:
    """Refuse a page that stops in the middle of a line."""
    if not page or page.endswith(b"\n"):
        return
    last = page[page.rfind(b"\n") + 1 :].strip()
    match = _SAMPLE_PATTERN.fullmatch(last)
    if not whole or (match is None and last != b"# EOF"):
        raise ExpositionError("page truncated")
    if match is not None:
        _number(match["value"], "the last line")


def _plain_numbers(texts: Sequence[bytes], together: bytes) -> list[float] | None:
    """The numbers of a page that holds nothing else behind its last blanks; None where it may."""
    if b"_" in together:
        return None
    try:
        return list(map(float, texts))
    except ValueError:  # A timestamp after a tab, or no number at all.
        return None


def _number(text: bytes, name: str) -> float:
    try:
        if b"_" not in text:  # Python reads 1_000, the exposition format does not.
            return float(text)
    except ValueError:
        pass
    raise ExpositionError(f"malformed value of {name}")


def _labels(text: bytes | None, name: str) -> Labels:
    if text is None:
        return _NO_LABELS
    labels: dict[str, str] = {}
    for match in _LABEL_PATTERN.finditer(text, 1):
        key = match[1].decode()
        if len(labels) >= MAX_LABELS:
            raise ExpositionError(f"{name} has more than {MAX_LABELS} labels")
        if key in labels:
            raise ExpositionError(f"duplicate label of {name}")
        try:
            value = match[2].decode()
        except UnicodeDecodeError as error:
            raise ExpositionError(f"label of {name} is not UTF-8") from error
        if "\\" in value:
            value = _ESCAPE_PATTERN.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], value)
        labels[key] = value
    return MappingProxyType(labels)


_SPEC_PATTERN: Final = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\})?\s*", re.DOTALL)
_SPEC_LABEL_PATTERN: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*(?:"([^"]*)"|([^\s",{}=]+))\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A sample name and the labels a series must have (others may be there): ``name{label=value,other="value"}``.

    ``name{label=""}`` means series without the label, or with it empty, which are the same.
    """

    name: str
    labels: Labels = field(default_factory=lambda: _NO_LABELS, hash=False)

    @classmethod
    def parse(cls, text: str) -> "MetricSpec | None":
        """The spec written in `text`; None for an empty text, which means "no such metric".

        Raises ValueError saying what is expected.
        """
        if not text.strip():
            return None
        match = _SPEC_PATTERN.fullmatch(text)
        if match is None:
            raise ValueError("a metric spec is written name or name{label=value,label=value}")
        labels: dict[str, str] = {}
        rest = match[2] or ""
        position = 0
        while rest[position:].strip():
            label = _SPEC_LABEL_PATTERN.match(rest, position)
            if label is None or label[1] in labels:
                raise ValueError("labels of a metric spec are written label=value, separated by commas, each once")
            labels[label[1]] = label[3] if label[2] is None else label[2]
            position = label.end()
        return cls(match[1], MappingProxyType(labels))

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled, which a read-only view of its labels cannot be."""
        return _spec, (self.name, dict(self.labels))

    def matches(self, labels: Labels) -> bool:
        """Whether a series with `labels` is meant: each of the spec's labels has the same value there."""
        return all(labels.get(key, "") == value for key, value in self.labels.items())


def _spec(name: str, labels: dict[str, str]) -> MetricSpec:
    return MetricSpec(name, MappingProxyType(labels))
