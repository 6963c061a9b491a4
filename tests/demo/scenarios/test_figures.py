"""Figures of scenarios, of requests made up: waits of classes, shares of tenants, moves of sessions, first answers."""

from dataclasses import replace

import pytest

from infscale.demo.scenarios.compared_figures import remarks, text
from infscale.demo.scenarios.figures import Figures, figures, mean_figures
from infscale.demo.scenarios.scenario_plan import HEAVY, LIGHT, ScenarioPlan, overload, scale_from_zero, sessions
from infscale.demo.scenarios.served import Served


def answered(at: float, wait: float, **more: object) -> Served:
    """An interactive request that got its first token after `wait` seconds, of 90 + 10 tokens."""
    row = Served(at, "interactive", at + wait, at + wait + 1.0, prompt_tokens=90, output_tokens=10, endpoint="a")
    return replace(row, **more)  # type: ignore[arg-type] # fields by name


def turns(plan: ScenarioPlan, *rows: tuple[float, float, str]) -> Figures:
    """The figures of one session's turns: sent, first token, endpoint."""
    return figures(plan, [answered(at, first - at, session=1, endpoint=name) for at, first, name in rows])


def test_interactive_requests_are_measured_alone_and_beside_the_others() -> None:
    plan = replace(overload(), calm_seconds=10.0, window_seconds=0.0)
    batch = answered(11.0, 8.0, request_class="batch", tenant=HEAVY)
    found = figures(plan, [answered(1.0, 0.2), answered(12.0, 0.3), batch])
    assert (found.alone_p90, found.interactive_p90, found.batch_p90) == pytest.approx((0.2, 0.3, 8.0))
    assert found.slowdown == pytest.approx(1.5)


def test_requests_that_fail_are_counted_and_have_no_time() -> None:
    refused = answered(1.0, 0.1, failure="refused: waited", refused=True, first_at=None)
    cut = answered(2.0, 0.1, failure="stream cut")
    found = figures(overload(), [answered(0.0, 0.5), refused, cut])
    assert (found.requests, found.answered, found.refused, found.failed) == (3, 1, 1, 1)
    assert found.failures == {"refused: waited": 1, "stream cut": 1}
    assert found.ttft_p90 == pytest.approx(0.5)


def test_a_share_counts_against_half_only_where_both_tenants_wait_throughout() -> None:
    plan = replace(overload(), window_seconds=1.0)
    both = [(LIGHT, 0.5, 3.5), (HEAVY, 0.5, 3.5), (LIGHT, 0.5, 1.5), (HEAVY, 0.5, 1.2), (HEAVY, 0.5, 1.4)]
    rows = [answered(at, first - at, tenant=tenant) for tenant, at, first in both]
    found = figures(plan, rows)
    # From 1 to 2 one of the newcomer's began and two of the other's; from 3 on, not to the window's end, one of each.
    assert [(each.share, each.contended) for each in found.shares] == [
        (None, False),
        (pytest.approx(1 / 3), True),
        (None, True),
        (pytest.approx(0.5), False),
    ]
    assert found.share_error == pytest.approx(1 / 6)


def test_what_is_cached_is_no_share() -> None:
    plan = replace(overload(), window_seconds=10.0)
    rows = [answered(0.0, 1.0, tenant=LIGHT, cached_tokens=90), answered(0.0, 1.0, tenant=HEAVY)]
    assert figures(plan, rows).shares[0].share == pytest.approx(10 / 110)


def test_a_session_moves_where_a_turn_finds_another_endpoint_than_its_client_knew() -> None:
    plan = sessions()
    assert turns(plan, (0.0, 1.0, "a"), (2.0, 3.0, "a")).moves == 0
    assert turns(plan, (0.0, 1.0, "a"), (2.0, 3.0, "b"), (4.0, 5.0, "b")).moves == 1
    assert turns(plan, (0.0, 1.0, "a"), (2.0, 3.0, "b"), (4.0, 5.0, "a")).moves == 2
    # Sent before the answer came that told of the move, the third turn follows it.
    assert turns(plan, (0.0, 1.0, "a"), (2.0, 4.0, "b"), (3.0, 5.0, "b")).moves == 1
    # Nothing was known of the session's place when the second turn was sent.
    assert turns(plan, (0.0, 2.0, "a"), (1.0, 3.0, "b")).moves == 0


def test_moves_of_the_restart_are_those_while_it_goes_on() -> None:
    plan = replace(sessions(), restart=(3.0, 6.0))
    found = turns(plan, (0.0, 1.0, "a"), (2.0, 2.5, "b"), (4.0, 5.0, "c"), (6.0, 7.0, "a"))
    assert (found.moves, found.most_moves) == (3, 1)


def test_each_wake_has_its_first_answer() -> None:
    plan = replace(scale_from_zero(), wakes=(2.0, 20.0))
    rows = [answered(2.5, 6.0), answered(3.0, 4.0), answered(20.5, 5.0)]
    assert figures(plan, rows).first_answers == pytest.approx((4.5, 5.0))
    assert figures(plan, rows[:2]).first_answers == (pytest.approx(4.5), None)


def test_requests_before_those_that_count_are_none() -> None:
    plan = replace(overload(), counted_seconds=5.0)
    assert figures(plan, [answered(1.0, 9.0), answered(6.0, 0.1)]).requests == 1


def test_several_runs_are_means_of_times_and_sums_of_counts() -> None:
    one = turns(sessions(), (10.0, 11.0, "a"), (12.0, 13.0, "b"))
    other = figures(sessions(), [answered(0.0, 2.0)])
    found = mean_figures([one, other])
    assert (found.requests, found.moves, found.most_moves) == (3, 1, 1)
    assert found.ttft_p90 == pytest.approx(1.5)
    assert mean_figures([one, figures(sessions(), [])]).ttft_p90 is None


def test_the_comparison_says_what_was_to_be_reached_and_what_failed() -> None:
    plan = replace(overload(), calm_seconds=10.0)
    near = figures(plan, [answered(1.0, 0.2), answered(12.0, 0.22)])
    far = figures(plan, [answered(1.0, 0.2), answered(12.0, 0.4), answered(13.0, 0.1, failure="timeout")])
    lines = text("overload", {"reference": far, "infscale": near}, "infscale")
    assert lines[0].split() == ["reference", "infscale", "to", "reference"]
    assert any(line.split()[:3] == ["that", "is", "2.00"] for line in lines)
    said = remarks("overload", {"reference": far, "infscale": near})
    assert said[0].startswith("reference: interactive not within 20%")
    assert said[1].startswith("infscale: interactive within 20%")
    assert said[2] == "reference: not answered: 1 × timeout"
