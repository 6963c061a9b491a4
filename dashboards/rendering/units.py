"""Values as people read them, in the units of panels."""

import math
from collections.abc import Callable, Mapping

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "K"))
_BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_PARTS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def _digits(value: float) -> str:
    """Three digits, and all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _scaled(value: float, scales: tuple[tuple[float, str], ...], unit: str) -> str:
    for size, name in scales:
        if abs(value) >= size:
            return f"{_digits(value / size)} {name}"
    return f"{_digits(value)}{unit}"


def _seconds(value: float) -> str:
    if value >= 60:
        return f"{_digits(value / 60)} min"
    size, name = next((each for each in _PARTS if abs(value) >= each[0]), (1.0, "s"))
    return f"{_digits(value / size)} {name}"


_WRITTEN: Mapping[str, Callable[[float], str]] = {
    "bytes": lambda value: _scaled(value, _BINARY, " B"),
    "cps": lambda value: f"{_scaled(value, _SI, '')}/s",
    "percentunit": lambda value: f"{_digits(100 * value)} %",
    "reqps": lambda value: f"{_scaled(value, _SI, '')} req/s",
    "s": _seconds,
    "short": lambda value: _scaled(value, _SI, ""),
}


def _round(least: float) -> float:
    """The least round number that is not less."""
    size = 10.0 ** math.floor(math.log10(least))
    return next((size * each for each in _STEPS if size * each >= least), 10 * size)


def written(value: float, unit: str) -> str:
    """A value with its unit, by Grafana's name for the unit."""
    return _WRITTEN[unit](value)


def ticks(top: float, unit: str, wanted: int = 4) -> list[float]:
    """Round values from 0 to at least `top`, some `wanted` of them."""
    if top <= 0:
        return [0.0, 1.0]
    least = top / wanted
    step = 2.0 ** math.ceil(math.log2(least)) if unit == "bytes" else _round(least)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]
