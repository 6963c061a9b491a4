"""Latencies that are wanted of a pool, as users write them: ``ttft_p90=1s,itl_p50=40ms``."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from infscale.documents.strict_document import quoted, seconds_of_duration
from infscale.documents.suggestions import did_you_mean
from infscale.metrics.published.catalogue import BY_NAME, PublishedMetric
from infscale.metrics.windows.latency_statistics import STATISTICS

MOST_GOALS: Final = 8

_LATENCIES: Final[Mapping[str, str]] = MappingProxyType(
    {"ttft": "time_to_first_token", "itl": "inter_token_latency", "queue": "queue_latency"}
)
_FORM: Final = "ttft, itl or queue with a statistic and a duration, such as ttft_p90=1s"
_SHORTEST_SECONDS: Final = 0.001
_LONGEST_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Goal:
    """A latency that is wanted: which, and how many seconds at most. `text` is as written."""

    text: str
    metric: PublishedMetric
    seconds: float


def read_goals(text: str) -> tuple[Goal, ...]:
    """The goals of a list with commas, each latency and statistic once. Raises ValueError, in words for users."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_GOALS:
        raise ValueError(f"expected at most {MOST_GOALS} goals, got {len(parts)}")
    found: dict[str, Goal] = {}
    for part in parts:
        goal = _goal(part)
        if goal.metric.name in found:
            raise ValueError(f"{quoted(part)} is given twice")
        found[goal.metric.name] = goal
    return tuple(found.values())


def _goal(part: str) -> Goal:
    name, equals, duration = (piece.strip() for piece in part.partition("="))
    latency, _, statistic = name.partition("_")
    if not equals or latency not in _LATENCIES or statistic not in STATISTICS:
        names = [f"{each}_{of}" for each in _LATENCIES for of in STATISTICS]
        raise ValueError(f"expected {_FORM}, got {quoted(part)}{did_you_mean(name, names)}")
    seconds = seconds_of_duration(duration)
    if seconds is None or not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise ValueError(f"expected a duration from 1ms to 1h, such as 500ms or 2s, got {quoted(duration)}")
    return Goal(f"{name}={duration}", BY_NAME[f"{_LATENCIES[latency]}_{statistic}_seconds"], seconds)
