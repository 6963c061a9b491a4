import json
import math
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infscale.errors import QuantityError
from infscale.quantity import MAX_QUANTITY, format_quantities, format_quantity, milli_value, parse_quantity

VECTORS = json.loads((Path(__file__).parent / "vectors" / "quantity.json").read_text())


@pytest.mark.parametrize(("value", "canonical"), VECTORS["cases"])
def test_canonical_form_is_the_one_of_apimachinery(value: str, canonical: str) -> None:
    assert format_quantity(Decimal(value)) == canonical
    assert parse_quantity(canonical) == Decimal(value)


@pytest.mark.parametrize(("value", "millis"), VECTORS["milliValue_roundup"])
def test_milli_values_round_as_in_apimachinery(value: str, millis: int) -> None:
    assert milli_value(Decimal(value)) == millis


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "100m"),
        (0.1 + 0.2, "300000001n"),
        (1.5, "1500m"),
        (0.0, "0"),
        (-0.0, "0"),
        (7, "7"),
        (1e3, "1k"),
        (1e18, "1E"),
        (2.5e18, "2500P"),
        (-0.25, "-250m"),
        (1e-9, "1n"),
        (1.1e-9, "2n"),
        (-1.1e-9, "-2n"),
        (9.9e-10, "0"),
        (5e-324, "0"),
        (Decimal("1E-400000"), "0"),
        (1 / 3, "333333334n"),
        (Decimal(MAX_QUANTITY), "9223372036854775807"),
        (Decimal("9223372036854775806.5"), "9223372036854775806500m"),
        (Decimal("1.00"), "1"),
    ],
)
def test_numbers_become_canonical_quantities(value: float | Decimal, text: str) -> None:
    assert format_quantity(value) == text


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        Decimal("NaN"),
        Decimal("Infinity"),
        2.0**63,
        Decimal(2**63),
        -1e300,
        Decimal("1E+9999"),
    ],
)
def test_what_no_quantity_can_say_is_refused(value: float | Decimal) -> None:
    with pytest.raises(QuantityError):
        format_quantity(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0e999999", "0"),
        ("+12", "12"),
        ("1.", "1"),
        (".5", "0.5"),
        ("1500m", "1.5"),
        ("3u", "0.000003"),
        ("3n", "0.000000003"),
        ("3k", "3000"),
        ("3M", "3000000"),
        ("3G", "3000000000"),
        ("3T", "3000000000000"),
        ("3P", "3000000000000000"),
        ("3E", "3000000000000000000"),
        ("1Ki", "1024"),
        ("0.5Mi", "524288"),
        ("1Gi", "1073741824"),
        ("1Ti", "1099511627776"),
        ("1Pi", "1125899906842624"),
        ("1Ei", "1152921504606846976"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1.5e-3", "0.0015"),
        ("12e+2", "1200"),
        ("1e-400000", "0.000000001"),
        ("0.1n", "0.000000001"),
        ("-0.1n", "-0.000000001"),
        ("9223372036854775807", "9223372036854775807"),
    ],
)
def test_every_suffix_is_read(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "-", "m", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01i", "-3.01e-", " 1", "1 "),
        *("1K", "1e", "1e3k", "1Kii", "NaN", "Inf", "0x10", "1_000", "１", "1\n", "9" * 10_000),
        *("1e9999999", "9223372036854775808", "-10E", "1e999999"),
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text)
    assert len(str(caught.value)) < 200


quantities = st.decimals(-MAX_QUANTITY, MAX_QUANTITY, allow_nan=False, allow_infinity=False, places=9)


@given(quantities)
def test_text_reads_back_to_the_same_value(value: Decimal) -> None:
    assert parse_quantity(format_quantity(value)) == value


def _beside(nanos: int, steps: int) -> float:
    value = nanos / 1e9
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.inf if steps > 0 else -math.inf)
    return value


near_whole_nanos = st.builds(_beside, st.integers(-(10**16), 10**16), st.integers(-3, 3))


@given(st.one_of(st.floats(-9e18, 9e18), st.floats(-2e6, 2e6), st.floats(-1e-8, 1e-8), near_whole_nanos))
def test_a_float_reads_back_to_its_shortest_decimal(value: float) -> None:
    exact = Decimal(value) if value.is_integer() else Decimal(repr(value))
    rounded = exact.quantize(Decimal("1e-9"), rounding=ROUND_UP) if abs(exact) >= Decimal("1e-9") else Decimal(0)
    assert parse_quantity(format_quantity(value)) == rounded


@given(quantities)
def test_the_largest_suffix_with_a_whole_mantissa_is_used(value: Decimal) -> None:
    text = format_quantity(value)
    mantissa = text.rstrip("numkMGTPE")
    assert mantissa == "0" or not mantissa.endswith("000") or text.endswith("E")
    assert format_quantity(parse_quantity(text)) == text


@given(quantities)
def test_millis_never_lose_magnitude(value: Decimal) -> None:
    millis = milli_value(value)
    assert abs(Decimal(millis)) >= abs(value * 1000)
    assert abs(Decimal(millis)) < abs(value * 1000) + 1


def told(value: float) -> str | None:
    try:
        return format_quantity(value)
    except QuantityError:
        return None


SPECIAL = [
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-10, 1e-9, 1.5e-9, 0.1, 0.3, 1 / 3, 2 / 3, 999_999.999, 999_999.5),
    *(1e3, 1e6, 1.5e6, 1e15, 2.0**53, 2.0**53 + 2, 1e18, 2.0**63, -(2.0**63), 2.0**64, 1e300, 1_000_000.000001),
]


def _check_all(values: Sequence[float]) -> None:
    assert format_quantities(np.array(values, dtype=np.float64)) == [told(value) for value in values]


@given(st.lists(st.floats() | st.floats(-1e7, 1e7) | st.integers(-(2**54), 2**54).map(float), max_size=20))
@example(SPECIAL)
@example([-value for value in SPECIAL])
@example(SPECIAL * 4)
def test_many_quantities_are_those_of_each(values: list[float]) -> None:
    _check_all(values)
    # So many that they are written all at once, each a few times or only once.
    _check_all([*values, *map(float, range(40))])
    _check_all(values * 40)


@given(st.floats(-1e6, 1e6), st.integers(0, 12))
def test_many_rounded_values_are_those_of_each(value: float, digits: int) -> None:
    rounded = round(value, digits)
    near = [rounded, math.nextafter(rounded, math.inf), math.nextafter(rounded, -math.inf)]
    _check_all(near)
    _check_all([*near, *map(float, range(40))])
