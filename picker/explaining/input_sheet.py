"""Inputs of up to 256 decisions of one pool, with one configuration and the same endpoints."""

from collections.abc import Mapping, Sequence
from typing import Final

from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.snapshot import IntArray, PoolState
from picker.epp_config.loader import PickerConfig
from picker.explaining.kept_pick import KeptPick
from picker.explaining.noted_random import Drawn
from picker.explaining.packed_rows import PackedRows
from picker.explaining.pick_inputs import LIVE_ROWS, STATE_ROWS, PickInputs, columns_of, observed_row
from picker.pick_record import PickRecord
from picker.scheduling.costs.prefill_clock import COLUMNS
from picker.scheduling.plugin import RequestFacts, SchedulingContext

SHEET_PICKS: Final = 256
_CLOCK: Final = 3
_MEMORY: Final = _CLOCK + COLUMNS
_BYTES_OF_A_PICK: Final = 1_200
"""Of objects; measured with records, facts and texts of usual length."""
_BYTES_OF_AN_OBJECT: Final = 24
_NO_MEDIA: Final[list[tuple[int, ...]]] = []


class InputSheet:
    """A sheet; `frame` is any state of its pool with the endpoints that all of its picks have."""

    def __init__(self, frame: PoolState, config: PickerConfig) -> None:
        self.frame = frame
        self.config = config
        self.picks: list[KeptPick] = []
        self.capacities: list[FloatArray] = []
        self.lora: list[Sequence[LoraState | None]] = []
        self.attributes: list[Sequence[Mapping[str, float]]] = []
        width = len(frame.endpoints)
        self.live = PackedRows((LIVE_ROWS, width))
        self.observed = PackedRows((STATE_ROWS, width))
        self._state: PoolState | None = None
        self._held = _NO_MEDIA
        self.closed = False

    def __len__(self) -> int:
        return len(self.picks)

    @property
    def size_bytes(self) -> int:
        """What it takes, about, once it is closed."""
        lists = sum([len({id(each) for each in columns}) for columns in (self.lora, self.attributes)])
        objects = _BYTES_OF_A_PICK * len(self.picks) + _BYTES_OF_AN_OBJECT * len(self.frame.endpoints) * lists
        names = sum([len(each.adapters) + sum(map(len, each.adapters)) for each in self.picks])
        objects += _BYTES_OF_AN_OBJECT * names
        return objects + self.live.size_bytes + self.observed.size_bytes

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

    def note(self, context: SchedulingContext) -> None:
        """Copy the numbers of a decision that is about to be carried out: that changes some of them."""
        live, snapshot, memory = self.live.next, context.snapshot, context.memory
        live[0] = snapshot.in_flight_requests
        live[1] = snapshot.in_flight_tokens
        live[2] = context.prefix.matched
        live[_CLOCK:_MEMORY] = memory.clock.columns
        live[_MEMORY:] = memory.numbers
        media = context.request.media
        self._held = memory.media_of(media) if media else _NO_MEDIA
        state = snapshot.state
        if state is not self._state:
            self._state = state
            columns = state.columns
            observed_row(columns, self.observed.next)
            self.observed.add()
            self.lora.append(columns.lora)
            self.attributes.append(columns.attributes)
        capacity = memory.clock.capacity_tokens
        if not self.capacities or self.capacities[-1] is not capacity:
            self.capacities.append(capacity)

    def keep(
        self,
        record: PickRecord,
        context: SchedulingContext,
        facts: RequestFacts,
        rows: IntArray,
        drawn: Drawn,
        chosen: tuple[int, ...],
    ) -> None:
        """Keep the decision that was noted last."""
        self.live.add()
        prefix, memory = context.prefix, context.memory
        self.picks.append(
            KeptPick(
                record,
                facts,
                prefix.total,
                prefix.tokens_each,
                context.now,
                rows,
                drawn,
                context.blind,
                len(self.observed) - 1,
                len(self.capacities) - 1,
                self._held,
                memory.adapters.in_flight(context.snapshot, context.request.target_model),
                memory.discovered,
                chosen,
            )
        )

    def close(self) -> None:
        """Let go of what only writing needs: nothing is added any more."""
        self.live.close()
        self.observed.close()
        self._state = None
        self.closed = True

    def inputs(self, place: int) -> PickInputs:
        """What the decision at `place` was made from."""
        kept, endpoints = self.picks[place], self.frame.endpoints
        columns = columns_of(
            endpoints, self.observed.item(kept.state), self.lora[kept.state], self.attributes[kept.state]
        )
        observed = self.frame.observed(columns)
        return PickInputs(kept, observed, self.live.item(place), self.capacities[kept.capacity])
