"""What is kept of a decision, to be read at `/debug/picks`."""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nlargest
from types import MappingProxyType
from typing import Final

KEPT_CHARACTERS: Final = 128
"""Of a request's id and of its model."""
KEPT_SCORES: Final = 16
NO_SCORES: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(slots=True, init=False)
class PickRecord:
    """One decision, for debugging; texts of clients are cut, and nothing of prompts or other headers is in it.

    `now` is monotonic. `observed_age_seconds` is how old the chosen endpoint's observation was, `tokens` what it was
    charged, `score` its own; all are None for a request without a body, and the age where nothing observed was used.
    `scores` are the best ones, where they are asked for. `seconds` is how long the decision took, None where that was
    not measured.
    """

    request_id: Final[str]
    model: Final[str]
    revision: Final[str]
    now: Final[float]
    destinations: Final[tuple[str, ...]]
    candidates: Final[int]
    observed_age_seconds: Final[float | None]
    score: Final[float | None]
    tokens: Final[float | None]
    scores: Final[Mapping[str, float]]
    seconds: float | None

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        request_id: str,
        model: str,
        revision: str,
        now: float,
        destinations: tuple[str, ...],
        candidates: int,
        observed_age_seconds: float | None = None,
        score: float | None = None,
        tokens: float | None = None,
        scores: Mapping[str, float] = NO_SCORES,
    ) -> None:
        self.request_id = request_id[:KEPT_CHARACTERS]
        self.model = model[:KEPT_CHARACTERS]
        self.revision = revision
        self.now = now
        self.destinations = destinations
        self.candidates = candidates
        self.observed_age_seconds = observed_age_seconds
        self.score = score
        self.tokens = tokens
        self.scores = scores if len(scores) <= KEPT_SCORES else dict(nlargest(KEPT_SCORES, scores.items(), key=_score))
        self.seconds = None

    @property
    def chosen(self) -> str:
        """The first choice."""
        return self.destinations[0]


def _score(item: tuple[str, float]) -> float:
    return item[1]
