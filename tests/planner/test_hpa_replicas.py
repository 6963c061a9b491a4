import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.planner.hpa_replicas import (
    MAX_REPLICAS,
    Proposal,
    UnusableMetricError,
    by_average,
    by_average_value,
    by_utilization,
    by_value,
    total,
)
from infscale.planner.scale_target import ControllerSettings, PodPhase, PodState, PodValue, Tolerance, Workload
from infscale.quantity import milli_value, parse_quantity
from tests.fakes.scaling import ready

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hpa_replica_calc.json").read_text())
NOW = 1_000_000.0
CONTAINERS = ("container1", "container2")
FIELDS = {
    "case": {
        *("go_test", "case", "currentReplicas", "expectedReplicas", "expectedError", "tolerances", "container"),
        *("podReadiness", "podStartTime", "podPhase", "podDeletionTimestamp", "resource", "metric"),
    },
    "resource": {
        *("name", "requests", "levels", "podNames", "targetUtilization", "expectedUtilization", "expectedValue"),
    },
    "metric": {
        *("name", "levels", "metricType", "targetUsage", "perPodTargetUsage", "expectedUsage"),
        # What the fake metrics client is asked for; the arithmetic sees the answer only.
        *("selector", "singleObject"),
    },
}
SETTINGS = ControllerSettings(
    cpu_initialization_seconds=VECTORS["defaults"]["cpuInitializationPeriod_s"],
    initial_readiness_delay_seconds=VECTORS["defaults"]["delayOfInitialReadinessStatus_s"],
    tolerance=Tolerance(VECTORS["defaults"]["tolerance"], VECTORS["defaults"]["tolerance"]),
)
READINESS = {"True": True, "False": False, "Unknown": False}
STARTED = {None: 0.0, "unset": 0.0, "hot(now)": NOW, "cool(now-3m)": NOW - 180}


def case_name(case: Mapping[str, Any]) -> str:
    return "-".join(part for part in (case["go_test"].removeprefix("TestReplicaCalc"), case.get("case")) if part)


def at(case: Mapping[str, Any], column: str, row: int, default: Any) -> Any:
    """The row's entry of a column that may be absent or shorter than the pods."""
    entries = case.get(column) or []
    return entries[row] if row < len(entries) else default


def request_milli(case: Mapping[str, Any], row: int) -> int | None:
    """The request of one container, or of both where no container is named."""
    request = at(case.get("resource", {}), "requests", row, None)
    if request is None:
        return None
    return milli_value(parse_quantity(request)) * (1 if "container" in case else len(CONTAINERS))


def pods_of(case: Mapping[str, Any]) -> tuple[PodState, ...]:
    """The pods the Go test's fake lister returns: unset times are the zero time, long before now."""
    return tuple(
        PodState(
            f"test-pod-{row}",
            phase=PodPhase(at(case, "podPhase", row, "Running")),
            deleting=at(case, "podDeletionTimestamp", row, False),
            ready=READINESS[at(case, "podReadiness", row, "True")],
            started_at=STARTED[at(case, "podStartTime", row, None)],
            request_milli=request_milli(case, row),
        )
        for row in range(max(case["currentReplicas"], len(case.get("podPhase") or [])))
    )


def pod_values(case: Mapping[str, Any]) -> dict[str, PodValue]:
    """One value per pod: the named container's (``container1``, ``container2``), or all containers' together."""
    if "metric" in case:
        return {f"test-pod-{row}": PodValue(level) for row, level in enumerate(case["metric"]["levels"])}
    values: dict[str, PodValue] = {}
    for row, levels in enumerate(case["resource"]["levels"]):
        name = at(case["resource"], "podNames", row, f"test-pod-{row}")
        if "container" not in case:
            values[name] = PodValue(sum(levels))
        elif len(levels) > (place := CONTAINERS.index(case["container"])):
            values[name] = PodValue(levels[place])
    return values


def calculate(case: Mapping[str, Any]) -> Proposal:
    workload = Workload(case["currentReplicas"], pods_of(case))
    settings = SETTINGS
    if "tolerances" in case:
        tolerances = case["tolerances"]
        settings = replace(SETTINGS, tolerance=Tolerance(tolerances["scaleDown"], tolerances["scaleUp"]))
    if "resource" in case:
        target = case["resource"]["targetUtilization"]
        return by_utilization(workload, pod_values(case), target, settings, NOW, case["resource"]["name"])
    metric = case["metric"]
    match metric["metricType"]:
        case "pods":
            return by_average(workload, pod_values(case), metric["targetUsage"], settings, NOW)
        case "object" | "external":
            return by_value(workload, total(metric["levels"]), metric["targetUsage"], settings)
        case "objectPerPod" | "externalPerPod":
            return by_average_value(workload, total(metric["levels"]), metric["perPodTargetUsage"], settings)
        case other:
            raise ValueError(other)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=case_name)
def test_replicas_are_the_controllers(case: Mapping[str, Any]) -> None:
    if "expectedError" in case:
        with pytest.raises(UnusableMetricError, match=re.escape(case["expectedError"])):
            calculate(case)
        return
    proposal = calculate(case)
    assert proposal.replicas == case["expectedReplicas"]
    if "resource" in case:
        assert proposal.utilization_percent == case["resource"]["expectedUtilization"]
        assert proposal.usage_milli == case["resource"]["expectedValue"]
    else:
        assert proposal.usage_milli == case["metric"]["expectedUsage"]


