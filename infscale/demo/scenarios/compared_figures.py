"""The rows in which contenders of a scenario are compared, and what is said below them."""

from collections.abc import Mapping, Sequence
from typing import Final

from infscale.demo.report import Measure, seconds
from infscale.demo.scenarios.figures import Figures

CLOSE: Final = 1.2
"""How many times as long as alone an interactive request may wait for its first token beside batch: the goal."""

_TOKENS: Final[Measure[Figures]] = Measure(
    "output tokens per second",
    "output tokens",
    lambda one: one.tokens_per_second,
    "{:.0f}/s".format,
    "more",
    "less",
    more_is_better=True,
)
_TTFT: Final[Measure[Figures]] = Measure(
    "time to first token p90", "first token p90", lambda one: one.ttft_p90, seconds
)
_HITS: Final[Measure[Figures]] = Measure(
    "prefix hit ratio", "prefix hits", lambda one: one.hit_ratio, "{:.1%}".format, "more", "less", more_is_better=True
)
_REFUSED: Final[Measure[Figures]] = Measure(
    "refused requests", "refused", lambda one: float(one.refused), "{:.0f}".format, "fewer", "more"
)
_FAILED: Final[Measure[Figures]] = Measure(
    "failed requests", "failed", lambda one: float(one.failed), "{:.0f}".format, "fewer", "more"
)


def _times(value: float) -> str:
    return f"{value:.2f} ×"


def _first_answer(place: int) -> Measure[Figures]:
    said = ("first", "second")[place]
    return Measure(
        f"first answer of the {said} wake",
        f"first answer, {said} wake",
        lambda one: one.first_answers[place] if place < len(one.first_answers) else None,
        seconds,
    )


MEASURES: Final[Mapping[str, tuple[Measure[Figures], ...]]] = {
    "overload": (
        Measure("interactive alone p90", "interactive alone, p90", lambda one: one.alone_p90, seconds),
        Measure("interactive p90", "beside batch, p90", lambda one: one.interactive_p90, seconds),
        Measure("interactive to alone", "that is", lambda one: one.slowdown, _times, "nearer", "farther"),
        Measure("batch p90", "batch, p90", lambda one: one.batch_p90, seconds),
        Measure(
            "newcomer's share furthest from half",
            "newcomer off its half",
            lambda one: one.share_error,
            "{:.1%}".format,
            "nearer",
            "farther",
        ),
        _TOKENS,
        _REFUSED,
        _FAILED,
    ),
    "scale-from-zero": (_first_answer(0), _first_answer(1), _TTFT, _TOKENS, _REFUSED, _FAILED),
    "sessions": (
        Measure(
            "moves of sessions", "sessions that moved", lambda one: float(one.moves), "{:.0f}".format, "fewer", "more"
        ),
        Measure(
            "most moves of a session",
            "most in the restart",
            lambda one: float(one.most_moves),
            "{:.0f}".format,
            "fewer",
            "more",
        ),
        _HITS,
        _TTFT,
        _REFUSED,
        _FAILED,
    ),
    "drain": (
        Measure(
            "moves of sessions", "sessions that moved", lambda one: float(one.moves), "{:.0f}".format, "fewer", "more"
        ),
        Measure(
            "most moves of a session",
            "most as servers leave",
            lambda one: float(one.most_moves),
            "{:.0f}".format,
            "fewer",
            "more",
        ),
        _TTFT,
        _TOKENS,
        _REFUSED,
        _FAILED,
    ),
    "surge": (_TTFT, _TOKENS, _REFUSED, _FAILED),
    "fallback": (_TTFT, _TOKENS, _REFUSED, _FAILED),
}
"""By the name of the scenario, row by row."""


def remarks(name: str, found: Mapping[str, Figures]) -> list[str]:
    """What is said of scenario `name` below the rows: what was to be reached, and why requests were not answered."""
    lines: list[str] = []
    for contender, one in found.items():
        if name == "overload" and one.slowdown is not None:
            verdict = "within" if one.slowdown <= CLOSE else "not within"
            lines.append(f"{contender}: interactive {verdict} {CLOSE - 1:.0%} of its first token p90 alone")
        if name in ("sessions", "drain"):
            lines.append(f"{contender}: {one.sessions} sessions, {one.moves} moves of them")
    lines += [f"{contender}: not answered: {_reasons(one)}" for contender, one in found.items() if one.failures]
    return lines


def _reasons(one: Figures) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in sorted(one.failures.items(), key=lambda each: -each[1]))


def text(name: str, found: Mapping[str, Figures], ours: str) -> list[str]:
    """The comparison as plain lines: a column for each contender, and how `ours` compares to the others."""
    others = [each for each in found if each != ours]
    rows: list[Sequence[str]] = [("", *found, *(f"to {each}" for each in others))]
    for measure in MEASURES[name]:
        values = [measure.read(one) for one in found.values()]
        rows.append(
            (
                measure.short,
                *("–" if value is None else measure.write(value) for value in values),
                *(measure.compared(found[ours], found[each]) for each in others),
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in ([*zip(row, widths, strict=True)] for row in rows)
    ]
    return [*(line.rstrip() for line in lines), "", *remarks(name, found)]
