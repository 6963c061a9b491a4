"""Inputs of up to 256 decisions of one pool, with one configuration and the same endpoints."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from infscale.metrics.column_matrix import flag_matrix, number_matrix
from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.snapshot import Columns, IntArray, PoolState
from infscale.metrics.windows.model_table import FewRows
from picker.epp_config.loader import PickerConfig
from picker.explaining.kept_pick import KeptPick
from picker.explaining.noted_random import Drawn
from picker.explaining.packed_rows import PackedRows
from picker.explaining.pick_inputs import LIVE_ROWS, OBSERVED_ROWS, READ, SAID_ROWS, PickInputs, columns_of
from picker.pick_record import KEPT_CHARACTERS, PickRecord
from picker.scheduling.costs.protected_load import NO_LOAD
from picker.scheduling.memory import NUMBERS as MEMORY_ROWS
from picker.scheduling.plugin import SchedulingContext

SHEET_PICKS: Final = 256
SHEET_ROWS: Final = (LIVE_ROWS, MEMORY_ROWS, OBSERVED_ROWS, SAID_ROWS)
"""Of each of a sheet's numbers how many there are of an endpoint."""
SheetNumbers = tuple[PackedRows, PackedRows, PackedRows, PackedRows]
_MOST_MEDIA: Final = 64
_BATCH: Final = 32
_BATCH_ENDPOINTS: Final = 8_192
"""Endpoints of all picks that are packed at a time: what is not packed takes so many columns at most."""
_BYTES_OF_A_PICK: Final = 1_200
"""Of objects; measured with records, facts and texts of usual length."""
_BYTES_OF_AN_OBJECT: Final = 24
_NO_MEDIA: Final[list[tuple[int, ...]]] = []
_NONE: Final[FloatArray] = np.empty(0)


