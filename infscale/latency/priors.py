"""What is known of an engine's steps before it was watched, by its model, its GPUs and its program.

Fitted models come from the table in `infscale.latency.prior_rows`, which ``python -m bench.step_priors FILE`` writes
from measurements in closed loops. What the table does not have is estimated by first principles, where the model is
dense and its name says how large it is. What is neither is unknown, with the cause.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from infscale.latency.first_principles import estimated
from infscale.latency.known_names import ModelName, gpu_of
from infscale.latency.prior_rows import TABLE
from infscale.latency.step_columns import WORST_USABLE_ERROR
from infscale.latency.step_model import StepModel

ESTIMATE_ERROR: Final = 0.26
"""Mean relative error of estimates by first principles, over the dense models of the table."""

_ENGINES: Final[Mapping[str, str]] = MappingProxyType(
    {"vllm": "vllm", "sglang": "sglang", "trtllm-serve": "trtllm", "triton-tensorrt-llm": "trtllm"}
)
# Of a model whose name does not say it.
_LIKELY_PRECISIONS: Final = ("", "bf16", "fp8", "fp4")


class Prior(NamedTuple):
    """A model, its relative error, and where it comes from, for people."""

    model: StepModel
    error: float
    source: str


@dataclass(frozen=True, slots=True)
class FittedPrior:
    """One row of the table: engine and version, model, GPU, precision, and on how many GPUs in which way.

    `errors` are the relative errors of the time per output token at each point that was left out of the fit,
    `first_token_errors` the same of the time to the first token, which has a fit of its own.
    """

    engine: str
    version: str
    model: str
    gpu: str
    precision: str
    tensor_parallel: int
    expert_parallel: int
    data_parallel: int
    steps: StepModel
    errors: tuple[float, ...]
    first_token_errors: tuple[float, ...]

    @property
    def error(self) -> float:
        """The mean relative error of the time per output token."""
        return sum(self.errors) / len(self.errors)


class PriorTable:
    """Priors by model and GPU."""

    def __init__(self, rows: Iterable[FittedPrior]) -> None:
        self._rows: dict[tuple[str, str], list[FittedPrior]] = {}
        for row in rows:
            # A model whose prompts seem to cost nothing was not measured well enough for that.
            if row.error <= WORST_USABLE_ERROR and row.steps.per_prefill_token > 0.0:
                self._rows.setdefault((ModelName.of(row.model).plain, row.gpu), []).append(row)

    def find(self, model: str, gpu: str, gpus: int | None, engine: str) -> Prior | str:
        """The prior of an engine by the name of its model, of its GPU, how many it has, and of its dialect.

        None as the number of GPUs: it is not known. In place of what is not known, the cause.
        """
        if not model:
            return "its page names no model"
        if not gpu:
            return "its GPU is not known: neither a GPU exporter nor the label infscale.dev/gpu names it"
        known = gpu_of(gpu)
        if known is None:
            return f"there are no step times of the GPU {gpu[:60]!r}"
        if gpus is None or gpus < 1:
            return (
                "it is not known how many GPUs it has: neither a GPU exporter nor the label infscale.dev/gpus says it"
            )
        name = ModelName.of(model)
        fitted = self._fitted(name, known, gpus, _ENGINES.get(engine, ""))
        if fitted is not None:
            return Prior(
                fitted.steps, fitted.error, f"measurements of {fitted.model} on {gpus} × {known}, {fitted.engine}"
            )
        steps = estimated(name, known, gpus)
        if steps is None:
            where = f"{gpus} × {known}"
            return f"there are no step times of {model[:100]!r} on {where}, and its name does not say how large it is"
        return Prior(steps, ESTIMATE_ERROR, f"an estimate for {name.plain} on {gpus} × {known} by first principles")

    def _fitted(self, name: ModelName, gpu: str, gpus: int, engine: str) -> FittedPrior | None:
        precisions = (name.precision,) if name.precision else _LIKELY_PRECISIONS
        found = [
            row
            for row in self._rows.get((name.plain, gpu), [])
            if row.tensor_parallel == gpus and row.precision in precisions
        ]
        return min(
            found, key=lambda row: (precisions.index(row.precision), row.engine != engine, row.error), default=None
        )


HEADER: Final = (
    "engine",
    "version",
    "model",
    "gpu",
    "precision",
    "tensor_parallel",
    "expert_parallel",
    "data_parallel",
    "base_ms",
    "prefill_token_us",
    "kv_token_us",
    "sequence_us",
    "root_sequence_us",
    "tpot_errors_permille",
    "ttft_errors_permille",
)
"""The columns of the table."""


def written(rows: Sequence[FittedPrior]) -> list[list[str]]:
    """The rows as they are in the file, the header first."""
    return [list(HEADER), *[_written(row) for row in rows]]


def read(lines: Iterable[str]) -> list[FittedPrior]:
    """The rows of a table in lines."""
    return [_read(row) for row in csv.DictReader(lines)]


@cache
def shipped() -> PriorTable:
    """The table that comes with the program."""
    return PriorTable(shipped_rows())


def shipped_rows() -> list[FittedPrior]:
    """All of its rows."""
    return read(TABLE.strip().splitlines())


def _written(row: FittedPrior) -> list[str]:
    steps = row.steps
    micro = [steps.per_prefill_token, steps.per_kv_token, steps.per_sequence, steps.per_root_sequence]
    return [
        row.engine,
        row.version,
        row.model,
        row.gpu,
        row.precision,
        str(row.tensor_parallel),
        str(row.expert_parallel),
        str(row.data_parallel),
        f"{steps.base * 1e3:.4g}",
        *[f"{each * 1e6:.4g}" for each in micro],
        _permille(row.errors),
        _permille(row.first_token_errors),
    ]


def _read(row: Mapping[str, str]) -> FittedPrior:
    micro = [float(row[name]) * 1e-6 for name in ("prefill_token_us", "kv_token_us", "sequence_us", "root_sequence_us")]
    return FittedPrior(
        row["engine"],
        row["version"],
        row["model"],
        row["gpu"],
        row["precision"],
        int(row["tensor_parallel"]),
        int(row["expert_parallel"]),
        int(row["data_parallel"]),
        StepModel(float(row["base_ms"]) * 1e-3, micro[0], micro[1], micro[2], micro[3]),
        _ratios(row["tpot_errors_permille"]),
        _ratios(row["ttft_errors_permille"]),
    )


def _permille(errors: Sequence[float]) -> str:
    return " ".join([f"{1e3 * each:.0f}" for each in errors])


def _ratios(text: str) -> tuple[float, ...]:
    return tuple([float(each) / 1e3 for each in text.split()])
