"""Records what a real HPA controller had at each of its syncs, as a file of `infscale doctor replay`.

The adapter is the place to look: the controller reads the scale, asks each metric once, reads the pods, decides and
writes, all within milliseconds. What is read of the cluster while it asks is what it decides from, and the replicas at
its next sync are what it decided. Pods could become ready or leave between this look and the controller's, which
nothing would show, so kwok is stopped meanwhile.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from lab.controlplane import Document
from tests.cluster.second_adapter import SecondAdapter

PER_POD, OF_SERVICE = "queue_length", "queue_total"
_ROOT = "/apis/custom.metrics.k8s.io/v1beta1"
_METRIC = {"singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}


@dataclass(frozen=True)
class Demand:
    """What a workload is asked for, in waiting requests: each of `steps` for `seconds`, None while nothing is known."""

    steps: Sequence[int | None]
    seconds: float = 6.0

    def at(self, elapsed: float) -> int | None:
        return self.steps[min(int(elapsed / self.seconds), len(self.steps) - 1)]


_SETTLED_SECONDS = 0.05
"""After this, the controller has heard of what kwok wrote before it was stopped."""
_DECIDED_SECONDS = 0.2
"""After this, the controller has decided from an answer."""


@dataclass
class RecordingAdapter(SecondAdapter):
    """Answers the demand of each workload, shared by its pods or of its Service, and keeps what it saw meanwhile."""

    demands: dict[str, Demand] = field(default_factory=dict[str, Demand])
    began: float = 0.0
    looks: int = 0
    recorded: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if path == _ROOT:
            names = (f"pods/{PER_POD}", f"services/{OF_SERVICE}")
            resources = [{"name": each, **_METRIC} for each in names]
            return _json(
                {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": "custom.metrics.k8s.io/v1beta1",
                    "resources": resources,
                }
            )
        match path.removeprefix(f"{_ROOT}/").split("/"):
            case ["namespaces", namespace, "pods", _, metric] if metric == PER_POD:
                workload = request.query.get("labelSelector", "").partition("=")[2]
                return await self._answered(namespace, workload, metric)
            case ["namespaces", namespace, "services", workload, metric] if metric == OF_SERVICE:
                return await self._answered(namespace, workload, metric)
            case _:
                return _json({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}, 404)

    async def _answered(self, namespace: str, workload: str, metric: str) -> web.Response:
        async with self._pods_at_rest():
            return await self._look(namespace, workload, metric)

    @asynccontextmanager
    async def _pods_at_rest(self) -> AsyncGenerator[None]:
        """Stop kwok until the controller has decided."""
        self.looks += 1
        self._signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(_SETTLED_SECONDS)
            yield
        finally:
            asyncio.get_running_loop().call_later(_DECIDED_SECONDS, self._looked)

    def _looked(self) -> None:
        self.looks -= 1
        if self.looks == 0:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.plane.parts["kwok"].process.send_signal(number)

    async def _look(self, namespace: str, workload: str, metric: str) -> web.Response:
        now = datetime.now(UTC).timestamp()
        demand = self.demands[workload].at(now - self.began)
        deployment = await self.plane.client.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{workload}")
        pods = (
            await self.plane.client.get(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": f"app={workload}"})
        )["items"]
        # The controller decides from here on: on a busy machine what was read above takes its time.
        sync = self._sync(workload, metric, datetime.now(UTC).timestamp())
        sync["replicas"] = deployment["spec"]["replicas"]
        sync["status_replicas"] = deployment.get("status", {}).get("replicas", 0)
        sync["pods"] = [_pod(each) for each in pods]
        if demand is None:
            sync["metrics"][metric] = {"unknown": "the load is not known"}
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}
            return _json({**status, "message": "the load is not known"}, 404)
        if metric == OF_SERVICE:
            sync["metrics"][metric] = {"total": demand}
            return _json(_list([_item("Service", namespace, workload, metric, str(demand))]))
        # A pod that still starts has no value, as with an adapter that leaves out what it could not read.
        having = [each["metadata"]["name"] for each in pods if _ready(each)]
        shares = {name: f"{demand * 1000 // len(having)}m" for name in having}
        sync["metrics"][metric] = {"pods": {_short(name): value for name, value in shares.items()}}
        return _json(_list([_item("Pod", namespace, name, metric, value) for name, value in shares.items()]))

    def _sync(self, workload: str, metric: str, now: float) -> dict[str, Any]:
        """The sync that this question is of: an HPA asks each of its metrics once."""
        syncs = self.recorded.setdefault(workload, [])
        if not syncs or metric in syncs[-1]["metrics"]:
            syncs.append({"at": 0.0, "metrics": {}})
        syncs[-1]["at"] = round(now, 3)
        return syncs[-1]

    def recording(self, workload: str) -> dict[str, Any]:
        """The file of a workload's syncs."""
        return {"version": 1, "samples": self.recorded[workload]}


def _pod(pod: Document) -> dict[str, Any]:
    """A pod as the file has it, without what is the usual."""
    found: dict[str, Any] = {"name": _short(pod["metadata"]["name"]), "ready": _ready(pod)}
    if pod["status"]["phase"] != "Running":
        found["phase"] = pod["status"]["phase"]
    return {**found, "deleting": True} if "deletionTimestamp" in pod["metadata"] else found


def _short(name: str) -> str:
    """What tells the pods of one Deployment apart."""
    return name.rpartition("-")[2]


def _ready(pod: Document) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def _item(kind: str, namespace: str, name: str, metric: str, value: str) -> Document:
    return {
        "describedObject": {"kind": kind, "namespace": namespace, "name": name, "apiVersion": "/v1"},
        "metricName": metric,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": value,
        "selector": None,
    }


def _list(items: Sequence[Document]) -> Document:
    return {
        "kind": "MetricValueList",
        "apiVersion": "custom.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": list(items),
    }


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(dict(document)), status=status, content_type="application/json")
