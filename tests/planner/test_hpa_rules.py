import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infscale.planner.hpa_rules import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    Bounds,
    Event,
    History,
    PolicyType,
    Reason,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
    limit_rate,
    scale_up_limit,
    stabilize,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hpa_scaling_rules.json").read_text())
NOW = 1_000_000.0


CASE = {
    *("name", "currentReplicas", "prenormalizedDesiredReplicas", "specMinReplicas", "specMaxReplicas"),
    *("scaleUpRules", "scaleDownRules", "scaleUpEvents", "scaleDownEvents", "expectedReplicas", "expectedCondition"),
    # Set on the one case that the Go test leaves out; it holds here.
    "testThis",
}
RULES = {"pods", "podsPeriod", "percent", "percentPeriod", "stabilizationWindow"}
EVENTS = "generateEventsUniformDistribution"


def rules_of(case: Mapping[str, Any], column: str, default: ScalingRules) -> ScalingRules:
    """The column's rules, with the defaults the API server fills in."""
    given = case.get(column)
    if given is None:
        return default
    units = ((PolicyType.PODS, "pods"), (PolicyType.PERCENT, "percent"))
    policies = [ScalingPolicy(kind, given[unit], given[f"{unit}Period"]) for kind, unit in units if given[unit]]
    return ScalingRules(tuple(policies) or default.policies, stabilization_window_seconds=given["stabilizationWindow"])


def events_of(case: Mapping[str, Any], column: str) -> tuple[Event, ...]:
    """Events in the middles of equal segments of the period before now, oldest first, as the Go test places them."""
    given = case.get(column)
    if given is None:
        return ()
    assert given["$call"] == EVENTS, given
    changes, period = given["args"]
    segment = period / len(changes)
    # Cut to whole seconds, as Go's conversion to a Duration does.
    ages = [int(period - segment * (row + 0.5)) for row in range(len(changes))]
    return tuple(Event(NOW - age, change) for age, change in zip(ages, changes, strict=True))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_limits_are_the_controllers(case: Mapping[str, Any]) -> None:
    behavior = Behavior(
        rules_of(case, "scaleUpRules", DEFAULT_SCALE_UP), rules_of(case, "scaleDownRules", DEFAULT_SCALE_DOWN)
    )
    bounds = Bounds(case["specMaxReplicas"], case["specMinReplicas"], behavior)
    history = History(scale_ups=events_of(case, "scaleUpEvents"), scale_downs=events_of(case, "scaleDownEvents"))
    limit = limit_rate(case["currentReplicas"], case["prenormalizedDesiredReplicas"], bounds, history, NOW)
    assert (limit.replicas, limit.reason.value) == (case["expectedReplicas"], case["expectedCondition"])


def test_every_field_of_the_vectors_is_understood() -> None:
    for case in VECTORS["cases"]:
        assert case.keys() <= CASE
        assert all(case[column].keys() == RULES for column in ("scaleUpRules", "scaleDownRules") if case.get(column))


@pytest.mark.parametrize(
    ("current", "desired", "most", "replicas", "reason"),
    [
        pytest.param(1, 3, 10, 3, Reason.DESIRED_WITHIN_RANGE, id="up to four at once"),
        pytest.param(1, 9, 10, 4, Reason.SCALE_UP_LIMIT, id="no further than four"),
        pytest.param(5, 20, 30, 10, Reason.SCALE_UP_LIMIT, id="at most double"),
        pytest.param(5, 20, 8, 8, Reason.TOO_MANY_REPLICAS, id="the maximum first"),
        pytest.param(9, 1, 30, 2, Reason.TOO_FEW_REPLICAS, id="down to the minimum at once"),
    ],
)
def test_without_behavior_a_sync_at_most_doubles(
    current: int, desired: int, most: int, replicas: int, reason: Reason
) -> None:
    limit = limit_rate(current, desired, Bounds(most, 2), History(), NOW)
    assert (limit.replicas, limit.reason) == (replicas, reason)


BEHAVIOR = Behavior()
SLOW_UP = Behavior(scale_up=replace(DEFAULT_SCALE_UP, stabilization_window_seconds=60))
RECENT = History((Event(NOW - 400, 50), Event(NOW - 200, 9), Event(NOW - 30, 6), Event(NOW - 10, 4)))


