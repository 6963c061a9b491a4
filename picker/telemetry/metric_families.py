"""Families of metrics with their samples."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily)


def filled(
    kind: type[Family], name: str, meaning: str, labels: Sequence[str], samples: Iterable[tuple[Sequence[str], float]]
) -> Family:
    """A family of these samples: the values of its labels, and the number."""
    family = kind(name, meaning, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family
