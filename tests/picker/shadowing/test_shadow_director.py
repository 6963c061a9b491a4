"""Which requests are copied, within which budget, and how they are compared."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.config.shadow_settings import SIDE_EFFECT_FIELDS, ShadowSettings, SkipSettings
from picker.request import Outcome
from picker.shadowing.shadow_document import shadow_document
from tests.picker.shadowing.shadowed import BODY, NEXT, Shadowed

ALL = ShadowSettings(1.0, NEXT)
CHAT_BODY = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
DONE = Outcome("completed", 200, completion_tokens=4, first_byte_seconds=0.5, duration_seconds=2.0)


def all_with(**more: Any) -> ShadowSettings:
    return ShadowSettings(1.0, NEXT, **more)


def test_a_copy_has_the_body_as_it_was_and_some_headers() -> None:
    made = Shadowed(ALL)
    made.ask(
        7,
        {
            "content-type": "application/json; charset=utf-8",
            "accept": "text/event-stream",
            "authorization": "Bearer secret",
            "cookie": "session=secret",
            "traceparent": "00-1-2-01",
            "x-other": "1",
        },
        path="/v1/completions",
    )
    (copy,) = made.copies
    assert (copy.authority, copy.path) == ("10.0.1.1:8000", "/v1/completions")
    assert dict(copy.headers) == {
        "content-type": "application/json; charset=utf-8",
        "accept": "text/event-stream",
        "traceparent": "00-1-2-01",
        "x-request-id": "id-7-shadow",
        "x-infscale-shadow": "1",
    }
    assert made.goes(copy) == orjson.dumps(BODY)
    assert made.drawn() == {"copied": 1}


def test_headers_go_along_that_are_named() -> None:
    made = Shadowed(all_with(headers=("authorization",)))
    made.ask(headers={"authorization": "Bearer for-all"})
    assert dict(made.copies[0].headers)["authorization"] == "Bearer for-all"


@pytest.mark.parametrize(
    ("model", "target", "sent"), [(None, "llama", "llama"), (None, "llama-v1", "llama-v1"), ("new", "llama-v1", "new")]
)
def test_the_model_is_the_candidates_else_the_one_that_the_request_is_sent_as(
    model: str | None, target: str, sent: str
) -> None:
    made = Shadowed(all_with(model=model))
    made.ask(target=target)
    content = made.goes(made.copies[0])
    assert content is not None
    assert orjson.loads(content) == {**BODY, "model": sent}


@pytest.mark.parametrize(
    ("settings", "headers", "path", "body"),
    [
        *((ALL, {}, "/v1/completions", {**BODY, each: [1]}) for each in SIDE_EFFECT_FIELDS),
        (ALL, {}, "/v1/completions", {**BODY, "store": True}),
        (all_with(allow_fields=("store",)), {}, "/v1/completions", {**BODY, "tools": [{}]}),
        (all_with(skip=SkipSettings(fields=("webhook",))), {}, "/v1/completions", {**BODY, "webhook": "http://x"}),
        (all_with(skip=SkipSettings(headers={"x-tier": ()})), {"x-tier": "any"}, "/v1/completions", BODY),
        (all_with(skip=SkipSettings(headers={"x-tier": ("gold",)})), {"x-tier": "gold"}, "/v1/completions", BODY),
        (all_with(skip=SkipSettings(paths=("/v1/completions",))), {}, "/v1/completions?x=1", BODY),
    ],
)
def test_what_marks_side_effects_is_not_copied_and_leaves_nothing(
    settings: ShadowSettings, headers: dict[str, str], path: str, body: object
) -> None:
    made = Shadowed(settings)
    end = made.ask(0, headers, path, body)
    assert [made.goes(copy) for copy in made.copies] in ([], [None])
    assert made.drawn() == {"side_effects": 1}
    end(DONE)
    (counts,) = made.director.books.ways.values()
    assert (counts.open_requests, counts.held_bytes, counts.answers, made.in_flight) == (0, 0, {}, 0)


@pytest.mark.parametrize(
    ("settings", "headers", "path", "body"),
    [
        (all_with(allow_fields=("tools",)), {}, "/v1/chat/completions", {**CHAT_BODY, "tools": [{"type": "function"}]}),
        (ALL, {}, "/v1/chat/completions", {**CHAT_BODY, "store": False, "tools": [], "functions": None}),
        (all_with(skip=SkipSettings(headers={"x-tier": ("gold",)})), {"x-tier": "free"}, "/v1/completions", BODY),
        (all_with(skip=SkipSettings(paths=("/v1/embeddings",))), {}, "/v1/completions", BODY),
        (ALL, {}, "/v1/embeddings", {"model": "llama", "input": "hello"}),
    ],
)
def test_what_marks_none_is(settings: ShadowSettings, headers: dict[str, str], path: str, body: object) -> None:
    made = Shadowed(settings)
    made.ask(0, headers, path, body)
    assert made.goes(made.copies[0]) == orjson.dumps(body)


@pytest.mark.parametrize(
    ("headers", "path", "body"),
    [
        ({"x-infscale-shadow": "1"}, "/v1/completions", BODY),
        ({}, "/v1/responses", {"model": "llama", "input": "hello"}),
        ({}, "/v1/messages", CHAT_BODY),
        ({}, "/v1/images/generations", {"model": "llama", "prompt": "a cat"}),
    ],
)
def test_neither_copies_nor_other_apis_are_drawn(headers: dict[str, str], path: str, body: object) -> None:
    made = Shadowed(ALL)
    made.ask(0, headers, path, body)
    assert (made.copies, made.drawn()) == ([], {})


def test_what_is_no_json_object_after_all_is_not_sent() -> None:
    made = Shadowed(ALL)
    made.ask()
    copy = made.copies[0]
    copy._content = b"["  # pyright: ignore[reportPrivateUsage] # what the parser took is always an object
    assert made.goes(copy) is None


def test_what_is_large_is_not_copied() -> None:
    made = Shadowed(all_with(max_request_bytes=100))
    made.ask(body={**BODY, "prompt": "x" * 100})
    assert made.drawn() == {"too_large": 1}


@pytest.mark.parametrize(
    ("settings", "copies"),
    [
        (all_with(max_requests=3), 3),
        (all_with(max_requests=50, max_bytes=5 * len(orjson.dumps(BODY))), 5),
        # Saturation is at 100 requests for an endpoint.
        (all_with(max_requests=50, max_share=0.02), 2),
        (all_with(max_requests=50, max_share=0.001), 1),
    ],
)
def test_no_more_are_under_way_than_the_budget(settings: ShadowSettings, copies: int) -> None:
    made = Shadowed(settings)
    for number in range(20):
        made.ask(number)
    assert (len(made.copies), made.in_flight) == (copies, copies)
    assert made.drawn() == {"no_room": 20 - copies}
    for copy in made.copies[:1]:
        made.goes(copy)
        made.ends(copy)
    made.ask(30)
    assert len(made.copies) == copies + 1, "the room is there again"


@pytest.mark.parametrize(
    ("waiting", "kv", "after"), [(1.0, 0.1, 0.0), (0.0, 0.9, 0.0), (0.0, 0.1, 60.0)], ids=["waits", "full", "stale"]
)
def test_what_is_busy_or_unknown_gets_no_copy(waiting: float, kv: float, after: float) -> None:
    made = Shadowed(ALL)
    made.scrape(waiting, kv)
    made.now += after
    made.ask()
    assert made.copies == []
    assert made.drawn() in ({"busy": 1}, {"no_endpoint": 1})


def test_requests_that_wait_in_the_picker_go_first() -> None:
    made = Shadowed(ALL)
    queue = made.store.open_queue(NEXT, made.now)
    queue.came(queue.place("llama", 10.0, made.now))
    made.ask()
    assert made.drawn() == {"busy": 1}


def test_only_endpoints_with_the_labels_get_copies() -> None:
    made = Shadowed(all_with(pod_labels={"row": "2"}, max_requests=100), endpoints=4)
    for number in range(10):
        made.ask(number)
    assert {copy.authority for copy in made.copies} == {"10.0.1.3:8000"}
    nowhere = Shadowed(all_with(pod_labels={"row": "9"}))
    nowhere.ask()
    assert nowhere.drawn() == {"no_endpoint": 1}


@pytest.mark.parametrize("made", [Shadowed(ALL, endpoints=0), Shadowed(ALL, h2c=True)], ids=["none", "h2c"])
def test_without_an_endpoint_that_can_be_asked_there_is_no_copy(made: Shadowed) -> None:
    made.ask()
    assert (made.copies, made.drawn()) == ([], {"no_endpoint": 1})


def test_the_turns_of_a_session_go_together_and_to_one_endpoint() -> None:
    made = Shadowed(ShadowSettings(0.3, NEXT, max_requests=10_000, max_share=1.0), endpoints=8)
    turns: dict[str, set[str | None]] = {}
    number = 0
    for turn in range(3):
        for session in range(200):
            number += 1
            before = len(made.copies)
            made.ask(number, {"x-session-id": f"chat-{session}"})
            copied = len(made.copies) > before
            turns.setdefault(f"chat-{session}", set()).add(made.copies[-1].authority if copied else None)
        made.now += 0.01 * turn
    assert all(len(places) == 1 for places in turns.values())
    assert 30 < sum(places != {None} for places in turns.values()) < 90
    assert len({place for places in turns.values() for place in places}) == 9


def test_each_candidate_gets_its_share() -> None:
    made = Shadowed(*(ShadowSettings(share, NEXT, max_requests=10_000) for share in (0.3, 0.5)), endpoints=100)
    for number in range(2_000):
        made.ask(number)
    first, second = (counts.open_requests / 2_000 for counts in made.director.books.ways.values())
    assert first == pytest.approx(0.3, abs=0.04)
    assert second == pytest.approx(0.5, abs=0.04)


@given(
    shares=st.lists(st.floats(0.01, 0.3), min_size=1, max_size=3),
    sessions=st.lists(st.text(max_size=6), min_size=1, max_size=40),
)
def test_a_request_is_copied_once_at_most_and_the_books_end_at_0(shares: list[float], sessions: list[str]) -> None:
    made = Shadowed(*(ShadowSettings(each, NEXT, max_requests=5, max_bytes=300) for each in shares))
    ends: list[Any] = []
    for number, session in enumerate(sessions):
        before = len(made.copies)
        ends.append(made.ask(number, {"x-session-id": session} if session.isprintable() else {}))
        assert len(made.copies) - before <= 1
        for way, counts in made.director.books.ways.items():
            assert counts.open_requests <= way.settings.max_requests
            assert counts.held_bytes <= way.settings.max_bytes
        if number % 3 == 2 and made.copies and not made.copies[-1].over:
            made.goes(made.copies[-1])
            made.ends(made.copies[-1])
    for end in ends:
        end(DONE)
    for copy in made.copies:
        if not copy.over:
            made.ends(copy, "timeout")
    assert made.in_flight == 0
    for counts in made.director.books.ways.values():
        assert (counts.open_requests, counts.held_bytes) == (0, 0)
    compared = sum(sum(each.answers.values()) for each in made.director.books.ways.values())
    assert compared == len(made.copies)


@pytest.mark.parametrize("first", ["request", "copy"])
def test_both_are_compared_once_both_have_ended(first: str) -> None:
    made = Shadowed(ALL)
    end = made.ask()
    (copy,) = made.copies
    made.goes(copy)
    # It had waited for half a second before its destination was chosen.
    outcome = Outcome("completed", 200, completion_tokens=8, first_byte_seconds=0.7, duration_seconds=2.5)

    def ends_copy() -> None:
        made.now = 5.0
        made.ends(copy, first=0.4, tokens=6)

    def ends_request() -> None:
        made.now = 3.0
        end(outcome)

    for each in (ends_request, ends_copy) if first == "request" else (ends_copy, ends_request):
        assert shadow_document(made.director.books) != {}
        each()
    assert shadow_document(made.director.books) == {
        "shadows": [
            {
                "pool": "llm/chat",
                "to": "llm/next",
                "model": None,
                "pod_labels": {},
                "share": 1.0,
                "open_requests": 0,
                "held_bytes": 0,
                "drawn": {"copied": 1},
                "answers": [{"primary": "2xx", "copy": "2xx", "count": 1}],
                "first_byte": {
                    "pairs": 1,
                    "primary_mean_seconds": pytest.approx(0.2),
                    "copy_mean_seconds": 0.4,
                    "slower_ratio": 1.0,
                },
                "duration": {
                    "pairs": 1,
                    "primary_mean_seconds": 2.0,
                    "copy_mean_seconds": 4.0,
                    "slower_ratio": 1.0,
                },
                "completion_tokens": {"primary": 8, "copy": 6},
            }
        ]
    }


@pytest.mark.parametrize(
    ("outcome", "result", "pair"),
    [
        (DONE, "5xx", ("2xx", "5xx")),
        (Outcome("completed", 503), "2xx", ("5xx", "2xx")),
        (Outcome("aborted", 200), "2xx", ("aborted", "2xx")),
        (Outcome("evicted"), "timeout", ("evicted", "timeout")),
        (Outcome("completed"), "unreachable", ("unknown", "unreachable")),
    ],
)
def test_only_answers_that_both_succeeded_have_their_times_compared(
    outcome: Outcome, result: str, pair: tuple[str, str]
) -> None:
    made = Shadowed(ALL)
    end = made.ask()
    made.goes(made.copies[0])
    made.ends(made.copies[0], result)
    end(outcome)
    (counts,) = made.director.books.ways.values()
    assert counts.answers == {pair: 1}
    assert (counts.duration.primary.count, counts.first_byte.copy.count) == (0, 0)
    assert made.inner.outcomes == [outcome], "the director inside is told of every end"
