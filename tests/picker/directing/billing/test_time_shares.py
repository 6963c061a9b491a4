"""What was in flight has the time that its endpoint worked, by what each request takes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.directing.billing.time_shares import NOTHING, Claim, StepCost, divided

COST = StepCost(base=0.01, per_prefill_token=1e-4, per_kv_token=1e-7, per_sequence=1e-4)


def seconds(worked: float, *claims: Claim) -> list[float]:
    return [each.seconds for each in divided(worked, COST, claims).shares]


claims = st.builds(
    Claim,
    st.one_of(st.just(0.0), st.floats(1.0, 1e6)),
    st.floats(0.0, 1e6),
    st.one_of(st.just(0.0), st.floats(1e-6, 100.0)),
)
costs = st.builds(
    StepCost,
    st.floats(0.0, 1.0),
    st.floats(0.0, 1e-2),
    st.one_of(st.just(0.0), st.floats(1e-12, 1e-5)),
    st.floats(0.0, 0.1),
)


@given(st.floats(1e-6, 1e4), costs, st.lists(claims, min_size=1, max_size=20))
def test_shares_add_up_to_the_time_whatever_is_claimed_at_whatever_cost(
    worked: float, cost: StepCost, claimed: list[Claim]
) -> None:
    shares = divided(worked, cost, claimed).shares
    assert sum(each.seconds for each in shares) == pytest.approx(worked, rel=1e-9)
    for share, claim in zip(shares, claimed, strict=True):
        assert share.seconds >= 0.0
        assert 0.0 <= share.prefill_tokens <= claim.prefill_tokens


def test_equal_answers_have_equal_shares_and_a_prompt_what_it_takes() -> None:
    decoding = Claim(0.0, 1_000.0, 1.0)
    assert seconds(1.0, decoding, decoding) == pytest.approx([0.5, 0.5])
    # 5,000 tokens take half a second, and a seat in one of the steps.
    prompt, answer = seconds(1.0, Claim(5_000.0, 5_000.0, 0.0), decoding)
    assert 0.5 < prompt < 0.52
    assert prompt + answer == pytest.approx(1.0)


def test_a_long_context_pays_for_what_it_looks_back_on() -> None:
    short, long = seconds(1.0, Claim(0.0, 0.0, 1.0), Claim(0.0, 100_000.0, 1.0))
    # Half of the base, with 1e-4 of its own, beside that with 1e-2 more for the context.
    assert long / short == pytest.approx((0.005 + 1e-4 + 1e-2) / (0.005 + 1e-4), rel=1e-6)


def test_a_prompt_that_was_not_all_computed_is_left_over_and_generates_nothing() -> None:
    prompts = [Claim(10_000.0, 10_000.0, 0.5), Claim(10_000.0, 10_000.0, 0.5)]
    first, second = divided(1.0, COST, prompts).shares
    assert first.prefill_tokens > second.prefill_tokens
    assert first.prefill_tokens + second.prefill_tokens == pytest.approx(
        8192 / (8192 * 1e-4 + 0.01 + 2 * 0.5 * (1e-4 + 1e-3)), rel=1e-6
    )


def test_where_nothing_is_claimed_shares_are_equal() -> None:
    assert seconds(1.0, NOTHING, NOTHING) == [0.5, 0.5]
    assert seconds(1.0, NOTHING, Claim(0.0, 10.0, 0.1)) == pytest.approx([0.0, 1.0])


def test_a_model_that_is_wrong_by_a_factor_is_not_wrong_about_shares() -> None:
    claimed = [Claim(1_000.0, 1_000.0, 0.2), Claim(0.0, 500.0, 1.0), Claim(0.0, 4_000.0, 0.7)]
    right = divided(1.0, COST, claimed).shares
    half = divided(1.0, StepCost(*[0.9 * each for each in COST]), claimed).shares
    for one, other in zip(right, half, strict=True):
        assert other.seconds == pytest.approx(one.seconds, abs=0.03)
