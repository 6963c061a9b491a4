"""A cluster in which nothing is wrong, as the doctor sees it; tests plant faults in it."""

from dataclasses import replace
from typing import Any

from adapter.registering.ownership import API_SERVICES
from infscale.doctor.reading.looked_kinds import KINDS, OTHER_SCALERS, OTHER_WORKLOADS, POOL_USERS
from infscale.doctor.view.cluster_view import ClusterView, SeenInfscale
from infscale.doctor.view.seen_apis import HPA_ACCOUNT, Answer, AnsweredItem, SeenApiService, SeenRight
from infscale.doctor.view.seen_routing import (
    SeenBackend,
    SeenPicker,
    SeenPool,
    SeenPoolUser,
    SeenRoute,
    SeenService,
)
from infscale.doctor.view.seen_scalers import ObjectRef, SeenAutoscaler, SeenMetric, SeenScaledObject, SeenTrigger
from infscale.doctor.view.seen_workloads import SeenContainer, SeenPod, SeenScale, SeenWorkload
from infscale.endpoint import ObjectKey
from infscale.kube.rights import Right
from infscale.labels import Selector

NOW = 1_800_000_000.0
NAMESPACE = "llm"
POOL = ObjectRef("inference.networking.k8s.io/v1", "InferencePool", "chat")
TARGET = ObjectRef("apps/v1", "Deployment", "vllm")
SERVICE = ObjectKey("infscale-system", "infscale-adapter")
OTHER = ObjectKey("keda", "keda-operator-metrics-apiserver")
PATH = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/llm/pods/%2A/waiting_requests?labelSelector=app%3Dvllm"
READING = Right("get", "custom.metrics.k8s.io", "*")


def key(name: str, namespace: str = NAMESPACE) -> ObjectKey:
    return ObjectKey(namespace, name)


def pods_metric(name: str = "waiting_requests", milli: int = 4000, index: int = 0) -> SeenMetric:
    return SeenMetric(index, "Pods", name, "AverageValue", milli, None, f"{milli}m")


def object_metric(name: str, kind: str, milli: int, index: int = 0, described: ObjectRef = POOL) -> SeenMetric:
    return SeenMetric(index, "Object", name, kind, milli, None, f"{milli}m", described=described)


def external_metric(name: str, kind: str, milli: int, **labels: str) -> SeenMetric:
    selector = ",".join(f"{label}={value}" for label, value in labels.items())
    return SeenMetric(0, "External", name, kind, milli, None, f"{milli}m", selector, labels)


def autoscaler(*metrics: SeenMetric, name: str = "vllm", target: ObjectRef = TARGET, **changes: Any) -> SeenAutoscaler:
    found = SeenAutoscaler(key(name), target, 1, 8, metrics or (pods_metric(),), created="2026-11-01T00:00:00Z")
    return replace(found, **changes)


def container(**changes: Any) -> SeenContainer:
    found = SeenContainer(
        "server",
        (8000,),
        has_readiness=True,
        has_liveness=True,
        has_startup=True,
        pre_stop_seconds=15.0,
        arguments=("vllm", "serve", "llama", "--max-num-seqs=64"),
        requests=frozenset({"cpu"}),
    )
    return replace(found, **changes)


def workload(name: str = "vllm", **changes: Any) -> SeenWorkload:
    labels = {"app": name}
    selector = Selector.from_match_labels(labels)
    found = SeenWorkload("Deployment", key(name), 2, selector, labels, labels, (container(),), 60.0, "default", ())
    return replace(found, **changes)


def pod(
    name: str, app: str = "vllm", owner: tuple[str, str] | None = ("Deployment", "vllm"), **changes: Any
) -> SeenPod:
    return replace(SeenPod(key(name), {"app": app}, owner=owner, started_at=0.0, ports=(8000,)), **changes)


def pool(**changes: Any) -> SeenPool:
    return replace(SeenPool(key("chat"), {"app": "vllm"}, (8000,), SeenPicker("Service", "epp", 9002)), **changes)


