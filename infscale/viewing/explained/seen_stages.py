"""What an explanation says of one pick: what its stages left, and what was said of each candidate."""

from collections.abc import Mapping
from dataclasses import dataclass

from infscale.viewing.document_parts import Part
from infscale.viewing.pick_words import remote_lines, session_lines


@dataclass(frozen=True, slots=True)
class StageSeen:
    """What a stage left of the candidates; `dropped` names the first of the others."""

    kind: str
    name: str
    profile: str
    before: int
    after: int
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CandidateSeen:
    """What was said of a candidate; `choice` is its place among those chosen, None: it was not.

    `scores` are by scorer and weight, as it gave them, None where it knew nothing. `numbers` are those of then.
    """

    endpoint: str
    choice: int | None
    score: float | None
    scores: Mapping[str, float | None]
    numbers: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class StagesSeen:
    """An explanation as far as its stages are known; `beside` are lines of text on other stages and on sessions."""

    pick: str
    request_id: str
    stages: tuple[StageSeen, ...]
    candidates: tuple[CandidateSeen, ...]
    left_out: int
    beside: tuple[str, ...]
    reproduced: bool


def stages_seen(document: object) -> tuple[StagesSeen, ...]:
    """What an explanation says of each pick in it. Raises `DocumentError`."""
    return Part(document, "explanation").each("picks", _pick)


def _pick(part: Part) -> StagesSeen:
    return StagesSeen(
        part.text("pick"),
        part.text("request_id"),
        part.each("stages", _stage),
        part.each("candidates", _candidate),
        part.count("candidates_left_out"),
        (*remote_lines(part), *session_lines(part)),
        part.flag_or_none("reproduced") is not False,
    )


def _stage(part: Part) -> StageSeen:
    return StageSeen(
        part.text("kind"),
        part.text("stage"),
        part.text("profile"),
        part.count("before"),
        part.count("after"),
        part.texts("dropped"),
    )


def _candidate(part: Part) -> CandidateSeen:
    scores = part.each("scores", lambda each: (each.text("scorer"), each.number("weight"), each.number("raw")))
    named = {f"{scorer} × {weight or 0.0:g}": raw for scorer, weight, raw in scores}
    return CandidateSeen(
        part.text("endpoint"), part.count_or_none("choice"), part.number("score"), named, part.numbers()
    )
