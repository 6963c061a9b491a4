"""What a scenario is measured by: the figures of one contender, and the rows in which contenders are compared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from infscale.demo.scenarios.scenario_plan import HEAVY, LIGHT, ScenarioPlan
from infscale.demo.scenarios.served import Served, hit_ratio, p90
from infscale.demo.scenarios.shares import WindowShare, window_shares


@dataclass(frozen=True, slots=True)
class Figures:
    """One contender in one scenario. Seconds; None where there is nothing to measure.

    `alone_p90` and `interactive_p90` are times to the first token of the interactive class before the others came and
    beside them. `shares` are the newcomer's, window by window. `moved_at` is when turns were sent that found their
    session elsewhere than the answer before them had said, `most_moves` those of one session in a rolling restart.
    `first_answers` are from the first request for an empty pool to the first token of any, one for each time that it
    was woken. `failures` are by their reason, refusals among them. `tokens_per_second` are those of answers, until the
    last one ended.
    """

    requests: int
    answered: int
    refused: int
    failures: Mapping[str, int]
    ttft_p90: float | None
    alone_p90: float | None
    interactive_p90: float | None
    batch_p90: float | None
    tokens_per_second: float
    shares: tuple[WindowShare, ...]
    moved_at: tuple[float, ...]
    most_moves: int
    sessions: int
    hit_ratio: float | None
    first_answers: tuple[float | None, ...]

    @property
    def failed(self) -> int:
        """Requests without a whole answer that the picker did not refuse."""
        return self.requests - self.answered - self.refused

    @property
    def moves(self) -> int:
        """How often sessions moved."""
        return len(self.moved_at)

    @property
    def slowdown(self) -> float | None:
        """How many times as long interactive requests wait beside the others as alone."""
        if not self.alone_p90 or self.interactive_p90 is None:
            return None
        return self.interactive_p90 / self.alone_p90

    @property
    def share_error(self) -> float | None:
        """How far from its half the newcomer was at most, in windows in which both tenants waited throughout."""
        found = [abs(each.share - 0.5) for each in self.shares if each.contended and each.share is not None]
        return max(found, default=None)


def figures(plan: ScenarioPlan, everything: Sequence[Served]) -> Figures:
    """The figures of one contender to which all of these requests came."""
    rows = [each for each in everything if each.at >= plan.counted_seconds]
    answered = [each for each in rows if each.failure is None]
    interactive = [each for each in rows if each.request_class == "interactive"]
    moves = _moves(rows)
    begin, end = plan.restart
    in_restart = Counter([session for session, at in moves if begin <= at < end])
    end = max([each.ended_at for each in answered], default=0.0)
    return Figures(
        len(rows),
        len(answered),
        sum([each.refused for each in rows]),
        dict(Counter(each.failure for each in rows if each.failure is not None)),
        p90(rows),
        p90([each for each in interactive if each.at < plan.calm_seconds]),
        p90([each for each in interactive if each.at >= plan.calm_seconds]),
        p90([each for each in rows if each.request_class == "batch"]),
        sum([each.output_tokens for each in answered]) / end if end else 0.0,
        window_shares(rows, (LIGHT, HEAVY), plan.window_seconds) if plan.window_seconds else (),
        tuple(at for _, at in moves),
        max(in_restart.values(), default=0),
        len({each.session for each in rows if each.session is not None}),
        hit_ratio(rows),
        tuple(_first_answer(rows, wake, until) for wake, until in pairwise((*plan.wakes, float("inf")))),
    )


def _moves(rows: Sequence[Served]) -> list[tuple[int, float]]:
    """The sessions that moved, and when the turn was sent that found them elsewhere."""
    moves: list[tuple[int, float]] = []
    by_session: dict[int, list[Served]] = {}
    for turn in sorted(rows, key=lambda row: row.at):
        if turn.session is None or turn.first_at is None or not turn.endpoint:
            continue
        turns = by_session.setdefault(turn.session, [])
        # What its client knew when it sent the turn. A move of which it did not know yet is no second one.
        known = [each for each in turns if each.first_at is not None and each.first_at <= turn.at]
        if known and turn.endpoint not in (known[-1].endpoint, turns[-1].endpoint):
            moves.append((turn.session, turn.at))
        turns.append(turn)
    return moves


def _first_answer(rows: Sequence[Served], wake: float, until: float) -> float | None:
    of_wake = [each for each in rows if wake <= each.at < until]
    firsts = [each.first_at for each in of_wake if each.first_at is not None and each.failure is None]
    return min(firsts) - min(each.at for each in of_wake) if firsts else None


def mean_figures(runs: Sequence[Figures]) -> Figures:
    """One contender's figures over several runs: counts added up, times and rates as means, the worst of moves."""
    failures: Counter[str] = Counter()
    for each in runs:
        failures.update(each.failures)
    return Figures(
        sum([each.requests for each in runs]),
        sum([each.answered for each in runs]),
        sum([each.refused for each in runs]),
        dict(failures),
        _mean([each.ttft_p90 for each in runs]),
        _mean([each.alone_p90 for each in runs]),
        _mean([each.interactive_p90 for each in runs]),
        _mean([each.batch_p90 for each in runs]),
        _mean([each.tokens_per_second for each in runs]) or 0.0,
        tuple(share for each in runs for share in each.shares),
        tuple(at for each in runs for at in each.moved_at),
        max([each.most_moves for each in runs], default=0),
        sum([each.sessions for each in runs]),
        _mean([each.hit_ratio for each in runs]),
        tuple(_mean(wakes) for wakes in zip(*(each.first_answers for each in runs), strict=True)),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one of them is not known."""
    known = [each for each in values if each is not None]
    return fmean(known) if known and len(known) == len(values) else None
