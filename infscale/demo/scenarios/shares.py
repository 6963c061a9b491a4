"""How what servers computed was divided between two tenants, window by window."""

from collections.abc import Sequence
from dataclasses import dataclass

from infscale.demo.scenarios.served import Served


@dataclass(frozen=True, slots=True)
class WindowShare:
    """Which share of the tokens was one tenant's, of requests of two that began in the window; None: none did.

    `contended`: both had a request that waited for its first token at every moment of it, so that each is due half.
    """

    start: float
    seconds: float
    share: float | None
    contended: bool


def window_shares(rows: Sequence[Served], pair: tuple[str, str], seconds: float) -> tuple[WindowShare, ...]:
    """The shares of the first of `pair`, in windows of `seconds` from the scenario's begin to its last end.

    A request counts, with the uncached tokens of its prompt and those of its answer, when its first token comes.
    """
    ours, theirs = ([each for each in rows if each.tenant == name] for name in pair)
    end = max([each.first_at for each in (*ours, *theirs) if each.first_at is not None], default=0.0)
    found: list[WindowShare] = []
    while len(found) * seconds < end:
        start = len(found) * seconds
        until = start + seconds
        mine, other = (sum([_tokens(each, start, until) for each in side]) for side in (ours, theirs))
        contended = all(_waits_throughout(side, start, until) for side in (ours, theirs))
        found.append(WindowShare(start, seconds, mine / (mine + other) if mine + other else None, contended))
    return tuple(found)


def _tokens(row: Served, start: float, until: float) -> float:
    if row.first_at is None or row.failure is not None or not start <= row.first_at < until:
        return 0.0
    return row.prompt_tokens - row.cached_tokens + row.output_tokens


def _waits_throughout(rows: Sequence[Served], start: float, until: float) -> bool:
    """Whether one of the requests at least waits at every moment from `start` to `until`."""
    reached = start
    for at, end in sorted((each.at, each.ended_at if each.first_at is None else each.first_at) for each in rows):
        if at > reached:
            return False
        reached = max(reached, end)
        if reached >= until:
            return True
    return False
