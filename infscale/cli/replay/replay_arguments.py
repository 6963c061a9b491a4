"""What the command line says of a replay: other settings of the HPA, times, queries."""

import argparse
import math
from collections.abc import Mapping, Sequence

from infscale.doctor.replay.replayed_hpa import Overrides
from infscale.documents.strict_document import quoted, seconds_of_duration
from infscale.errors import ConfigError, QuantityError
from infscale.quantity import milli_value, parse_quantity

_MAX_REPLICAS = 100_000
_MAX_WINDOW_SECONDS = 3600.0


def overrides(arguments: argparse.Namespace) -> Overrides:
    """The other settings that are given. Raises `ConfigError`."""
    for flag, value in (("--min", arguments.min), ("--max", arguments.max), ("--replicas", arguments.replicas)):
        if value is not None and not 0 <= value <= _MAX_REPLICAS:
            raise ConfigError("arguments", flag, f"expected 0 to {_MAX_REPLICAS}, got {value}")
    tolerance = arguments.tolerance
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance >= 0):
        raise ConfigError("arguments", "--tolerance", "expected a number of at least 0, such as 0.05")
    window = seconds("--window-down", arguments.window_down, least=0.0)
    if window is not None and window > _MAX_WINDOW_SECONDS:
        raise ConfigError("arguments", "--window-down", f"expected at most {_MAX_WINDOW_SECONDS:g} s")
    targets = {name: _target(value) for name, value in pairs("--target", arguments.target).items()}
    return Overrides(targets, tolerance, window, arguments.min, arguments.max)


def _target(text: str) -> int:
    try:
        milli = milli_value(parse_quantity(text))
    except QuantityError:
        milli = 0
    if milli <= 0:
        raise ConfigError("arguments", "--target", f"expected a quantity above 0, got {quoted(text)}")
    return milli


def name_of(changes: Overrides) -> str:
    """Settings in words."""
    parts = [f"{name} {milli / 1000:g}" for name, milli in changes.targets_milli.items()]
    others = {
        "tolerance {:g}": changes.tolerance,
        "scaling down after {:g} s": changes.down_window_seconds,
        "min {}": changes.min_replicas,
        "max {}": changes.max_replicas,
    }
    parts += [words.format(value) for words, value in others.items() if value is not None]
    return f"with {', '.join(parts)}"


def pairs(flag: str, given: Sequence[str]) -> Mapping[str, str]:
    """The values of an argument that is given once for each metric. Raises `ConfigError`."""
    found: dict[str, str] = {}
    for each in given:
        name, _, value = each.partition("=")
        if not name or not value or name in found:
            raise ConfigError("arguments", flag, f"expected METRIC=…, once for each metric, got {quoted(each)}")
        found[name] = value
    return found


def seconds(flag: str, text: str | None, least: float = 0.1) -> float | None:
    """A duration, None where it is not given. Raises `ConfigError`."""
    if text is None:
        return None
    # Plain seconds as well: so does an HPA write its windows.
    found = float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else seconds_of_duration(text)
    if found is None or not math.isfinite(found) or found < least:
        problem = f"expected a duration such as 30s or 2h of at least {least:g} s, got {quoted(text)}"
        raise ConfigError("arguments", flag, problem)
    return found
