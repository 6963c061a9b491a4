"""What a director is told and what it counts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from infscale.rollouts.rollout_book import RolloutBook
from picker.directing.served_models import Listed
from picker.request import Reason

UnknownLoad = Literal["serve", "refuse"]


@dataclass(frozen=True, slots=True)
class DirectorSettings:
    """How one pool's requests are directed.

    `unknown_models`: whether a model that no endpoint serves is refused (404) or left to the endpoint's answer; `lists`
    says what servers list beside what their metrics name.
    `unknown_load`: whether ready endpoints are served where no endpoint's load is known, by what is in flight.
    `output_tokens` is the expected answer where nothing better is known. `retry_after_seconds` goes to refused clients.
    `emit_scores` fills `Decision.scores`; `records` is how many decisions are
    kept to be listed, `explained` how many with what they were made from, 0 none. `trusted_headers` are
    those that the gateway sets, so that they may raise a priority. `unknown_objectives`: whether a name that is no
    objective's is worth least, or as much as none. `wall` tells the time of the day, without which no session tokens
    are read or made. With `holds` a queue stands around the director: nothing is shed for load, and where the
    scheduling has no flow control, what has room nowhere is refused with `Reason.NO_ROOM`. `rollouts` is the book of
    those that run; None: there are none.
    """

    unknown_models: Literal["allow", "reject"] = "allow"
    unknown_load: UnknownLoad = "serve"
    lists: Listed | None = None
    output_tokens: float = 256.0
    retry_after_seconds: float = 1.0
    emit_scores: bool = False
    records: int = 256
    explained: int = 0
    trusted_headers: frozenset[str] = frozenset()
    unknown_objectives: Literal["lowest", "default"] = "lowest"
    wall: Callable[[], float] | None = None
    holds: bool = False
    rollouts: RolloutBook | None = None


@dataclass(slots=True)
class DirectorStats:
    """Counts since start, for /metrics. Endpoints that leave the pool take their counts with them.

    `picks` are by authority, whose endpoint `names` says.

    `rejections` are by reason and status; `outcomes` by how exchanges ended; `responses`
    by status class. `prompt_tokens` and `matched_tokens` are of all dispatched prompts and what their endpoint was
    believed to have cached of them. `prefix_blocks` is how many blocks the prefix index holds now. `unknown_load` are
    the dispatches to endpoints whose load was unknown; `unread_answers`
    those that were encoded. `session_requests` are requests of sessions by what became of these, `session_moves` by
    reason; `session_tokens_refused` are tokens that were worth nothing, by reason, and `session_bindings` how many
    sessions are remembered by their ids.
    """

    names: dict[str, str] = field(default_factory=dict[str, str])
    picks: dict[str, int] = field(default_factory=dict[str, int])
    rejections: dict[tuple[Reason, int], int] = field(default_factory=dict[tuple[Reason, int], int])
    outcomes: dict[str, int] = field(default_factory=dict[str, int])
    responses: dict[str, int] = field(default_factory=dict[str, int])
    prompt_tokens: float = 0.0
    matched_tokens: float = 0.0
    prefix_blocks: int = 0
    unknown_load: int = 0
    unread_answers: int = 0
    session_requests: dict[str, int] = field(default_factory=dict[str, int])
    session_moves: dict[str, int] = field(default_factory=dict[str, int])
    session_tokens_refused: dict[str, int] = field(default_factory=dict[str, int])
    session_bindings: int = 0
