"""How long a request may wait, and by when it is due."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.deadlines import asked_seconds
from picker.flow.reference.wait_budgets import WaitBudget, due_at
from picker.request import Headers

SECONDS = st.floats(0.0, 1e6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250", 10.25),
        (" 250 ", 10.25),
        ("+250", 10.25),
        ("0", 10.0),
        ("-1", math.inf),
        ("1.5", math.inf),
        ("soon", math.inf),
        ("", math.inf),
        ("9" * 40, math.inf),
    ],
)
def test_a_first_token_is_due_so_many_milliseconds_after_its_request_came(text: str, expected: float) -> None:
    for name in ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"):
        assert due_at(Headers([(name, text.encode())]), 10.0) == pytest.approx(expected)


def test_the_newer_header_counts_and_without_one_nothing_is_due() -> None:
    both = Headers([("x-slo-ttft-ms", b"1000"), ("x-llm-d-slo-ttft-ms", b"2000")])
    assert due_at(both, 0.0) == 2.0
    assert due_at(Headers(), 0.0) == math.inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1500ms", 1.5), ("1m", 60.0), ("0", None), ("0s", None), ("-1s", None), ("5", None), ("", None)],
)
def test_a_request_may_ask_to_wait_less(text: str, expected: float | None) -> None:
    assert asked_seconds(Headers([("x-llm-d-inference-ttl", text.encode())])) == expected
    assert asked_seconds(Headers()) is None


@pytest.mark.parametrize(
    ("budget", "asked", "expected"),
    [
        (WaitBudget(60.0, 90.0), 10.0, WaitBudget(10.0, 90.0)),
        (WaitBudget(60.0, 90.0), 70.0, WaitBudget(60.0, 90.0)),
        (WaitBudget(math.inf, 90.0), 70.0, WaitBudget(70.0, 90.0)),
        (WaitBudget(60.0, 90.0), None, WaitBudget(60.0, 90.0)),
    ],
)
def test_what_is_asked_for_extends_no_budget(budget: WaitBudget, asked: float | None, expected: WaitBudget) -> None:
    assert budget.asked(asked) == expected


@pytest.mark.parametrize(
    ("changed_at", "empty", "expected"),
    [(-5.0, False, 70.0), (30.0, False, 90.0), (-5.0, True, 20.0), (30.0, True, 40.0)],
)
def test_a_budget_begins_anew_when_the_pool_gets_its_first_endpoint_or_loses_its_last(
    changed_at: float, empty: bool, expected: float
) -> None:
    assert WaitBudget(60.0, 10.0).expires_at(10.0, changed_at, empty=empty) == expected


@given(SECONDS, SECONDS, SECONDS, SECONDS, st.booleans())
def test_no_request_expires_before_its_shorter_budget_is_over(
    seconds: float, without: float, arrived_at: float, changed_at: float, empty: bool
) -> None:
    over = WaitBudget(seconds, without).expires_at(arrived_at, changed_at, empty=empty)
    assert over >= arrived_at + min(seconds, without)
