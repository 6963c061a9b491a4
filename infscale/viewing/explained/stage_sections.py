"""The stages of a pick and its candidates as sections of a page."""

from collections.abc import Sequence
from typing import Final

from infscale.viewing.explained.seen_stages import CandidateSeen, StageSeen, StagesSeen
from infscale.viewing.grid import Cell, Column, Row, Section, text_cell, value_cell
from infscale.viewing.words import Write, count, counted, number, percent, seconds

_STAGE_COLUMNS: Final = (
    Column("kind", right=False),
    Column("stage", right=False),
    Column("before"),
    Column("after"),
    Column("without", right=False, wraps=True),
)
_NUMBERS: Final[Sequence[tuple[str, str, Write]]] = (
    ("waiting", "waiting_requests", count),
    ("running", "running_requests", count),
    ("KV", "kv_cache_utilization_ratio", percent),
    ("in flight", "in_flight_requests", count),
    ("cached", "cached_tokens", count),
    ("TTFT", "time_to_first_token_seconds", seconds),
    ("TPOT", "time_per_output_token_seconds", seconds),
)
_UNSAID: Final = "the scorer said nothing of it"
_UNKNOWN: Final = "it was not known then"


def stage_sections(found: StagesSeen) -> tuple[Section, ...]:
    """What each stage left, and what was said of each candidate."""
    stages = tuple(_stage_row(place, each) for place, each in enumerate(found.stages))
    return (
        Section("stages", _STAGE_COLUMNS, stages, "the configuration has none before its scorers"),
        _candidates(found),
    )


def stage_facts(found: StagesSeen) -> list[str]:
    """What is to be said beside the tables."""
    facts = list(found.beside)
    if found.left_out:
        facts.append(f"{counted(found.left_out, 'candidate')} with lower scores left out")
    if not found.reproduced:
        facts.append("not made again: a stage reads what is not kept, so what it says here may not be what it said")
    return facts


def _stage_row(place: int, stage: StageSeen) -> Row:
    name = f"{stage.name} of {stage.profile}" if stage.profile else stage.name
    more = stage.before - stage.after - len(stage.dropped)
    without = ", ".join(stage.dropped) + (f" and {more} more" if more > 0 and stage.dropped else "")
    cells = (
        text_cell(stage.kind),
        text_cell(name),
        Cell(str(stage.before), stage.before),
        Cell(str(stage.after), stage.after),
        text_cell(without),
    )
    return Row(str(place), cells)


def _candidates(found: StagesSeen) -> Section:
    scorers = list(dict.fromkeys(name for each in found.candidates for name in each.scores))
    columns = (
        Column("candidate", right=False),
        Column("choice"),
        Column("score"),
        *[Column(name) for name in scorers],
        *[Column(title, spare=1) for title, _, _ in _NUMBERS],
    )
    rows = tuple(_candidate_row(each, scorers) for each in found.candidates)
    return Section("candidates", columns, rows, "no stage chose among endpoints")


def _candidate_row(candidate: CandidateSeen, scorers: Sequence[str]) -> Row:
    choice = candidate.choice
    cells = (
        text_cell(candidate.endpoint),
        Cell("" if choice is None else str(choice), None if choice is None else -choice),
        value_cell(candidate.score, number, _UNSAID),
        *[value_cell(candidate.scores.get(each), number, _UNSAID) for each in scorers],
        *[value_cell(candidate.numbers.get(key), write, _UNKNOWN) for _, key, write in _NUMBERS],
    )
    return Row(candidate.endpoint, cells)