def test_every_field_of_the_vectors_is_understood() -> None:
    unknown = {
        f"{place}.{field}"
        for case in VECTORS["cases"]
        for place, part in (("case", case), *((name, case[name]) for name in ("resource", "metric") if name in case))
        for field in part.keys() - FIELDS[place]
    }
    assert not unknown


def test_an_empty_list_is_an_error_with_the_controllers_words() -> None:
    with pytest.raises(UnusableMetricError, match="no metrics returned from custom metrics API"):
        by_average(ready(3), {}, 1000, SETTINGS, NOW)
    with pytest.raises(UnusableMetricError, match="resource memory: no metrics returned from resource metrics API"):
        by_average(ready(3), {}, 1000, SETTINGS, NOW, "memory")
    with pytest.raises(UnusableMetricError, match="resource cpu: no metrics returned from resource metrics API"):
        by_utilization(ready(3), {}, 50, SETTINGS, NOW)


def test_no_pods_is_an_error_with_the_controllers_words() -> None:
    with pytest.raises(UnusableMetricError, match="no pods returned by selector"):
        by_average(Workload(3), {"a": PodValue(1)}, 1000, SETTINGS, NOW)
    with pytest.raises(UnusableMetricError, match="no pods returned by selector"):
        by_value(Workload(3), 9000, 1000, SETTINGS)


def test_only_values_of_pending_pods_is_an_error() -> None:
    pods = (PodState("a", phase=PodPhase.PENDING),)
    with pytest.raises(UnusableMetricError, match="did not receive metrics for targeted pods"):
        by_average(Workload(1, pods), {"a": PodValue(5000)}, 1000, SETTINGS, NOW)


def test_a_pool_that_is_all_starting_cannot_scale_up_by_value() -> None:
    starting = tuple(PodState(f"pod-{row}", ready=False) for row in range(3))
    assert by_value(Workload(3, starting), 90_000, 1000, SETTINGS).replicas == 0
    assert by_average_value(Workload(3, starting), 90_000, 1000, SETTINGS).replicas == 90


@pytest.mark.parametrize("usage", [0, 1, 1000, 1001, 5500])
def test_from_zero_replicas_totals_round_up(usage: int) -> None:
    wanted = -(-usage // 1000)
    assert by_value(Workload(0), usage, 1000, SETTINGS).replicas == wanted
    assert by_average_value(Workload(0), usage, 1000, SETTINGS).replicas == wanted


def test_within_tolerance_an_average_value_keeps_the_replicas_that_exist() -> None:
    workload = replace(ready(8), status_replicas=5)
    assert by_average_value(workload, 5200, 1000, SETTINGS).replicas == 5


def test_a_ready_pod_still_burning_start_up_cpu_is_not_counted() -> None:
    fresh = PodState("b", started_at=NOW - 60, ready_changed_at=NOW - 50, request_milli=1000)
    pods = (PodState("a", request_milli=1000), fresh)
    values = {"a": PodValue(500, at=NOW), "b": PodValue(4000, at=NOW)}
    assert by_utilization(Workload(2, pods), values, 50, SETTINGS, NOW).unready == 1
    assert by_utilization(Workload(2, pods), values, 50, SETTINGS, NOW, "memory").unready == 0


@pytest.mark.parametrize(
    ("values", "replicas"),
    [
        pytest.param([20_000, 20_000, None], 4, id="up: counts as nothing, so four instead of six"),
        pytest.param([5_000, 5_000, None], 2, id="down: counts as on target, so two instead of one"),
        pytest.param([10_000, 10_000, None], 3, id="on target: changes nothing"),
        pytest.param([12_000, 12_000, None], 3, id="a little up: would turn, so nothing"),
    ],
)
def test_a_missing_pod_damps_both_directions(values: list[int | None], replicas: int) -> None:
    given_values = {f"pod-{row}": PodValue(value) for row, value in enumerate(values) if value is not None}
    proposal = by_average(ready(3), given_values, 10_000, SETTINGS, NOW)
    assert (proposal.replicas, proposal.missing) == (replicas, 1)


millis = st.integers(0, 10**7)


@given(st.lists(millis, min_size=1, max_size=8), st.integers(1, 8), st.integers(1, 10**6), st.integers(1, 20))
def test_missing_pods_never_turn_the_direction(levels: list[int], missing: int, target: int, replicas: int) -> None:
    workload = Workload(replicas, ready(len(levels) + missing).pods)
    values = {f"pod-{row}": PodValue(level) for row, level in enumerate(levels)}
    proposal = by_average(workload, values, target, SETTINGS, NOW)
    if proposal.usage_milli > target:
        assert proposal.replicas >= replicas
    elif proposal.usage_milli < target:
        assert proposal.replicas <= replicas


@given(st.integers(0, 2**63 - 1), st.integers(1, 2**63 - 1), st.integers(0, MAX_REPLICAS))
def test_replicas_stay_in_32_bits(usage: int, target: int, replicas: int) -> None:
    workload = Workload(replicas, ready(3).pods)
    for calculated in (by_value, by_average_value):
        assert 0 <= calculated(workload, usage, target, SETTINGS).replicas <= MAX_REPLICAS
