"""Explanations of picks as text: every case of a verdict in words, and documents of other versions."""

from typing import Any

import pytest

from infscale.viewing.document_parts import DocumentError
from infscale.viewing.pick_words import explanation_lines, replay_lines

CANDIDATE: dict[str, Any] = {
    "endpoint": "llm/a",
    "choice": 1,
    "score": 0.9,
    "scores": [{"scorer": "queue-scorer", "weight": 2.0, "raw": 0.45, "weighted": 0.9}],
    "waiting_requests": 3.0,
    "observed_age_seconds": 0.25,
}
SESSION: dict[str, Any] = {"carried_by": "header x-infscale-session", "was_at": "llm/a", "since_seconds": 34.0}
OTHER = {**CANDIDATE, "endpoint": "llm/b", "choice": None, "score": 0.5, "scores": [{"scorer": "queue-scorer"}]}
PICK: dict[str, Any] = {
    "request_id": "r1",
    "pick": "s.7",
    "time": "2026-11-30T12:00:00.000+00:00",
    "configuration": "abc",
    "pool": "llm/chat",
    "model": "m",
    "prompt_tokens": 700.0,
    "expected_output_tokens": 50.0,
    "destinations": ["10.0.0.1:8000", "10.0.0.2:8000"],
    "endpoints": 4,
    "eligible": 3,
    "stages": [
        {"kind": "filter", "stage": "by-zone", "before": 3, "after": 1, "dropped": ["llm/c"]},
    ],
    "candidates": [CANDIDATE, OTHER],
    "candidates_left_out": 0,
    "picker": "max-score-picker",
    "winner": "llm/a",
    "runner_up": {"endpoint": "llm/b", "behind": 0.4},
    "predicted": {"time_to_first_token_seconds": 0.2, "time_per_output_token_seconds": None},
    "actual": {"outcome": "completed", "status": 200, "time_to_first_byte_seconds": 0.3, "completion_tokens": 1},
    "reproduced": True,
}


def text(**changed: Any) -> str:
    return "\n".join(explanation_lines({"picks": [{**PICK, **changed}]}))


def test_all_of_an_explanation_is_told() -> None:
    assert text().splitlines() == [
        "request r1 of pool llm/chat, model m, 700 prompt tokens, 50 expected",
        "at 2026-11-30T12:00:00.000+00:00, on revision s.7, by configuration abc",
        "",
        "went to llm/a: the best score of 2, 0.9; llm/b is 0.4 behind",
        "fallbacks for the gateway: 10.0.0.2:8000",
        "",
        "4 endpoints, 3 eligible",
        "  filter  by-zone  3 → 1  without llm/c and 1 more",
        "",
        "     candidate  score  queue-scorer × 2  waiting  running  KV  in flight  tokens  cached     age  TTFT  TPOT",
        "  1  llm/a        0.9              0.45        3        –   –          –       –       –  250 ms     –     –",
        "     llm/b        0.5                 –        3        –   –          –       –       –  250 ms     –     –",
        "",
        "predicted: first token after 200 ms, an unknown time per token after it",
        "actual: completed with 200, first byte after 300 ms, 1 token",
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"runner_up": None}, "went to llm/a: the only candidate left"),
        ({"runner_up": {"endpoint": "llm/b", "behind": 0.0}}, "drawn among equals; llm/b scores 0.9, too"),
        (
            {"runner_up": {"endpoint": "llm/b", "behind": -0.1}},
            "max-score-picker does not always take the best; llm/b scores 0.1 more",
        ),
        ({"candidates": []}, "went to llm/a: any of 3 endpoints, without scores"),
        ({"winner": None, "refused": {"reason": "filtered_out", "status": 429}}, "refused with 429: filtered_out"),
        ({"winner": None}, "no endpoint was chosen"),
        ({"load_unknown": True}, "the load of no endpoint was known: what was in flight decided"),
        ({"waited_seconds": 1.5, "waited_for": "room at its endpoints"}, "waited 1.5 s for room at its endpoints"),
        ({"fallback": "instead of pool llm/chat, which is full"}, "came here instead of pool llm/chat, which is full"),
        (
            {
                "remote": [
                    {"stage": "prefill", "profile": "p", "endpoints": [{"endpoint": "llm/c", "authority": "x:1"}]}
                ]
            },
            "prefill on llm/c, chosen by profile p",
        ),
        (
            {"remote": [{"stage": "encode", "profile": "e", "endpoints": [{"endpoint": None, "authority": "x:1"}]}]},
            "encode on x:1, chosen by profile e",
        ),
        (
            {"sessions": [{**SESSION, "outcome": "kept"}]},
            "session by header x-infscale-session: stayed on llm/a, there for 34.0 s",
        ),
        (
            {"sessions": [{**SESSION, "was_at": None, "outcome": "moved", "reason": "gone"}]},
            "moved from an endpoint that is gone, there for 34.0 s: it has left the pool",
        ),
        (
            {"sessions": [{"carried_by": "cookie chat", "outcome": "new", "reason": "expired"}]},
            "session by cookie chat: a new one begins; what was sent is worth nothing: expired",
        ),
        (
            {"sessions": [{**SESSION, "outcome": "passed_by"}]},
            "session by header x-infscale-session: stays on llm/a, there for 34.0 s, while this request went elsewhere",
        ),
        ({"actual": None}, "its answer has not ended, as far as is known"),
        (
            {"actual": {"outcome": "evicted", "status": 200, "evicted_for": "request r2 of priority 10"}},
            "actual: evicted by request r2 of priority 10 with 200",
        ),
        ({"reproduced": False}, "not made again: a stage reads what is not kept"),
        ({"candidates_left_out": 5}, "and 5 candidates with lower scores"),
        ({"request_id": "\x1b[31mred"}, "request �[31mred of pool"),
    ],
    ids=lambda each: "" if isinstance(each, str) else ", ".join(each),
)
def test_each_verdict_has_its_words(changed: dict[str, Any], words: str) -> None:
    assert words in text(**changed)


@pytest.mark.parametrize("document", [None, [], {"picks": 7}, {"picks": [{"winner": 3}]}])
def test_what_is_no_explanation_is_refused(document: object) -> None:
    with pytest.raises(DocumentError):
        list(explanation_lines(document))


def test_a_replay_says_how_many_would_differ_and_where_they_would_go() -> None:
    document = {
        "configuration": "new",
        "recorded_by": ["old"],
        "decisions": 10,
        "same_winner": 7,
        "chosen_before": {"llm/a": 10},
        "chosen_after": {"llm/a": 7, "llm/b": 2, "refused": 1},
        "refused_after": {"saturated": 1},
        "predicted_time_to_first_token_seconds": {"before": 0.4, "after": 0.2, "decisions": 9},
        "examples": [{"request_id": "r1", "before": "llm/a", "after": "llm/b"}],
        "notes": ["a note"],
    }
    assert list(replay_lines(document)) == [
        "10 decisions made again by configuration new",
        "3 decisions would have gone elsewhere (30%)",
        "recorded by configuration old",
        "predicted time to first token of what was chosen: 400 ms before, 200 ms after",
        "refused: 1 as saturated",
        "",
        "  chosen   before  after",
        "  llm/a        10      7",
        "  llm/b         0      2",
        "  refused       0      1",
        "",
        "  request  before  after",
        "  r1       llm/a   llm/b",
        "",
        "a note",
    ]


def test_a_replay_of_nothing_says_so() -> None:
    assert list(replay_lines({"configuration": "new"})) == ["0 decisions made again by configuration new"]
