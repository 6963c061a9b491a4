"""What names of GPUs and models say."""

import pytest

from infscale.latency.known_names import ModelName, gpu_of


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA-H100-80GB-HBM3", "h100"),
        ("h100_sxm", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA GB200", "gb200"),
        ("NVIDIA B200", "b200"),
        ("Tesla T4", "t4"),
        ("AMD Instinct MI300X", "mi300x"),
        ("", None),
        ("TPU v5e", None),
    ],
)
def test_gpus(name: str, gpu: str | None) -> None:
    assert gpu_of(name) == gpu


@pytest.mark.parametrize(
    ("name", "plain", "precision", "parameters"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b", "", 8e9),
        ("nvidia/Llama-3.1-8B-Instruct-FP8", "llama-3.1-8b", "fp8", 8e9),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b", "", 7e9),
        ("Qwen/Qwen3-32B", "qwen3-32b", "", 32e9),
        ("Qwen/Qwen2.5-1.5B-Instruct-AWQ", "qwen2.5-1.5b", "int4", 1.5e9),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b", "fp8", None),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b-v0.1", "", None),
        ("openai/gpt-oss-120b", "gpt-oss-120b", "", None),
        ("deepseek-ai/DeepSeek-R1", "deepseek-r1", "", None),
        ("my-model", "my-model", "", None),
        ("", "", "", None),
    ],
)
def test_models(name: str, plain: str, precision: str, parameters: float | None) -> None:
    assert ModelName.of(name) == ModelName(plain, precision, parameters)
