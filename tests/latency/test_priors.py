"""What is known of engines before they are watched."""

import csv
import io
import statistics

import pytest

from bench.step_priors import rows_of, text_of
from infscale.latency.prior_rows import TABLE
from infscale.latency.priors import FittedPrior, Prior, PriorTable, read, shipped, shipped_rows, written
from infscale.latency.step_model import StepModel
from tests.latency.test_closed_loop import TRUE, measured

H100 = "NVIDIA H100 80GB HBM3"


def ninth_tenth(errors: list[float]) -> float:
    return statistics.quantiles(errors, n=10, method="inclusive")[-1]


def test_the_table_predicts_times_per_output_token_that_were_left_out() -> None:
    rows = shipped_rows()
    errors = [each for row in rows for each in row.errors]
    assert len(rows) == 66
    assert all(len(row.errors) >= 12 for row in rows)
    assert statistics.median(errors) <= 0.047
    assert ninth_tenth(errors) <= 0.18


def test_times_to_the_first_token_are_told_less_well() -> None:
    """The figures of docs/latency-model.md."""
    errors = [each for row in shipped_rows() for each in row.first_token_errors]
    assert statistics.median(errors) == pytest.approx(0.111, abs=0.002)
    assert ninth_tenth(errors) == pytest.approx(0.509, abs=0.005)


def test_every_model_of_the_table_is_sound() -> None:
    assert all(row.steps.is_sound for row in shipped_rows())


def test_the_table_is_what_its_program_writes() -> None:
    rows = shipped_rows()
    assert list(csv.reader(TABLE.strip().splitlines())) == written(rows)
    assert TABLE in text_of(rows)


def test_measurements_become_rows_and_small_groups_none() -> None:
    names = "backend,backend_version,model,gpu,precision,tp_size,moe_ep_size,attention_dp_size,isl_tokens,osl_tokens"
    out = io.StringIO(f"{names},concurrency,ttft_ms,tpot_ms\n")
    out.seek(0, io.SEEK_END)
    for model, points in (("a/model-8B", measured()), ("a/small-8B", measured()[:11])):
        for each in points:
            out.write(f"vllm,1,{model},h100_sxm,,2,1,,{each.input_tokens},{each.output_tokens},{each.concurrency},")
            out.write(f"{each.ttft_seconds * 1e3},{each.tpot_seconds * 1e3}\n")
    out.seek(0)
    (row,) = rows_of(csv.DictReader(out))
    assert (row.engine, row.model, row.gpu, row.tensor_parallel, row.data_parallel) == (
        "vllm",
        "a/model-8B",
        "h100",
        2,
        1,
    )
    assert row.steps.coefficients == pytest.approx(TRUE.coefficients, rel=1e-3)
    assert row.error < 1e-3
    (same,) = read([",".join(each) for each in written([row])])
    assert same.steps.coefficients == pytest.approx(row.steps.coefficients, rel=1e-3)


def test_what_was_measured_is_found_however_it_is_spelled() -> None:
    for name in ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"):
        found = shipped().find(name, H100, 2, "trtllm-serve")
        assert isinstance(found, Prior)
        assert "measurements" in found.source
        assert found.error < 0.1


def test_what_was_not_measured_is_estimated_where_its_name_says_how_large_it_is() -> None:
    found = shipped().find("acme/NewModel-13B", H100, 1, "vllm")
    assert isinstance(found, Prior)
    assert "first principles" in found.source
    assert found.error > 0.2


@pytest.mark.parametrize(
    ("model", "gpu", "gpus", "cause"),
    [
        ("", H100, 1, "names no model"),
        ("Llama-3.1-8B", "", 1, "GPU is not known"),
        ("Llama-3.1-8B", "Voodoo 2", 1, "no step times of the GPU 'Voodoo 2'"),
        ("Llama-3.1-8B", H100, None, "how many GPUs"),
        ("mystery", H100, 1, "does not say how large"),
    ],
)
def test_unknown_has_a_cause(model: str, gpu: str, gpus: int | None, cause: str) -> None:
    found = shipped().find(model, gpu, gpus, "vllm")
    assert isinstance(found, str)
    assert cause in found


def test_of_several_the_same_engine_counts_and_then_the_smaller_error() -> None:
    def row(engine: str, base: float, error: float, prefill: float = 1e-5) -> FittedPrior:
        return FittedPrior(engine, "1", "m-8B", "h100", "", 1, 1, 1, StepModel(base, prefill, 0, 0), (error,), (error,))

    table = PriorTable(
        [row("vllm", 1.0, 0.2), row("vllm", 2.0, 0.1), row("sglang", 3.0, 0.01), row("vllm", 4.0, 0.001, prefill=0.0)]
    )
    found = table.find("m-8B", H100, 1, "vllm")
    assert isinstance(found, Prior)
    assert found.model.base == 2.0
    other = table.find("m-8B", H100, 1, "")
    assert isinstance(other, Prior)
    assert other.model.base == 3.0
