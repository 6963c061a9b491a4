"""A simulated engine with fitted steps takes as long per token as what the steps were fitted to.

The measurements are public ones in a closed loop, from the table that `aiconfigurator-core` 0.12.0 (Apache-2.0) ships;
``python -m bench.engine_fidelity`` does the same for a whole file of them.
"""

import statistics
from random import Random

import pytest

from bench.engine_fidelity import errors, main
from bench.step_priors import groups_of
from infscale.latency.closed_loop import ClosedLoopPoint

# Prompt and output tokens, clients, times to the first token and per output token in ms.
MEASURED = {
    "Llama-3.1-8B-Instruct, TensorRT-LLM 1.0.0rc3, one H100": [
        (1024, 128, 8, 190.955, 7.944), (1024, 128, 16, 143.976, 9.772), (1024, 128, 32, 127.897, 13.187),
        (1024, 128, 64, 176.944, 20.052), (1024, 256, 16, 194.891, 8.773), (1024, 256, 64, 195.951, 15.199),
        (2048, 128, 8, 264.942, 9.324), (2048, 128, 16, 209.833, 12.881), (2048, 128, 32, 238.781, 19.836),
        (2048, 128, 64, 327.466, 33.622), (2048, 256, 32, 255.914, 14.943), (4096, 128, 8, 441.071, 12.404),
        (4096, 128, 16, 388.091, 19.598), (4096, 128, 32, 475.801, 34.234), (4096, 256, 16, 490.529, 14.594),
    ],
    "Qwen3-32B, SGLang 0.5.1, four H100": [
        (1024, 128, 16, 492.761, 10.551), (1024, 128, 64, 1321.964, 19.770), (1024, 128, 128, 2485.351, 29.694),
        (1024, 256, 16, 528.064, 10.142), (1024, 256, 64, 1304.248, 16.348), (2048, 128, 16, 783.320, 13.098),
        (2048, 128, 64, 2567.302, 28.581), (2048, 256, 16, 833.461, 12.070), (2048, 256, 64, 2316.616, 22.404),
        (4096, 128, 16, 1384.476, 18.694), (4096, 128, 64, 4684.371, 53.237), (4096, 256, 16, 1410.780, 14.720),
    ],
}  # fmt: skip


def points(of: str) -> list[ClosedLoopPoint]:
    rows = MEASURED[of]
    return [ClosedLoopPoint(isl, osl, clients, ttft / 1e3, tpot / 1e3) for isl, osl, clients, ttft, tpot in rows]


@pytest.mark.parametrize("of", MEASURED)
def test_time_per_output_token_is_within_ten_percent_at_the_median(of: str) -> None:
    assert statistics.median([abs(rest) for _, rest in errors(points(of), Random(1))]) < 0.1


def test_a_group_of_too_few_measurements_is_left_out() -> None:
    row = {"backend": "vllm", "isl_tokens": "8", "osl_tokens": "4", "ttft_ms": "1", "tpot_ms": "1"} | dict.fromkeys(
        ("backend_version", "model", "gpu", "precision", "tp_size", "moe_ep_size", "attention_dp_size"), ""
    )
    enough = [row | {"concurrency": str(1 + each % 3)} for each in range(12)]
    few = [row | {"model": "other", "concurrency": str(1 + each % 3)} for each in range(11)]
    alike = [row | {"model": "third", "concurrency": "4"} for _ in range(12)]
    assert [len(each) for each in groups_of([*enough, *few, *alike]).values()] == [12]


def test_a_file_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["engine_fidelity", "/nowhere.csv"])
    assert main() == 1
    assert capsys.readouterr().err.count("\n") == 1
