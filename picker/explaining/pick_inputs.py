"""What one decision was made from, to be made again: by the same configuration, or by another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint
from infscale.frozen_values import entity
from infscale.metrics.column_matrix import NUMBERS, number_cells
from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.snapshot import FLAGS, Columns, PoolSnapshot, PoolState, frozen
from infscale.metrics.windows.model_table import CELLS
from picker.epp_config.loader import PickerConfig, Room
from picker.explaining.kept_pick import KeptPick
from picker.explaining.noted_random import RepeatedRandom
from picker.flow.reserve import placeable
from picker.request import Reason
from picker.scheduling.costs.prefill_clock import COLUMNS, PrefillClock
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PredictionSettings, PrefixMatch, SchedulingContext
from picker.scheduling.prediction import READ_CELLS
from picker.scheduling.profile import Selection
from picker.sessions.placement import Session, Sessions
from picker.sessions.session_settings import SessionSettings

LIVE_ROWS = 2 + 1 + COLUMNS
"""Numbers of each endpoint that every pick may change: in flight, matched, and the clock's."""
OBSERVED_ROWS = len(NUMBERS)
"""Those that a scrape may change."""
SAID_ROWS = len(READ_CELLS)
"""What predictions read of all models together."""

_SOME: Final = (1.0, 0.0)
"""Which adapters are in flight counts, and not how much of each."""
READ = np.array(READ_CELLS, dtype=np.intp)


@entity
class PickInputs:
    """One decision's inputs, as far as stages read them.

    `live` is of `LIVE_ROWS` × endpoints, `remembered` are the numbers of the pool's memory.
    """

    kept: KeptPick
    state: PoolState
    live: FloatArray
    remembered: FloatArray
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
        clock = PrefillClock.of(live[3:].reshape(-1), self.capacity_tokens, kept.usual_seconds)
        remembered = self.remembered.reshape(-1).copy()
        memory = PoolMemory.of(state.endpoints, remembered, kept.held_media, kept.discovered, clock, kept.protected)
        if kept.adapters:
            memory.adapters.learn(frozenset([kept.facts.target_model]).union(*adapters))
        rng = RepeatedRandom(kept.drawn, int(number))
        prefix = PrefixMatch(live[2], kept.total, kept.tokens_each)
        sessions = sessions_for(config.sessions, kept.sessions)
        return SchedulingContext(
            kept.facts,
            snapshot,
            prefix,
            kept.now,
            rng,
            memory,
            predicting or config.predicting,
            blind=kept.blind,
            sessions=sessions,
        )

    def decided(self, config: PickerConfig) -> Selection | Reason:
        """What `config` decides from the same inputs."""
        return config.decide(self.context(config), self.kept.rows, self.room)

    def repeated(self, answer: Selection | Reason) -> bool:
        """Whether `answer` is what was decided: the same rows in the same order, for every stage of the request."""
        if isinstance(answer, Reason):
            return not self.kept.chosen
        remote = () if answer.remote is None else answer.remote.stages(self.state.endpoints)
        return answer.chosen == self.kept.chosen and remote == self.kept.record.remote

    @property
    def room(self) -> Room | None:
        """What the request had to find room by, if it could wait for it."""
        return placeable if self.kept.gated else None


def columns_of(
    endpoints: tuple[Endpoint, ...],
    observed: FloatArray,
    said: FloatArray,
    flags: bytes,
    lora: Sequence[LoraState | None],
    attributes: Sequence[Mapping[str, float]],
) -> Columns:
    """The columns that have these numbers, and `flags` a byte each; what else columns have is unknown in them."""
    cells = dict(number_cells(observed))
    standing = np.frombuffer(flags, dtype=np.bool_).reshape(len(FLAGS), len(endpoints))
    cells |= dict(zip(FLAGS, standing, strict=True))
    of_models = np.full((CELLS, len(endpoints)), np.nan)
    of_models[READ] = said
    cells |= {"by_model": {None: frozen(of_models)}, "lora": lora, "attributes": attributes}
    return replace(Columns.unknown(endpoints), **cells)  # type: ignore[arg-type] # names and types are Columns' own


def sessions_for(kinds: Sequence[SessionSettings], sessions: Sessions) -> Sessions:
    """Recorded `sessions` as a configuration with these `kinds` has them.

    A session is of the kind that is carried in the same way, by whatever times that one goes, and rather of one that is
    about the choice of the same profile.
    """
    if not sessions:
        return sessions
    by_carrier = {each.carrier: session for each, session in sessions.items()}
    by_way = {each.carrier[:-1]: session for each, session in reversed(sessions.items())}
    found: Sessions = {}
    for kind in kinds:
        session = by_carrier.get(kind.carrier) or by_way.get(kind.carrier[:-1])
        if session is not None:
            found[kind] = Session(
                kind, session.places, session.name, session.row, session.placed_at, session.left, session.renew
            )
    return found
