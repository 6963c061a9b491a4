"""Kubernetes quantities: the decimal strings in which metric values travel (``500m``, ``12k``).

Written in canonical DecimalSI form, read in every form, after `k8s.io/apimachinery/pkg/api/resource`.
"""

import math
import re
from decimal import ROUND_UP, Context, Decimal

import numpy as np
import orjson
from numpy.typing import NDArray

from infscale.errors import QuantityError

MAX_QUANTITY = 2**63 - 1
"""Largest magnitude a quantity has here; beyond it the controller's 64-bit arithmetic saturates."""

_SUFFIXES = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_UNIT = _SUFFIXES.index("")
_NANO_DIGITS = 9
_SMALLEST = Decimal("1e-9")
_SMALLEST_FLOAT = 1e-9
# Below it nanos have 15 digits, which a float keeps: one decimal of so many names it.
_EXACT_BELOW = 1e6
_TWO_ROUNDINGS = 3e-16
# Up to here a float names one whole number.
_WHOLE_BELOW = 2.0**53
# Where each value comes as often as this, it is written once; so many are looked at to guess.
_WORTH_LOOKING_UP = 3
_GUESSED_FROM = 60
# Fewer than these are written one by one sooner than all at once.
_WORTH_ARRAYS = 40
_QUOTE_LIMIT = 40

# 60 digits hold every quantity to far below a nano, so one rounding away from zero decides.
_AWAY_FROM_ZERO = Context(prec=60, rounding=ROUND_UP)

_TEXT = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,6}))?"
)
_DECIMAL_SCALES = {suffix: 3 * (place - _UNIT) for place, suffix in enumerate(_SUFFIXES)}
_BINARY_FACTORS = {f"{letter}i": 1024 ** (place + 1) for place, letter in enumerate("KMGTPE")}


def format_quantity(value: float | Decimal) -> str:
    """The canonical quantity: the largest suffix that leaves a whole mantissa, rounded away from zero below a nano.

    A whole float is that integer; any other counts as the shortest decimal that names it, so 0.1 is ``100m``.
    Magnitudes below a nano are ``0``: the HPA controller reads them as a whole milli, and an error of rounding would
    keep a pool from scaling to zero. Raises `QuantityError` for NaN, infinities and magnitudes above `MAX_QUANTITY`.
    """
    if isinstance(value, float) and _SMALLEST_FLOAT <= abs(value) < _EXACT_BELOW:
        return _of_usual_size(value)
    if not math.isfinite(value):
        raise QuantityError(f"{value} is no quantity: omit the item instead")
    if not -MAX_QUANTITY <= value <= MAX_QUANTITY:
        raise QuantityError("a quantity is at most 2^63-1 in magnitude")
    whole = int(value)
    if value == whole:
        return _with_suffix(whole, _UNIT)
    if isinstance(value, Decimal):
        return "0" if abs(value) < _SMALLEST else _with_suffix(_scaled_away_from_zero(value, _NANO_DIGITS), 0)
    return format_quantity(Decimal(repr(value)))


def _of_usual_size(value: float) -> str:
    """Like `format_quantity`, for the values that nearly all metrics have; a thousand of them make one answer."""
    product = value * 1e9
    nanos = round(product)
    if nanos / 1e9 == value:
        return _with_suffix(nanos, 0)
    # The shortest decimal goes on beyond a nano. Product and decimal are each off by 2^-53 at most: further away from
    # a whole number, both lie between the same two.
    if abs(product - nanos) > _TWO_ROUNDINGS * abs(product):
        return _with_suffix(math.ceil(product) if value > 0 else math.floor(product), 0)
    return format_quantity(Decimal(repr(value)))


def format_quantities(values: NDArray[np.float64]) -> list[str | None]:
    """Each of `values` as `format_quantity` has it, None where that refuses it; quick for thousands."""
    listed: list[float] = values.tolist()
    if len(listed) < _WORTH_ARRAYS:
        return list(map(_or_none, listed))
    if len(set(listed[:_GUESSED_FROM])) * _WORTH_LOOKING_UP > _GUESSED_FROM:
        return _each(values)
    distinct = list(dict.fromkeys(listed))
    texts = list(map(_or_none, distinct)) if len(distinct) < _WORTH_ARRAYS else _each(np.array(distinct))
    return list(map(dict(zip(distinct, texts, strict=True)).__getitem__, listed))


