"""What a sheet of picks has of one decision, beside its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from infscale.endpoint import Endpoint
from infscale.metrics.snapshot import IntArray
from picker.explaining.noted_random import Drawn
from picker.pick_record import PickRecord
from picker.request import Headers
from picker.scheduling.costs.protected_load import ProtectedLoad
from picker.scheduling.plugin import RequestFacts
from picker.sessions.placement import Sessions


@dataclass(slots=True, eq=False, init=False)
class KeptPick:
    """What is kept of one decision beside numbers; `state`, `memory` and `capacity` are places in the sheet's lists.

    The request's facts are field by field what `facts` has. `rows` are the candidates before any screener, `chosen`
    what was decided: none for a refusal. `total` and `tokens_each` are those of the prefix match. `gated`: nothing was
    to be chosen unless an endpoint had room, because the request could wait; for a sheddable one beside the `protected`
    load. `usual_seconds` is what a prefill usually took. `adapters` are those in flight, for each endpoint, where the
    request is for a LoRA adapter; else there are none. `sessions` are those of the request.
    """

    record: PickRecord
    target_model: str
    headers: Headers
    prompt_tokens: float
    output_tokens: float
    priority: int
    media: tuple[int, ...]
    total: float
    tokens_each: float
    rows: IntArray
    drawn: Drawn
    blind: bool
    gated: bool
    protected: ProtectedLoad
    usual_seconds: float
    state: int
    memory: int
    capacity: int
    held_media: Sequence[tuple[int, ...]]
    adapters: Sequence[tuple[str, ...]]
    discovered: tuple[Endpoint, ...]
    chosen: tuple[int, ...]
    sessions: Sessions

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        record: PickRecord,
        target_model: str,
        headers: Headers,
        prompt_tokens: float,
        output_tokens: float,
        priority: int,
        media: tuple[int, ...],
        total: float,
        tokens_each: float,
        rows: IntArray,
        drawn: Drawn,
        blind: bool,
        gated: bool,
        protected: ProtectedLoad,
        usual_seconds: float,
        state: int,
        memory: int,
        capacity: int,
        held_media: Sequence[tuple[int, ...]],
        adapters: Sequence[tuple[str, ...]],
        discovered: tuple[Endpoint, ...],
        chosen: tuple[int, ...],
        sessions: Sessions,
    ) -> None:
        self.record = record
        self.target_model = target_model
        self.headers = headers
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.priority = priority
        self.media = media
        self.total = total
        self.tokens_each = tokens_each
        self.rows = rows
        self.drawn = drawn
        self.blind = blind
        self.gated = gated
        self.protected = protected
        self.usual_seconds = usual_seconds
        self.state = state
        self.memory = memory
        self.capacity = capacity
        self.held_media = held_media
        self.adapters = adapters
        self.discovered = discovered
        self.chosen = chosen
        self.sessions = sessions

    @property
    def now(self) -> float:
        """When it was decided (monotonic seconds)."""
        return self.record.now

    @property
    def facts(self) -> RequestFacts:
        """What stages may know of the request."""
        return RequestFacts(
            self.target_model, self.headers, self.prompt_tokens, self.output_tokens, self.priority, self.media
        )
