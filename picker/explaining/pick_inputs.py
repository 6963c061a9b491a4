"""What one decision was made from, to be made again: by the same configuration, or by another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint
from infscale.frozen_values import entity
from infscale.metrics.column_matrix import NUMBERS, flag_matrix, number_cells, number_matrix
from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.snapshot import FLAGS, Columns, PoolSnapshot, PoolState, frozen
from infscale.metrics.windows.model_table import CELLS, FewRows
from picker.epp_config.loader import PickerConfig
from picker.explaining.kept_pick import KeptPick
from picker.explaining.noted_random import RepeatedRandom
from picker.scheduling.costs.prefill_clock import COLUMNS, PrefillClock
from picker.scheduling.memory import NUMBERS as MEMORY_NUMBERS
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PredictionSettings, PrefixMatch, SchedulingContext
from picker.scheduling.prediction import READ_CELLS

LIVE_ROWS = 2 + 1 + COLUMNS + MEMORY_NUMBERS
"""Numbers of each endpoint that every pick may change: in flight, matched, the clock's and the memory's."""
STATE_ROWS = len(NUMBERS) + len(FLAGS) + len(READ_CELLS)
"""Those that a scrape may change: gauges, flags, and what predictions read of all models together."""

_SOME: Final = (1.0, 0.0)
"""Which adapters are in flight counts, and not how much of each."""
_READ = np.array(READ_CELLS, dtype=np.intp)


@entity
class PickInputs:
    """One decision's inputs, as far as stages read them: `live` is of `LIVE_ROWS` × endpoints."""

    kept: KeptPick
    state: PoolState
    live: FloatArray
    capacity_tokens: FloatArray

    def context(self, config: PickerConfig, predicting: PredictionSettings | None = None) -> SchedulingContext:
        """The inputs as stages of `config` take them, or with other `predicting`; each call gives fresh ones."""
        kept, live = self.kept, self.live.copy()
        store_id, _, number = kept.record.revision.rpartition(".")
        state = self.state
        # What was derived of a state belongs to the profile that derived it.
        own = PoolState(state.pool, state.settings, state.endpoints, state.index, state.pods, state.columns)
        adapters = kept.adapters or [()] * len(state.endpoints)
        in_flight = [dict.fromkeys(names, _SOME) for names in adapters]
        snapshot = PoolSnapshot(own, store_id, int(number), frozen(live[0]), frozen(live[1]), in_flight)
        clock = PrefillClock.of(live[3 : 3 + COLUMNS], self.capacity_tokens)
        memory = PoolMemory.of(state.endpoints, live[3 + COLUMNS :], kept.held_media, kept.discovered, clock)
        if kept.adapters:
            memory.adapters.learn(frozenset([kept.facts.target_model]).union(*adapters))
        rng = RepeatedRandom(kept.drawn, int(number))
        prefix = PrefixMatch(live[2], kept.total, kept.tokens_each)
        return SchedulingContext(
            kept.facts, snapshot, prefix, kept.now, rng, memory, predicting or config.predicting, blind=kept.blind
        )


def observed_row(columns: Columns, out: FloatArray) -> None:
    """Write the numbers of `columns` into `out`, `STATE_ROWS` × endpoints."""
    numbers = len(NUMBERS)
    out[:numbers] = number_matrix(columns)
    out[numbers : numbers + len(FLAGS)] = flag_matrix(columns)
    said = columns.by_model.get(None)
    rest = out[numbers + len(FLAGS) :]
    if said is None:
        rest[:] = np.nan
    elif isinstance(said, FewRows):
        rest[:] = np.nan
        rest[:, said.rows] = said.values[_READ]
    else:
        said.take(_READ, 0, rest)


def columns_of(
    endpoints: tuple[Endpoint, ...],
    observed: FloatArray,
    lora: Sequence[LoraState | None],
    attributes: Sequence[Mapping[str, float]],
) -> Columns:
    """The columns that `observed_row` wrote; what else columns have is unknown in them."""
    numbers, flags = len(NUMBERS), len(NUMBERS) + len(FLAGS)
    cells = dict(number_cells(observed[:numbers]))
    cells |= {name: frozen(observed[numbers + place] > 0.0) for place, name in enumerate(FLAGS)}
    said = np.full((CELLS, len(endpoints)), np.nan)
    said[_READ] = observed[flags:]
    cells |= {"by_model": {None: frozen(said)}, "lora": lora, "attributes": attributes}
    return replace(Columns.unknown(endpoints), **cells)  # type: ignore[arg-type] # names and types are Columns' own
