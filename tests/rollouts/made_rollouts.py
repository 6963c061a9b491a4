"""Rollouts for tests."""

from dataclasses import replace
from typing import Any

from infscale.endpoint import ObjectKey, Rollout, RolloutStep, Version

KEY = ObjectKey("default", "v2")
OLD, NEW = Version(labels={"version": "v1"}), Version(labels={"version": "v2"})
CANARY = Rollout(KEY, "pool", OLD, NEW, (RolloutStep(0.1, seconds=60.0), RolloutStep(0.5, seconds=10.0, requests=20)))
BLUE_GREEN = replace(CANARY, steps=(RolloutStep(0.0), RolloutStep(1.0, seconds=10.0)))


def canary(**changed: Any) -> Rollout:
    return replace(CANARY, **changed)
