"""Answers of Prometheus' HTTP API, read within bounds; pure code.

A value that is no number (NaN, infinities, the staleness marker, which is a NaN) stays NaN here: unknown, never 0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from infscale.periodic import FetchError, Rejected

Labels = Mapping[str, str]

_CHARACTERS: Final = 200
QUERY_SHAPES: Final = frozenset({"vector", "scalar"})
RANGE_SHAPES: Final = frozenset({"matrix"})


class Unusable(FetchError):
    """An answer came and is not used: what is asked the same way again is answered the same way."""


class Partial(Unusable):
    """The server says itself that its answer may lack something."""


@dataclass(frozen=True, slots=True)
class Row:
    """One element of an instant vector: its labels without the metric's name, its value, NaN where it is unknown.

    `at` is the evaluation's time in seconds since 1970 by the server's clock; it says nothing of the series' age. A
    scalar has no labels.
    """

    labels: Labels
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class RangeRow:
    """One series of a range query: its labels without the metric's name, and its values by their times.

    Times are in seconds since 1970. One without a value is left out: it is unknown.
    """

    labels: Labels
    values: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What is read of one answer; with `takes_partial` one with warnings is used as it is.

    A large one is parsed `piece_bytes` at a time: a thread that parses keeps all others waiting until it is through,
    which takes about two milliseconds then.
    """

    max_bytes: int = 4 * 1024 * 1024
    max_series: int = 10_000
    takes_partial: bool = False
    piece_bytes: int = 64 * 1024


def envelope(body: bytes, limits: AnswerLimits) -> dict[str, Any]:
    """The answer of status 200 in `body`, whose data has at most as many elements as allowed. Raises `FetchError`."""
    # Counted before it is parsed: objects take twenty times as much memory as their text.
    elements = max(body.count(b'"metric"'), body.count(b'"__name__"'))
    if elements > limits.max_series:
        raise Unusable(f"it has about {elements} series, more than max_series ({limits.max_series}): narrow the query")
    found = _parsed(body, limits.piece_bytes)
    if found.get("status") != "success":
        raise error_of(found, "the answer says no success")
    warnings = found.get("warnings")
    if warnings and not limits.takes_partial:
        first = warnings[0] if isinstance(warnings, list) else warnings
        raise Partial(f"the server warns that its answer may be partial: {printable(str(first))}")
    return found


def error_of(answer: Mapping[str, Any], otherwise: str) -> FetchError:
    """The error that an answer says."""
    kind, said = answer.get("errorType"), answer.get("error")
    words = printable(f"{kind}: {said}") if isinstance(said, str) else otherwise
    return Rejected(words) if kind == "bad_data" else Unusable(words)


def error_of_status(code: int, body: bytes) -> FetchError:
    """Why an answer that is not of status 200 is none, with the server's words where it is Prometheus that speaks."""
    try:
        found = _parsed(body, AnswerLimits().piece_bytes)
    except Unusable:
        found = {}
    said = error_of(found, "")
    words = f"HTTP status {code}" + (f": {said}" if str(said) else "")
    return Rejected(words) if 400 <= code < 500 else FetchError(words)


def check_shape(answer: Mapping[str, Any], shapes: frozenset[str]) -> None:
    """Refuse what is no answer to a query of one of the `shapes`; without shapes, what is no list of series."""
    data = answer.get("data")
    if not shapes:
        if not isinstance(data, list):
            raise Unusable("the answer is no list of series")
        return
    shape = data.get("resultType") if isinstance(data, dict) else None
    if shape not in shapes:
        said = printable(str(shape))
        expected = "a vector or a scalar" if shapes == QUERY_SHAPES else "a matrix"
        hint = ": a range selector needs a function such as rate() around it" if shape == "matrix" else ""
        raise Unusable(f"the result is of type {said}, expected {expected}{hint}")
    if not isinstance(data, dict) or not isinstance(data.get("result"), list):
        raise Unusable("the answer has no result")


def rows_of(result: object, most: int) -> tuple[Row, ...]:
    """The rows of an instant query's result, at most `most`. Raises `Unusable`."""
    try:
        if isinstance(result, list) and len(result) == 2 and not isinstance(result[0], dict):
            return (_row({}, cast("Sequence[object]", result)),)
        elements = cast("Sequence[Mapping[str, Any]]", result)
        if len(elements) > most:
            raise Unusable(f"it has {len(elements)} series, more than max_series ({most}): narrow the query")
        return tuple([_row(_labels(each["metric"]), each["value"]) for each in elements])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise Unusable("the result is not in the form of an instant query's") from None


