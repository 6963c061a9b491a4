"""Charges of one endpoint: they sum to exactly nothing, and the endpoint's own count corrects them."""

import random

from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import EndpointKey, ObjectKey
from infscale.metrics.store.dispatch import Charge
from infscale.metrics.store.ledger import Ledger

PATIENCE = 5.0


def charge(number: int, model: str = "m", tokens: float = 10.0, at: float = 0.0) -> Charge:
    return Charge(number, ObjectKey("ns", "pool"), EndpointKey("ns", "a"), model, tokens, at)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1 << 20)), max_size=20), st.randoms())
def test_whatever_the_order_of_ends_nothing_is_left(booked: list[tuple[str, int]], rng: random.Random) -> None:
    ledger = Ledger()
    for number, (model, tokens) in enumerate(booked):
        ledger.add(charge(number, model, float(tokens)))
    assert (len(ledger), ledger.tokens) == (len(booked), float(sum(tokens for _, tokens in booked)))
    assert sum(requests for requests, _ in ledger.models.values()) == len(booked)
    numbers = list(range(len(booked)))
    rng.shuffle(numbers)
    for number in numbers:
        assert ledger.remove(number) is not None
        assert ledger.remove(number) is None
    assert (len(ledger), ledger.tokens, ledger.models) == (0, 0.0, {})


def test_models_of_a_snapshot_stay_what_they_were() -> None:
    ledger = Ledger()
    ledger.add(charge(1))
    before = ledger.models
    ledger.add(charge(2))
    assert before == {"m": (1.0, 10.0)}


def test_what_the_endpoint_does_not_report_is_written_off_after_the_patience_eldest_first() -> None:
    ledger = Ledger()
    for number in range(3):
        ledger.add(charge(number))
    assert ledger.reconcile(1.0, 6.0, PATIENCE) == []
    assert ledger.reconcile(1.0, 10.9, PATIENCE) == []
    assert [each.number for each in ledger.reconcile(1.0, 11.0, PATIENCE)] == [0, 1]
    assert (len(ledger), ledger.tokens) == (1, 10.0)


def test_an_excess_that_ends_in_between_begins_anew() -> None:
    ledger = Ledger()
    ledger.add(charge(1))
    ledger.reconcile(0.0, 6.0, PATIENCE)
    ledger.reconcile(1.0, 8.0, PATIENCE)
    assert ledger.reconcile(0.0, 12.0, PATIENCE) == []
    assert len(ledger.reconcile(0.0, 17.0, PATIENCE)) == 1


def test_a_charge_younger_than_the_patience_may_not_have_reached_the_engine() -> None:
    ledger = Ledger()
    ledger.add(charge(1, at=100.0))
    for at in (101.0, 103.0, 104.9):
        assert ledger.reconcile(0.0, at, PATIENCE) == []
