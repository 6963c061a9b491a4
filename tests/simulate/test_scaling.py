"""Replicas by an HPA: the controller's syncs on what the adapter would answer, and pods that take time to start."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from infscale.doctor.replay.replayed_hpa import ReplayedHpa, read_hpa
from infscale.documents.strict_document import load
from infscale.simulate.policy import named_policy
from infscale.simulate.run_result import RunResult
from infscale.simulate.scenario import Scaling
from infscale.simulate.simulation import Simulation, simulate
from tests.simulate.scenarios import SharedPrefixes, scenario

HPA = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: llama, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  minReplicas: 1
  maxReplicas: 6
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
  metrics:
  - %s
"""
WAITING = (
    "{type: External, external: {metric: {name: waiting_requests}, target: {type: AverageValue, averageValue: 1}}}"
)
RUNNING = "{type: Pods, pods: {metric: {name: running_requests}, target: {type: AverageValue, averageValue: 3}}}"
OF_POOL = (
    "{type: Object, object: {describedObject: {apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, name: "
    "default}, metric: {name: saturation_ratio}, target: {type: Value, value: 500m}}}"
)
CPU = "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}"
BURST = SharedPrefixes(requests=240, rate=24.0, prefixes=200)


def hpa(metric: str) -> ReplayedHpa:
    return read_hpa(load(HPA % metric, "hpa.yaml"))


def scaled(metric: str, policy: str = "infscale", **more: Any) -> RunResult:
    scaling = Scaling(hpa(metric), sync_seconds=1.0, start_seconds=2.0, grace_seconds=5.0)
    return simulate(scenario(2, BURST, scaling=replace(scaling, **more)), named_policy(policy), 1)


@pytest.mark.parametrize("metric", [WAITING, RUNNING, OF_POOL], ids=["external", "pods", "object"])
@pytest.mark.parametrize("policy", ["infscale", "round-robin"])
def test_load_brings_replicas_that_take_requests_when_they_have_started(metric: str, policy: str) -> None:
    result = scaled(metric, policy)
    assert result.requests.answered.all()
    assert result.scaling[0].after == 2
    assert max(each.after for each in result.scaling) > 2
    assert all(one.after == other.before for one, other in pairwise(result.scaling))
    first = next(each for each in result.scaling if each.after > each.before)
    assert result.servers[2].started_at == first.at_seconds
    served = result.requests.first[result.requests.server >= 2]
    assert len(served)
    assert served.min() > first.at_seconds + 2.0


def test_more_replicas_that_start_sooner_answer_sooner_and_cost_more() -> None:
    none = simulate(scenario(2, BURST), named_policy("infscale"), 1)
    soon, late = scaled(WAITING, start_seconds=1.0), scaled(WAITING, start_seconds=60.0)
    assert soon.requests.ttft.mean() < 0.7 * none.requests.ttft.mean()
    assert soon.requests.ttft.mean() < 0.7 * late.requests.ttft.mean()
    assert soon.gpu_seconds() / soon.seconds > none.gpu_seconds() / none.seconds


def test_replicas_that_leave_finish_what_they_have_within_their_grace() -> None:
    """With a target that is never reached the HPA goes down to its minimum."""
    idle = RUNNING.replace("averageValue: 3", "averageValue: 1000")
    scaling = Scaling(hpa(idle), sync_seconds=1.0, grace_seconds=60.0)
    run = Simulation(scenario(3, SharedPrefixes(requests=80), scaling=scaling), named_policy("infscale"), 1)
    result = run.run()
    assert result.scaling[-1].after == 1
    assert result.requests.answered.all()
    assert [each.ended_at is None for each in result.servers] == [True, False, False]
    for number, server in enumerate(result.servers):
        ended = result.requests.ended[result.requests.server == number]
        assert server.ended_at is None or not len(ended) or ended.max() < server.ended_at + 0.01


def test_a_metric_that_nothing_serves_leaves_the_replicas_as_they_are() -> None:
    result = scaled(CPU)
    assert [each.after for each in result.scaling] == [2]