def ranges_of(result: object, most: int) -> tuple[RangeRow, ...]:
    """The series of a range query's result, at most `most`. Raises `Unusable`."""
    try:
        elements = cast("Sequence[Mapping[str, Any]]", result)
        if len(elements) > most:
            raise Unusable(f"it has {len(elements)} series, more than max_series ({most}): narrow the query")
        return tuple([RangeRow(_labels(each["metric"]), _points(each["values"])) for each in elements])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise Unusable("the result is not in the form of a range query's") from None


def series_of(result: object, most: int) -> tuple[Labels, ...]:
    """The label sets of an answer about series, their names among the labels. Raises `Unusable`."""
    try:
        sets = tuple([_labels(each, keep_name=True) for each in cast("Sequence[Mapping[str, object]]", result)])
    except (TypeError, AttributeError):
        raise Unusable("the answer is no list of series") from None
    if len(sets) > most:
        raise Unusable(f"it has {len(sets)} series, more than max_series ({most}): narrow seriesQuery")
    return sets


def printable(text: str) -> str:
    """What may be repeated of a server's words: one line, cut where it is long."""
    shown = "".join([each if each.isprintable() else " " for each in text[: _CHARACTERS + 1]])
    return shown if len(shown) <= _CHARACTERS else shown[:_CHARACTERS] + "…"


def _labels(found: Mapping[str, object], *, keep_name: bool = False) -> Labels:
    labels: dict[str, str] = {}
    for name, value in found.items():
        if not isinstance(value, str):
            raise TypeError
        if keep_name or name != "__name__":
            labels[name] = value
    return labels


def _points(samples: Sequence[Sequence[object]]) -> dict[float, float]:
    rows = [_row({}, each) for each in samples]
    return {each.at: each.value for each in rows if not math.isnan(each.value)}


def _row(labels: Labels, sample: Sequence[object]) -> Row:
    at, text = sample
    if not isinstance(at, int | float) or not isinstance(text, str):
        raise TypeError
    value = float(text)
    return Row(labels, value if math.isfinite(value) else math.nan, float(at))


def _parsed(body: bytes, piece_bytes: int) -> dict[str, Any]:
    """The JSON object, a large one in pieces. Raises `Unusable`."""
    try:
        if len(body) > 2 * piece_bytes:
            found = _in_pieces(body, piece_bytes)
            if found is not None:
                return found
        whole = orjson.loads(body)
    except ValueError:
        raise Unusable("the answer is no JSON: is this a Prometheus server?") from None
    if not isinstance(whole, dict):
        raise Unusable("the answer is no JSON object: is this a Prometheus server?")
    return cast("dict[str, Any]", whole)


_ELEMENTS: Final = ((b'"result":[', b'},{"metric":'), (b'"data":[', b'},{"'))


def _in_pieces(body: bytes, piece_bytes: int) -> dict[str, Any] | None:
    """As `orjson.loads`, of answers as Prometheus writes them; None of others, which are parsed at once."""
    for opening, between in _ELEMENTS:
        start = body.find(opening)
        if start < 0:
            continue
        begin, end = start + len(opening), body.rfind(b"}]")
        if end < begin:
            return None
        try:
            frame = orjson.loads(body[:begin] + body[end + 1 :])
            pieces = _pieces(body[begin : end + 1], between, piece_bytes)
            elements = [each for piece in pieces for each in orjson.loads(piece)]
        except ValueError:
            # A label's value may end as an element does.
            return None
        return _filled(frame, elements)
    return None


def _pieces(elements: bytes, between: bytes, piece_bytes: int) -> Iterator[bytes]:
    begin = 0
    while begin < len(elements):
        cut = elements.find(between, begin + piece_bytes)
        stop = len(elements) if cut < 0 else cut + 1
        yield b"[" + elements[begin:stop] + b"]"
        begin = stop + 1


def _filled(frame: dict[str, Any], elements: list[Any]) -> dict[str, Any] | None:
    data = frame.get("data")
    if isinstance(data, dict) and data.get("result") == []:
        return {**frame, "data": {**data, "result": elements}}
    return {**frame, "data": elements} if data == [] else None
