"""One request on its way, from its client's first byte to its end, and what is kept of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from infscale.sim.load.virtual_request import VirtualRequest

if TYPE_CHECKING:
    from infscale.simulate.world.gateway import Answer, Refused
    from picker.request import Decision, Held, InferenceRequest


class Flight:
    """A request under way.

    Times are seconds of the run, `first_at` and `ended_at` those at which the client has its first token and the end.
    `server` is the number of the server that took it, `served` its authority. `failure` says why it got no whole
    answer, `refused` that the picker refused it. `asked` and `decision` are what the picker has to be told the end of.
    `held` is what it waits by, and `resume` is told where it goes then. `evict` ends it by the picker's word.
    """

    __slots__ = (
        "arrived_at",
        "asked",
        "cached_tokens",
        "decision",
        "destinations",
        "ended_at",
        "evict",
        "failure",
        "first_at",
        "held",
        "number",
        "opened_at",
        "over",
        "prompt_tokens",
        "refused",
        "request",
        "resume",
        "served",
        "server",
        "started_at",
        "status",
    )

    def __init__(self, number: int, request: VirtualRequest, now: float) -> None:
        self.number = number
        self.request = request
        self.arrived_at = now
        self.opened_at = now
        self.started_at: float | None = None
        self.first_at: float | None = None
        self.ended_at = now
        self.destinations: tuple[str, ...] = ()
        self.served: str | None = None
        self.server: int | None = None
        self.status: int | None = None
        self.cached_tokens = 0
        self.prompt_tokens = request.engine_prompt_tokens
        self.failure: str | None = None
        self.refused = False
        self.over = False
        self.asked: InferenceRequest | None = None
        self.decision: Decision | None = None
        self.held: Held | None = None
        self.resume: Callable[[Answer], None] | None = None
        self.evict: Callable[[Refused], None] | None = None
