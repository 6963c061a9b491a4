"""Values as people read them, in the units of panels."""

import math
from collections.abc import Callable, Mapping

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "K"))
_BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_PARTS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_BINARY_STEPS = (1.0, 2.0, 4.0, 8.0, 16.0)


def _scaled(value: float, scales: tuple[tuple[float, str], ...], unit: str) -> str:
    for size, name in scales:
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}{unit}"


def _seconds(value: float) -> str:
    if value >= 60:
        return f"{value / 60:.3g} min"
    size, name = next((each for each in _PARTS if abs(value) >= each[0]), (1.0, "s"))
    return f"{value / size:.3g} {name}"


_WRITTEN: Mapping[str, Callable[[float], str]] = {
    "bytes": lambda value: _scaled(value, _BINARY, " B"),
    "cps": lambda value: f"{_scaled(value, _SI, '')}/s",
    "percentunit": lambda value: f"{100 * value:.3g} %",
    "reqps": lambda value: f"{_scaled(value, _SI, '')} req/s",
    "s": _seconds,
    "short": lambda value: _scaled(value, _SI, ""),
}


def written(value: float, unit: str) -> str:
    """A value with its unit, by Grafana's name for the unit."""
    return _WRITTEN[unit](value)


def ticks(top: float, unit: str, wanted: int = 4) -> list[float]:
    """Round values from 0 to at least `top`, some `wanted` of them."""
    if top <= 0:
        return [0.0, 1.0]
    least = top / wanted
    base, steps = (2.0, _BINARY_STEPS) if unit == "bytes" else (10.0, _STEPS)
    exponent = math.floor(math.log(least, base) + 1e-9)
    if unit == "bytes":
        exponent = exponent // 10 * 10
        steps = tuple(2.0**power for power in range(11))
    size = base**exponent
    step = next(size * each for each in steps if size * each >= least * (1 - 1e-9))
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]
