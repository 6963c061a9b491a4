"""The adapter's answers, from parsed path to bytes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from adapter.answering.responder import Responder
from adapter.answering.store_provider import StoreProvider
from adapter.api.documents import Clock, constant_documents
from adapter.api.paths import parse
from bench.pools import filled_store
from bench.rows import Row, cpu_microseconds
from infscale.endpoint import DescribedObject, ObjectKey
from infscale.labels import Selector

POOL = ObjectKey("bench", "pool")
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/bench"


def _deployment(number: int) -> DescribedObject:
    key = ObjectKey(POOL.namespace, f"d-{number}")
    return DescribedObject("apps", "v1", "Deployment", "deployments", key, Selector())


def answers() -> Iterator[Row]:
    """One HPA query over 1,000 pods, one over one object, one external."""
    store, _ = filled_store(POOL, 1000)
    store.sync(replace(store.discovery, objects=tuple(map(_deployment, range(1000)))))
    responder = Responder(StoreProvider(store), constant_documents((), "0"))
    clock = Clock(100.0, datetime.now(UTC))
    paths = {
        "1,000 pods": (f"{CUSTOM}/pods/*/waiting_requests", 2500.0),
        "1,000 pods, queue latency": (f"{CUSTOM}/pods/*/queue_latency_p90_seconds", 4000.0),
        "one pool": (f"{CUSTOM}/inferencepools.inference.networking.k8s.io/pool/waiting_requests", 1000.0),
        "one pool, queue latency": (
            f"{CUSTOM}/inferencepools.inference.networking.k8s.io/pool/queue_latency_p90_seconds",
            1000.0,
        ),
        "one Deployment of 1,000": (f"{CUSTOM}/deployments.apps/d-7/waiting_requests", 1000.0),
        "external per model": ("/apis/external.metrics.k8s.io/v1beta1/namespaces/bench/waiting_requests", 1000.0),
    }
    for name, (path, budget) in paths.items():

        def work(path: str = path) -> None:
            responder.answer(parse("GET", path), clock)

        yield Row(f"adapter answer without TLS: {name}", cpu_microseconds(work, 20), "µs CPU", budget)
