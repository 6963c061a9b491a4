"""Numbers, ages and foreign names as short texts."""

import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

UNKNOWN: Final = "–"
STALE_SIGN: Final = "*"
"""Behind a value that is older than the staleness limit, and so is not used."""

OUTCOMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "completed": "completed",
        "aborted": "was aborted by the client",
        "error": "failed",
        "evicted": "was evicted",
    }
)
"""What an exchange did, by how it ended."""
_SHOWN_CHARACTERS: Final = 300
_GIB: Final = 1024**3
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
# Controls, formats (which turn the direction of text), surrogates, private use, unassigned, line and paragraph ends.
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

Write = Callable[[float], str]


def shown(text: str) -> str:
    """`text` as it may be shown: what controls terminals or turns text around becomes `�`, and what is long is cut.

    Names of models and causes of failures are what pages of other programs say.
    """
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[: _SHOWN_CHARACTERS - 1]}…"
    if text.isascii() and text.isprintable():
        return text
    return "".join("�" if unicodedata.category(each) in _INVISIBLE else each for each in text)


def count(value: float) -> str:
    """A number of requests or tokens."""
    if value >= 1e15:
        return f"{value:.1e}"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:.1f}{unit}"
    return f"{value:.0f}" if value == round(value) or value >= 100 else f"{value:.1f}"


def percent(value: float) -> str:
    """A share of 1."""
    return f"{value:.0%}"


def gibibytes(value: float) -> str:
    """Bytes."""
    return f"{value / _GIB:.1f} GiB"


def seconds(value: float) -> str:
    """A duration or an age."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < _MINUTE:
        return f"{value:.1f} s"
    for limit, unit, length in ((_HOUR, "min", _MINUTE), (_DAY, "h", _HOUR)):
        if value < limit:
            return f"{value / length:.0f} {unit}"
    return f"{value / _DAY:.0f} d"


def number(value: float) -> str:
    """Any other number."""
    return f"{value:.4g}"


def counted(amount: int, thing: str) -> str:
    """So many of a thing whose plural ends in s."""
    return f"{amount} {thing}" if amount == 1 else f"{amount} {thing}s"
