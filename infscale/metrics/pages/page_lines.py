"""Finding the lines of a page that are read, and cutting them in two.

Pages of one kind of server say the same from scrape to scrape but for their numbers. So a page that was searched leaves
an outline: how many lines it has, which of them are read, and of each other line the few letters that no line which is
read has in these places. A page of a known outline is cut where its lines are; any other is searched.
"""

import os.path
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from infscale.errors import ExpositionError
from infscale.metrics.pages.bounds import MAX_LINES

_Bytes = NDArray[np.uint8]
_Places = NDArray[np.intp]

# What a line begins with, as far as it can be a name, and what follows that.
_BEGIN_PATTERN: Final = re.compile(rb"[a-zA-Z0-9_:]*+.", re.DOTALL)
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"
_NEWLINE: Final = 10
# Pools have servers of a few kinds. Of pages with as many lines as another the newest outlines are kept, and of all so
# many that their letters, each of which takes seventeen bytes, come to a megabyte or two.
_REMEMBERED_ALIKE: Final = 3
_REMEMBERED_COUNTS: Final = 64
_REMEMBERED_LETTERS: Final = 80_000
_REMEMBERED_BEGINS: Final = 2048


class Cut(NamedTuple):
    """Lines in two: what stands up to the last blank, which is included, and what stands behind it.

    Mostly that is a series and its value. Of a line without blanks, as none should be, the name is the first.
    """

    heads: tuple[bytes, ...]
    numbers: tuple[bytes, ...]


class _Outline(NamedTuple):
    """The lines (from 0) that are read, and what they begin with; and `letters` of the other lines.

    These stand on the lines `others`, at `offsets` from their beginnings.
    """

    read: _Places
    begins: list[bytes]
    others: _Places
    offsets: _Places
    letters: bytes


class LineFinder:
    """Finds the lines that begin with one of `names`, which may have blanks before them."""

    def __init__(self, names: Sequence[str], most: int) -> None:
        self._most = most
        self._pattern = _line_pattern(names)
        self._names = [name.encode() for name in names]
        # Behind that no letter of a line tells anything.
        self._longest = max(map(len, self._names), default=0) + 1
        # By the number of lines. A number that was met only once has none: making one costs as much as two searches.
        self._known: dict[int, list[_Outline]] = {}
        self._held = 0
        self._telling: dict[bytes, tuple[int, ...]] = {}
        # What the lines of the last page of a known outline begin with: mostly, those of the next begin so too.
        self._vouched: tuple[bytes, ...] = ()

    def cut(self, page: bytes) -> Cut:
        """The lines, in page order.

        Raises ExpositionError when there are more than `most`, or more of any kind than a page may have.
        """
        placed = self._placed(page)
        if placed is None:
            found = self._searched(page)
            self._remember(page)
            return found
        outline, begins, ends = placed
        starts: list[int] = begins.take(outline.read).tolist()
        stops: list[int] = ends.take(outline.read).tolist()
        numbers = _behind(page, starts, stops, self._vouched)
        if numbers is not None:
            return Cut(self._vouched, numbers)
        found = _cut(page, starts, stops)
        if not all([head.startswith(begin) for head, begin in zip(found.heads, outline.begins, strict=True)]):
            return self._searched(page)
        self._vouched = found.heads
        return found

    def _searched(self, page: bytes) -> Cut:
        # A page begins with a comment, and is then searched as it is.
        lines: list[tuple[bytes, bytes]] = self._pattern.findall(page if page.startswith(b"#") else b"\n" + page)
        if len(lines) > self._most:
            raise ExpositionError(f"page with more than {self._most} series of the names that are read")
        return Cut(*zip(*lines, strict=True)) if lines else Cut((), ())

    def _placed(self, page: bytes) -> tuple[_Outline, _Places, _Places] | None:
        """The outline of a page, and where its lines begin and end; None of one whose outline is not known."""
        data: _Bytes = np.frombuffer(page, dtype=np.uint8)
        marks = data == _NEWLINE
        # Looked at before their places are listed, which take eight bytes each.
        if len(page) > MAX_LINES and np.count_nonzero(marks) > MAX_LINES:
            raise ExpositionError(f"page with more than {MAX_LINES} lines")
        [ends] = marks.nonzero()
        known = self._known.get(len(ends))
        if not known or not page.endswith(b"\n"):
            return None
        starts: _Places = np.empty(len(ends), dtype=np.intp)
        starts[0] = 0
        np.add(ends[:-1], 1, out=starts[1:])
        for outline in known:
            # A line that has become shorter than this is none that is read either: it lacks a letter of the name.
            letters = data.take(starts.take(outline.others) + outline.offsets, mode="clip")
            if letters.tobytes() == outline.letters:
                return outline, starts, ends
        return None

    def _remember(self, page: bytes) -> None:
        """Have the outline of a page, if one with as many lines was met before."""
        if not page.endswith(b"\n"):
            return
        count = page.count(b"\n")
        if count not in self._known:
            if len(self._known) >= _REMEMBERED_COUNTS:
                self._forget()
            self._known[count] = []
            return
        outline = self._outline(page)
        if outline is None:
            return
        self._held += len(outline.letters)
        if self._held > _REMEMBERED_LETTERS:
            self._forget()
            self._held = len(outline.letters)
        known = self._known.get(count, [])
        self._known[count] = [outline, *known[: _REMEMBERED_ALIKE - 1]]

    def _forget(self) -> None:
        self._known.clear()
        self._held = 0

    def _outline(self, page: bytes) -> _Outline | None:
        """None where a line shows only as a whole whether it is read, and where there is too much to remember."""
        names = {match.start(1) - 1 for match in self._pattern.finditer(b"\n" + page)}
        read: list[int] = []
        begins: list[bytes] = []
        others: list[int] = []
        offsets: list[int] = []
        letters = bytearray()
        start = 0
        for number, text in enumerate(page[:-1].split(b"\n")):
            begin = self._begin(text[: self._longest] + b"\n")
            if start in names:
                read.append(number)
                begins.append(begin)
            else:
                telling = self._tells(begin)
                if not telling:
                    return None
                for offset in telling:
                    others.append(number)
                    offsets.append(offset)
                    letters.append(begin[offset])
                if len(letters) > _REMEMBERED_LETTERS:
                    return None
            start += len(text) + 1
        if len(read) < len(names):
            return None
        return _Outline(
            np.array(read, dtype=np.intp),
            begins,
            np.array(others, dtype=np.intp),
            np.array(offsets, dtype=np.intp),
            bytes(letters),
        )

    def _begin(self, line: bytes) -> bytes:
        """What `line` begins with, as far as it can be one of the names, and the letter behind that."""
        match = _BEGIN_PATTERN.match(line)
        return line[: self._longest] if match is None else match[0][: self._longest]

    def _tells(self, begin: bytes) -> tuple[int, ...]:
        """Where letters stand that show that a line beginning so has none of the names; none if there are no such."""
        known = self._telling.get(begin)
        if known is None:
            if len(self._telling) >= _REMEMBERED_BEGINS:
                self._telling.clear()
            known = self._telling[begin] = _telling(begin, self._names)
        return known


