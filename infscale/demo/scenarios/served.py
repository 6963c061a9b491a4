"""What became of one request of a scenario, whether it was played in real or in virtual time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Served:
    """One request; times are seconds after the scenario began.

    `first_at` is when its first token came, None without one. `failure` says why there was no whole answer, `refused`:
    because the picker answered with a status, a reason and, where it can tell, when to try again. `session` is the
    conversation, `endpoint` the one that answered.
    """

    at: float
    request_class: str
    first_at: float | None
    ended_at: float
    tenant: str | None = None
    session: int | None = None
    failure: str | None = None
    refused: bool = False
    endpoint: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def ttft(self) -> float | None:
        """Seconds until the first token of a whole answer."""
        return None if self.first_at is None or self.failure is not None else self.first_at - self.at


def p90(rows: Sequence[Served]) -> float | None:
    """The 90th percentile of the seconds until the first token, of whole answers; None without any."""
    values = [each.ttft for each in rows if each.ttft is not None]
    return float(np.percentile(np.asarray(values), 90)) if values else None


def hit_ratio(rows: Sequence[Served]) -> float | None:
    """Share of the answered prompts' tokens that engines had cached; None without answers."""
    prompt = sum([each.prompt_tokens for each in rows if each.failure is None])
    return sum([each.cached_tokens for each in rows if each.failure is None]) / prompt if prompt else None