def _each(values: NDArray[np.float64]) -> list[str | None]:
    with np.errstate(invalid="ignore", over="ignore"):
        magnitudes = np.abs(values)
        whole = (magnitudes < _WHOLE_BELOW) & (np.rint(values) == values)
        # The rest is what `_of_usual_size` says of one value.
        product = values * 1e9
        nanos = np.rint(product)
        named = nanos / 1e9 == values
        clear = np.abs(product - nanos) > _TWO_ROUNDINGS * np.abs(product)
        usual = (magnitudes >= _SMALLEST_FLOAT) & (magnitudes < _EXACT_BELOW) & (named | clear)
        away_from_zero = np.where(named, nanos, np.copysign(np.ceil(np.abs(product)), product))
        numbers = np.where(whole, values, np.where(usual, away_from_zero, 0.0)).astype(np.int64)
    places = np.where(whole, _UNIT, 0)
    for _ in _SUFFIXES[1:]:
        divisible = (numbers % 1000 == 0) & (numbers != 0) & (places < len(_SUFFIXES) - 1)
        if not divisible.any():
            break
        numbers = np.where(divisible, numbers // 1000, numbers)
        places += divisible
    texts = _with_suffixes(numbers, places)
    for row in np.flatnonzero(~(whole | usual)).tolist():
        texts[row] = _or_none(float(values[row]))
    return texts


def _with_suffixes(numbers: NDArray[np.int64], places: NDArray[np.intp]) -> list[str | None]:
    """Each number with the suffix at its place; most of them have the same."""
    # One text of all: writing each by itself takes five times as long.
    usual = _SUFFIXES[places[0]]
    together = orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1]
    texts: list[str | None] = [*(together.replace(",", f"{usual},") + usual).split(",")]
    others = np.flatnonzero(places != places[0])
    for row, number, place in zip(*(each.tolist() for each in (others, numbers[others], places[others])), strict=True):
        texts[row] = f"{number}{_SUFFIXES[place]}"
    return texts


def _or_none(value: float) -> str | None:
    try:
        return format_quantity(value)
    except QuantityError:
        return None


def parse_quantity(text: str) -> Decimal:
    """The value of a quantity in decimal (``1500m``), binary (``2Ki``) or exponent (``1e3``) form.

    As in Kubernetes, what is finer than a nano is rounded away from zero. Raises `QuantityError` for other text and for
    magnitudes above `MAX_QUANTITY`.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        shown = text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + "…"
        raise QuantityError(f"{shown!r} is no quantity: expected a decimal number and a suffix such as m, k, Mi or e3")
    number, suffix = Decimal(found["number"]), found["suffix"] or ""
    if not number:
        return Decimal(0)
    if (factor := _BINARY_FACTORS.get(suffix)) is not None:
        number = _AWAY_FROM_ZERO.multiply(number, factor)
    else:
        number = _AWAY_FROM_ZERO.scaleb(number, int(found["exponent"] or _DECIMAL_SCALES[suffix]))
    if abs(number) > MAX_QUANTITY:
        raise QuantityError("a quantity is at most 2^63-1 in magnitude")
    nanos = _scaled_away_from_zero(number, _NANO_DIGITS)
    return _AWAY_FROM_ZERO.scaleb(Decimal(nanos), -_NANO_DIGITS)


def milli_value(value: Decimal) -> int:
    """Thousandths, rounded away from zero: what the HPA controller calculates with (Go's `Quantity.MilliValue`)."""
    return _scaled_away_from_zero(value, 3)


def _scaled_away_from_zero(value: Decimal, digits: int) -> int:
    return int(_AWAY_FROM_ZERO.to_integral_value(_AWAY_FROM_ZERO.scaleb(value, digits)))


def _with_suffix(mantissa: int, place: int) -> str:
    if mantissa == 0:
        return "0"
    while mantissa % 1000 == 0 and place < len(_SUFFIXES) - 1:
        mantissa //= 1000
        place += 1
    return f"{mantissa}{_SUFFIXES[place]}"
