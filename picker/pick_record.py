"""What is kept of a decision, to be read at `/debug/picks`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from types import MappingProxyType
from typing import Final

KEPT_CHARACTERS: Final = 128
"""Of a request's id and of its model."""
KEPT_SCORES: Final = 16
NO_SCORES: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(slots=True)
class PickRecord:
    """One decision, for debugging; texts of clients are cut, and nothing of prompts or other headers is in it.

    `now` is monotonic. `observed_age_seconds` is how old the chosen endpoint's observation was, `tokens` what it was
    charged, `score` its own; all are None for a request without a body, and the age where nothing observed was used.
    `scores` are the best ones, where they are asked for. `seconds` is how long the decision took, None where that was
    not measured. `waited_seconds` is how long the request was held before it, None where it was not.
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
    waited_seconds: float | None = None

    def __post_init__(self) -> None:
        self.request_id = self.request_id[:KEPT_CHARACTERS]
        self.model = self.model[:KEPT_CHARACTERS]
        if len(self.scores) > KEPT_SCORES:
            self.scores = dict(nlargest(KEPT_SCORES, self.scores.items(), key=lambda item: item[1]))
