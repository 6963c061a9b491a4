"""The stages of one pick as tables, from the document of its explanation."""

from typing import Any

import pytest

from infscale.viewing.document_parts import DocumentError
from infscale.viewing.explained.seen_stages import StagesSeen, stages_seen
from infscale.viewing.explained.stage_sections import stage_facts, stage_sections
from infscale.viewing.grid import Mark, Section
from tests.viewing.test_pick_words import PICK, SESSION


def found(**changed: Any) -> StagesSeen:
    (pick,) = stages_seen({"picks": [{**PICK, **changed}]})
    return pick


def texts(section: Section) -> list[list[str]]:
    return [[column.title for column in section.columns], *[[cell.text for cell in row.cells] for row in section.rows]]


def test_each_stage_and_each_candidate_has_a_row() -> None:
    stages, candidates = stage_sections(found())
    assert texts(stages) == [
        ["kind", "stage", "before", "after", "without"],
        ["filter", "by-zone", "3", "1", "llm/c and 1 more"],
    ]
    head, first, second = texts(candidates)
    assert head[:4] == ["candidate", "choice", "score", "queue-scorer × 2"]
    assert first[:4] == ["llm/a", "1", "0.9", "0.45"]
    assert second[:4] == ["llm/b", "", "0.5", "–"]
    assert candidates.rows[1].cells[3].mark is Mark.UNKNOWN


def test_the_profile_of_a_stage_is_named() -> None:
    stage = {"kind": "filter", "stage": "by-zone", "profile": "decode", "before": 2, "after": 2, "dropped": []}
    stages, _ = stage_sections(found(stages=[stage]))
    assert texts(stages)[1] == ["filter", "by-zone of decode", "2", "2", ""]


def test_sessions_and_what_is_missing_are_facts() -> None:
    facts = stage_facts(found(sessions=[{**SESSION, "outcome": "kept"}], candidates_left_out=5, reproduced=False))
    assert facts[0] == "session by header x-infscale-session: stayed on llm/a, there for 34.0 s"
    assert facts[1] == "5 candidates with lower scores left out"
    assert facts[2].startswith("not made again")
    assert stage_facts(found()) == []


def test_a_pick_without_stages_says_so() -> None:
    stages, candidates = stage_sections(found(stages=[], candidates=[]))
    assert (stages.rows, candidates.rows) == ((), ())
    assert stages.empty
    assert candidates.empty


def test_what_is_no_explanation_is_refused() -> None:
    with pytest.raises(DocumentError):
        stages_seen({"picks": [{"stages": 7}]})
