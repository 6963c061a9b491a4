"""The HPA of a replay: what the API server would refuse is refused, and other settings replace its own."""

from typing import Any

import pytest

from infscale.doctor.replay.replayed_hpa import Overrides, overridden, read_hpa
from infscale.documents.strict_document import from_plain
from infscale.errors import ConfigError
from infscale.planner.scale_target import Tolerance
from tests.doctor.replay.replay_hpas import document, external, hpa, pods, resource

POLICY = {"type": "Pods", "value": 1, "periodSeconds": 60}


def up(**rules: Any) -> dict[str, Any]:
    return document(pods("load", "4"), behavior={"scaleUp": rules})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "Deployment"}, "expected a HorizontalPodAutoscaler of autoscaling/v2, got ' Deployment'"),
        (document(), "spec.metrics: expected at least one metric"),
        (document(pods("load", "0")), r"spec.metrics\[0\]: expected a target above 0"),
        (document({"type": "Odd", "odd": {}}), r"spec.metrics\[0\]: expected a metric of type Pods"),
        (document(pods("load", "4"), external("load", "4")), "two metrics have one name"),
        (document(pods("load", "4"), maxReplicas=0), "expected minReplicas ≤ maxReplicas"),
        (up(policies=[POLICY, {**POLICY, "value": 0}]), r"spec.behavior.scaleUp.policies\[1\]: expected"),
        (up(policies=[{**POLICY, "periodSeconds": 1801}]), r"policies\[0\]: expected"),
        (up(stabilizationWindowSeconds=3601), "stabilizationWindowSeconds: expected 0 to 3600"),
        (up(selectPolicy="Most"), "selectPolicy: expected Max, Min or Disabled"),
        (up(tolerance="-1"), "tolerance: expected a quantity of at least 0"),
    ],
)
def test_what_no_controller_would_get_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_hpa(from_plain(given, "hpa.yaml"))


def test_other_settings_replace_those_of_the_hpa() -> None:
    behavior = {"scaleUp": {"tolerance": "0"}, "scaleDown": {"stabilizationWindowSeconds": 60, "policies": [POLICY]}}
    found = hpa(pods("load", "4"), resource("cpu", 50), behavior=behavior)
    other = overridden(found, Overrides({"load": 2500, "cpu": 60_000}, 0.2, 30.0, 2, 9))
    assert [(each.target_milli, each.target_percent) for each in other.metrics] == [(2500, None), (None, 60)]
    assert (other.bounds.min_replicas, other.bounds.max_replicas) == (2, 9)
    rules = other.bounds.behavior
    assert rules is not None
    assert (rules.scale_up.tolerance, rules.scale_down.tolerance) == (0.2, 0.2)
    assert rules.scale_down.stabilization_window_seconds == 30.0
    assert rules.scale_down.policies[0].value == 1, "what is not given stays"
    assert overridden(found, Overrides()) == found


def test_without_behavior_the_controller_s_flags_are_others() -> None:
    other = overridden(hpa(pods("load", "4")), Overrides(tolerance=0.2, down_window_seconds=30.0))
    assert other.bounds.behavior is None
    assert other.settings.tolerance == Tolerance(0.2, 0.2)
    assert other.settings.downscale_stabilization_seconds == 30.0


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Overrides({"laod": 1}), "--target: the HPA has no metric 'laod'; it has load"),
        (Overrides(min_replicas=7), "--min, --max: expected 0 ≤ min ≤ max"),
        (Overrides(max_replicas=0), "--min, --max"),
    ],
)
def test_settings_that_cannot_be_are_refused(other: Overrides, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        overridden(hpa(pods("load", "4")), other)