class InputSheet:
    """A sheet; `frame` is any state of its pool with the endpoints that all of its picks have.

    Numbers that each pick has of its own are kept as they are, as nothing changes them any more, until a batch of picks
    is packed; others are packed when they have changed. `flags` and `said` have one entry for each state: its flags, a
    byte each, and which of the arrays of what models are said to do is its own.
    """

    def __init__(self, frame: PoolState, config: PickerConfig, numbers: SheetNumbers | None = None) -> None:
        """With `numbers` it is closed."""
        self.frame = frame
        self.config = config
        self.picks: list[KeptPick] = []
        self.capacities: list[FloatArray] = []
        self.flags: list[bytes] = []
        self.said: list[int] = []
        self.lora: list[Sequence[LoraState | None]] = []
        self.attributes: list[Sequence[Mapping[str, float]]] = []
        width = len(frame.endpoints)
        made = numbers or [PackedRows((rows, width)) for rows in SHEET_ROWS]
        self._live, self._memory, self._observed, self._said = made
        self._pieces: list[FloatArray] = []
        self._waiting = 0
        self._batch = max(1, min(_BATCH, _BATCH_ENDPOINTS // max(1, width)))
        self._state: PoolState | None = None
        self._models: FloatArray | FewRows | None = None
        self._clock_version = self._memory_version = -1
        self._clock: FloatArray = _NONE
        self._held = _NO_MEDIA
        self._protected = NO_LOAD
        self._usual_seconds = 0.0
        self.closed = numbers is not None

    def __len__(self) -> int:
        return len(self.picks)

    @property
    def size_bytes(self) -> int:
        """What it takes, about, once it is closed."""
        lists = sum([len({id(each) for each in columns}) for columns in (self.lora, self.attributes)])
        objects = _BYTES_OF_A_PICK * len(self.picks) + _BYTES_OF_AN_OBJECT * len(self.frame.endpoints) * lists
        names = sum([len(each.adapters) + sum(map(len, each.adapters)) for each in self.picks])
        objects += _BYTES_OF_AN_OBJECT * names
        objects += sum(map(len, {id(each): each for each in self.flags}.values()))
        return objects + sum([each.size_bytes for each in self.numbers])

    @property
    def ended(self) -> bool:
        """Whether all requests that were sent to an endpoint have ended."""
        return all([each.record.end is not None or not each.chosen for each in self.picks])

    def takes(self, state: PoolState, config: PickerConfig) -> bool:
        """Whether a decision on `state` by `config` belongs here, and has room."""
        frame = self.frame
        return (
            not self.closed
            and len(self.picks) < SHEET_PICKS
            and state.endpoints is frame.endpoints
            and config is self.config
            and state.settings is frame.settings
        )

    @property
    def numbers(self) -> SheetNumbers:
        """Numbers of each pick, of the memory, of each state, and what `said` refers to."""
        self._pack()
        return self._live, self._memory, self._observed, self._said

    def note(self, context: SchedulingContext, *, gated: bool) -> None:
        """Hold the numbers of a decision that is about to be carried out: that changes some of them."""
        memory, state = context.memory, context.snapshot.state
        clock = memory.clock
        self._usual_seconds = clock.usual_seconds
        if clock.version != self._clock_version:
            self._clock, self._clock_version = clock.numbers.copy(), clock.version
        if memory.version != self._memory_version:
            self._memory.follow(memory.numbers)
            self._memory_version = memory.version
        media = context.request.media
        self._held = memory.media_of(media) if media else _NO_MEDIA
        sheddable = gated and context.request.priority < 0
        self._protected = memory.protected.load(context.now) if sheddable else NO_LOAD
        if state is not self._state:
            self._state = state
            self._observe(state.columns)
        capacity = clock.capacity_tokens
        if not self.capacities or self.capacities[-1] is not capacity:
            self.capacities.append(capacity)

    def _observe(self, columns: Columns) -> None:
        """Keep the numbers of a state."""
        self._observed.follow(number_matrix(columns).reshape(-1))
        models = columns.by_model.get(None)
        if models is not self._models or not self.said:
            self._models = models
            self._said.follow(_cells(models, len(columns.ready)))
        flags = flag_matrix(columns).tobytes()
        # Mostly they are those of the state before, and then kept once.
        self.flags.append(self.flags[-1] if self.flags and self.flags[-1] == flags else flags)
        self.said.append(len(self._said) - 1)
        self.lora.append(columns.lora)
        self.attributes.append(columns.attributes)

    def keep(
        self,
        record: PickRecord,
        context: SchedulingContext,
        rows: IntArray,
        drawn: Drawn,
        chosen: tuple[int, ...],
        *,
        gated: bool,
    ) -> None:
        """Keep the decision that was noted last.

        Of headers are kept those that stages say they read, and of what clients send no long texts.
        """
        prefix, memory, facts, snapshot = context.prefix, context.memory, context.request, context.snapshot
        media = facts.media
        self._pieces += (snapshot.in_flight_requests, snapshot.in_flight_tokens, prefix.matched, self._clock)
        self._waiting += 1
        self.picks.append(
            KeptPick(
                record,
                facts.target_model[:KEPT_CHARACTERS],
                facts.headers.only(self.config.read_headers),
                facts.prompt_tokens,
                facts.output_tokens,
                facts.priority,
                media[:_MOST_MEDIA] if media else media,
                prefix.total,
                prefix.tokens_each,
                rows,
                drawn,
                context.blind,
                gated,
                self._protected,
                self._usual_seconds,
                len(self.said) - 1,
                len(self._memory) - 1,
                len(self.capacities) - 1,
                self._held,
                memory.adapters.in_flight(snapshot, facts.target_model),
                memory.discovered,
                chosen,
                context.sessions,
            )
        )
        if self._waiting >= self._batch:
            self._pack()

    def _pack(self) -> None:
        if self._waiting:
            self._live.add(self._pieces, self._waiting)
            self._pieces, self._waiting = [], 0

    def close(self) -> None:
        """Let go of what only writing needs: nothing is added any more."""
        for each in self.numbers:
            each.close()
        self._state = self._models = None
        self._clock = _NONE
        self.closed = True

    def inputs(self, place: int) -> PickInputs:
        """What the decision at `place` was made from."""
        kept, endpoints, state = self.picks[place], self.frame.endpoints, self.picks[place].state
        live, memory, observed, said = self.numbers
        columns = columns_of(
            endpoints,
            observed.item(state),
            said.item(self.said[state]),
            self.flags[state],
            self.lora[state],
            self.attributes[state],
        )
        seen = self.frame.observed(columns)
        return PickInputs(kept, seen, live.item(place), memory.item(kept.memory), self.capacities[kept.capacity])


def _cells(models: FloatArray | FewRows | None, endpoints: int) -> FloatArray:
    """What predictions read of `models`, for each of so many endpoints, one after the other."""
    if models is not None and not isinstance(models, FewRows):
        return models.take(READ, 0).reshape(-1)
    cells = np.full((SAID_ROWS, endpoints), np.nan)
    if models is not None:
        cells[:, models.rows] = models.values[READ]
    return cells.reshape(-1)
