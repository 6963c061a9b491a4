"""One request in flight, as the bill knows it."""

from typing import Final, Literal, NamedTuple

Ending = Literal["used", "evicted", "aborted", "failed"]
"""What became of the GPU-seconds of a request: it was answered, taken back for another, given up, or it failed."""

ENDINGS: Final[tuple[Ending, ...]] = ("used", "evicted", "aborted", "failed")
WASTED: Final[tuple[Ending, ...]] = ("evicted", "aborted", "failed")
"""Those of which no answer came."""


class BillKey(NamedTuple):
    """What a request is billed to; `adapter` is a LoRA adapter of `model`, "" where it asked for the model itself."""

    tenant: str
    model: str
    adapter: str
    priority: int


class BilledRequest:
    """A request from its dispatch until its last seconds are divided. Times are monotonic seconds.

    `uncached_tokens` of its prompt are computed, `prefill_tokens` of these still to be. `context_tokens` are what each
    of its output tokens looks back on. `expected_seconds` are the GPU-seconds that it was expected to take, 0 where
    that is not worked out.
    """

    __slots__ = (
        "answered_at",
        "began_at",
        "context_tokens",
        "ended_at",
        "ending",
        "expected_seconds",
        "generates",
        "model",
        "number",
        "prefill_tokens",
        "priority",
        "refused",
        "row",
        "seconds",
        "spent",
        "tenant",
        "uncached_tokens",
    )

    def __init__(  # noqa: PLR0913 # what a dispatch knows
        self,
        number: int,
        tenant: str,
        model: str,
        priority: int,
        prefill_tokens: float,
        context_tokens: float,
        generates: bool,
        expected_seconds: float,
        began_at: float,
    ) -> None:
        self.number = number
        self.tenant = tenant
        self.model = model
        self.priority = priority
        self.uncached_tokens = self.prefill_tokens = prefill_tokens
        self.context_tokens = context_tokens
        self.generates = generates
        self.expected_seconds = expected_seconds
        self.began_at = began_at
        self.ended_at: float | None = None
        self.ending: Ending = "used"
        self.answered_at: float | None = None
        """When its response headers came."""
        self.refused = False
        """Whether its endpoint answered with anything but a success, which takes next to nothing."""
        self.row: int | None = None
        self.seconds = 0.0
        """GPU-seconds that it had so far."""
        self.spent: list[tuple[int, float]] = []
        """The same by minute."""

    def computed(self, tokens: float) -> None:
        """So many tokens of its prompt were computed, by what its engine said."""
        self.prefill_tokens = max(0.0, self.prefill_tokens + tokens - self.uncached_tokens)
        self.uncached_tokens = tokens

    def spend(self, minute: int, gpu_seconds: float) -> None:
        """It had so many GPU-seconds more, in this minute."""
        self.seconds += gpu_seconds
        spent = self.spent
        if spent and spent[-1][0] == minute:
            spent[-1] = minute, spent[-1][1] + gpu_seconds
        else:
            spent.append((minute, gpu_seconds))
