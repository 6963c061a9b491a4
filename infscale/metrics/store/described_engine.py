"""What is known of an engine before it is watched: by its page, its labels, and what exporters say of its GPUs."""

from typing import Final, NamedTuple

from infscale.endpoint import Endpoint
from infscale.metrics.pages.dialects import ENGINE_LABELS
from infscale.metrics.sample import EngineSample, GpuHardware

GPU_LABELS: Final = ("infscale.dev/gpu", "nvidia.com/gpu.product")
"""Labels of a pod that name its GPU, in order of precedence."""
GPUS_LABEL: Final = "infscale.dev/gpus"
"""The label of a pod that says how many it has."""
_MOST_DIGITS: Final = 4


class Described(NamedTuple):
    """What is known of an engine beforehand: its model, its GPU, how many of them, and its dialect; "" is unknown."""

    model: str
    gpu: str
    gpus: int | None
    engine: str


def described(endpoint: Endpoint, sample: EngineSample, hardware: GpuHardware | None) -> Described:
    """An engine by its page, its labels, and what GPUs an exporter says it has; labels count before the exporter."""
    labels = endpoint.labels
    gpu = next((labels[label] for label in GPU_LABELS if labels.get(label)), "")
    if hardware is not None:
        gpu = gpu or hardware.model
    engine = endpoint.engine or next((labels[label] for label in ENGINE_LABELS if labels.get(label)), "")
    return Described(next(iter(sample.models), ""), gpu, gpus_of(endpoint, hardware), engine)


def gpus_of(endpoint: Endpoint, hardware: GpuHardware | None) -> int | None:
    """How many GPUs the pod of an endpoint has, by its label, else by what an exporter says; None: it is not known."""
    count = endpoint.labels.get(GPUS_LABEL, "")
    gpus = int(count) if count.isascii() and count.isdecimal() and len(count) <= _MOST_DIGITS else None
    return gpus or (None if hardware is None else hardware.gpus)
