"""Named coefficient sets: how fast a model is on a GPU, how much KV cache it leaves and how long it takes to load.

Step times are published fits (BLIS, Vidur, the Gateway API Inference Extension's simulator, llm-d's calibration) where
there are any, completed by first principles: attention reads ``kv bytes per token ÷ memory bandwidth`` for every
context token, decode is bound by reading the weights. KV capacity is what 90 % of GPU memory leaves after weights,
unless a capacity was published.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from infscale.errors import ConfigError
from infscale.latency.step_model import StepModel

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class CoefficientSet:
    """One model on one kind of GPU.

    `memory_bytes` is per GPU; `load_seconds` is from the start of the process to the first request it can take.
    `source` says where the step times come from.
    """

    name: str
    model: str
    gpu_model: str
    gpus: int
    memory_bytes: int
    steps: StepModel
    num_blocks: int
    load_seconds: float
    source: str
    block_size: int = 16


_A100_40 = ("NVIDIA A100-SXM4-40GB", 40 * _GIB)
_A100_80 = ("NVIDIA A100-SXM4-80GB", 80 * _GIB)
_H100 = ("NVIDIA H100 80GB HBM3", 80 * _GIB)
_L4 = ("NVIDIA L4", 24 * _GIB)

_FIT = "BLIS fit of measured step times, attention by memory bandwidth"

# Name, model, GPU, how many of them, step times (base in ms; per prefill token, KV token and sequence in µs), blocks,
# seconds to load, source.
_ROWS: tuple[tuple[str, str, tuple[str, int], int, tuple[float, float, float, float], int, float, str], ...] = (
    ("llama-2-7b-a100", "meta-llama/Llama-2-7b-hf", _A100_40, 1, (14.0, 67.7, 0.535, 102.6), 2810, 20.0,
     "Gateway API Inference Extension simulator"),
    ("llama-3.1-8b-a100", "meta-llama/Llama-3.1-8B-Instruct", _A100_80, 1, (16.4, 47.8, 0.064, 18.2), 27_400, 25.0,
     _FIT),
    ("llama-3.1-8b-h100", "meta-llama/Llama-3.1-8B-Instruct", _H100, 1, (6.47, 19.8, 0.039, 25.4), 27_400, 20.0,
     _FIT + "; per-sequence cost of Qwen2.5-7B, the model's own fit is unphysical"),
    ("llama-3.1-8b-l4", "meta-llama/Llama-3.1-8B-Instruct", _L4, 1, (60.0, 280.0, 0.44, 30.0), 2_600, 40.0,
     "first principles"),
    ("qwen2.5-7b-h100", "Qwen/Qwen2.5-7B-Instruct", _H100, 1, (7.05, 19.5, 0.017, 25.4), 62_000, 20.0, _FIT),
    ("qwen3-14b-h100", "Qwen/Qwen3-14B", _H100, 1, (13.6, 39.4, 0.049, 27.3), 16_700, 35.0, _FIT),
    ("qwen3-32b-h100-tp2", "Qwen/Qwen3-32B", _H100, 2, (20.0, 48.8, 0.06, 30.0), 19_208, 60.0,
     "llm-d calibration; 307,328 KV tokens"),
    ("llama-3.3-70b-h100-tp4", "meta-llama/Llama-3.3-70B-Instruct", _H100, 4, (12.6, 76.4, 0.024, 66.8), 27_500, 120.0,
     _FIT),
    ("codellama-34b-h100", "codellama/CodeLlama-34b-Instruct-hf", _H100, 1, (26.6, 96.3, 0.059, 56.6), 1_700, 60.0,
     _FIT),
    ("gpt-oss-20b-h100", "openai/gpt-oss-20b", _H100, 1, (7.3, 60.6, 0.015, 3.7), 72_000, 20.0, _FIT),
)  # fmt: skip


def _seconds(base_ms: float, prefill_us: float, kv_us: float, sequence_us: float) -> StepModel:
    return StepModel(base_ms * 1e-3, prefill_us * 1e-6, kv_us * 1e-6, sequence_us * 1e-6)


COEFFICIENT_SETS: Mapping[str, CoefficientSet] = MappingProxyType(
    {
        name: CoefficientSet(name, model, gpu[0], gpus, gpu[1], _seconds(*steps), num_blocks, load_seconds, source)
        for name, model, gpu, gpus, steps, num_blocks, load_seconds, source in _ROWS
    }
)


def coefficient_set(name: str) -> CoefficientSet:
    """The set called `name`; raises `ConfigError` that lists the names there are."""
    found = COEFFICIENT_SETS.get(name)
    if found is None:
        raise ConfigError("", "coefficients", f"unknown set {name!r}; there are {', '.join(sorted(COEFFICIENT_SETS))}")
    return found
