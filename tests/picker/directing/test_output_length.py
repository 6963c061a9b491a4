"""How long an answer is expected to be, by what is known best."""

import pytest

from infscale.metrics.pages.bounds import MAX_OUTPUT_TOKENS
from picker.directing.output_length import OutputLengths
from tests.fakes.pools import FakePool


def test_without_knowledge_the_default_holds_up_to_the_requests_own_limit() -> None:
    lengths = OutputLengths(100.0)
    assert [lengths.expect("m", limit) for limit in (None, 30, 500, -1, 10**400)] == [100.0, 30.0, 100.0, 0.0, 100.0]


def test_what_answers_had_moves_the_expectation_of_their_model_alone() -> None:
    lengths = OutputLengths(100.0)
    lengths.observe("m", 200)
    assert (lengths.expect("m", None), lengths.expect("other", None)) == (200.0, 100.0)
    lengths.observe("m", 400)
    assert 200.0 < lengths.expect("m", None) < 220.0


@pytest.mark.parametrize("tokens", [-1, MAX_OUTPUT_TOKENS + 1])
def test_a_number_that_no_answer_has_teaches_nothing(tokens: int) -> None:
    lengths = OutputLengths(100.0)
    lengths.observe("m", tokens)
    assert lengths.expect("m", None) == 100.0


def test_models_that_clients_make_up_are_forgotten_again() -> None:
    lengths = OutputLengths(100.0)
    for number in range(1025):
        lengths.observe(f"m{number}", 7)
    assert (lengths.expect("m0", None), lengths.expect("m1", None)) == (100.0, 7.0)


def test_a_pool_that_says_nothing_of_its_answers_leaves_the_default() -> None:
    lengths = OutputLengths(100.0)
    lengths.refresh(FakePool(2).snapshot(), 0.0)
    assert lengths.expect("m", None) == 100.0
