"""What kinds of traffic have in common: where it goes, how it is described, and that it can be had again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from infscale.errors import ConfigError
from infscale.sim.load.prompts import Piece, engine_tokens
from infscale.sim.load.virtual_request import RequestClass, RequestStream

if TYPE_CHECKING:
    from random import Random

    from infscale.sim.load.prompts import Pieces


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """What the traffic is for.

    No request has more than `max_tokens` tokens (prompt and output), which servers could not hold. `limited`: bodies
    say how long their answers may be, as simulated servers need it, and most clients do not. `tenant`: by the gateway.
    """

    model: str
    max_tokens: int = 131_072
    limited: bool = True
    request_class: RequestClass = RequestClass.INTERACTIVE
    tenant: str | None = None

    def limit(self, output_tokens: int) -> int | None:
        """The limit that the body of a request with such an answer states."""
        return output_tokens if self.limited else None

    def cut(self, system: "Pieces", question: int, output: int) -> tuple[int, int]:
        """Question and answer after a system prompt, cut to what servers can hold, at least one token each.

        The answer gets half of the room at most; raises `ConfigError` where there is none.
        """
        room = self.max_tokens - engine_tokens((*system, Piece("user", 0, 1)))
        if room < 1:
            raise ConfigError("", "system", f"a prompt of {engine_tokens(system)} tokens leaves no room in servers")
        output = max(1, min(output, room // 2))
        return max(1, min(question, room - output)), output

    def fits(self, pieces: "Pieces", output_tokens: int) -> bool:
        """Whether servers can hold such a request."""
        return engine_tokens(pieces) + output_tokens <= self.max_tokens


class Traffic(Protocol):
    """What is asked: the same for one seed, whatever routes it. Values that can be sent to other processes."""

    def description(self) -> Mapping[str, object]:
        """What it is, with all that is needed to have it again but the seed; values that JSON has."""
        ...

    def stream(self, rng: "Random") -> RequestStream:
        """The requests of one run."""
        ...
