"""Explanations: causes, the last picks with why they were made, and refusals."""

from dataclasses import replace
from typing import Any

import pytest

from infscale.viewing.explained.seen_stages import stages_seen
from infscale.viewing.explanations import how_it_went, why_chosen
from infscale.viewing.grid import STORE_VIEW, Page, View, ViewKind
from infscale.viewing.views import view_page
from tests.viewing.documents_of_stores import HOSTILE, POOL, looked_at, pick


def rows(page: Page, section: str) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for each in page.sections if each.title == section for row in each.rows]


def explained(kind: ViewKind, name: str = "", pool: str = POOL) -> Page:
    return view_page(looked_at(), View(kind, pool, name, explains=True))


def test_causes_of_a_pool_are_grouped() -> None:
    found = rows(explained(ViewKind.POOL), "unknown values")
    assert [
        "llm/vllm-1",
        "age, waiting, running, KV, sat., queue p90",
        "it is older than the staleness limit of 2 s: timed out, 1.0 s ago",
    ] in found
    assert ["llm/vllm-0 and 3 more", "GPU memory, GPU", "no GPU exporter has said anything of it"] in found


def test_causes_of_an_endpoint_name_its_values() -> None:
    found = rows(explained(ViewKind.ENDPOINT, "llm/vllm-2"), "unknown values")
    assert any("waiting_requests" in values and "connection refused" in why for _, values, why in found)


@pytest.mark.parametrize(
    ("kind", "name", "models"),
    [
        (ViewKind.POOL, "", [HOSTILE, "llama"]),
        (ViewKind.MODEL, "llama", ["llama"]),
        (ViewKind.ENDPOINT, "llm/vllm-0", [HOSTILE, "llama"]),
        (ViewKind.ENDPOINT, "llm/vllm-1", []),
        (ViewKind.AUTOSCALER, "llm/scaler", []),
    ],
)
def test_picks_are_those_of_what_is_explained(kind: ViewKind, name: str, models: list[str]) -> None:
    assert [row[1] for row in rows(explained(kind, name), "last picks")] == models


def test_refusals_are_of_the_pool_or_of_all() -> None:
    assert rows(explained(ViewKind.POOL), "refused requests") == [[POOL, "shed", "429", "12"]]
    everywhere = rows(view_page(looked_at(), View(ViewKind.STORE, explains=True)), "refused requests")
    assert everywhere[1] == ["no pool found", "no_pool", "404", "3"]


def test_without_a_picker_there_are_no_picks() -> None:
    page = view_page(looked_at(picks=None), View(ViewKind.STORE, explains=True))
    (section,) = [each for each in page.sections if each.title == "last picks"]
    assert (section.rows, section.empty) == ((), "this process has no picker")


def test_decisions_that_were_not_asked_for_are_not_said_to_be_none() -> None:
    found = replace(looked_at(picks=None), picks_asked=False)
    page = view_page(found, View(ViewKind.STORE, explains=True))
    assert [section.empty for section in page.sections if section.title == "last picks"] == ["asking …"]


def test_a_pick_has_a_page() -> None:
    (section,) = [each for each in explained(ViewKind.POOL).sections if each.title == "last picks"]
    opens = section.rows[0].opens
    assert opens is not None
    page = view_page(looked_at(), opens)
    assert page.facts[1].startswith("it went to llm/vllm-0: it had the best score of 2 candidates, 0.75")
    assert rows(page, "destinations")[1] == ["2", "has left its pool", "10.0.0.9:8000"]
    assert rows(page, "scores") == [["llm/vllm-0", "0.75"], ["llm/vllm-1", "0.5"]]


def test_a_pick_whose_stages_were_asked_for_shows_them() -> None:
    (section,) = [each for each in explained(ViewKind.POOL).sections if each.title == "last picks"]
    opens = section.rows[0].opens
    assert opens is not None
    stage = {"kind": "filter", "stage": "by-zone", "before": 3, "after": 2, "dropped": ["llm/vllm-2"]}
    known = {"pick": opens.pick, "request_id": opens.name.partition(" ")[2], "stages": [stage]}
    document = {"picks": [{**known, "request_id": "another"}, known]}
    page = view_page(replace(looked_at(), explained=stages_seen(document)), opens)
    assert rows(page, "stages") == [["filter", "by-zone", "3", "2", "llm/vllm-2"]]
    assert "scores" not in [each.title for each in page.sections]


NAMES = {"10.0.0.2:8000": "llm/vllm-1"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "it had the best score of 2 candidates, 0.75; llm/vllm-1 comes next with 0.5; its values were 300 ms old"),
        ({"scores": None}, "it scored 0.75 of 2 candidates; its values were 300 ms old"),
        ({"candidates": 1}, "it was the only candidate; its values were 300 ms old"),
        (
            {"score": 0.5},
            "it had the best score of 2 candidates, 0.5, as llm/vllm-1 had: one of them is drawn; "
            "its values were 300 ms old",
        ),
        (
            {"score": 0.25},
            "it scored 0.25 of 2 candidates, llm/vllm-1 0.5: the configured picker does not always take the best; "
            "its values were 300 ms old",
        ),
        (
            {"scores": None, "observed_age_seconds": None},
            "it scored 0.75 of 2 candidates; its load was not known: what is in flight decided",
        ),
        (
            {"score": None, "scores": None, "observed_age_seconds": None},
            "one of 2 candidates, without scores, because its request has no body that is read",
        ),
    ],
)
def test_why_an_endpoint_was_chosen(changes: dict[str, Any], words: str) -> None:
    picks = looked_at(picks={"picks": [pick(**changes)]}).picks
    assert picks is not None
    assert why_chosen(picks[0], NAMES) == words


def test_what_explains_the_store_is_about_everything() -> None:
    assert (
        view_page(looked_at(), STORE_VIEW).path == view_page(looked_at(), View(ViewKind.STORE, explains=True)).path[:1]
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        (
            {
                "waited_seconds": 1.5,
                "waited_for": "room",
                "end": {
                    "outcome": "completed",
                    "status": 200,
                    "first_byte_seconds": 0.07,
                    "seconds_per_output_token": 0.008,
                    "duration_seconds": 0.38,
                },
            },
            [
                "before that it waited 1.5 s for room",
                "it completed with 200, the first byte came after 70 ms, 8 ms per token after it, 380 ms in all",
            ],
        ),
        ({"end": {"outcome": "aborted"}}, ["it was aborted by the client"]),
        ({"end": {"outcome": "evicted"}}, ["it was evicted"]),
    ],
)
def test_how_a_pick_went_is_told_where_it_is_known(changes: dict[str, Any], words: list[str]) -> None:
    picks = looked_at(picks={"picks": [pick(**changes)]}).picks
    assert picks is not None
    assert how_it_went(picks[0]) == words
