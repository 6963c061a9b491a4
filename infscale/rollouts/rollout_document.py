"""What is shown of rollouts, as JSON has it."""

from collections.abc import Iterable

from infscale.endpoint import Version
from infscale.rollouts.running_rollout import RunningRollout

Document = dict[str, object]


def rollout_document(running: RunningRollout) -> Document:
    """One rollout."""
    rollout, state, test = running.rollout, running.state, running.test
    step = rollout.steps[state.step]
    return {
        "rollout": str(rollout.key),
        "revision": rollout.revision,
        "pool": f"{rollout.key.namespace}/{rollout.pool}",
        "model": rollout.model,
        "old": _version(rollout.old),
        "new": _version(rollout.new),
        "phase": state.phase.value,
        "reason": state.reason,
        "weight_ratio": running.weight_ratio,
        "step": state.step + 1,
        "steps": len(rollout.steps),
        "step_seconds": state.seconds,
        "step_wants_seconds": step.seconds,
        "step_requests": max(0, test.requests["new"] - state.requests_before),
        "step_wants_requests": step.requests,
        "ready_endpoints": running.ready_endpoints,
        "sent": dict(running.sent),
        "fallbacks": running.fallbacks,
        "sessions": running.sessions,
        "tested": dict(test.requests),
        "failed": dict(test.failures),
        "evidence": {metric: round(value, 4) for metric, value in test.by_metric().items()},
        "evidence_ratio": None if rollout.test is None else test.evidence * rollout.test.false_alarms,
        "alarm": None if rollout.test is None else test.alarm,
    }


def rollouts_document(rollouts: Iterable[RunningRollout]) -> Document:
    """All of them, by name."""
    found = sorted(rollouts, key=lambda each: each.rollout.key)
    return {"rollouts": [rollout_document(each) for each in found]}


def _version(version: Version) -> Document:
    return {"model": version.model, "labels": dict(version.labels), "pool": version.pool or None}
