"""One request that waits for its verdict, as queues and policies see it."""

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True, unsafe_hash=True, init=False)
class Waiting:
    """A held request. Times are monotonic seconds; `expires_at` and `due_at` are infinite where there is none.

    `number` counts arrivals, so that it is the request's place among equals, also when it comes back to its queue.
    `priority` names its band and `flow` its fairness id within that. It waits no longer than until `expires_at`, and
    its first token is wanted by `due_at`. `cost_seconds` is the GPU time that it is estimated to take, 0 where that is
    not known.
    """

    number: Final[int]
    priority: Final[int]
    flow: Final[str]
    size_bytes: Final[int]
    prompt_tokens: Final[float]
    arrived_at: Final[float]
    expires_at: Final[float]
    due_at: Final[float]
    cost_seconds: Final[float]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        number: int,
        priority: int,
        flow: str,
        size_bytes: int,
        prompt_tokens: float,
        arrived_at: float,
        expires_at: float = float("inf"),
        due_at: float = float("inf"),
        cost_seconds: float = 0.0,
    ) -> None:
        self.number = number
        self.priority = priority
        self.flow = flow
        self.size_bytes = size_bytes
        self.prompt_tokens = prompt_tokens
        self.arrived_at = arrived_at
        self.expires_at = expires_at
        self.due_at = due_at
        self.cost_seconds = cost_seconds

    def costing(self, cost_seconds: float) -> "Waiting":
        """The same request, now that it is known what it costs."""
        return Waiting(
            self.number,
            self.priority,
            self.flow,
            self.size_bytes,
            self.prompt_tokens,
            self.arrived_at,
            self.expires_at,
            self.due_at,
            cost_seconds,
        )
