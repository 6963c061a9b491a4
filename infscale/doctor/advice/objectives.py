"""What is wanted of a pool, as users write it: ``ttft_p90=1s``."""

from dataclasses import dataclass
from typing import Final

from infscale.documents.strict_document import quoted, seconds_of_duration
from infscale.documents.suggestions import did_you_mean
from infscale.errors import ConfigError
from infscale.metrics.windows.latency_statistics import STATISTICS

_LATENCIES: Final = {"ttft": "time_to_first_token", "itl": "inter_token_latency", "queue": "queue_latency"}
_SHORTEST, _LONGEST = 0.001, 3600.0


@dataclass(frozen=True, slots=True)
class Objective:
    """A latency that is wanted: the published metric of it, and how many seconds at most. `text` is as written."""

    text: str
    metric: str
    seconds: float


def read_objectives(text: str) -> tuple[Objective, ...]:
    """The objectives of a list with commas. Raises `ConfigError`."""
    found = tuple(_objective(part.strip()) for part in text.split(","))
    names = [each.metric for each in found]
    twice = next((each.text for each in found if names.count(each.metric) > 1), None)
    if twice is not None:
        raise ConfigError("arguments", "--slo", f"{quoted(twice)} is given twice")
    return found


def _objective(part: str) -> Objective:
    name, _, duration = (each.strip() for each in part.partition("="))
    latency, _, statistic = name.partition("_")
    if latency not in _LATENCIES or statistic not in STATISTICS:
        known = [f"{each}_{of}" for each in _LATENCIES for of in STATISTICS]
        problem = f"expected a latency and a duration such as ttft_p90=1s, got {quoted(part)}"
        raise ConfigError("arguments", "--slo", problem + did_you_mean(name, known))
    seconds = seconds_of_duration(duration)
    if seconds is None or not _SHORTEST <= seconds <= _LONGEST:
        problem = f"expected a duration from 1ms to 1h, such as 500ms, got {quoted(duration)}"
        raise ConfigError("arguments", "--slo", problem)
    return Objective(f"{name}={duration}", f"{_LATENCIES[latency]}_{statistic}_seconds", seconds)
