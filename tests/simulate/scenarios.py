"""Small scenarios for tests of the simulator: seconds of traffic on few servers."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.prompts import Piece, Prompts
from infscale.sim.load.virtual_request import OpenStream, RequestClass, RequestStream, VirtualRequest
from infscale.simulate.scenario import Scenario, ServerKind

KIND = ServerKind(coefficient_set("llama-2-7b-a100"))


@dataclass(frozen=True)
class SharedPrefixes:
    """Requests at random moments, each with one of some long system prompts and a question of its own."""

    requests: int = 120
    rate: float = 10.0
    prefixes: int = 24
    prefix_tokens: int = 3000
    question_tokens: int = 60
    output_tokens: int = 20
    batch_ratio: float = 0.0

    def description(self) -> Mapping[str, object]:
        return {"kind": "shared prefixes of a test"}

    def stream(self, rng: random.Random) -> RequestStream:
        return OpenStream(self._requests(rng))

    def _requests(self, rng: random.Random) -> Iterator[VirtualRequest]:
        prompts, at = Prompts(rng), 0.0
        for number in range(self.requests):
            at += rng.expovariate(self.rate)
            prefix = Piece("system", rng.randrange(self.prefixes), self.prefix_tokens)
            question = Piece("user", 1000 + number, self.question_tokens)
            batch = rng.random() < self.batch_ratio
            yield VirtualRequest(
                number,
                at,
                (prefix, question),
                self.output_tokens,
                KIND.coefficients.model,
                max_output_tokens=self.output_tokens,
                request_class=RequestClass.BATCH if batch else RequestClass.INTERACTIVE,
                prompts=prompts,
            )


def scenario(servers: int = 4, traffic: SharedPrefixes = SharedPrefixes(), **more: Any) -> Scenario:
    """A scenario of servers of one kind."""
    return replace(Scenario(traffic, (KIND,) * servers), **more)