def _line_pattern(names: Sequence[str]) -> re.Pattern[bytes]:
    """Finds lines of exactly these names in one pass, cut in two; blanks before a name are allowed by the format.

    One regular expression that starts with a literal newline costs a fifth of one `bytes.find` per name: the engine
    jumps from line to line and leaves most at the first letter that no asked name has.
    """
    anyone = _any_of(sorted(set(names))).encode() or rb"(?!)"
    return re.compile(rb"\n[ \t]*+(" + anyone + rb"(?![a-zA-Z0-9_:])\{?(?:[^\n]* )?)([^\n]*)")


def _any_of(names: Sequence[str]) -> str:
    """An expression for any of these names, by what they begin with in common: no letter is looked at twice.

    They are sorted, and no two are equal.
    """
    if len(names) < 2:
        return "".join(map(re.escape, names))
    begun = os.path.commonprefix(names)  # noqa: RUF071 # of texts, letter by letter
    by_next = groupby((name[len(begun) :] for name in names), key=lambda rest: rest[:1])
    # Sorted, so that a name that ends here comes first; tried last, for a longer one is to be found whole.
    branches = [_any_of(list(rests)) for _, rests in by_next][::-1]
    return re.escape(begun) + "(?:" + "|".join(branches) + ")"


def _telling(begin: bytes, names: Sequence[bytes]) -> tuple[int, ...]:
    if begin[:1] in (b" ", b"\t"):
        # A name may be behind it.
        return ()
    # That no blank stands in the first place has to be seen of every line.
    chosen = [0]
    left = [name for name in names if not _differ(begin, name, 0)]
    while left:
        # The first letter that the first of them has not may tell the others apart as well.
        offset = next((offset for offset in range(1, len(begin)) if _differ(begin, left[0], offset)), 0)
        if not offset:
            return ()
        chosen.append(offset)
        left = [name for name in left if not _differ(begin, name, offset)]
    return tuple(chosen)


def _differ(begin: bytes, name: bytes, offset: int) -> bool:
    """Whether the letter at `offset` shows that `begin` is not `name`, or goes on where that ends."""
    if offset < len(name):
        return begin[offset] != name[offset]
    return offset == len(name) and begin[offset] in _LETTERS


def _behind(
    page: bytes, starts: Sequence[int], stops: Sequence[int], heads: tuple[bytes, ...]
) -> tuple[bytes, ...] | None:
    """What stands behind the last blanks of lines that begin with `heads`; None where they do not, or blanks follow."""
    if len(heads) != len(starts):
        return None
    numbers: list[bytes] = []
    for start, stop, head in zip(starts, stops, heads, strict=True):
        middle = start + len(head)
        if page[start:middle] != head:
            return None
        numbers.append(page[middle:stop])
    return None if b" " in b"".join(numbers) else tuple(numbers)


def _cut(page: bytes, starts: Sequence[int], stops: Sequence[int]) -> Cut:
    heads: list[bytes] = []
    numbers: list[bytes] = []
    for start, stop in zip(starts, stops, strict=True):
        middle = max(start, page.rfind(b" ", start, stop) + 1)
        heads.append(page[start:middle])
        numbers.append(page[middle:stop])
    return Cut(tuple(heads), tuple(numbers))
