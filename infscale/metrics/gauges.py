"""The table of gauges: the numbers that are known of each endpoint at one moment.

A gauge has one name wherever it passes: `EngineGauges` and `PodGauges` are records with one item for each gauge, made
of whatever a place has of it. A dialect has an engine's names, a plan of a page the rows, a sample the values (None is
unknown), a pool the columns (NaN is unknown), and `ENGINE_GAUGES` and `POD_GAUGES` say what each gauge is. All that is
done to every gauge goes through the records item by item, so that another gauge of engines is an item here, in every
dialect, and a published metric.
"""

import math
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, TypeVar

T_co = TypeVar("T_co", covariant=True)

Unit = Literal["requests", "tokens", "ratio", "bytes", "seconds"]


@dataclass(frozen=True, slots=True)
class Gauge:
    """What a number of one endpoint is: its name with the unit in it, as all documents have it, its unit, its meaning.

    What the data-parallel ranks of one page say is added up; of a ratio the highest counts.
    """

    published: str
    unit: Unit
    meaning: str

    @property
    def is_ratio(self) -> bool:
        """Whether it is a share, which is not added up."""
        return self.unit == "ratio"


class EngineGauges(NamedTuple, Generic[T_co]):
    """One item for each gauge that engines have on their pages."""

    waiting: T_co
    running: T_co
    kv_utilization: T_co
    waiting_tokens: T_co
    kv_used_tokens: T_co


class PodGauges(NamedTuple, Generic[T_co]):
    """One item for each gauge of an endpoint's pod, which exporters of GPUs and Kubernetes say."""

    gpu_memory_used_bytes: T_co
    gpu_memory_total_bytes: T_co
    gpu_utilization: T_co
    load_seconds: T_co


ENGINE_GAUGES: Final = EngineGauges(
    waiting=Gauge("waiting_requests", "requests", "requests queued in an endpoint's engine"),
    running=Gauge("running_requests", "requests", "requests in the running batch of an endpoint's engine"),
    kv_utilization=Gauge(
        "kv_cache_utilization_ratio", "ratio", "share of an endpoint's KV-cache blocks in use, 0 to 1"
    ),
    waiting_tokens=Gauge("waiting_tokens", "tokens", "prompt tokens of the requests queued in an endpoint's engine"),
    kv_used_tokens=Gauge(
        "kv_cache_used_tokens", "tokens", "tokens that an endpoint's KV-cache blocks in use have room for"
    ),
)
"""The gauges of engines."""

POD_GAUGES: Final = PodGauges(
    gpu_memory_used_bytes=Gauge("gpu_memory_used_bytes", "bytes", "GPU memory in use by an endpoint"),
    gpu_memory_total_bytes=Gauge("gpu_memory_total_bytes", "bytes", "GPU memory that an endpoint has"),
    gpu_utilization=Gauge("gpu_utilization_ratio", "ratio", "share of time that an endpoint's GPUs were busy, 0 to 1"),
    load_seconds=Gauge(
        "model_load_seconds", "seconds", "time from the start of an endpoint's container until its pod was Ready"
    ),
)
"""The gauges of pods."""

GAUGES: Final = (*ENGINE_GAUGES, *POD_GAUGES)
"""All of them."""

NOTHING_SAID: Final[EngineGauges[None]] = EngineGauges(*[None for _ in ENGINE_GAUGES])
"""Of an engine of which no gauge is known."""


def known(value: float | None) -> float:
    """`value` as an item of a column: NaN where it is unknown."""
    return math.nan if value is None else value
