"""`/debug/picks`: the last decisions, bounded, with the revision of the store that each was made on."""

import random
from datetime import UTC, datetime
from itertools import count

import orjson

from infscale.endpoint import ObjectKey
from picker.directing.picks import SHOWN, picks_document
from picker.directing.watching.observed_director import ObservedDirector
from picker.pick_record import KEPT_CHARACTERS, KEPT_SCORES, PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Reason
from tests.picker.directing.test_pool_directors import CHAT, CODE, Bench, ask

POOL = ObjectKey("llm", "chat")
WALL = datetime(2026, 11, 30, 12, 0, 10, tzinfo=UTC)


def record(number: int = 0, **more: object) -> PickRecord:
    return PickRecord(f"id-{number}", "m", "s.7", float(number), ("10.0.0.1:8000",), 2, **more)  # type: ignore[arg-type] # names are the record's own


def test_a_decision_is_shown_with_what_it_was_made_of() -> None:
    bench = Bench(CHAT, CODE, default=CHAT)
    clock = count(5.0, 0.25)
    director = ObservedDirector(bench.directors, lambda: next(clock))
    decision = director.direct(ask("code"), 1.5)
    assert isinstance(decision, Decision)
    (shown,) = picks_document(bench.directors.picks(), 3.5, WALL)["picks"]  # type: ignore[misc] # a list of one
    assert shown == {
        "time": "2026-11-30T12:00:08.000+00:00",
        "request_id": "id",
        "pool": "llm/code",
        "revision": decision.revision,
        "model": "m",
        "destinations": [{"endpoint": "llm/code-0", "authority": "10.0.0.2:8000"}],
        "candidates": 1,
        "score": shown["score"],
        "scores": None,
        "observed_age_seconds": 1.5,
        "charged_tokens": 258.0,
        "decision_seconds": 0.25,
        "waited_seconds": None,
        "waited_for": None,
        "remote": [],
        "fallback": None,
        "sessions": [],
        "end": None,
    }
    assert director.durations.buckets()[-1] == ("+Inf", 1.0)
    assert director.durations.total == 0.25


def test_a_request_without_a_body_is_shown_too() -> None:
    bench = Bench(CHAT)
    decision = bench.directors.direct(InferenceRequest("id", "/v1/models", Headers(()), None), 0.1)
    assert isinstance(decision, Decision)
    (shown,) = picks_document(bench.directors.picks(), 0.1, WALL)["picks"]  # type: ignore[misc] # a list of one
    assert (shown["revision"], shown["score"], shown["charged_tokens"]) == (decision.revision, None, None)


def test_the_newest_of_all_pools_come_first_and_no_more_than_that() -> None:
    pools = {
        ObjectKey("llm", name): ([record(number) for number in range(start, 1000, 2)], {})
        for start, name in enumerate(("chat", "code"))
    }
    shown = picks_document(pools, 1000.0, WALL)["picks"]
    assert [each["request_id"] for each in shown] == [f"id-{number}" for number in range(999, 999 - SHOWN, -1)]  # type: ignore[attr-defined] # a list


def test_what_a_client_sends_is_kept_short_and_no_header_or_prompt_at_all() -> None:
    bench = Bench(CHAT)
    secret = Headers((("authorization", b"Bearer secret"), ("x-other", b"secret")))
    body = ParsedBody("completions", "m" * 1_000_000, b"secret prompt", 3)
    assert isinstance(bench.directors.direct(InferenceRequest("i" * 1_000_000, "/secret", secret, body), 0.1), Decision)
    written = orjson.dumps(picks_document(bench.directors.picks(), 0.2, WALL))
    assert len(written) < 1000
    assert b"secret" not in written
    assert b"m" * KEPT_CHARACTERS in written


def test_of_many_scores_the_best_are_kept() -> None:
    rng = random.Random(1)
    scores = {f"10.0.0.{number}:8000": rng.random() for number in range(200)}
    kept = record(scores=scores).scores
    assert len(kept) == KEPT_SCORES
    assert min(kept.values()) >= max(score for name, score in scores.items() if name not in kept)


def test_an_endpoint_that_left_is_named_by_its_authority_alone() -> None:
    document = picks_document({POOL: ([record()], {"10.0.0.2:8000": "llm/other"})}, 1.0, WALL)
    assert document["picks"][0]["destinations"] == [{"endpoint": None, "authority": "10.0.0.1:8000"}]  # type: ignore[index] # a list


def test_records_are_bounded_and_ends_change_nothing() -> None:
    bench = Bench(CHAT)
    director = ObservedDirector(bench.directors, lambda: 0.0)
    for _ in range(2 * SHOWN):
        request = ask()
        decision = director.direct(request, 0.1)
        assert isinstance(decision, Decision)
        director.finished(request, director.response_started(decision, 200, None, 0.2), Outcome("completed", 200), 0.3)
    (records, _) = bench.directors.picks()[CHAT]
    assert len(list(records)) == SHOWN
    assert bench.in_flight(CHAT) == 0


def test_refusals_are_counted_by_pool_reason_and_status() -> None:
    reason = next(iter(Reason))
    document = picks_document({}, 1.0, WALL, {"": {(reason, 404): 2}, "llm/chat": {(reason, 503): 1}})
    assert document["refusals"] == [
        {"pool": "", "reason": reason.value, "status": 404, "requests": 2},
        {"pool": "llm/chat", "reason": reason.value, "status": 503, "requests": 1},
    ]