def backend(name: str = "chat", index: int = 0, **changes: Any) -> SeenBackend:
    return replace(SeenBackend(index, "inference.networking.k8s.io", "InferencePool", NAMESPACE, name), **changes)


def route(*backends: SeenBackend) -> SeenRoute:
    return SeenRoute(key("chat"), ((*backends,) or (backend(),),), (key("gateway"),))


def scaled_object(**changes: Any) -> SeenScaledObject:
    trigger = SeenTrigger(0, "external-push", {"scalerAddress": "infscale-keda.infscale-system:9005", "pool": "batch"})
    target = ObjectRef("apps/v1", "Deployment", "batch")
    found = SeenScaledObject(key("batch"), target, 1, 4, (trigger,), "keda-hpa-batch", has_fallback=True)
    return replace(found, **changes)


def api_service(name: str, service: ObjectKey = SERVICE, **changes: Any) -> SeenApiService:
    priority = 200 if name.startswith("v1beta2") else 100
    return replace(SeenApiService(name, service, available=True, priority=priority, has_ca=True), **changes)


def answer(*values: int, path: str = PATH, at: float | None = NOW - 1) -> Answer:
    return Answer(path, tuple(AnsweredItem(f"vllm-{at_}", each, at) for at_, each in enumerate(values)))


def refused(status: str, problem: str, path: str = PATH) -> Answer:
    return Answer(path, (), problem, status)


def scale(replicas: int = 2, selector: str = "app=vllm") -> SeenScale:
    return SeenScale(replicas, replicas, selector, Selector.parse(selector))


RESOURCES = api_service("v1beta1.metrics.k8s.io", ObjectKey("kube-system", "metrics-server"))
KEDA_HPA = autoscaler(
    external_metric("s0-infscale_replicas_of_load", "AverageValue", 1000),
    name="keda-hpa-batch",
    target=ObjectRef("apps/v1", "Deployment", "batch"),
    owner=("ScaledObject", "batch"),
)


def view(*autoscalers: SeenAutoscaler, **changes: Any) -> ClusterView:
    """The healthy cluster; with `autoscalers` these are its HPAs, each with 2 replicas and a value of 1."""
    scalers = autoscalers or (autoscaler(),)
    every = (*scalers, KEDA_HPA)
    scales = {each.key: scale(1, "app=batch") if each is KEDA_HPA else scale() for each in every}
    found = ClusterView(
        now=NOW,
        minor=36,
        seen=frozenset({*KINDS, *OTHER_WORKLOADS, *POOL_USERS, *OTHER_SCALERS, "rights", "apiservices"}),
        infscale=SeenInfscale(
            SERVICE,
            installed=True,
            account="system:serviceaccount:infscale-system:infscale",
            workload=key("infscale", "infscale-system"),
            config_map="infscale",
            interval_seconds=0.5,
            staleness_seconds=2.0,
            destinations=1,
            forwards=False,
            holds=False,
        ),
        autoscalers=every,
        scaled_objects=(scaled_object(),),
        workloads=(workload(), workload("batch")),
        pods=(pod("vllm-0"), pod("vllm-1"), pod("batch-0", "batch", ("Deployment", "batch"))),
        pools=(pool(),),
        pool_users=(SeenPoolUser("InferenceObjective", "inferenceobjectives.llm-d.ai", key("fast"), "chat"),),
        services=(SeenService(key("epp"), {"app": "epp"}, (9002,), is_plain=True, ready_addresses=1),),
        routes=(route(),),
        controllers={key("gateway"): "istio.io/gateway-controller"},
        api_services=(*map(api_service, API_SERVICES), RESOURCES),
        rights=(
            SeenRight(HPA_ACCOUNT, READING, allowed=True),
            SeenRight("system:serviceaccount:infscale-system:infscale", Right("list", "", "pods"), allowed=True),
        ),
        kinds=frozenset({(POOL.api_version, POOL.kind), ("apps/v1", "Deployment"), ("v1", "Service")}),
        scales=scales,
        answers={(each.key, metric.index): answer(1000) for each in every for metric in each.metrics},
    )
    return replace(found, **changes)
