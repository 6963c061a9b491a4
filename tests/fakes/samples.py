"""Samples of engines by what tests say of them; every gauge that they do not say is unknown."""

from collections.abc import Mapping
from typing import Any

from infscale.metrics.gauges import NOTHING_SAID, EngineGauges
from infscale.metrics.sample import NO_MODELS, EngineSample, LoraState, ModelLoad

_UNKNOWN: EngineGauges[float | None] = NOTHING_SAID


def engine_sample(
    waiting: float | None,
    running: float | None,
    kv_utilization: float | None,
    models: Mapping[str, ModelLoad] = NO_MODELS,
    lora: LoraState | None = None,
    *,
    waiting_tokens: float | None = None,
    **others: Any,
) -> EngineSample:
    """A sample with these gauges; `others` are more of its fields."""
    gauges = _UNKNOWN._replace(
        waiting=waiting, running=running, kv_utilization=kv_utilization, waiting_tokens=waiting_tokens
    )
    return EngineSample(gauges, models, lora, **others)
