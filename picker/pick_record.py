"""What is kept of a decision, to be read at `/debug/picks`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from types import MappingProxyType
from typing import Final

from picker.remote_work import RemoteStage
from picker.sessions.claims import SessionClaim

KEPT_CHARACTERS: Final = 128
"""Of a request's id and of its model."""
KEPT_SCORES: Final = 16
NO_SCORES: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(slots=True)
class PickEnd:
    """How the exchange of a decision ended; `served` is the authority that answered, where the gateway says so.

    `first_byte_seconds` and `duration_seconds` are from the request's first byte. Tokens are known only where response
    bodies pass through the picker. `streamed`: the answer was a stream of events. `evicted_for` is for what the request
    was taken back, in words, None where it was not.
    """

    kind: str
    status: int | None
    served: str | None
    first_byte_seconds: float | None
    duration_seconds: float
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    streamed: bool
    evicted_for: str | None = None

    @property
    def seconds_per_token(self) -> float | None:
        """The time per output token after the first, of an answer that was streamed and whose tokens are known."""
        first, tokens = self.first_byte_seconds, self.completion_tokens
        if not self.streamed or first is None or tokens is None or tokens < 2:
            return None
        return (self.duration_seconds - first) / (tokens - 1)


@dataclass(slots=True)
class PickRecord:
    """One decision, for debugging; texts of clients are cut, and nothing of prompts or other headers is in it.

    `now` is monotonic. `observed_age_seconds` is how old the chosen endpoint's observation was, `tokens` what it was
    charged, `score` its own; all are None for a request without a body, and the age where nothing observed was used.
    `scores` are the best ones, where they are asked for. `seconds` is how long the decision took, None where that was
    not measured. `end` is None while the exchange is under way. `refused` is the reason for which stages left nothing
    to choose, with the status that the client got; such a record has no destinations. `waited_seconds` is how long the
    request was held before it was decided, `waited_for` what for, in words. `sessions` are those that were placed with
    it, and where the gateway went on to another endpoint, those that are there now. `remote` are stages of it that are
    done elsewhere than at its destination. `fallback` says in words instead of what it was chosen, None where it was
    for this pool and model.
    """

    request_id: str
    model: str
    revision: str
    now: float
    destinations: tuple[str, ...]
    candidates: int
    observed_age_seconds: float | None = None
    score: float | None = None
    tokens: float | None = None
    scores: Mapping[str, float] = field(default_factory=lambda: NO_SCORES)
    seconds: float | None = None
    end: PickEnd | None = None
    refused: str | None = None
    refused_status: int | None = None
    waited_seconds: float | None = None
    waited_for: str | None = None
    sessions: tuple[SessionClaim, ...] = ()
    remote: tuple[RemoteStage, ...] = ()
    fallback: str | None = None

    def __post_init__(self) -> None:
        self.request_id = self.request_id[:KEPT_CHARACTERS]
        self.model = self.model[:KEPT_CHARACTERS]
        if len(self.scores) > KEPT_SCORES:
            self.scores = dict(nlargest(KEPT_SCORES, self.scores.items(), key=lambda item: item[1]))