@pytest.mark.parametrize(
    ("current", "desired", "behavior", "stable", "reason"),
    [
        pytest.param(9, 3, None, 9, Reason.SCALE_DOWN_STABILIZED, id="down: highest of 5 min"),
        pytest.param(9, 12, None, 12, Reason.READY_FOR_NEW_SCALE, id="up: at once"),
        pytest.param(5, 7, None, 9, Reason.SCALE_DOWN_STABILIZED, id="no behavior: highest even on the way up"),
        pytest.param(9, 3, BEHAVIOR, 9, Reason.SCALE_DOWN_STABILIZED, id="default down window is the controller's"),
        pytest.param(5, 7, BEHAVIOR, 7, Reason.READY_FOR_NEW_SCALE, id="default up window is none"),
        pytest.param(3, 20, SLOW_UP, 4, Reason.SCALE_UP_STABILIZED, id="up window: lowest of a minute"),
        pytest.param(5, 20, SLOW_UP, 5, Reason.SCALE_UP_STABILIZED, id="between both: stays"),
    ],
)
def test_recommendations_are_stabilized(
    current: int, desired: int, behavior: Behavior | None, stable: int, reason: Reason
) -> None:
    limit = stabilize(current, desired, Bounds(100, 1, behavior), RECENT, NOW, default_down_seconds=300)
    assert (limit.replicas, limit.reason) == (stable, reason)


def test_the_default_ramp_from_one_is_five_ten_twenty() -> None:
    bounds, history, replicas, ramp = Bounds(100, 1, Behavior()), History(), 1, list[int]()
    for sync in range(4):
        now = NOW + 15.0 * sync
        after = limit_rate(replicas, 100, bounds, history, now).replicas
        history, replicas = history.scaled(now, replicas, after, bounds.behavior), after
        ramp.append(replicas)
    assert ramp == [5, 10, 20, 40]


@pytest.mark.parametrize(
    ("select", "up", "down"), [(SelectPolicy.MAX, 20, 0), (SelectPolicy.MIN, 13, 7), (SelectPolicy.DISABLED, 10, 10)]
)
def test_the_select_policy_chooses_among_policies(select: SelectPolicy, up: int, down: int) -> None:
    policies = (ScalingPolicy(PolicyType.PODS, 3, 60), ScalingPolicy(PolicyType.PERCENT, 100, 60))
    rules = ScalingRules(policies, select, stabilization_window_seconds=0)
    bounds = Bounds(1000, 0, Behavior(rules, rules))
    assert limit_rate(10, 1000, bounds, History(), NOW).replicas == up
    assert limit_rate(10, 0, bounds, History(), NOW).replicas == down


def test_percentages_round_so_that_small_workloads_move_up_but_not_down() -> None:
    rules = ScalingRules((ScalingPolicy(PolicyType.PERCENT, 10, 60),), stabilization_window_seconds=0)
    bounds = Bounds(1000, 0, Behavior(rules, rules))
    assert limit_rate(3, 1000, bounds, History(), NOW).replicas == 4
    assert limit_rate(3, 0, bounds, History(), NOW).replicas == 2


def test_huge_percentages_stay_in_32_bits() -> None:
    rules = ScalingRules((ScalingPolicy(PolicyType.PERCENT, 2**31 - 1, 60),), stabilization_window_seconds=0)
    bounds = Bounds(2**31 - 1, 0, Behavior(rules, rules))
    assert limit_rate(10**6, 2**31 - 1, bounds, History(), NOW).replicas == 2**31 - 1


def test_history_forgets_what_no_window_reaches() -> None:
    history = History()
    for minute in range(0, 180, 10):
        history = history.recommended(60.0 * minute, minute)
    assert [event.replicas for event in history.recommendations] == [110, 120, 130, 140, 150, 160, 170]
    assert history.scaled(0.0, 4, 4, Behavior()) == history


def test_a_change_replaces_one_that_its_own_policies_no_longer_reach() -> None:
    """So the longer period of the other direction forgets it too; recorded of a real controller."""
    down = ScalingRules((ScalingPolicy(PolicyType.PERCENT, 40, 5.0),))
    behavior = Behavior(scale_down=down)
    history = History().scaled(NOW - 10.0, 5, 4, behavior).scaled(NOW - 4.0, 4, 2, behavior)
    assert [event.replicas for event in history.scale_downs] == [2]
    assert scale_up_limit(2, behavior.scale_up, history, NOW) == 8, "not 9 or 10, from 5 replicas 15 s ago"
    within = History().scaled(NOW - 8.0, 5, 4, behavior).scaled(NOW - 4.0, 4, 2, behavior)
    assert [event.replicas for event in within.scale_downs] == [1, 2]
    assert scale_up_limit(2, behavior.scale_up, within, NOW) == 10


def test_without_behavior_no_change_is_kept() -> None:
    assert History().scaled(NOW, 4, 8, None) == History()


@pytest.mark.parametrize(("least", "most"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_bounds_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="bounds need"):
        Bounds(most, least)


def test_impossible_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one policy"):
        ScalingRules(())
    with pytest.raises(ValueError, match="period of 1 to 1800"):
        ScalingPolicy(PolicyType.PODS, 1, 3600)
    with pytest.raises(ValueError, match="0 to 3600"):
        replace(DEFAULT_SCALE_UP, stabilization_window_seconds=3601)
    with pytest.raises(ValueError, match="not negative"):
        replace(DEFAULT_SCALE_UP, tolerance=-0.1)
