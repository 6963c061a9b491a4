"""What a sheet of picks has of one decision, beside its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from infscale.endpoint import Endpoint
from infscale.metrics.snapshot import IntArray
from picker.explaining.noted_random import Drawn
from picker.pick_record import PickRecord
from picker.scheduling.plugin import RequestFacts


@dataclass(slots=True, eq=False, init=False)
class KeptPick:
    """What is kept of one decision beside numbers; `state` and `capacity` are places in the sheet's lists.

    `rows` are the candidates before any screener, `chosen` what was decided: none for a refusal. `total` and
    `tokens_each` are those of the prefix match. `adapters` are those in flight, for each endpoint, where the request is
    for a LoRA adapter; else there are none.
    """

    record: PickRecord
    facts: RequestFacts
    total: float
    tokens_each: float
    now: float
    rows: IntArray
    drawn: Drawn
    blind: bool
    state: int
    capacity: int
    held_media: Sequence[tuple[int, ...]]
    adapters: Sequence[tuple[str, ...]]
    discovered: tuple[Endpoint, ...]
    chosen: tuple[int, ...]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        record: PickRecord,
        facts: RequestFacts,
        total: float,
        tokens_each: float,
        now: float,
        rows: IntArray,
        drawn: Drawn,
        blind: bool,
        state: int,
        capacity: int,
        held_media: Sequence[tuple[int, ...]],
        adapters: Sequence[tuple[str, ...]],
        discovered: tuple[Endpoint, ...],
        chosen: tuple[int, ...],
    ) -> None:
        self.record = record
        self.facts = facts
        self.total = total
        self.tokens_each = tokens_each
        self.now = now
        self.rows = rows
        self.drawn = drawn
        self.blind = blind
        self.state = state
        self.capacity = capacity
        self.held_media = held_media
        self.adapters = adapters
        self.discovered = discovered
        self.chosen = chosen
