"""The workloads whose HPAs are recorded: each with its form of metric, its behaviour and its demand."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from infscale.kube.api.client import KubeClient
from lab import documents
from lab.controlplane import ControlPlane, Document
from tests.cluster.replay.recorded_syncs import OF_SERVICE, PER_POD, Demand, RecordingAdapter
from tests.cluster.watching import until

NAMESPACE = "replay"
# Windows and periods are no multiples of the sync period: whether an event that is exactly as old as a window is in it
# hangs on the millisecond at which the controller looked at its clock, which nothing shows.
UP = {
    "stabilizationWindowSeconds": 3,
    "policies": [
        {"type": "Pods", "value": 2, "periodSeconds": 5},
        {"type": "Percent", "value": 50, "periodSeconds": 5},
    ],
}
DOWN = {"stabilizationWindowSeconds": 9, "policies": [{"type": "Percent", "value": 40, "periodSeconds": 5}]}


def _of_service(target: Mapping[str, str]) -> Document:
    described = {"apiVersion": "v1", "kind": "Service"}
    return {
        "type": "Object",
        "object": {"describedObject": described, "metric": {"name": OF_SERVICE}, "target": dict(target)},
    }


FORMS: Mapping[str, tuple[list[Document], Document | None]] = {
    "per-pod": ([documents.pods_metric(PER_POD, "4")], {"scaleUp": UP, "scaleDown": DOWN}),
    "average-value": (
        [_of_service({"type": "AverageValue", "averageValue": "4"})],
        {"scaleUp": {**UP, "tolerance": "0"}, "scaleDown": {**DOWN, "tolerance": "50m"}},
    ),
    "value": ([_of_service({"type": "Value", "value": "12"})], {"scaleUp": UP, "scaleDown": DOWN}),
    "two-metrics": (
        [documents.pods_metric(PER_POD, "5"), _of_service({"type": "AverageValue", "averageValue": "4"})],
        {"scaleDown": DOWN},
    ),
    "no-behavior": ([_of_service({"type": "AverageValue", "averageValue": "4"})], None),
}


def autoscaler(name: str) -> Document:
    """The HPA of a workload."""
    metrics, behavior = FORMS[name]
    spec: Document = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": 1,
        "maxReplicas": 9,
        "metrics": orjson.loads(orjson.dumps(metrics)),
    }
    for each in spec["metrics"]:
        if each["type"] == "Object":
            each["object"]["describedObject"]["name"] = name
    if behavior is not None:
        spec["behavior"] = behavior
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def demand(name: str, seconds: float) -> Demand:
    """Load that rises, holds, falls and is unknown at times; the same at each run."""
    rng = random.Random(name)
    steps: list[int | None] = [2]
    while len(steps) * Demand.seconds < seconds:
        level = rng.choice((1, 4, 9, 14, 17, 22, 28, 36))
        steps += [level] * rng.choice((1, 2, 3))
        steps += [None] if rng.random() < 0.15 else []
    return Demand([*steps, 2])


async def record(plane: ControlPlane, adapter: RecordingAdapter, now: float, seconds: float) -> None:
    """Have the real controller scale all workloads for so long."""
    adapter.began = now
    adapter.demands = {name: demand(name, seconds) for name in FORMS}
    await plane.apply(documents.new_namespace(NAMESPACE))
    for name in FORMS:
        await plane.apply(
            documents.service(NAMESPACE, name),
            documents.deployment(NAMESPACE, name, "none", load_time="3s"),
            autoscaler(name),
        )
    syncs = int(seconds / documents.SYNC_SECONDS)

    async def enough() -> bool:
        return all(len(adapter.recorded.get(name, ())) >= syncs for name in FORMS)

    await until(enough, 2 * seconds + 60, f"{syncs} syncs of each HPA")


async def kept(client: KubeClient, adapter: RecordingAdapter, folder: Path) -> None:
    """Write each recording and its HPA as the API server has it, with what it filled in."""
    for name in FORMS:
        path = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{name}"
        found: dict[str, Any] = await client.get(path)
        hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": found["spec"]}
        hpa["metadata"] = {"name": name, "namespace": NAMESPACE}
        (folder / f"{name}.hpa.json").write_bytes(orjson.dumps(hpa, option=orjson.OPT_INDENT_2) + b"\n")
        (folder / f"{name}.json").write_bytes(one_a_line(adapter.recording(name)))


def one_a_line(recording: Mapping[str, Any]) -> bytes:
    """The file, with each sample in a line of its own."""
    lines = b",\n".join(orjson.dumps(each) for each in recording["samples"])
    return b'{"version": 1, "samples": [\n' + lines + b"\n]}\n"
