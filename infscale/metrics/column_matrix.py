"""The observed numbers of a pool as one array, a row of it for each column: how a pool keeps them, and records do."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from infscale.latency.step_columns import STEP_CELLS, StepColumns
from infscale.metrics.gauges import EngineGauges, PodGauges
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import FLAGS, TIMES, BoolArray, Columns, frozen

# Numbers of a row: those that come from pages of engines stand side by side, those of other sources around them.
ENGINE_TIMES: Final = ("observed_at", "windows_at")
OTHER_TIMES: Final = tuple([name for name in TIMES if name not in ENGINE_TIMES])
STEPS: Final = tuple([f"step_{name}" for name in STEP_CELLS])
NUMBERS: Final = (*OTHER_TIMES, *ENGINE_TIMES, *EngineGauges._fields, *STEPS, *PodGauges._fields)
"""What the rows of the array are, in their order."""


def number_cells(matrix: FloatArray) -> Mapping[str, object]:
    """The fields of `Columns` that are in `matrix`, which is not written any more from here on."""
    numbers = dict(zip(NUMBERS, frozen(matrix), strict=True))
    cells: dict[str, object] = {name: numbers[name] for name in TIMES}
    cells["gauges"] = EngineGauges(*[numbers[name] for name in EngineGauges._fields])
    cells["pod"] = PodGauges(*[numbers[name] for name in PodGauges._fields])
    cells["steps"] = StepColumns(*[numbers[name] for name in STEPS])
    return cells


def number_matrix(columns: Columns) -> FloatArray:
    """The numbers of `columns`: the array that they are rows of, where they are, else a new one."""
    first, last = columns.listed_at, columns.pod.load_seconds
    base = first.base
    if isinstance(base, np.ndarray) and last.base is base and base.shape == (len(NUMBERS), len(first)):
        return base
    steps = columns.steps
    times = [getattr(columns, name) for name in (*OTHER_TIMES, *ENGINE_TIMES)]
    return np.array((*times, *columns.gauges, *[getattr(steps, name) for name in STEP_CELLS], *columns.pod))


def flag_matrix(columns: Columns) -> BoolArray:
    """The flags of `columns`, as `number_matrix` has numbers."""
    base = columns.ready.base
    if isinstance(base, np.ndarray) and columns.asleep.base is base and base.shape == (len(FLAGS), len(columns.ready)):
        return base
    return np.array((columns.ready, columns.settled, columns.asleep))
