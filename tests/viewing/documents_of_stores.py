"""Documents of stores in known states, as a process would answer them."""

from collections.abc import Mapping
from typing import Any

import orjson

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.metrics.published.inspection import snapshot_document
from infscale.metrics.queried import Queried
from infscale.metrics.sample import HealthSample, LoraState, ModelLoad, Reading
from infscale.metrics.store.metrics_store import MetricStore
from infscale.sources.health_source import HEALTH
from infscale.viewing.seen_documents import Documents, Seen, seen
from tests.fakes.samples import engine_sample

POOL = "llm/chat"
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202egnp"
NOW = 10.0


def store(endpoints: int = 4) -> MetricStore:
    """Endpoint 0 is fresh with two models, 1 stale, 2 was never read and refuses connections, 3 is starting."""
    made = MetricStore("s")
    phases = {3: Phase.STARTING}
    keys = [EndpointKey("llm", f"vllm-{number}") for number in range(endpoints)]
    made.sync(
        DiscoveryState(
            tuple(
                Endpoint(key, f"10.0.{number // 250}.{number % 250 + 1}", 8000, phase=phases.get(number, Phase.READY))
                for number, key in enumerate(keys)
            ),
            (Pool(ObjectKey("llm", "chat"), {}),),
        )
    )
    models = {"llama": ModelLoad(5.0, 2.0), HOSTILE: ModelLoad(1.0, None)}
    lora = LoraState(frozenset({"sql"}), frozenset(), 4)
    for at in (NOW - 1.4, NOW - 0.4):
        made.record_scrape(keys[0], engine_sample(6.0, 2.0, 0.9, models, lora), at=at)
    made.record_scrape(keys[1], engine_sample(1.0, 1.0, 0.5, {"llama": ModelLoad(1.0, 1.0)}), at=NOW - 7.0)
    made.record_failure(keys[1], "timed out", at=NOW - 1.0)
    made.record_failure(keys[2], "connection refused", at=NOW - 0.5)
    made.charge(ObjectKey("llm", "chat"), 0, "llama", 100, NOW - 0.2)
    return made


def store_beside() -> MetricStore:
    """The same, where 0 says over gRPC that it takes no requests, 1 that it does, and two queries were evaluated."""
    made, pool = store(), ObjectKey("llm", "chat")
    for number, serving in ((0, False), (1, True)):
        key = EndpointKey("llm", f"vllm-{number}")
        made.record_beside(HEALTH, key, HealthSample(serving, good_seconds=15.0), at=NOW - 3.0)
    cost = Queried(parts={None: Reading(12.5, NOW - 4.0), HOSTILE: Reading(3.0, NOW - 4.0)}, failure="timed out")
    power = Queried({ObjectKey("llm", "vllm-0"): Reading(310.0, NOW - 2.0)})
    for name, said in {"cost": cost, "power": power, "never": Queried(failure="connection refused")}.items():
        made.record_queried(name, {pool: said})
    return made


def documents(made: MetricStore | None = None, **others: Any) -> Documents:
    """As they come over HTTP."""
    snapshots = (made or store()).snapshots()
    snapshot = {"pools": [snapshot_document(each, NOW) for each in snapshots]}
    return Documents(*(orjson.loads(orjson.dumps(each)) for each in (snapshot, *_all(others))))


def _all(others: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    kept = {"picks": PICKS, "autoscalers": AUTOSCALERS, "triggers": TRIGGERS, **others}
    return kept["picks"], kept["autoscalers"], kept["triggers"]


def looked_at(made: MetricStore | None = None, **others: Any) -> Seen:
    return seen(documents(made, **others))


def pick(**changes: Any) -> dict[str, Any]:
    return {
        "time": "2026-11-30T12:00:08.125+00:00",
        "request_id": "id-1",
        "pool": POOL,
        "revision": "s.7",
        "model": HOSTILE,
        "destinations": [
            {"endpoint": "llm/vllm-0", "authority": "10.0.0.1:8000"},
            {"endpoint": None, "authority": "10.0.0.9:8000"},
        ],
        "candidates": 2,
        "score": 0.75,
        "scores": {"10.0.0.1:8000": 0.75, "10.0.0.2:8000": 0.5},
        "observed_age_seconds": 0.3,
        "charged_tokens": 1200.0,
        "decision_seconds": 0.00025,
        **changes,
    }


PICKS = {
    "picks": [pick(), pick(request_id="id-2", model="llama", score=None, scores=None, observed_age_seconds=None)],
    "refusals": [
        {"pool": POOL, "reason": "shed", "status": 429, "requests": 12},
        {"pool": "", "reason": "no_pool", "status": 404, "requests": 3},
    ],
}
AUTOSCALERS = {
    "autoscalers": [
        {
            "autoscaler": "llm/scaler",
            "target": "Deployment/vllm",
            "min_replicas": 1,
            "max_replicas": 8,
            "pods": 2,
            "metrics": [
                {
                    "metric": "waiting_requests",
                    "form": "Pods",
                    "described": None,
                    "selector": "",
                    "target_type": "AverageValue",
                    "target": "2",
                    "items": 1,
                    "value": 6.0,
                    "age_seconds": 0.4,
                    "cause": None,
                    "replicas": 6,
                    "why": "waiting_requests 6 per pod / target 2 → 6 replicas",
                },
                {
                    "metric": "gpu_memory_used_ratio",
                    "form": "Object",
                    "described": "InferencePool/chat",
                    "selector": "",
                    "target_type": "Value",
                    "target": "800m",
                    "items": 0,
                    "value": None,
                    "age_seconds": None,
                    "cause": "no exporter",
                },
            ],
            "replicas": 6,
            "why": "waiting_requests 6 per pod / target 2 → 6 replicas",
            "not_known": ["the controller's history"],
        }
    ],
    "left_out": 0,
}


def trigger(**changes: Any) -> dict[str, Any]:
    return {
        "time": "2026-11-30T12:00:08.125+00:00",
        "age_seconds": 1.5,
        "scaled_object": "llm/vllm",
        "pool": POOL,
        "model": None,
        "metric": "infscale_replicas_of_load",
        "target": 1.0,
        "value": 2.25,
        "why": "2 pods are ready, 0 start; ttft_p90=1s: 0.9",
        "active": True,
        "active_age_seconds": 0.5,
        "why_not_known": "",
        "streams": 1,
        **changes,
    }


TRIGGERS = {
    "triggers": [
        trigger(),
        trigger(metric="waiting_requests", target=4.0, value=None, why="the metric is unknown now", active=False),
        trigger(metric="waiting_requests", target=8.0, value=6.0, why="", streams=0),
        trigger(
            scaled_object="llm/new",
            pool=None,
            model=HOSTILE,
            metric="running_requests",
            age_seconds=None,
            value=None,
            why="",
            active=None,
            why_not_known="no endpoint and no InferencePool was discovered yet",
            streams=0,
        ),
    ]
}
