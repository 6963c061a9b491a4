"""How the time that an endpoint worked is divided among what was in flight there: by the latency model.

In that time the engine took some steps, ``S``. Each cost its base, each prompt token that was computed its part, and
each sequence that had a token of its answer in a step its own part::

    worked = S · (base + Σ fᵢ · (kv · contextᵢ + sequence)) + prefill · T

``fᵢ`` is the part of the time in which request i was there with its prompt computed. All but S is known, so S follows,
and with it what each request took; the base of the steps is divided by how many of them each was in. Where the prompts
would take all of the time, a step computes no more of them than fit, and what is left of them is for the next time.

By its construction the shares add up to the time. A model that is wrong by a factor is not wrong about shares.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from infscale.latency.predictions import USUAL_BUDGET_TOKENS

_LEAST: Final = 1e-12


class StepCost(NamedTuple):
    """Seconds of a step of one endpoint: its base, and per prompt token, KV token and sequence."""

    base: float
    per_prefill_token: float
    per_kv_token: float
    per_sequence: float


class Claim(NamedTuple):
    """What a request may have had of a time: prompt tokens that were left, its context, and seconds of decoding."""

    prefill_tokens: float
    context_tokens: float
    decoding_seconds: float


class Share(NamedTuple):
    """What it had: seconds, and prompt tokens that were computed."""

    seconds: float
    prefill_tokens: float


class Division(NamedTuple):
    """A time divided: the shares, and how long a step took on average, 0 where none was taken."""

    shares: list[Share]
    step_seconds: float


NOTHING: Final = Claim(0.0, 0.0, 0.0)


def divided(worked: float, cost: StepCost, claims: Sequence[Claim]) -> Division:
    """The shares of `claims`, at least one, in the order in which their prompts are computed; they add up to `worked`.

    Where none of them claims anything they are equal.
    """
    base, per_token = max(cost.base, _LEAST), max(cost.per_prefill_token, 0.0)
    parts = [min(each.decoding_seconds / worked, 1.0) if worked > 0.0 else 0.0 for each in claims]
    owns = [max(cost.per_kv_token, 0.0) * each.context_tokens + max(cost.per_sequence, 0.0) for each in claims]
    step = base + _sum_of(parts, owns)
    left = min(
        sum([each.prefill_tokens for each in claims]),
        worked / (step + per_token * USUAL_BUDGET_TOKENS) * USUAL_BUDGET_TOKENS,
    )
    seconds_left = max(worked - per_token * left, 0.0)
    tokens: list[float] = []
    for place, each in enumerate(claims):
        taken = min(each.prefill_tokens, left)
        left -= taken
        tokens.append(taken)
        if taken < each.prefill_tokens:
            # Nothing is generated before the prompt is computed.
            parts[place] = 0.0
    steps = seconds_left / (base + _sum_of(parts, owns))
    seats = [
        part * steps + (min(steps, max(1.0, taken / USUAL_BUDGET_TOKENS)) if taken else 0.0)
        for part, taken in zip(parts, tokens, strict=True)
    ]
    all_seats = sum(seats)
    each_seat = steps * base / all_seats if all_seats > 0.0 else 0.0
    costs = [
        per_token * taken + steps * part * own + each_seat * seat
        for taken, part, own, seat in zip(tokens, parts, owns, seats, strict=True)
    ]
    total = sum(costs)
    if not total > 0.0:
        return Division([Share(worked / len(claims), 0.0) for _ in claims], 0.0)
    scale = worked / total
    shares = [Share(scale * seconds, taken) for seconds, taken in zip(costs, tokens, strict=True)]
    return Division(shares, worked / steps if steps > 0.0 else 0.0)


def _sum_of(parts: list[float], owns: list[float]) -> float:
    return sum([part * own for part, own in zip(parts, owns, strict=True)])
