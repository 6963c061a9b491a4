"""What every stage of scheduling may look at, beside the stages themselves (`picker.scheduling.stages`).

Candidates are rows of one `PoolSnapshot`; numbers are numpy columns over those rows. A stage reads nothing else, so a
decision can be repeated from its inputs.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from infscale.frozen_values import value
from infscale.memo import Memo
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from infscale.rollouts.running_rollout import RolloutShare
from picker.request import Headers
from picker.scheduling.memory import PoolMemory
from picker.sessions.placement import NO_SESSIONS, Sessions

if TYPE_CHECKING:
    from random import Random


@dataclass(slots=True, unsafe_hash=True, init=False)
class RequestFacts:
    """What stages may know of a request.

    `target_model` is the model after rewriting, "" where the API names none. `prompt_tokens` is the prompt's estimated
    length, `output_tokens` the expected length of the answer. `priority` is its objective's; below 0 it is sheddable.
    `media` are hashes of its images, sounds and films. `share` is its part in a rollout, which no stage looks at:
    candidates are those of its version.
    """

    target_model: Final[str]
    headers: Final[Headers]
    prompt_tokens: Final[float]
    output_tokens: Final[float]
    priority: Final[int]
    media: Final[tuple[int, ...]]
    share: Final[RolloutShare | None]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        target_model: str,
        headers: Headers,
        prompt_tokens: float,
        output_tokens: float,
        priority: int = 0,
        media: tuple[int, ...] = (),
        share: RolloutShare | None = None,
    ) -> None:
        self.target_model = target_model
        self.headers = headers
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.priority = priority
        self.media = media
        self.share = share


@dataclass(slots=True, eq=False, init=False)
class PrefixMatch:
    """How much of the prompt each endpoint of the pool is believed to hold in its KV cache.

    `matched` has one entry per row of the snapshot, `total` is the part of the prompt that can match at all (whole
    blocks), 0 for a prompt shorter than one block; both count units of so many `tokens_each`.
    """

    matched: Final[FloatArray]
    total: Final[float]
    tokens_each: Final[float]

    def __init__(self, matched: FloatArray, total: float, tokens_each: float = 1.0) -> None:
        self.matched = matched
        self.total = total
        self.tokens_each = tokens_each

    @property
    def matched_tokens(self) -> FloatArray:
        """Tokens of the prompt that each endpoint holds, one entry per row of the snapshot."""
        tokens: FloatArray = self.matched * self.tokens_each
        return tokens

    @property
    def total_tokens(self) -> float:
        """Tokens that can match at all."""
        return self.total * self.tokens_each

    def ratios(self, rows: IntArray) -> FloatArray:
        """Matched share of the matchable prompt, 0–1; 0 where nothing can match."""
        matched: FloatArray = self.matched[rows]
        return matched / self.total if self.total else matched


@value
class PredictionSettings:
    """How latencies are predicted (`picker.scheduling.prediction`), where a stage asks.

    `streaming`: the time per output token counts too, of which `slo_buffer` (1: all) may be used up.
    """

    enabled: bool = True
    streaming: bool = False
    slo_buffer: float = 1.0


USUAL_PREDICTIONS: Final = PredictionSettings()


@dataclass(slots=True, eq=False, init=False)
class SchedulingContext:
    """One decision's inputs: the request, one snapshot, the prefix match on it, the time and the randomness.

    `memory` is what the pool's director remembers of earlier decisions; stages read it and never write. `derived` has
    what was worked out for this decision, by any stage, so that filter and scorer need not both. A decision is
    `blind` where no candidate's load is known: nothing is observed in its snapshot, and what is in flight stands for
    the load. `sessions` are those that the request belongs to.
    """

    request: Final[RequestFacts]
    snapshot: Final[PoolSnapshot]
    prefix: Final[PrefixMatch]
    now: Final[float]
    rng: Final["Random"]
    memory: Final[PoolMemory]
    predicting: Final[PredictionSettings]
    blind: Final[bool]
    sessions: Final[Sessions]
    derived: Memo = field(init=False)

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        request: RequestFacts,
        snapshot: PoolSnapshot,
        prefix: PrefixMatch,
        now: float,
        rng: "Random",
        memory: PoolMemory,
        predicting: PredictionSettings = USUAL_PREDICTIONS,
        *,
        blind: bool = False,
        sessions: Sessions = NO_SESSIONS,
    ) -> None:
        self.request = request
        self.snapshot = snapshot
        self.prefix = prefix
        self.now = now
        self.rng = rng
        self.memory = memory
        self.predicting = predicting
        self.blind = blind
        self.sessions = sessions
        self.derived = Memo()

    @property
    def queued(self) -> FloatArray:
        """Requests that wait, one entry per row; in a blind decision those in flight."""
        return self.snapshot.in_flight_requests if self.blind else self.snapshot.columns.gauges.waiting

    @property
    def running(self) -> FloatArray:
        """Requests that run, one entry per row; in a blind decision those in flight."""
        return self.snapshot.in_flight_requests if self.blind else self.snapshot.columns.gauges.running

    def uncached_tokens(self, rows: IntArray) -> FloatArray:
        """Prompt tokens each candidate would have to compute."""
        uncached: FloatArray = self.request.prompt_tokens - self.prefix.matched_tokens[rows]
        return uncached
