"""A step model from what is known of hardware: for dense models whose size is in their name.

Decoding reads the weights and the KV cache of each context token from memory, computing a prompt takes two operations
for each of its tokens and each weight. What comes on top are constants that were fitted to measured step times of
several models (BLIS, a simulator of inference).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from infscale.latency.known_names import ModelName
from infscale.latency.step_model import StepModel


@dataclass(frozen=True, slots=True)
class Gpu:
    """Bytes per second of memory, operations per second at 16 bits, and the share of them that prompts reach."""

    bandwidth: float
    operations: float
    reached: float


GPUS: Final[Mapping[str, Gpu]] = MappingProxyType(
    {
        "a100": Gpu(2.04e12, 312e12, 0.38),
        "a100-40gb": Gpu(1.555e12, 312e12, 0.38),
        "a10g": Gpu(0.6e12, 70e12, 0.32),
        "b200": Gpu(8.0e12, 2250e12, 0.45),
        "b300": Gpu(8.0e12, 2500e12, 0.45),
        "gb200": Gpu(8.0e12, 2500e12, 0.45),
        "gb300": Gpu(8.0e12, 2500e12, 0.45),
        "h100": Gpu(3.35e12, 989e12, 0.45),
        "h200": Gpu(4.8e12, 989e12, 0.45),
        "l4": Gpu(0.3e12, 121e12, 0.32),
        "l40s": Gpu(0.864e12, 362e12, 0.32),
    }
)
"""GPUs by the names of `infscale.latency.known_names`, as their makers publish them."""

_WEIGHT_BYTES: Final[Mapping[str, float]] = MappingProxyType(
    {"bf16": 2.0, "": 2.0, "fp8": 1.0, "int4": 0.5, "fp4": 0.5}
)
_BASE_FACTOR: Final = 1.36
_LAYER_SECONDS: Final = 32e-6
_BASE_SECONDS: Final = 0.13e-3
_KV_FACTOR: Final = 1.5
_KV_BYTES_PER_LAYER: Final = 4096.0
"""Keys and values of 8 heads of 128 numbers at 16 bits."""
_SEQUENCE_SECONDS: Final = 20e-6
# Layers of widespread dense models by the parameters up to which they have that many.
_LAYERS: Final = ((2e9, 24), (10e9, 32), (20e9, 42), (40e9, 62), (80e9, 80), (float("inf"), 120))


def estimated(model: ModelName, gpu: str, gpus: int) -> StepModel | None:
    """The model of an engine on `gpus` of one kind, which share all weights; None where something is not known."""
    hardware, weight_bytes = GPUS.get(gpu), _WEIGHT_BYTES.get(model.precision)
    if hardware is None or weight_bytes is None or model.parameters is None or gpus < 1:
        return None
    layers = next(count for limit, count in _LAYERS if model.parameters <= limit)
    bandwidth, operations = hardware.bandwidth * gpus, hardware.operations * hardware.reached * gpus
    faster = 2.0 / weight_bytes if model.precision == "fp8" else 1.0
    return StepModel(
        base=_BASE_FACTOR * model.parameters * weight_bytes / bandwidth + _LAYER_SECONDS * layers + _BASE_SECONDS,
        per_prefill_token=2.0 * model.parameters / (operations * faster),
        per_kv_token=_KV_FACTOR * _KV_BYTES_PER_LAYER * layers / bandwidth,
        per_sequence=_SEQUENCE_SECONDS,
    )
