"""Autoscalers of the scene: they ask the adapter as HPAs do, decide by the controller's arithmetic, and are told of.

The page is what kube-state-metrics would say of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import aiohttp
from aiohttp import web

from infscale.demo.asked_by_hpa import AdapterClient, Advice, HpaMetric, advise
from infscale.planner.hpa import Source
from infscale.planner.hpa_rules import History
from infscale.quantity import milli_value, parse_quantity

_SYNC_SECONDS = 1.0
_EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/"
_PODS = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/%2A/"
_METRICS = (
    (HpaMetric("waiting_requests", _EXTERNAL, "2", True, Source.EXTERNAL), "pool"),
    (HpaMetric("queue_latency_p90_seconds", _EXTERNAL, "1", False, Source.EXTERNAL), "pool"),
    (HpaMetric("kv_cache_utilization_ratio", _PODS, "800m", True, Source.PODS), "app"),
)
"""What each asks for, and the label that selects its pool."""


@dataclass(slots=True)
class Autoscaler:
    """The HPA of one pool, of `pods` that neither come nor go."""

    namespace: str
    pool: str
    pods: Sequence[str]
    history: History = field(default_factory=History)
    advice: Advice | None = None

    async def follow(self, adapter: AdapterClient) -> None:
        """Sync again and again until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            raw = [(metric, await adapter.ask(self._asked(metric, label))) for metric, label in _METRICS]
            self.advice = advise(raw, self.pods, loop.time(), self.history)
            self.history = self.advice.recommendation.history
            await asyncio.sleep(_SYNC_SECONDS)

    def _asked(self, metric: HpaMetric, label: str) -> HpaMetric:
        name = f"{metric.name}?labelSelector={label}%3D{self.pool}"
        return replace(metric, name=name, path=metric.path.format(self.namespace))

    def samples(self) -> Mapping[tuple[str, str], float]:
        """What is told of it, by metric and further labels."""
        advice = self.advice
        if advice is None:
            return {}
        replicas = len(self.pods)
        found = {
            ("spec_min_replicas", ""): 1.0,
            ("spec_max_replicas", ""): 2.0 * replicas,
            ("status_current_replicas", ""): float(replicas),
            ("status_desired_replicas", ""): float(advice.recommendation.desired),
            ("status_condition", 'condition="ScalingActive",status="true"'): float(_active(advice)),
            ("status_condition", 'condition="ScalingActive",status="false"'): float(not _active(advice)),
        }
        for (metric, _), answer in zip(_METRICS, advice.answers, strict=True):
            labels = f'metric_name="{metric.name}",metric_target_type="{"average" if metric.per_pod else "value"}"'
            found["spec_target_metric", labels] = milli_value(parse_quantity(metric.target)) / 1000
            if answer.value is not None:
                shared = replicas if metric.per_pod and metric.source is Source.EXTERNAL else 1
                found["status_target_metric", labels] = float(answer.value) / shared
        return found


def _active(advice: Advice) -> bool:
    return all(answer.value is not None for answer in advice.answers)


def page(autoscalers: Sequence[Autoscaler]) -> str:
    """The page of kube-state-metrics."""
    written: list[str] = []
    for each in autoscalers:
        of = f'namespace="{each.namespace}",horizontalpodautoscaler="{each.pool}"'
        for (name, labels), value in each.samples().items():
            all_labels = ",".join(filter(None, (of, labels)))
            written.append(f"kube_horizontalpodautoscaler_{name}{{{all_labels}}} {value}\n")
    return "".join(sorted(written))


async def told(autoscalers: Sequence[Autoscaler], _: web.BaseRequest) -> web.Response:
    """Answer with the page."""
    return web.Response(text=page(autoscalers), content_type="text/plain")


async def followed(autoscalers: Sequence[Autoscaler], url: str, ca_pem: str, token: str) -> None:
    """Have all of them ask the adapter until cancelled."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for each in autoscalers:
            tasks.create_task(each.follow(AdapterClient(session, url, ca_pem)))
